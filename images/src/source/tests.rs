//! Each format reads as the disk that it holds, and what it must not ask for is refused by name.

mod formats;
mod hostile;
mod names;
mod peers;

use std::path::{Path, PathBuf};

use super::*;
use crate::testing::{MIB, noise};

/// Open by content, unpacking beside the file.
fn open(path: &Path) -> Result<Source, SourceError> {
    open_as(path, None)
}

fn open_as(path: &Path, format: Option<Format>) -> Result<Source, SourceError> {
    let temp = path.parent().unwrap();
    Source::open(path, &Wanted { format, temp, unpacked_max: None }, &mut |_| {})
}

/// A disk that has what formats treat in their own ways: noise, text, zeros that are written, holes, odd edges.
fn lively_disk(len: u64) -> Vec<u8> {
    let mut disk = vec![0; len as usize];
    let mut put = |at: u64, bytes: &[u8]| disk[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    let text = b"what a control panel logs, again and again\n".repeat(30_000);
    put(0, &noise(1, 700));
    put(65_536, &noise(2, 300_000));
    put(2 * MIB - 4096, &text);
    put(5 * MIB + 512, &noise(3, 512));
    put(6 * MIB, &[0x55; 3 * MIB as usize]);
    put(len - 1500, &noise(4, 1500));
    disk
}

/// The whole disk, by reads of a mebibyte.
fn bytes_of(disk: &dyn ReadDisk, what: &str) -> Vec<u8> {
    let mut bytes = vec![0xaa; disk.size() as usize];
    for (number, piece) in bytes.chunks_mut(MIB as usize).enumerate() {
        disk.read_at(number as u64 * MIB, piece).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    bytes
}

/// The disk reads as `expected` wherever one begins, and no zeros are known that are none.
fn assert_reads_as(disk: &dyn ReadDisk, expected: &[u8], what: &str) {
    assert_eq!(disk.size(), expected.len() as u64, "{what}");
    assert!(bytes_of(disk, what) == expected, "{what}");
    let mut seed = blake3::Hasher::new();
    for number in 0..200_u64 {
        let random = seed.update(&number.to_le_bytes()).finalize();
        let number = u64::from_le_bytes(*random.as_bytes().first_chunk().unwrap());
        let from = (number % expected.len() as u64) as usize;
        let len = ((number >> 40) as usize % 200_000).min(expected.len() - from);
        let mut part = vec![0xaa; len];
        disk.read_at(from as u64, &mut part).unwrap();
        assert!(part == expected[from..from + len], "{what}: {len} bytes at {from}");
        let zeros = disk.zeros_at(from as u64) as usize;
        assert!(from + zeros <= expected.len(), "{what}");
        assert!(crate::restore::is_zero(&expected[from..from + zeros]), "{what}: {zeros} zeros at {from}");
    }
    let mut beyond = [0; 2];
    assert!(disk.read_at(expected.len() as u64 - 1, &mut beyond).is_err(), "{what}");
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
