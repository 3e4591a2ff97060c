//! The filesystem of a partition that is not ours: its kind and what it leaves free.
//!
//! An input is a list of pieces of a disk of 48 MiB that is else all zeros: a place in three bytes, counted in pieces, and
//! the 256 bytes there. `seeds/filesystem.py` makes small filesystems of this form, without checksums.
#![no_main]

use std::collections::HashMap;
use std::io;

use images::disk::ReadDisk;
use images::filesystem::{FREE_ALIGN, FREE_MIN, free_space, kind};
use libfuzzer_sys::fuzz_target;

const SIZE: u64 = 48 << 20;
const PIECE: u64 = 256;

struct Disk<'a>(HashMap<u64, &'a [u8]>);

impl ReadDisk for Disk<'_> {
    fn size(&self) -> u64 {
        SIZE
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        assert!(
            offset % PIECE == 0 && offset + into.len() as u64 <= SIZE,
            "reads are whole sectors of the disk"
        );
        into.fill(0);
        // Most reads are longer than the list of pieces.
        for (number, piece) in &self.0 {
            let at = (number * PIECE).checked_sub(offset).and_then(|at| usize::try_from(at).ok());
            if let Some(place) = at.and_then(|at| into.get_mut(at..at + piece.len())) {
                place.copy_from_slice(piece);
            }
        }
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let pieces = bytes.chunks_exact(3 + PIECE as usize);
    let disk = Disk(
        pieces.map(|raw| (u64::from(u32::from_le_bytes([raw[0], raw[1], raw[2], 0])), &raw[3..])).collect(),
    );
    let _ = kind(&disk, 0..SIZE);
    if let Ok(free) = free_space(&disk, 0..SIZE) {
        assert!(free.iter().all(|range| range.end <= SIZE && range.end - range.start >= FREE_MIN));
        assert!(free.iter().all(|range| range.start % FREE_ALIGN == 0 && range.end % FREE_ALIGN == 0));
        assert!(free.windows(2).all(|pair| pair[0].end < pair[1].start));
    }
});
