//! A chunk request from an endpoint, a response from an appliance, and an upload of frames.
#![no_main]

use images::frames::{self, FrameError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = frames::read_upload::<FrameError>(bytes, |frame| {
        assert!(!frame.bytes.is_empty());
        Ok(())
    });
    let Ok(asked) = frames::decode_request(bytes) else { return };
    assert_eq!(frames::encode_request(&asked), bytes);
    let _ = frames::read_response::<FrameError>(bytes, &asked, |_| Ok(()));
});
