//! The file of an exhibit: a tar of plain members, so that whoever gets it needs no program of ours.
//!
//! Members are named by us and never by the disk: a path of the old system stands in the index and is no path to unpack to.

use std::io::{self, Write};

use recovery_protocol::ustar::{BLOCK, head};

/// What ends it.
const END: usize = 2 * BLOCK;

/// Writes members (POSIX.1-2008, pax, "ustar Interchange Format") until there is no room left.
pub struct Tar<W: Write> {
    out: W,
    left: u64,
}

/// There is no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room is left for its {0} bytes")]
pub struct NoRoom(pub u64);

impl<W: Write> Tar<W> {
    /// At most `room` bytes in all.
    pub fn new(out: W, room: u64) -> Self {
        Self { out, left: room.saturating_sub(END as u64) }
    }

    /// Longest member that still fits beside `reserve` bytes.
    pub fn room(&self, reserve: u64) -> u64 {
        let padded = self.left.saturating_sub(reserve).saturating_sub(BLOCK as u64);
        padded / BLOCK as u64 * BLOCK as u64
    }

    /// Adds a member that fits beside `reserve` bytes; `name` is ASCII of at most 100 letters.
    pub fn add(&mut self, name: &str, bytes: &[u8], reserve: u64) -> io::Result<Result<(), NoRoom>> {
        let len = bytes.len() as u64;
        let takes = BLOCK as u64 + len.next_multiple_of(BLOCK as u64);
        if self.left < reserve.saturating_add(takes) {
            return Ok(Err(NoRoom(len)));
        }
        // No clock of the endpoint is believed; the appliance's record has the time.
        let head = head(name, len, 0o400);
        let padding = vec![0; bytes.len().next_multiple_of(BLOCK) - bytes.len()];
        self.left -= takes;
        for part in [&head, bytes, &padding] {
            self.out.write_all(part)?;
        }
        Ok(Ok(()))
    }

    /// Writes the end.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[0; END])?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_of_others_lists_and_unpacks_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        let mut tar = Tar::new(std::fs::File::create(&path).unwrap(), 1 << 20);
        for (name, len) in [("files/0001_etc_hostname", 9), ("disk/first-mib.bin", 4096), ("exhibit.json", 0)]
        {
            tar.add(name, &vec![b'x'; len], 0).unwrap().unwrap();
        }
        tar.finish().unwrap();
        let run = std::process::Command::new("tar")
            .arg("-C")
            .arg(dir.path())
            .arg("-xf")
            .arg(&path)
            .output()
            .unwrap();
        assert!(run.status.success(), "{run:?}");
        assert_eq!(std::fs::read(dir.path().join("files/0001_etc_hostname")).unwrap(), b"xxxxxxxxx");
        assert_eq!(std::fs::metadata(dir.path().join("disk/first-mib.bin")).unwrap().len(), 4096);
    }

    proptest::proptest! {
        #[test]
        fn it_is_never_longer_than_its_room(
            room in 0_u64..20_000, reserve in 0_u64..4000, members in proptest::collection::vec(0_usize..6000, 0..8),
        ) {
            let mut bytes = Vec::new();
            let mut tar = Tar::new(&mut bytes, room.max(END as u64));
            for len in members {
                let before = tar.room(reserve);
                let added = tar.add("x", &vec![7; len], reserve).unwrap().is_ok();
                proptest::prop_assert_eq!(added, len as u64 <= before && tar.left >= reserve);
            }
            // What was held back fits.
            if tar.left >= reserve && reserve >= 512 {
                let last = (reserve as usize - 512) / 512 * 512;
                proptest::prop_assert!(tar.add("index", &vec![7; last], 0).unwrap().is_ok());
            }
            tar.finish().unwrap();
            proptest::prop_assert!(bytes.len() as u64 <= room.max(END as u64));
        }
    }
}
