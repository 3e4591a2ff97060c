//! An order that demands an erasure: erased by evidence and then restored in full, or refused and untouched.

use images::restore::mem::MemDisk;
use recovery_protocol::agent::{BootEntry, ReportReply, Reported, RestoreOrder};
use recovery_protocol::erase::{EraseFound, EraseMethod, ErasePolicy};
use recovery_protocol::health::DiskHealth;
use recovery_protocol::job::HoldReason;

use super::reporter::Reporter;
use super::tests::{Plant, appliance, disk_facts, go_on, milestone, reason, with_esp};
use super::{Refusal, Stop, restore};
use crate::disk::test_drive::{Kind, TestDrive};
use crate::pid1::Pulse;
use crate::screen::Screen;
use crate::testing::noise;

fn nvme() -> Kind {
    Kind { transport: "nvme", ..Kind::default() }
}

fn demanding(plant: &Plant, policy: ErasePolicy) -> RestoreOrder {
    RestoreOrder { erase: policy, ..plant.order(vec![plant.frames(|_| {})]) }
}

fn run(
    plant: &Plant,
    order: &RestoreOrder,
    drive: &TestDrive,
    meant: Result<(), Refusal>,
    reply: fn(&Reported) -> ReportReply,
) -> (Result<(), Stop>, Vec<Reported>) {
    let (appliance, reports) = appliance(reply);
    let (screen, pulse) = (Screen::standard_error("test"), Pulse::new());
    let reporter = Reporter::new(&appliance, "s", (order.job, order.step_seq), &screen, &pulse);
    let manifest = restore::verify_manifest(&plant.manifest_bytes()[..], order, &plant.keys, 0).unwrap();
    let chosen = restore::Chosen {
        facts: &disk_facts(plant.raw.len()),
        health: &DiskHealth::default(),
        port: drive,
        meant: &|| meant.clone(),
        register: &|_, _| BootEntry::Kept,
    };
    let outcome = restore::restore(order, &manifest, drive, &chosen, true, &reporter);
    let reports = reports.lock().unwrap().clone();
    (outcome, reports)
}

fn milestones(reports: &[Reported]) -> Vec<&'static str> {
    reports.iter().filter_map(milestone).collect()
}

#[test]
fn a_disk_is_erased_before_it_is_restored_and_nothing_of_it_is_kept() {
    let plant = Plant::new();
    // It holds the image already: without an erasure nothing would be written.
    for (kind, policy, method) in [
        (Kind { sanitizes: 2, ..nvme() }, ErasePolicy::Purge, EraseMethod::SanitizeBlock),
        (Kind { formats: true, ..nvme() }, ErasePolicy::Clear, EraseMethod::FormatUserData),
        (nvme(), ErasePolicy::Clear, EraseMethod::Overwrite),
        (Kind { discards: true, ..nvme() }, ErasePolicy::Discard, EraseMethod::Discard),
    ] {
        let drive = TestDrive::new(MemDisk::new(plant.raw.clone(), 512), kind);
        let (outcome, reports) = run(&plant, &demanding(&plant, policy), &drive, Ok(()), go_on);
        assert_eq!(outcome, Ok(()), "{method:?}");
        let expected = ["erasing", "erased", "planned", "written", "proven", "committed"];
        assert_eq!(milestones(&reports), expected);
        assert!(drive.bytes() == plant.raw, "{method:?}");
        for report in &reports {
            match report {
                Reported::Erasing { method: is, disk, .. } => {
                    assert_eq!((*is, disk.serial.as_deref()), (method, Some("S1")));
                }
                Reported::Erased { facts } => {
                    assert_eq!(
                        (facts.policy, facts.method, facts.found),
                        (policy, method, EraseFound::Nothing)
                    );
                    assert_eq!(facts.samples.unchanged, 0);
                }
                Reported::Planned { plan, .. } => {
                    assert!(plan.fetch_bytes > 3 << 20 && plan.move_bytes == 0, "{plan:?}");
                    // What is zero in the image is right on a disk of zeros; nothing else is.
                    assert!(plan.keep_bytes <= 1 << 20, "{plan:?}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_disk_that_cannot_is_refused_before_a_byte_is_written() {
    let plant = Plant::new();
    let before = noise(9, plant.raw.len());
    let drive = TestDrive::new(MemDisk::new(before.clone(), 512), Kind { formats: true, ..nvme() });
    let (outcome, reports) = run(&plant, &demanding(&plant, ErasePolicy::Purge), &drive, Ok(()), go_on);
    match outcome {
        Err(Stop::Refused(Refusal { reason: HoldReason::EraseUnsupported, detail })) => {
            assert!(detail.contains("serial S1") && detail.contains("format user data"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    assert!(reports.is_empty() && drive.log().is_empty() && drive.bytes() == before);
}

#[test]
fn a_disk_is_not_erased_that_could_not_be_restored_or_is_not_meant() {
    let plant = Plant::new();
    let kind = || Kind { sanitizes: 2, ..nvme() };
    let order = demanding(&plant, ErasePolicy::Purge);
    let small = TestDrive::new(MemDisk::new(noise(9, plant.raw.len() - 4096), 512), kind());
    assert_eq!(reason(run(&plant, &order, &small, Ok(()), go_on).0), HoldReason::DiskUnfit);
    assert!(small.log().is_empty());
    let drive = TestDrive::new(MemDisk::new(noise(9, plant.raw.len()), 512), kind());
    let twin = Err(Refusal { reason: HoldReason::DiskAmbiguous, detail: "a twin appeared".to_owned() });
    let (outcome, reports) = run(&plant, &order, &drive, twin, go_on);
    assert_eq!(reason(outcome), HoldReason::DiskAmbiguous);
    assert!(reports.is_empty() && drive.log().is_empty());
    let stop = |_: &Reported| ReportReply::Abort { why: "cancelled".to_owned() };
    let (outcome, reports) = run(&plant, &order, &drive, Ok(()), stop);
    assert_eq!(outcome, Err(Stop::Aborted("cancelled".to_owned())));
    assert_eq!((milestones(&reports), drive.log().len()), (vec!["erasing"], 0));
}

#[test]
fn a_disk_that_lies_is_held_and_does_not_boot() {
    let plant = Plant::with(with_esp(6 << 20, &noise(3, 1 << 20)));
    let kind = Kind { sanitizes: 2, lies: true, ..nvme() };
    let drive = TestDrive::new(MemDisk::new(plant.raw.clone(), 512), kind);
    let (outcome, reports) = run(&plant, &demanding(&plant, ErasePolicy::Purge), &drive, Ok(()), go_on);
    assert_eq!(reason(outcome), HoldReason::EraseFailed);
    assert_eq!(milestones(&reports), ["erasing"]);
    let bytes = drive.bytes();
    assert!(bytes[..1 << 20].iter().all(|byte| *byte == 0), "the table at its start is gone");
    assert!(bytes[bytes.len() - 512..].iter().all(|byte| *byte == 0), "and the one at its end");
}

#[test]
fn what_an_image_preserves_is_not_erased_unless_it_was_given_up() {
    let plant = Plant::preserving(with_esp(6 << 20, &noise(3, 1 << 20)), "2");
    let raw = plant.raw.clone();
    let kind = Kind { sanitizes: 2, ..nvme() };
    let drive = TestDrive::new(MemDisk::new(raw.clone(), 512), kind);
    let mut order = demanding(&plant, ErasePolicy::Discard);
    let (outcome, reports) = run(&plant, &order, &drive, Ok(()), go_on);
    assert_eq!(reason(outcome), HoldReason::EraseConflict);
    assert!(reports.is_empty() && drive.log().is_empty());
    (order.erase, order.give_up_preserved) = (ErasePolicy::Purge, true);
    assert_eq!(run(&plant, &order, &drive, Ok(()), go_on).0, Ok(()));
    assert!(drive.bytes() == raw);
}
