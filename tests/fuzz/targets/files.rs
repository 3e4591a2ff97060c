//! A filesystem that is not ours: ext2, ext3, ext4 and FAT, listed and read. The input is a disk, and what stands behind the
//! superblock of an ext4 that is right.
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

fn look(bytes: &[u8]) {
    let disk = Bytes(bytes);
    let Ok(Some(files)) = Files::open(&disk, 0..disk.size()) else { return };
    let Ok(listing) = files.list(&mut |_| true) else { return };
    for entry in listing.entries.iter().take(64) {
        let _ = files.runs(entry);
        let _ = files.read(entry, 1 << 20);
    }
}

/// 16 blocks of 1024 bytes with 24 inodes; the group's descriptor says that inodes start in block 3.
fn behind_superblock(bytes: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; 2048];
    disk.extend(bytes);
    disk.resize(disk.len().max(16 << 10), 0);
    let mut put = |at: usize, value: u32| disk[1024 + at..1024 + at + 4].copy_from_slice(&value.to_le_bytes());
    put(0, 24);
    put(4, 16);
    put(40, 24);
    put(56, 0xef53);
    put(96, 0x42);
    disk[2048 + 8] = 3;
    // The root is a directory.
    disk[3072 + 128..3072 + 130].copy_from_slice(&0x41ed_u16.to_le_bytes());
    disk
}

fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    look(&behind_superblock(bytes));
});
