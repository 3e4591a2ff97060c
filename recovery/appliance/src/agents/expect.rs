//! What booting our own recovery system measures, for every way in which it can be reached.
//!
//! The boot kit says what its files measure; what this appliance adds (arguments with its address, `grub.cfg`) is added
//! here, from the very bytes that are served. See [`crate::attest`] for what each loader measures where.
//!
//! An endpoint that asks the network first and then starts its disk shows our network boot program before the disk's
//! loader, where that program had been started and found no ticket. That one program, by the digest in the boot kit and
//! in front of all others, may stand in a golden system's quote; any other loader is a finding.

use std::net::Ipv4Addr;

use images::manifest::header::{Measurement, Need};
use pxe::{Artefacts, BootRequest};
use recovery_protocol::{
    kit::{BootKit, Measured},
    tpm::Sha256,
};

/// The ways in which the recovery system can have been booted.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    ways: Vec<Way>,
    handed_back: Vec<Measurement>,
    signer: Option<String>,
}

/// One way to the recovery system.
#[derive(Debug, Clone)]
pub struct Way {
    /// What it measures.
    pub measurements: Vec<Measurement>,
    /// It counts only for an endpoint whose quote says that Secure Boot was on.
    pub under_secure_boot: bool,
}

impl Expectations {
    /// From a boot kit, the table that is served, and the addresses and port at which agents reach us.
    #[must_use]
    pub fn new(
        kit: &BootKit,
        table: &Artefacts,
        addresses: &[Ipv4Addr],
        agent_port: u16,
        kernel_args: &str,
    ) -> Self {
        let mut ways = Vec::new();
        for address in addresses {
            let args = format!("gs.appliance={address}:{agent_port} {kernel_args}");
            let args = args.split_whitespace().collect::<Vec<_>>().join(" ");
            for (chain, measured) in &kit.chains {
                if chain == BootKit::SHIM {
                    let measurements = by_shim(measured, table, *address, &args);
                    ways.push(Way { measurements, under_secure_boot: false });
                    continue;
                }
                for (under_secure_boot, kernel) in [(false, Need::Always), (true, Need::Optional)] {
                    let measurements = by_unified_image(kit, measured, &args, kernel);
                    ways.push(Way { measurements, under_secure_boot });
                }
            }
        }
        let signer = kit.signer.as_ref().map(|signer| signer.certificate_sha256.clone());
        Self { ways, handed_back: handed_back(kit), signer }
    }

    /// One way, as a test knows it.
    #[cfg(test)]
    pub fn one(measurements: Vec<Measurement>) -> Self {
        Self { ways: vec![Way { measurements, under_secure_boot: false }], ..Self::default() }
    }

    /// Those whose ways count only under Secure Boot, as a test knows it.
    #[cfg(test)]
    pub fn under_secure_boot(mut self) -> Self {
        self.ways.iter_mut().for_each(|way| way.under_secure_boot = true);
        self
    }

    /// Those of a kit that is signed by this certificate, as a test knows it.
    #[cfg(test)]
    pub fn with_signer(self, certificate_sha256: &str) -> Self {
        Self { signer: Some(certificate_sha256.to_owned()), ..self }
    }

    /// With a network boot program that may hand the boot back, as a test knows it.
    #[cfg(test)]
    pub fn with_handed_back(self, program: Measurement) -> Self {
        Self { handed_back: vec![program], ..self }
    }

    /// What a golden system's boot must have measured: the image's predictions, and in front of them what a network boot
    /// of ours may leave that ended at the disk.
    #[must_use]
    pub fn golden(&self, predicted: &[Measurement]) -> Vec<Measurement> {
        // An image that predicts nothing proves nothing: our own program must not fill that void.
        if predicted.is_empty() { Vec::new() } else { [&self.handed_back[..], predicted].concat() }
    }

    /// SHA-256 of the certificate by which the kit is signed, lower-case hex; `None` where it is not.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        self.signer.as_deref()
    }

    /// Each way.
    pub fn ways(&self) -> impl Iterator<Item = &Way> {
        self.ways.iter()
    }
}

/// Our network boot program for UEFI: iPXE ends with `exit` where its script is refused, and the firmware goes on to its
/// next boot option. Shim, GRUB and the unified kernel image never hand a boot back.
fn handed_back(kit: &BootKit) -> Vec<Measurement> {
    let program = kit.files.get(BootKit::IPXE_EFI).and_then(|file| file.authenticode_sha256.as_ref());
    let digest = program.and_then(|digest| digest.parse::<Sha256>().ok());
    let what = format!("{} handed the boot back", BootKit::IPXE_EFI);
    digest.map(|digest| measurement(4, digest, Need::Optional, what)).into_iter().collect()
}

fn measurement(pcr: u8, digest: Sha256, need: Need, what: impl Into<String>) -> Measurement {
    Measurement { pcr, digest: *digest.as_bytes(), need, what: what.into() }
}

/// A digest of the kit; one that cannot be read matches nothing.
fn digest(measured: &Measured) -> Sha256 {
    measured.sha256.parse().unwrap_or(Sha256::ZERO)
}

/// Arguments as the kernel's EFI stub and systemd's stub measure them: UTF-16LE with the final NUL.
fn load_options(text: &str) -> Sha256 {
    let bytes: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    Sha256::of(&bytes)
}

/// Firmware or iPXE starts the unified kernel image. iPXE lets the firmware look at it before it starts it (twice in
/// PCR 4) and passes arguments, led by the file's name; without any, the ones inside count.
///
/// `kernel` says whether the kernel within must show up in PCR 4. Under Secure Boot systemd's stub answers for it in the firmware's
/// place, because the image's signature covers it, and the firmware then does not measure it by itself (seen with OVMF 2022.11). The
/// image's own digest, and section `.linux` in PCR 11, say which it is; both must show up on every boot.
fn by_unified_image(kit: &BootKit, measured: &[Measured], args: &str, kernel: Need) -> Vec<Measurement> {
    let inside = load_options(&kit.command_line);
    let unified = kit.files.get(BootKit::UKI).and_then(|file| file.authenticode_sha256.clone());
    let mut way = Vec::new();
    for m in measured {
        if m.pcr == 9 && digest(m) == inside {
            continue;
        }
        let inner = m.pcr == 4 && m.what.starts_with(BootKit::KERNEL);
        let need = if inner { kernel } else { Need::Always };
        way.push(measurement(m.pcr, digest(m), need, m.what.clone()));
        if m.pcr == 4 && unified.as_deref() == Some(m.sha256.as_str()) {
            way.push(measurement(4, digest(m), Need::Optional, format!("{} looked at before", m.what)));
        }
    }
    let passed = format!("{} {args}", BootKit::UKI);
    for text in [kit.command_line.as_str(), passed.as_str(), args] {
        for pcr in [9, 12] {
            way.push(measurement(
                pcr,
                load_options(text),
                Need::Optional,
                format!("kernel arguments `{text}`"),
            ));
        }
    }
    way
}

/// Shim, GRUB, `grub.cfg` as we render it, kernel and initrd by TFTP.
fn by_shim(measured: &[Measured], table: &Artefacts, address: Ipv4Addr, args: &str) -> Vec<Measurement> {
    let kernel = |m: &Measured| m.pcr == 4 && m.what.starts_with(BootKit::KERNEL);
    let mut way: Vec<Measurement> = measured
        .iter()
        .map(|m| {
            let need = if kernel(m) { Need::SecureBoot } else { Need::Always };
            measurement(m.pcr, digest(m), need, m.what.clone())
        })
        .collect();
    let request = BootRequest {
        client: pxe::Client::bare([0; 6].into(), None),
        stage: pxe::Stage::Tftp,
        interface: address,
    };
    if let Some(config) = table.find(b"grub/grub.cfg") {
        let config = Sha256::of(&config.bytes(&request));
        way.push(measurement(9, config, Need::Always, "grub.cfg read by GRUB"));
    }
    for path in [format!("(tftp,{address})/{}", BootKit::KERNEL), format!("/{}", BootKit::KERNEL)] {
        let line = format!("{path} {args}");
        way.push(measurement(
            8,
            Sha256::of(line.as_bytes()),
            Need::Optional,
            format!("kernel started as `{line}`"),
        ));
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_within_may_be_missing_under_secure_boot_alone() {
        let told = |pcr, what: &str, text: &str| Measured {
            pcr,
            what: what.into(),
            sha256: Sha256::of(text.as_bytes()).to_string(),
        };
        let unified =
            vec![told(4, BootKit::UKI, "uki"), told(4, "vmlinuz", "kernel"), told(11, ".linux", "kernel")];
        let kit = BootKit {
            format: BootKit::FORMAT,
            agent_version: String::new(),
            kernel_release: String::new(),
            command_line: "quiet".into(),
            files: [].into(),
            chains: [(BootKit::HTTP.into(), unified)].into(),
            signer: None,
        };
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let all = Expectations::new(&kit, &Artefacts::new(), &[address], 8443, "");
        let seen: Vec<_> = all
            .ways()
            .map(|way| {
                let needed = way.measurements.iter().filter(|m| m.need == Need::Always);
                (way.under_secure_boot, needed.map(|m| m.what.as_str()).collect::<Vec<_>>())
            })
            .collect();
        let always = vec![BootKit::UKI, "vmlinuz", ".linux"];
        assert_eq!(seen, [(false, always), (true, vec![BootKit::UKI, ".linux"])]);
    }
}
