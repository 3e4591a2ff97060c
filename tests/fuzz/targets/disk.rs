//! A disk that is not ours: partition tables, a boot loader's configuration, a PE file.
#![no_main]

use std::io;

use images::boot::{grub, pe};
use images::disk::{Gpt, mbr};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut read = |offset: u64, into: &mut [u8]| {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let part = from.checked_add(into.len()).and_then(|end| bytes.get(from..end));
        into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    for sector in [512_u32, 4096] {
        let size = bytes.len() as u64 / u64::from(sector) * u64::from(sector);
        if size > u64::from(sector) * 2 {
            let _ = Gpt::read(&mut read, sector, size);
        }
    }
    let _ = mbr::entries(bytes, 1 << 20);
    let _ = pe::authenticode_sha256(bytes);
    let _ = pe::is_signed(bytes);
    if let Some(entry) = std::str::from_utf8(bytes).ok().and_then(grub::first_entry) {
        let _ = (entry.measured_command_line(), entry.has_variables());
    }
});
