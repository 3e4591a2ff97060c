//! The golden image of the site in these tests.

use super::*;

/// Imports and signs `disk`, which measures what is said; its second partition, where it has one, is preserved.
pub(super) fn image(config: &Config, scratch: &std::path::Path, disk: &[u8], measurements: Vec<Measurement>) {
    let raw = scratch.join("disk.raw");
    std::fs::write(&raw, disk).unwrap();
    let store = Store::open(config.image_store()).unwrap();
    let request =
        ImportRequest { name: "box".into(), version: "1".into(), epoch: 1, ..ImportRequest::default() };
    let second = disk[1024 + 128..][..16] != [0; 16];
    let request = ImportRequest { preserve: second.then(|| "2".to_owned()).into_iter().collect(), ..request };
    let imported = images::import_raw(&raw, &request, &store, &mut |_| {}).unwrap().manifest;
    let header = Header { measurements, ..imported.header().clone() };
    let manifest = Manifest::build(header, imported.extents()).unwrap();
    crate::testing::trusted(&store, SignedManifest::unsigned(&manifest), &config.trust_root());
}
