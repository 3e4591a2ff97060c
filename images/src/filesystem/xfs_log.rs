//! Whether the log of an XFS is clean: its last record says "unmounted".
//!
//! ```text
//!   │ C C C C C C  R C │ C-1 C-1 C-1 C-1 │      each sector of 512 bytes bears the number of its round, the cycle
//!                  │   └ head: what is written next
//!                  └ last record: one operation, with the flag of an unmount
//! ```
//!
//! As `xlog_find_tail()` of Linux decides and with it xfs_db and xfs_repair, but for one thing: where a crash may have left
//! sectors of two rounds mixed, the kernel searches on, and here the log is not clean.

use super::part::{Numbers, Part, times, within};
use super::xfs::Super;
use super::{KeepWhole, Unclean};

const WHAT: &str = "log";
const SECTOR: u64 = 512;
const RECORD: u64 = 0xfeed_babe;
/// Longest log, as mkfs.xfs(8) allows.
const LOG_MAX: u64 = 2 << 30;
const READ_LEN: u64 = 1 << 20;
/// `XLOG_UNMOUNT_TRANS`, in the flags of an operation.
const UNMOUNT: u64 = 0x20;

/// The log from byte `at` of the partition on must be clean.
pub(super) fn check_clean(part: &Part<'_>, fs: &Super, at: u64) -> Result<(), KeepWhole> {
    let len = within(times(fs.log_len, fs.block, WHAT)?, SECTOR * 8..=LOG_MAX, WHAT)?;
    let sectors = len / SECTOR;
    let dirty = || KeepWhole::Unclean(Unclean::Journal);
    // The first cycle, where it changes for the first time, and the last record before and behind that.
    let (mut first, mut head, mut before, mut behind) = (None, None, None, None);
    for start in (0..len).step_by(READ_LEN as usize) {
        let piece = part.read(at + start, READ_LEN.min(len - start), WHAT)?;
        for (sector, number) in piece.chunks(SECTOR as usize).zip(start / SECTOR..) {
            let is_record = sector.be32(0)? == RECORD;
            let cycle = sector.be32(if is_record { 4 } else { 0 })?;
            let first = *first.get_or_insert(cycle);
            match head {
                None if cycle == first => {}
                None => head = Some((number, cycle)),
                Some((_, old)) if old == cycle => {}
                Some(_) => return Err(dirty()),
            }
            if is_record {
                *(if head.is_none() { &mut before } else { &mut behind }) = Some(number);
            }
        }
    }
    let head = match (head, first.unwrap_or_default()) {
        (None, _) => 0,
        (Some((number, old)), now) if old + 1 == now => number,
        _ => return Err(dirty()),
    };
    let record = before.filter(|_| head > 0).or(behind).or(before).ok_or_else(dirty)?;
    let header = &part.read(at + record * SECTOR, SECTOR, WHAT)?[..];
    // Version 2 has one header for each 32 KiB of its largest record.
    let headers = match header.be32(8)? & 2 {
        0 => 1,
        _ => within(header.be32(320)?, 0..=256 << 10, WHAT)?.div_ceil(32 << 10).max(1),
    };
    let end = record + headers + header.be32(12)?.div_ceil(SECTOR);
    let operation = part.read(at + (record + headers) % sectors * SECTOR, SECTOR, WHAT)?;
    let uuid: [u8; 16] = header.array(304)?;
    let unmounted = end % sectors == head
        && header.be32(40)? == 1
        && operation.byte(9)? & UNMOUNT != 0
        && (uuid == fs.uuid || uuid == [0; 16]);
    if unmounted { Ok(()) } else { Err(dirty()) }
}
