//! A blueprint: what one kind of endpoint is.

use recovery_protocol::{
    agent::DiskHints,
    erase::ErasePolicy,
    exhibit::{FilePattern, Keep},
    job::Word,
};
use serde::Deserialize;

/// What one kind of endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blueprint {
    /// The golden image's name.
    pub image: String,
    /// Its version; none: the one with the highest epoch.
    #[serde(default)]
    pub version: Option<String>,
    /// Hardware class, for people and reports.
    #[serde(default)]
    pub hardware_class: String,
    /// How the restored system gets an identity.
    #[serde(default)]
    pub enrolment: Enrolment,
    /// Secure Boot must be on, as the TPM's quote tells it, in the recovery system and in the restored one.
    #[serde(default)]
    pub secure_boot: bool,
    /// What the first proof of an endpoint's firmware is held against.
    #[serde(default)]
    pub firmware_baseline: FirmwareBaseline,
    /// The oldest firmware of the TPM itself that is believed, as its maker numbers it (`0x0007_0055_0011_cb00`).
    #[serde(default)]
    pub tpm_firmware_min: Option<u64>,
    /// What a TPM that is not on record must show before it is believed.
    #[serde(default)]
    pub ek_certificate: EkCertificatePolicy,
    /// Recovery time objective in seconds.
    #[serde(default = "default_rto")]
    pub rto_s: u32,
    /// Smallest disk that may be meant, in bytes, where no serial number is on record.
    #[serde(default)]
    pub min_disk_bytes: u64,
    /// What its disk is like: another is never written, and where no serial number is on record only these are candidates.
    #[serde(default)]
    pub disk: DiskHints,
    /// Read back everything, or only what was written.
    #[serde(default)]
    pub read_back_all: bool,
    /// What becomes of the disk's old content before it is restored: `none`, `discard`, `clear` or `purge`.
    #[serde(default)]
    pub erase: ErasePolicy,
    /// What a recovery keeps of the old system before it writes: `none` or `quick`. Without it one that begins by itself keeps `quick`, and one
    /// that a person orders what they say.
    #[serde(default)]
    pub keep: Option<Keep>,
    /// Which files are kept, in this order, instead of `exhibits.files`.
    #[serde(default)]
    pub keep_files: Option<Vec<FilePattern>>,
    /// Seconds that it may take, instead of `exhibits.seconds`.
    #[serde(default)]
    pub keep_seconds: Option<u32>,
    /// Where endpoints of this kind stand: what an operator declares, never what an endpoint says of itself.
    #[serde(default)]
    pub place: Place,
    /// Whose word stands for the restored system: `check_in`, its own (it proves itself); `control_plane`, that of a control plane whose word
    /// is waited for, or `person`, where its image cannot carry our check-in. Both are weaker, and evidence says so.
    #[serde(default)]
    pub word: Word,
}

/// Where endpoints of a blueprint stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On the line: never drilled.
    #[default]
    Production,
    /// On a bench or a spare.
    Bench,
    /// A virtual machine for rehearsal.
    Virtual,
}

fn default_rto() -> u32 {
    1800
}

/// What a TPM that is not on record must show before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EkCertificatePolicy {
    /// A certificate that leads to a root in `tpm_roots_dir`; without one the job is held.
    Required,
    /// Nothing: the person who approved the recovery vouches for it. What the certificate says is in evidence.
    #[default]
    Recorded,
}

/// What the first proof of an endpoint's firmware is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirmwareBaseline {
    /// Nothing: what it shows is put on record for it.
    #[default]
    Own,
    /// What is on record of others of its hardware class: another firmware is put on record when a person approved it.
    Class,
}

/// How the restored system gets an identity that it can prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enrolment {
    /// A TPM-held key and EST.
    #[default]
    Est,
    /// None: for endpoints without a TPM. The enrolment ticket alone says that the restored system checked in.
    None,
}
