//! XFS against xfsprogs.

use proptest::prelude::*;

use super::super::{Unclean, part::Part, xfs};
use super::*;

const PACKAGE: &str = "xfsprogs";
const LAYOUTS: &[&[&str]] = &[
    &[],
    &["-m", "crc=0"],
    &["-m", "rmapbt=1,reflink=1"],
    &["-m", "finobt=0,reflink=0"],
    &["-b", "size=1024"],
    &["-m", "crc=0", "-b", "size=512", "-n", "size=4096"],
    &["-s", "size=4096"],
    &["-b", "size=16384"],
    &["-d", "agcount=3"],
    &["-m", "crc=0", "-d", "agcount=2"],
    &["-l", "version=2,su=32768"],
    &["-i", "sparse=1,maxpct=50", "-m", "bigtime=1,inobtcount=1"],
];

/// A filesystem with files.
pub(super) fn made(layout: &[&str], size: u64, seed: u64) -> Option<(Made, Files)> {
    let mkfs = program("mkfs.xfs", PACKAGE)?;
    let made = Made::empty(size);
    let files = files(seed, 24);
    let tree = made.dir.path().join("tree");
    put(&tree, &files);
    // See mkfs.xfs(8): name, mode, owner, group, and for a file where its bytes are.
    let lines: String =
        files.keys().map(|name| format!("{name} ---644 0 0 {}\n", tree.join(name).display())).collect();
    let proto = made.dir.path().join("proto");
    fs::write(&proto, format!("boot 0 0\nd--755 0 0\n{lines}$\n")).unwrap();
    let mut command = Command::new(mkfs);
    // What its own tests set, so that it takes less than 300 MiB.
    for variable in ["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"] {
        command.env(variable, "1");
    }
    said(command.args(["-q", "-f", "-p"]).arg(&proto).args(layout).arg(&made.path));
    Some((made, files))
}

fn db(made: &Made, commands: &[&str]) -> String {
    let mut command = Command::new(program("xfs_db", PACKAGE).unwrap());
    for line in commands {
        command.args(["-c", line]);
    }
    said(command.args(["-x", "-f"]).arg(&made.path))
}

/// A number that `xfs_db` shows.
fn shown(made: &Made, at: &str, field: &str) -> u64 {
    let text = db(made, &[at, &format!("print {field}")]);
    text.trim().rsplit(' ').next().unwrap().parse().unwrap()
}

/// The free blocks by `xfs_db`, without those that its groups have set aside.
fn dumped(made: &Made) -> Vec<u64> {
    let group_len = shown(made, "sb 0", "agblocks");
    let mut blocks = Vec::new();
    for line in db(made, &["freesp -d"]).lines() {
        let words: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // The histogram behind the list has more columns.
        if let ([group, first, len], 3) = (&words[..], line.split_whitespace().count()) {
            blocks.extend((0..*len).map(|block| group * group_len + first + block));
        }
    }
    for group in 0..shown(made, "sb 0", "agcount") {
        let (first, count) = (
            shown(made, &format!("agf {group}"), "flfirst"),
            shown(made, &format!("agf {group}"), "flcount"),
        );
        let listed =
            (first..first + count).map(|slot| shown(made, &format!("agfl {group}"), &format!("bno[{slot}]")));
        let listed: Vec<u64> = listed.map(|block| group * group_len + block).collect();
        blocks.retain(|block| !listed.contains(block));
    }
    blocks.sort_unstable();
    blocks
}

pub(super) fn check(made: &Made, files: &Files) {
    made.run(&program("xfs_repair", PACKAGE).unwrap(), ["-n", "-f"]);
    let (block, group_len) = (shown(made, "sb 0", "blocksize"), shown(made, "sb 0", "agblocks"));
    let group_bits = shown(made, "sb 0", "agblklog");
    // Inodes in the order of the protofile; each file is where `xfs_db` says that its extents are.
    let root = shown(made, "sb 0", "rootino");
    let listing = db(made, &[&format!("inode {root}"), "ls"]);
    let mut seen = 0;
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(((name, expected), inode)) =
            words.iter().find_map(|word| files.get_key_value(*word)).zip(words.get(1))
        else {
            continue;
        };
        let mut bytes = Vec::new();
        for extent in db(made, &[&format!("inode {inode}"), "bmap"]).lines() {
            let words: Vec<&str> = extent.split_whitespace().collect();
            let ["data", "offset", _, "startblock", start, _, "count", count, ..] = words[..] else {
                continue;
            };
            let start: u64 = start.parse().unwrap();
            let at = (start >> group_bits) * group_len + (start & ((1 << group_bits) - 1));
            bytes.extend(made.bytes(at * block, count.parse::<usize>().unwrap() * block as usize));
        }
        bytes.truncate(expected.len());
        // Of a file as short as this the inode may hold the bytes.
        assert!(bytes == *expected, "{name}: {} {}", bytes.len(), expected.len());
        seen += 1;
    }
    assert_eq!(seen, files.len(), "{listing}");
}

fn free_blocks(made: &Made) -> Result<Vec<u64>, KeepWhole> {
    let disk = made.disk();
    Ok(numbers(xfs::free(&Part::new(&disk, 0..disk.size())?)?.free.runs()))
}

#[test]
fn every_layout_is_read_as_xfsprogs_reads_it() {
    for (seed, layout) in LAYOUTS.iter().enumerate() {
        let Some((made, files)) = made(layout, 64 * MIB, seed as u64) else { return };
        assert!(
            free_blocks(&made).unwrap_or_else(|why| panic!("{layout:?}: {why}")) == dumped(&made),
            "{layout:?}"
        );
        assert!(made.spoil_free() > 8 * MIB, "{layout:?}");
        check(&made, &files);
    }
}

#[test]
fn a_log_with_something_in_it_is_kept_whole() {
    for layout in [&[][..], &["-m", "crc=0"]] {
        let Some((made, _)) = made(layout, 64 * MIB, 1) else { return };
        made.free().unwrap();
        let (block, group_len) = (shown(&made, "sb 0", "blocksize"), shown(&made, "sb 0", "agblocks"));
        let (start, bits) = (shown(&made, "sb 0", "logstart"), shown(&made, "sb 0", "agblklog"));
        let log = ((start >> bits) * group_len + (start & ((1 << bits) - 1))) * block;
        let dirty = |at: u64, bytes: &[u8]| {
            let old = made.bytes(log + at, bytes.len());
            made.patch(log + at, bytes);
            assert!(
                matches!(made.free(), Err(KeepWhole::Unclean(Unclean::Journal))),
                "{layout:?} {at}: {:?}",
                made.free()
            );
            made.patch(log + at, &old);
            made.free().unwrap();
        };
        // The unmount record's operation has no such flag; two operations; a sector of the next record; an older one.
        let headers = u64::from(
            u32::from_be_bytes(made.bytes(log + 320, 4).try_into().unwrap()).div_ceil(32 << 10).max(1),
        );
        dirty(512 * headers + 9, &[0]);
        dirty(40, &[0, 0, 0, 2]);
        dirty(512 * 20, &made.bytes(log + 4, 4));
        dirty(512 * 30, &[0, 0, 0, 9]);
        dirty(304, &[7; 16]);
    }
}

#[test]
fn trees_and_counts_that_disagree_are_kept_whole() {
    let Some((made, _)) = made(&["-m", "crc=0"], 64 * MIB, 1) else { return };
    let write = |at: &str, field: &str, value: u64| {
        let old = shown(&made, at, field);
        db(&made, &[at, &format!("write {field} {value}")]);
        assert!(
            matches!(
                made.free(),
                Err(KeepWhole::Count { .. } | KeepWhole::Damaged { .. } | KeepWhole::UsedIsFree { .. })
            ),
            "{at} {field}: {:?}",
            made.free()
        );
        db(&made, &[at, &format!("write {field} {old}")]);
        made.free().unwrap();
    };
    write("sb 0", "fdblocks", 7);
    write("agf 1", "freeblks", 7);
    write("agf 1", "seqno", 0);
    write("agf 0", "flcount", 3);
    write("agf 1", "btreeblks", 1);
    // The first free extent of a group a block to the left, where the free list is: in one tree, and in both.
    let first = |tree: &str, to: u64| {
        db(&made, &["agf 1", &format!("addr {tree}"), &format!("write recs[1].startblock {to}")]);
    };
    let text = db(&made, &["agf 1", "addr bnoroot", "print recs[1].startblock"]);
    let start: u64 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(shown(&made, "agf 1", "bnolevel"), 1);
    first("bnoroot", start - 1);
    let why = made.free().unwrap_err();
    assert!(matches!(why, KeepWhole::Damaged { what: "tree of free extents by length" }), "{why:?}");
    first("cntroot", start - 1);
    let why = made.free().unwrap_err();
    assert!(matches!(why, KeepWhole::UsedIsFree { what: "free list", .. }), "{why:?}");
    first("bnoroot", start);
    first("cntroot", start);
    made.free().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 8, ..ProptestConfig::default() })]
    #[test]
    fn random_filesystems_keep_their_files(layout in 0..LAYOUTS.len(), seed in 0u64..1 << 40, size in 64u64..300) {
        if let Some((made, files)) = made(LAYOUTS[layout], size * MIB, seed) {
            prop_assert!(free_blocks(&made).unwrap() == dumped(&made));
            made.spoil_free();
            check(&made, &files);
        }
    }
}
