//! Runs of free and of used blocks, and what must hold between them.

use std::ops::Range;

use super::part::Part;
use super::{FREE_ALIGN, FREE_MIN, KeepWhole};

/// Most runs that are kept: 64 MiB of memory.
const RUNS_MAX: usize = 4 << 20;

/// Free runs in rising order; runs that touch are one. In blocks of a filesystem.
#[derive(Debug, Default)]
pub(super) struct Free {
    runs: Vec<Range<u64>>,
    total: u64,
}

impl Free {
    /// Add a run behind all others.
    pub fn push(&mut self, run: Range<u64>) -> Result<(), KeepWhole> {
        if run.is_empty() {
            return Ok(());
        }
        let (full, len) = (self.runs.len() >= RUNS_MAX, run.end - run.start);
        match self.runs.last_mut() {
            Some(last) if run.start < last.end => {
                return Err(KeepWhole::Damaged { what: "order of free runs" });
            }
            Some(last) if run.start == last.end => last.end = run.end,
            _ if full => return Err(KeepWhole::Scattered),
            _ => self.runs.push(run),
        }
        self.total += len;
        Ok(())
    }

    /// Add the runs of clear bits among the first `count`, the lowest bit of a byte first. Bit 0 is block `first`.
    pub fn push_clear_bits(&mut self, bits: &[u8], count: u64, first: u64) -> Result<(), KeepWhole> {
        for (byte, at) in bits.iter().zip((0..count).step_by(8)) {
            let (start, len) = (first + at, (count - at).min(8));
            match byte {
                0xff => {}
                0 => self.push(start..start + len)?,
                _ => {
                    for bit in (0..len).filter(|bit| byte >> bit & 1 == 0) {
                        self.push(start + bit..start + bit + 1)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// How many blocks are free.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The runs.
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// None of the blocks `used` may be free.
    pub fn check_used(&self, used: &Range<u64>, what: &'static str) -> Result<(), KeepWhole> {
        let next = self.runs.partition_point(|run| run.end <= used.start);
        match self.runs.get(next).filter(|run| run.start < used.end) {
            Some(run) => Err(KeepWhole::UsedIsFree { what, block: run.start.max(used.start) }),
            None => Ok(()),
        }
    }
}

/// Blocks that are known to be in use, and by what.
#[derive(Debug, Default)]
pub(super) struct Used(Vec<(Range<u64>, &'static str)>);

impl Used {
    /// Add `count` blocks from `first` on.
    pub fn add(&mut self, first: u64, count: u64, what: &'static str) -> Result<(), KeepWhole> {
        let end = first.checked_add(count).ok_or(KeepWhole::Damaged { what })?;
        if self.0.len() >= RUNS_MAX * 4 {
            return Err(KeepWhole::Scattered);
        }
        if count > 0 {
            self.0.push((first..end, what));
        }
        Ok(())
    }

    /// Put in order. No block has two uses, and none lies outside of `all`.
    pub fn settle(&mut self, all: &Range<u64>) -> Result<(), KeepWhole> {
        self.0.sort_unstable_by_key(|(range, _)| range.start);
        let mut before = all.start;
        for (range, what) in &self.0 {
            if range.start < before || range.end > all.end {
                return Err(KeepWhole::Damaged { what });
            }
            before = range.end;
        }
        Ok(())
    }

    /// The parts of `range` that have no use; after [`Used::settle`].
    pub fn gaps(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let first = self.0.partition_point(|(used, _)| used.end <= range.start);
        let (mut gaps, mut at) = (Vec::new(), range.start);
        for (used, _) in self.0[first..].iter().take_while(|(used, _)| used.start < range.end) {
            gaps.push(at..used.start.max(at));
            at = used.end;
        }
        gaps.push(at..range.end.max(at));
        gaps
    }

    /// None of them may be free.
    pub fn check(&self, free: &Free) -> Result<(), KeepWhole> {
        self.0.iter().try_for_each(|(range, what)| free.check_used(range, what))
    }
}

/// What is free, and where the blocks lie.
#[derive(Debug)]
pub(super) struct Map {
    pub free: Free,
    /// Byte of the partition where block 0 starts.
    pub base: u64,
    /// Bytes of a block.
    pub block: u64,
}

impl Map {
    /// As bytes of the disk.
    pub fn on_disk(&self, part: &Part<'_>) -> Result<Vec<Range<u64>>, KeepWhole> {
        let byte = |block: u64| block.checked_mul(self.block)?.checked_add(self.base);
        let mut ranges = Vec::new();
        for run in self.free.runs() {
            let (start, end) = byte(run.start)
                .zip(byte(run.end).filter(|end| *end <= part.len))
                .ok_or(KeepWhole::Damaged { what: "end" })?;
            let start = (part.start + start).next_multiple_of(FREE_ALIGN);
            let end = (part.start + end) / FREE_ALIGN * FREE_ALIGN;
            if end >= start.saturating_add(FREE_MIN) {
                ranges.push(start..end);
            }
        }
        Ok(ranges)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn clear_bits_are_the_free_blocks(bits in proptest::collection::vec(any::<u8>(), 0..40), less in 0u64..8) {
            let count = (bits.len() as u64 * 8).saturating_sub(less);
            let mut free = Free::default();
            free.push_clear_bits(&bits, count, 100).unwrap();
            let clear: Vec<u64> = (0..count).filter(|n| bits[*n as usize / 8] >> (n % 8) & 1 == 0).map(|n| n + 100).collect();
            prop_assert_eq!(free.runs().iter().cloned().flatten().collect::<Vec<_>>(), clear.clone());
            prop_assert_eq!(free.total(), clear.len() as u64);
            prop_assert!(free.runs().windows(2).all(|pair| pair[0].end < pair[1].start));
            for block in 95..count + 105 {
                prop_assert_eq!(free.check_used(&(block..block + 1), "").is_err(), clear.contains(&block));
            }
        }

        #[test]
        fn gaps_and_uses_make_the_whole(uses in proptest::collection::vec((0u64..9, 1u64..9), 0..9), from in 0u64..50, len in 0u64..50) {
            let (mut used, mut at, mut taken) = (Used::default(), 0, Vec::new());
            for (skip, count) in uses {
                at += skip;
                used.add(at, count, "x").unwrap();
                taken.extend(at..at + count);
                at += count;
            }
            used.settle(&(0..200)).unwrap();
            let gaps: Vec<u64> = used.gaps(&(from..from + len)).into_iter().flatten().collect();
            prop_assert_eq!(gaps, (from..from + len).filter(|n| !taken.contains(n)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn two_uses_of_a_block_and_uses_outside_are_refused() {
        for uses in [[(0, 2), (1, 2)], [(0, 1), (9, 2)], [(5, 1), (5, 1)]] {
            let mut used = Used::default();
            uses.iter().for_each(|(first, count)| used.add(*first, *count, "x").unwrap());
            assert!(used.settle(&(0..10)).is_err(), "{uses:?}");
        }
        assert!(Used::default().add(u64::MAX, 2, "x").is_err());
    }

    #[test]
    fn runs_out_of_order_are_refused() {
        let mut free = Free::default();
        free.push(5..9).unwrap();
        assert!(free.push(8..10).is_err() && free.push(0..2).is_err());
        free.push(9..10).unwrap();
        assert_eq!((free.runs().len(), free.total()), (1, 5));
    }
}
