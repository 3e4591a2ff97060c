//! The texts that carry a loader to the recovery system: an iPXE script and a GRUB configuration.
//!
//! Both are rendered for each request, with the address of ours that was asked. They hold addresses, file names and kernel
//! arguments, and nothing secret: anyone on the wire can read them. Each language has its own escaping; what reaches them
//! is checked before ([`KernelArgs`]).

mod args;
mod grub;
mod ipxe;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use bytes::Bytes;

pub use args::{BadArg, KernelArgs};

use crate::artefact::{Artefact, Artefacts, BadArtefact, fold};
use crate::dhcp::loader::SCRIPT_NAME;

/// Names under which GRUB builds look for their configuration: Debian's signed image asks for the first.
const GRUB_NAMES: [&str; 4] = ["grub/grub.cfg", "grub.cfg", "boot/grub/grub.cfg", "efi/debian/grub.cfg"];
/// iPXE 2 fetches this beside its own file and at the root (ipxe f7fe2b319).
const AUTOEXEC_NAME: &str = "autoexec.ipxe";

/// The recovery system, as the loaders see it: table names and kernel arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverySystem {
    /// Kernel.
    pub kernel: String,
    /// Initial file system.
    pub initrd: String,
    /// Unified kernel image for UEFI, if the boot kit has one.
    pub unified: Option<String>,
    /// Port of ours to which the agent connects.
    pub agent_port: u16,
    /// Further kernel arguments.
    pub args: KernelArgs,
}

impl RecoverySystem {
    fn args_for(&self, server: Ipv4Addr) -> KernelArgs {
        self.args.with_appliance(SocketAddrV4::new(server, self.agent_port))
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        [&self.kernel, &self.initrd].into_iter().chain(&self.unified)
    }
}

/// Puts the scripts for a recovery system into the boot kit.
pub fn install(kit: &mut Artefacts, system: RecoverySystem, http_port: u16) -> Result<(), BadArtefact> {
    for name in system.names() {
        if fold(name.as_bytes()).as_ref() != Some(name) || !args::is_plain(name) {
            return Err(BadArtefact::Name(name.clone()));
        }
    }
    let system = Arc::new(system);
    let for_ipxe = system.clone();
    let script = Artefact::rendered(
        SCRIPT_NAME,
        Arc::new(move |request| Bytes::from(ipxe::render(&for_ipxe, request.interface, http_port))),
    )?;
    kit.insert(script.alias(AUTOEXEC_NAME)?).insert(script);
    let config = Artefact::rendered(
        GRUB_NAMES[0],
        Arc::new(move |request| Bytes::from(grub::render(&system, request.interface))),
    )?;
    for name in GRUB_NAMES {
        kit.insert(config.alias(name)?);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn sample() -> RecoverySystem {
    RecoverySystem {
        kernel: "vmlinuz".into(),
        initrd: "initrd.img".into(),
        unified: Some("recovery.efi".into()),
        agent_port: 8443,
        args: KernelArgs::new(["console=ttyS0", "gs.zone={line-1}"]).expect("valid"),
    }
}
