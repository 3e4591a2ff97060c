//! The footer of a pack that somebody else made.
#![no_main]

use images::store::pack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entries) = pack::decode_footer(bytes) else { return };
    // Frames lie back to back: none can point outside or into another.
    for pair in entries.windows(2) {
        assert_eq!(pair[0].offset + u64::from(pair[0].len), pair[1].offset);
    }
});
