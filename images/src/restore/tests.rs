//! Restores end in the image or in a disk that does not boot, whatever happens in between.

use std::sync::Mutex;

use proptest::prelude::*;

use super::mem::{Faults, MemDisk};
use super::*;
use crate::disk::{Gpt, esp};
use crate::import::ImportRequest;
use crate::manifest::header::{AgentVersion, Policy};
use crate::testing::{LINUX_TYPE, MIB, Plant, bootable_disk, bytes_of, gpt_disk, noise, request};
use crate::{Content, Manifest, Verified};

mod ahead;
mod elsewhere;
mod hostile;
mod moved;
mod preserved;
mod unread;

fn quiet(_: ProgressEvent) {}

fn restore(
    manifest: &Verified<Manifest>,
    target: &dyn RestoreTarget,
    source: &dyn ChunkSource,
    how: ReadBack,
) -> Result<RestoreStats, RestoreError> {
    let scan = scan(manifest, target, &quiet)?;
    let plan = RestorePlan::new(manifest, scan, &EndpointFacts::default())?;
    let proven = plan.poison(target)?.write(source, &quiet)?.read_back(how)?;
    Ok(proven.commit_boot_region()?.stats())
}

/// A disk with data at odd offsets, zero runs, and the same chunk in several places.
fn raw_disk(seed: u64, mib: u64) -> Vec<u8> {
    let size = mib * MIB;
    let mut raw = gpt_disk(size, 512, &[(LINUX_TYPE, 2048, 6143), (LINUX_TYPE, 6144, size / 512 - 34)]);
    let mut at = MIB as usize + 4096 * (seed as usize % 7);
    let end = raw.len() - 64 * 1024;
    while at < end {
        let piece = noise(seed ^ (at as u64 / (2 * MIB)), 30_000 + at % 170_000);
        let len = piece.len().min(end - at);
        raw[at..at + len].copy_from_slice(&piece[..len]);
        at += len + 150_000 + (seed as usize * 37) % 200_000;
    }
    raw
}

/// Whether firmware would find a partition table on it.
fn boots(disk: &[u8]) -> bool {
    let table = |at: usize| &disk[at..at + 8] == b"EFI PART";
    table(512) || table(disk.len() - 512)
}

fn payload_of(disk: &[u8]) -> &[u8] {
    &disk[MIB as usize..disk.len() - 33 * 512]
}

/// Counts what is asked for, and may spoil it.
struct Source<'s> {
    store: &'s Store,
    asked: Mutex<u64>,
    spoil: fn(&mut Frame),
}

impl<'s> Source<'s> {
    fn new(store: &'s Store) -> Self {
        Self { store, asked: Mutex::new(0), spoil: |_| {} }
    }
}

impl ChunkSource for Source<'_> {
    fn fetch(&self, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError> {
        *self.asked.lock().unwrap() += ids.len() as u64;
        self.store.fetch(ids, &mut |mut frame| {
            (self.spoil)(&mut frame);
            sink(frame)
        })
    }
}

#[test]
fn an_empty_disk_becomes_the_image_and_a_second_restore_writes_nothing() {
    let plant = Plant::new();
    let raw = raw_disk(1, 12);
    let image = plant.image(&raw);
    for how in [ReadBack::Everything, ReadBack::Written] {
        let disk = MemDisk::new(vec![0xa5; raw.len()], 512);
        let stats = restore(&image, &disk, &plant.store, how).unwrap();
        assert!(bytes_of(&disk) == raw);
        assert!(stats.fetched > 0 && stats.zeroed > 0 && stats.read_back >= stats.fetched);
        assert!(stats.fetched_stored <= stats.fetched);

        let before = disk.counts();
        let source = Source::new(&plant.store);
        let again = restore(&image, &disk, &source, how).unwrap();
        assert_eq!((again.written, again.zeroed, again.fetched), (0, 0, 0));
        assert_eq!(disk.counts().written, before.written);
        assert_eq!(disk.counts().operations, before.operations);
        assert_eq!(*source.asked.lock().unwrap(), 0);
        assert_eq!(again.kept, raw.len() as u64);
    }
}

#[test]
fn drift_is_mended_by_what_changed_only() {
    let plant = Plant::new();
    let raw = raw_disk(2, 16);
    let image = plant.image(&raw);
    let mut drifted = raw.clone();
    drifted[5 * MIB as usize + 100] ^= 1;
    let zero = image.extents().find(|e| e.content == Content::Zero && e.offset > 2 * MIB).unwrap();
    drifted[zero.offset as usize + 10] = 1;
    let disk = MemDisk::new(drifted, 512);
    let found = scan(&image, &disk, &quiet).unwrap();
    assert!(found.boots() && !found.is_clean());
    let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
    let summary = plan.summary();
    assert_eq!((summary.fetch_extents + summary.copy_extents, summary.zero_ranges), (1, 1));
    assert!(!summary.boot_differs && plan.to_string().contains("fetch"));
    let source = Source::new(&plant.store);
    let stats = restore(&image, &disk, &source, ReadBack::Everything).unwrap();
    assert!(bytes_of(&disk) == raw);
    assert!(*source.asked.lock().unwrap() <= 1);
    // The boot region was kept in memory, not fetched; it is written because it had to be poisoned.
    assert!(stats.written <= 512 * 1024 + 4096 + MIB + 33 * 512);
    assert!((512..=64 * 1024).contains(&stats.zeroed));
}

#[test]
fn a_lost_boot_region_alone_is_mended() {
    let plant = Plant::new();
    let raw = raw_disk(3, 8);
    let image = plant.image(&raw);
    let mut broken = raw.clone();
    broken[..MIB as usize].fill(0);
    let disk = MemDisk::new(broken, 512);
    let stats = restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
    assert!(bytes_of(&disk) == raw);
    assert_eq!(stats.written, MIB + 33 * 512);
    assert_eq!(stats.zeroed, 0);
}

#[test]
fn chunks_that_stand_elsewhere_on_the_disk_are_copied_not_fetched() {
    let plant = Plant::new();
    let mut raw = gpt_disk(8 * MIB, 512, &[(LINUX_TYPE, 2048, 8191), (LINUX_TYPE, 8192, 16000)]);
    let same = noise(9, MIB as usize);
    for at in [MIB as usize, 4 * MIB as usize] {
        raw[at..at + same.len()].copy_from_slice(&same);
    }
    let image = plant.image(&raw);
    let mut drifted = raw.clone();
    drifted[4 * MIB as usize..5 * MIB as usize].fill(7);
    let disk = MemDisk::new(drifted, 512);
    let source = Source::new(&plant.store);
    let stats = restore(&image, &disk, &source, ReadBack::Everything).unwrap();
    assert!(bytes_of(&disk) == raw);
    assert_eq!(*source.asked.lock().unwrap(), 0);
    assert!(stats.copied > 900 * 1024 && stats.fetched == 0);
}

#[test]
fn a_larger_disk_gets_its_backup_table_at_its_end() {
    let plant = Plant::new();
    let raw = raw_disk(4, 8);
    for grow in [false, true] {
        let image = plant.image_with(&raw, &ImportRequest { grow_last_partition: grow, ..request() });
        assert_eq!(image.header().table.partitions[1].policy == Policy::Grow, grow);
        let size = 8 * MIB + 3 * MIB + 7 * 512;
        // A stale table at the end of the larger disk must not survive either.
        let stale = gpt_disk(size, 512, &[(LINUX_TYPE, 2048, 4095)]);
        let disk = MemDisk::new(stale, 512);
        let found = scan(&image, &disk, &quiet).unwrap();
        let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
        assert!(plan.summary().larger_disk && plan.to_string().contains("moved"));
        restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
        let bytes = bytes_of(&disk);
        let mut read = |at: u64, buf: &mut [u8]| {
            buf.copy_from_slice(&bytes[at as usize..at as usize + buf.len()]);
            Ok(())
        };
        let table = Gpt::read(&mut read, 512, size).unwrap();
        assert_eq!(table.usable.1, size / 512 - 34);
        assert_eq!(bytes[446 + 12..446 + 16], ((size / 512 - 1) as u32).to_le_bytes());
        let image_last = image.header().table.partitions[1].last_lba;
        match grow {
            false => assert_eq!(table.entries[1].last_lba, image_last),
            true => {
                assert!(
                    table.entries[1].last_lba > image_last
                        && (table.entries[1].last_lba + 1).is_multiple_of(2048)
                )
            }
        }
        assert!(payload_of(&raw) == &bytes[MIB as usize..raw.len() - 33 * 512]);
        assert_eq!(bytes[raw.len() - 512..raw.len() - 504], [0; 8]);

        let again = restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
        assert_eq!((again.written, again.zeroed, again.fetched), (0, 0, 0));
    }
}

#[test]
fn sectors_of_4096_bytes_work_the_same() {
    let plant = Plant::new();
    let mut raw = gpt_disk(8 * MIB, 4096, &[(LINUX_TYPE, 256, 2000)]);
    let data = noise(5, 3 * MIB as usize + 1234);
    raw[2 * MIB as usize..2 * MIB as usize + data.len()].copy_from_slice(&data);
    let image = plant.image(&raw);
    let disk = MemDisk::new(vec![1; raw.len()], 4096);
    restore(&image, &disk, &plant.store, ReadBack::Written).unwrap();
    assert!(bytes_of(&disk) == raw);
    let larger = MemDisk::new(vec![1; raw.len() + 40 * 4096], 4096);
    restore(&image, &larger, &plant.store, ReadBack::Everything).unwrap();
    let again = restore(&image, &larger, &plant.store, ReadBack::Everything).unwrap();
    assert_eq!(again.written, 0);
}

#[test]
fn what_does_not_fit_is_refused_and_the_disk_untouched() {
    let plant = Plant::new();
    let raw = raw_disk(6, 8);
    let image = plant.image(&raw);
    let refuse = |disk: &MemDisk| match restore(&image, disk, &plant.store, ReadBack::Everything) {
        Err(RestoreError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let small = MemDisk::new(vec![3; raw.len() - 512], 512);
    assert!(matches!(refuse(&small), PlanRefusal::DiskTooSmall { .. }));
    let sectors = MemDisk::new(vec![3; raw.len()], 4096);
    assert!(matches!(refuse(&sectors), PlanRefusal::SectorSize { image: 512, disk: 4096 }));
    let ragged = MemDisk::new(vec![3; raw.len() + 100], 512);
    assert!(matches!(refuse(&ragged), PlanRefusal::RaggedDisk { .. }));
    assert_eq!(small.counts().operations + sectors.counts().operations + ragged.counts().operations, 0);

    let disk = MemDisk::new(raw.clone(), 512);
    let facts = |change: fn(&mut EndpointFacts)| {
        let mut facts = EndpointFacts { arch: "x86_64".into(), ..EndpointFacts::default() };
        change(&mut facts);
        RestorePlan::new(&image, scan(&image, &disk, &quiet).unwrap(), &facts).map(|_| ())
    };
    assert!(facts(|_| {}).is_ok());
    assert!(matches!(facts(|f| f.arch = "aarch64".into()), Err(PlanRefusal::Architecture { .. })));
    assert!(matches!(facts(|f| f.agent = Some(AgentVersion(0, 0, 9))), Err(PlanRefusal::AgentTooOld { .. })));
    let other = plant.image_with(&raw, &ImportRequest { hardware_class: "panel".into(), ..request() });
    let facts = EndpointFacts { hardware_class: Some("press".into()), ..EndpointFacts::default() };
    let refused = RestorePlan::new(&other, scan(&other, &disk, &quiet).unwrap(), &facts);
    assert!(matches!(refused, Err(PlanRefusal::HardwareClass { .. })));
    let foreign_scan = scan(&other, &disk, &quiet).unwrap();
    let refused = RestorePlan::new(&image, foreign_scan, &EndpointFacts::default());
    assert!(matches!(refused, Err(PlanRefusal::OtherImage { .. })));
}

#[test]
fn an_image_without_a_loader_for_the_firmware_is_refused() {
    let plant = Plant::new();
    let loader = crate::boot::pe::tests::program(b"shim", b"");
    let image = plant.image(&bootable_disk(8 * MIB, &[("EFI/BOOT/BOOTX64.EFI", loader)]));
    let disk = MemDisk::new(vec![0; 8 * MIB as usize], 512);
    let plan = |uefi| {
        let facts = EndpointFacts { uefi: Some(uefi), ..EndpointFacts::default() };
        RestorePlan::new(&image, scan(&image, &disk, &quiet).unwrap(), &facts).map(|_| ())
    };
    assert!(plan(true).is_ok());
    assert_eq!(plan(false), Err(PlanRefusal::Firmware { endpoint: "BIOS" }));
}

#[test]
fn altered_and_missing_chunks_are_named_and_never_written() {
    let plant = Plant::new();
    let raw = raw_disk(7, 8);
    let image = plant.image(&raw);
    let old = vec![0x11; raw.len()];
    let run = |spoil: fn(&mut Frame)| {
        let disk = MemDisk::new(old.clone(), 512);
        let source = Source { spoil, ..Source::new(&plant.store) };
        let error = restore(&image, &disk, &source, ReadBack::Everything).unwrap_err();
        let bytes = bytes_of(&disk);
        assert!(!boots(&bytes));
        // What is not the image's is still the old disk's, or zero.
        let intact =
            payload_of(&bytes).iter().zip(payload_of(&raw)).all(|(now, new)| now == new || *now == 0x11);
        assert!(intact);
        error
    };
    let source_error = |error: RestoreError| match error {
        RestoreError::Source(SourceError::Refused { source, .. }) => source,
        other => panic!("{other}"),
    };
    let altered = run(|frame| frame.bytes[0] ^= 1);
    assert!(matches!(source_error(altered), FrameError::Altered { .. } | FrameError::Undecodable { .. }));
    let short = run(|frame| frame.bytes.truncate(10));
    assert!(matches!(source_error(short), FrameError::Impossible { .. } | FrameError::Undecodable { .. }));
    let swapped = run(|frame| frame.id = ChunkId::of(b"other"));
    assert!(matches!(source_error(swapped), FrameError::Altered { .. }));

    struct Lazy;
    impl ChunkSource for Lazy {
        fn fetch(&self, _: &[ChunkId], _: &mut FrameSink<'_>) -> Result<(), SourceError> {
            Ok(())
        }
    }
    let disk = MemDisk::new(old.clone(), 512);
    let error = restore(&image, &disk, &Lazy, ReadBack::Everything).unwrap_err();
    assert!(matches!(error, RestoreError::NotDelivered { .. }));
}

#[test]
fn a_disk_that_reads_back_wrong_once_is_mended_and_twice_is_failed() {
    let plant = Plant::new();
    let raw = raw_disk(8, 8);
    let image = plant.image(&raw);
    let at = image
        .extents()
        .filter(|e| matches!(e.content, Content::Data(_)))
        .map(|e| e.offset)
        .find(|o| *o > MIB);
    let at = at.unwrap();
    let with = |faults| MemDisk::with_faults(vec![0x22; raw.len()], 512, faults);
    for how in [ReadBack::Everything, ReadBack::Written] {
        let once = with(Faults { lie_at: Some((at, 1)), ..Faults::default() });
        let stats = restore(&image, &once, &plant.store, how).unwrap();
        assert!(stats.rewritten > 0);
        assert!(bytes_of(&once) == raw);

        let lost = with(Faults { lose_writes: Some((at..at + 512, 1)), ..Faults::default() });
        assert!(restore(&image, &lost, &plant.store, how).unwrap().rewritten > 0);
        assert!(bytes_of(&lost) == raw);

        let liar = with(Faults { lie_at: Some((at, u32::MAX)), ..Faults::default() });
        let error = restore(&image, &liar, &plant.store, how).unwrap_err();
        assert!(matches!(error, RestoreError::ReadBack { offset, .. } if offset == at));
        assert!(!boots(&bytes_of(&liar)));
    }
    let bad = with(Faults { bad_sector: Some(at), ..Faults::default() });
    let error = restore(&image, &bad, &plant.store, ReadBack::Everything).unwrap_err();
    assert!(matches!(error, RestoreError::Disk { action: "write", .. }));
    assert!(!boots(&bytes_of(&bad)));
    // Nothing to write, but the medium says otherwise: not touched, but not called proven either.
    let unstable =
        MemDisk::with_faults(raw.clone(), 512, Faults { lie_at: Some((at, 1)), ..Faults::default() });
    let error = restore(&image, &unstable, &plant.store, ReadBack::Everything).unwrap_err();
    assert!(matches!(error, RestoreError::Unstable { .. }));
    assert_eq!(unstable.counts().operations, 0);
}

#[test]
fn files_can_be_put_on_the_esp_between_proof_and_commit() {
    let plant = Plant::new();
    let raw = bootable_disk(12 * MIB, &[("EFI/BOOT/BOOTX64.EFI", noise(1, 200_000))]);
    let image = plant.image(&raw);
    let disk = MemDisk::new(vec![0; raw.len()], 512);
    let found = scan(&image, &disk, &quiet).unwrap();
    let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
    let proven = plan.poison(&disk).unwrap().write(&plant.store, &quiet).unwrap();
    let proven = proven.read_back(ReadBack::Everything).unwrap();
    let range = proven.esp().unwrap();
    assert_eq!(range, MIB..4 * MIB);
    const TICKET: EndpointFile = EndpointFile::new("EFI/groundstate/ticket.json");
    let proven = proven.place(TICKET, b"{\"once\":1}").unwrap();
    assert!(!boots(&bytes_of(&disk)));
    proven.commit_boot_region().unwrap();
    assert!(boots(&bytes_of(&disk)));
    let esp = esp::Esp::open(&disk, range).unwrap();
    assert_eq!(esp.read(r"\EFI\GROUNDSTATE\ticket.json").unwrap(), b"{\"once\":1}");
    assert_eq!(esp.read("EFI/BOOT/BOOTX64.EFI").unwrap(), noise(1, 200_000));
    assert!(matches!(esp.read("no/such"), Err(esp::EspError::NotFound { .. })));
    let next = scan(&image, &disk, &quiet).unwrap();
    assert!(!next.is_clean() && next.boots() && next.differing_bytes() < 2 * MIB);
    restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
    assert!(bytes_of(&disk) == raw);
}

#[test]
fn an_image_with_a_policy_that_we_cannot_carry_out_is_refused() {
    let plant = Plant::new();
    let raw = raw_disk(9, 4);
    let plain = plant.image(&raw);
    let mut header = plain.header().clone();
    header.table.partitions[1].policy = Policy::Regenerate;
    let manifest = Manifest::build(header, plain.extents()).unwrap();
    let mut signed = crate::SignedManifest::unsigned(&manifest);
    plant.key.sign_image(&mut signed).unwrap();
    let image = plant.ring.verify(signed).unwrap();
    let disk = MemDisk::new(raw, 512);
    let refused = RestorePlan::new(&image, scan(&image, &disk, &quiet).unwrap(), &EndpointFacts::default());
    assert!(matches!(refused, Err(PlanRefusal::Policy { index: 1, policy: Policy::Regenerate })));
}

#[test]
fn phases_report_progress_to_their_end() {
    let plant = Plant::new();
    let raw = raw_disk(10, 8);
    let image = plant.image(&raw);
    let disk = MemDisk::new(vec![9; raw.len()], 512);
    let ends = Mutex::new(std::collections::HashMap::new());
    let progress = |event: ProgressEvent| {
        let mut ends = ends.lock().unwrap();
        let end = ends.entry(event.phase).or_insert(event);
        end.done = end.done.max(event.done);
    };
    let found = scan(&image, &disk, &progress).unwrap();
    let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
    let written = plan.poison(&disk).unwrap().write(&plant.store, &progress).unwrap();
    written.read_back(ReadBack::Everything).unwrap().commit_boot_region().unwrap();
    let ends = ends.into_inner().unwrap();
    for phase in [Phase::Scan, Phase::Search, Phase::Write, Phase::ReadBack, Phase::Commit] {
        assert_eq!(ends[&phase].done, ends[&phase].total, "{phase:?}");
        assert!(ends[&phase].total > 0);
    }
}

/// The promise of this module: cut the power at every operation, lose any part of what was not flushed, and the disk
/// is as before, or does not boot, or holds the image.
#[test]
fn no_power_cut_leaves_half_an_image_that_boots() {
    let plant = Plant::new();
    let old = raw_disk(11, 4);
    let new = raw_disk(12, 4);
    let image = plant.image(&new);
    let disk = MemDisk::new(old.clone(), 512);
    restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
    let operations = disk.counts().operations;
    let mut verdicts = [0; 3];
    for cut in 0..=operations {
        for seed in 0..3 {
            let faults = Faults { power_cut_at: Some(cut), ..Faults::default() };
            let disk = MemDisk::with_faults(old.clone(), 512, faults);
            let result = restore(&image, &disk, &plant.store, ReadBack::Everything);
            assert_eq!(result.is_ok(), cut == operations);
            let mut random = noise(cut * 3 + seed, 1 << 16).into_iter().cycle();
            let left = disk.after_power_cut(|| seed == 1 || (seed == 0 && random.next().unwrap() & 1 == 1));
            let verdict = match (boots(&left), payload_of(&left)) {
                (false, _) => 0,
                (true, payload) if payload == payload_of(&old) => 1,
                (true, payload) if payload == payload_of(&new) => 2,
                (true, _) => panic!("half an image boots after a cut at operation {cut} of {operations}"),
            };
            verdicts[verdict] += 1;
            let survivor = MemDisk::new(left, 512);
            restore(&image, &survivor, &plant.store, ReadBack::Everything).unwrap();
            assert!(bytes_of(&survivor) == new);
        }
    }
    assert!(verdicts.iter().all(|count| *count > 0), "{verdicts:?}");
}

/// The same on a larger disk, where the end of the image lies in the middle of the old disk's partitions.
#[test]
fn no_power_cut_on_a_larger_disk_leaves_half_an_image_that_boots() {
    let plant = Plant::new();
    let new = raw_disk(12, 4);
    let image = plant.image(&new);
    let mut old = raw_disk(11, 5);
    old[new.len() - 40 * 512..new.len()].copy_from_slice(&noise(1, 40 * 512));
    let new_payload = MIB as usize..new.len() - 33 * 512;
    let disk = MemDisk::new(old.clone(), 512);
    restore(&image, &disk, &plant.store, ReadBack::Written).unwrap();
    let operations = disk.counts().operations;
    for cut in 0..=operations {
        for seed in 0..4 {
            let faults = Faults { power_cut_at: Some(cut), ..Faults::default() };
            let disk = MemDisk::with_faults(old.clone(), 512, faults);
            let _ = restore(&image, &disk, &plant.store, ReadBack::Written);
            let mut random = noise(cut * 4 + seed, 1 << 16).into_iter().cycle();
            let left = disk.after_power_cut(|| random.next().unwrap() & 1 == 1);
            let as_before = payload_of(&left) == payload_of(&old);
            let whole = left[new_payload.clone()] == new[new_payload.clone()];
            assert!(!boots(&left) || as_before || whole, "cut at operation {cut} of {operations}");
        }
    }
}

#[test]
fn parts_that_may_hold_anything_are_left_alone() {
    let plant = Plant::new();
    let raw = raw_disk(14, 6);
    let plain = plant.image(&raw);
    let mut header = plain.header().clone();
    let own = crate::manifest::header::HostRegion { offset: 3 * MIB, len: MIB / 2, purpose: "seed".into() };
    header.host_regions.push(own);
    // Extents that reach into the region end there; their chunks are made anew.
    let mut extents: Vec<crate::Extent> = Vec::new();
    let writer = plant.store.writer().unwrap();
    let mut ingest = writer.ingest();
    let mut packer = crate::frames::Packer::new().unwrap();
    let mut at = 0;
    for cut in plain
        .extents()
        .map(|e| e.end())
        .chain([3 * MIB, 3 * MIB + MIB / 2])
        .collect::<std::collections::BTreeSet<_>>()
    {
        let plain = &raw[at as usize..cut as usize];
        let content = match (3 * MIB..3 * MIB + MIB / 2).contains(&at) {
            true => Content::Any,
            false if is_zero(plain) => Content::Zero,
            false => {
                ingest.append(&packer.pack(ChunkId::of(plain), plain).unwrap()).unwrap();
                Content::Data(ChunkId::of(plain))
            }
        };
        extents.push(crate::Extent { offset: at, len: cut - at, content });
        at = cut;
    }
    ingest.finish().unwrap();
    let mut signed = crate::SignedManifest::unsigned(&Manifest::build(header, extents).unwrap());
    plant.key.sign_image(&mut signed).unwrap();
    let image = plant.ring.verify(signed).unwrap();
    let disk = MemDisk::new(vec![0x77; raw.len()], 512);
    restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
    let bytes = bytes_of(&disk);
    let own = 3 * MIB as usize..3 * MIB as usize + MIB as usize / 2;
    assert!(bytes[own.clone()].iter().all(|byte| *byte == 0x77));
    assert!(bytes[..own.start] == raw[..own.start] && bytes[own.end..] == raw[own.end..]);
    assert_eq!(restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap().written, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn delta_and_full_restore_end_in_the_same_disk(
        seed in 0u64..1000,
        mib in 4u64..10,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 1usize..400_000, any::<u8>()), 0..6),
        how in prop_oneof![Just(ReadBack::Everything), Just(ReadBack::Written)],
    ) {
        let plant = Plant::new();
        let raw = raw_disk(seed, mib);
        let image = plant.image(&raw);
        let mut drifted = raw.clone();
        for (at, len, byte) in &damage {
            let at = at.index(raw.len());
            let end = (at + len).min(raw.len());
            drifted[at..end].fill(*byte);
        }
        let delta = MemDisk::new(drifted, 512);
        let full = MemDisk::new(vec![0xff; raw.len()], 512);
        restore(&image, &delta, &plant.store, how).unwrap();
        restore(&image, &full, &plant.store, how).unwrap();
        prop_assert!(bytes_of(&delta) == raw);
        prop_assert!(bytes_of(&full) == raw);
    }

    #[test]
    fn cuts_at_any_moment_of_a_delta_are_survived(
        seed in 0u64..1000,
        cut in 0u64..40,
        keep in any::<u64>(),
        at in 2u64 * MIB..3 * MIB,
    ) {
        let plant = Plant::new();
        let raw = raw_disk(seed, 5);
        let image = plant.image(&raw);
        let mut drifted = raw.clone();
        drifted[at as usize..at as usize + 900_000].fill(0x5a);
        let faults = Faults { power_cut_at: Some(cut), ..Faults::default() };
        let disk = MemDisk::with_faults(drifted.clone(), 512, faults);
        let _ = restore(&image, &disk, &plant.store, ReadBack::Everything);
        let mut bits = noise(keep, 4096).into_iter().cycle();
        let left = disk.after_power_cut(|| bits.next().unwrap() & 1 == 1);
        if boots(&left) {
            prop_assert!(payload_of(&left) == payload_of(&raw) || payload_of(&left) == payload_of(&drifted));
        }
        let survivor = MemDisk::new(left, 512);
        restore(&image, &survivor, &plant.store, ReadBack::Everything).unwrap();
        prop_assert!(bytes_of(&survivor) == raw);
    }
}

#[test]
fn a_file_is_a_disk_too() {
    let plant = Plant::new();
    let raw = raw_disk(13, 6);
    let image = plant.image(&raw);
    let path = plant.dir.path().join("endpoint.raw");
    let disk = file::FileTarget::create(&path, raw.len() as u64, 512).unwrap();
    restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
    drop(disk);
    assert!(std::fs::read(&path).unwrap() == raw);
    let read_only = file::FileTarget::open_read_only(&path, 512).unwrap();
    assert_eq!(restore(&image, &read_only, &plant.store, ReadBack::Everything).unwrap().written, 0);
}
