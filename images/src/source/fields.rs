//! Numbers at constant places of headers and tables. A place behind the end reads as 0; callers have read the whole header.

/// Four bytes, big-endian.
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    chunk(bytes, at).map_or(0, u32::from_be_bytes)
}

/// Eight bytes, big-endian.
pub fn be64(bytes: &[u8], at: usize) -> u64 {
    chunk(bytes, at).map_or(0, u64::from_be_bytes)
}

/// Two bytes, little-endian.
pub fn le16(bytes: &[u8], at: usize) -> u16 {
    chunk(bytes, at).map_or(0, u16::from_le_bytes)
}

/// Four bytes, little-endian.
pub fn le32(bytes: &[u8], at: usize) -> u32 {
    chunk(bytes, at).map_or(0, u32::from_le_bytes)
}

/// Eight bytes, little-endian.
pub fn le64(bytes: &[u8], at: usize) -> u64 {
    chunk(bytes, at).map_or(0, u64::from_le_bytes)
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
