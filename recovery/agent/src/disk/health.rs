//! A disk's health, asked of the disk itself before anything is written to it, and what its answer means.
//!
//! ```text
//!   NVMe  Get Log Page 02h ────────────────────────────► bits, figures ─┐
//!   ATA   IDENTIFY ─► SMART on? ─► RETURN STATUS ──────► failing or not ├─► state, reasons
//!                              └─► READ DATA ──────────► attributes ────┘
//!   else, silent, nonsense ────────────────────────────► unknown
//! ```
//!
//! Only the disk's own verdict makes it `failing`: NVMe's critical warnings, SMART RETURN STATUS of ATA. Figures alone make it `worn`, which is
//! shown and holds nothing, since what they mean differs between makers. What was not given is absent, never zero.
//!
//! Sources: NVM Express base specification 2.0, sections 5.16.1.3 (SMART / Health Information) and 5.16 (Get Log Page); ACS-4, sections 7.12
//! (IDENTIFY DEVICE) and 7.45 (SMART); SAT-4, sections 12.2.2 (ATA PASS-THROUGH) and 12.2.2.6 (ATA Status Return descriptor); for the
//! attributes, which no standard names, the table of smartmontools.
//!
//! It must never change anything of a disk, not even switch SMART on, nor hold an endpoint because a disk is silent.

use std::fs::File;
use std::io;
use std::time::Duration;

use recovery_protocol::health::{DiskHealth, HealthFigures, HealthState};

use super::ioctl::{self, NvmeAdmin};
use super::port::Port;

/// A disk that is alive answers within milliseconds, one that spins up within seconds.
pub(super) const LIMIT: Duration = Duration::from_secs(15);

/// What a disk answered with: one page or sector.
pub(super) type Sector = [u8; 512];

/// Asks the disk behind `disk`, which hangs on `transport` as the inventory names it.
pub fn read(disk: &File, transport: &str) -> DiskHealth {
    match transport {
        "nvme" => nvme_page(disk).map_or_else(|error| silent(&error), |page| of_nvme(&page)),
        "ata" => ata(disk),
        _ => DiskHealth::default(),
    }
}

/// It did not answer: not good, and not failing either.
pub(super) fn silent(error: &io::Error) -> DiskHealth {
    unknown(format!("it does not say ({error})"))
}

fn unknown(reason: String) -> DiskHealth {
    DiskHealth { reasons: vec![reason], ..DiskHealth::default() }
}

/// `count` of something, in words.
fn of_many(count: u64, one: &str, many: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    }
}

fn number<const N: usize>(bytes: &[u8; 512], at: usize) -> u64 {
    bytes[at..at + N].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// A 128-bit counter; one beyond 64 bits is as good as the largest.
fn counter(bytes: &[u8; 512], at: usize) -> u64 {
    if number::<8>(bytes, at + 8) == 0 { number::<8>(bytes, at) } else { u64::MAX }
}

// --- NVMe ---

fn nvme_page(disk: &File) -> io::Result<Sector> {
    const GET_LOG_PAGE: u8 = 0x02;
    const ALL_NAMESPACES: u32 = u32::MAX;
    const SMART: u32 = 0x02;
    const DWORDS_LESS_ONE: u32 = 512 / 4 - 1;
    let mut page = [0; 512];
    let cdw10 = DWORDS_LESS_ONE << 16 | SMART;
    let command = NvmeAdmin { opcode: GET_LOG_PAGE, namespace: ALL_NAMESPACES, cdw10, cdw11: 0 };
    ioctl::nvme_admin(disk, command, &mut page, LIMIT)?;
    Ok(page)
}

/// The critical warnings for which a disk is not written to.
const FAILING: [(u8, &str); 4] = [
    (1 << 0, "its spare blocks are used up"),
    (1 << 2, "it is not reliable any more"),
    (1 << 3, "it can only be read"),
    (1 << 4, "the backup of its volatile memory failed"),
];
/// The others of which we know what they say.
const WARNING: [(u8, &str); 2] = [
    (1 << 1, "it is outside of its temperature range"),
    (1 << 5, "its persistent memory region is not reliable"),
];

/// What an NVMe SMART / Health Information page means.
fn of_nvme(page: &Sector) -> DiskHealth {
    if page.iter().all(|byte| *byte == page[0]) {
        return unknown("its health page is empty".to_owned());
    }
    let kelvin = number::<2>(page, 1);
    let figures = HealthFigures {
        critical_warning: Some(page[0]),
        used_percent: Some(page[5]),
        spare_percent: Some(page[3]),
        spare_percent_min: Some(page[4]),
        media_errors: Some(counter(page, 160)),
        power_on_hours: Some(counter(page, 128)),
        temperature_celsius: (kelvin > 0).then(|| i16::try_from(kelvin as i64 - 273).ok()).flatten(),
        ..HealthFigures::default()
    };
    let said = |table: &[(u8, &str)]| {
        let set = table.iter().filter(|(bit, _)| page[0] & bit != 0);
        set.map(|(_, words)| (*words).to_owned()).collect::<Vec<_>>()
    };
    let errors = of_many(counter(page, 160), "time data could not be read", "times data could not be read");
    let warnings = said(&WARNING).into_iter().chain(worn_out(page[5])).chain(errors).collect();
    judge(said(&FAILING), warnings, figures)
}

fn worn_out(used_percent: u8) -> Option<String> {
    (used_percent >= 100).then(|| "its endurance is used up".to_owned())
}

/// Its own verdict comes first; figures are a warning.
fn judge(verdict: Vec<String>, warnings: Vec<String>, figures: HealthFigures) -> DiskHealth {
    let state = match (verdict.is_empty(), warnings.is_empty()) {
        (false, _) => HealthState::Failing,
        (true, false) => HealthState::Worn,
        (true, true) => HealthState::Good,
    };
    DiskHealth { state, reasons: verdict.into_iter().chain(warnings).collect(), figures }
}

// --- ATA ---

const IDENTIFY: u8 = 0xec;
const SMART: u8 = 0xb0;
/// Subcommands of SMART, in its feature register.
const READ_DATA: u8 = 0xd0;
const RETURN_STATUS: u8 = 0xda;
/// What SMART wants in the middle and high LBA registers, and gives back from a disk that is well.
const SMART_KEY: [u8; 2] = [0x4f, 0xc2];
/// What RETURN STATUS gives back from one that is not.
const SMART_FAILING: [u8; 2] = [0xf4, 0x2c];

/// ATA PASS-THROUGH (16). A question with an answer of one sector, or one whose answer is the registers.
fn pass_through(command: u8, feature: u8, with_sector: bool) -> [u8; 16] {
    const PIO_IN: u8 = 4 << 1;
    const NO_DATA: u8 = 3 << 1;
    // From the disk, in blocks, as many as the count register says.
    const SECTORS_IN: u8 = 1 << 3 | 1 << 2 | 2;
    const GIVE_REGISTERS: u8 = 1 << 5;
    let (protocol, flags, count) =
        if with_sector { (PIO_IN, SECTORS_IN, 1) } else { (NO_DATA, GIVE_REGISTERS, 0) };
    let [middle, high] = if command == SMART { SMART_KEY } else { [0; 2] };
    [0x85, protocol, flags, 0, feature, 0, count, 0, 0, 0, middle, 0, high, 0, command, 0]
}

fn sector(disk: &dyn Port, command: u8, feature: u8) -> io::Result<Sector> {
    let mut sector = [0; 512];
    let answer = disk.scsi(pass_through(command, feature, true), &mut sector, LIMIT)?;
    match answer.status {
        0 => Ok(sector),
        _ => Err(io::Error::other("the disk refused the command")),
    }
}

/// IDENTIFY data of an ATA disk.
pub(super) fn identify(disk: &dyn Port) -> io::Result<Sector> {
    sector(disk, IDENTIFY, 0)
}

fn ata(disk: &File) -> DiskHealth {
    let identify = match identify(disk) {
        Ok(identify) => identify,
        Err(error) => return silent(&error),
    };
    match smart(&identify) {
        Smart::On => {}
        Smart::Off => return unknown("its self-monitoring is switched off".to_owned()),
        Smart::None => return unknown("it does not monitor itself".to_owned()),
    }
    let registers = disk.scsi(pass_through(SMART, RETURN_STATUS, false), &mut [], LIMIT);
    let verdict = registers.ok().and_then(|answer| verdict(&answer.sense));
    let data = sector(disk, SMART, READ_DATA).ok();
    of_ata(&identify, verdict, data.as_ref())
}

/// Whether an ATA disk monitors itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Smart {
    On,
    Off,
    None,
}

pub(super) fn word(sector: &Sector, at: usize) -> u16 {
    u16::from_le_bytes([sector[2 * at], sector[2 * at + 1]])
}

/// From words 82 and 85 of IDENTIFY data; words 83 and 87 say in their upper two bits whether those mean anything.
fn smart(identify: &Sector) -> Smart {
    let is_valid = |at| word(identify, at) >> 14 == 1;
    match () {
        () if !is_valid(83) || word(identify, 82) & 1 == 0 => Smart::None,
        () if is_valid(87) && word(identify, 85) & 1 == 0 => Smart::Off,
        () => Smart::On,
    }
}

/// The ATA Status Return descriptor in sense data of that form (SAT-4, section 12.2.2.7).
pub(super) fn status_return(sense: &[u8]) -> Option<&[u8; 14]> {
    const ATA_STATUS_RETURN: [u8; 2] = [9, 12];
    if !matches!(sense.first()? & 0x7f, 0x72 | 0x73) {
        return None;
    }
    let end = 8 + usize::from(*sense.get(7)?);
    let mut rest = sense.get(8..end.min(sense.len()))?;
    while !rest.starts_with(&ATA_STATUS_RETURN) {
        rest = rest.get(2 + usize::from(*rest.get(1)?)..)?;
    }
    rest.first_chunk()
}

/// A disk's answer to SMART RETURN STATUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Well,
    Failing,
}

/// From the registers in sense data: the ATA Status Return descriptor, or what fixed sense data has room for. Anything but the two
/// answers that ATA knows is none, as from the many adapters that leave the registers out.
fn verdict(sense: &[u8]) -> Option<Verdict> {
    const REGISTERS_AVAILABLE: [u8; 2] = [0x00, 0x1d];
    const ERROR: u8 = 1;
    let (status, key) = match sense.first()? & 0x7f {
        0x72 | 0x73 => {
            let registers = status_return(sense)?;
            (registers[13], [registers[9], registers[11]])
        }
        0x70 | 0x71 if sense.get(12..14)? == REGISTERS_AVAILABLE => {
            (*sense.get(4)?, [*sense.get(10)?, *sense.get(11)?])
        }
        _ => return None,
    };
    match key {
        _ if status & ERROR != 0 => None,
        SMART_KEY => Some(Verdict::Well),
        SMART_FAILING => Some(Verdict::Failing),
        _ => None,
    }
}

/// One attribute of SMART data.
#[derive(Debug, Clone, Copy)]
struct Attribute<'a> {
    /// From 1, bad, to 253; most makers begin at 100.
    value: u8,
    raw: &'a [u8],
}

impl Attribute<'_> {
    /// The lowest `bytes` of the raw value, which is little-endian; makers put other things above.
    fn low(self, bytes: usize) -> u64 {
        self.raw[..bytes].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

/// The attribute called `id`; none of a sector whose sum is not zero.
fn attribute(data: &Sector, id: u8) -> Option<Attribute<'_>> {
    let sum = data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    let (entries, _) = data[2..362].as_chunks::<12>();
    let entry = entries.iter().find(|entry| entry[0] == id).filter(|_| sum == 0)?;
    Some(Attribute { value: entry[3], raw: &entry[5..11] })
}

/// What an ATA disk's answers mean.
fn of_ata(identify: &Sector, verdict: Option<Verdict>, data: Option<&Sector>) -> DiskHealth {
    const SOLID: u16 = 1;
    let attribute = |id| attribute(data?, id);
    let count = |id, bytes| attribute(id).map(|found| found.low(bytes));
    // 231 is a temperature on many that spin. Where its maker gives no meaning, a value is zero.
    let left = if word(identify, 217) == SOLID { attribute(231).or_else(|| attribute(233)) } else { None };
    let used_percent = left.map(|left| left.value).filter(|value| (1..=100).contains(value)).map(|value| {
        // The lowest that makers give is 1.
        if value == 1 { 100 } else { 100 - value }
    });
    let figures = HealthFigures {
        used_percent,
        reallocated_sectors: count(5, 2),
        pending_sectors: count(197, 6),
        uncorrectable_sectors: count(198, 6),
        power_on_hours: count(9, 3),
        // That of the disk, or of the air around it; above the lowest byte stand the least and the most there was.
        temperature_celsius: attribute(194)
            .or_else(|| attribute(190))
            .map(|found| i16::from(found.raw[0].cast_signed())),
        ..HealthFigures::default()
    };
    let many = |count: Option<u64>, one, many| of_many(count.unwrap_or(0), one, many);
    let warnings: Vec<String> = [
        used_percent.and_then(worn_out),
        many(figures.reallocated_sectors, "sector was replaced", "sectors were replaced"),
        many(figures.pending_sectors, "sector cannot be read", "sectors cannot be read"),
        many(figures.uncorrectable_sectors, "sector failed its own test", "sectors failed its own test"),
    ]
    .into_iter()
    .flatten()
    .collect();
    match verdict {
        Some(Verdict::Failing) => judge(vec!["it predicts its own failure".to_owned()], warnings, figures),
        // Without its verdict, and nothing bad in the figures, nobody has said that it is good.
        None if warnings.is_empty() => {
            DiskHealth { figures, ..unknown("it gives no verdict on itself".to_owned()) }
        }
        Some(Verdict::Well) | None => judge(Vec::new(), warnings, figures),
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
