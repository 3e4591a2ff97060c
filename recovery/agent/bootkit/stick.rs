//! The recovery stick: one file that is a disk for USB and a CD for a BMC's virtual media, with the kit's unified kernel image on it.
//!
//! ```text
//! sector  0        1         2 … 33     64       68              72        76 …           2048 …            end-33 … end
//!         MBR      GPT       entries    CD       El Torito       catalog   root, paths    FAT: EFI/BOOT/    GPT again
//!         (0xEE)                        volume   boot record                              BOOTX64.EFI
//! ```
//!
//! A CD keeps its first 32 KiB free, and that is where a disk has its GPT. Both lead to the same FAT. Sources: UEFI specification 2.10, sections
//! 5.2.3, 5.3 (MBR, GPT), 13.3.1.1 and 13.3.2.1 (El Torito, ISO 9660); ECMA-119 (ISO 9660); El Torito 1.0 (Phoenix, IBM 1995).
//!
//! The same kit gives the same bytes. UEFI only: a BIOS would need a boot loader of its own for a kernel and an initrd that nothing signs.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use recovery_protocol::kit::{BootKit, KitFile};
use ring::digest::{SHA256, digest};

const SECTOR: usize = 512;
/// A block of a CD.
const BLOCK: usize = 2048;
/// Where the FAT begins: 1 MiB, as partitions do.
const FAT_AT: usize = 1 << 20;
/// Room for directories and tables of the FAT.
const SPARE: usize = 1 << 20;
const ENTRIES: usize = 128;
const ENTRY_LEN: usize = 128;
/// Sectors of a GPT's entries.
const ENTRY_SECTORS: usize = ENTRIES * ENTRY_LEN / SECTOR;
/// EFI system partition, C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it lies on disk.
const ESP_TYPE: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
/// Blocks of the CD's own structures, from block 16 on.
const VOLUME: usize = 16;
const BOOT_RECORD: usize = 17;
const TERMINATOR: usize = 18;
const CATALOG: usize = 19;
const PATHS: usize = 20;
const PATHS_BIG_ENDIAN: usize = 21;
const ROOT: usize = 22;
/// What a person sees of the medium.
const LABEL: &[u8] = b"GROUNDSTATE";

/// What a person who looks at the stick reads.
const README: &str = "This is the recovery system of a Groundstate site. UEFI starts it from here; it finds its appliance by DHCP, or by\r\n\
    the address that its kit was built with, and does what the appliance orders. Nothing on this stick is secret.\r\n\
    \r\n\
    Secure Boot: enrol EFI/groundstate/db.cer in the firmware's db (setup, Secure Boot, db, enrol from file).\r\n";

/// Writes the stick of the kit in `kit` to `out`, and says what it is. Without `out` it becomes a file of the kit, which the appliance hands
/// to BMCs as a virtual CD.
///
/// # Errors
/// When the kit is damaged, or the file cannot be written.
pub fn write(kit: &Path, out: Option<&Path>) -> Result<String> {
    let read = |name: &str| {
        fs::read(kit.join(name)).with_context(|| format!("reading {}", kit.join(name).display()))
    };
    let mut contents: BootKit = serde_json::from_slice(&read(BootKit::FILE_NAME)?)
        .with_context(|| format!("{} is no boot kit; build it again", kit.display()))?;
    let checked = |name: &str| -> Result<Vec<u8>> {
        let bytes = read(name)?;
        let listed = contents.files.get(name).map(|file| file.sha256.as_str());
        let whole = listed == Some(&hex::encode(digest(&SHA256, &bytes)));
        ensure!(whole, "{name} is not the file that kit.json lists; build the kit again");
        Ok(bytes)
    };
    let uki = checked(BootKit::UKI)?;
    let certificate = contents.signer.as_ref().map(|_| checked(BootKit::CERTIFICATE)).transpose()?;
    let mut files = vec![("EFI/BOOT/BOOTX64.EFI", &uki[..]), ("README.TXT", README.as_bytes())];
    files.extend(certificate.as_ref().map(|certificate| ("EFI/groundstate/db.cer", &certificate[..])));
    let image = image(&files)?;
    let out = match out {
        Some(out) => {
            fs::write(out, &image).with_context(|| format!("writing {}", out.display()))?;
            out.to_owned()
        }
        None => {
            // The table last: it never lists what is not there whole.
            crate::kit::put(&kit.join(BootKit::MEDIUM), &image)?;
            let file = KitFile {
                size_bytes: image.len() as u64,
                sha256: hex::encode(digest(&SHA256, &image)),
                authenticode_sha256: None,
            };
            contents.files.insert(BootKit::MEDIUM.to_owned(), file);
            let mut table = serde_json::to_vec_pretty(&contents)?;
            table.push(b'\n');
            crate::kit::put(&kit.join(BootKit::FILE_NAME), &table)?;
            kit.join(BootKit::MEDIUM)
        }
    };
    let signed = contents.signer.map_or_else(
        || "not signed: Secure Boot refuses it".to_owned(),
        |by| format!("signed by {}", by.subject),
    );
    let mib = image.len() as f64 / f64::from(1 << 20);
    Ok(format!("{} {mib:.1} MiB, {signed}\n", out.display()))
}

/// The image of a stick that holds `files`, by their paths with `/`.
///
/// # Errors
/// When the files do not fit.
pub fn image(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let fat = fat(files)?;
    let identity = digest(&SHA256, &fat);
    let end = (FAT_AT + fat.len() + (ENTRY_SECTORS + 1) * SECTOR).next_multiple_of(BLOCK);
    let mut image = vec![0; end];
    image[FAT_AT..FAT_AT + fat.len()].copy_from_slice(&fat);
    partitions(&mut image, fat.len(), identity.as_ref())?;
    cd(&mut image, fat.len())?;
    Ok(image)
}

fn fat(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let content: usize = files.iter().map(|(_, bytes)| bytes.len().next_multiple_of(BLOCK)).sum();
    let mut fat = Cursor::new(vec![0; (content + SPARE).next_multiple_of(SPARE)]);
    let mut label = [b' '; 11];
    label[..LABEL.len()].copy_from_slice(LABEL);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat16)
        .volume_label(label)
        .volume_id(0x6773_0001)
        .bytes_per_cluster(u32::try_from(BLOCK)?);
    format_volume(&mut fat, options).context("making the FAT; is the kit larger than 128 MiB?")?;
    {
        let filesystem = FileSystem::new(&mut fat, FsOptions::new()).context("opening the FAT")?;
        let root = filesystem.root_dir();
        for (path, bytes) in files {
            let dirs = path.match_indices('/').map(|(at, _)| &path[..at]);
            for dir in dirs {
                root.create_dir(dir).with_context(|| format!("making {dir} on the stick"))?;
            }
            let mut file = root.create_file(path).with_context(|| format!("making {path} on the stick"))?;
            file.write_all(bytes).with_context(|| format!("writing {path} to the stick"))?;
        }
    }
    Ok(fat.into_inner())
}

/// A GUID of version 8 from a hash (RFC 9562, section 5.8).
fn guid(hash: &[u8]) -> [u8; 16] {
    let mut guid = [0; 16];
    guid.copy_from_slice(&hash[..16]);
    guid[7] = guid[7] & 0x0f | 0x80;
    guid[8] = guid[8] & 0x3f | 0x80;
    guid
}

fn partitions(image: &mut [u8], fat_len: usize, identity: &[u8]) -> Result<()> {
    let sectors = image.len() / SECTOR;
    let (first, last) = (FAT_AT / SECTOR, (FAT_AT + fat_len) / SECTOR - 1);
    let mut mbr = [0; SECTOR];
    mbr[446 + 1..446 + 5].copy_from_slice(&[0, 2, 0, 0xee]);
    mbr[446 + 5..446 + 8].fill(0xff);
    mbr[446 + 8..446 + 12].copy_from_slice(&1_u32.to_le_bytes());
    mbr[446 + 12..446 + 16].copy_from_slice(&u32::try_from(sectors - 1)?.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    image[..SECTOR].copy_from_slice(&mbr);

    let mut entries = vec![0; ENTRIES * ENTRY_LEN];
    entries[..16].copy_from_slice(&ESP_TYPE);
    entries[16..32].copy_from_slice(&guid(&identity[16..]));
    entries[32..40].copy_from_slice(&(first as u64).to_le_bytes());
    entries[40..48].copy_from_slice(&(last as u64).to_le_bytes());
    for (at, unit) in "recovery".encode_utf16().enumerate() {
        entries[56 + 2 * at..58 + 2 * at].copy_from_slice(&unit.to_le_bytes());
    }
    let backup_entries = sectors - 1 - ENTRY_SECTORS;
    for (own, other, table) in [(1, sectors - 1, 2), (sectors - 1, 1, backup_entries)] {
        let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        for number in [own, other, 2 + ENTRY_SECTORS, backup_entries - 1] {
            header.extend((number as u64).to_le_bytes());
        }
        header.extend(guid(identity));
        header.extend((table as u64).to_le_bytes());
        for number in [ENTRIES as u32, ENTRY_LEN as u32, crc32fast::hash(&entries)] {
            header.extend(number.to_le_bytes());
        }
        let crc = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        image[own * SECTOR..own * SECTOR + header.len()].copy_from_slice(&header);
        image[table * SECTOR..table * SECTOR + entries.len()].copy_from_slice(&entries);
    }
    Ok(())
}

/// A number of four bytes in both orders (ECMA-119, section 7.3.3).
fn both(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A number of two bytes in both orders (ECMA-119, section 7.2.3).
fn both_short(number: u16) -> [u8; 4] {
    let mut bytes = [0; 4];
    bytes[..2].copy_from_slice(&number.to_le_bytes());
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A directory record without a date (ECMA-119, section 9.1).
fn record(name: &[u8], block: usize, len: usize, directory: bool) -> Result<Vec<u8>> {
    let length = (33 + name.len()).next_multiple_of(2);
    let mut record = vec![u8::try_from(length)?, 0];
    record.extend(both(u32::try_from(block)?));
    record.extend(both(u32::try_from(len)?));
    record.extend([0; 7]);
    record.extend([if directory { 2 } else { 0 }, 0, 0]);
    record.extend(both_short(1));
    record.push(u8::try_from(name.len())?);
    record.extend(name);
    record.resize(length, 0);
    Ok(record)
}

fn cd(image: &mut [u8], fat_len: usize) -> Result<()> {
    let blocks = u32::try_from(image.len() / BLOCK)?;
    let mut put = |block: usize, at: usize, bytes: &[u8]| {
        image[block * BLOCK + at..block * BLOCK + at + bytes.len()].copy_from_slice(bytes);
    };
    let own = record(&[0], ROOT, BLOCK, true)?;

    put(VOLUME, 0, b"\x01CD001\x01");
    put(VOLUME, 8, &[b' '; 64]);
    put(VOLUME, 40, LABEL);
    put(VOLUME, 80, &both(blocks));
    put(VOLUME, 120, &both_short(1));
    put(VOLUME, 124, &both_short(1));
    put(VOLUME, 128, &both_short(BLOCK as u16));
    put(VOLUME, 132, &both(10));
    put(VOLUME, 140, &(PATHS as u32).to_le_bytes());
    put(VOLUME, 148, &(PATHS_BIG_ENDIAN as u32).to_be_bytes());
    put(VOLUME, 156, &own);
    put(VOLUME, 190, &[b' '; 623]);
    // Four dates of which none is given: digits of zero, and an offset of zero (section 8.4.26.1).
    for at in [813, 830, 847, 864] {
        put(VOLUME, at, &[b'0'; 16]);
    }
    put(VOLUME, 881, &[1]);

    put(BOOT_RECORD, 0, b"\0CD001\x01EL TORITO SPECIFICATION");
    put(BOOT_RECORD, 71, &(CATALOG as u32).to_le_bytes());
    put(TERMINATOR, 0, b"\xffCD001\x01");
    put(CATALOG, 0, &catalog(fat_len)?);

    let path = |block: [u8; 4], parent: [u8; 2]| [&[1, 0][..], &block, &parent, &[0, 0]].concat();
    put(PATHS, 0, &path((ROOT as u32).to_le_bytes(), 1_u16.to_le_bytes()));
    put(PATHS_BIG_ENDIAN, 0, &path((ROOT as u32).to_be_bytes(), 1_u16.to_be_bytes()));
    let file = record(b"EFI.IMG;1", FAT_AT / BLOCK, fat_len, false)?;
    put(ROOT, 0, &[own, record(&[1], ROOT, BLOCK, true)?, file].concat());
    Ok(())
}

/// The boot catalog: one entry for EFI, without emulation.
fn catalog(fat_len: usize) -> Result<[u8; 64]> {
    const EFI: u8 = 0xef;
    let mut catalog = [0; 64];
    catalog[..2].copy_from_slice(&[1, EFI]);
    catalog[4..4 + LABEL.len()].copy_from_slice(LABEL);
    catalog[30..32].copy_from_slice(&[0x55, 0xaa]);
    let sum = catalog[..32]
        .chunks_exact(2)
        .fold(0_u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    catalog[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    catalog[32] = 0x88;
    // In sectors; what does not fit the field is 0: to the end of the medium (UEFI specification, section 13.3.2.1).
    let sectors = u16::try_from(fat_len / SECTOR).unwrap_or(0);
    catalog[38..40].copy_from_slice(&sectors.to_le_bytes());
    catalog[40..44].copy_from_slice(&u32::try_from(FAT_AT / BLOCK)?.to_le_bytes());
    Ok(catalog)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::Command;

    use super::*;

    fn files(uki: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        vec![("EFI/BOOT/BOOTX64.EFI", uki.to_vec()), ("EFI/groundstate/db.cer", b"certificate".to_vec())]
    }

    fn make(uki: &[u8]) -> Vec<u8> {
        let files = files(uki);
        image(&files.iter().map(|(path, bytes)| (*path, &bytes[..])).collect::<Vec<_>>()).unwrap()
    }

    /// The output of a program about the image; `None` where it is not installed.
    fn said(program: &str, words: &[&str], image: &[u8]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("stick.img");
        std::fs::write(&file, image).unwrap();
        let output = match Command::new(program).args(words).arg(&file).output() {
            Ok(output) => output,
            Err(_) => {
                eprintln!("not looked at: {program}");
                return None;
            }
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "{program}: {text}");
        Some(text)
    }

    #[test]
    fn it_is_a_disk_and_a_cd_with_the_same_fat() {
        let image = make(&vec![7; 5 << 20]);
        assert_eq!(make(&vec![7; 5 << 20]), image);
        let catalog = &image[CATALOG * BLOCK..];
        let entry = u64::from_le_bytes(image[2 * SECTOR + 32..2 * SECTOR + 40].try_into().unwrap());
        let block = u32::from_le_bytes(catalog[40..44].try_into().unwrap());
        assert_eq!(entry * SECTOR as u64, u64::from(block) * BLOCK as u64);
        let fat = Cursor::new(image[FAT_AT..].to_vec());
        let filesystem = FileSystem::new(fat, FsOptions::new()).unwrap();
        for (path, bytes) in files(&vec![7; 5 << 20]) {
            let mut read = Vec::new();
            filesystem.root_dir().open_file(path).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes, "{path}");
        }
    }

    #[test]
    fn sfdisk_and_isoinfo_agree() {
        let image = make(b"program");
        if let Some(text) = said("sfdisk", &["--verify"], &image) {
            assert!(text.contains("No errors detected"), "{text}");
        }
        if let Some(text) = said("sfdisk", &["--dump"], &image) {
            assert!(
                text.contains("C12A7328-F81F-11D2-BA4B-00A0C93EC93B") && text.contains("start=        2048"),
                "{text}"
            );
        }
        if let Some(text) = said("isoinfo", &["-d", "-i"], &image) {
            assert!(
                text.contains("El Torito VD version 1 found") && text.contains("Bootoff 200 512"),
                "{text}"
            );
        }
        if let Some(text) = said("isoinfo", &["-l", "-i"], &image) {
            assert!(text.contains("EFI.IMG"), "{text}");
        }
    }

    #[test]
    fn a_large_kit_says_so_to_el_torito_in_its_way() {
        let small = make(&vec![1; 1 << 20]);
        assert_ne!(small[CATALOG * BLOCK + 38..CATALOG * BLOCK + 40], [0, 0]);
        let large = make(&vec![1; 40 << 20]);
        assert_eq!(large[CATALOG * BLOCK + 38..CATALOG * BLOCK + 40], [0, 0]);
    }
}
