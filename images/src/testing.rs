//! Disks, stores and keys for the tests of this package.

use std::collections::BTreeMap;

use crate::disk::ESP_TYPE;
use crate::import::{ImportRequest, Imported, import_raw};
use crate::keys::{Role, RoleKeys, SignedTrustRoot, SigningKey, TrustRoot};
use crate::restore::RestoreTarget;
use crate::restore::mem::MemDisk;
use crate::{KeyRing, Manifest, SignedManifest, Store, Verified};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const LINUX_TYPE: [u8; 16] =
    [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4];

/// Bytes that look random and do not compress.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A partition for [`gpt_disk`]: type, first and last LBA.
pub(crate) type Part = ([u8; 16], u64, u64);

/// An empty disk with a valid GPT, made here by the specification and not by the code under test.
pub(crate) fn gpt_disk(size: u64, sector: usize, parts: &[Part]) -> Vec<u8> {
    let mut disk = vec![0; size as usize];
    let sectors = size / sector as u64;
    let array_sectors = (128 * 128) as u64 / sector as u64;
    disk[446 + 4] = 0xee;
    disk[446 + 8] = 1;
    disk[446 + 12..446 + 16].copy_from_slice(&((sectors - 1) as u32).to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut entries = vec![0; 128 * 128];
    for (index, (kind, first, last)) in parts.iter().enumerate() {
        let entry = &mut entries[128 * index..128 * (index + 1)];
        entry[..16].copy_from_slice(kind);
        entry[16..32].copy_from_slice(&[index as u8 + 1; 16]);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        entry[56] = b'p';
        entry[58] = b'0' + index as u8;
    }
    let crc = crc32fast::hash(&entries);
    for (my, other, array) in [(1, sectors - 1, 2), (sectors - 1, 1, sectors - 1 - array_sectors)] {
        let mut header = vec![0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&[0, 0, 1, 0]);
        header[12] = 92;
        header[24..32].copy_from_slice(&my.to_le_bytes());
        header[32..40].copy_from_slice(&other.to_le_bytes());
        header[40..48].copy_from_slice(&(2 + array_sectors).to_le_bytes());
        header[48..56].copy_from_slice(&(sectors - 2 - array_sectors).to_le_bytes());
        header[56..72].copy_from_slice(&[0xd1; 16]);
        header[72..80].copy_from_slice(&array.to_le_bytes());
        header[80] = 128;
        header[84] = 128;
        header[88..92].copy_from_slice(&crc.to_le_bytes());
        let header_crc = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&header_crc.to_le_bytes());
        let at = my as usize * sector;
        disk[at..at + 92].copy_from_slice(&header);
        let at = array as usize * sector;
        disk[at..at + entries.len()].copy_from_slice(&entries);
    }
    disk
}

/// A disk with an EFI system partition from 1 to 4 MiB that holds these files, and a Linux partition behind it.
pub(crate) fn bootable_disk(size: u64, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let last = size / 512 - 34;
    let mut disk = gpt_disk(size, 512, &[(ESP_TYPE, 2048, 8191), (LINUX_TYPE, 8192, last)]);
    let mut esp = std::io::Cursor::new(vec![0; 3 * MIB as usize]);
    fatfs::format_volume(&mut esp, fatfs::FormatVolumeOptions::new()).unwrap();
    disk[MIB as usize..4 * MIB as usize].copy_from_slice(esp.get_ref());
    let target = MemDisk::new(disk, 512);
    for (path, bytes) in files {
        crate::disk::esp::put_file(&target, MIB..4 * MIB, path, bytes).unwrap();
    }
    target.into_bytes()
}

/// A store in a temporary directory, and a key ring with one image key.
pub(crate) struct Plant {
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub ring: KeyRing,
    pub key: SigningKey,
}

impl Plant {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let (root, key) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let keys = |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![key.public()] };
        let roles = BTreeMap::from([(Role::Root, keys(&root)), (Role::Image, keys(&key))]);
        let mut trust =
            SignedTrustRoot::unsigned(TrustRoot { version: 1, epoch_floor: 0, expires_unix_ms: 0, roles });
        trust.sign(&root).unwrap();
        Self { dir, store, ring: KeyRing::pin(trust).unwrap(), key }
    }

    pub fn import_with(&self, raw: &[u8], request: &ImportRequest) -> Imported {
        let path = self.dir.path().join("disk.raw");
        std::fs::write(&path, raw).unwrap();
        import_raw(&path, request, &self.store, &mut |_| {}).unwrap()
    }

    /// Import, sign, verify.
    pub fn image(&self, raw: &[u8]) -> Verified<Manifest> {
        self.image_with(raw, &request())
    }

    pub fn image_with(&self, raw: &[u8], request: &ImportRequest) -> Verified<Manifest> {
        let id = self.import_with(raw, request).manifest.id();
        let mut signed: SignedManifest = self.store.get_manifest(&id).unwrap();
        self.key.sign_image(&mut signed).unwrap();
        self.store.put_manifest(&signed).unwrap();
        self.ring.verify(self.store.get_manifest(&id).unwrap()).unwrap()
    }
}

pub(crate) fn request() -> ImportRequest {
    ImportRequest { name: "hmi-panel".into(), version: "1".into(), ..ImportRequest::default() }
}

/// Read a whole disk.
pub(crate) fn bytes_of(target: &dyn RestoreTarget) -> Vec<u8> {
    let mut bytes = vec![0; target.size() as usize];
    target.read_at(0, &mut bytes).unwrap();
    bytes
}

/// A peer program or file of Debian's is not here. In CI that is a failure; elsewhere the test says loudly what it leaves out.
pub fn not_looked_at(peer: &str, package: &str) {
    use std::io::Write as _;
    let ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    assert!(!ci, "{peer} is not here, and in CI nothing is left out: apt-get install {package}");
    // Not by `eprintln`, which the test runner keeps to itself when the test passes.
    let _ = writeln!(std::io::stderr(), "\nNOT LOOKED AT: {peer} is not here (apt-get install {package})");
}
