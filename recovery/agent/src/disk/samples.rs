//! Blocks read before and after an erasure: what a disk holds, and not only what it says.
//!
//! One block at a random place in each thousandth of the disk, and its first and last. A disk that says that it was erased and
//! still gives one of them back as it was is caught by it; that every byte is gone is the disk's word, since a sample is none.

use std::io;

use images::Digest;
use images::disk::{AlignedBuf, RestoreTarget};
use recovery_protocol::erase::EraseSamples;
use ring::rand::{SecureRandom as _, SystemRandom};

const BLOCK_LEN: u64 = 4096;
const PARTS: u64 = 1000;

/// A disk's samples: where, and what stood there.
#[derive(Debug)]
pub struct Samples {
    /// Offset in bytes, and the digest of what was there when that can tell: it was read, and was not one byte repeated.
    blocks: Vec<(u64, Option<Digest>)>,
}

/// What the samples say afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// In numbers.
    pub samples: EraseSamples,
    /// The first block that reads as before.
    pub unchanged_at: Option<u64>,
    /// The first block that is not zero.
    pub not_zero_at: Option<u64>,
}

impl Samples {
    /// Chooses blocks and reads none: for an erasure that had begun before.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn choose(target: &dyn RestoreTarget) -> io::Result<Self> {
        let blocks = target.size() / BLOCK_LEN;
        let parts = PARTS.min(blocks);
        let mut random = [0; 8];
        let mut chosen = vec![];
        for part in 0..parts {
            let (first, end) = (part * blocks / parts, (part + 1) * blocks / parts);
            SystemRandom::new()
                .fill(&mut random)
                .map_err(|_| io::Error::other("the system has no randomness"))?;
            chosen.push(first + u64::from_le_bytes(random) % (end - first));
        }
        if blocks > 0 {
            chosen.extend([0, blocks - 1]);
        }
        chosen.sort_unstable();
        chosen.dedup();
        Ok(Self { blocks: chosen.into_iter().map(|block| (block * BLOCK_LEN, None)).collect() })
    }

    /// Reads them before the erasure. What cannot be read tells nothing: a bad sector is no reason not to erase.
    pub fn read_before(&mut self, target: &dyn RestoreTarget) {
        let mut buffer = AlignedBuf::new(BLOCK_LEN as usize);
        for (offset, held) in &mut self.blocks {
            if target.reread_at(*offset, &mut buffer).is_ok() && !is_uniform(&buffer) {
                *held = Some(Digest::of(&buffer));
            }
        }
    }

    /// Reads them again.
    ///
    /// # Errors
    /// The first that cannot be read, with its offset.
    pub fn read_after(&self, target: &dyn RestoreTarget) -> Result<Found, (u64, io::Error)> {
        let mut found = Found::default();
        let mut buffer = AlignedBuf::new(BLOCK_LEN as usize);
        for (offset, before) in &self.blocks {
            target.reread_at(*offset, &mut buffer).map_err(|error| (*offset, error))?;
            let samples = &mut found.samples;
            samples.read += 1;
            samples.telling += u32::from(before.is_some());
            if is_uniform(&buffer) && buffer[0] == 0 {
                samples.zero += 1;
                continue;
            }
            found.not_zero_at.get_or_insert(*offset);
            if *before == Some(Digest::of(&buffer)) {
                samples.unchanged += 1;
                found.unchanged_at.get_or_insert(*offset);
            }
        }
        Ok(found)
    }
}

fn is_uniform(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == block[0])
}

#[cfg(test)]
mod tests {
    use images::restore::mem::MemDisk;

    use super::*;
    use crate::testing::noise;

    #[test]
    fn every_part_of_a_disk_has_a_sample() {
        for (blocks, expected) in [(0, 0), (1, 1), (2, 2), (999, 999)] {
            let disk = MemDisk::new(vec![0; blocks * 4096 + 512], 512);
            assert_eq!(Samples::choose(&disk).unwrap().blocks.len(), expected, "{blocks}");
        }
        let disk = MemDisk::new(vec![0; 16 << 20], 512);
        let samples = Samples::choose(&disk).unwrap();
        let offsets: Vec<u64> = samples.blocks.iter().map(|(offset, _)| *offset).collect();
        assert!(offsets.len() >= 1000 && offsets[0] == 0 && *offsets.last().unwrap() == (16 << 20) - 4096);
        assert!(offsets.is_sorted() && offsets.iter().all(|offset| offset.is_multiple_of(4096)));
        let widest = offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest <= 2 * (16 << 20) / 1000 + 2 * 4096, "{widest}");
    }

    #[test]
    fn what_stands_where_it_stood_is_found() {
        let mut bytes = noise(1, 1 << 20);
        bytes[..4096].fill(0);
        bytes[4096..8192].fill(0xff);
        let disk = MemDisk::new(bytes.clone(), 512);
        let mut samples = Samples::choose(&disk).unwrap();
        samples.read_before(&disk);
        let same = samples.read_after(&disk).unwrap();
        let numbers = EraseSamples { read: 256, zero: 1, telling: 254, unchanged: 254 };
        assert_eq!((same.samples, same.unchanged_at, same.not_zero_at), (numbers, Some(8192), Some(4096)));

        let mut one_left = vec![0; 1 << 20];
        one_left[40960..45056].copy_from_slice(&bytes[40960..45056]);
        let found = samples.read_after(&MemDisk::new(one_left, 512)).unwrap();
        assert_eq!((found.samples.unchanged, found.unchanged_at), (1, Some(40960)));
        let scrambled = samples.read_after(&MemDisk::new(noise(2, 1 << 20), 512)).unwrap();
        assert_eq!((scrambled.samples.unchanged, scrambled.samples.zero), (0, 0));
        assert_eq!(samples.read_after(&MemDisk::new(vec![0; 512], 512)).unwrap_err().0, 0);
    }
}
