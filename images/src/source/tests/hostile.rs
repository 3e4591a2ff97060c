//! Files that ask for what they must not have, contradict themselves, or are not whole.

use std::fs;
use std::os::unix::fs::symlink;

use super::formats::{Change, Made, descriptor, disk_of, qcow2, vhd, vhd_footer, vhdx, vmdk};
use super::*;

const MADE: [Made; 4] = [Made::Plain(1), Made::Packed(2), Made::Zero, Made::Plain(3)];

/// Each test's file of one name in a directory of its own.
struct Case(tempfile::TempDir);

impl Case {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self, name: &str, bytes: &[u8]) -> Result<Source, SourceError> {
        open(&write(self.0.path(), name, bytes))
    }

    /// Why it is refused.
    fn refusal(&self, name: &str, bytes: &[u8]) -> Refusal {
        match self.open(name, bytes).unwrap_err() {
            SourceError::Refused { why, .. } => why,
            other => panic!("{other}"),
        }
    }

    /// It is refused as contradicting itself.
    fn assert_damaged(&self, name: &str, bytes: &[u8], what: &str) {
        let error = self.open(name, bytes).unwrap_err();
        assert!(
            matches!(error, SourceError::Damaged { .. } | SourceError::Truncated { .. }),
            "{what}: {error}"
        );
    }

    /// It opens, and to read it is an error.
    fn assert_unreadable(&self, name: &str, bytes: &[u8], what: &str) {
        let source = self.open(name, bytes).unwrap();
        let mut whole = vec![0; source.disk().size() as usize];
        let error = source.disk().read_at(0, &mut whole).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{what}: {error}");
    }
}

fn changed(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// With a backing file of this name and format.
fn overlay(name: &str, format: &str) -> Vec<u8> {
    let mut file = qcow2(&[Made::Absent; 4]);
    if !format.is_empty() {
        file = changed(&file, 104, &[0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, format.len() as u8]);
        file = changed(&file, 112, format.as_bytes());
    }
    file = changed(&file, 512, name.as_bytes());
    file = changed(&file, 8, &512_u64.to_be_bytes());
    changed(&file, 16, &(name.len() as u32).to_be_bytes())
}

#[test]
fn a_qcow2_that_asks_for_what_is_not_done_is_refused_by_name() {
    let (case, good) = (Case::new(), qcow2(&MADE));
    case.open("a.qcow2", &good).unwrap();
    let features = |features: u64| case.refusal("a.qcow2", &changed(&good, 72, &features.to_be_bytes()));
    assert_eq!(features(1), Refusal::Dirty);
    assert_eq!(features(2), Refusal::Corrupt);
    assert_eq!(features(4), Refusal::ExternalData);
    assert_eq!(
        features(1 << 40 | 1),
        Refusal::Unknown { what: "the incompatible features 0x10000000000".to_owned() }
    );
    assert_eq!(case.refusal("a.qcow2", &changed(&good, 32, &2_u32.to_be_bytes())), Refusal::Encrypted);
    assert_eq!(
        case.refusal("a.qcow2", &changed(&good, 4, &4_u32.to_be_bytes())),
        Refusal::Unknown { what: "version 4 of qcow2".to_owned() }
    );
    let mut packed = changed(&good, 72, &8_u64.to_be_bytes());
    packed = changed(&packed, 100, &112_u32.to_be_bytes());
    assert!(matches!(case.refusal("a.qcow2", &changed(&packed, 104, &[2])), Refusal::Unknown { .. }));
    let huge = 65_u64 << 40;
    assert_eq!(
        case.refusal("a.qcow2", &changed(&good, 24, &huge.to_be_bytes())),
        Refusal::TooLarge { size: huge }
    );
}

#[test]
fn a_qcow2_that_contradicts_itself_is_refused() {
    let (case, good) = (Case::new(), qcow2(&MADE));
    for (at, new, what) in [
        (20, &8_u32.to_be_bytes()[..], "clusters of 256 bytes"),
        (20, &22_u32.to_be_bytes(), "clusters of 4 MiB"),
        (20, &u32::MAX.to_be_bytes(), "clusters without end"),
        (24, &(64_u64 << 40).to_be_bytes(), "a level 1 table that is too short"),
        (36, &u32::MAX.to_be_bytes(), "a level 1 table behind the end"),
        (40, &4095_u64.to_be_bytes(), "a level 1 table askew"),
        (40, &(u64::MAX << 12).to_be_bytes(), "a level 1 table nowhere"),
        (72, &8_u64.to_be_bytes(), "a compression type that is not there"),
        (100, &100_u32.to_be_bytes(), "a short header"),
        (100, &8192_u32.to_be_bytes(), "a header of two clusters"),
        (8, &4090_u64.to_be_bytes(), "a backing file's name without length"),
        (72, &16_u64.to_be_bytes(), "extended entries in clusters of 4 KiB"),
    ] {
        case.assert_damaged("a.qcow2", &changed(&good, at, new), what);
    }
    let named = overlay("base.img", "raw");
    case.assert_damaged("a.qcow2", &changed(&named, 16, &4096_u32.to_be_bytes()), "a name of a cluster");
    case.assert_damaged(
        "a.qcow2",
        &changed(&named, 108, &4096_u32.to_be_bytes()),
        "an extension of a cluster",
    );
    case.assert_damaged("a.qcow2", &changed(&named, 512, &[0xff]), "a name that is no text");
    for (at, new, what) in [
        (4096, 8192_u64 | 1, "a reserved bit in level 1"),
        (4096, 8192 + 512, "a level 2 table askew"),
        (4096, 1 << 40, "a level 2 table behind the end"),
        (8192, 12_288 | 2, "a reserved bit in level 2"),
        (8192, 12_288 + 512, "a cluster askew"),
        (8192, 1 << 40, "a cluster behind the end"),
        (8192, 1 << 62 | 1 << 40, "a compressed cluster behind the end"),
        (8192, 1 << 62 | 8192, "a compressed cluster that is none"),
    ] {
        case.assert_unreadable("a.qcow2", &changed(&good, at, &u64::to_be_bytes(new)), what);
    }
}

#[test]
fn a_backing_file_is_followed_only_beside_the_file_that_names_it() {
    let case = Case::new();
    let dir = case.0.path();
    let secret = tempfile::tempdir().unwrap();
    let outside = write(secret.path(), "secret", &[7; 4096]);
    fs::create_dir(dir.join("images")).unwrap();
    write(dir, "secret", &[7; 4096]);
    symlink(&outside, dir.join("images/link")).unwrap();
    symlink(secret.path(), dir.join("images/away")).unwrap();
    fs::create_dir(dir.join("images/below")).unwrap();
    let open = |name: &str| open(&write(&dir.join("images"), "a.qcow2", &overlay(name, "raw")));
    for name in [
        outside.to_str().unwrap(),
        "../secret",
        "below/../../secret",
        "link",
        "away/secret",
        "below",
        "/dev/sda",
        "json:{\"driver\":\"file\",\"filename\":\"/etc/shadow\"}",
        "nbd://appliance/disk",
        "file:secret",
        "a\\b",
        "a\0b",
    ] {
        let error = open(name).unwrap_err();
        let elsewhere = matches!(&error, SourceError::Refused { why: Refusal::Elsewhere { name: named }, .. } if named == name);
        assert!(elsewhere, "{name}: {error}");
    }
    assert!(matches!(open("gone"), Err(SourceError::Open { .. })));
    write(&dir.join("images/below"), "base", &[5; 4096]);
    let source = open("./below/base").unwrap();
    assert_reads_as(source.disk(), &[&[5; 4096][..], &[0; 3 * 4096]].concat(), "below");
}

#[test]
fn what_a_backing_file_is_says_the_file_above_and_nobody_guesses() {
    let case = Case::new();
    let dir = case.0.path();
    // A raw disk whose guest wrote a qcow2 to its start that names a secret.
    let trap = overlay("secret", "raw");
    write(dir, "secret", &[7; 4096]);
    write(dir, "base", &trap);
    let source = case.open("a.qcow2", &overlay("base", "raw")).unwrap();
    assert_eq!(bytes_of(source.disk(), "trap")[..4096], trap[..4096]);
    let name = "base".to_owned();
    assert_eq!(case.refusal("a.qcow2", &overlay("base", "")), Refusal::BackingFormat { name });
    for format in ["qed", "luks", "nbd", "host_device", "QCOW2"] {
        assert!(
            matches!(case.refusal("a.qcow2", &overlay("base", format)), Refusal::Unknown { .. }),
            "{format}"
        );
    }
    // It says qcow2, and is none.
    case.assert_damaged("a.qcow2", &overlay("secret", "qcow2"), "no qcow2");
}

#[test]
fn chains_that_are_loops_or_too_long_are_refused() {
    let case = Case::new();
    let own = "a.qcow2".to_owned();
    assert_eq!(case.refusal("a.qcow2", &overlay("a.qcow2", "qcow2")), Refusal::Twice { name: own.clone() });
    write(case.0.path(), "b.qcow2", &overlay("a.qcow2", "qcow2"));
    assert_eq!(case.refusal("a.qcow2", &overlay("b.qcow2", "qcow2")), Refusal::Twice { name: own });
    fs::hard_link(case.0.path().join("a.qcow2"), case.0.path().join("c.qcow2")).unwrap();
    write(case.0.path(), "b.qcow2", &overlay("c.qcow2", "qcow2"));
    assert!(matches!(
        open(&case.0.path().join("a.qcow2")),
        Err(SourceError::Refused { why: Refusal::Twice { .. }, .. })
    ));
    write(case.0.path(), "0", &qcow2(&MADE));
    for number in 1..FILES_MAX {
        write(case.0.path(), &number.to_string(), &overlay(&(number - 1).to_string(), "qcow2"));
    }
    let last = (FILES_MAX - 1).to_string();
    let source = open(&case.0.path().join(&last)).unwrap();
    assert_reads_as(source.disk(), &disk_of(&MADE, 4096), "a long chain");
    assert_eq!(case.refusal("a.qcow2", &overlay(&last, "qcow2")), Refusal::TooMany { limit: FILES_MAX });
}

#[test]
fn a_vhd_that_asks_for_what_is_not_done_or_contradicts_itself_is_refused() {
    let case = Case::new();
    let good = vhd(&MADE, 3);
    assert_eq!(case.refusal("a.vhd", &vhd(&MADE, 4)), Refusal::Differencing);
    assert!(matches!(case.refusal("a.vhd", &vhd(&MADE, 9)), Refusal::Unknown { .. }));
    let huge = 1 << 60;
    let footer = vhd_footer(huge, 2);
    assert_eq!(case.refusal("a.vhd", &footer), Refusal::TooLarge { size: huge });
    case.assert_damaged(
        "a.vhd",
        &[&[0; 1024][..], &vhd_footer(512, 2)].concat(),
        "a fixed disk of another size",
    );
    let footer = good.len() - 512;
    case.assert_damaged("a.vhd", &changed(&good, footer + 50, &[1]), "a footer's checksum");
    case.assert_damaged("a.vhd", &changed(&good, 512 + 100, &[1]), "a header's checksum");
    case.assert_damaged("a.vhd", &good[..300], "a file shorter than a footer");
    // The table: no sector, and one behind the end.
    for sector in [0, 1 << 31] {
        case.assert_unreadable("a.vhd", &changed(&good, 1536, &u32::to_be_bytes(sector)), "a block");
    }
    let header = |at: usize, new: u32| {
        let mut file = changed(&good, 512 + at, &new.to_be_bytes());
        let sum: u32 = file[512..1536]
            .iter()
            .enumerate()
            .filter(|(at, _)| !(36..40).contains(at))
            .map(|(_, byte)| u32::from(*byte))
            .sum();
        file[512 + 36..512 + 40].copy_from_slice(&(!sum).to_be_bytes());
        file
    };
    for (at, new, what) in [
        (32, 0, "blocks of no length"),
        (32, 5000, "blocks of an odd length"),
        (32, 1 << 31, "blocks of 2 GiB"),
        (28, 3, "a table that is too short"),
        (28, u32::MAX, "a table behind the end"),
        (16, 1, "a table far behind the end"),
        (20, 1537, "a table askew"),
    ] {
        case.assert_damaged("a.vhd", &header(at, new), what);
    }
}

#[test]
fn a_zstd_frame_that_asks_for_more_memory_than_128_mib_is_refused() {
    let case = Case::new();
    // RFC 8878, section 3.1.1: no length said, a window of 2^(10 + exponent) bytes, one raw block, which is the last.
    let frame = |exponent: u8| {
        let block = (4096_u32 << 3 | 1).to_le_bytes();
        [&0xfd2f_b528_u32.to_le_bytes()[..], &[0, exponent << 3], &block[..3], &noise(1, 4096)].concat()
    };
    let source = case.open("a.raw.zst", &frame(17)).unwrap();
    assert_eq!(source.disk().size(), 4096);
    let error = case.open("a.raw.zst", &frame(18)).unwrap_err();
    assert!(matches!(error, SourceError::Unpack { .. }), "{error:?}");
}

#[test]
fn a_vhdx_that_asks_for_what_is_not_done_or_contradicts_itself_is_refused() {
    let case = Case::new();
    let blocks = [Made::Plain(1), Made::Zero];
    let refusal = |change: Change<'_>| case.refusal("a.vhdx", &vhdx(&blocks, change));
    assert_eq!(refusal(&|header, _, _| header[50] = 1), Refusal::Log);
    assert!(matches!(refusal(&|header, _, _| header[66] = 2), Refusal::Unknown { .. }));
    assert_eq!(refusal(&|_, _, metadata| metadata[65_536 + 4] = 2), Refusal::Differencing);
    assert!(matches!(refusal(&|_, _, metadata| metadata[65_536 + 16 + 6] = 1), Refusal::TooLarge { .. }));
    assert!(matches!(refusal(&|_, regions, _| regions[16] = 1), Refusal::Unknown { .. }));
    assert!(matches!(refusal(&|_, _, metadata| metadata[32] = 1), Refusal::Unknown { .. }));
    let damaged = |what: &str, change: Change<'_>| {
        let file = vhdx(&blocks, change);
        case.assert_damaged("a.vhdx", &file, what);
    };
    damaged("no header", &|header, _, _| header[0] = 0);
    damaged("no region table", &|_, regions, _| regions[0] = 0);
    damaged("too many regions", &|_, regions, _| regions[8..10].copy_from_slice(&[0xff; 2]));
    damaged("a region twice", &|_, regions, _| regions.copy_within(16..48, 48));
    damaged("a region that is not there", &|_, regions, _| regions[8] = 1);
    damaged("a region at the start", &|_, regions, _| regions[16 + 16..16 + 24].fill(0));
    damaged("a region behind the end", &|_, regions, _| regions[16 + 16 + 5] = 1);
    damaged("no metadata", &|_, _, metadata| metadata[0] = 0);
    damaged("an item that is not there", &|_, _, metadata| metadata[10] = 2);
    damaged("an item in the table", &|_, _, metadata| metadata[32 + 16..32 + 20].fill(0));
    damaged("an item behind its region", &|_, _, metadata| metadata[32 + 16 + 3] = 1);
    damaged("blocks of no length", &|_, _, metadata| metadata[65_536..65_540].fill(0));
    damaged("sectors of 513 bytes", &|_, _, metadata| metadata[65_536 + 32] = 1);
    damaged("a table that is too short", &|_, _, metadata| metadata[65_536 + 16 + 5] = 1);
    let good = vhdx(&blocks, &|_, _, _| {});
    case.assert_damaged("a.vhdx", &changed(&good, (128 << 10) + 9, &[1]), "a header's checksum");
    case.assert_damaged("a.vhdx", &changed(&good, (192 << 10) + 20, &[1]), "a region table's checksum");
    // States of differencing disks, of nobody, and a block in the header.
    for entry in [4 << 20 | 7_u64, 4 << 20 | 4, 6, 1 << 60 | 6] {
        case.assert_unreadable("a.vhdx", &changed(&good, 2 << 20, &entry.to_le_bytes()), "a block");
    }
}

#[test]
fn a_vmdk_that_asks_for_what_is_not_done_or_contradicts_itself_is_refused() {
    let case = Case::new();
    let text = |kind: &str| descriptor(kind, "");
    let good = vmdk(&MADE, false, &text("monolithicSparse"));
    let child = text("monolithicSparse").replace("ffffffff", "12345678");
    assert_eq!(case.refusal("a.vmdk", &vmdk(&MADE, false, &child)), Refusal::Differencing);
    assert_eq!(case.refusal("a.vmdk", &vmdk(&MADE, false, &text("twoGbMaxExtentSparse"))), Refusal::Part);
    assert_eq!(case.refusal("a.vmdk", &changed(&good, 36, &[0])), Refusal::Part);
    assert_eq!(case.refusal("a.vmdk", &changed(&good, 72, &[1])), Refusal::Unclean);
    let secret = text("monolithicSparse") + "encryption.keySafe = \"vmware:key/list\"\n";
    assert_eq!(case.refusal("a.vmdk", &vmdk(&MADE, false, &secret)), Refusal::Encrypted);
    assert!(matches!(
        case.refusal("a.vmdk", &vmdk(&MADE, false, &text("seSparse"))),
        Refusal::Unknown { .. }
    ));
    assert!(matches!(case.refusal("a.vmdk", &changed(&good, 4, &[9])), Refusal::Unknown { .. }));
    assert!(matches!(case.refusal("a.vmdk", &changed(&good, 77, &[7])), Refusal::Unknown { .. }));
    assert!(matches!(case.refusal("a.vmdk", &changed(&good, 19, &[1])), Refusal::TooLarge { .. }));
    for (at, new, what) in [
        (8, 5_u64, "line ends that were changed"),
        (20, 3, "grains of three sectors"),
        (20, 4, "grains of 2 KiB"),
        (20, 1 << 40, "grains of no end"),
        (28, 1 << 60, "a descriptor nowhere"),
        (36, 1 << 20, "a descriptor of half a gibibyte"),
        (44, 0, "tables of no length"),
        (44, 513, "tables of 513 entries"),
        (56, 1 << 60, "a directory behind the end"),
    ] {
        let new = &new.to_le_bytes()[..if matches!(at, 8 | 44) { 4 } else { 8 }];
        case.assert_damaged("a.vmdk", &changed(&good, at, new), what);
    }
    let directory = u64::from_le_bytes(*good[56..].first_chunk().unwrap()) as usize * 512;
    case.assert_unreadable("a.vmdk", &changed(&good, directory, &[0xff; 4]), "a table behind the end");
    case.assert_unreadable("a.vmdk", &changed(&good, directory - 2048, &[0xff; 4]), "a grain behind the end");
    let packed = vmdk(&MADE, true, &text("streamOptimized"));
    case.open("a.vmdk", &packed).unwrap();
    for (at, what) in
        [(1536, "a grain of another place"), (1536 + 11, "a grain of 2 GiB"), (1536 + 12, "no zlib")]
    {
        case.assert_unreadable("a.vmdk", &changed(&packed, at, &[0x7f]), what);
    }
}

#[test]
fn a_descriptor_names_only_files_beside_it() {
    let case = Case::new();
    write(case.0.path(), "disk", &[1; 1024]);
    let open = |kind: &str, lines: &str| case.open("a.vmdk", descriptor(kind, lines).as_bytes());
    open("monolithicFlat", "RW 2 FLAT \"disk\" 0").unwrap();
    for name in ["/etc/shadow", "../disk", "x/../../disk", "\\\\appliance\\disk", "", "nbd:x"] {
        let error = open("monolithicFlat", &format!("RW 2 FLAT \"{name}\" 0")).unwrap_err();
        assert!(
            matches!(error, SourceError::Refused { why: Refusal::Elsewhere { .. }, .. }),
            "{name}: {error}"
        );
    }
    for lines in ["RW 3 FLAT \"disk\" 0", "RW 2 FLAT \"disk\" 1", "RW 2 FLAT \"disk\" 99999999999999999"] {
        let error = open("monolithicFlat", lines).unwrap_err();
        assert!(
            matches!(error, SourceError::Truncated { .. } | SourceError::Damaged { .. }),
            "{lines}: {error}"
        );
    }
    for lines in ["", "RW x FLAT \"disk\"", "RW 2", "RW 2 FLAT \"disk", "RW 99999999999999999999 ZERO"] {
        let error = open("monolithicFlat", lines).unwrap_err();
        assert!(matches!(error, SourceError::Damaged { .. }), "{lines}: {error}");
    }
    let refusal = |kind: &str, lines: &str| match open(kind, lines).unwrap_err() {
        SourceError::Refused { why, .. } => why,
        other => panic!("{other}"),
    };
    assert!(matches!(refusal("monolithicFlat", "NOACCESS 2 FLAT \"disk\" 0"), Refusal::Unknown { .. }));
    assert!(matches!(refusal("monolithicFlat", "RW 2 VMFSRDM \"disk\""), Refusal::Unknown { .. }));
    assert!(matches!(refusal("fullDevice", "RW 2 FLAT \"/dev/sda\" 0"), Refusal::Unknown { .. }));
    assert!(matches!(
        refusal("monolithicFlat", "RW 2 FLAT \"disk\" 0\nRW 2 FLAT \"disk\" 0"),
        Refusal::Twice { .. }
    ));
    assert!(matches!(refusal("vmfs", "RW 300000000000 ZERO"), Refusal::TooLarge { .. }));
    // A sparse extent of another size than is said.
    write(case.0.path(), "s1", &vmdk(&MADE, false, ""));
    open("twoGbMaxExtentSparse", "RW 32 SPARSE \"s1\"").unwrap();
    assert!(matches!(open("twoGbMaxExtentSparse", "RW 40 SPARSE \"s1\""), Err(SourceError::Damaged { .. })));
}

/// Wherever a file is cut, it is refused or what it reads as is right.
#[test]
fn a_file_that_is_cut_short_is_never_read_as_something_else() {
    let case = Case::new();
    let sparse = |packed, kind| vmdk(&MADE, packed, &descriptor(kind, ""));
    let small = disk_of(&MADE, 4096);
    let blocks = [Made::Plain(1), Made::Zero, Made::Plain(2)];
    for (name, file, disk) in [
        ("a.qcow2", qcow2(&MADE), &small),
        ("a.vhd", vhd(&MADE, 3), &small),
        ("a.vmdk", sparse(false, "monolithicSparse"), &small),
        ("b.vmdk", sparse(true, "streamOptimized"), &small),
        ("a.vhdx", vhdx(&blocks, &|_, _, _| {}), &disk_of(&blocks, MIB as usize)),
    ] {
        let step = if file.len() < 100_000 { 256 } else { 60_000 };
        let mut right = 0;
        for len in (0..file.len()).step_by(step).chain([file.len() - 1]) {
            let Ok(source) = case.open(name, &file[..len]) else { continue };
            let mut read = vec![0; source.disk().size() as usize];
            if source.disk().read_at(0, &mut read).is_ok() {
                assert!(read == *disk, "{name} cut at {len} reads as something else");
                right += 1;
            }
        }
        assert!(right < 20, "{name}: only what pads the end may be cut");
    }
}

#[test]
fn a_small_file_may_hold_a_large_disk_of_zeros() {
    let (case, size) = (Case::new(), 64_u64 << 40);
    // 64 TiB in clusters of 2 MiB: one level 1 entry for 512 GiB.
    let mut file = vec![0; 4 << 20];
    file = changed(&file, 0, &qcow2(&[])[..104]);
    for (at, new) in [(20, 21_u32), (36, 128)] {
        file = changed(&file, at, &new.to_be_bytes());
    }
    file = changed(&file, 24, &size.to_be_bytes());
    file = changed(&file, 40, &(2_u64 << 20).to_be_bytes());
    let source = case.open("a.qcow2", &file).unwrap();
    assert_eq!(source.disk().size(), size);
    assert!(source.disk().zeros_at(size / 2) >= MIB);
    let mut end = [1; 512];
    source.disk().read_at(size - 512, &mut end).unwrap();
    assert_eq!(end, [0; 512]);
}
