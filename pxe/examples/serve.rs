//! Serves network boot on one interface to everyone there, and prints what happens: for trying firmware by hand.
//!
//! ```text
//! serve INTERFACE ADDR/PREFIX MODE CHAIN DIR [KERNEL_ARG...]
//!   MODE   observe | proxy | full:FIRST-LAST | fast:FIRST-LAST
//!   CHAIN  ipxe | shim | uefi-http | bios | none
//!   DIR    files to serve: loaders, vmlinuz, initrd.img, recovery.efi
//! ```
//!
//! SERVE_IPV6 in its environment is our IPv6 address there, for UEFI HTTP Boot over IPv6 in full mode. With SERVE_QUIET in its environment it prints no events. It arms every endpoint that it sees and must not run on a network with others on it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use pxe::config::{Config, DhcpMode, FullDhcp, Interface, Unarmed};
use pxe::dhcp::loader::Loaders;
use pxe::script::{KernelArgs, RecoverySystem, install};
use pxe::{Arch, Artefact, Artefacts, BootDecision, BootEvent, BootRequest, Chain, Server};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, addr, mode, chain, dir, kernel_args @ ..] = &args[..] else {
        bail!("usage: serve INTERFACE ADDR/PREFIX MODE CHAIN DIR [KERNEL_ARG...]");
    };
    let (addr, prefix) = addr.split_once('/').context("ADDR/PREFIX, as in 10.77.0.1/24")?;
    let interface =
        Interface { name: name.clone(), addr: addr.parse()?, prefix: prefix.parse()?, dhcp: mode_of(mode)? };
    let decision = match chain.as_str() {
        "ipxe" => Chain::Ipxe.into(),
        "shim" => Chain::Shim.into(),
        "uefi-http" => Chain::UefiHttp.into(),
        "bios" => Chain::Bios.into(),
        "none" => BootDecision::LocalDisk,
        other => bail!("unknown chain `{other}`"),
    };
    let mut kit = files(Path::new(dir))?;
    let system = RecoverySystem {
        kernel: "vmlinuz".into(),
        initrd: "initrd.img".into(),
        unified: kit.contains("recovery.efi").then(|| "recovery.efi".into()),
        agent_port: 8443,
        args: KernelArgs::new(kernel_args)?,
    };
    install(&mut kit, system, 80)?;
    let config = Config { loaders: loaders(&kit), ..Config::new(vec![interface]) };
    let begun = Instant::now();
    let quiet = std::env::var_os("SERVE_QUIET").is_some();
    let print = move |event: BootEvent| {
        if !quiet {
            println!("{:8.3} {event:?}", begun.elapsed().as_secs_f64());
        }
    };
    let server = Server::bind(config, kit, Arc::new(move |_: &BootRequest| decision), Arc::new(print))?;
    println!("   0.000 serving on {name}");
    let stop = CancellationToken::new();
    let done = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            done.cancel();
        }
    });
    Ok(server.run(stop).await?)
}

fn mode_of(text: &str) -> anyhow::Result<DhcpMode> {
    let full = |range: &str, unarmed| {
        let (first, last) = range.split_once('-').context("FIRST-LAST")?;
        let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse()?, last.parse()?);
        let ipv6 = std::env::var("SERVE_IPV6").ok().map(|addr| addr.parse()).transpose()?;
        anyhow::Ok(DhcpMode::Full(FullDhcp { unarmed, ipv6, ..FullDhcp::pool(first, last) }))
    };
    match text.split_once(':') {
        Some(("full", range)) => full(range, Unarmed::Silent),
        Some(("fast", range)) => full(range, Unarmed::FastRefuse),
        None if text == "proxy" => Ok(DhcpMode::Proxy),
        None if text == "observe" => Ok(DhcpMode::Observe),
        _ => bail!("unknown mode `{text}`"),
    }
}

fn files(dir: &Path) -> anyhow::Result<Artefacts> {
    let mut kit = Artefacts::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let bytes = std::fs::read(entry.path())?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let name = entry.file_name().to_string_lossy().into_owned();
        kit.insert(Artefact::fixed(&name, bytes.into(), &format!("{:016x}", hasher.finish()))?);
    }
    Ok(kit)
}

/// Debian's chains, without those that the directory has no loader for.
fn loaders(kit: &Artefacts) -> Loaders {
    [
        (Chain::Ipxe, Arch::EfiX64, "snponly.efi"),
        (Chain::Shim, Arch::EfiX64, "shimx64.efi"),
        (Chain::Shim, Arch::EfiArm64, "shimaa64.efi"),
        (Chain::Shim, Arch::EfiIa32, "shimia32.efi"),
        (Chain::UefiHttp, Arch::EfiX64, "recovery.efi"),
        (Chain::UefiHttp, Arch::EfiArm64, "recoveryaa64.efi"),
        (Chain::Bios, Arch::Bios, "undionly.kpxe"),
    ]
    .into_iter()
    .filter(|(_, _, name)| kit.contains(name))
    .fold(Loaders::none(), |loaders, (chain, arch, name)| loaders.with(chain, arch, name))
}
