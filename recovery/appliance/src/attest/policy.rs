//! Whether what was booted is right: a true quote held against what the image (or the boot kit) predicts.
//!
//! ```text
//! VerifiedQuote ──┐
//!                 ├─► judge ─► Verdict: findings, none when all is as predicted
//! BootExpectation ┘
//! ```
//!
//! What decides is digests, by PCR and position. Type and data of an event decide only after the digest was recomputed
//! from the data (the SecureBoot variable, GRUB's command lines). Nothing unknown is ignored: whatever a judged PCR
//! holds and no prediction names is a finding. An image that predicts nothing proves nothing.

use images::manifest::header::{Measurement, Need};
use recovery_protocol::tpm::event_log::Variable;
use recovery_protocol::tpm::{Event, Sha256};
use serde::{Deserialize, Serialize};

use super::quote::{VerifiedQuote, separator};

/// PCRs whose every event must be predicted: loaded programs (4), GRUB's commands (8), files and the kernel's arguments (9),
/// sections of a unified kernel image (11), arguments from outside it (12).
const JUDGED: [u8; 5] = [4, 8, 9, 11, 12];

/// `EFI_GLOBAL_VARIABLE` (UEFI 2.10 §3.3): 8be4df61-93ca-11d2-aa0d-00e098032b8c, in memory order.
const GLOBAL_VARIABLE: [u8; 16] =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];

/// What firmware itself says in PCR 4 around each boot option (PFP §10.4.4); any number of tries may precede a boot.
const BOOT_ACTIONS: [&str; 2] =
    ["Calling EFI Application from Boot Option", "Returning from EFI Application from Boot Option"];

/// What a boot must have measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootExpectation {
    /// The predicted events. Order counts in PCR 4 only. `Need::Optional` in PCR 4 means any number of times in a row at its
    /// place: a loader of ours that handed the boot back to the firmware ("local disk") before the disk's own loader ran.
    pub measurements: Vec<Measurement>,
    /// Firmware measurements on record for this endpoint; `None` until a recovery recorded them.
    pub firmware: Option<FirmwareBaseline>,
    /// Whether Secure Boot must be on.
    pub require_secure_boot: bool,
    /// `reset_count` of an earlier quote of the same job: a reboot must have happened since, and nothing was resumed after it.
    pub reset_since: Option<u32>,
    /// The oldest firmware of the TPM itself that is believed.
    pub tpm_firmware_min: Option<u64>,
}

/// An endpoint's firmware as its TPM saw it. It differs between models and changes with firmware and key updates, so it
/// is recorded per endpoint and a change is for a person to judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareBaseline {
    /// PCR 0: firmware code.
    pub pcr0: Sha256,
    /// PCR 2: drivers of extension cards.
    pub pcr2: Sha256,
    /// PCR 7 as it was at its separator: whether Secure Boot is on, and its keys. What follows the separator names the keys
    /// that were used, which differs between the recovery system's boot and the disk's.
    pub pcr7_config: Sha256,
}

impl FirmwareBaseline {
    fn of(quote: &VerifiedQuote) -> Self {
        let separator = separator();
        let value = |pcr| quote.pcrs().0.get(&pcr).copied().unwrap_or(Sha256::ZERO);
        let mut pcr7_config = Sha256::ZERO;
        for event in quote.events(7) {
            pcr7_config = pcr7_config.extended(&event.digest);
            if event.digest == separator {
                break;
            }
        }
        Self { pcr0: value(0), pcr2: value(2), pcr7_config }
    }

    fn changes(&self, now: &Self) -> Vec<Finding> {
        let pairs =
            [(0, self.pcr0, now.pcr0), (2, self.pcr2, now.pcr2), (7, self.pcr7_config, now.pcr7_config)];
        let changed = pairs.into_iter().filter(|(_, recorded, found)| recorded != found);
        changed.map(|(pcr, recorded, found)| Finding::FirmwareChanged { pcr, recorded, found }).collect()
    }
}

/// One thing that is not as it should be. The text is for people; the fields are for the evidence log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// There is nothing to hold the quote against.
    #[error("nothing is predicted for this boot: import the image again with a boot loader that we can read")]
    NothingPredicted,
    /// A PCR that decides was not quoted.
    #[error("PCR {pcr} was not quoted, so its part of the boot is unknown")]
    NotQuoted {
        /// The PCR.
        pcr: u8,
    },
    /// Something was loaded or read that no prediction names, or at a place where it does not belong.
    #[error("PCR {pcr} holds {digest} ({what}), which is not predicted")]
    UnexpectedBootEvent {
        /// The PCR.
        pcr: u8,
        /// The event's digest.
        digest: Sha256,
        /// What the event log claims that it is; not proven.
        what: String,
    },
    /// Something predicted was not loaded or read.
    #[error("PCR {pcr} lacks {digest} ({what})")]
    MissingBootEvent {
        /// The PCR.
        pcr: u8,
        /// The predicted digest.
        digest: Sha256,
        /// What it is, by the prediction.
        what: String,
    },
    /// The kernel was started with other arguments.
    #[error("the kernel was started with `{found}`, which is not predicted")]
    UnexpectedCommandLine {
        /// The arguments, proven by their digest.
        found: String,
    },
    /// PCR 7 does not tell whether Secure Boot is on.
    #[error("the firmware's log does not tell whether Secure Boot is on")]
    SecureBootUnknown,
    /// Secure Boot is off and must be on.
    #[error("Secure Boot is off; switch it on in the firmware's setup")]
    SecureBootOff,
    /// Firmware measurements are not those on record.
    #[error("the firmware changed: PCR {pcr} is {found}, on record is {recorded}")]
    FirmwareChanged {
        /// The PCR; of 7 the part before its separator.
        pcr: u8,
        /// The value on record.
        recorded: Sha256,
        /// The value now.
        found: Sha256,
    },
    /// The endpoint was not reset since the earlier quote of the job.
    #[error("the endpoint was not reset since it was restored: its TPM counts {now} resets, then {before}")]
    NotRebooted {
        /// The count on record.
        before: u32,
        /// The count now.
        now: u32,
    },
    /// The endpoint was suspended and resumed between its reset and the quote: what its PCRs hold may be of before.
    #[error(
        "the endpoint was resumed {count} times since it was reset; what it booted is not told by this quote"
    )]
    Resumed {
        /// How often.
        count: u32,
    },
    /// The TPM's own firmware is older than its blueprint takes.
    #[error(
        "the TPM's firmware is {found:#018x}, its blueprint wants {floor:#018x} or later; update the TPM"
    )]
    TpmFirmwareOld {
        /// The oldest that is taken.
        floor: u64,
        /// What the TPM says.
        found: u64,
    },
}

impl Finding {
    /// The check that failed, by a name that stays: for evidence and counters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NothingPredicted => "boot-nothing-predicted",
            Self::NotQuoted { .. } => "boot-not-quoted",
            Self::UnexpectedBootEvent { .. } => "boot-unexpected",
            Self::MissingBootEvent { .. } => "boot-missing",
            Self::UnexpectedCommandLine { .. } => "boot-command-line",
            Self::SecureBootUnknown => "secure-boot-unknown",
            Self::SecureBootOff => "secure-boot-off",
            Self::FirmwareChanged { pcr: 0, .. } => "firmware-pcr0",
            Self::FirmwareChanged { pcr: 2, .. } => "firmware-pcr2",
            Self::FirmwareChanged { .. } => "firmware-pcr7",
            Self::NotRebooted { .. } => "not-rebooted",
            Self::Resumed { .. } => "resumed",
            Self::TpmFirmwareOld { .. } => "tpm-firmware-old",
        }
    }
}

/// What [`judge`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What is not as it should be; empty when all is.
    pub findings: Vec<Finding>,
    /// Whether Secure Boot was on; `None` when the log does not tell.
    pub secure_boot: Option<bool>,
    /// The firmware measurements of this boot: recorded as the baseline when a person approves.
    pub firmware: FirmwareBaseline,
}

impl Verdict {
    /// The checks that failed, each once, by name.
    #[cfg(test)]
    pub fn codes(&self) -> Vec<&'static str> {
        let codes: std::collections::BTreeSet<_> = self.findings.iter().map(Finding::code).collect();
        codes.into_iter().collect()
    }

    /// Whether the boot was exactly as predicted.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether the firmware changed and nothing else is wrong: a hold of its own, since reimaging cannot mend it.
    pub fn only_firmware_changed(&self) -> bool {
        let firmware = |finding: &Finding| matches!(finding, Finding::FirmwareChanged { .. });
        !self.passed() && self.findings.iter().all(firmware)
    }

    /// Whether the TPM's own firmware is older than its blueprint takes, and nothing else is wrong but what a person mends in the
    /// firmware's setup, too: a hold of its own, since reimaging updates no TPM.
    pub fn only_tpm_firmware_old(&self) -> bool {
        let old = |finding: &Finding| matches!(finding, Finding::TpmFirmwareOld { .. });
        let of_firmware = |finding: &Finding| {
            old(finding) || matches!(finding, Finding::SecureBootOff | Finding::FirmwareChanged { .. })
        };
        self.findings.iter().any(old) && self.findings.iter().all(of_firmware)
    }

    /// Whether all that is wrong was so when the endpoint was last recovered, and only its blueprint asks for more since: an old TPM, or Secure
    /// Boot that was off then. It tells of nobody who broke in, so it is no trigger.
    pub fn only_posture(&self, baseline: Option<&FirmwareBaseline>) -> bool {
        let as_before = baseline.is_some();
        let posture = |finding: &Finding| match finding {
            Finding::TpmFirmwareOld { .. } => true,
            // Its state is in PCR 7: with a baseline, another one would be a finding of its own.
            Finding::SecureBootOff => as_before,
            _ => false,
        };
        !self.passed() && self.findings.iter().all(posture)
    }

    /// Whether Secure Boot is off where it must be on, and nothing else is wrong but what follows from that: PCR 7 is then
    /// another one than on record. A person switches it on; no reimage does.
    pub fn only_secure_boot_off(&self) -> bool {
        let follows = |finding: &Finding| {
            matches!(finding, Finding::SecureBootOff | Finding::FirmwareChanged { pcr: 7, .. })
        };
        self.findings.contains(&Finding::SecureBootOff) && self.findings.iter().all(follows)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.passed() {
            return f.write_str("booted exactly as predicted");
        }
        let line = |finding: &Finding| format!("{finding} (check {})", finding.code());
        let lines: Vec<String> = self.findings.iter().map(line).collect();
        f.write_str(&lines.join("; "))
    }
}

/// Holds a true quote against an expectation.
pub fn judge(quote: &VerifiedQuote, expected: &BootExpectation) -> Verdict {
    let (secure_boot, firmware) = (secure_boot(quote), FirmwareBaseline::of(quote));
    let mut findings = Vec::new();
    match secure_boot {
        None => findings.push(Finding::SecureBootUnknown),
        Some(false) if expected.require_secure_boot => findings.push(Finding::SecureBootOff),
        Some(_) => {}
    }
    if expected.measurements.is_empty() {
        findings.push(Finding::NothingPredicted);
    } else {
        let on = secure_boot.unwrap_or(false);
        let named = expected.measurements.iter().map(|m| m.pcr).filter(|pcr| !JUDGED.contains(pcr));
        let pcrs: std::collections::BTreeSet<u8> = JUDGED.into_iter().chain(named).collect();
        for pcr in pcrs {
            let predicted = expected.measurements.iter().filter(|m| m.pcr == pcr);
            let predicted = predicted.filter(|m| on || m.need != Need::SecureBoot).collect();
            findings.extend(judge_pcr(quote, pcr, predicted));
        }
    }
    if let Some(baseline) = &expected.firmware {
        findings.extend(baseline.changes(&firmware));
    }
    if let Some(before) = expected.reset_since.filter(|before| !quote.rebooted_since(*before)) {
        findings.push(Finding::NotRebooted { before, now: quote.clock().reset_count });
    }
    if expected.reset_since.is_some() && quote.clock().restart_count > 0 {
        findings.push(Finding::Resumed { count: quote.clock().restart_count });
    }
    let found = quote.firmware_version();
    if let Some(floor) = expected.tpm_firmware_min.filter(|floor| found < *floor) {
        findings.push(Finding::TpmFirmwareOld { floor, found });
    }
    Verdict { findings, secure_boot, firmware }
}

fn judge_pcr(quote: &VerifiedQuote, pcr: u8, predicted: Vec<&Measurement>) -> Vec<Finding> {
    if !quote.pcrs().mask().has(pcr) {
        return vec![Finding::NotQuoted { pcr }];
    }
    let events: Vec<&Event> = quote.events(pcr).collect();
    match pcr {
        4 => in_order(&events, &predicted),
        8 => commands(&events, &predicted),
        _ => as_set(&events, &predicted),
    }
}

fn is(event: &Event, measurement: &Measurement) -> bool {
    *event.digest.as_bytes() == measurement.digest
}

fn unexpected(event: &Event) -> Finding {
    let what = format!("{} {}", event.kind, event.text());
    Finding::UnexpectedBootEvent { pcr: event.pcr, digest: event.digest, what: what.trim_end().to_owned() }
}

fn missing(measurement: &Measurement) -> Finding {
    let Measurement { pcr, digest, what, .. } = measurement;
    Finding::MissingBootEvent { pcr: *pcr, digest: Sha256::from(*digest), what: what.clone() }
}

/// PCR 4: what was loaded is what was predicted, in this order, and nothing else.
///
/// The same program twice in a row counts once: one load is often measured twice (iPXE loads an image to probe it and again
/// to run it; GRUB and shim both measure a kernel), which ones do depends on their versions, and it hides nothing.
fn in_order(events: &[&Event], predicted: &[&Measurement]) -> Vec<Finding> {
    let mut noise: Vec<Sha256> = BOOT_ACTIONS.iter().map(|text| Sha256::of(text.as_bytes())).collect();
    noise.push(separator());
    // By digest, not by type: the type is not proven.
    let mut loaded: Vec<&Event> =
        events.iter().copied().filter(|event| !noise.contains(&event.digest)).collect();
    loaded.dedup_by_key(|event| event.digest);
    let mut predicted = predicted.to_vec();
    predicted.dedup_by_key(|measurement| (measurement.digest, measurement.need));
    let (mut rest, mut findings) = (&loaded[..], Vec::new());
    for measurement in predicted {
        if measurement.need == Need::Optional {
            let tries = rest.iter().take_while(|event| is(event, measurement)).count();
            rest = &rest[tries..];
        } else if let Some(at) = rest.iter().position(|event| is(event, measurement)) {
            findings.extend(rest[..at].iter().map(|event| unexpected(event)));
            rest = &rest[at + 1..];
        } else {
            findings.push(missing(measurement));
        }
    }
    findings.extend(rest.iter().map(|event| unexpected(event)));
    findings
}

/// PCR 9, 11, 12: each event is predicted, each needed prediction happened; GRUB may read a file more than once.
fn as_set(events: &[&Event], predicted: &[&Measurement]) -> Vec<Finding> {
    let foreign = events.iter().filter(|event| !predicted.iter().any(|m| is(event, m)));
    let absent = predicted.iter().filter(|m| m.need != Need::Optional && !events.iter().any(|e| is(e, m)));
    foreign.map(|event| unexpected(event)).chain(absent.map(|m| missing(m))).collect()
}

/// PCR 8, as GRUB extends it: its commands, and the kernel's command line.
///
/// The commands are not predicted: which run is settled by GRUB itself (PCR 4) and by its configuration (PCR 9). But
/// the two kinds differ only in a label that is not proven, so an attacker could call a kernel's command line a command.
/// What tells them apart is their text: a command line begins with the kernel's absolute path, and no command of GRUB
/// begins with `/` or `(`.
fn commands(events: &[&Event], predicted: &[&Measurement]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for event in events {
        let text = event.data.strip_suffix(b"\0").unwrap_or(&event.data);
        let command = text.strip_prefix(b"grub_cmd: ");
        let Some(content) = command.or_else(|| text.strip_prefix(b"kernel_cmdline: ")) else {
            findings.push(unexpected(event));
            continue;
        };
        if Sha256::of(content) != event.digest {
            findings.push(unexpected(event));
        } else if (command.is_none() || matches!(content.first(), Some(b'/' | b'(')))
            && !predicted.iter().any(|m| is(event, m))
        {
            findings.push(Finding::UnexpectedCommandLine {
                found: String::from_utf8_lossy(content).into_owned(),
            });
        }
    }
    let absent = predicted.iter().filter(|m| m.need != Need::Optional && !events.iter().any(|e| is(e, m)));
    findings.extend(absent.map(|m| missing(m)));
    findings
}

/// Whether Secure Boot was on: the one SecureBoot variable that the firmware measured before it closed PCR 7.
fn secure_boot(quote: &VerifiedQuote) -> Option<bool> {
    let separator = separator();
    let by_firmware = quote.events(7).take_while(|event| event.digest != separator);
    let mut values =
        by_firmware.filter(|event| Sha256::of(&event.data) == event.digest).filter_map(|event| {
            let variable = Variable::parse(&event.data)?;
            (variable.guid == GLOBAL_VARIABLE && variable.name == "SecureBoot").then_some(variable.value)
        });
    match (values.next(), values.next()) {
        (Some([1]), None) => Some(true),
        (Some([0]), None) => Some(false),
        _ => None,
    }
}
