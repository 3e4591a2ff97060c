//! Erasures end in a disk that is erased by its word and by its samples, or in an error; never in a command before the poison.

use std::sync::Mutex;

use images::restore::mem::MemDisk;
use recovery_protocol::erase::EraseSamples;

use super::super::test_drive::{Kind, TestDrive};
use super::*;
use crate::testing::noise;

const SIZE: usize = 6 << 20;

const NVME: Kind = Kind {
    transport: "nvme",
    sanitizes: 0,
    formats: false,
    format_attributes: 0,
    others: 0,
    discards: false,
    polls: 3,
    frozen: false,
    lies: false,
    fails: false,
    forgets: false,
    silent: false,
    confuses: false,
    garbles: false,
    unreadable: false,
};
const ATA: Kind = Kind { transport: "ata", ..NVME };

fn drive(kind: &Kind) -> TestDrive {
    TestDrive::new(MemDisk::new(noise(1, SIZE), 512), kind.clone())
}

/// Poisons as a restore does: writes at the start.
fn poison(drive: &TestDrive) -> Result<(), RestoreError> {
    drive.write_at(0, &AlignedBuf::new(1 << 20)).unwrap();
    Ok(())
}

/// Erases, and stops after so many pauses.
fn erase_for(
    drive: &TestDrive,
    kind: &Kind,
    policy: ErasePolicy,
    pauses: u32,
) -> Result<EraseFacts, EraseError> {
    let left = Mutex::new(pauses);
    let pause = || {
        let mut left = left.lock().unwrap();
        *left = left.saturating_sub(1);
    };
    let halted = || *left.lock().unwrap() == 0;
    let watch = Watch { pause: &pause, progress: &|done, total| assert!(done <= total), halted: &halted };
    Erasure::choose(drive, kind.transport, policy)?.run(drive, || poison(drive), &watch)
}

fn erase(drive: &TestDrive, kind: &Kind, policy: ErasePolicy) -> Result<EraseFacts, EraseError> {
    erase_for(drive, kind, policy, 1000)
}

#[test]
fn each_kind_of_disk_is_erased_in_its_own_way_after_its_poison() {
    use EraseMethod::{
        Discard, FormatCrypto, FormatUserData, Overwrite, SanitizeBlock, SanitizeCrypto, SanitizeOverwrite,
    };
    use ErasePolicy::{Clear, Purge};
    let formats = Kind { formats: true, ..NVME };
    let table = [
        (Kind { sanitizes: 7, ..NVME }, Purge, SanitizeCrypto, "sanitize 4"),
        (Kind { sanitizes: 6, ..NVME }, Purge, SanitizeBlock, "sanitize 2"),
        (Kind { sanitizes: 4, ..NVME }, Purge, SanitizeOverwrite, "sanitize 3"),
        (Kind { sanitizes: 4, format_attributes: 4, ..formats.clone() }, Purge, FormatCrypto, "format 2"),
        (formats.clone(), Clear, FormatUserData, "format 1"),
        (Kind { others: 2, ..formats.clone() }, Clear, FormatUserData, "format 1"),
        (Kind { sanitizes: 7, others: 2, ..NVME }, Clear, Overwrite, "write"),
        (NVME, Clear, Overwrite, "write"),
        (Kind { sanitizes: 3, ..ATA }, Purge, SanitizeCrypto, "sanitize 4"),
        (Kind { sanitizes: 2, ..ATA }, Purge, SanitizeBlock, "sanitize 2"),
        (Kind { sanitizes: 4, ..ATA }, Clear, SanitizeOverwrite, "sanitize 3"),
        (Kind { sanitizes: 7, frozen: true, ..ATA }, Clear, Overwrite, "write"),
        (Kind { transport: "virtio", ..NVME }, Clear, Overwrite, "write"),
        (Kind { transport: "virtio", discards: true, ..NVME }, ErasePolicy::Discard, Discard, "discard"),
    ];
    for (kind, policy, method, command) in table {
        let drive = drive(&kind);
        let facts = erase(&drive, &kind, policy).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!((facts.policy, facts.method, facts.found), (policy, method, EraseFound::Nothing));
        let log = drive.log();
        assert_eq!((log[0].as_str(), log.last().unwrap().as_str()), ("write", command), "{kind:?}");
        let EraseSamples { read, zero, telling, unchanged } = facts.samples;
        assert!(read >= 1000 && telling >= 1000 && unchanged == 0, "{facts}");
        let scrambled = matches!(method, SanitizeCrypto | FormatCrypto);
        assert_eq!(zero, if scrambled { 0 } else { read }, "{kind:?}");
        assert!(drive.bytes() != noise(1, SIZE));
        assert!(!facts.reported.is_empty(), "{facts:?}");
    }
}

#[test]
fn what_the_disk_said_is_written_down() {
    let kind = Kind { sanitizes: 2, ..NVME };
    let facts = erase(&drive(&kind), &kind, ErasePolicy::Purge).unwrap();
    let [capabilities, before, after] = facts.reported.as_slice() else { panic!("{facts:?}") };
    assert_eq!(capabilities, "Identify Controller: SANICAP 0x00000002, OACS 0x08, FNA 0x00");
    assert!(before.contains("SSTAT 0x0000"), "{before}");
    assert_eq!(after, "sanitize status log page 81h: SSTAT 0x0101, SPROG 0xffff, SCDW10 0x00000002");
    let kind = Kind { formats: true, ..NVME };
    let facts = erase(&drive(&kind), &kind, ErasePolicy::Clear).unwrap();
    assert_eq!(facts.reported[1], "Format NVM of namespace 1 with CDW10 0x00000213: completed, status 0");
}

#[test]
fn a_disk_that_cannot_is_refused_and_untouched() {
    let formats = Kind { formats: true, ..NVME };
    let table = [
        (NVME, ErasePolicy::Purge, "none known"),
        (formats.clone(), ErasePolicy::Purge, "format user data"),
        (Kind { sanitizes: 7, others: 1, ..formats }, ErasePolicy::Purge, "other namespaces"),
        (Kind { sanitizes: 7, frozen: true, ..ATA }, ErasePolicy::Purge, "frozen until it is switched off"),
        (Kind { transport: "virtio", discards: true, ..NVME }, ErasePolicy::Purge, "none known"),
        (NVME, ErasePolicy::Discard, "`discard`"),
    ];
    for (kind, policy, why) in table {
        let drive = drive(&kind);
        let refused = erase(&drive, &kind, policy).unwrap_err();
        assert!(matches!(refused, EraseError::Unsupported { .. } | EraseError::Frozen { .. }), "{refused}");
        assert!(refused.to_string().contains(why), "{refused}");
        assert!(drive.log().is_empty() && drive.bytes() == noise(1, SIZE), "{kind:?}");
    }
}

#[test]
fn a_disk_that_says_done_and_is_not_is_found_out() {
    let table = [
        (Kind { sanitizes: 2, lies: true, ..NVME }, ErasePolicy::Purge),
        (Kind { sanitizes: 1, lies: true, ..ATA }, ErasePolicy::Purge),
        (Kind { formats: true, lies: true, ..NVME }, ErasePolicy::Clear),
        (Kind { lies: true, ..NVME }, ErasePolicy::Clear),
    ];
    for (kind, policy) in table {
        let error = erase(&drive(&kind), &kind, policy).unwrap_err();
        assert!(matches!(error, EraseError::Unchanged { offset: 0x10_0000.., .. }), "{kind:?}: {error}");
    }
    let garbles = Kind { garbles: true, ..NVME };
    let error = erase(&drive(&garbles), &garbles, ErasePolicy::Clear).unwrap_err();
    assert!(matches!(error, EraseError::NotZero { .. }), "{error}");
    // Of a discard nothing is claimed.
    let kind = Kind { discards: true, lies: true, ..NVME };
    let facts = erase(&drive(&kind), &kind, ErasePolicy::Discard).unwrap();
    assert!(facts.samples.unchanged > 500, "{facts}");
}

#[test]
fn an_erasure_that_fails_is_one_that_failed() {
    let sanitizes = Kind { sanitizes: 2, ..NVME };
    let table = [
        Kind { fails: true, ..sanitizes.clone() },
        Kind { fails: true, sanitizes: 2, ..ATA },
        Kind { forgets: true, ..sanitizes.clone() },
        Kind { silent: true, ..sanitizes.clone() },
        Kind { confuses: true, ..sanitizes.clone() },
    ];
    for kind in table {
        let error = erase(&drive(&kind), &kind, ErasePolicy::Purge).unwrap_err();
        assert!(matches!(error, EraseError::Failed { .. }), "{kind:?}: {error}");
    }
    let kind = Kind { formats: true, fails: true, ..NVME };
    let error = erase(&drive(&kind), &kind, ErasePolicy::Clear).unwrap_err();
    assert!(matches!(error, EraseError::Command { .. }), "{error}");
    let kind = Kind { unreadable: true, ..sanitizes };
    let error = erase(&drive(&kind), &kind, ErasePolicy::Purge).unwrap_err();
    assert!(matches!(error, EraseError::Unreadable { .. }), "{error}");
}

#[test]
fn a_success_of_an_earlier_day_is_not_this_one() {
    // It was sanitized long ago, was written since, and forgets the new command.
    let kind = Kind { sanitizes: 2, ..NVME };
    let before = drive(&kind);
    erase(&before, &kind, ErasePolicy::Purge).unwrap();
    let forgets = before.forgetting();
    let error = erase(&forgets, &kind, ErasePolicy::Clear).map(|facts| facts.found);
    assert!(matches!(error, Ok(EraseFound::Done)), "nothing was written since: {error:?}");
    forgets.write_at(1 << 20, &AlignedBuf::new(4096)).unwrap();
    let error = erase(&forgets, &kind, ErasePolicy::Purge).unwrap_err();
    assert!(matches!(error, EraseError::Failed { .. }), "{error}");
}

#[test]
fn a_power_cut_does_not_begin_a_sanitize_again() {
    let kind = Kind { sanitizes: 4, polls: 10, ..NVME };
    let drive = drive(&kind);
    let stopped = erase_for(&drive, &kind, ErasePolicy::Purge, 2).unwrap_err();
    assert!(matches!(stopped, EraseError::Halted), "{stopped}");
    assert!(drive.reread_at(0, &mut AlignedBuf::new(512)).is_err(), "it is at it, and takes nothing else");
    let facts = erase(&drive, &kind, ErasePolicy::Purge).unwrap();
    assert_eq!((facts.method, facts.found), (EraseMethod::SanitizeOverwrite, EraseFound::Running));
    assert_eq!((facts.samples.telling, facts.samples.zero), (0, facts.samples.read));
    // It ended while nobody looked.
    let again = Kind { sanitizes: 4, polls: 10, ..NVME };
    let drive = self::drive(&again);
    erase_for(&drive, &again, ErasePolicy::Purge, 2).unwrap_err();
    drive.let_finish();
    let facts = erase(&drive, &again, ErasePolicy::Purge).unwrap();
    assert_eq!(facts.found, EraseFound::Done);
    assert_eq!(drive.log(), ["write", "sanitize 3"], "told once");
}

#[test]
fn a_sanitize_that_was_waited_for_must_succeed() {
    let kind = Kind { sanitizes: 4, polls: 10, fails: true, ..NVME };
    let drive = drive(&kind);
    erase_for(&drive, &kind, ErasePolicy::Purge, 2).unwrap_err();
    let error = erase(&drive, &kind, ErasePolicy::Purge).unwrap_err();
    assert!(matches!(error, EraseError::Failed { .. }), "{error}");
}

#[test]
fn what_runs_and_does_not_satisfy_is_waited_for_and_then_done_right() {
    // ATA does not say which way it is at.
    let kind = Kind { sanitizes: 2, polls: 10, ..ATA };
    let drive = drive(&kind);
    erase_for(&drive, &kind, ErasePolicy::Purge, 2).unwrap_err();
    let facts = erase(&drive, &kind, ErasePolicy::Purge).unwrap();
    assert_eq!(facts.found, EraseFound::Nothing);
    assert_eq!(drive.log(), ["write", "sanitize 2", "write", "sanitize 2"]);
}

#[test]
fn an_overwrite_that_is_stopped_stops() {
    let drive = drive(&NVME);
    let stopped = erase_for(&drive, &NVME, ErasePolicy::Clear, 0).unwrap_err();
    assert!(matches!(stopped, EraseError::Halted), "{stopped}");
    let bytes = drive.bytes();
    assert!(
        bytes[..1 << 20].iter().all(|byte| *byte == 0) && bytes[SIZE - 512..] == noise(1, SIZE)[SIZE - 512..]
    );
}
