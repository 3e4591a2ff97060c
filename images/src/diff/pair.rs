//! Two images side by side: whether bytes of one are those of the other, reading as few as can be.

use std::io;
use std::ops::Range;

use crate::disk::ReadDisk;
use crate::restore::is_zero;
use crate::store::StoredDisk;
use crate::{Content, Extent};

/// Bytes that are read and compared at once.
const PIECE_LEN: u64 = 1 << 20;

/// Two images.
pub(super) struct Pair<'s> {
    pub before: &'s StoredDisk<'s>,
    pub after: &'s StoredDisk<'s>,
}

impl<'s> Pair<'s> {
    pub fn new(before: &'s StoredDisk<'s>, after: &'s StoredDisk<'s>) -> Self {
        Self { before, after }
    }

    /// Whether `len` bytes from `a` of the first image are those from `b` of the second. What an image leaves open counts as
    /// zeros. Where both name the same chunk, or zeros, nothing is read.
    pub fn same(&self, a: u64, b: u64, len: u64) -> io::Result<bool> {
        let fits = |disk: &StoredDisk<'_>, at: u64| at.checked_add(len).is_some_and(|end| end <= disk.size());
        if !fits(self.before, a) || !fits(self.after, b) {
            return Ok(false);
        }
        let (mut old, mut new) = (self.before.extents_from(a).iter(), self.after.extents_from(b).iter());
        let (mut x, mut y) = (old.next(), new.next());
        let mut done = 0;
        while done < len {
            let (Some(first), Some(second)) = (x, y) else { return Ok(false) };
            let (at, to) = (a + done, b + done);
            let step = (first.end() - at).min(second.end() - to).min(len - done);
            if !alike(first, at, second, to) && !self.same_bytes(at, to, step)? {
                return Ok(false);
            }
            done += step;
            if at + step == first.end() {
                x = old.next();
            }
            if to + step == second.end() {
                y = new.next();
            }
        }
        Ok(true)
    }

    fn same_bytes(&self, a: u64, b: u64, len: u64) -> io::Result<bool> {
        for at in (0..len).step_by(PIECE_LEN as usize) {
            let piece = (len - at).min(PIECE_LEN) as usize;
            let (mut x, mut y) = (vec![0; piece], vec![0; piece]);
            self.before.read_at(a + at, &mut x)?;
            self.after.read_at(b + at, &mut y)?;
            if x != y {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether two extents hold the same at these bytes of the disks, as far as their names tell.
fn alike(first: &Extent, a: u64, second: &Extent, b: u64) -> bool {
    match (first.content, second.content) {
        (Content::Data(x), Content::Data(y)) => x == y && a - first.offset == b - second.offset,
        (Content::Data(_), _) | (_, Content::Data(_)) => false,
        (Content::Zero | Content::Any, Content::Zero | Content::Any) => true,
    }
}

/// Whether these bytes of a disk are zeros.
pub(super) fn is_blank(disk: &StoredDisk<'_>, range: Range<u64>) -> io::Result<bool> {
    let mut at = range.start;
    while at < range.end {
        let known = disk.zeros_at(at);
        if known == 0 {
            let mut piece = vec![0; (range.end - at).min(PIECE_LEN) as usize];
            disk.read_at(at, &mut piece)?;
            if !is_zero(&piece) {
                return Ok(false);
            }
            at += piece.len() as u64;
        }
        at += known;
    }
    Ok(true)
}
