//! ext2, ext3, ext4 against e2fsprogs.

use proptest::prelude::*;

use super::super::{Unclean, ext, part::Part};
use super::*;

const PACKAGE: &str = "e2fsprogs";

/// What mke2fs is told to vary, each with another way to lay out the same things.
const LAYOUTS: &[&[&str]] = &[
    &["-t", "ext4"],
    &["-t", "ext2"],
    &["-t", "ext3"],
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext4", "-b", "2048", "-O", "^flex_bg"],
    &["-t", "ext4", "-O", "^metadata_csum,uninit_bg"],
    &["-t", "ext4", "-O", "^metadata_csum,^uninit_bg,^64bit"],
    &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"],
    &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^flex_bg,^sparse_super"],
    &["-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "16384"],
    &["-t", "ext4", "-b", "4096", "-O", "bigalloc,^metadata_csum", "-C", "65536"],
    &["-t", "ext4", "-b", "1024", "-O", "sparse_super2"],
    &["-t", "ext4", "-O", "^has_journal,inline_data"],
    &["-t", "ext4", "-O", "metadata_csum_seed,casefold,ea_inode,large_dir"],
    &["-t", "ext4", "-O", "orphan_file"],
    &["-t", "ext4", "-b", "1024", "-g", "1024", "-J", "size=8"],
    &["-t", "ext3", "-b", "1024", "-J", "size=20"],
    &["-t", "ext4", "-b", "1024", "-N", "20000", "-G", "4", "-E", "packed_meta_blocks=1"],
];

/// A filesystem with files, some of which are gone again and have left their bytes behind.
pub(super) fn made(layout: &[&str], size: u64, seed: u64) -> Option<(Made, Files)> {
    let (mke2fs, debugfs) = (program("mke2fs", PACKAGE)?, program("debugfs", PACKAGE)?);
    let made = Made::empty(size);
    let mut files = files(seed, 24);
    let tree = made.dir.path().join("tree");
    put(&tree.join("dir"), &files);
    let tree = tree.to_str().unwrap();
    said(Command::new(mke2fs).args(["-q", "-F", "-d", tree]).args(layout).arg(&made.path));
    let gone: Vec<String> = files.keys().filter(|name| name.contains(['1', '4', '7'])).cloned().collect();
    for name in &gone {
        said(Command::new(&debugfs).args(["-w", "-R", &format!("rm dir/{name}")]).arg(&made.path));
        files.remove(name);
    }
    Some((made, files))
}

/// The free blocks by `dumpe2fs`, which names the first block of a free cluster.
fn dumped(made: &Made) -> Vec<u64> {
    let log = |at: u64| made.bytes(1024 + at, 1)[0];
    let (cluster, blocks) = (1_u64 << (log(28) - log(24)), made.disk().size() >> (10 + log(24)));
    let text = made.run(&program("dumpe2fs", PACKAGE).unwrap(), [] as [&str; 0]);
    let lists = text.lines().filter_map(|line| line.strip_prefix("  Free blocks: "));
    let mut blocks: Vec<u64> = lists
        .flat_map(|list| list.split(", ").filter(|run| !run.is_empty()))
        .flat_map(|run| {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            first.parse::<u64>().unwrap()..(last.parse::<u64>().unwrap() + cluster).min(blocks)
        })
        .collect();
    blocks.sort_unstable();
    blocks
}

pub(super) fn check(made: &Made, files: &Files) {
    made.run(&program("e2fsck", PACKAGE).unwrap(), ["-f", "-n"]);
    let out = made.dir.path().join("out");
    fs::create_dir_all(&out).unwrap();
    let dump = format!("rdump dir {}", out.display());
    said(Command::new(program("debugfs", PACKAGE).unwrap()).args(["-R", &dump]).arg(&made.path));
    let mut found = Files::new();
    for entry in fs::read_dir(out.join("dir")).unwrap() {
        let entry = entry.unwrap();
        found.insert(entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    }
    assert!(found == *files);
}

#[test]
fn every_layout_is_read_as_e2fsprogs_reads_it() {
    for (seed, layout) in LAYOUTS.iter().enumerate() {
        let Some((made, files)) = made(layout, 48 * MIB, seed as u64) else { return };
        let disk = made.disk();
        let map = ext::free(&Part::new(&disk, 0..disk.size()).unwrap())
            .unwrap_or_else(|why| panic!("{layout:?}: {why}"));
        assert!(numbers(map.free.runs()) == dumped(&made), "{layout:?}");
        assert!(made.spoil_free() > 8 * MIB, "{layout:?}");
        check(&made, &files);
    }
}

#[test]
fn many_groups_are_read() {
    // 8 MiB a group, and groups that nobody has written to.
    for layout in [
        &["-t", "ext4", "-b", "1024"][..],
        &["-t", "ext4"],
        &["-t", "ext4", "-O", "^metadata_csum,uninit_bg"],
    ] {
        let Some((made, files)) = made(layout, 1200 * MIB, 3) else { return };
        let disk = made.disk();
        let map = ext::free(&Part::new(&disk, 0..disk.size()).unwrap()).unwrap();
        assert!(numbers(map.free.runs()) == dumped(&made), "{layout:?}");
        check(&made, &files);
    }
}

#[test]
fn what_was_not_unmounted_is_kept_whole() {
    let (Some((made, _)), Some(debugfs)) = (made(LAYOUTS[0], 32 * MIB, 1), program("debugfs", PACKAGE))
    else {
        return;
    };
    let set = |what: &str, value: &str| {
        said(Command::new(&debugfs).args(["-w", "-R", &format!("ssv {what} {value}")]).arg(&made.path));
    };
    let unclean = |expected: Unclean| match made.free() {
        Err(KeepWhole::Unclean(why)) => assert_eq!(why, expected),
        other => panic!("{expected:?}: {other:?}"),
    };
    set("state", "0");
    unclean(Unclean::Mounted);
    set("state", "3");
    unclean(Unclean::Errors);
    set("state", "1");
    set("last_orphan", "12");
    unclean(Unclean::Mounted);
    set("last_orphan", "0");
    made.free().unwrap();
    said(Command::new(&debugfs).args(["-w", "-R", "feature needs_recovery"]).arg(&made.path));
    unclean(Unclean::Journal);
    said(Command::new(&debugfs).args(["-w", "-R", "feature -needs_recovery"]).arg(&made.path));
    made.free().unwrap();
    // A journal with something in it, although the superblock knows nothing of it: its `s_start`.
    let journal = said(Command::new(&debugfs).args(["-R", "bmap <8> 0"]).arg(&made.path));
    let block_len = made.bytes(1024 + 24, 1)[0];
    let at = journal.trim().parse::<u64>().unwrap() << (10 + block_len);
    made.patch(at + 28, &[0, 0, 0, 1]);
    unclean(Unclean::Journal);
}

#[test]
fn unknown_features_are_kept_whole() {
    let Some((made, _)) = made(&["-t", "ext4", "-O", "^metadata_csum"], 32 * MIB, 1) else { return };
    for (at, bit) in [
        (92, 0x2000_u32),
        (92, 0x100),
        (96, 0x1),
        (96, 0x8),
        (96, 0x4_0000),
        (100, 0x80),
        (100, 0x4000),
        (100, 0x2_0000),
    ] {
        let old: [u8; 4] = made.bytes(1024 + at, 4).try_into().unwrap();
        made.patch(1024 + at, &(u32::from_le_bytes(old) | bit).to_le_bytes());
        assert!(
            matches!(made.free(), Err(KeepWhole::Features { .. } | KeepWhole::NotRead)),
            "{at} {bit:x}: {:?}",
            made.free()
        );
        made.patch(1024 + at, &old);
    }
    made.free().unwrap();
}

/// Without checksums, the counts and what is known of metadata must do.
#[test]
fn a_bitmap_that_disagrees_is_kept_whole() {
    let (Some((made, _)), Some(debugfs)) = (
        made(&["-t", "ext4", "-b", "4096", "-O", "^metadata_csum,^uninit_bg"], 32 * MIB, 1),
        program("debugfs", PACKAGE),
    ) else {
        return;
    };
    let debug = |command: &str| said(Command::new(&debugfs).args(["-w", "-R", command]).arg(&made.path));
    let free = dumped(&made);
    debug(&format!("setb {}", free[100]));
    assert!(matches!(made.free(), Err(KeepWhole::Count { .. })), "{:?}", made.free());
    debug(&format!("freeb {}", free[100]));
    made.free().unwrap();
    // One used block less, one free block less: counts agree. The used one is metadata.
    let table = u64::from(u32::from_le_bytes(made.bytes(4096 + 8, 4).try_into().unwrap()));
    debug(&format!("freeb {table}"));
    debug(&format!("setb {}", free[100]));
    assert!(
        matches!(made.free(), Err(KeepWhole::UsedIsFree { what: "inode table", .. })),
        "{:?}",
        made.free()
    );
}

/// A block of a file for one that is free: all counts agree, and only the checksum knows.
#[test]
fn a_bitmap_with_a_wrong_checksum_is_kept_whole() {
    let layout = ["-t", "ext4", "-b", "4096"];
    let (Some((made, files)), Some(debugfs)) = (made(&layout, 32 * MIB, 1), program("debugfs", PACKAGE))
    else {
        return;
    };
    let name = files.iter().find(|(_, bytes)| bytes.len() > 5000).unwrap().0;
    let used = said(Command::new(debugfs).args(["-R", &format!("bmap dir/{name} 0")]).arg(&made.path));
    let (used, free) = (used.trim().parse::<u64>().unwrap(), dumped(&made)[9]);
    let bitmap = u64::from(u32::from_le_bytes(made.bytes(4096, 4).try_into().unwrap())) * 4096;
    for block in [used, free] {
        let old = made.bytes(bitmap + block / 8, 1)[0];
        made.patch(bitmap + block / 8, &[old ^ 1 << (block % 8)]);
    }
    assert!(matches!(made.free(), Err(KeepWhole::Checksum { what: "block bitmap" })), "{:?}", made.free());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 8, ..ProptestConfig::default() })]
    #[test]
    fn random_filesystems_keep_their_files(layout in 0..LAYOUTS.len(), seed in 0u64..1 << 40, size in 64u64..200) {
        if let Some((made, files)) = made(LAYOUTS[layout], size * MIB, seed) {
            let disk = made.disk();
            let map = ext::free(&Part::new(&disk, 0..disk.size()).unwrap()).unwrap();
            prop_assert!(numbers(map.free.runs()) == dumped(&made));
            made.spoil_free();
            check(&made, &files);
        }
    }
}
