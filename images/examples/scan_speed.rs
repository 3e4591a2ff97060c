//! What a scan costs: CPU-seconds a GiB, of data and of zeros. `cargo run --release -p images --example scan_speed`.

use std::collections::BTreeMap;
use std::time::Instant;

use images::keys::RoleKeys;
use images::restore::{mem::MemDisk, scan};
use images::{
    ImportRequest, KeyRing, Role, SignedManifest, SignedTrustRoot, SigningKey, Store, TrustRoot, import_raw,
};

const LEN: usize = 256 << 20;
const ROUNDS: u32 = 4;

/// `utime` and `stime` of proc_pid_stat(5), all threads, in ticks of a hundredth of a second.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 / 100.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("scan-speed-{}", std::process::id()));
    let store = Store::open(dir.join("store"))?;
    let (root, key) = (SigningKey::generate()?, SigningKey::generate()?);
    let keys = |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![key.public()] };
    let roles = BTreeMap::from([(Role::Root, keys(&root)), (Role::Image, keys(&key))]);
    let mut trust =
        SignedTrustRoot::unsigned(TrustRoot { version: 1, epoch_floor: 0, expires_unix_ms: 0, roles });
    trust.sign(&root)?;
    let ring = KeyRing::pin(trust)?;

    let mut data = vec![0; LEN];
    let mut state = 1_u64;
    for word in data.chunks_exact_mut(8) {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        word.copy_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    for (what, bytes) in [("data", data), ("zeros", vec![0; LEN])] {
        let path = dir.join("disk.raw");
        std::fs::write(&path, &bytes)?;
        let request = ImportRequest { name: what.into(), version: "1".into(), ..ImportRequest::default() };
        let mut signed =
            SignedManifest::unsigned(&import_raw(&path, &request, &store, &mut |_| {})?.manifest);
        key.sign_image(&mut signed)?;
        let image = ring.verify(signed)?;
        let disk = MemDisk::new(bytes, 512);
        let (cpu, clock) = (cpu_seconds()?, Instant::now());
        for _ in 0..ROUNDS {
            assert!(scan(&image, &disk, &|_| {})?.is_clean());
        }
        let gib = f64::from(ROUNDS) * LEN as f64 / f64::from(1 << 30);
        let (cpu, clock) = ((cpu_seconds()? - cpu) / gib, clock.elapsed().as_secs_f64() / gib);
        println!("{what:5} {cpu:.2} CPU-seconds a GiB, {clock:.2} s a GiB");
    }
    Ok(std::fs::remove_dir_all(&dir)?)
}
