//! Images of optical disks (ECMA-119) that also boot from a disk: hybrids. They are raw disks; here is only said what they are.

use std::io;

use super::Note;
use crate::disk::{ReadDisk, mbr};

/// The boot record's descriptor is the second (El Torito specification 1.0, section 2.0).
const EL_TORITO_AT: u64 = 17 * 2048;
const EL_TORITO: &[u8] = b"\0CD001\x01EL TORITO SPECIFICATION";

/// How the image boots.
pub(super) fn look(disk: &dyn ReadDisk) -> io::Result<Note> {
    let mut first = [0; 512];
    disk.read_at(0, &mut first)?;
    let mut record = [0; EL_TORITO.len()];
    let there = EL_TORITO_AT + record.len() as u64 <= disk.size();
    if there {
        disk.read_at(EL_TORITO_AT, &mut record)?;
    }
    let hybrid = mbr::entries(&first, disk.size() / 512).is_some() || mbr::is_protective(&first);
    Ok(Note::Iso { hybrid, optical: there && record == EL_TORITO })
}
