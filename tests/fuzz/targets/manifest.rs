//! A signed manifest from a store that is not ours: what decodes encodes to the same bytes.
#![no_main]

use images::SignedManifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = images::manifest::codec::decode(bytes);
    let _ = images::manifest::page::decode(bytes, 0);
    let Ok(signed) = SignedManifest::decode(bytes) else { return };
    assert_eq!(signed.encode(), bytes);
    if let Ok(manifest) = signed.parse() {
        assert_eq!(manifest.id(), signed.id());
    }
});
