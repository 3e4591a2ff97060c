//! `groundstate-agent plan`: what a restore would do to a disk, printed; it reads and writes nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use images::restore::file::FileTarget;
use images::restore::{EndpointFacts, RestorePlan, scan};
use images::{KeyRing, SignedManifest, SignedTrustRoot};
use recovery_protocol::trust::RecoveryTrust;

/// Sector size assumed of a disk image in a file.
const SECTOR: u32 = 512;

/// The plan for `disk` (a raw image, or a block device), for a manifest that the keys in `trust` have signed.
///
/// # Errors
/// When the manifest is not trusted, the image does not fit, or something cannot be read.
pub fn plan(trust: &Path, manifest: &Path, disk: &Path) -> Result<String> {
    let manifest = keys(trust)?.verify(SignedManifest::decode(&read(manifest)?)?)?;
    let target =
        FileTarget::open_read_only(disk, SECTOR).with_context(|| format!("opening {}", disk.display()))?;
    let scan = scan(&manifest, &target, &|_| {})?;
    Ok(RestorePlan::new(&manifest, scan, &EndpointFacts::default())?.to_string())
}

/// The keys that a recovery system with this trust believes.
///
/// # Errors
/// When the file cannot be read, or is no trust.
pub fn keys(trust: &Path) -> Result<KeyRing> {
    let trust: RecoveryTrust = serde_json::from_slice(&read(trust)?).context("reading the trust")?;
    let root: SignedTrustRoot =
        serde_json::from_slice(&trust.image_trust_root.0).context("reading the trust root")?;
    Ok(KeyRing::pin(root)?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
