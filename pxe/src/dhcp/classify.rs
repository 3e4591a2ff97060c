//! Tells what kind of client sent a DHCP request.
//!
//! Order of precedence: user class or option 175 of iPXE (its vendor class stays `PXEClient`, ipxe#1527), then our
//! agent, then `HTTPClient`, then `PXEClient`, then the vendor classes that the configuration adds. Pure.

use crate::client::{AGENT_CLASS, Arch, Client, ClientClass, MachineId};
use crate::dhcp::packet::{Request, code, sub_option};

/// iPXE feature numbers inside option 175 (ipxe `src/include/ipxe/features.h`).
const IPXE_FEATURE_HTTP: u8 = 19;

/// The client behind a request. `extra_classes` are vendor class prefixes that count as PXE.
pub fn classify(request: &Request, extra_classes: &[String]) -> Client {
    let vendor = request.option(code::VENDOR_CLASS).unwrap_or_default();
    let pxe = |class: &[u8]| class.starts_with(b"PXEClient");
    let class = if let Some(ipxe) = ipxe(request) {
        ipxe
    } else if vendor == AGENT_CLASS.as_bytes() {
        ClientClass::Agent
    } else if vendor.starts_with(b"HTTPClient") {
        ClientClass::HttpBoot
    } else if pxe(vendor) || extra_classes.iter().any(|c| !c.is_empty() && vendor.starts_with(c.as_bytes())) {
        ClientClass::Pxe
    } else {
        ClientClass::Plain
    };
    let arch = request.option(code::ARCH).and_then(Arch::from_option).or_else(|| arch_of_class(vendor));
    let held = !request.ciaddr.is_unspecified();
    Client {
        mac: request.mac,
        machine: request.option(code::MACHINE_ID).and_then(MachineId::from_option),
        arch,
        class,
        addr: held.then_some(request.ciaddr),
    }
}

/// iPXE by user class, raw (`iPXE`, as it sends it) or length-prefixed (RFC 3004), or by its own option 175.
fn ipxe(request: &Request) -> Option<ClientClass> {
    let user = request.option(code::USER_CLASS).unwrap_or_default();
    let named = user == b"iPXE" || user.windows(5).any(|w| w == b"\x04iPXE");
    let features = request.option(code::IPXE);
    if !named && features.is_none() {
        return None;
    }
    // A build that lists its features and does not list HTTP cannot fetch our script.
    let http = features.is_none_or(|data| data.is_empty() || sub_option(data, IPXE_FEATURE_HTTP).is_some());
    Some(ClientClass::Ipxe { http })
}

/// The architecture from `PXEClient:Arch:00007:UNDI:…` for clients that leave option 93 out.
fn arch_of_class(vendor: &[u8]) -> Option<Arch> {
    let text = std::str::from_utf8(vendor).ok()?;
    let digits = text.split(':').skip_while(|part| *part != "Arch").nth(1)?;
    digits.parse().ok().map(Arch::from_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::fixtures::{self, Packet};

    fn class_of(raw: &[u8]) -> Client {
        classify(&Request::parse(raw).expect("valid"), &["HW-Client".into()])
    }

    #[test]
    fn golden_clients_are_told_apart() {
        let pxe = class_of(&fixtures::ovmf_pxe(1));
        assert_eq!((pxe.class, pxe.arch, pxe.machine), (ClientClass::Pxe, Some(Arch::EfiX64), None));
        let http = class_of(&fixtures::ovmf_http(1));
        assert_eq!((http.class, http.arch), (ClientClass::HttpBoot, Some(Arch::EfiX64)));
        let bios = class_of(&fixtures::bios_pxe(1));
        assert_eq!((bios.class, bios.arch), (ClientClass::Pxe, Some(Arch::Bios)));
        let ipxe = class_of(&fixtures::ipxe(1));
        assert_eq!((ipxe.class, ipxe.arch), (ClientClass::Ipxe { http: true }, Some(Arch::EfiX64)));
        assert_eq!(class_of(&fixtures::agent(1)).class, ClientClass::Agent);
        assert_eq!(class_of(&fixtures::plain(1)).class, ClientClass::Plain);
    }

    #[test]
    fn a17_a18_ipxe_is_known_by_its_user_class_in_both_forms_before_its_vendor_class() {
        for user in [&b"iPXE"[..], b"\x04iPXE", b"\x03abc\x04iPXE"] {
            let raw =
                Packet::discover(1).option(60, b"PXEClient:Arch:00007:UNDI:003016").option(77, user).build();
            assert_eq!(class_of(&raw).class, ClientClass::Ipxe { http: true }, "{user:?}");
        }
        let raw = Packet::discover(1).option(60, b"PXEClient").option(77, b"RRAS.Microsoft").build();
        assert_eq!(class_of(&raw).class, ClientClass::Pxe);
    }

    #[test]
    fn a30_option_175_alone_marks_ipxe() {
        let raw = Packet::discover(1).option(60, b"PXEClient").option(175, &[19, 1, 1]).build();
        assert_eq!(class_of(&raw).class, ClientClass::Ipxe { http: true });
    }

    #[test]
    fn g2_an_ipxe_without_http_is_known_by_its_features() {
        let raw = Packet::discover(1).option(77, b"iPXE").option(175, &[177, 1, 2, 24, 1, 1]).build();
        assert_eq!(class_of(&raw).class, ClientClass::Ipxe { http: false });
    }

    #[test]
    fn b19_extra_vendor_classes_count_as_pxe() {
        assert_eq!(class_of(&Packet::discover(1).option(60, b"HW-Client").build()).class, ClientClass::Pxe);
        assert_eq!(class_of(&Packet::discover(1).option(60, b"MSFT 5.0").build()).class, ClientClass::Plain);
    }

    #[test]
    fn architecture_is_read_from_the_class_when_option_93_is_missing() {
        let raw = Packet::discover(1).option(60, b"PXEClient:Arch:00009:UNDI:003000").build();
        assert_eq!(class_of(&raw).arch, Some(Arch::EfiX64));
        let raw = Packet::discover(1).option(60, b"PXEClient:Arch:junk").build();
        assert_eq!(class_of(&raw).arch, None);
    }

    #[test]
    fn a19_an_empty_option_93_falls_back_to_the_class() {
        let raw = Packet::discover(1).option(93, &[]).option(60, b"PXEClient:Arch:00000:UNDI:002001").build();
        assert_eq!(class_of(&raw).arch, Some(Arch::Bios));
    }
}
