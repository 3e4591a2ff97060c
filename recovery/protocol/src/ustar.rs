//! The head of a member of a tar archive (POSIX.1-2008, pax, "ustar Interchange Format"), for what is written here to be unpacked by anybody.
//!
//! Owner and time are always the same: the same bytes make the same archive.

/// Length of a head; what follows it is filled up to a multiple of it, and two of zeros end the archive.
pub const BLOCK: usize = 512;

/// Of a file of so many bytes, which others may read (`0o644`) or only its owner (`0o400`). `name` is ASCII; of a longer one the first 100 letters count.
#[must_use]
pub fn head(name: &str, len: u64, mode: u16) -> [u8; BLOCK] {
    let mut head = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{len:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}
