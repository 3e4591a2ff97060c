//! Disks that lie, files that do not belong, and headers that break rules: none of it may end in a disk that boots
//! something else than the image.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

const TICKET: EndpointFile = EndpointFile::new("EFI/groundstate/ticket.json");
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

type Bend = Box<dyn Fn(u64, &mut [u8]) + Send + Sync>;

/// A disk whose answers are bent on their way.
struct Bent {
    disk: MemDisk,
    /// What reads and rereads show.
    read: Bend,
    /// What arrives of a write.
    write: Bend,
    /// Whether making zeros does anything.
    punches: bool,
}

impl Bent {
    fn new(bytes: Vec<u8>) -> Self {
        let as_is = || -> Bend { Box::new(|_, _| {}) };
        Self { disk: MemDisk::new(bytes, 512), read: as_is(), write: as_is(), punches: true }
    }
}

impl ReadDisk for Bent {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset, buf)?;
        (self.read)(offset, buf);
        Ok(())
    }
}

impl RestoreTarget for Bent {
    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut arrives = AlignedBuf::new(bytes.len());
        arrives.copy_from_slice(bytes);
        (self.write)(offset, &mut arrives);
        self.disk.write_at(offset, &arrives)
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        if self.punches { self.disk.zero(range) } else { Ok(()) }
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn reread_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }
}

/// Flips byte `at` when it passes by, once, and only when armed.
fn flip_once(at: u64, armed: &std::sync::Arc<AtomicBool>) -> Bend {
    let armed = armed.clone();
    Box::new(move |offset, bytes| {
        if (offset..offset + bytes.len() as u64).contains(&at) && armed.swap(false, Ordering::Relaxed) {
            bytes[(at - offset) as usize] ^= 0x40;
        }
    })
}

fn proven<'a>(image: &'a Verified<Manifest>, disk: &'a dyn RestoreTarget, plant: &'a Plant) -> Proven<'a> {
    let found = scan(image, disk, &quiet).unwrap();
    let plan = RestorePlan::new(image, found, &EndpointFacts::default()).unwrap();
    plan.poison(disk).unwrap().write(&plant.store, &quiet).unwrap().read_back(ReadBack::Everything).unwrap()
}

fn file_of(disk: &dyn RestoreTarget, path: &str) -> Result<Vec<u8>, esp::EspError> {
    esp::Esp::open(disk, MIB..4 * MIB).unwrap().read(path)
}

/// After the proof nobody replaces what was proven, whoever wrote the order.
#[test]
fn only_a_file_of_the_endpoint_can_be_placed() {
    let refused = |path: &'static str| std::panic::catch_unwind(|| EndpointFile::new(path)).is_err();
    for path in [
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/groundstate",
        "EFI/groundstate/",
        "EFI/groundstate/agent.json",
        "EFI/groundstate/agent.json.",
        "EFI/groundstate/Agent.json",
        "EFI/groundstate/agent~1.jso",
        "EFI/groundstate/../boot/bootx64.efi",
        "EFI/groundstate/..",
        "EFI/groundstate\\ticket.json",
        "/EFI/groundstate/ticket.json",
        "",
    ] {
        assert!(refused(path), "{path}");
    }
    assert!(!refused("EFI/groundstate/ticket.json"));

    let plant = Plant::new();
    let (loader, mark) = (noise(1, 200_100), b"{\"agent\":1}".to_vec());
    let files = [
        (LOADER, loader.clone()),
        ("EFI/groundstate/agent.json", mark.clone()),
        (TICKET.path(), noise(2, 9000)),
    ];
    let raw = bootable_disk(12 * MIB, &files);
    let image = plant.image(&raw);
    let disk = MemDisk::new(vec![0; raw.len()], 512);
    // A ticket that was left in the image is replaced, twice if need be; nothing else is.
    let placed = proven(&image, &disk, &plant).place(TICKET, b"first").unwrap();
    let placed = placed.place(TICKET, &noise(3, 20_000)).unwrap();
    assert!(!boots(&bytes_of(&disk)));
    placed.commit_boot_region().unwrap();
    assert!(boots(&bytes_of(&disk)));
    assert!(file_of(&disk, TICKET.path()).unwrap() == noise(3, 20_000));
    assert!(file_of(&disk, LOADER).unwrap() == loader);
    assert!(file_of(&disk, "EFI/groundstate/agent.json").unwrap() == mark);
}

#[test]
fn what_cannot_be_placed_is_named_and_ends_the_proof() {
    let plant = Plant::new();
    let disk = MemDisk::new(vec![0; 8 * MIB as usize], 512);
    let place = |raw: &[u8], bytes: &[u8]| {
        let image = plant.image(raw);
        let error = proven(&image, &disk, &plant).place(TICKET, bytes).map(drop).unwrap_err();
        assert!(!boots(&bytes_of(&disk)));
        error
    };
    let none = place(&gpt_disk(8 * MIB, 512, &[(LINUX_TYPE, 2048, 6143)]), b"x");
    assert!(matches!(none, RestoreError::NoEsp { .. }), "{none}");
    let empty = gpt_disk(8 * MIB, 512, &[(crate::disk::ESP_TYPE, 2048, 6143)]);
    let not_fat = place(&empty, b"x");
    assert!(matches!(not_fat, RestoreError::Place(esp::EspError::NotFat(_))), "{not_fat}");
    let full = place(&bootable_disk(8 * MIB, &[(LOADER, noise(1, 1000))]), &noise(5, 4 * MIB as usize));
    assert!(matches!(full, RestoreError::Place(esp::EspError::File { .. })), "{full}");
}

/// What was proven is proven still when the disk starts to boot: the blocks that a file shares with others.
#[test]
fn placing_a_file_does_not_spoil_its_neighbours_unseen() {
    let plant = Plant::new();
    // The loader ends inside a block of 4096 bytes; the next free cluster, where the ticket goes, lies in the same one.
    let loader = noise(1, 200_100);
    let raw = bootable_disk(12 * MIB, &[(LOADER, loader.clone())]);
    let image = plant.image(&raw);
    let at = raw.windows(32).position(|w| w == &loader[200_068..]).unwrap() as u64;
    for (reading, directory) in [(true, false), (false, false), (true, true), (false, true)] {
        // The loader's end, or the first allocation table (its second sector is of the image, too).
        let at = if directory { MIB + 512 + 3 } else { at };
        let armed = std::sync::Arc::new(AtomicBool::new(false));
        let mut disk = Bent::new(vec![0; raw.len()]);
        *(if reading { &mut disk.read } else { &mut disk.write }) = flip_once(at, &armed);
        let proven = proven(&image, &disk, &plant);
        armed.store(true, Ordering::Relaxed);
        let spoiled = proven.place(TICKET, b"{\"once\":1}").map(drop).unwrap_err();
        assert!(matches!(spoiled, RestoreError::Spoiled { .. }), "{spoiled}");
        assert!(!armed.load(Ordering::Relaxed) && !boots(&bytes_of(&disk.disk)));
    }
}

/// A disk that holds the image already is poisoned before a file is placed on it.
#[test]
fn a_file_is_not_placed_on_a_disk_that_boots() {
    let plant = Plant::new();
    let raw = bootable_disk(12 * MIB, &[(LOADER, noise(1, 200_000))]);
    let image = plant.image(&raw);
    let whole = MemDisk::new(raw.clone(), 512);
    proven(&image, &whole, &plant).place(TICKET, &[7; 3000]).unwrap().commit_boot_region().unwrap();
    let operations = whole.counts().operations;
    let done = whole.into_bytes();
    assert!(boots(&done) && done != raw);
    for cut in 0..=operations {
        for kept in 0..16_u32 {
            let faults = Faults { power_cut_at: Some(cut), ..Faults::default() };
            let disk = MemDisk::with_faults(raw.clone(), 512, faults);
            let placed = proven(&image, &disk, &plant).place(TICKET, &[7; 3000]);
            let committed = placed.and_then(Proven::commit_boot_region);
            assert_eq!(committed.is_ok(), cut == operations);
            let mut n = 0;
            let left = disk.after_power_cut(|| {
                n += 1;
                kept >> (n % 4) & 1 == 1
            });
            let as_before = payload_of(&left) == payload_of(&raw);
            let as_after = payload_of(&left) == payload_of(&done);
            assert!(!boots(&left) || as_before || as_after, "cut at {cut} of {operations}, kept {kept:04b}");
        }
    }
}

/// A disk that loses the poison's write without an error, and then the power.
#[test]
fn a_poison_that_the_disk_lost_does_not_let_writing_begin() {
    let plant = Plant::new();
    let raw = |seed| {
        let mut raw = gpt_disk(6 * MIB, 512, &[(LINUX_TYPE, 2048, 12000)]);
        raw[MIB as usize..5 * MIB as usize].copy_from_slice(&noise(seed, 4 * MIB as usize));
        raw
    };
    let (old, new) = (raw(1), raw(2));
    let image = plant.image(&new);
    let tail = new.len() as u64 - 33 * 512..new.len() as u64;
    for (lost, times) in [(0..MIB, 1), (0..MIB, u32::MAX), (tail.clone(), 1), (tail, u32::MAX)] {
        for cut in 2..12 {
            let faults = Faults {
                lose_writes: Some((lost.clone(), times)),
                power_cut_at: Some(cut),
                ..Faults::default()
            };
            let disk = MemDisk::with_faults(old.clone(), 512, faults);
            let found = scan(&image, &disk, &quiet).unwrap();
            let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
            let error = plan.poison(&disk).and_then(|p| p.write(&plant.store, &quiet).map(drop)).err();
            if cut > 9 && times > 1 {
                assert!(matches!(error, Some(RestoreError::ReadBack { .. })), "{error:?}");
            }
            let mut n = 0;
            let left = disk.after_power_cut(|| {
                n += 1;
                n % 2 == 0
            });
            let half = payload_of(&left) != payload_of(&old) && payload_of(&left) != payload_of(&new);
            assert!(!(boots(&left) && half), "half an image, with a table, after a cut at {cut}");
        }
    }
}

/// The boot region does not read back: the disk is left without one.
#[test]
fn a_boot_region_that_does_not_read_back_is_taken_away_again() {
    let plant = Plant::new();
    let raw = raw_disk(8, 8);
    let image = plant.image(&raw);
    let mut disk = Bent::new(vec![0x22; raw.len()]);
    // Only what is not zero is spoiled, so that the poison arrives.
    disk.write = Box::new(|offset, bytes| {
        if offset == 0 && bytes[..8].iter().chain(&bytes[446..512]).any(|byte| *byte != 0) {
            bytes[450] ^= 1;
        }
    });
    let error = restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap_err();
    assert!(matches!(error, RestoreError::ReadBack { offset: 0, .. }), "{error}");
    assert!(!boots(&bytes_of(&disk.disk)));
}

#[test]
fn a_disk_whose_punching_does_nothing_gets_written_zeros() {
    let plant = Plant::new();
    let mut raw = gpt_disk(6 * MIB, 512, &[(LINUX_TYPE, 2048, 12000)]);
    raw[MIB as usize..2 * MIB as usize + 77].copy_from_slice(&noise(3, MIB as usize + 77));
    let image = plant.image(&raw);
    let mut disk = Bent::new(vec![0x5a; raw.len()]);
    disk.punches = false;
    let stats = restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
    assert!(stats.rewritten > 0 && bytes_of(&disk.disk) == raw);
}

/// A header with another table, signed, if the rules allow it.
fn broken(
    plain: &Verified<Manifest>,
    change: impl FnOnce(&mut crate::Header),
) -> Result<Manifest, crate::ManifestError> {
    let mut header = plain.header().clone();
    change(&mut header);
    Manifest::build(header, plain.extents())
}

#[test]
fn tables_that_cannot_stand_on_a_larger_disk_are_broken_rules() {
    let plant = Plant::new();
    let raw = gpt_disk(8 * MIB, 512, &[(LINUX_TYPE, 2048, 6143), (LINUX_TYPE, 6144, 16000)]);
    let plain = plant.image(&raw);
    let rule = |change: &dyn Fn(&mut crate::Header)| match broken(&plain, change) {
        Err(crate::ManifestError::Rule { rule }) => rule,
        other => panic!("{:?}", other.map(drop)),
    };
    // Growing over the next one.
    let last = "only the last partition on the disk grows";
    assert_eq!(rule(&|header| header.table.partitions[0].policy = Policy::Grow), last);
    assert_eq!(rule(&|h| h.table.partitions.iter_mut().for_each(|p| p.policy = Policy::Grow)), last);
    assert!(broken(&plain, |header| header.table.partitions[1].policy = Policy::Grow).is_ok());
    // Usable sectors that add up to more than a number holds, or less than none.
    for usable in [(34, u64::MAX - 1), (35, 34), (34, 16384)] {
        assert_eq!(rule(&|header| header.table.usable = usable), "the usable sectors lie on the disk");
    }
    for usable in [(0, 0), (34, 15999), (2049, 16350)] {
        assert_eq!(rule(&|header| header.table.usable = usable), "partitions lie in the usable sectors");
    }
}

/// Nothing of the medium is asked for twice, and nothing of it is believed before it is hashed.
#[test]
fn placing_reads_each_extent_once_and_again_what_it_touched() {
    let plant = Plant::new();
    let raw = bootable_disk(12 * MIB, &[(LOADER, noise(1, 1_500_000))]);
    let image = plant.image(&raw);
    let reads = std::sync::Arc::new(AtomicUsize::new(0));
    let mut disk = Bent::new(raw.clone());
    let counted = reads.clone();
    disk.read = Box::new(move |_, bytes| {
        counted.fetch_add(bytes.len(), Ordering::Relaxed);
    });
    let proven = proven(&image, &disk, &plant);
    reads.store(0, Ordering::Relaxed);
    proven.place(TICKET, b"{\"once\":1}").unwrap();
    // The poison's check reads the boot region; the rest is a few extents.
    let read = reads.load(Ordering::Relaxed) as u64 - MIB - 33 * 512;
    assert!(read < 3 * MIB / 2, "{read} bytes read to place a file");
}
