//! Whether a quote is true: fresh, by this AK, over these PCRs, and explained by its event log.
//!
//! Checks run in the order of [`QuoteError`]'s variants; the first miss ends. What passes is a [`VerifiedQuote`], which
//! nothing else can make. It says what was booted; whether that was right is the policy's word ([`super::policy`]).

use recovery_protocol::tpm::event_log::LogError;
use recovery_protocol::tpm::{
    ALG_SHA256, Attest, Attested, ClockInfo, CodecError, EccPublic, Event, EventLog, PcrMask, PcrValues,
    Sha256, Signature,
};

use super::credential::{AkPublic, qualified_name};

/// Digest of the separator that ends the firmware's part of a PCR (PFP §3.3.2.2): SHA-256 of four zero bytes.
pub(super) fn separator() -> Sha256 {
    Sha256::of(&[0; 4])
}

/// What a TPM sent: all of it unproven.
#[derive(Debug, Clone, Copy)]
pub struct QuoteEvidence<'a> {
    /// `TPMS_ATTEST`.
    pub attest: &'a [u8],
    /// `TPMT_SIGNATURE` over it.
    pub signature: &'a [u8],
    /// The values that are said to be quoted.
    pub pcrs: &'a PcrValues,
    /// The event log that is said to explain them.
    pub event_log: &'a [u8],
}

/// Why a quote is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// The signature is of another algorithm or malformed.
    #[error("the quote's signature cannot be read")]
    SignatureForm(#[source] CodecError),
    /// The AK did not sign this.
    #[error(
        "the quote is not signed by this endpoint's attestation key; it was altered or comes from another TPM"
    )]
    Signature,
    /// It does not begin with `TPM_GENERATED`: the key signed it, but no TPM made it up.
    #[error("what was signed was not made by a TPM: it does not begin with TPM_GENERATED")]
    NotGenerated,
    /// It is no `TPMS_ATTEST`, or bytes follow it.
    #[error("the quote's structure cannot be read")]
    Form(#[source] CodecError),
    /// The AK attests something, but not PCRs.
    #[error("the attestation key signed something else where a quote belongs")]
    NotAQuote,
    /// The AK is not a primary of the endorsement hierarchy.
    #[error(
        "the attestation key is not a primary of the endorsement hierarchy; run our agent on the endpoint"
    )]
    Signer,
    /// It answers another question.
    #[error("the quote does not carry the nonce of this challenge; it is a replay or belongs to another job")]
    Nonce,
    /// It is over another bank.
    #[error(
        "the quote is over bank {bank:#x}; only SHA-256 (0xb) counts, switch that bank on in the firmware"
    )]
    Bank {
        /// TCG algorithm identifier.
        bank: u16,
    },
    /// It is over other PCRs, none, or several selections.
    #[error("the quote is not over exactly PCRs {expected} of the SHA-256 bank")]
    Selection {
        /// What was asked for.
        expected: PcrMask,
    },
    /// Values were sent for other PCRs than were asked for.
    #[error("values came for PCRs {found}, asked for were {expected}")]
    Values {
        /// What was asked for.
        expected: PcrMask,
        /// What came.
        found: PcrMask,
    },
    /// The values sent are not the values quoted.
    #[error("the PCR values that were sent are not the ones that the TPM quoted")]
    PcrDigest,
    /// There is no event log to explain the values.
    #[error(
        "the endpoint sent no event log; its boot loader must start the kernel's EFI stub (in GRUB 2.06: `linuxefi`), \
         and its firmware must keep a log"
    )]
    NoLog,
    /// The event log is malformed.
    #[error("the event log cannot be read")]
    Log(#[source] LogError),
    /// The event log does not lead to the quoted values.
    #[error("the event log does not explain PCR {pcr}: it leads to {replayed}, the TPM holds {quoted}")]
    Replay {
        /// The first PCR that differs.
        pcr: u8,
        /// Where the log leads.
        replayed: Sha256,
        /// What the TPM holds.
        quoted: Sha256,
    },
    /// The firmware's part of a PCR has no end, or more than one.
    #[error("PCR {pcr} has {count} separators; a boot has exactly one")]
    Separator {
        /// The PCR.
        pcr: u8,
        /// How many there are.
        count: usize,
    },
    /// Something was added to the firmware's PCRs after the firmware was done with them.
    #[error("PCR {pcr} was extended after the firmware had closed it")]
    AfterSeparator {
        /// The PCR.
        pcr: u8,
    },
}

impl QuoteError {
    /// The check that failed, by a name that stays: for evidence and counters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::SignatureForm(_) => "quote-signature-form",
            Self::Signature => "quote-signature",
            Self::NotGenerated => "quote-not-generated",
            Self::Form(_) => "quote-form",
            Self::NotAQuote => "quote-type",
            Self::Signer => "quote-signer",
            Self::Nonce => "quote-nonce",
            Self::Bank { .. } => "quote-bank",
            Self::Selection { .. } => "quote-selection",
            Self::Values { .. } => "quote-values",
            Self::PcrDigest => "quote-pcr-digest",
            Self::NoLog => "log-missing",
            Self::Log(_) => "log-form",
            Self::Replay { .. } => "log-replay",
            Self::Separator { .. } => "log-separator",
            Self::AfterSeparator { .. } => "log-after-separator",
        }
    }

    /// What is wrong with the structure that was signed.
    fn form(error: CodecError) -> Self {
        match error {
            CodecError::Field { field: "magic", .. } => Self::NotGenerated,
            CodecError::Field { field: "type", .. } => Self::NotAQuote,
            other => Self::Form(other),
        }
    }
}

/// A quote that passed every check of [`verify_quote`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedQuote {
    pcrs: PcrValues,
    log: EventLog,
    clock: ClockInfo,
    firmware_version: u64,
}

impl VerifiedQuote {
    /// The quoted values.
    pub fn pcrs(&self) -> &PcrValues {
        &self.pcrs
    }

    /// The events that lead to one quoted PCR, in order. Their digests and order are proven; type and data are not.
    pub fn events(&self, pcr: u8) -> impl Iterator<Item = &Event> {
        self.log.of_pcr(pcr).filter(|event| self.pcrs.0.contains_key(&event.pcr))
    }

    /// The TPM's clock and counters when it signed. A reboot makes `reset_count` grow: compare it with an earlier quote
    /// of the same job by [`VerifiedQuote::rebooted_since`].
    pub fn clock(&self) -> ClockInfo {
        self.clock
    }

    /// The TPM's own firmware version, vendor-defined.
    pub fn firmware_version(&self) -> u64 {
        self.firmware_version
    }

    /// Whether the TPM went through a reset after it gave a quote with this `reset_count`.
    pub fn rebooted_since(&self, reset_count: u32) -> bool {
        self.clock.reset_count > reset_count
    }
}

/// Checks a quote; `nonce` is the one of this challenge, `expected` the PCRs that it asked for.
///
/// # Errors
/// [`QuoteError`]: each check has its own.
pub fn verify_quote(
    ak: &AkPublic,
    nonce: &[u8],
    expected: PcrMask,
    evidence: &QuoteEvidence<'_>,
) -> Result<VerifiedQuote, QuoteError> {
    let signature = Signature::parse(evidence.signature).map_err(QuoteError::SignatureForm)?;
    if !ak.verifies(evidence.attest, &signature) {
        return Err(QuoteError::Signature);
    }
    let attest = Attest::parse(evidence.attest).map_err(QuoteError::form)?;
    let Attested::Quote { selection, pcr_digest } = &attest.attested else {
        return Err(QuoteError::NotAQuote);
    };
    if attest.signer != ak.qualified_name() {
        return Err(QuoteError::Signer);
    }
    if attest.extra_data != nonce {
        return Err(QuoteError::Nonce);
    }
    if let Some(other) = selection.iter().find(|one| one.bank != ALG_SHA256) {
        return Err(QuoteError::Bank { bank: other.bank });
    }
    if !matches!(selection[..], [one] if one.pcrs == expected) {
        return Err(QuoteError::Selection { expected });
    }
    let found = evidence.pcrs.mask();
    if found != expected {
        return Err(QuoteError::Values { expected, found });
    }
    if pcr_digest != evidence.pcrs.digest().as_bytes() {
        return Err(QuoteError::PcrDigest);
    }
    let log = explain(evidence.pcrs, evidence.event_log)?;
    let (pcrs, clock) = (evidence.pcrs.clone(), attest.clock);
    Ok(VerifiedQuote { pcrs, log, clock, firmware_version: attest.firmware_version })
}

/// Parses the log and holds it against the quoted values. A PCR without events must have its initial value, too.
fn explain(pcrs: &PcrValues, log: &[u8]) -> Result<EventLog, QuoteError> {
    if log.is_empty() {
        return Err(QuoteError::NoLog);
    }
    let log = EventLog::parse(log).map_err(QuoteError::Log)?;
    let replayed = log.replay();
    for (pcr, quoted) in &pcrs.0 {
        let replayed = replayed[usize::from(*pcr)];
        if replayed != *quoted {
            return Err(QuoteError::Replay { pcr: *pcr, replayed, quoted: *quoted });
        }
    }
    let separator = separator();
    for pcr in pcrs.0.keys().copied().filter(|pcr| *pcr < 8) {
        let count = log.of_pcr(pcr).filter(|event| event.digest == separator).count();
        if count != 1 {
            return Err(QuoteError::Separator { pcr, count });
        }
        // PCR 0 and 2 hold firmware and its extensions alone (PFP §3.3.4): nothing belongs there once it is done.
        if matches!(pcr, 0 | 2) && log.of_pcr(pcr).last().is_some_and(|last| last.digest != separator) {
            return Err(QuoteError::AfterSeparator { pcr });
        }
    }
    Ok(log)
}

/// Why a TLS key is not believed to lie in the endpoint's TPM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertifyError {
    /// The key's public area is malformed.
    #[error("the TLS key's public area cannot be read")]
    Key(#[source] CodecError),
    /// The key could leave the TPM, or is of another kind.
    #[error(
        "the TLS key has attributes {attributes:#010x}; only a key fixed to its TPM is enrolled, run our agent"
    )]
    Attributes {
        /// `objectAttributes`.
        attributes: u32,
    },
    /// The signature is of another algorithm or malformed.
    #[error("the certification's signature cannot be read")]
    SignatureForm(#[source] CodecError),
    /// The AK did not sign this.
    #[error("the certification is not signed by this endpoint's attestation key")]
    Signature,
    /// It does not begin with `TPM_GENERATED`.
    #[error("the certification was not made by a TPM: it does not begin with TPM_GENERATED")]
    NotGenerated,
    /// It is no `TPMS_ATTEST`, or bytes follow it.
    #[error("the certification's structure cannot be read")]
    Form(#[source] CodecError),
    /// The AK attests something, but not a key.
    #[error("the attestation key signed something else where a certification belongs")]
    NotACertification,
    /// It answers another question.
    #[error(
        "the certification does not carry the nonce of this challenge; it is a replay or belongs to another job"
    )]
    Nonce,
    /// It certifies another key.
    #[error("the certification is for another key than the one to be enrolled")]
    OtherKey,
}

impl CertifyError {
    /// The check that failed, by a name that stays.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Key(_) => "tls-key-form",
            Self::Attributes { .. } => "tls-key-attributes",
            Self::SignatureForm(_) => "certify-signature-form",
            Self::Signature => "certify-signature",
            Self::NotGenerated => "certify-not-generated",
            Self::Form(_) => "certify-form",
            Self::NotACertification => "certify-type",
            Self::Nonce => "certify-nonce",
            Self::OtherKey => "certify-other-key",
        }
    }

    fn form(error: CodecError) -> Self {
        match error {
            CodecError::Field { field: "magic", .. } => Self::NotGenerated,
            CodecError::Field { field: "type", .. } => Self::NotACertification,
            other => Self::Form(other),
        }
    }
}

/// A TLS key proven to lie in the same TPM as the AK, and unable to leave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedTlsKey(EccPublic);

impl CertifiedTlsKey {
    /// The key as `SubjectPublicKeyInfo`, DER: a certificate request must be for exactly this.
    pub fn spki_der(&self) -> Vec<u8> {
        self.0.spki_der()
    }
}

/// Checks that the AK certified `public` (a `TPMT_PUBLIC`) for this challenge.
///
/// # Errors
/// [`CertifyError`]: each check has its own.
pub fn verify_certify(
    ak: &AkPublic,
    nonce: &[u8],
    public: &[u8],
    attest: &[u8],
    signature: &[u8],
) -> Result<CertifiedTlsKey, CertifyError> {
    let key = EccPublic::parse(public).map_err(CertifyError::Key)?;
    if !key.is_made_from(&EccPublic::tls_template(&[0; 32])) {
        return Err(CertifyError::Attributes { attributes: key.attributes });
    }
    let signature = Signature::parse(signature).map_err(CertifyError::SignatureForm)?;
    if !ak.verifies(attest, &signature) {
        return Err(CertifyError::Signature);
    }
    let attest = Attest::parse(attest).map_err(CertifyError::form)?;
    let Attested::Certify { name, qualified_name: qualified } = &attest.attested else {
        return Err(CertifyError::NotACertification);
    };
    if attest.extra_data != nonce {
        return Err(CertifyError::Nonce);
    }
    if *name != key.name() || *qualified != qualified_name(&key.name()) {
        return Err(CertifyError::OtherKey);
    }
    Ok(CertifiedTlsKey(key))
}
