//! A qcow2 that is not ours: header, extensions, tables of both levels, compressed clusters.
#![no_main]

use images::source::Format;
use libfuzzer_sys::fuzz_target;

#[path = "../source.rs"]
mod source;

fuzz_target!(|bytes: &[u8]| {
    source::read(Format::Qcow2, &[(0, bytes), (0, b"QFI\xfb\0\0\0\x03")], 64 << 10);
});
