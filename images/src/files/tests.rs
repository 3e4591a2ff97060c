//! Real filesystems by mke2fs and mtools, hostile ones by hand.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::disk::esp::{Esp, EspError};
use crate::restore::mem::MemDisk;
use crate::testing::{MIB, noise, not_looked_at};

/// Where a partition starts on the disks of these tests.
const START: u64 = MIB;

/// Run a program of Debian's; `None`, said loudly, when it is not here.
fn peer(package: &str, command: &mut Command) -> Option<String> {
    match command.stdin(Stdio::null()).output() {
        Err(_) => {
            not_looked_at(&command.get_program().to_string_lossy(), package);
            None
        }
        Ok(output) => {
            assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
    }
}

/// A tree with everything that a listing tells apart.
fn tree(root: &Path) {
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("etc/hostname", b"panel\n");
    write("etc/empty", b"");
    write("usr/lib/large", &noise(1, 9 * MIB as usize + 5));
    write("usr/lib/twelve", &noise(2, 12 * 1024));
    write("usr/lib/thirteen", &noise(3, 13 * 1024 + 1));
    write("deep/a/b/c/d/e/f", b"deep");
    write("a name with\ttab and ümlaut", b"x");
    (0..2000).for_each(|n| write(&format!("many/file-with-a-longish-name-{n}"), &[n as u8]));
    symlink("etc/hostname", root.join("short")).unwrap();
    symlink("x/".repeat(60), root.join("long")).unwrap();
    fs::set_permissions(root.join("etc/hostname"), fs::Permissions::from_mode(0o4640)).unwrap();
    // Pieces with holes between, at the ends too.
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"here", 5 * MIB).unwrap();
    sparse.set_len(7 * MIB).unwrap();
}

/// A disk with a filesystem of this kind behind its first MiB.
fn disk(dir: &Path, tree: &Path, words: &[&str]) -> Option<Vec<u8>> {
    let image = dir.join("image");
    let _ = fs::remove_file(&image);
    let mut command = Command::new("mke2fs");
    let size = if words.contains(&"65536") { "256M" } else { "40M" };
    command.args(["-q", "-F", "-d"]).arg(tree).args(words).arg(&image).arg(size);
    peer("e2fsprogs", &mut command)?;
    Some([vec![0xaa; START as usize], fs::read(&image).unwrap()].concat())
}

fn open(disk: &MemDisk) -> Result<Option<Files<'_>>, FilesError> {
    Files::open(disk, START..disk.size())
}

/// Path, kind and content of everything below a directory, as the running system has it.
fn walk(root: &Path, at: &Path, found: &mut BTreeMap<PathBuf, (Kind, u64, Owner)>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = match () {
            () if meta.is_dir() => Kind::Directory,
            () if meta.is_symlink() => Kind::Symlink(fs::read_link(&path).unwrap()),
            () => Kind::File,
        };
        let owner = Owner { mode: (meta.mode() & 0o7777) as u16, uid: meta.uid(), gid: meta.gid() };
        found.insert(Path::new("/").join(path.strip_prefix(root).unwrap()), (kind, meta.len(), owner));
        if meta.is_dir() {
            walk(root, &path, found);
        }
    }
}

const KINDS: [&[&str]; 7] = [
    &["-t", "ext4"],
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext4", "-b", "65536"],
    &["-t", "ext4", "-O", "^metadata_csum,^64bit,^flex_bg,large_dir", "-I", "128"],
    &["-t", "ext3"],
    &["-t", "ext2", "-b", "1024"],
    &["-t", "ext2", "-O", "^filetype,^dir_index", "-I", "128"],
];

#[test]
fn every_kind_of_ext_lists_and_reads_as_the_tree_it_was_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    tree(&root);
    let mut expected = BTreeMap::new();
    walk(&root, &root, &mut expected);
    for words in KINDS {
        let Some(bytes) = disk(dir.path(), &root, words) else { return };
        let target = MemDisk::new(bytes.clone(), 512);
        let files = open(&target).unwrap().unwrap();
        let listing = files.list(&mut |_| true).unwrap();
        assert!(listing.unread.is_empty(), "{words:?}: {:?}", listing.unread);
        let found: BTreeMap<_, _> = listing.entries.iter().map(|e| (e.path.clone(), e)).collect();
        assert_eq!(found.len(), expected.len() + 1, "{words:?}: all, and lost+found");
        for (path, (kind, len, owner)) in &expected {
            let entry = found[path];
            assert_eq!((&entry.kind, entry.owner), (kind, Some(*owner)), "{words:?} {path:?}");
            if *kind != Kind::File {
                continue;
            }
            let plain = fs::read(root.join(path.strip_prefix("/").unwrap())).unwrap();
            assert_eq!(entry.len, *len);
            assert!(files.read(entry, *len).unwrap() == plain, "{words:?} {path:?}");
            let mut by_runs = vec![0; plain.len()];
            for run in files.runs(entry).unwrap() {
                let (at, len, from) = (run.at as usize, run.len as usize, run.disk as usize);
                by_runs[at..at + len].copy_from_slice(&bytes[from..from + len]);
            }
            assert!(by_runs == plain, "{words:?} {path:?}: runs");
        }
    }
}

#[test]
fn what_is_not_wanted_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    tree(&root);
    let Some(bytes) = disk(dir.path(), &root, KINDS[0]) else { return };
    let target = MemDisk::new(bytes, 512);
    let files = open(&target).unwrap().unwrap();
    let listing = files.list(&mut |path| path == Path::new("/etc")).unwrap();
    let paths: Vec<String> = listing.entries.iter().map(|e| Shown(&e.path).to_string()).collect();
    assert!(paths.contains(&"/etc/hostname".to_owned()));
    assert!(paths.contains(&"/many".to_owned()) && !paths.iter().any(|path| path.starts_with("/many/")));
    assert!(paths.contains(&"/a name with\\x09tab and ümlaut".to_owned()));
    let large = listing.entries.iter().find(|e| e.len > 0 && e.kind == Kind::File).unwrap();
    assert!(matches!(files.read(large, large.len - 1), Err(FilesError::TooLong { .. })));
}

#[test]
fn a_filesystem_that_was_not_unmounted_or_has_unknown_features_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    fs::create_dir(&root).unwrap();
    let Some(clean) = disk(dir.path(), &root, KINDS[0]) else { return };
    let at = (START + 1024) as usize;
    let opened = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = clean.clone();
        change(&mut bytes[at..at + 1024]);
        open(&MemDisk::new(bytes, 512)).map(|files| files.is_some())
    };
    assert!(matches!(opened(&|_| ()), Ok(true)));
    assert!(matches!(opened(&|sb| sb[56] = 0), Ok(false)));
    assert!(matches!(opened(&|sb| sb[96] |= 4), Err(FilesError::Journal)));
    for (bits, unclean) in [(0, false), (4, true)] {
        let mut bytes = clean.clone();
        bytes[at + 96] |= bits;
        let disk = MemDisk::new(bytes, 512);
        let (files, said) = Files::open_as_it_lies(&disk, START..disk.size()).unwrap().unwrap();
        assert!(said == unclean && files.list(&mut |_| true).is_ok(), "{bits}");
    }
    assert!(matches!(opened(&|sb| sb[96] |= 1), Err(FilesError::Unsupported { .. })));
    for (what, at, value) in
        [("block size", 24, 7), ("blocks", 7, 0xff), ("inode size", 88, 1), ("inodes of a group", 43, 0xff)]
    {
        assert!(matches!(opened(&|sb| sb[at] = value), Err(FilesError::Damaged { .. })), "{what}");
    }
    let short = MemDisk::new(clean[..clean.len() - 4096].to_vec(), 512);
    assert!(matches!(open(&short), Err(FilesError::Damaged { .. })));
    assert!(matches!(Files::open(&short, 0..u64::MAX), Err(FilesError::Damaged { .. })));
    assert!(Files::open(&short, 0..512).unwrap().is_none());
}

/// The bytes of a filesystem after these orders to debugfs.
fn changed(dir: &Path, orders: &[&str]) -> Option<Vec<u8>> {
    let image = dir.join("image");
    for order in orders {
        peer("e2fsprogs", Command::new("debugfs").args(["-w", "-R", order]).arg(&image))?;
    }
    Some([vec![0xaa; START as usize], fs::read(&image).unwrap()].concat())
}

#[test]
fn directories_in_circles_and_bad_inodes_are_reported_and_take_no_other_file_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    tree(&root);
    if disk(dir.path(), &root, KINDS[0]).is_none() {
        return;
    }
    let orders = [
        "link /deep /deep/a/again",
        "set_inode_field /etc/empty mode 0",
        "set_inode_field /usr/lib/twelve block[0] 0",
        "set_inode_field /usr/lib/thirteen flags 0x80800",
    ];
    let Some(bytes) = changed(dir.path(), &orders) else { return };
    let target = MemDisk::new(bytes, 512);
    let files = open(&target).unwrap().unwrap();
    let listing = files.list(&mut |_| true).unwrap();
    let unread: BTreeMap<String, String> =
        listing.unread.iter().map(|(path, why)| (Shown(path).to_string(), why.to_string())).collect();
    // One of the two paths of the directory is reported, the one that was reached later.
    assert!(unread.keys().any(|path| path.starts_with("/deep")), "{unread:?}");
    assert!(unread["/etc/empty"].contains("inode is damaged"));
    assert_eq!(unread.len(), 2);
    let entry = |path: &str| listing.entries.iter().find(|e| e.path == Path::new(path)).unwrap();
    assert_eq!(files.read(entry("/etc/hostname"), 100).unwrap(), b"panel\n");
    assert!(matches!(files.read(entry("/usr/lib/twelve"), MIB), Err(FilesError::Damaged { .. })));
    assert!(matches!(files.read(entry("/usr/lib/thirteen"), MIB), Err(FilesError::Unsupported { .. })));
}

#[test]
fn flipped_bytes_end_in_an_answer_after_bounded_reading() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    fs::create_dir_all(root.join("a/b")).unwrap();
    (0..50).for_each(|n| fs::write(root.join(format!("a/{n}")), noise(n, 3000)).unwrap());
    for words in [KINDS[0], KINDS[5]] {
        let Some(bytes) = disk(dir.path(), &root, words) else { return };
        // Where metadata lies: all that is not noise or zeros.
        let used: Vec<usize> = (START as usize + 1024..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        proptest!(ProptestConfig::with_cases(60), |(flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..40))| {
            let mut bytes = bytes.clone();
            for (at, flip) in &flips {
                bytes[used[at.index(used.len())]] ^= flip;
            }
            let target = MemDisk::new(bytes, 512);
            if let Ok(Some(files)) = open(&target) && let Ok(listing) = files.list(&mut |_| true) {
                for entry in &listing.entries {
                    let _ = files.read(entry, MIB);
                    let _ = files.runs(entry);
                }
            }
        });
    }
}

#[test]
fn a_fat_with_flipped_bytes_ends_in_an_answer_after_bounded_reading() {
    let mut image = std::io::Cursor::new(vec![0; 2 * MIB as usize]);
    fatfs::format_volume(&mut image, fatfs::FormatVolumeOptions::new()).unwrap();
    let target = MemDisk::new([vec![0xaa; START as usize], image.into_inner()].concat(), 512);
    for path in ["EFI/BOOT/BOOTX64.EFI", "EFI/a long name.conf", "loader/entries/one.conf"] {
        crate::disk::esp::put_file(&target, START..target.size(), path, &noise(1, 9000)).unwrap();
    }
    let bytes = target.into_bytes();
    let used: Vec<usize> = (START as usize..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    proptest!(ProptestConfig::with_cases(300), |(flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..20))| {
        let mut bytes = bytes.clone();
        for (at, flip) in &flips {
            // Most of what is used are the files' bytes; names and table come first.
            bytes[used[at.index(used.len().min(2000))]] ^= flip;
        }
        let target = MemDisk::new(bytes, 512);
        if let Ok(Some(files)) = open(&target) && let Ok(listing) = files.list(&mut |_| true) {
            for entry in &listing.entries {
                let _ = files.read(entry, MIB);
            }
        }
        if let Ok(esp) = Esp::open(&target, START..target.size()) {
            let _ = esp.read("EFI/BOOT/BOOTX64.EFI");
        }
    });
}

#[test]
fn a_file_on_an_esp_is_found_as_firmware_finds_it() {
    let mut image = std::io::Cursor::new(vec![0; 2 * MIB as usize]);
    fatfs::format_volume(&mut image, fatfs::FormatVolumeOptions::new()).unwrap();
    let target = MemDisk::new([vec![0xaa; START as usize], image.into_inner()].concat(), 512);
    for (path, byte) in
        [("EFI/BOOT/BOOTX64.EFI", b'1'), ("EFI/a long Näme.conf", b'2'), ("EFI/a long name.txt", b'3')]
    {
        crate::disk::esp::put_file(&target, START..target.size(), path, &[byte]).unwrap();
    }
    let esp = Esp::open(&target, START..target.size()).unwrap();
    for (path, byte) in
        [(r"\efi\boot\bootx64.efi", b'1'), ("/EFI/A LONG NÄME.CONF", b'2'), ("EFI/ALONGN~1.TXT", b'3')]
    {
        assert_eq!(esp.read(path).unwrap(), [byte], "{path}");
    }
    for none in
        ["", "EFI", "EFI/BOOT", "EFI/BOOT/BOOTX64.EFI/more", "EFI/BOOT/BOOTX64", "EFI//BOOT/BOOTX64.EFI"]
    {
        assert!(matches!(esp.read(none), Err(EspError::NotFound { .. })) && !esp.has(none), "{none}");
    }
}

#[test]
fn fat_lists_and_reads_what_mtools_put_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    fs::create_dir_all(root.join("EFI/BOOT")).unwrap();
    fs::write(root.join("EFI/BOOT/BOOTX64.EFI"), noise(1, 300_000)).unwrap();
    fs::write(root.join("EFI/a long name.conf"), b"long").unwrap();
    for (bits, size) in [("12", "2M"), ("16", "32M"), ("32", "64M")] {
        let image = dir.path().join("fat");
        fs::File::create(&image)
            .unwrap()
            .set_len(size.trim_end_matches('M').parse::<u64>().unwrap() * MIB)
            .unwrap();
        let format = peer("dosfstools", Command::new("mkfs.fat").args(["-s", "1", "-F", bits]).arg(&image));
        let copy = peer(
            "mtools",
            Command::new("mcopy").args(["-s", "-i"]).arg(&image).arg(root.join("EFI")).arg("::"),
        );
        if format.is_none() || copy.is_none() {
            return;
        }
        let bytes = [vec![0xaa; START as usize], fs::read(&image).unwrap()].concat();
        let target = MemDisk::new(bytes.clone(), 512);
        let files = open(&target).unwrap().unwrap();
        let listing = files.list(&mut |_| true).unwrap();
        let paths: Vec<String> = listing.entries.iter().map(|e| Shown(&e.path).to_string()).collect();
        assert_eq!(paths, ["/EFI", "/EFI/BOOT", "/EFI/BOOT/BOOTX64.EFI", "/EFI/a long name.conf"]);
        let loader = &listing.entries[2];
        assert!(files.read(loader, loader.len).unwrap() == noise(1, 300_000));
        assert_eq!(loader.owner, None);
        // A directory that holds itself: the first cluster of BOOT becomes that of EFI.
        let mut circle = bytes;
        let boot = circle.windows(11).rposition(|w| w == b"BOOT       ").unwrap();
        let efi = circle.windows(11).position(|w| w == b"EFI        ").unwrap();
        for field in [20, 21, 26, 27] {
            circle[boot + field] = circle[efi + field];
        }
        let target = MemDisk::new(circle, 512);
        let listing = open(&target).unwrap().unwrap().list(&mut |_| true).unwrap();
        assert!(!listing.unread.is_empty(), "FAT{bits}");
    }
}
