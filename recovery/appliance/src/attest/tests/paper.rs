//! A TPM on paper: an ECDSA key that signs whatever a test says, and the boots it signs about.

use std::collections::BTreeMap;

use images::manifest::header::{Measurement, Need};
use recovery_protocol::tpm::pcr::Selection;
use recovery_protocol::tpm::{
    ALG_SHA256, Attest, Attested, ClockInfo, EccPublic, Event, EventLog, EventType, PcrMask, PcrValues,
    Point, Sha256, Signature,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::super::*;

pub const NONCE: [u8; 32] = [0x5e; 32];

/// The key pair that plays AK.
pub struct PaperTpm {
    key: EcdsaKeyPair,
    pub ak: EccPublic,
}

impl PaperTpm {
    pub fn new() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let unique = Point::from_uncompressed(key.public_key().as_ref()).unwrap();
        Self { key, ak: EccPublic { unique, ..EccPublic::ak_template() } }
    }

    pub fn ak_public(&self) -> AkPublic {
        AkPublic::parse(&self.ak.to_bytes()).unwrap()
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.key.sign(&SystemRandom::new(), message).unwrap().as_ref());
        Signature(signature).to_bytes()
    }

    /// An honest quote over what `boot` measured.
    pub fn attest(&self, boot: &Boot) -> Attest {
        let pcrs = boot.values();
        let selection = vec![Selection { bank: ALG_SHA256, pcrs: pcrs.mask() }];
        Attest {
            signer: self.ak_public().qualified_name().to_vec(),
            extra_data: NONCE.to_vec(),
            clock: ClockInfo { clock: 1000, reset_count: 7, restart_count: 0, safe: true },
            firmware_version: 1,
            attested: Attested::Quote { selection, pcr_digest: pcrs.digest().as_bytes().to_vec() },
        }
    }

    /// Signs the honest quote and has it verified.
    pub fn verified(&self, boot: &Boot) -> VerifiedQuote {
        self.verify(&self.attest(boot), boot).unwrap()
    }

    /// Signs any attestation and has it verified as a quote over what `boot` measured.
    pub fn verify(&self, attest: &Attest, boot: &Boot) -> Result<VerifiedQuote, QuoteError> {
        let (attest, pcrs, event_log) = (attest.to_bytes(), boot.values(), boot.encode());
        let signature = self.sign(&attest);
        let evidence =
            QuoteEvidence { attest: &attest, signature: &signature, pcrs: &pcrs, event_log: &event_log };
        verify_quote(&self.ak_public(), &NONCE, PcrMask::of(&QUOTED_PCRS), &evidence)
    }
}

/// One boot: its events.
#[derive(Debug, Clone)]
pub struct Boot(pub EventLog);

impl Boot {
    pub fn golden_secure_boot() -> Self {
        Self(EventLog::parse(include_bytes!("../fixtures/golden-secure-boot.log")).unwrap())
    }

    pub fn golden_plain() -> Self {
        Self(EventLog::parse(include_bytes!("../fixtures/golden-plain.log")).unwrap())
    }

    pub fn recovery_ipxe() -> Self {
        Self(EventLog::parse(include_bytes!("../fixtures/recovery-ipxe.log")).unwrap())
    }

    /// What the quoted PCRs hold after it.
    pub fn values(&self) -> PcrValues {
        let all = self.0.replay();
        PcrValues(QUOTED_PCRS.iter().map(|pcr| (*pcr, all[usize::from(*pcr)])).collect())
    }

    /// The log as firmware writes it, SHA-256 bank only.
    pub fn encode(&self) -> Vec<u8> {
        let spec =
            [&b"Spec ID Event03\0"[..], &[0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 11, 0, 32, 0, 0]].concat();
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let header = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &size(&spec), &spec].concat();
        let event = |e: &Event| {
            let (pcr, kind) = (u32::from(e.pcr).to_le_bytes(), e.kind.0.to_le_bytes());
            [&pcr[..], &kind, &[1, 0, 0, 0, 11, 0], e.digest.as_bytes(), &size(&e.data), &e.data].concat()
        };
        [vec![header], self.0.events.iter().map(event).collect()].concat().concat()
    }

    /// Position of the first event of `pcr` whose text contains `text`.
    pub fn find(&self, pcr: u8, text: &str) -> usize {
        let found = self.0.events.iter().position(|e| e.pcr == pcr && e.text().contains(text));
        found.unwrap_or_else(|| panic!("no `{text}` in PCR {pcr}"))
    }

    /// Position of the `nth` program that was loaded.
    pub fn program(&self, nth: usize) -> usize {
        let loaded = |(_, e): &(usize, &Event)| e.pcr == 4 && e.kind == EventType::BOOT_SERVICES_APPLICATION;
        self.0.events.iter().enumerate().filter(loaded).nth(nth).unwrap().0
    }
}

pub fn event(pcr: u8, kind: EventType, data: &[u8]) -> Event {
    Event { pcr, kind, digest: Sha256::of(data), data: data.to_vec() }
}

/// What `fixtures/measure.sh` computed from the files.
pub fn file_digest(name: &str) -> Sha256 {
    let lines = include_str!("../fixtures/expected.txt").lines();
    let all: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(' ')).collect();
    all[name].parse().unwrap()
}

pub fn measurement(pcr: u8, name: &str, need: Need) -> Measurement {
    Measurement { pcr, digest: *file_digest(name).as_bytes(), need, what: name.to_owned() }
}

/// What a golden image predicts: the same list for both states of Secure Boot.
pub fn golden() -> BootExpectation {
    let always = |pcr, name| measurement(pcr, name, Need::Always);
    let measurements = vec![
        measurement(4, "snponly", Need::Optional),
        always(4, "shim"),
        always(4, "grub"),
        measurement(4, "kernel-pe", Need::SecureBoot),
        always(8, "cmdline"),
        always(9, "grub.cfg"),
        always(9, "kernel-file"),
        always(9, "initrd"),
    ];
    BootExpectation { measurements, ..BootExpectation::default() }
}

/// What the boot kit predicts of a recovery system started by iPXE.
pub fn recovery() -> BootExpectation {
    let mut list = vec![(4, "snponly"), (4, "uki"), (4, "uki"), (4, "kernel-pe")];
    list.extend([(9, "load-options"), (9, "initrd"), (12, "load-options")]);
    list.extend([(11, "uki.linux-name"), (11, "uki.linux"), (11, "uki.osrel-name"), (11, "uki.osrel")]);
    list.extend([(11, "uki.cmdline-name"), (11, "uki.cmdline"), (11, "uki.initrd-name"), (11, "uki.initrd")]);
    let measurements = list.into_iter().map(|(pcr, name)| measurement(pcr, name, Need::Always)).collect();
    BootExpectation { measurements, ..BootExpectation::default() }
}
