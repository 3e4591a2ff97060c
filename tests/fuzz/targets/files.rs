//! A filesystem that is not ours: ext2, ext3, ext4 and FAT, listed and read. The input is a list of patches, two bytes for where and one for
//! what, to a small ext4 and to a small FAT that are right.
#![no_main]

use std::io;

use images::disk::ReadDisk;
use images::files::Files;
use libfuzzer_sys::fuzz_target;

struct Bytes<'b>(&'b [u8]);

impl ReadDisk for Bytes<'_> {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let part = from.checked_add(into.len()).and_then(|end| self.0.get(from..end));
        into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

struct Disk(Vec<u8>);

impl Disk {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn le16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    fn le32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    /// Mode, length and flags of an inode of 128 bytes; where its map of blocks starts comes back.
    fn inode(&mut self, number: usize, mode: u16, len: u32, flags: u32) -> usize {
        let at = 3072 + 128 * (number - 1);
        self.le16(at, mode);
        self.le32(at + 4, len);
        self.le32(at + 32, flags);
        at + 40
    }

    /// A directory in one block.
    fn names(&mut self, block: usize, names: &[(u32, &str)]) {
        let (start, mut at) = (block * 1024, block * 1024);
        for (index, (inode, name)) in names.iter().enumerate() {
            let len = if index + 1 == names.len() { start + 1024 - at } else { 16 };
            self.le32(at, *inode);
            self.le16(at + 4, len as u16);
            self.put(at + 6, &[name.len() as u8, 0]);
            self.put(at + 8, name.as_bytes());
            at += len;
        }
    }
}

/// 16 blocks of 1024 bytes, 24 inodes from block 3 on.
fn ext() -> Disk {
    let mut disk = Disk(vec![0; 16 << 10]);
    for (at, value) in [(0, 24), (4, 16), (40, 24), (56, 0xef53), (96, 0x42)] {
        disk.le32(1024 + at, value);
    }
    disk.le32(2048 + 8, 3);
    let root = disk.inode(2, 0x41ed, 1024, 0);
    disk.le32(root, 6);
    disk.names(6, &[(2, "."), (2, ".."), (11, "file"), (12, "dir"), (14, "link")]);
    // A file in an extent tree of two levels.
    let map = disk.inode(11, 0x81a4, 2000, 0x8_0000);
    for (at, depth, count) in [(map, 1, 1), (9 * 1024, 0, 2)] {
        [0xf30a, count, 4, depth].iter().enumerate().for_each(|(n, v)| disk.le16(at + 2 * n, *v));
    }
    disk.le32(map + 16, 9);
    for (entry, (block, len, first)) in [(0, 1, 10), (1, 0x8001, 11)].into_iter().enumerate() {
        let at = 9 * 1024 + 12 * (entry + 1);
        disk.le32(at, block);
        disk.le16(at + 4, len);
        disk.le32(at + 8, first);
    }
    let dir = disk.inode(12, 0x41ed, 1024, 0);
    disk.le32(dir, 7);
    disk.names(7, &[(12, "."), (2, ".."), (13, "old")]);
    // A file with a list of blocks.
    let map = disk.inode(13, 0x81a4, 14_000, 0);
    disk.le32(map, 10);
    disk.le32(map + 48, 8);
    disk.le32(8 * 1024, 11);
    let map = disk.inode(14, 0xa1ff, 4, 0);
    disk.put(map, b"file");
    disk
}

/// FAT12 with 128 sectors of 512 bytes: one file, one directory with a file.
fn fat() -> Disk {
    let mut disk = Disk(vec![0; 64 << 10]);
    disk.put(0, &[0xeb, 0x3c, 0x90]);
    disk.put(3, b"MSDOS5.0");
    disk.le16(11, 512);
    disk.put(13, &[1, 1, 0, 1, 16, 0, 128, 0, 0xf8, 1, 0]);
    disk.put(36, &[0x80, 0, 0x29]);
    disk.put(43, b"NO NAME    FAT12   ");
    disk.put(510, &[0x55, 0xaa]);
    // Clusters 2 and 3 a chain; 4 and 5 one cluster each.
    disk.put(512, &[0xf8, 0xff, 0xff, 0x03, 0xf0, 0xff, 0xff, 0xff, 0xff]);
    for (at, name, attributes, cluster, len) in [
        (1024, b"FILE    TXT", 0x20, 2, 700),
        (1056, b"DIR        ", 0x10, 4, 0),
        (1536 + 2 * 512, b"INNER   TXT", 0x20, 5, 100),
    ] {
        disk.put(at, name);
        disk.put(at + 11, &[attributes]);
        disk.le16(at + 26, cluster);
        disk.le32(at + 28, len);
    }
    disk
}

fn look(mut disk: Disk, patches: &[[u8; 3]]) {
    for [low, high, value] in patches {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % disk.0.len();
        disk.0[at] = *value;
    }
    let disk = Bytes(&disk.0);
    // As it lies, more is read: what was not unmounted, too.
    let as_it_lies = Files::open_as_it_lies(&disk, 0..disk.size());
    if let Ok(Some((files, true))) = &as_it_lies
        && let Ok(listing) = files.list(&mut |_| true)
    {
        listing.entries.iter().take(64).for_each(|entry| drop(files.read(entry, 1 << 20)));
    }
    let opened = Files::open(&disk, 0..disk.size());
    assert!(!patches.is_empty() || matches!(opened, Ok(Some(_))), "what is right is read");
    let Ok(Some(files)) = opened else { return };
    let Ok(listing) = files.list(&mut |_| true) else { return };
    for entry in listing.entries.iter().take(64) {
        let read = files.read(entry, 1 << 20);
        assert!(!patches.is_empty() || read.is_ok() || entry.kind != images::files::Kind::File);
        let _ = files.runs(entry);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (patches, _) = bytes.as_chunks::<3>();
    look(ext(), patches);
    look(fat(), patches);
});
