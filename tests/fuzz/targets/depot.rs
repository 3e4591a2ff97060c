//! What a depot gives: the end of a pack, a list of packs, a signature, names.
#![no_main]

use images::Signature;
use images::depot::{Name, PackList};
use images::store::pack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((len, end)) = bytes.split_at_checked(4) {
        let len = u64::from(u32::from_le_bytes([len[0], len[1], len[2], len[3]]));
        if let Ok(tail_len) = pack::tail_len(end, len) {
            assert!(tail_len as u64 <= len);
        }
        if let Ok(entries) = pack::decode_tail(end, len) {
            assert!(entries.iter().all(|entry| entry.offset + u64::from(entry.len) <= len));
        }
    }
    if let Ok(list) = PackList::decode(bytes) {
        assert_eq!(list.encode(), bytes);
    }
    if let Ok(signature) = Signature::decode(bytes) {
        assert_eq!(signature.encode(), bytes);
    }
    if let Ok(Ok(name)) = std::str::from_utf8(bytes).map(str::parse::<Name>) {
        assert_eq!(name.to_string().as_bytes(), bytes);
    }
});
