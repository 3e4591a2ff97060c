//! The TCG event log: what firmware and boot loaders say they measured, and what the PCRs must then hold.
//!
//! Source: TCG PC Client Platform Firmware Profile (PFP) §10. The crypto-agile form only (`Spec ID Event03`); numbers are
//! little-endian.
//!
//! ```text
//! TCG_PCR_EVENT   PCR 0, EV_NO_ACTION, Spec ID Event03: which algorithms, how long their digests
//! TCG_PCR_EVENT2  pcr, type, count × (algorithm, digest), size, data          repeated to the end
//! ```
//!
//! Type and data of an event are **not** authenticated, only digests and their order are, and those only after
//! [`EventLog::replay`] gave the quoted values. Whoever reads data must first recompute the digest from it.

use std::fmt;

use super::pcr::PCR_COUNT;
use super::{ALG_SHA256, Sha256};

/// Bytes that a log may have. Firmware reserves 64 KiB; boot loaders add to it.
pub const MAX_BYTES: usize = 1 << 20;

const NO_ACTION: u32 = 3;
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// Why bytes are not an event log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Larger than [`MAX_BYTES`].
    #[error("the event log has {0} bytes; no firmware writes more than {MAX_BYTES}")]
    TooLong(usize),
    /// The log ends inside an event.
    #[error("the event log ends inside event {event} (byte {at}); read it whole from the kernel")]
    Short {
        /// Event number, the header being 0.
        event: usize,
        /// Offset at which more was expected.
        at: usize,
    },
    /// The first event is not a `Spec ID Event03` header.
    #[error(
        "the event log does not begin with `Spec ID Event03`; only the crypto-agile form of TPM 2.0 is taken"
    )]
    NotCryptoAgile,
    /// The header names no SHA-256, an algorithm twice, or a wrong digest size.
    #[error("the event log's header is wrong: {0}")]
    Header(&'static str),
    /// An event has a digest of an algorithm that the header does not name, or the same one twice.
    #[error("event {event} has an unexpected digest of algorithm {algorithm:#x}")]
    Algorithm {
        /// Event number.
        event: usize,
        /// TCG algorithm identifier.
        algorithm: u16,
    },
    /// An event has no SHA-256 digest, so it cannot be replayed.
    #[error("event {event} carries no SHA-256 digest")]
    NoSha256 {
        /// Event number.
        event: usize,
    },
    /// A PCR that does not exist.
    #[error("event {event} names PCR {pcr}; there are 24")]
    Pcr {
        /// Event number.
        event: usize,
        /// The index.
        pcr: u32,
    },
    /// `StartupLocality` is malformed, repeated or comes after PCR 0 was extended.
    #[error("event {event}: StartupLocality is misplaced or malformed")]
    Locality {
        /// Event number.
        event: usize,
    },
}

/// `TCG_EVENTTYPE` (PFP §10.4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(pub u32);

impl EventType {
    /// Informational; never extended.
    pub const NO_ACTION: Self = Self(NO_ACTION);
    /// Ends the firmware's part of a PCR.
    pub const SEPARATOR: Self = Self(4);
    /// A tagged event; the Linux EFI stub uses it.
    pub const EVENT_TAG: Self = Self(6);
    /// What a boot loader measured; GRUB, shim and systemd-stub use it.
    pub const IPL: Self = Self(0xd);
    /// A UEFI variable that configures the platform; `SecureBoot`, `PK`, `KEK`, `db`, `dbx` in PCR 7.
    pub const VARIABLE_DRIVER_CONFIG: Self = Self(0x8000_0001);
    /// A UEFI application that was loaded; its digest is the PE's Authenticode hash.
    pub const BOOT_SERVICES_APPLICATION: Self = Self(0x8000_0003);
    /// A driver from an adapter or the firmware volume.
    pub const BOOT_SERVICES_DRIVER: Self = Self(0x8000_0004);
    /// A text that says what the firmware did.
    pub const EFI_ACTION: Self = Self(0x8000_0007);
    /// The certificate that let an application pass Secure Boot.
    pub const VARIABLE_AUTHORITY: Self = Self(0x8000_00e0);
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            NO_ACTION => "EV_NO_ACTION",
            1 => "EV_POST_CODE",
            4 => "EV_SEPARATOR",
            5 => "EV_ACTION",
            6 => "EV_EVENT_TAG",
            7 => "EV_S_CRTM_CONTENTS",
            8 => "EV_S_CRTM_VERSION",
            0xd => "EV_IPL",
            0x8000_0001 => "EV_EFI_VARIABLE_DRIVER_CONFIG",
            0x8000_0002 => "EV_EFI_VARIABLE_BOOT",
            0x8000_0003 => "EV_EFI_BOOT_SERVICES_APPLICATION",
            0x8000_0004 => "EV_EFI_BOOT_SERVICES_DRIVER",
            0x8000_0006 => "EV_EFI_GPT_EVENT",
            0x8000_0007 => "EV_EFI_ACTION",
            0x8000_0008 => "EV_EFI_PLATFORM_FIRMWARE_BLOB",
            0x8000_00e0 => "EV_EFI_VARIABLE_AUTHORITY",
            other => return write!(f, "{other:#x}"),
        };
        f.write_str(name)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The PCR that it was extended into, 0 to 23.
    pub pcr: u8,
    /// What kind it claims to be; not authenticated.
    pub kind: EventType,
    /// What was extended in the SHA-256 bank.
    pub digest: Sha256,
    /// What it claims to be about; not authenticated.
    pub data: Vec<u8>,
}

impl Event {
    /// Whether the event was extended into its PCR.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.kind != EventType::NO_ACTION
    }

    /// What the data says, readable, for a finding: the path of a program, the name of a variable, else the text as it
    /// looks like; no control characters, at most 120 characters. Hostile text: show it, do not decide by it.
    #[must_use]
    pub fn text(&self) -> String {
        let text = match self.kind {
            EventType::BOOT_SERVICES_APPLICATION | EventType::BOOT_SERVICES_DRIVER => image_path(&self.data),
            EventType::VARIABLE_DRIVER_CONFIG | EventType::VARIABLE_AUTHORITY => {
                Variable::parse(&self.data).map(|variable| variable.name)
            }
            // TCG_PCClientTaggedEvent: identifier, size, then the text.
            EventType::EVENT_TAG => self.data.get(8..).map(loose_text),
            _ => None,
        };
        let text = text.unwrap_or_else(|| loose_text(&self.data));
        text.trim_end_matches('\0')
            .chars()
            .filter(|c| !c.is_control() && *c != '\u{fffd}')
            .take(120)
            .collect()
    }
}

/// UTF-8, or UTF-16 where every second byte of the beginning is zero.
fn loose_text(data: &[u8]) -> String {
    let wide = data.len() >= 4 && data.len().is_multiple_of(2) && data[1] == 0 && data[3] == 0;
    if wide { utf16(data) } else { String::from_utf8_lossy(data).into_owned() }
}

fn utf16(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
    String::from_utf16_lossy(&units)
}

/// Where a program came from, out of the device path of a `UEFI_IMAGE_LOAD_EVENT` (PFP §10.2.3; UEFI 2.10 §10.3).
fn image_path(data: &[u8]) -> Option<String> {
    // ImageLocationInMemory, ImageLengthInMemory, ImageLinkTimeAddress, LengthOfDevicePath: 8 bytes each.
    let mut rest = data.get(32..)?;
    let (mut path, mut network) = (String::new(), false);
    while let [kind, subtype, low, high, ..] = *rest {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let node = rest.get(4..length)?;
        match (kind, subtype) {
            (4, 4) => path.push_str(utf16(node).trim_end_matches('\0')),
            (3, 24) => path.push_str(&String::from_utf8_lossy(node)),
            (3, 11) => network = true,
            _ => {}
        }
        rest = &rest[length..];
    }
    let otherwise = if network { "from the network" } else { "from memory" };
    Some(if path.is_empty() { otherwise.to_owned() } else { path })
}

/// A UEFI variable as firmware measures it: `UEFI_VARIABLE_DATA` (PFP §10.2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable<'a> {
    /// The vendor GUID, in memory order.
    pub guid: [u8; 16],
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Variable<'a> {
    /// Reads event data; `None` when it is not a variable, whole and without trailing bytes.
    #[must_use]
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let number = |at: usize| usize::try_from(u64::from_le_bytes(*data.get(at..)?.first_chunk()?)).ok();
        let guid = *data.first_chunk()?;
        let (name_units, value_len) = (number(16)?, number(24)?);
        let name_end = 32_usize.checked_add(name_units.checked_mul(2)?)?;
        let name = utf16(data.get(32..name_end)?);
        let value = data.get(name_end..)?;
        (value.len() == value_len).then_some(Self { guid, name, value })
    }
}

/// A parsed event log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventLog {
    /// The events after the header, in order.
    pub events: Vec<Event>,
    /// Locality of `TPM2_Startup`: the initial value of PCR 0 (PFP §10.4.5.3).
    pub startup_locality: u8,
}

impl EventLog {
    /// Parses a whole log. Of each event the SHA-256 digest is kept.
    ///
    /// # Errors
    /// [`LogError`]: nothing is skipped and nothing is guessed.
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > MAX_BYTES {
            return Err(LogError::TooLong(bytes.len()));
        }
        let mut cursor = Cursor { bytes, at: 0, event: 0 };
        let sizes = read_header(&mut cursor)?;
        let mut log = Self::default();
        let (mut located, mut pcr0_extended) = (false, false);
        while cursor.at < bytes.len() {
            cursor.event += 1;
            let event = read_event(&mut cursor, &sizes)?;
            if event.kind == EventType::NO_ACTION && event.data.starts_with(STARTUP_LOCALITY) {
                let misplaced = LogError::Locality { event: cursor.event };
                match event.data[STARTUP_LOCALITY.len()..] {
                    [locality @ (0 | 3 | 4)] if !located && !pcr0_extended => log.startup_locality = locality,
                    _ => return Err(misplaced),
                }
                located = true;
            }
            pcr0_extended |= event.pcr == 0 && event.is_extended();
            log.events.push(event);
        }
        Ok(log)
    }

    /// The values that all 24 PCRs have after a reset and these events (PC Client Platform TPM Profile §4.6.2: PCR 17 to
    /// 22 start with ones, the others with zeros; PCR 0 with the startup locality).
    #[must_use]
    pub fn replay(&self) -> [Sha256; PCR_COUNT as usize] {
        let mut pcrs = [Sha256::ZERO; PCR_COUNT as usize];
        pcrs[17..=22].fill(Sha256::from([0xff; 32]));
        pcrs[0].0.0[31] = self.startup_locality;
        for event in self.events.iter().filter(|e| e.is_extended()) {
            let pcr = &mut pcrs[usize::from(event.pcr)];
            *pcr = pcr.extended(&event.digest);
        }
        pcrs
    }

    /// The events that were extended into one PCR, in order.
    pub fn of_pcr(&self, pcr: u8) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |e| e.pcr == pcr && e.is_extended())
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    event: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], LogError> {
        let short = LogError::Short { event: self.event, at: self.at };
        let taken = self.bytes[self.at..].get(..count).ok_or(short)?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LogError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, LogError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, LogError> {
        self.array().map(u32::from_le_bytes)
    }

    fn sized(&mut self) -> Result<&'a [u8], LogError> {
        let size = self.u32()?;
        self.take(usize::try_from(size).unwrap_or(usize::MAX))
    }
}

/// Reads `TCG_PCR_EVENT` with `TCG_EfiSpecIdEvent` (PFP §10.4.5.1); gives each algorithm and its digest size.
fn read_header(cursor: &mut Cursor<'_>) -> Result<Vec<(u16, usize)>, LogError> {
    let (pcr, kind) = (cursor.u32()?, cursor.u32()?);
    cursor.take(20)?;
    let data = cursor.sized()?;
    if pcr != 0 || kind != NO_ACTION || !data.starts_with(SPEC_ID) {
        return Err(LogError::NotCryptoAgile);
    }
    let mut spec = Cursor { bytes: data, at: SPEC_ID.len(), event: 0 };
    spec.take(8)?; // platformClass, version, errata, uintnSize
    let count = spec.u32()?;
    if count > 16 {
        return Err(LogError::Header("more than 16 algorithms"));
    }
    let mut sizes: Vec<(u16, usize)> = Vec::new();
    for _ in 0..count {
        let (algorithm, size) = (spec.u16()?, usize::from(spec.u16()?));
        if sizes.iter().any(|(known, _)| *known == algorithm) || size == 0 || size > 64 {
            return Err(LogError::Header("an algorithm appears twice or has an impossible digest size"));
        }
        sizes.push((algorithm, size));
    }
    let [vendor_bytes] = spec.array()?;
    spec.take(vendor_bytes.into())?;
    if spec.at != data.len() {
        return Err(LogError::Header("bytes follow its vendor information"));
    }
    if !sizes.contains(&(ALG_SHA256, 32)) {
        return Err(LogError::Header("it names no SHA-256 digests; enable the SHA-256 bank in the firmware"));
    }
    Ok(sizes)
}

/// Reads one `TCG_PCR_EVENT2` (PFP §10.2.2).
fn read_event(cursor: &mut Cursor<'_>, sizes: &[(u16, usize)]) -> Result<Event, LogError> {
    let event = cursor.event;
    let (pcr, kind) = (cursor.u32()?, EventType(cursor.u32()?));
    let mut digests: Vec<(u16, &[u8])> = Vec::new();
    for _ in 0..cursor.u32()? {
        let algorithm = cursor.u16()?;
        let size = sizes.iter().find(|(known, _)| *known == algorithm).map(|(_, size)| *size);
        let repeated = digests.iter().any(|(seen, _)| *seen == algorithm);
        let size = size.filter(|_| !repeated).ok_or(LogError::Algorithm { event, algorithm })?;
        digests.push((algorithm, cursor.take(size)?));
    }
    let data = cursor.sized()?.to_vec();
    let sha256 = digests.iter().find(|(algorithm, _)| *algorithm == ALG_SHA256);
    let digest =
        sha256.and_then(|(_, digest)| digest.first_chunk::<32>()).ok_or(LogError::NoSha256 { event })?;
    let pcr = match u8::try_from(pcr) {
        Ok(pcr) if pcr < PCR_COUNT => pcr,
        // An informational event may belong to no PCR (PFP §10.4.5).
        _ if pcr == u32::MAX && kind == EventType::NO_ACTION => 0,
        _ => return Err(LogError::Pcr { event, pcr }),
    };
    Ok(Event { pcr, kind, digest: Sha256::from(*digest), data })
}

#[cfg(test)]
mod tests;
