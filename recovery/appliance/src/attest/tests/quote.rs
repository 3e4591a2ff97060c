//! Quotes and certifications: honest ones, and each lie by its own name.

use recovery_protocol::tpm::event_log::LogError;
use recovery_protocol::tpm::pcr::Selection;
use recovery_protocol::tpm::{
    Attested, ClockInfo, CodecError, EccPublic, EventType, PcrMask, PcrValues, Sha256,
};

use super::super::quote::CertifyError;
use super::super::*;
use super::paper::{Boot, NONCE, PaperTpm, event};

const ALG_SHA384: u16 = 0x000c;

fn quoted(attested: &mut Attested) -> (&mut Vec<Selection>, &mut Vec<u8>) {
    match attested {
        Attested::Quote { selection, pcr_digest } => (selection, pcr_digest),
        Attested::Certify { .. } => panic!("not a quote"),
    }
}

#[test]
fn logs_of_real_boots_lead_to_what_the_kernel_read_from_the_tpm() {
    let fixtures = [
        (Boot::golden_secure_boot(), include_str!("../fixtures/golden-secure-boot.pcrs")),
        (Boot::golden_plain(), include_str!("../fixtures/golden-plain.pcrs")),
        (Boot::recovery_ipxe(), include_str!("../fixtures/recovery-ipxe.pcrs")),
    ];
    for (boot, pcrs) in fixtures {
        let replayed = boot.0.replay();
        for line in pcrs.lines() {
            let (pcr, value) = line.split_once(' ').unwrap();
            // PCR 10 is the kernel's own (IMA), extended after the boot.
            if pcr != "10" {
                assert_eq!(replayed[pcr.parse::<usize>().unwrap()], value.parse().unwrap(), "PCR {pcr}");
            }
        }
    }
}

#[test]
fn programs_of_real_boots_are_named_for_people() {
    let names = |boot: &Boot| -> Vec<String> {
        let programs = boot.0.of_pcr(4).filter(|e| e.kind == EventType::BOOT_SERVICES_APPLICATION);
        programs.map(recovery_protocol::tpm::Event::text).collect()
    };
    let golden = names(&Boot::golden_secure_boot());
    assert_eq!(golden[..2], [r"\EFI\BOOT\BOOTX64.EFI", r"\EFI\BOOT\grubx64.efi"]);
    assert_eq!(names(&Boot::recovery_ipxe())[0], "from the network");
}

#[test]
fn an_honest_quote_is_believed() {
    let (tpm, boot) = (PaperTpm::new(), Boot::golden_secure_boot());
    let quote = tpm.verified(&boot);
    assert_eq!(quote.pcrs(), &boot.values());
    assert_eq!(quote.clock().reset_count, 7);
    assert_eq!(quote.firmware_version(), 1);
    assert!(quote.rebooted_since(6) && !quote.rebooted_since(7) && !quote.rebooted_since(8));
    assert_eq!(quote.events(1).count(), 0, "what was not quoted is not told");
}

#[test]
fn another_ak_or_an_altered_quote_is_a_wrong_signature() {
    let (tpm, other, boot) = (PaperTpm::new(), PaperTpm::new(), Boot::golden_plain());
    let (attest, pcrs, log) = (tpm.attest(&boot).to_bytes(), boot.values(), boot.encode());
    let verify = |ak: &AkPublic, attest: &[u8], signature: &[u8]| {
        let evidence = QuoteEvidence { attest, signature, pcrs: &pcrs, event_log: &log };
        verify_quote(ak, &NONCE, PcrMask::of(&QUOTED_PCRS), &evidence)
    };
    let signature = tpm.sign(&attest);
    assert!(verify(&tpm.ak_public(), &attest, &signature).is_ok());
    assert_eq!(verify(&other.ak_public(), &attest, &signature), Err(QuoteError::Signature));
    for at in 0..attest.len() {
        let mut altered = attest.clone();
        altered[at] ^= 1;
        assert_eq!(verify(&tpm.ak_public(), &altered, &signature), Err(QuoteError::Signature), "byte {at}");
    }
    let form = verify(&tpm.ak_public(), &attest, &signature[1..]);
    assert!(matches!(form, Err(QuoteError::SignatureForm(_))));
}

#[test]
fn what_no_tpm_generated_is_refused_though_signed() {
    let (tpm, boot) = (PaperTpm::new(), Boot::golden_plain());
    let mut attest = tpm.attest(&boot).to_bytes();
    attest[0] = 0;
    let (signature, pcrs, log) = (tpm.sign(&attest), boot.values(), boot.encode());
    let evidence = QuoteEvidence { attest: &attest, signature: &signature, pcrs: &pcrs, event_log: &log };
    let refused = verify_quote(&tpm.ak_public(), &NONCE, PcrMask::of(&QUOTED_PCRS), &evidence);
    assert_eq!(refused, Err(QuoteError::NotGenerated));
}

#[test]
fn each_field_of_a_quote_has_its_own_refusal() {
    let (tpm, boot) = (PaperTpm::new(), Boot::golden_plain());
    let asked = PcrMask::of(&QUOTED_PCRS);
    let refusal = |lie: &dyn Fn(&mut recovery_protocol::tpm::Attest)| {
        let mut attest = tpm.attest(&boot);
        lie(&mut attest);
        tpm.verify(&attest, &boot).unwrap_err()
    };
    let selection = QuoteError::Selection { expected: asked };
    assert_eq!(refusal(&|a| a.extra_data = vec![0; 32]), QuoteError::Nonce, "nonce of another job");
    assert_eq!(refusal(&|a| a.extra_data.clear()), QuoteError::Nonce);
    assert_eq!(refusal(&|a| a.signer = vec![0; 34]), QuoteError::Signer, "a key of another hierarchy");
    let bank = QuoteError::Bank { bank: ALG_SHA384 };
    assert_eq!(refusal(&|a| quoted(&mut a.attested).0[0].bank = ALG_SHA384), bank, "another bank");
    assert_eq!(refusal(&|a| quoted(&mut a.attested).0.clear()), selection, "no PCRs");
    assert_eq!(refusal(&|a| quoted(&mut a.attested).0[0].pcrs = PcrMask::of(&[4])), selection);
    let two_banks = refusal(&|a| {
        let selections = quoted(&mut a.attested).0;
        selections.push(Selection { bank: ALG_SHA384, ..selections[0] });
    });
    assert_eq!(two_banks, bank);
    assert_eq!(refusal(&|a| quoted(&mut a.attested).1[0] ^= 1), QuoteError::PcrDigest);
    let certify = Attested::Certify { name: vec![0; 34], qualified_name: vec![0; 34] };
    assert_eq!(refusal(&|a| a.attested = certify.clone()), QuoteError::NotAQuote);
}

/// Verifies an honest quote over `boot` with another log.
fn with_log(boot: &Boot, log: &[u8]) -> Result<VerifiedQuote, QuoteError> {
    let tpm = PaperTpm::new();
    let (attest, pcrs) = (tpm.attest(boot).to_bytes(), boot.values());
    let signature = tpm.sign(&attest);
    let evidence = QuoteEvidence { attest: &attest, signature: &signature, pcrs: &pcrs, event_log: log };
    verify_quote(&tpm.ak_public(), &NONCE, PcrMask::of(&QUOTED_PCRS), &evidence)
}

#[test]
fn values_must_be_those_asked_for() {
    let (tpm, boot) = (PaperTpm::new(), Boot::golden_plain());
    let (attest, log) = (tpm.attest(&boot).to_bytes(), boot.encode());
    let signature = tpm.sign(&attest);
    let verify = |pcrs: &PcrValues| {
        let evidence = QuoteEvidence { attest: &attest, signature: &signature, pcrs, event_log: &log };
        verify_quote(&tpm.ak_public(), &NONCE, PcrMask::of(&QUOTED_PCRS), &evidence).unwrap_err()
    };
    let mut fewer = boot.values();
    fewer.0.remove(&9);
    assert!(matches!(verify(&fewer), QuoteError::Values { .. }));
    let mut other = boot.values();
    other.0.insert(9, Sha256::ZERO);
    assert_eq!(verify(&other), QuoteError::PcrDigest);
}

#[test]
fn a_log_must_explain_the_values() {
    let boot = Boot::golden_secure_boot();
    assert_eq!(with_log(&boot, &[]), Err(QuoteError::NoLog));
    let log = boot.encode();
    assert!(matches!(with_log(&boot, &log[..log.len() - 1]), Err(QuoteError::Log(LogError::Short { .. }))));
    assert!(matches!(with_log(&boot, &Boot::golden_plain().encode()), Err(QuoteError::Replay { .. })));

    // Extended after the log was written: by a rootkit that hopes to be forgotten.
    let mut after = boot.clone();
    after.0.events.push(event(9, EventType::IPL, b"rootkit"));
    assert!(matches!(with_log(&after, &log), Err(QuoteError::Replay { pcr: 9, .. })));
    // A PCR without events must be in its initial state.
    let mut unlogged = boot.clone();
    unlogged.0.events.push(event(12, EventType::IPL, b"unlogged"));
    assert!(matches!(with_log(&unlogged, &log), Err(QuoteError::Replay { pcr: 12, .. })));
    // An extended event relabelled as informational is not replayed, so it is missed.
    let mut hidden = boot.clone();
    let kernel = hidden.program(2);
    hidden.0.events[kernel].kind = EventType::NO_ACTION;
    assert!(matches!(with_log(&boot, &hidden.encode()), Err(QuoteError::Replay { pcr: 4, .. })));
}

#[test]
fn the_firmware_must_close_its_pcrs_once_and_leave_them() {
    let tpm = PaperTpm::new();
    let refusal = |lie: &dyn Fn(&mut Boot)| {
        let mut boot = Boot::golden_plain();
        lie(&mut boot);
        tpm.verify(&tpm.attest(&boot), &boot).unwrap_err()
    };
    let close = |pcr| event(pcr, EventType::SEPARATOR, &[0; 4]);
    for pcr in [0, 2, 4, 7] {
        let twice = refusal(&|boot| boot.0.events.push(close(pcr)));
        assert_eq!(twice, QuoteError::Separator { pcr, count: 2 });
        let never =
            refusal(&|boot| boot.0.events.retain(|e| e.pcr != pcr || e.digest != Sha256::of(&[0; 4])));
        assert_eq!(never, QuoteError::Separator { pcr, count: 0 });
    }
    for pcr in [0, 2] {
        let late = refusal(&|boot| boot.0.events.push(event(pcr, EventType::BOOT_SERVICES_DRIVER, b"late")));
        assert_eq!(late, QuoteError::AfterSeparator { pcr });
    }
}

/// A TLS key and the AK's word for it.
fn certification(tpm: &PaperTpm, key: &EccPublic) -> recovery_protocol::tpm::Attest {
    let name = key.name().to_vec();
    let qualified_name = super::super::credential::qualified_name(&key.name()).to_vec();
    let boot = Boot::golden_plain();
    recovery_protocol::tpm::Attest {
        attested: Attested::Certify { name, qualified_name },
        ..tpm.attest(&boot)
    }
}

#[test]
fn a_tls_key_is_believed_only_with_the_aks_word_for_it() {
    let tpm = PaperTpm::new();
    let tls = EccPublic { unique: PaperTpm::new().ak.unique, ..EccPublic::tls_template(&[0; 32]) };
    let foreign = EccPublic { unique: PaperTpm::new().ak.unique, ..EccPublic::tls_template(&[0; 32]) };
    let honest = certification(&tpm, &tls);
    let verify = |key: &EccPublic, attest: &recovery_protocol::tpm::Attest| {
        let attest = attest.to_bytes();
        verify_certify(&tpm.ak_public(), &NONCE, &key.to_bytes(), &attest, &tpm.sign(&attest))
    };
    assert_eq!(verify(&tls, &honest).unwrap().spki_der(), tls.spki_der());
    assert_eq!(verify(&foreign, &honest), Err(CertifyError::OtherKey));
    let mut elsewhere = honest.clone();
    if let Attested::Certify { qualified_name, .. } = &mut elsewhere.attested {
        qualified_name[5] ^= 1;
    }
    assert_eq!(verify(&tls, &elsewhere), Err(CertifyError::OtherKey));
    let replayed = recovery_protocol::tpm::Attest { extra_data: vec![1; 32], ..honest.clone() };
    assert_eq!(verify(&tls, &replayed), Err(CertifyError::Nonce));
    assert_eq!(verify(&tls, &tpm.attest(&Boot::golden_plain())), Err(CertifyError::NotACertification));
    // A key that may leave its TPM (fixedTPM and fixedParent off), and the AK itself.
    for attributes in [0x0004_0460, tpm.ak.attributes] {
        let loose = EccPublic { attributes, ..tls.clone() };
        let refused = verify(&loose, &certification(&tpm, &loose));
        assert_eq!(refused, Err(CertifyError::Attributes { attributes }));
    }
    assert!(matches!(
        verify_certify(&tpm.ak_public(), &NONCE, &[1], &[], &[]),
        Err(CertifyError::Key(CodecError::Short { .. }))
    ));
    let (attest, other) = (honest.to_bytes(), PaperTpm::new());
    let by_other = verify_certify(&tpm.ak_public(), &NONCE, &tls.to_bytes(), &attest, &other.sign(&attest));
    assert_eq!(by_other, Err(CertifyError::Signature));
}

#[test]
fn clock_is_told_as_signed() {
    let (tpm, boot) = (PaperTpm::new(), Boot::recovery_ipxe());
    let clock = ClockInfo { clock: 5, reset_count: 41, restart_count: 2, safe: false };
    let attest = recovery_protocol::tpm::Attest { clock, ..tpm.attest(&boot) };
    assert_eq!(tpm.verify(&attest, &boot).unwrap().clock(), clock);
}
