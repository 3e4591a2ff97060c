//! Broken and hostile filesystems: refused by name, in bounded time, and never with a used block among the free ones.

use std::io;

use super::*;
use crate::disk::ReadDisk;

/// A filesystem to be spoiled, and what is free in it.
struct Victim {
    disk: Vec<u8>,
    free: Vec<Range<u64>>,
}

impl ReadDisk for Victim {
    fn size(&self) -> u64 {
        self.disk.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.copy_from_slice(&self.disk[offset as usize..offset as usize + buf.len()]);
        Ok(())
    }
}

impl Victim {
    fn new(made: &Made) -> Self {
        Self { disk: made.bytes(0, made.disk().size() as usize), free: made.free().unwrap() }
    }

    /// What is free after bytes have changed.
    fn with(&mut self, at: usize, bytes: &[u8]) -> Result<Vec<Range<u64>>, KeepWhole> {
        let place = at..at + bytes.len();
        let old = self.disk[place.clone()].to_vec();
        self.disk[place.clone()].copy_from_slice(bytes);
        let free = free_space(self, 0..self.size());
        self.disk[place].copy_from_slice(&old);
        free
    }

    /// Each byte of a structure flipped, in one bit and in all: what comes out is an error or the truth.
    fn flip(&mut self, what: &str, range: Range<usize>, step: usize, must_refuse: bool) {
        for at in range.step_by(step) {
            for mask in [1 << (at % 8), 0xff] {
                match self.with(at, &[self.disk[at] ^ mask]) {
                    Err(_) => {}
                    Ok(_) if must_refuse => panic!("{what}: byte {at} ^ {mask:#x} was not noticed"),
                    Ok(free) => {
                        assert!(self.covers(&free), "{what}: byte {at} ^ {mask:#x} frees what is in use")
                    }
                }
            }
        }
    }

    fn covers(&self, free: &[Range<u64>]) -> bool {
        let inside =
            |range: &Range<u64>| self.free.iter().any(|all| all.start <= range.start && range.end <= all.end);
        free.iter().all(inside)
    }
}

fn le32(disk: &[u8], at: usize) -> usize {
    u32::from_le_bytes(disk[at..at + 4].try_into().unwrap()) as usize
}

#[test]
fn a_flipped_byte_of_ext4_is_noticed_where_there_are_checksums() {
    let layout = ["-t", "ext4", "-b", "1024", "-N", "64", "-J", "size=1"];
    let Some((made, _)) = super::ext::made(&layout, 20 * MIB, 1) else { return };
    let mut victim = Victim::new(&made);
    victim.flip("superblock", 1024..2048, 1, true);
    // Two descriptors and more of 64 bytes, from block 2 on; the bitmap of the first group.
    victim.flip("descriptors", 2048..2048 + 3 * 64, 1, true);
    let bitmap = le32(&victim.disk, 2048) * 1024;
    victim.flip("bitmap", bitmap..bitmap + 1024, 5, true);
}

#[test]
fn a_flipped_byte_of_ext4_without_checksums_frees_nothing_known_to_be_used() {
    let layout = ["-t", "ext4", "-b", "1024", "-N", "64", "-J", "size=1", "-O", "^metadata_csum,^uninit_bg"];
    let Some((made, _)) = super::ext::made(&layout, 20 * MIB, 1) else { return };
    let mut victim = Victim::new(&made);
    victim.flip("superblock", 1024..2048, 1, false);
    victim.flip("descriptors", 2048..2048 + 3 * 64, 1, false);
    let bitmap = le32(&victim.disk, 2048) * 1024;
    victim.flip("bitmap", bitmap..bitmap + 1024, 5, true);
}

#[test]
fn a_flipped_byte_of_xfs_is_noticed_where_there_are_checksums() {
    let Some((made, _)) = super::xfs::made(&["-b", "size=1024"], 32 * MIB, 1) else { return };
    let mut victim = Victim::new(&made);
    // Superblock, AGF, AGI, AGFL, and from block 2 on the roots of the trees.
    victim.flip("headers", 0..2048, 3, true);
    victim.flip("trees", 2048..4096, 3, true);
}

#[test]
fn a_flipped_byte_of_fat_and_ntfs_frees_nothing_known_to_be_used() {
    if let Some((made, _)) = super::fat::made(4 * MIB, &["-F", "12"], 1) {
        let mut victim = Victim::new(&made);
        victim.flip("table", 512..1536, 3, true);
    }
    if let Some((made, _)) = super::fat::made(40 * MIB, &["-F", "32", "-s", "1"], 1) {
        // Without the jump and the name of who made it, this has a second copy; the state byte has not.
        Victim::new(&made).flip("boot sector", 11..64, 1, false);
    }
    if let Some((made, _)) = super::ntfs::made(&[], 16 * MIB, 1) {
        let mut victim = Victim::new(&made);
        victim.flip("boot sector", 0..80, 1, false);
        let table = u64::from_le_bytes(victim.disk[48..56].try_into().unwrap()) as usize * 4096;
        for record in [0, 2, 3, 6] {
            victim.flip("record", table + record * 1024..table + record * 1024 + 512, 1, false);
        }
    }
}

#[test]
fn cut_filesystems_are_kept_whole() {
    let made = [
        super::ext::made(&["-t", "ext4"], 16 * MIB, 1),
        super::xfs::made(&[], 32 * MIB, 1),
        super::ntfs::made(&[], 16 * MIB, 1),
        super::fat::made(16 * MIB, &["-F", "16"], 1),
    ];
    for (made, _) in made.into_iter().flatten() {
        let victim = Victim::new(&made);
        for len in [0, 512, 1024, 4096, 65_536, victim.disk.len() / 2, victim.disk.len() - 4096] {
            let cut = Victim { disk: victim.disk[..len].to_vec(), free: Vec::new() };
            let free = free_space(&cut, 0..cut.size());
            // Of nothing but zeros or too little nothing is known; of the rest the size is wrong.
            assert!(free.is_err(), "{} {len}", made.kind());
        }
        // Behind the end of the disk.
        assert!(free_space(&victim, 0..victim.size() + 4096).is_err());
        #[expect(clippy::reversed_empty_ranges, reason = "as a hostile table may have it")]
        let backwards = 4096..0;
        assert!(free_space(&victim, backwards).is_err());
    }
}

/// Numbers that would take long or much memory to believe.
#[test]
fn huge_numbers_are_refused_at_once() {
    let Some((made, _)) = super::ext::made(&["-t", "ext4", "-O", "^metadata_csum,^uninit_bg"], 16 * MIB, 1)
    else {
        return;
    };
    let mut victim = Victim::new(&made);
    for at in (0..264).step_by(4).map(|at| 1024 + at) {
        for value in [u32::MAX, 0, 1, i32::MAX as u32, 1 << 31] {
            let free = victim.with(at, &value.to_le_bytes());
            assert!(free.is_err() || victim.covers(&free.unwrap()), "{at} {value:#x}");
        }
    }
}
