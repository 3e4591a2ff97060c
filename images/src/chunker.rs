//! Where a disk is cut: at forced cuts, at zero runs, around free space, and in between where FastCDC says.
//!
//! FastCDC v2020 (Xia et al., IEEE TPDS 31(9), 2020), 32/128/512 KiB. Content between two forced cuts is cut the same
//! wherever it lies, so a rebuilt image shares chunks with the one before.

use std::collections::VecDeque;

use fastcdc::v2020::FastCDC;

/// Smallest, average and largest chunk in bytes.
pub const CHUNK_LEN: [u32; 3] = [32 << 10, 128 << 10, 512 << 10];
/// Zero runs of this many bytes become extents of their own.
const ZERO_RUN_MIN: u64 = 64 << 10;
/// Zeros are looked for in blocks of this many bytes, at multiples of it on the disk.
const BLOCK: u64 = 4096;

/// A piece of the disk, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes to keep as one chunk.
    Data(Vec<u8>),
    /// So many zero bytes.
    Zero(u64),
    /// So many bytes that nothing uses.
    Free(u64),
}

/// Cuts a stream of bytes.
pub struct Chunker {
    cuts: VecDeque<u64>,
    /// Bytes taken so far.
    at: u64,
    /// Data not yet cut.
    data: Vec<u8>,
    /// Zero bytes behind `data` that may yet turn out to be a run.
    zeros: u64,
    /// Nothing but zeros came yet, and what lies before them is not known: they are no part of the data behind them.
    unknown_before: bool,
    out: VecDeque<Piece>,
}

impl Chunker {
    /// A chunker for a stream with these forced cuts, in rising order; the last one is the end of the stream.
    pub fn new(cuts: &[u64]) -> Self {
        Self { unknown_before: false, ..Self::starting_at(0, cuts) }
    }

    /// The same for a part of a disk that begins there; the cuts are places on the disk. Zeros at its start may be the end of a run.
    pub fn starting_at(at: u64, cuts: &[u64]) -> Self {
        let cuts = cuts.iter().copied().collect();
        Self { cuts, at, data: Vec::new(), zeros: 0, unknown_before: true, out: VecDeque::new() }
    }

    /// Take the next bytes of the stream.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let cut = self.cuts.front().copied().unwrap_or(u64::MAX);
            let block_end = (self.at + 1).next_multiple_of(BLOCK).min(cut);
            let len = bytes.len().min((block_end - self.at) as usize);
            let (block, rest) = bytes.split_at(len);
            self.block(block);
            self.at += len as u64;
            if self.at == cut {
                self.cuts.pop_front();
                self.close();
            }
            bytes = rest;
        }
    }

    /// Take zeros without looking at them. They start and end at a multiple of 4096 bytes on the disk or at a forced cut,
    /// so that the pieces are those that the bytes themselves would give.
    pub fn push_zeros(&mut self, mut len: u64) {
        while len > 0 {
            let cut = self.cuts.front().copied().unwrap_or(u64::MAX);
            let part = len.min(cut - self.at);
            self.zeros += part;
            self.at += part;
            if self.at == cut {
                self.cuts.pop_front();
                self.close();
            }
            len -= part;
        }
    }

    /// Pass over bytes that nothing uses. What is before them and what is after are cut there.
    pub fn skip(&mut self, len: u64) {
        self.close();
        self.out.push_back(Piece::Free(len));
        self.at += len;
        while self.cuts.front().is_some_and(|cut| *cut <= self.at) {
            self.cuts.pop_front();
        }
    }

    /// The next piece, if one is complete.
    pub fn next_piece(&mut self) -> Option<Piece> {
        self.out.pop_front()
    }

    /// A block or a part of one that a cut ends; blocks come whole when `push` gets whole blocks.
    fn block(&mut self, block: &[u8]) {
        if crate::restore::is_zero(block) {
            self.zeros += block.len() as u64;
            return;
        }
        self.settle_zeros();
        self.data.extend_from_slice(block);
        // FastCDC needs to see the longest chunk to find the next cut.
        if self.data.len() >= 4 * CHUNK_LEN[2] as usize {
            self.cut_data(CHUNK_LEN[2] as usize);
        }
    }

    /// The zeros end here: a run of its own, or part of the data around it.
    fn settle_zeros(&mut self) {
        let zeros = std::mem::take(&mut self.zeros);
        let apart = std::mem::take(&mut self.unknown_before) && zeros > 0;
        if apart || zeros >= ZERO_RUN_MIN {
            self.cut_data(0);
            self.out.push_back(Piece::Zero(zeros));
        } else {
            self.data.resize(self.data.len() + zeros as usize, 0);
        }
    }

    fn close(&mut self) {
        // Before a forced cut also a short run is an extent: it costs nothing, and partitions often end in zeros.
        let zeros = std::mem::take(&mut self.zeros);
        self.cut_data(0);
        if zeros > 0 {
            self.out.push_back(Piece::Zero(zeros));
        }
    }

    /// Cut chunks off the data while more than `keep` bytes are left.
    fn cut_data(&mut self, keep: usize) {
        let [min, avg, max] = CHUNK_LEN.map(|len| len as usize);
        let data = std::mem::take(&mut self.data);
        let mut rest = &data[..];
        let cdc = FastCDC::new(&data, min, avg, max);
        while rest.len() > keep {
            let start = data.len() - rest.len();
            let (_, end) = cdc.cut(start, rest.len());
            let (chunk, later) = rest.split_at(end - start);
            self.out.push_back(Piece::Data(chunk.to_vec()));
            rest = later;
        }
        self.data = rest.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(bytes: &[u8], cuts: &[u64], step: usize) -> Vec<Piece> {
        let mut chunker = Chunker::new(cuts);
        let mut pieces = Vec::new();
        for part in bytes.chunks(step) {
            chunker.push(part);
            pieces.extend(std::iter::from_fn(|| chunker.next_piece()));
        }
        pieces
    }

    fn lens(pieces: &[Piece]) -> Vec<u64> {
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Data(data) => data.len() as u64,
                Piece::Zero(len) | Piece::Free(len) => *len,
            })
            .collect()
    }

    fn noise(seed: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn forced_cuts_and_zero_runs_end_chunks() {
        let mut bytes = noise(1, 300_000);
        bytes.resize(300_000 + 70_000, 0);
        bytes.extend(noise(2, 1 << 20));
        let size = bytes.len() as u64;
        let pieces = pieces(&bytes, &[100_000, size], 1 << 16);
        let mut starts = Vec::new();
        let mut at = 0;
        for len in lens(&pieces) {
            starts.push(at);
            at += len;
        }
        assert!(starts.contains(&100_000));
        let zero = pieces.iter().position(|piece| matches!(piece, Piece::Zero(_))).unwrap();
        assert!(starts[zero].is_multiple_of(4096) && starts[zero + 1].is_multiple_of(4096));
        assert!(lens(&pieces)[zero] >= 64 << 10);
        assert_eq!(at, size);
    }

    #[test]
    fn free_space_is_passed_over_and_cuts_what_is_around_it() {
        let (before, after) = (noise(5, 70_000), noise(6, 60_000));
        let mut chunker = Chunker::new(&[100_000, 300_000, 400_000]);
        chunker.push(&before);
        chunker.push(&[0; 1000]);
        chunker.skip(229_000);
        chunker.push(&after);
        chunker.push(&[0; 40_000]);
        let pieces: Vec<Piece> = std::iter::from_fn(|| chunker.next_piece()).collect();
        let free = pieces.iter().position(|piece| *piece == Piece::Free(229_000)).unwrap();
        assert_eq!(lens(&pieces[..free]).iter().sum::<u64>(), 71_000);
        assert_eq!(pieces[free - 1], Piece::Zero(1000));
        assert_eq!(lens(&pieces).iter().sum::<u64>(), 400_000);
        assert_eq!(pieces.last(), Some(&Piece::Zero(40_000)), "the end of the disk is still a cut");
    }

    #[test]
    fn moved_content_is_cut_the_same() {
        let content = noise(3, 8 << 20);
        let shifted = [noise(4, 12_288), content.clone()].concat();
        let ids = |pieces: Vec<Piece>| -> std::collections::HashSet<Vec<u8>> {
            pieces.into_iter().filter_map(|p| if let Piece::Data(d) = p { Some(d) } else { None }).collect()
        };
        let a = ids(pieces(&content, &[content.len() as u64], 1 << 20));
        let b = ids(pieces(&shifted, &[shifted.len() as u64], 1 << 20));
        assert!(a.intersection(&b).count() * 10 > a.len() * 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn pieces_join_to_the_input_however_it_arrives(
            runs in proptest::collection::vec((any::<bool>(), 1usize..300_000), 1..12),
            blocks in 1usize..600,
        ) {
            let bytes: Vec<u8> = runs.iter().flat_map(|(zero, len)| if *zero { vec![0; *len] } else { noise(5, *len) }).collect();
            let size = bytes.len() as u64;
            let cuts: Vec<u64> = [size / 3 / 512 * 512, size].into_iter().filter(|c| *c > 0).collect();
            let pieces_now = pieces(&bytes, &cuts, 4096 * blocks);
            let mut joined = Vec::new();
            for piece in &pieces_now {
                match piece {
                    Piece::Data(data) => {
                        prop_assert!(!data.is_empty() && data.len() <= CHUNK_LEN[2] as usize);
                        joined.extend(data);
                    }
                    Piece::Zero(len) => joined.resize(joined.len() + *len as usize, 0),
                    Piece::Free(_) => prop_assert!(false, "nothing was passed over"),
                }
            }
            prop_assert!(joined == bytes);
            prop_assert_eq!(&pieces_now, &pieces(&bytes, &cuts, 1 << 20));

            // Zeros that are told give the pieces that zeros to look at give.
            let mut chunker = Chunker::new(&cuts);
            for block in bytes.chunks(4096) {
                match block.iter().all(|byte| *byte == 0) {
                    true => chunker.push_zeros(block.len() as u64),
                    false => chunker.push(block),
                }
            }
            let told: Vec<Piece> = std::iter::from_fn(|| chunker.next_piece()).collect();
            prop_assert_eq!(pieces_now, told);
        }
    }
}
