//! Which file a firmware is told to load first: a table by chain and architecture, and the rules around it.
//!
//! The policy prefers a chain; the firmware decides what it can follow. A BIOS machine always gets the BIOS loader, HTTP
//! Boot only a unified kernel image, iPXE always the script. An architecture without an entry gets nothing, never
//! another one's program (smee hands x64 programs to 32-bit firmware, and arm64 ones to arm32).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::client::{Arch, Client, ClientClass};
use crate::event::Refusal;
use crate::policy::Chain;

/// Table name of the iPXE script, rendered per client.
pub const SCRIPT_NAME: &str = "boot.ipxe";
/// A name that is never in the table: firmware sent to it learns quickly that there is nothing.
pub const NOT_ARMED: &str = "no-boot-ticket";

/// First file per chain and architecture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaders {
    table: BTreeMap<(Chain, Arch), String>,
    http_shim: Option<String>,
    https: Option<u16>,
}

impl Loaders {
    /// No chain at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The files that Debian ships for x64 and BIOS, with the recovery system's own unified kernel image.
    pub fn debian() -> Self {
        Self::none()
            .with(Chain::Ipxe, Arch::EfiX64, "snponly.efi")
            .with(Chain::Shim, Arch::EfiX64, "shimx64.efi")
            .with(Chain::UefiHttp, Arch::EfiX64, "recovery.efi")
            .with(Chain::Bios, Arch::Bios, "undionly.kpxe")
    }

    /// Sets the first file of a chain. `name` is a table name, at most 80 characters.
    #[must_use]
    pub fn with(mut self, chain: Chain, arch: Arch, name: &str) -> Self {
        self.table.insert((chain, arch), name.into());
        self
    }

    /// Sets the first file of shim's chain for UEFI HTTP Boot on x64. Beside it, as `grubx64.efi`, lies what needs nothing more from
    /// the network: a signed unified kernel image. Debian's GRUB has no http module, so without this there is no such chain (F9).
    #[must_use]
    pub fn with_http_shim(mut self, name: &str) -> Self {
        self.http_shim = Some(name.into());
        self
    }

    /// Whether there is a shim with a signed unified kernel image beside it.
    #[must_use]
    pub fn has_signed_shim(&self) -> bool {
        self.http_shim.is_some()
    }

    /// What is offered beside a site's DHCP. GRUB does not read ProxyDHCP offers (B12); shim does, and what lies beside it as `grubx64.efi`
    /// is the signed unified kernel image, which asks for nothing more.
    #[must_use]
    pub fn beside_dhcp(mut self) -> Self {
        if let Some(signed) = self.http_shim.clone() {
            self.table.insert((Chain::Shim, Arch::EfiX64), signed);
        }
        self
    }

    /// UEFI HTTP Boot fetches over TLS at this port: our authority is enrolled in the endpoints' firmware. PXE and iPXE go on as ever.
    #[must_use]
    pub fn with_https(mut self, port: u16) -> Self {
        self.https = Some(port);
        self
    }

    /// The URL that UEFI HTTP Boot is given for a name; `server` is an address, an IPv6 one in brackets.
    pub(crate) fn http_boot_url(&self, server: &str, http_port: u16, name: &str) -> String {
        let name = name.trim_start_matches('/');
        match (self.https, http_port) {
            (Some(443), _) => format!("https://{server}/{name}"),
            (Some(port), _) => format!("https://{server}:{port}/{name}"),
            (None, 80) => format!("http://{server}/{name}"),
            (None, port) => format!("http://{server}:{port}/{name}"),
        }
    }

    /// All names in the table.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.chains().map(|(name, _)| name)
    }

    /// Each first file with the chain that it begins.
    pub fn chains(&self) -> impl Iterator<Item = (&str, Chain)> {
        let over_http = self.http_shim.iter().map(|name| (name.as_str(), Chain::Shim));
        self.table.iter().map(|((chain, _), name)| (name.as_str(), *chain)).chain(over_http)
    }

    /// The name of the first file for UEFI HTTP Boot.
    ///
    /// # Errors
    /// [`Refusal::NoLoader`].
    pub fn http_boot(&self, client: &Client, chain: Chain) -> Result<&str, Refusal> {
        let arch = client.arch.unwrap_or(Arch::Bios);
        let name = match chain {
            Chain::Shim => self.http_shim.as_ref().filter(|_| arch == Arch::EfiX64),
            Chain::Ipxe | Chain::UefiHttp | Chain::Bios => self.table.get(&(Chain::UefiHttp, arch)),
        };
        name.map(String::as_str)
            .ok_or_else(|| Refusal::NoLoader(format!("{chain:?}, {arch:?}, {:?}", client.class)))
    }

    /// The name of the first file for PXE.
    ///
    /// # Errors
    /// [`Refusal::NoLoader`].
    pub fn pxe(&self, client: &Client, chain: Chain) -> Result<&str, Refusal> {
        let arch = client.arch.unwrap_or(Arch::Bios);
        let first = match (arch, chain) {
            (Arch::Bios, _) => Chain::Bios,
            (_, Chain::Shim) => Chain::Shim,
            (_, Chain::Ipxe | Chain::UefiHttp | Chain::Bios) => Chain::Ipxe,
        };
        self.table
            .get(&(first, arch))
            .map(String::as_str)
            .ok_or_else(|| Refusal::NoLoader(format!("{chain:?}, {arch:?}, {:?}", client.class)))
    }

    /// The boot file for a client: a bare name for PXE, an absolute URL with our literal address for HTTP Boot and iPXE
    /// (host names need a name server that boot firmware often does not get, ipxe#1200). `http_port` is left out of the
    /// URL when it is 80: EDK2 sends no port in `Host`.
    pub fn boot_file(
        &self,
        client: &Client,
        chain: Chain,
        server: Ipv4Addr,
        http_port: u16,
    ) -> Result<String, Refusal> {
        let arch = client.arch.unwrap_or(Arch::Bios);
        let missing = || Refusal::NoLoader(format!("{chain:?}, {arch:?}, {:?}", client.class));
        let first = |chains: &[Chain]| {
            chains.iter().find_map(|c| self.table.get(&(*c, arch))).cloned().ok_or_else(missing)
        };
        match client.class {
            ClientClass::Ipxe { http: true } => Ok(url(server, http_port, SCRIPT_NAME)),
            ClientClass::Ipxe { http: false } => {
                let name = first(if arch == Arch::Bios { &[Chain::Bios] } else { &[Chain::Ipxe] })?;
                Ok(format!("tftp://{server}/{name}"))
            }
            ClientClass::HttpBoot => {
                let name = self.http_boot(client, chain)?;
                Ok(self.http_boot_url(&server.to_string(), http_port, name))
            }
            ClientClass::Pxe => self.pxe(client, chain).map(str::to_owned),
            ClientClass::Agent | ClientClass::Plain => Err(missing()),
        }
    }
}

/// An absolute URL with one slash between host and name (a doubled one costs a redirect or a 404, tinkerbell/smee#229).
pub fn url(server: Ipv4Addr, port: u16, name: &str) -> String {
    let name = name.trim_start_matches('/');
    match port {
        80 => format!("http://{server}/{name}"),
        _ => format!("http://{server}:{port}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    #[test]
    fn f9_shim_over_http_is_offered_only_with_a_second_stage_that_needs_no_network() {
        let with = Loaders::debian().with_http_shim("signed/shimx64.efi");
        let file = |loaders: &Loaders, arch| {
            let (class, arch) = (ClientClass::HttpBoot, Some(arch));
            let client = Client { mac: [2, 0, 0, 0, 0, 1].into(), machine: None, arch, class, addr: None };
            loaders.boot_file(&client, Chain::Shim, US, 80).ok()
        };
        assert_eq!(file(&with, Arch::EfiX64).as_deref(), Some("http://10.77.0.1/signed/shimx64.efi"));
        assert_eq!(file(&with, Arch::EfiIa32), None);
        assert_eq!(file(&Loaders::debian(), Arch::EfiX64), None);
        assert!(with.names().any(|name| name == "signed/shimx64.efi"));
    }

    fn file(class: ClientClass, arch: Option<Arch>, chain: Chain) -> Option<String> {
        let client = Client { mac: [2, 0, 0, 0, 0, 1].into(), machine: None, arch, class, addr: None };
        Loaders::debian().boot_file(&client, chain, US, 80).ok()
    }

    #[test]
    fn each_firmware_gets_a_file_that_it_can_run() {
        let pxe = |arch, chain| file(ClientClass::Pxe, Some(arch), chain);
        assert_eq!(pxe(Arch::EfiX64, Chain::Ipxe).as_deref(), Some("snponly.efi"));
        assert_eq!(pxe(Arch::EfiX64, Chain::Shim).as_deref(), Some("shimx64.efi"));
        assert_eq!(pxe(Arch::EfiX64, Chain::UefiHttp).as_deref(), Some("snponly.efi"));
        for chain in [Chain::Ipxe, Chain::Shim, Chain::UefiHttp, Chain::Bios] {
            assert_eq!(pxe(Arch::Bios, chain).as_deref(), Some("undionly.kpxe"), "{chain:?}");
        }
        let http = |chain| file(ClientClass::HttpBoot, Some(Arch::EfiX64), chain);
        assert_eq!(http(Chain::UefiHttp).as_deref(), Some("http://10.77.0.1/recovery.efi"));
        assert_eq!(http(Chain::Shim), None);
    }

    #[test]
    fn e1_over_tls_http_boot_alone_is_given_another_url() {
        let url = |port: Option<u16>, class| {
            let client =
                Client { class, arch: Some(Arch::EfiX64), ..Client::bare([2, 0, 0, 0, 0, 1].into(), None) };
            let loaders = port.into_iter().fold(Loaders::debian(), Loaders::with_https);
            loaders.boot_file(&client, Chain::UefiHttp, US, 80).expect("a file")
        };
        assert_eq!(url(Some(8444), ClientClass::HttpBoot), "https://10.77.0.1:8444/recovery.efi");
        assert_eq!(url(Some(443), ClientClass::HttpBoot), "https://10.77.0.1/recovery.efi");
        assert_eq!(url(None, ClientClass::HttpBoot), "http://10.77.0.1/recovery.efi");
        assert_eq!(url(Some(8444), ClientClass::Pxe), "snponly.efi");
        assert_eq!(url(Some(8444), ClientClass::Ipxe { http: true }), "http://10.77.0.1/boot.ipxe");
    }

    #[test]
    fn b12_beside_a_sites_dhcp_shim_is_the_one_with_a_signed_system_behind_it() {
        let client = Client {
            class: ClientClass::Pxe,
            arch: Some(Arch::EfiX64),
            ..Client::bare([2, 0, 0, 0, 0, 1].into(), None)
        };
        let shim = |loaders: Loaders| loaders.boot_file(&client, Chain::Shim, US, 80).ok();
        let signed = Loaders::debian().with_http_shim("signed/shimx64.efi");
        assert_eq!(shim(signed.clone()).as_deref(), Some("shimx64.efi"), "GRUB reads our own DHCP");
        assert_eq!(shim(signed.beside_dhcp()).as_deref(), Some("signed/shimx64.efi"));
    }

    #[test]
    fn a21_a22_a23_an_architecture_without_a_loader_gets_nothing() {
        for arch in [Arch::EfiIa32, Arch::EfiArm32, Arch::EfiArm64, Arch::EfiRiscv64, Arch::Unknown(0x7777)] {
            assert_eq!(file(ClientClass::Pxe, Some(arch), Chain::Ipxe), None, "{arch:?}");
            assert_eq!(file(ClientClass::HttpBoot, Some(arch), Chain::UefiHttp), None, "{arch:?}");
        }
    }

    #[test]
    fn g1_ipxe_gets_the_script_and_never_itself() {
        for chain in [Chain::Ipxe, Chain::Shim, Chain::UefiHttp, Chain::Bios] {
            let script = file(ClientClass::Ipxe { http: true }, Some(Arch::EfiX64), chain);
            assert_eq!(script.as_deref(), Some("http://10.77.0.1/boot.ipxe"));
        }
    }

    #[test]
    fn g2_g3_an_ipxe_without_http_gets_our_build_by_a_full_tftp_uri() {
        let ipxe = ClientClass::Ipxe { http: false };
        assert_eq!(
            file(ipxe, Some(Arch::Bios), Chain::Bios).as_deref(),
            Some("tftp://10.77.0.1/undionly.kpxe")
        );
        assert_eq!(
            file(ipxe, Some(Arch::EfiX64), Chain::Ipxe).as_deref(),
            Some("tftp://10.77.0.1/snponly.efi")
        );
    }

    #[test]
    fn a29_e2_urls_have_a_literal_address_and_single_slashes() {
        assert_eq!(url(US, 80, "/boot.ipxe"), "http://10.77.0.1/boot.ipxe");
        assert_eq!(url(US, 8080, "boot.ipxe"), "http://10.77.0.1:8080/boot.ipxe");
    }
}
