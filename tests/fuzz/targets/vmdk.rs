//! A VMDK that is not ours: as a sparse extent when it begins with an even byte, else as a descriptor.
#![no_main]

use images::source::Format;
use libfuzzer_sys::fuzz_target;

#[path = "../source.rs"]
mod source;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let start: &[u8] = if first % 2 == 0 { b"KDMV" } else { b"# Disk DescriptorFile\n" };
    source::read(Format::Vmdk, &[(0, bytes), (0, start)], 16 << 10);
});
