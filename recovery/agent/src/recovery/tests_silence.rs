//! An appliance that is not heard may have said STOP: nothing is written until it is.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use images::restore::mem::MemDisk;
use images::restore::{ReadDisk, RestoreTarget};
use recovery_protocol::agent::{BootEntry, Report, ReportReply, Reported};
use recovery_protocol::health::DiskHealth;

use super::reporter::Reporter;
use super::tests::{Plant, disk_facts};
use super::{Stop, restore};
use crate::client::Appliance;
use crate::pid1::Pulse;
use crate::screen::Screen;
use crate::testing::serve_tls;

/// A disk that counts its writes where the appliance of the test can see them.
struct Counted {
    disk: MemDisk,
    writes: Arc<AtomicU64>,
}

impl ReadDisk for Counted {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.disk.read_at(offset, buf)
    }
}

impl RestoreTarget for Counted {
    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.disk.write_at(offset, bytes)
    }

    fn zero(&self, range: Range<u64>) -> std::io::Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.disk.zero(range)
    }

    fn flush(&self) -> std::io::Result<()> {
        self.disk.flush()
    }

    fn reread_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.disk.reread_at(offset, buf)
    }
}

/// Restores while the appliance answers the `n`th report of progress with `answer(n)`, if it does, and has no patience with silence.
/// Returns the outcome, the disk, and how often it had been written at each of those reports.
fn restore_with(answer: fn(u32) -> Option<ReportReply>) -> (Result<(), Stop>, Vec<u8>, Vec<u8>, Vec<u64>) {
    let plant = Plant::new();
    let order = plant.order(vec![plant.frames(|_| {})]);
    let writes = Arc::new(AtomicU64::new(0));
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (number, counted, noted) = (AtomicU32::new(0), writes.clone(), seen.clone());
    let (address, pin) = serve_tls(move |request| {
        let report: Report = serde_json::from_slice(&request.body).unwrap();
        let reply = match report.what {
            Reported::Progress { .. } => {
                noted.lock().unwrap().push(counted.load(Ordering::SeqCst));
                answer(number.fetch_add(1, Ordering::SeqCst))
            }
            _ => Some(ReportReply::Continue),
        };
        reply.map_or((503, Vec::new()), |reply| (200, serde_json::to_vec(&reply).unwrap()))
    });
    let appliance = Appliance::new(address, pin).unwrap();
    let (screen, pulse) = (Screen::standard_error("test"), Pulse::new());
    let reporter = Reporter::new(&appliance, "s", (order.job, order.step_seq), &screen, &pulse)
        .with_silence_max(Duration::ZERO);
    let manifest = restore::verify_manifest(&plant.manifest_bytes()[..], &order, &plant.keys, 0).unwrap();
    let nobody = tempfile::tempfile().unwrap();
    let chosen = restore::Chosen {
        facts: &disk_facts(plant.raw.len()),
        health: &DiskHealth::default(),
        port: &nobody,
        meant: &|| Ok(()),
        register: &|_, _| BootEntry::Kept,
    };
    let disk = Counted { disk: MemDisk::new(vec![0xa5; plant.raw.len()], 512), writes };
    let outcome = restore::restore(&order, &manifest, &disk, &chosen, true, &reporter);
    let seen = seen.lock().unwrap().clone();
    (outcome, disk.disk.into_bytes(), plant.raw, seen)
}

#[test]
fn nothing_is_written_while_the_appliance_is_silent_and_the_restore_goes_on_when_it_is_back() {
    let (outcome, disk, raw, seen) = restore_with(|number| (number >= 4).then_some(ReportReply::Continue));
    assert_eq!(outcome, Ok(()));
    assert!(disk == raw);
    assert_eq!(seen[..5], [0; 5], "written while nobody answered");
}

#[test]
fn a_stop_that_comes_late_finds_the_disk_as_the_silence_left_it() {
    let (outcome, disk, _, seen) =
        restore_with(|number| (number >= 3).then(|| ReportReply::Abort { why: "STOP".to_owned() }));
    assert_eq!(outcome, Err(Stop::Aborted("STOP".to_owned())));
    assert_eq!(seen[..4], [0; 4]);
    assert!(disk.iter().all(|byte| *byte == 0xa5), "its old content is still there");
}
