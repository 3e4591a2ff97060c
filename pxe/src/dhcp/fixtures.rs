//! Golden requests for tests, built by hand after what real firmware sends: OVMF 2022.11 (PXE and HTTP Boot), the iPXE of
//! Debian 12, a BIOS PXE ROM, a plain DHCP client and our own agent. Option order and odd values are the firmware's.

use std::net::Ipv4Addr;

use super::packet::COOKIE;

/// A request under construction. `n` is the last byte of its hardware address.
pub(crate) struct Packet {
    raw: Vec<u8>,
}

impl Packet {
    pub(crate) fn new(kind: u8, n: u8) -> Self {
        let mut raw = vec![0; 236];
        raw[..4].copy_from_slice(&[1, 1, 6, 0]);
        raw[4..8].copy_from_slice(&[0xc0, 0xff, 0xee, n]);
        raw[28..34].copy_from_slice(&[0x52, 0x54, 0, 0, 0, n]);
        raw.extend_from_slice(&COOKIE);
        Packet { raw }.option(53, &[kind])
    }

    pub(crate) fn discover(n: u8) -> Self {
        Packet::new(1, n)
    }

    pub(crate) fn request(n: u8) -> Self {
        Packet::new(3, n)
    }

    pub(crate) fn option(mut self, code: u8, data: &[u8]) -> Self {
        self.raw.extend_from_slice(&[code, data.len() as u8]);
        self.raw.extend_from_slice(data);
        self
    }

    pub(crate) fn secs(mut self, secs: u16) -> Self {
        self.raw[8..10].copy_from_slice(&secs.to_be_bytes());
        self
    }

    pub(crate) fn broadcast(mut self) -> Self {
        self.raw[10] = 0x80;
        self
    }

    pub(crate) fn ciaddr(mut self, addr: Ipv4Addr) -> Self {
        self.raw[12..16].copy_from_slice(&addr.octets());
        self
    }

    pub(crate) fn giaddr(mut self, addr: Ipv4Addr) -> Self {
        self.raw[24..28].copy_from_slice(&addr.octets());
        self
    }

    pub(crate) fn build(mut self) -> Vec<u8> {
        self.raw.push(255);
        self.raw
    }
}

/// Options that OVMF's PXE sends after 53: 57, 55, 97 (zeros), 94, 93, 60.
pub(crate) fn with_ovmf_pxe(packet: Packet) -> Packet {
    let wanted: Vec<u8> = vec![
        1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97,
    ]
    .into_iter()
    .chain(128..=135)
    .collect();
    packet
        .option(57, &[0x05, 0xc0])
        .option(55, &wanted)
        .option(97, &[0; 17])
        .option(94, &[1, 3, 0])
        .option(93, &[0, 7])
        .option(60, b"PXEClient:Arch:00007:UNDI:003000")
}

/// OVMF's first DHCPDISCOVER for PXE over IPv4.
pub(crate) fn ovmf_pxe(n: u8) -> Vec<u8> {
    with_ovmf_pxe(Packet::discover(n).broadcast()).build()
}

/// OVMF's DHCPDISCOVER for UEFI HTTP Boot.
pub(crate) fn ovmf_http(n: u8) -> Vec<u8> {
    Packet::discover(n)
        .broadcast()
        .option(57, &[0x05, 0xc0])
        .option(
            55,
            &[
                1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66,
                67, 97,
            ],
        )
        .option(97, &[0; 17])
        .option(94, &[1, 3, 0])
        .option(93, &[0, 0x10])
        .option(60, b"HTTPClient:Arch:00016:UNDI:003000")
        .build()
}

/// A BIOS PXE ROM (Intel boot agent style).
pub(crate) fn bios_pxe(n: u8) -> Vec<u8> {
    Packet::discover(n)
        .broadcast()
        .secs(4)
        .option(
            55,
            &[
                1, 2, 3, 5, 6, 11, 12, 13, 15, 16, 17, 18, 43, 54, 60, 67, 128, 129, 130, 131, 132, 133, 134,
                135,
            ],
        )
        .option(57, &[0x04, 0xec])
        .option(
            97,
            &[0, 0x4c, 0x4c, 0x45, 0x44, 0, 0x31, 0x42, 0x10, 0x80, 0x33, 0xb9, 0xc0, 0x4f, 0x4d, 0x32, n],
        )
        .option(93, &[0, 0])
        .option(94, &[1, 2, 1])
        .option(60, b"PXEClient:Arch:00000:UNDI:002001")
        .build()
}

/// iPXE on UEFI: flags 0, client identifier of type 1, raw user class, option 175 with features.
pub(crate) fn ipxe(n: u8) -> Vec<u8> {
    with_ipxe(Packet::discover(n)).build()
}

/// Options that iPXE sends.
pub(crate) fn with_ipxe(packet: Packet) -> Packet {
    packet
        .option(57, &[0x05, 0xc0])
        .option(93, &[0, 7])
        .option(94, &[1, 3, 10])
        .option(60, b"PXEClient:Arch:00007:UNDI:003010")
        .option(77, b"iPXE")
        .option(
            55,
            &[
                1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175,
                203,
            ],
        )
        .option(175, &[177, 5, 1, 0x1a, 0xf4, 0x10, 0, 235, 3, 1, 0, 0, 23, 1, 1, 19, 1, 1, 36, 1, 1])
        .option(61, &[1, 0x52, 0x54, 0, 0, 0, 1])
        .option(97, &[0; 17])
}

/// An ordinary DHCP client (systemd-networkd style).
pub(crate) fn plain(n: u8) -> Vec<u8> {
    Packet::discover(n)
        .option(61, &[255, 0, 1, 2, 3, 4, 5, 6, 7, 8])
        .option(57, &[0x05, 0xdc])
        .option(12, b"press-01")
        .option(55, &[1, 3, 6, 12, 15, 26, 33, 42, 119, 121])
        .build()
}

/// The recovery system's agent.
pub(crate) fn agent(n: u8) -> Vec<u8> {
    Packet::discover(n).option(60, b"groundstate-agent").option(55, &[1, 3, 6]).build()
}
