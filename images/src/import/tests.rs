//! Raw disks become images that hold what the disk held, and bad disks are refused by name.

use super::*;
use crate::RestoreTarget;
use crate::boot::pe::tests::program;
use crate::manifest::header::{Need, Scheme};
use crate::testing::{LINUX_TYPE, MIB, Plant, bootable_disk, gpt_disk, noise, request};
use crate::{Content, boot};

fn grub_files() -> Vec<(&'static str, Vec<u8>)> {
    let config = "menuentry x {\n linuxefi /vmlinuz root=LABEL=root quiet\n initrdefi /initrd.img\n}\n";
    vec![
        ("EFI/BOOT/BOOTX64.EFI", program(b"shim", b"signed!!")),
        ("EFI/BOOT/grubx64.efi", program(b"grub", b"signed!!")),
        ("EFI/debian/grub.cfg", config.into()),
        ("vmlinuz", program(b"kernel", b"signed!!")),
        ("initrd.img", noise(1, 70_000)),
        ("EFI/groundstate/agent.json", b"{}".to_vec()),
    ]
}

#[test]
fn an_imported_disk_reads_back_from_the_store() {
    let plant = Plant::new();
    let mut raw = bootable_disk(24 * MIB, &grub_files());
    raw[9 * MIB as usize..13 * MIB as usize].copy_from_slice(&noise(7, 4 * MIB as usize));
    let request = ImportRequest { keep_free_space: true, ..request() };
    let imported = plant.import_with(&raw, &request);
    let mut joined = Vec::new();
    for extent in imported.manifest.extents() {
        match extent.content {
            Content::Data(id) => joined.extend(plant.store.read_chunk(&id).unwrap()),
            Content::Zero => joined.resize(joined.len() + extent.len as usize, 0),
            Content::Any => panic!("every byte was asked for"),
        }
    }
    assert!(joined == raw);

    // The same with holes where the zeros are.
    let sparse = plant.dir.path().join("sparse.raw");
    let target = crate::restore::file::FileTarget::create(&sparse, raw.len() as u64, 512).unwrap();
    for (number, block) in raw.chunks(4096).enumerate().filter(|(_, block)| block.iter().any(|b| *b != 0)) {
        target.write_at(number as u64 * 4096, block).unwrap();
    }
    let again = import_raw(&sparse, &request, &plant.store, &mut |_| {}).unwrap();
    assert_eq!(again.manifest.id(), imported.manifest.id());

    assert_eq!(imported.manifest.content_root(), Digest::of(&raw));
    assert_eq!(imported.stats.disk_bytes, raw.len() as u64);
    assert!(imported.stats.zero_bytes > 12 * MIB);
    assert_eq!(plant.store.list().unwrap(), [imported.manifest.id()]);
    plant.store.verify_image(&imported.manifest, |_, _| {}).unwrap();
}

#[test]
fn a_disk_that_is_only_counted_comes_to_the_same_image_and_leaves_the_store_alone() {
    let plant = Plant::new();
    let path = plant.dir.path().join("counted.raw");
    std::fs::write(&path, bootable_disk(16 * MIB, &grub_files())).unwrap();
    let source = Source::raw(&path).unwrap();
    let count =
        || read_disk(&path, source.disk(), &request(), &Counted(Some(&plant.store)), &mut |_| {}).unwrap();
    let planned = count();
    assert!(plant.store.list().unwrap().is_empty() && plant.store.counts().0 == 0);
    let imported = import_disk(&source, &request(), &plant.store, &mut |_| {}).unwrap();
    assert_eq!(planned.manifest.id(), imported.manifest.id());
    assert_eq!((planned.stats, &planned.warnings), (imported.stats, &imported.warnings));
    assert!(imported.stats.new_chunks > 0);
    let again = count().stats;
    assert_eq!((again.new_chunks, again.new_stored_bytes), (0, 0));
}

#[test]
fn a_sink_that_refuses_stops_the_import_with_its_reason() {
    struct Refuses;
    impl ChunkSink for Refuses {
        fn has(&self, _: &crate::ChunkId) -> bool {
            false
        }
        fn begin(&self) -> Box<dyn TakesFrames + Send + '_> {
            Box::new(Refuses)
        }
    }
    impl TakesFrames for Refuses {
        fn take(&mut self, _: crate::Frame) -> Result<(), ImportError> {
            Err(ImportError::NotTaken("full".into()))
        }
        fn finish(self: Box<Self>) -> Result<(u64, u64), ImportError> {
            panic!("nothing was taken")
        }
    }
    let plant = Plant::new();
    let path = plant.dir.path().join("refused.raw");
    std::fs::write(&path, bootable_disk(16 * MIB, &grub_files())).unwrap();
    let source = Source::raw(&path).unwrap();
    let error = read_disk(&path, source.disk(), &request(), &Refuses, &mut |_| {}).unwrap_err();
    assert!(matches!(error, ImportError::NotTaken(why) if why.to_string() == "full"));
}

#[test]
fn a_second_import_adds_no_chunks() {
    let plant = Plant::new();
    let raw = bootable_disk(16 * MIB, &grub_files());
    let first = plant.import_with(&raw, &request());
    let second = plant.import_with(&raw, &ImportRequest { version: "2".into(), ..request() });
    assert_eq!((second.stats.new_chunks, second.stats.new_stored_bytes), (0, 0));
    assert_ne!(first.manifest.id(), second.manifest.id());
    let same = plant.import_with(&raw, &request());
    assert_eq!(same.manifest.id(), first.manifest.id());
}

#[test]
fn the_partition_table_and_the_boot_chain_are_understood() {
    let plant = Plant::new();
    let imported = plant.import_with(&bootable_disk(16 * MIB, &grub_files()), &request());
    assert_eq!(imported.warnings, []);
    let header = imported.manifest.header();
    assert_eq!(header.table.scheme, Scheme::Gpt);
    assert_eq!(header.table.partitions.len(), 2);
    assert_eq!(header.table.partitions[0].filesystem, "vfat");
    assert_eq!(header.table.partitions[1].name, "p1");
    assert!(header.boot.uefi && header.boot.secure_boot && !header.boot.bios);
    assert_eq!(header.boot.loader, r"\EFI\BOOT\BOOTX64.EFI");
    assert_eq!((header.disk.head_len, header.disk.tail_len), (MIB, 33 * 512));

    let digest = |file: &[u8]| -> [u8; 32] {
        ring::digest::digest(&ring::digest::SHA256, file).as_ref().try_into().unwrap()
    };
    let files = grub_files();
    let file = |name: &str| files.iter().find(|(path, _)| path.ends_with(name)).unwrap().1.clone();
    let has = |pcr, digest: [u8; 32], need| {
        header.measurements.iter().any(|m| (m.pcr, m.digest, m.need) == (pcr, digest, need))
    };
    for (name, need) in
        [("BOOTX64.EFI", Need::Always), ("grubx64.efi", Need::Always), ("vmlinuz", Need::SecureBoot)]
    {
        assert!(has(4, boot::authenticode_sha256(&file(name)).unwrap(), need), "{name}");
    }
    assert!(has(8, digest(b"/vmlinuz root=LABEL=root quiet"), Need::Always));
    for name in ["grub.cfg", "vmlinuz", "initrd.img"] {
        assert!(has(9, digest(&file(name)), Need::Always), "{name}");
    }
    assert_eq!(header.measurements.len(), 7);
}

#[test]
fn what_a_person_should_know_is_said() {
    let warnings = |files: &[(&str, Vec<u8>)]| {
        Plant::new().import_with(&bootable_disk(8 * MIB, files), &request()).warnings
    };
    assert_eq!(warnings(&[]), [Warning::NoCheckIn, Warning::NotBootable]);
    let junk = warnings(&[("EFI/BOOT/BOOTX64.EFI", b"junk".to_vec())]);
    assert!(matches!(junk[..], [Warning::NoCheckIn, Warning::BadProgram { .. }, Warning::NotBootable]));
    let without = |name: &str| {
        let files: Vec<_> = grub_files().into_iter().filter(|(path, _)| !path.ends_with(name)).collect();
        warnings(&files)
    };
    assert_eq!(without("agent.json"), [Warning::NoCheckIn]);
    assert_eq!(without("grub.cfg"), [Warning::NoBootConfiguration]);
    assert_eq!(without("initrd.img"), [Warning::BootFileElsewhere { path: "/initrd.img".into() }]);
    assert_eq!(without("grubx64.efi"), []);
    let mut plain = grub_files();
    plain[2].1 = b"linux /vmlinuz root=LABEL=root quiet\ninitrd /initrd.img\n".to_vec();
    assert_eq!(warnings(&plain), [Warning::NoEventLog { path: r"\EFI\debian\grub.cfg".into() }]);

    let raw = gpt_disk(8 * MIB, 512, &[(LINUX_TYPE, 2048, 4095)]);
    assert_eq!(Plant::new().import_with(&raw, &request()).warnings, [Warning::NoEsp]);
    let unreadable = gpt_disk(8 * MIB, 512, &[(crate::disk::ESP_TYPE, 2048, 4095)]);
    assert_eq!(Plant::new().import_with(&unreadable, &request()).warnings, [Warning::EspUnreadable]);
    let bare = noise(3, 4 * MIB as usize);
    assert_eq!(
        Plant::new().import_with(&bare, &request()).warnings,
        [Warning::NoPartitionTable, Warning::NoEsp]
    );
}

/// What `mkfs.fat -F 32` writes on 3 MiB: 6,144 sectors, 32 reserved, two tables of 48, clusters of one sector.
#[test]
fn a_fat32_too_small_to_be_one_is_named() {
    let mut raw = bootable_disk(8 * MIB, &grub_files());
    let first = &mut raw[MIB as usize..MIB as usize + 512];
    first[11..24].copy_from_slice(&[0, 2, 1, 32, 0, 2, 0, 0, 0, 0, 0xf8, 0, 0]);
    first[32..36].copy_from_slice(&6144_u32.to_le_bytes());
    first[36..40].copy_from_slice(&48_u32.to_le_bytes());
    let warnings = Plant::new().import_with(&raw, &request()).warnings;
    assert_eq!(warnings, [Warning::EspFat32Small { clusters: 6016 }]);
    assert!(warnings[0].to_string().contains("mkfs.fat -F 16"), "{}", warnings[0]);
}

#[test]
fn disks_with_sectors_of_4096_bytes_are_told_from_their_table() {
    let raw = gpt_disk(16 * MIB, 4096, &[(LINUX_TYPE, 256, 1023)]);
    let imported = Plant::new().import_with(&raw, &request());
    assert_eq!(imported.manifest.header().disk.sector_size, 4096);
    assert_eq!(imported.manifest.header().disk.tail_len, 5 * 4096);
}

#[test]
fn a_master_boot_record_is_understood() {
    let mut raw = vec![0; 8 * MIB as usize];
    raw[0] = 0xeb;
    raw[446] = 0x80;
    raw[446 + 4] = 0x83;
    raw[446 + 8..446 + 12].copy_from_slice(&2048u32.to_le_bytes());
    raw[446 + 12..446 + 16].copy_from_slice(&4096u32.to_le_bytes());
    raw[510..512].copy_from_slice(&[0x55, 0xaa]);
    let header = Plant::new().import_with(&raw, &request()).manifest.header().clone();
    assert_eq!(header.table.scheme, Scheme::Mbr);
    assert_eq!((header.table.partitions[0].first_lba, header.table.partitions[0].last_lba), (2048, 6143));
    assert!(header.boot.bios);
}

#[test]
fn damaged_tables_and_impossible_sizes_are_refused_and_nothing_is_listed() {
    let plant = Plant::new();
    let refuse = |raw: &[u8]| {
        let path = plant.dir.path().join("bad.raw");
        std::fs::write(&path, raw).unwrap();
        let error = import_raw(&path, &request(), &plant.store, &mut |_| {}).unwrap_err();
        assert!(plant.store.list().unwrap().is_empty());
        error
    };
    let good = gpt_disk(8 * MIB, 512, &[(LINUX_TYPE, 2048, 4095)]);
    let size = good.len();
    // Header, entries, backup header, backup entries; a cut file loses its backup.
    for at in [512 + 40, 1024 + 5, size - 512 + 40, size - 33 * 512 + 5] {
        let mut raw = good.clone();
        raw[at] ^= 1;
        assert!(matches!(refuse(&raw), ImportError::Table { .. }), "{at}");
    }
    assert!(matches!(refuse(&good[..size - 512]), ImportError::Table { .. }));
    let mut no_signature = good.clone();
    no_signature[512] = 0;
    assert!(matches!(refuse(&no_signature), ImportError::Table { .. }));
    assert!(matches!(refuse(&good[..size - 7]), ImportError::Size { .. }));
    assert!(matches!(refuse(&[0; 4096]), ImportError::Size { .. }));
    let path = plant.dir.path().join("good.raw");
    std::fs::write(&path, &good).unwrap();
    for named in [
        ImportRequest { name: String::new(), ..request() },
        ImportRequest { name: "hmi/approved".into(), ..request() },
        ImportRequest { version: "1 2".into(), ..request() },
    ] {
        let error = import_raw(&path, &named, &plant.store, &mut |_| {}).unwrap_err();
        assert!(matches!(error, ImportError::Name(_)), "{error}");
    }
    assert_eq!(plant.store.counts(), (0, 0), "nothing was read for it");
    let gone = import_raw(Path::new("/nonexistent.raw"), &request(), &plant.store, &mut |_| {});
    assert!(matches!(gone, Err(ImportError::Source(SourceError::Open { .. }))));
}

#[test]
fn progress_ends_at_the_whole_disk() {
    let plant = Plant::new();
    let path = plant.dir.path().join("disk.raw");
    std::fs::write(&path, noise(1, 5 * MIB as usize)).unwrap();
    let mut last = 0;
    import_raw(&path, &request(), &plant.store, &mut |p| {
        assert!(p.done > last && p.total == 5 * MIB);
        last = p.done;
    })
    .unwrap();
    assert_eq!(last, 5 * MIB);
}

#[test]
fn a_disk_that_changes_while_it_is_read_is_refused() {
    let plant = Plant::new();
    let path = plant.dir.path().join("disk.raw");
    std::fs::write(&path, noise(1, 3 * MIB as usize)).unwrap();
    let error = import_raw(&path, &request(), &plant.store, &mut |p| {
        if p.done == MIB {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
    });
    assert!(matches!(error, Err(ImportError::Changed { .. })));
    assert!(plant.store.list().unwrap().is_empty());
}
