//! An evidence pack as anybody may write it: what we did not sign is never good, whatever its tar looks like.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recovery_protocol::evidence::{Origin, pack};

fuzz_target!(|bytes: &[u8]| {
    // A key that nobody holds the other half of.
    assert!(pack::verify(bytes, &Origin::of([7; 32])).is_err());
    // The same behind a head that is right: what stands in the files is read.
    let files = [("proofs/1.tlog-proof".to_owned(), bytes.to_vec())].into();
    let text = String::from_utf8_lossy(bytes);
    assert!(pack::verify(&pack::write(&files, &text), &Origin::of([7; 32])).is_err());
});
