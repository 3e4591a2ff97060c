//! NTFS against ntfs-3g's programs.

use proptest::prelude::*;

use super::super::{Unclean, ntfs, part::Part};
use super::*;

const PACKAGE: &str = "ntfs-3g";
const LAYOUTS: &[&[&str]] = &[
    &[],
    &["-c", "512"],
    &["-c", "65536"],
    &["-s", "4096"],
    &["-c", "2048", "-z", "5"],
    &["-s", "1024", "-c", "8192"],
];

/// A filesystem with files, some of which are written over by shorter ones.
pub(super) fn made(layout: &[&str], size: u64, seed: u64) -> Option<(Made, Files)> {
    let (mkntfs, ntfscp) = (program("mkntfs", PACKAGE)?, program("ntfscp", PACKAGE)?);
    let made = Made::empty(size);
    said(
        Command::new(mkntfs)
            .args(["-q", "-F", "-f", "-p", "0", "-H", "255", "-S", "63"])
            .args(layout)
            .arg(&made.path),
    );
    let (files, longer) = (files(seed, 12), files_of_before(seed));
    for (round, files) in [&longer, &files].into_iter().enumerate() {
        let tree = made.dir.path().join(format!("tree{round}"));
        put(&tree, files);
        for name in files.keys() {
            said(Command::new(&ntfscp).arg("-q").arg(&made.path).arg(tree.join(name)).arg(name));
        }
    }
    Some((made, files))
}

fn files_of_before(seed: u64) -> Files {
    files(seed + 1, 12)
        .into_iter()
        .map(|(name, bytes)| (name, [bytes, noise(seed, 200_000)].concat()))
        .collect()
}

pub(super) fn check(made: &Made, files: &Files) {
    made.run(&program("ntfsfix", PACKAGE).unwrap(), ["-n"]);
    for (name, expected) in files {
        let output =
            Command::new(program("ntfscat", PACKAGE).unwrap()).arg(&made.path).arg(name).output().unwrap();
        assert!(output.status.success() && output.stdout == *expected, "{name}");
    }
}

fn free_clusters(made: &Made) -> Result<Vec<u64>, KeepWhole> {
    let disk = made.disk();
    Ok(numbers(ntfs::free(&Part::new(&disk, 0..disk.size())?)?.free.runs()))
}

/// By `ntfsinfo`.
fn counted(made: &Made) -> u64 {
    let text = made.run(&program("ntfsinfo", PACKAGE).unwrap(), ["-m"]);
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Free Clusters: "))
        .unwrap_or_else(|| panic!("{text}"));
    line.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn every_layout_is_read_as_ntfs_3g_reads_it() {
    for (seed, layout) in LAYOUTS.iter().enumerate() {
        let Some((made, files)) = made(layout, 40 * MIB, seed as u64) else { return };
        assert_eq!(made.kind(), Kind::Ntfs);
        let free = free_clusters(&made).unwrap_or_else(|why| panic!("{layout:?}: {why}"));
        assert_eq!(free.len() as u64, counted(&made), "{layout:?}");
        assert!(made.spoil_free() > 8 * MIB, "{layout:?}");
        check(&made, &files);
    }
}

/// Where a record of the file table lies, as long as the table is in one piece.
fn record_at(made: &Made, number: u64) -> u64 {
    let boot = made.bytes(0, 64);
    let cluster = u64::from(u16::from_le_bytes([boot[11], boot[12]])) * u64::from(boot[13]);
    u64::from_le_bytes(boot[48..56].try_into().unwrap()) * cluster + number * 1024
}

/// Where in a record the attribute of this kind lies.
fn attribute_at(made: &Made, number: u64, kind: u32) -> u64 {
    let record = made.bytes(record_at(made, number), 1024);
    let field = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
    let mut at = usize::from(u16::from_le_bytes([record[20], record[21]]));
    while field(at) != kind {
        at += field(at + 4) as usize;
    }
    record_at(made, number) + at as u64
}

#[test]
fn a_dirty_flag_and_a_log_in_use_keep_all() {
    let Some((made, _)) = made(&[], 40 * MIB, 1) else { return };
    let unclean = |expected: Unclean| match made.free() {
        Err(KeepWhole::Unclean(why)) => assert_eq!(why, expected),
        other => panic!("{other:?}"),
    };
    let flags = attribute_at(&made, 3, 0x70) + 24 + 10;
    for bit in [0x1, 0x2, 0x4, 0x20] {
        made.patch(flags, &[bit, 0]);
        unclean(Unclean::Mounted);
    }
    made.patch(flags, &[0, 0]);
    made.free().unwrap();
    // The log's first cluster: mkntfs leaves it empty, and as Windows would it has two restart areas.
    let log = {
        let pairs = made.bytes(attribute_at(&made, 2, 0x80), 80);
        let at = usize::from(u16::from_le_bytes([pairs[32], pairs[33]]));
        let (len_size, step_size) = (usize::from(pairs[at] & 15), usize::from(pairs[at] >> 4));
        let mut start = [0; 8];
        start[..step_size].copy_from_slice(&pairs[at + 1 + len_size..][..step_size]);
        u64::from_le_bytes(start) * 4096
    };
    let mut page = vec![0; 4096];
    page[..4].copy_from_slice(b"RSTR");
    page[16..20].copy_from_slice(&4096_u32.to_le_bytes());
    page[24] = 48;
    let area = |in_use: u16, flags: u16| {
        let mut page = page.clone();
        page[48 + 12..48 + 14].copy_from_slice(&in_use.to_le_bytes());
        page[48 + 14..48 + 16].copy_from_slice(&flags.to_le_bytes());
        page
    };
    for (first, second, clean) in [
        (area(0xffff, 0), area(0xffff, 0), true),
        (area(0, 2), area(0, 2), true),
        (area(0, 0), area(0, 2), false),
        (area(0xffff, 0), area(0, 0), false),
        (area(0xffff, 0), vec![0; 4096], false),
    ] {
        made.patch(log, &[first, second].concat());
        if clean { drop(made.free().unwrap()) } else { unclean(Unclean::Journal) }
    }
}

#[test]
fn a_sleeping_windows_keeps_all() {
    for (head, sleeps) in [(b"hibr", true), (b"HIBR", true), (b"wake", false), (&[0; 4], false)] {
        // ntfscp does not touch one in which a system sleeps.
        let (Some((made, _)), Some(ntfscp)) = (made(&[], 40 * MIB, 1), program("ntfscp", PACKAGE)) else {
            return;
        };
        let file = made.dir.path().join("hiberfil");
        fs::write(&file, [&head[..], &[0; 9000]].concat()).unwrap();
        said(Command::new(&ntfscp).arg("-q").arg(&made.path).arg(&file).arg("hiberfil.sys"));
        let found = made.free();
        assert_eq!(
            matches!(found, Err(KeepWhole::Unclean(Unclean::Hibernated))),
            sleeps,
            "{head:?} {found:?}"
        );
    }
}

#[test]
fn a_file_in_free_clusters_keeps_all() {
    let Some((made, _)) = made(&[], 40 * MIB, 1) else { return };
    // All of `$Bitmap` zero: then the boot sector itself is free.
    let text = made.run(&program("ntfsinfo", PACKAGE).unwrap(), ["-v", "-i", "6"]);
    assert!(text.contains("$Bitmap"), "{text}");
    let pairs = made.bytes(attribute_at(&made, 6, 0x80), 80);
    let at = usize::from(u16::from_le_bytes([pairs[32], pairs[33]]));
    let start = u64::from(pairs[at + 2]) | if pairs[at] >> 4 > 1 { u64::from(pairs[at + 3]) << 8 } else { 0 };
    made.patch(start * 4096, &[0; 8]);
    assert!(matches!(made.free(), Err(KeepWhole::UsedIsFree { .. })), "{:?}", made.free());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 8, ..ProptestConfig::default() })]
    #[test]
    fn random_filesystems_keep_their_files(layout in 0..LAYOUTS.len(), seed in 0u64..1 << 40, size in 48u64..120) {
        if let Some((made, files)) = made(LAYOUTS[layout], size * MIB, seed) {
            prop_assert_eq!(free_clusters(&made).unwrap().len() as u64, counted(&made));
            made.spoil_free();
            check(&made, &files);
        }
    }
}
