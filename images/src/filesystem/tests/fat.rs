//! FAT12, FAT16, FAT32 against dosfstools and mtools.

use proptest::prelude::*;

use super::super::{Unclean, fat, part::Part};
use super::*;

/// Bits, size in MiB, and what mkfs.fat is told.
const LAYOUTS: &[(u64, u64, &[&str])] = &[
    (12, 4, &["-F", "12"]),
    (12, 16, &["-F", "12", "-s", "16"]),
    (16, 16, &["-F", "16"]),
    (16, 40, &["-F", "16", "-s", "4", "-f", "1"]),
    (32, 40, &["-F", "32", "-s", "1"]),
    (32, 300, &["-F", "32", "-s", "8", "-a"]),
    (32, 300, &["-F", "32", "-S", "4096", "-s", "1"]),
];

/// A filesystem with files, some of which are gone again and have left their bytes behind.
pub(super) fn made(size: u64, layout: &[&str], seed: u64) -> Option<(Made, Files)> {
    let (mkfs, mcopy) = (program("mkfs.fat", "dosfstools")?, program("mcopy", "mtools")?);
    let made = Made::empty(size);
    let mut files = files(seed, 12);
    // As many as fit: twelve long ones are more than the smallest filesystem holds.
    let mut room = size / 4 * 3;
    files.retain(|_, bytes| {
        let fits = bytes.len() as u64 <= room;
        room -= if fits { bytes.len() as u64 } else { 0 };
        fits
    });
    let tree = made.dir.path().join("tree");
    put(&tree.join("dir"), &files);
    said(Command::new(mkfs).args(layout).arg(&made.path));
    said(Command::new(mcopy).arg("-si").arg(&made.path).arg(tree.join("dir")).arg("::"));
    for name in files.keys().filter(|name| name.contains(['1', '4', '7'])).cloned().collect::<Vec<_>>() {
        said(Command::new(program("mdel", "mtools")?).arg("-i").arg(&made.path).arg(format!("::dir/{name}")));
        files.remove(&name);
    }
    Some((made, files))
}

pub(super) fn check(made: &Made, files: &Files) {
    made.run(&program("fsck.fat", "dosfstools").unwrap(), ["-n"]);
    let out = made.dir.path().join("out");
    fs::create_dir_all(&out).unwrap();
    said(
        Command::new(program("mcopy", "mtools").unwrap()).arg("-sni").arg(&made.path).arg("::dir").arg(&out),
    );
    let mut found = Files::new();
    for entry in fs::read_dir(out.join("dir")).unwrap() {
        let entry = entry.unwrap();
        found.insert(entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    }
    assert!(found == *files);
}

/// Clusters that are free, numbered from 0, and how many there are.
fn free_clusters(made: &Made) -> Result<Vec<u64>, KeepWhole> {
    let disk = made.disk();
    Ok(numbers(fat::free(&Part::new(&disk, 0..disk.size())?)?.free.runs()))
}

/// By `fsck.fat`: clusters in use, and all.
fn counted(made: &Made) -> (u64, u64) {
    let text = made.run(&program("fsck.fat", "dosfstools").unwrap(), ["-n", "-v"]);
    let line = text.lines().find(|line| line.ends_with("clusters") && line.contains("files, ")).unwrap();
    let (used, all) = line.split(' ').rev().nth(1).unwrap().split_once('/').unwrap();
    (used.parse().unwrap(), all.parse().unwrap())
}

#[test]
fn every_kind_is_read_as_dosfstools_reads_it() {
    for (seed, (bits, size, layout)) in LAYOUTS.iter().enumerate() {
        let Some((made, files)) = made(size * MIB, layout, seed as u64) else { return };
        assert_eq!(made.kind(), Kind::Vfat, "{bits} {layout:?}");
        let free = free_clusters(&made).unwrap_or_else(|why| panic!("{layout:?}: {why}"));
        let (used, all) = counted(&made);
        assert_eq!(free.len() as u64, all - used, "{layout:?}");
        // Where `mtools` finds files is nothing free.
        let clusters = said(
            Command::new(program("mshowfat", "mtools").unwrap()).arg("-i").arg(&made.path).arg("::dir/*"),
        );
        let mut seen = 0;
        for run in clusters
            .split('<')
            .skip(1)
            .filter_map(|run| run.split_once('>'))
            .flat_map(|(run, _)| run.split_whitespace())
        {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            for cluster in first.parse::<u64>().unwrap()..=last.parse().unwrap() {
                assert!(free.binary_search(&(cluster - 2)).is_err(), "{layout:?}: {cluster}");
                seen += 1;
            }
        }
        assert!(seen > 0 && seen <= used, "{layout:?}: {clusters}");
        assert!(made.spoil_free() > MIB, "{layout:?}");
        check(&made, &files);
    }
}

#[test]
fn a_mark_of_use_or_of_errors_keeps_all() {
    for (bits, size, layout) in LAYOUTS {
        let Some((made, _)) = made(size * MIB, layout, 1) else { return };
        let boot = made.bytes(0, 64);
        let field = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let (table, table_len) =
            (field(14) * field(11), (if *bits == 32 { field(36) } else { field(22) }) * field(11));
        let unclean = |at: u64, byte: u8, expected: Unclean| {
            let old = made.bytes(at, 1);
            // In all copies of the table.
            let copies = if at >= table { u64::from(boot[16]) } else { 1 };
            (0..copies).for_each(|copy| made.patch(at + copy * table_len, &[byte]));
            match made.free() {
                Err(KeepWhole::Unclean(why)) => assert_eq!(why, expected),
                other => panic!("{bits} {expected:?}: {other:?}"),
            }
            (0..copies).for_each(|copy| made.patch(at + copy * table_len, &old));
            made.free().unwrap();
        };
        unclean(if *bits == 32 { 65 } else { 37 }, 1, Unclean::Mounted);
        match bits {
            16 => {
                unclean(table + 3, 0x7f, Unclean::Mounted);
                unclean(table + 3, 0xbf, Unclean::Errors);
            }
            32 => {
                unclean(table + 7, 0x07, Unclean::Mounted);
                unclean(table + 7, 0x0b, Unclean::Errors);
            }
            _ => {}
        }
    }
}

#[test]
fn tables_that_disagree_keep_all() {
    let Some((made, _)) = made(300 * MIB, &["-F", "32", "-s", "8"], 1) else { return };
    let boot = made.bytes(0, 64);
    let table = u64::from(u16::from_le_bytes([boot[14], boot[15]])) * 512;
    let table_len = u64::from(u32::from_le_bytes(boot[36..40].try_into().unwrap())) * 512;
    let free = free_clusters(&made).unwrap();
    let entry = |cluster: u64| table + cluster * 4;
    let kept = |changes: &[(u64, &[u8])], expected: &dyn Fn(&KeepWhole) -> bool| {
        let old: Vec<_> = changes.iter().map(|(at, bytes)| made.bytes(*at, bytes.len())).collect();
        changes.iter().for_each(|(at, bytes)| made.patch(*at, bytes));
        let why = made.free().unwrap_err();
        assert!(expected(&why), "{changes:?}: {why:?}");
        changes.iter().zip(&old).for_each(|((at, _), old)| made.patch(*at, old));
        made.free().unwrap();
    };
    // A free cluster that only one copy calls free; the count.
    let last = free[free.len() - 1] + 2;
    kept(&[(entry(last), &[0xff, 0xff, 0xff, 0x0f])], &|why| {
        matches!(why, KeepWhole::Damaged { what: "second table" })
    });
    let both = |cluster: u64, bytes| -> [(u64, &[u8]); 2] {
        [(entry(cluster), bytes), (entry(cluster) + table_len, bytes)]
    };
    let end = [0xff, 0xff, 0xff, 0x0f];
    kept(&both(last, &end), &|why| matches!(why, KeepWhole::Count { what: "free clusters", .. }));
    // A chain that leads out of the filesystem, and one into what is free.
    kept(&both(last, &[0, 0, 0, 0x0f]), &|why| {
        matches!(why, KeepWhole::Damaged { what: "chain of clusters" })
    });
    let into_free = (free[0] as u32 + 2).to_le_bytes();
    kept(&both(last, &into_free), &|why| {
        matches!(why, KeepWhole::UsedIsFree { what: "chain of clusters", .. })
    });
    // The root directory.
    let counts = u64::from(u16::from_le_bytes([boot[48], boot[49]])) * 512 + 488;
    let unknown = (counts, &[0xff; 4][..]);
    let [one, two] = both(2, &[0; 4][..]);
    kept(&[one, two, unknown], &|why| matches!(why, KeepWhole::UsedIsFree { .. }));
    // Bad clusters are kept, and no contradiction.
    let mark = both(last, &[0xf7, 0xff, 0xff, 0x0f]);
    mark.iter().chain([&unknown]).for_each(|(at, bytes)| made.patch(*at, bytes));
    assert_eq!(free_clusters(&made).unwrap(), free[..free.len() - 1]);
}

#[test]
fn more_files_than_fit_are_left_out() {
    // Seen to be more than 4 MiB.
    let Some((made, files)) = made(4 * MIB, &["-F", "12"], 816_280_761_264) else { return };
    check(&made, &files);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 8, ..ProptestConfig::default() })]
    #[test]
    fn random_filesystems_keep_their_files(layout in 0..LAYOUTS.len(), seed in 0u64..1 << 40) {
        let (_, size, layout) = LAYOUTS[layout];
        if let Some((made, files)) = made(size * MIB, layout, seed) {
            let (used, all) = counted(&made);
            prop_assert_eq!(free_clusters(&made).unwrap().len() as u64, all - used);
            made.spoil_free();
            check(&made, &files);
        }
    }
}
