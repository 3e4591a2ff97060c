//! Who asks: hardware address, machine identifier, firmware architecture and class of client.
//!
//! All of it is claimed by the client and can be forged; it selects a boot ticket and proves nothing. The machine
//! identifier is shown to people and is never a key on its own: UUIDs repeat between machines of one series and change
//! their byte order between firmware and system (ipxe a9b63ecda).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hardware address as DHCP carries it: up to 16 bytes (RFC 2131 section 2, `chaddr`), six on Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac {
    bytes: [u8; 16],
    len: u8,
}

impl Mac {
    /// The address in `bytes`, or `None` when it is empty or longer than 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > 16 {
            return None;
        }
        let mut out = [0; 16];
        out[..bytes.len()].copy_from_slice(bytes);
        Some(Mac { bytes: out, len: bytes.len() as u8 })
    }

    /// The significant bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl From<[u8; 6]> for Mac {
    fn from(six: [u8; 6]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&six);
        Mac { bytes, len: 6 }
    }
}

impl TryFrom<String> for Mac {
    type Error = BadMac;

    fn try_from(text: String) -> Result<Self, BadMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.as_slice().iter().enumerate() {
            if i > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a hardware address; write it like 52:54:00:12:34:56")]
pub struct BadMac(pub String);

impl FromStr for Mac {
    type Err = BadMac;

    /// Accepts colons and dashes: GRUB writes the one, PXELINUX the other (maas `boot/grub.py`).
    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.chars().take(64).collect());
        let byte = |part: &str| {
            let hex = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            if hex { u8::from_str_radix(part, 16).map_err(|_| bad()) } else { Err(bad()) }
        };
        let bytes = text.split([':', '-']).map(byte).collect::<Result<Vec<u8>, BadMac>>()?;
        Mac::from_slice(&bytes).ok_or_else(bad)
    }
}

/// The machine identifier of option 97 (RFC 4578 section 2.3), in the byte order in which it came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MachineId([u8; 16]);

impl MachineId {
    /// Reads option 97: 17 bytes with a leading type 0, or the bare 16 that some clients send. All zeros (QEMU) and all
    /// ones (blank firmware) are no identity.
    pub fn from_option(data: &[u8]) -> Option<Self> {
        let bytes: [u8; 16] = match data.len() {
            17 if data[0] == 0 => data[1..].try_into().ok()?,
            16 => data.try_into().ok()?,
            _ => return None,
        };
        let blank = bytes.iter().all(|b| *b == 0) || bytes.iter().all(|b| *b == 0xff);
        (!blank).then_some(MachineId(bytes))
    }

    /// The sixteen bytes as sent: the first three fields are little-endian on nearly all firmware.
    pub fn bytes(&self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for MachineId {
    /// In the usual notation, reading the first three fields as little-endian, as SMBIOS defines them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (i, at) in order.into_iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[at])?;
        }
        Ok(())
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Processor and firmware kind, from option 93 (IANA "Processor Architecture Types", RFC 5970 section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Arch {
    /// Legacy BIOS, x86 (0x0000).
    Bios,
    /// UEFI, 32-bit x86 (0x0006, HTTP 0x000f).
    EfiIa32,
    /// UEFI, 64-bit x86 (0x0007 in practice, 0x0009 on some machines, HTTP 0x0010).
    EfiX64,
    /// UEFI byte code (HTTP 0x0011).
    EfiEbc,
    /// UEFI, 32-bit Arm (0x000a, HTTP 0x0012).
    EfiArm32,
    /// UEFI, 64-bit Arm (0x000b, HTTP 0x0013).
    EfiArm64,
    /// UEFI, 64-bit RISC-V (0x001b, HTTP 0x001c).
    EfiRiscv64,
    /// UEFI, 64-bit LoongArch (0x0027, HTTP 0x0028).
    EfiLoong64,
    /// A code that this table does not name: never given a boot file.
    Unknown(u16),
}

impl Arch {
    /// The architecture behind one code of option 93.
    pub fn from_code(code: u16) -> Self {
        match code {
            0x00 => Arch::Bios,
            0x06 | 0x0f => Arch::EfiIa32,
            0x07 | 0x09 | 0x10 => Arch::EfiX64,
            0x0a | 0x12 => Arch::EfiArm32,
            0x0b | 0x13 => Arch::EfiArm64,
            0x11 => Arch::EfiEbc,
            0x1b | 0x1c => Arch::EfiRiscv64,
            0x27 | 0x28 => Arch::EfiLoong64,
            other => Arch::Unknown(other),
        }
    }

    /// Reads option 93: a list of 16-bit codes, of which the first known one counts. An empty or odd tail is ignored.
    pub fn from_option(data: &[u8]) -> Option<Self> {
        let codes = || data.chunks_exact(2).map(|c| Arch::from_code(u16::from_be_bytes([c[0], c[1]])));
        codes().find(|arch| !matches!(arch, Arch::Unknown(_))).or_else(|| codes().next())
    }

    /// What it is, for a person.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Arch::Bios => "BIOS",
            Arch::EfiX64 => "UEFI x64",
            Arch::EfiIa32 => "UEFI ia32",
            Arch::EfiArm32 => "UEFI arm32",
            Arch::EfiArm64 => "UEFI arm64",
            Arch::EfiEbc => "UEFI byte code",
            Arch::EfiRiscv64 => "UEFI riscv64",
            Arch::EfiLoong64 => "UEFI loong64",
            Arch::Unknown(_) => "unknown architecture",
        }
    }

    /// Whether this is UEFI firmware of any processor.
    pub fn is_uefi(self) -> bool {
        !matches!(self, Arch::Bios | Arch::Unknown(_))
    }
}

/// What kind of program asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClientClass {
    /// PXE firmware: vendor class `PXEClient…`.
    Pxe,
    /// UEFI HTTP Boot: vendor class `HTTPClient…`.
    HttpBoot,
    /// iPXE. `http` is false for a ROM whose option 175 lists features without HTTP: it is given our own build first.
    Ipxe {
        /// It can fetch the boot script over HTTP.
        http: bool,
    },
    /// The agent of the recovery system, vendor class [`AGENT_CLASS`].
    Agent,
    /// An ordinary DHCP client.
    Plain,
}

/// The vendor class (option 60) with which the recovery system's agent asks for an address.
pub const AGENT_CLASS: &str = "groundstate-agent";

/// Everything known of the one who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Hardware address: the key of a boot ticket.
    pub mac: Mac,
    /// Machine identifier, where the firmware sent a usable one.
    pub machine: Option<MachineId>,
    /// Architecture, where it was said.
    pub arch: Option<Arch>,
    /// Class of client.
    pub class: ClientClass,
    /// Its address, once it has one.
    pub addr: Option<Ipv4Addr>,
}

impl Client {
    /// A client of which only the hardware address is known (from the kernel's neighbour table).
    pub fn bare(mac: Mac, addr: Option<Ipv4Addr>) -> Self {
        Client { mac, machine: None, arch: None, class: ClientClass::Plain, addr }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a15_machine_id_accepts_17_and_16_bytes_and_no_blank_one() {
        let mut data = vec![0];
        data.extend(1..=16u8);
        let long = MachineId::from_option(&data).expect("17 bytes");
        assert_eq!(Some(long), MachineId::from_option(&data[1..]));
        assert_eq!(long.to_string(), "04030201-0605-0807-090a-0b0c0d0e0f10");
        assert_eq!(MachineId::from_option(&[]), None);
        assert_eq!(MachineId::from_option(&[0; 17]), None, "QEMU sends zeros");
        assert_eq!(MachineId::from_option(&[0xff; 16]), None);
        assert_eq!(MachineId::from_option(&[1; 9]), None);
    }

    #[test]
    fn a19_architecture_is_the_first_known_of_the_list() {
        assert_eq!(Arch::from_option(&[0x77, 0x77, 0, 7]), Some(Arch::EfiX64));
        assert_eq!(Arch::from_option(&[0, 6, 0]), Some(Arch::EfiIa32), "odd tail ignored");
        assert_eq!(Arch::from_option(&[0x77, 0x77]), Some(Arch::Unknown(0x7777)));
        assert_eq!(Arch::from_option(&[]), None);
        assert_eq!(Arch::from_option(&[7]), None);
    }

    #[test]
    fn a20_a21_a22_a23_every_architecture_code_has_its_own_entry() {
        assert_eq!(Arch::from_code(7), Arch::EfiX64);
        assert_eq!(Arch::from_code(9), Arch::EfiX64);
        assert_eq!(Arch::from_code(6), Arch::EfiIa32);
        assert_ne!(Arch::from_code(0x0a), Arch::from_code(0x0b), "arm32 is not arm64");
        let http = [
            (0x0f, Arch::EfiIa32),
            (0x10, Arch::EfiX64),
            (0x11, Arch::EfiEbc),
            (0x12, Arch::EfiArm32),
            (0x13, Arch::EfiArm64),
            (0x1c, Arch::EfiRiscv64),
            (0x28, Arch::EfiLoong64),
        ];
        for (code, arch) in http {
            assert_eq!(Arch::from_code(code), arch);
        }
        assert!(!Arch::Unknown(99).is_uefi());
    }

    #[test]
    fn f11_mac_is_read_with_colons_and_with_dashes() {
        let mac: Mac = "52:54:00:AB:cd:01".parse().expect("colons");
        assert_eq!(mac, "52-54-00-ab-cd-01".parse().expect("dashes"));
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:01");
        assert!("52:54:0:ab:cd:01".parse::<Mac>().is_err());
        assert!("".parse::<Mac>().is_err());
        assert!("+1:02".parse::<Mac>().is_err());
    }

    #[test]
    fn a27_a_hardware_address_may_have_up_to_16_bytes() {
        assert_eq!(Mac::from_slice(&[7; 16]).map(|m| m.as_slice().len()), Some(16));
        assert_eq!(Mac::from_slice(&[7; 17]), None);
        assert_eq!(Mac::from_slice(&[]), None);
    }
}
