//! Every lie that the field knows, each refused by a check of its own: by its name, since only the name stays.

use std::collections::BTreeSet;

use recovery_protocol::tpm::pcr::Selection;
use recovery_protocol::tpm::{Attest, Attested, ClockInfo, EccPublic, EventType, PcrMask, PcrValues, Sha256};

use super::super::*;
use super::paper::{self, Boot, NONCE, PaperTpm, event};

const ALG_SHA384: u16 = 0x000c;

/// What somebody sends in the place of an honest quote.
struct Lie {
    tpm: PaperTpm,
    attest: Attest,
    pcrs: PcrValues,
    log: Vec<u8>,
    expected: BootExpectation,
}

impl Lie {
    fn about(boot: &Boot) -> Self {
        let tpm = PaperTpm::new();
        let (attest, expected) = (tpm.attest(boot), paper::golden());
        Self { attest, pcrs: boot.values(), log: boot.encode(), expected, tpm }
    }

    fn quoted(&mut self) -> (&mut Vec<Selection>, &mut Vec<u8>) {
        match &mut self.attest.attested {
            Attested::Quote { selection, pcr_digest } => (selection, pcr_digest),
            Attested::Certify { .. } => panic!("not a quote"),
        }
    }

    /// The checks that refuse it.
    fn told(&self) -> Vec<&'static str> {
        let bytes = self.attest.to_bytes();
        self.told_of(&bytes, &self.tpm.sign(&bytes))
    }

    fn told_of(&self, attest: &[u8], signature: &[u8]) -> Vec<&'static str> {
        let evidence = QuoteEvidence { attest, signature, pcrs: &self.pcrs, event_log: &self.log };
        match verify_quote(&self.tpm.ak_public(), &NONCE, PcrMask::of(&QUOTED_PCRS), &evidence) {
            Ok(quote) => judge(&quote, &self.expected).codes(),
            Err(error) => vec![error.code()],
        }
    }
}

fn lie(change: impl FnOnce(&mut Lie)) -> Vec<&'static str> {
    let mut lie = Lie::about(&Boot::golden_secure_boot());
    change(&mut lie);
    lie.told()
}

/// A boot that was measured so, and quoted honestly.
fn booted(change: impl FnOnce(&mut Boot)) -> Vec<&'static str> {
    let mut boot = Boot::golden_secure_boot();
    change(&mut boot);
    Lie::about(&boot).told()
}

fn command_line(text: &[u8]) -> impl Fn(&mut Boot) {
    move |boot| {
        let at = boot.find(8, "kernel_cmdline");
        // GRUB's digest is over the text without its label.
        boot.0.events[at].data = [b"kernel_cmdline: ", text].concat();
        boot.0.events[at].digest = Sha256::of(text);
    }
}

fn of_the_quote() -> Vec<(&'static str, Vec<&'static str>)> {
    let honest = Lie::about(&Boot::golden_secure_boot());
    let bytes = honest.attest.to_bytes();
    let (mut no_tpm, mut long) = (bytes.clone(), bytes.clone());
    no_tpm[0] ^= 1;
    long.push(0);
    let signed = |bytes: &[u8]| honest.told_of(bytes, &honest.tpm.sign(bytes));
    let certify = Attested::Certify { name: vec![0; 34], qualified_name: vec![0; 34] };
    vec![
        ("quote-signature-form", honest.told_of(&bytes, &[0, 0x14, 0, 11])),
        ("quote-signature", honest.told_of(&bytes, &PaperTpm::new().sign(&bytes))),
        ("quote-not-generated", signed(&no_tpm)),
        ("quote-form", signed(&long)),
        ("quote-type", lie(|l| l.attest.attested = certify)),
        ("quote-signer", lie(|l| l.attest.signer = vec![0; 34])),
        ("quote-nonce", lie(|l| l.attest.extra_data = vec![7; 32])),
        ("quote-bank", lie(|l| l.quoted().0[0].bank = ALG_SHA384)),
        ("quote-selection", lie(|l| l.quoted().0.clear())),
        ("quote-values", lie(|l| l.pcrs.0.retain(|pcr, _| *pcr != 9))),
        ("quote-pcr-digest", lie(|l| l.pcrs.0.extend([(9, Sha256::ZERO)]))),
    ]
}

fn of_the_log() -> Vec<(&'static str, Vec<&'static str>)> {
    let relabelled = |l: &mut Lie| {
        let mut boot = Boot::golden_secure_boot();
        let kernel = boot.program(2);
        boot.0.events[kernel].kind = EventType::NO_ACTION;
        l.log = boot.encode();
    };
    let closed_late =
        |boot: &mut Boot| boot.0.events.push(event(0, EventType::BOOT_SERVICES_DRIVER, b"late"));
    vec![
        ("log-missing", lie(|l| l.log.clear())),
        ("log-form", lie(|l| l.log.truncate(l.log.len() - 1))),
        ("log-replay", lie(relabelled)),
        ("log-replay", lie(|l| l.log = Boot::golden_plain().encode())),
        ("log-separator", booted(|b| b.0.events.push(event(4, EventType::SEPARATOR, &[0; 4])))),
        ("log-after-separator", booted(closed_late)),
    ]
}

fn of_the_boot() -> Vec<(&'static str, Vec<&'static str>)> {
    let counted = |clock: ClockInfo, since: Option<u32>| {
        lie(|l| {
            l.attest.clock = clock;
            l.expected.reset_since = since;
        })
    };
    let honest = Lie::about(&Boot::golden_secure_boot()).attest.clock;
    let baseline = |pcr0, pcr2, pcr7_config| FirmwareBaseline { pcr0, pcr2, pcr7_config };
    let tpm = PaperTpm::new();
    let known = judge(&tpm.verified(&Boot::golden_secure_boot()), &paper::golden()).firmware;
    let other = Sha256::of(b"another");
    let firmware = |baseline| lie(|l| l.expected.firmware = Some(baseline));
    let loader = |boot: &mut Boot| {
        let at = boot.program(1);
        boot.0.events.insert(at, event(4, EventType::BOOT_SERVICES_APPLICATION, b"bootkit"));
    };
    let unsaid = || {
        let mut boot = Boot::golden_plain();
        boot.0.events.remove(boot.find(7, "SecureBoot"));
        Lie::about(&boot).told()
    };
    vec![
        ("boot-nothing-predicted", lie(|l| l.expected.measurements.clear())),
        ("boot-unexpected", booted(loader)),
        ("boot-missing", booted(|b| drop(b.0.events.remove(b.program(0))))),
        ("secure-boot-unknown", unsaid()),
        ("firmware-pcr0", firmware(baseline(other, known.pcr2, known.pcr7_config))),
        ("firmware-pcr2", firmware(baseline(known.pcr0, other, known.pcr7_config))),
        ("firmware-pcr7", firmware(baseline(known.pcr0, known.pcr2, other))),
        ("not-rebooted", counted(honest, Some(honest.reset_count))),
        ("resumed", counted(ClockInfo { restart_count: 1, ..honest }, Some(honest.reset_count - 1))),
        ("tpm-firmware-old", lie(|l| l.expected.tpm_firmware_min = Some(2))),
    ]
}

#[test]
fn each_lie_is_refused_by_its_own_check_and_no_other() {
    assert_eq!(lie(|_| ()), Vec::<&str>::new(), "the honest one passes");
    for (check, told) in of_the_quote().into_iter().chain(of_the_log()).chain(of_the_boot()) {
        assert_eq!(told, [check]);
    }
    // A changed command line is another one, and the predicted one is missing.
    let debug = booted(command_line(b"/vmlinuz root=/dev/vda2 systemd.debug_shell"));
    assert_eq!(debug, ["boot-command-line", "boot-missing"]);
    let off = Lie {
        expected: BootExpectation { require_secure_boot: true, ..paper::golden() },
        ..Lie::about(&Boot::golden_plain())
    };
    assert_eq!(off.told(), ["secure-boot-off"]);
}

#[test]
fn each_key_is_refused_by_its_own_check() {
    let (ek, ak) = (EccPublic::ek_template(), EccPublic::ak_template());
    let ek_of = |key: &EccPublic| EkPublic::parse(&key.to_bytes()).unwrap_err().code();
    let ak_of = |key: &EccPublic| AkPublic::parse(&key.to_bytes()).unwrap_err().code();
    let trailing = [&ak.to_bytes()[..], &[0]].concat();
    let told = [
        EkPublic::parse(&[]).unwrap_err().code(),
        ek_of(&EccPublic { attributes: ek.attributes ^ 0x40, ..ek.clone() }),
        ek_of(&EccPublic { policy: vec![0; 32], ..ek.clone() }),
        ek_of(&EccPublic { purpose: ak.purpose, ..ek.clone() }),
        AkPublic::parse(&trailing).unwrap_err().code(),
        ak_of(&EccPublic { attributes: ak.attributes & !(1 << 16), ..ak.clone() }),
        ak_of(&EccPublic { attributes: ak.attributes & !2, ..ak.clone() }),
        ak_of(&EccPublic { policy: vec![1; 32], ..ak.clone() }),
        ak_of(&EccPublic { purpose: ek.purpose, ..ak.clone() }),
    ];
    let expected = [
        "ek-form",
        "ek-attributes",
        "ek-policy",
        "ek-scheme",
        "ak-form",
        "ak-unrestricted",
        "ak-attributes",
        "ak-policy",
        "ak-scheme",
    ];
    assert_eq!(told, expected);
}

#[test]
fn no_two_checks_have_one_name() {
    let all = of_the_quote().into_iter().chain(of_the_log()).chain(of_the_boot());
    let names: Vec<&str> = all.map(|(check, _)| check).collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    // The log that does not explain the values is told twice above.
    assert_eq!(names.len(), once.len() + 1);
}
