//! `groundstate-agent restore`: brings a raw disk in a file to a golden image, over the network and by the same path as an
//! endpoint's disk. For rehearsals, and for measuring what a network and an appliance give, before a machine is down.
//!
//! It must never write a block device: which disk of an endpoint may be written is decided by an order and nowhere else.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use images::SignedManifest;
use images::restore::file::FileTarget;
use images::restore::{EndpointFacts, ReadBack, RestorePlan, RestoreTarget as _, scan};
use recovery_protocol::agent::SourceFacts;
use serde::Serialize;

use crate::plan;
use crate::recovery::restore::{NotTaken, download_manifest, memory_peak};
use crate::recovery::source::HttpSource;
use crate::recovery::sources::Limits;

const SECTOR: u32 = 512;

/// What was done, for a script.
#[derive(Debug, Serialize)]
struct Done {
    image: images::ImageId,
    #[serde(flatten)]
    stats: images::restore::RestoreStats,
    memory_peak_bytes: u64,
    seconds: f64,
    sources: Vec<SourceFacts>,
}

/// Restores the image whose signed manifest `appliances` serve (each as in `http://10.7.0.5`) onto the file `disk`, which is
/// made as large as the image when it is not there. Returns JSON: what was done, in bytes.
///
/// # Errors
/// When the manifest is not trusted, the image does not fit, or something cannot be read or written.
pub fn restore(trust: &Path, image: &str, disk: &Path, appliances: &[&str]) -> Result<String> {
    let begin = Instant::now();
    let keys = plan::keys(trust)?;
    let id: images::ImageId =
        image.parse().context("an image is named by its id, as `image list` shows it")?;
    let urls = |path: &str| appliances.iter().map(|at| format!("{at}{path}")).collect::<Vec<_>>();
    let manifest = download_manifest(&urls(&format!("/v1/manifests/{id}")), Limits::USUAL, |body| {
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).map_err(NotTaken::Broken)?;
        Ok(bytes)
    })
    .map_err(|refusal| anyhow::anyhow!("{}", refusal.detail))?;
    let manifest = keys.verify(SignedManifest::decode(&manifest)?)?;
    if manifest.id() != id {
        bail!("image {id} was asked for, {} was sent; check the appliance", manifest.id());
    }
    let target = open(disk, manifest.header().disk.size)?;
    let source = HttpSource::new(&urls("/v1/frames"), Limits::USUAL, || false);
    let found = scan(&manifest, &target, &|_| {})?;
    let restore = RestorePlan::new(&manifest, found, &EndpointFacts::default())?;
    let written = restore.poison(&target)?.write(&source, &|_| {})?;
    let restored = written.read_back(ReadBack::Everything)?.commit_boot_region()?;
    target.flush()?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let done = Done {
        image: restored.image(),
        stats: restored.stats(),
        memory_peak_bytes: memory_peak(&status),
        seconds: begin.elapsed().as_secs_f64(),
        sources: source.facts(),
    };
    Ok(serde_json::to_string(&done)?)
}

fn open(disk: &Path, len: u64) -> Result<FileTarget> {
    let target = match fs::metadata(disk) {
        Ok(metadata) if !metadata.is_file() => bail!(
            "{} is no file; a disk of an endpoint is restored by an order of the appliance (`groundstate recover`)",
            disk.display()
        ),
        Ok(_) => FileTarget::open(disk, SECTOR),
        Err(_) => FileTarget::create(disk, len, SECTOR),
    };
    target.with_context(|| format!("opening {}", disk.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_device_is_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let refused = open(Path::new("/dev/null"), 4096).map(drop).unwrap_err();
        assert!(refused.to_string().contains("is no file"), "{refused}");
        let disk = open(&dir.path().join("disk.raw"), 4096).unwrap();
        assert_eq!(images::restore::ReadDisk::size(&disk), 4096);
    }
}
