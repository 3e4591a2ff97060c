//! A unified kernel image: systemd's EFI stub with the kernel, its command line and the initrd as PE sections (the UAPI
//! group's Unified Kernel Image specification). Written here, not by objcopy(1), which puts the time into the file.

use anyhow::{Context as _, Result, bail, ensure};

/// Section alignment in memory: the kernel wants its section on a page, 2 MiB lets firmware map it whole.
const ALIGN: usize = 2 << 20;
/// IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ (PE format, section flags).
const READ_ONLY_DATA: u32 = 0x4000_0040;
const SECTION_HEADER_LEN: usize = 40;

/// Appends `sections` to the PE file `stub`, in order.
///
/// # Errors
/// When `stub` is no PE32+ file or its headers have no room.
pub fn build(stub: &[u8], sections: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut pe = Pe::open(stub)?;
    for (name, content) in sections {
        pe.append(name, content).with_context(|| format!("adding section {name} to the stub"))?;
    }
    Ok(pe.bytes)
}

struct Pe {
    bytes: Vec<u8>,
    /// Offset of the COFF header.
    coff: usize,
    /// Offset of the section headers.
    table: usize,
    file_align: usize,
}

impl Pe {
    fn open(stub: &[u8]) -> Result<Self> {
        let mut pe = Self { bytes: stub.to_vec(), coff: 0, table: 0, file_align: 0 };
        ensure!(stub.starts_with(b"MZ"), "the stub is not a PE file");
        let signature = pe.u32_at(0x3c)?;
        ensure!(stub.get(signature..signature + 4) == Some(b"PE\0\0"), "the stub is not a PE file");
        pe.coff = signature + 4;
        ensure!(pe.u16_at(pe.optional())? == 0x20b, "the stub is not a 64-bit PE file");
        pe.table = pe.optional() + pe.u16_at(pe.coff + 16)?;
        pe.file_align = pe.u32_at(pe.optional() + 36)?;
        ensure!(pe.file_align.is_power_of_two(), "the stub's file alignment is {}", pe.file_align);
        Ok(pe)
    }

    fn optional(&self) -> usize {
        self.coff + 20
    }

    fn u16_at(&self, at: usize) -> Result<usize> {
        let bytes = self.bytes.get(at..at + 2).context("the stub is cut off")?;
        Ok(usize::from(u16::from_le_bytes(bytes.try_into()?)))
    }

    fn u32_at(&self, at: usize) -> Result<usize> {
        let bytes = self.bytes.get(at..at + 4).context("the stub is cut off")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    }

    fn set_u32(&mut self, at: usize, value: usize) -> Result<()> {
        let value = u32::try_from(value).context("the image is larger than 4 GiB")?;
        self.bytes.get_mut(at..at + 4).context("the stub is cut off")?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn append(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let (count_at, headers_len) = (self.coff + 2, self.u32_at(self.optional() + 60)?);
        let count = self.u16_at(count_at)?;
        let header_at = self.table + count * SECTION_HEADER_LEN;
        if header_at + SECTION_HEADER_LEN > headers_len || name.len() > 8 {
            bail!("the stub's headers have no room for it");
        }
        let mut end = 0;
        for header in (0..count).map(|index| self.table + index * SECTION_HEADER_LEN) {
            end = end.max(self.u32_at(header + 8)? + self.u32_at(header + 12)?);
        }
        let address = end.next_multiple_of(ALIGN);
        let file_at = self.bytes.len().next_multiple_of(self.file_align);
        self.bytes.resize(file_at, 0);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(self.file_align), 0);

        let raw_len = self.bytes.len() - file_at;
        self.bytes[header_at..header_at + SECTION_HEADER_LEN].fill(0);
        self.bytes[header_at..header_at + name.len()].copy_from_slice(name.as_bytes());
        for (at, value) in
            [(8, content.len()), (12, address), (16, raw_len), (20, file_at), (36, READ_ONLY_DATA as usize)]
        {
            self.set_u32(header_at + at, value)?;
        }
        self.bytes[count_at..count_at + 2].copy_from_slice(&u16::try_from(count + 1)?.to_le_bytes());
        let section_align = self.u32_at(self.optional() + 32)?.max(1);
        self.set_u32(self.optional() + 56, (address + content.len()).next_multiple_of(section_align))?;
        // The checksum is optional for EFI applications and is left out of Authenticode.
        self.set_u32(self.optional() + 64, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest PE32+ file with room for two section headers.
    fn stub() -> Vec<u8> {
        let mut pe = vec![0; 0x200];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 0x40;
        pe[0x40..0x44].copy_from_slice(b"PE\0\0");
        let optional = 0x44 + 20;
        pe[0x44 + 16] = 0x70;
        pe[optional..optional + 2].copy_from_slice(&0x20b_u16.to_le_bytes());
        for (at, value) in [(32, 0x200_u32), (36, 0x200), (60, optional as u32 + 0x70 + 80)] {
            pe[optional + at..optional + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        pe
    }

    #[test]
    fn sections_are_found_where_their_headers_say() {
        let image = build(&stub(), &[(".linux", b"kernel"), (".initrd", &[9; 600])]).unwrap();
        let pe = Pe::open(&image).unwrap();
        assert_eq!(pe.u16_at(pe.coff + 2).unwrap(), 2);
        for (index, (name, content)) in
            [(".linux", &b"kernel"[..]), (".initrd", &[9; 600])].into_iter().enumerate()
        {
            let header = pe.table + index * SECTION_HEADER_LEN;
            assert_eq!(&image[header..header + name.len()], name.as_bytes());
            let (len, file_at) = (pe.u32_at(header + 8).unwrap(), pe.u32_at(header + 20).unwrap());
            assert_eq!(&image[file_at..file_at + len], content);
            assert_eq!(pe.u32_at(header + 12).unwrap() % ALIGN, 0);
        }
    }

    #[test]
    fn a_stub_without_room_or_form_is_refused() {
        let three = [("a", &b"x"[..]), ("b", b"x"), ("c", b"x")];
        assert!(format!("{:#}", build(&stub(), &three).unwrap_err()).contains("no room"));
        assert!(build(b"MZ", &[]).is_err());
        assert!(build(b"ELF", &[]).is_err());
    }
}
