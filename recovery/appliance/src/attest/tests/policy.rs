//! The policy against real boots, and against each way of changing one.

use images::manifest::header::Need;
use proptest::prelude::*;
use recovery_protocol::tpm::{EventType, PcrMask, Sha256};

use super::super::policy::Finding;
use super::super::*;
use super::paper::{Boot, NONCE, PaperTpm, event, file_digest, golden, measurement, recovery};

fn verdict(boot: &Boot, expected: &BootExpectation) -> Verdict {
    judge(&PaperTpm::new().verified(boot), expected)
}

fn kinds(findings: &[Finding]) -> Vec<&'static str> {
    let kind = |finding: &Finding| match finding {
        Finding::NothingPredicted => "nothing",
        Finding::NotQuoted { .. } => "unquoted",
        Finding::UnexpectedBootEvent { .. } => "unexpected",
        Finding::MissingBootEvent { .. } => "missing",
        Finding::UnexpectedCommandLine { .. } => "command line",
        Finding::SecureBootUnknown => "unknown",
        Finding::SecureBootOff => "off",
        Finding::FirmwareChanged { .. } => "firmware",
        Finding::NotRebooted { .. } => "not rebooted",
        Finding::Resumed { .. } => "resumed",
        Finding::TpmFirmwareOld { .. } => "old TPM firmware",
    };
    findings.iter().map(kind).collect()
}

#[test]
fn real_boots_are_what_the_files_predict() {
    for (boot, expected, secure_boot) in [
        (Boot::golden_secure_boot(), golden(), true),
        (Boot::golden_plain(), golden(), false),
        (Boot::recovery_ipxe(), recovery(), false),
    ] {
        let verdict = verdict(&boot, &expected);
        assert_eq!(verdict.findings, []);
        assert_eq!(verdict.secure_boot, Some(secure_boot));
        assert_eq!(verdict.to_string(), "booted exactly as predicted");
    }
}

#[test]
fn one_boot_does_not_pass_for_the_other() {
    assert!(!verdict(&Boot::golden_plain(), &recovery()).passed());
    assert!(!verdict(&Boot::recovery_ipxe(), &golden()).passed());
    assert_eq!(kinds(&verdict(&Boot::golden_plain(), &BootExpectation::default()).findings), ["nothing"]);
}

#[test]
fn each_prediction_counts() {
    for boot in [Boot::golden_secure_boot(), Boot::golden_plain()] {
        let secure_boot = verdict(&boot, &golden()).secure_boot == Some(true);
        for at in 0..golden().measurements.len() {
            let mut expected = golden();
            let changed = &mut expected.measurements[at];
            let counts = changed.need == Need::Always || (changed.need == Need::SecureBoot && secure_boot);
            changed.digest[0] ^= 1;
            let other = verdict(&boot, &expected);
            assert_eq!(other.findings.len(), if counts { 2 } else { 0 }, "{at}: {other}");
            expected.measurements.remove(at);
            assert_eq!(verdict(&boot, &expected).findings.len(), usize::from(counts), "{at}");
        }
    }
}

#[test]
fn programs_must_come_in_order_and_alone() {
    let mut swapped = Boot::golden_secure_boot();
    let (shim, grub) = (swapped.program(0), swapped.program(1));
    swapped.0.events.swap(shim, grub);
    assert_eq!(kinds(&verdict(&swapped, &golden()).findings), ["unexpected", "missing"]);

    for (at, kind) in [(0, 0x8000_0003), (1, 0x8000_0003), (2, 0x8000_0003), (2, 4), (2, 0x8000_0007)] {
        let mut foreign = Boot::golden_secure_boot();
        let place = foreign.program(at);
        // Whatever type the log claims for it.
        foreign.0.events.insert(place, event(4, EventType(kind), b"bootkit.efi"));
        let findings = verdict(&foreign, &golden()).findings;
        let [Finding::UnexpectedBootEvent { pcr: 4, digest, what }] = &findings[..] else {
            panic!("{at}: {findings:?}");
        };
        assert_eq!(*digest, Sha256::of(b"bootkit.efi"));
        assert!(what.contains("bootkit.efi"), "{what}");
    }

    // One load of the kernel is measured twice, by others perhaps once; never not at all.
    let mut unverified = Boot::golden_secure_boot();
    for findings in [vec![], vec!["missing"]] {
        let kernel = unverified.program(2);
        unverified.0.events.remove(kernel);
        assert_eq!(kinds(&verdict(&unverified, &golden()).findings), findings);
    }
}

#[test]
fn a_loader_of_ours_may_have_handed_the_boot_back() {
    for tries in 0..3 {
        let mut boot = Boot::golden_plain();
        let disk = boot.program(0);
        let calling = boot.0.events[boot.find(4, "Calling")].clone();
        for _ in 0..tries {
            let mut ours = event(4, EventType::BOOT_SERVICES_APPLICATION, b"snponly");
            ours.digest = file_digest("snponly");
            let back = event(4, EventType::EFI_ACTION, b"Returning from EFI Application from Boot Option");
            for (n, event) in [ours, back, calling.clone()].into_iter().enumerate() {
                boot.0.events.insert(disk + n, event);
            }
        }
        assert_eq!(verdict(&boot, &golden()).findings, [], "{tries}");
    }
    // After the disk's own loader it has no business.
    let mut late = Boot::golden_plain();
    let place = late.program(1);
    let mut ours = event(4, EventType::BOOT_SERVICES_APPLICATION, b"snponly");
    ours.digest = file_digest("snponly");
    late.0.events.insert(place, ours);
    assert_eq!(kinds(&verdict(&late, &golden()).findings), ["unexpected"]);
}

#[test]
fn a_file_may_be_read_twice_but_not_another() {
    let mut boot = Boot::golden_plain();
    let initrd = boot.0.events[boot.find(9, "/initrd.img")].clone();
    boot.0.events.push(initrd);
    assert_eq!(verdict(&boot, &golden()).findings, []);
    boot.0.events.push(event(9, EventType::IPL, b"/evil.img"));
    assert_eq!(kinds(&verdict(&boot, &golden()).findings), ["unexpected"]);
}

#[test]
fn another_command_line_is_told_whatever_its_label() {
    for label in ["kernel_cmdline: ", "grub_cmd: "] {
        let (mut boot, evil) = (Boot::golden_secure_boot(), "/vmlinuz root=/dev/sda2 init=/bin/sh");
        let at = boot.find(8, "kernel_cmdline: ");
        boot.0.events[at].digest = Sha256::of(evil.as_bytes());
        boot.0.events[at].data = format!("{label}{evil}\0").into_bytes();
        let findings = verdict(&boot, &golden()).findings;
        assert_eq!(kinds(&findings), ["command line", "missing"], "{label}");
        assert!(findings[0].to_string().contains("init=/bin/sh"));
    }
    // The right digest under a lying text, and a text that hides what it is.
    for data in [&b"kernel_cmdline: /vmlinuz\0"[..], b"other: x\0", b""] {
        let mut boot = Boot::golden_secure_boot();
        let at = boot.find(8, "kernel_cmdline: ");
        boot.0.events[at].data = data.to_vec();
        assert_eq!(kinds(&verdict(&boot, &golden()).findings), ["unexpected"]);
    }
    // Typed at GRUB's prompt: the right line, then another.
    let mut boot = Boot::golden_secure_boot();
    boot.0.events.push(event(8, EventType::IPL, b"(hd0)/vmlinuz single"));
    boot.0.events.last_mut().unwrap().data = b"grub_cmd: (hd0)/vmlinuz single\0".to_vec();
    assert_eq!(kinds(&verdict(&boot, &golden()).findings), ["command line"]);
}

#[test]
fn secure_boot_is_what_firmware_measured_and_no_more() {
    let required = BootExpectation { require_secure_boot: true, ..golden() };
    assert!(verdict(&Boot::golden_secure_boot(), &required).passed());
    let off = verdict(&Boot::golden_plain(), &required);
    assert_eq!(kinds(&off.findings), ["off"]);
    assert!(off.only_secure_boot_off() && !off.only_firmware_changed());
    // Switched off since the baseline was recorded: still that, and nothing graver may hide behind it.
    let mut recorded = off.firmware.clone();
    recorded.pcr7_config = verdict(&Boot::golden_secure_boot(), &golden()).firmware.pcr7_config;
    let since = |firmware| BootExpectation { firmware: Some(firmware), ..required.clone() };
    let off = verdict(&Boot::golden_plain(), &since(recorded.clone()));
    assert_eq!(kinds(&off.findings), ["off", "firmware"]);
    assert!(off.only_secure_boot_off() && !off.only_firmware_changed());
    recorded.pcr0 = Sha256::ZERO;
    assert!(!verdict(&Boot::golden_plain(), &since(recorded)).only_secure_boot_off());
    let mut extra = Boot::golden_plain();
    extra.0.events.push(event(9, EventType::IPL, b"/evil.img"));
    assert!(!verdict(&extra, &required).only_secure_boot_off());

    let on = Boot::golden_secure_boot();
    let variable = on.0.events[on.find(7, "")].clone();
    // A lie in the data alone does not help: it must match its digest.
    let mut lie = Boot::golden_plain();
    let at = lie.0.events.iter().position(|e| e.pcr == 7).unwrap();
    lie.0.events[at].data.clone_from(&variable.data);
    assert_eq!(kinds(&verdict(&lie, &required).findings), ["unknown"]);
    // Said twice, before the separator: whom to believe? After it: not the firmware.
    let mut twice = Boot::golden_plain();
    twice.0.events.insert(at, variable.clone());
    assert!(kinds(&verdict(&twice, &golden()).findings).contains(&"unknown"));
    let mut late = Boot::golden_plain();
    late.0.events.push(variable);
    assert_eq!(verdict(&late, &golden()).secure_boot, Some(false));
}

#[test]
fn firmware_is_compared_with_its_baseline_across_boots() {
    let baseline = verdict(&Boot::golden_plain(), &golden()).firmware;
    let expected = BootExpectation { firmware: Some(baseline.clone()), ..golden() };
    assert!(verdict(&Boot::golden_plain(), &expected).passed());
    // The recovery system boots by another chain, on the same firmware.
    let recovery_boot = verdict(&Boot::recovery_ipxe(), &recovery()).firmware;
    assert_eq!(recovery_boot, baseline);

    let keys_changed = verdict(&Boot::golden_secure_boot(), &expected);
    assert!(keys_changed.only_firmware_changed(), "{keys_changed}");
    assert!(keys_changed.findings.iter().any(|f| matches!(f, Finding::FirmwareChanged { pcr: 7, .. })));
    let mut implant = Boot::golden_plain();
    implant.0.events.insert(0, event(2, EventType::BOOT_SERVICES_DRIVER, b"implant"));
    let implanted = verdict(&implant, &expected);
    assert!(implanted.only_firmware_changed());
    assert!(matches!(implanted.findings[..], [Finding::FirmwareChanged { pcr: 2, .. }]));
    implant.0.events.push(event(9, EventType::IPL, b"too"));
    assert!(!verdict(&implant, &expected).only_firmware_changed());
}

#[test]
fn a_reboot_must_have_happened() {
    let after = |reset_since| {
        let expected = BootExpectation { reset_since: Some(reset_since), ..golden() };
        kinds(&verdict(&Boot::golden_plain(), &expected).findings)
    };
    assert!(after(6).is_empty());
    assert_eq!((after(7), after(8)), (vec!["not rebooted"], vec!["not rebooted"]));
}

#[test]
fn what_was_not_quoted_is_not_assumed() {
    let (tpm, boot) = (PaperTpm::new(), Boot::golden_plain());
    let mut attest = tpm.attest(&boot);
    let few = [0, 2, 4, 7, 9];
    let mut pcrs = boot.values();
    pcrs.0.retain(|pcr, _| few.contains(pcr));
    if let recovery_protocol::tpm::Attested::Quote { selection, pcr_digest } = &mut attest.attested {
        selection[0].pcrs = pcrs.mask();
        *pcr_digest = pcrs.digest().as_bytes().to_vec();
    }
    let (attest, event_log) = (attest.to_bytes(), boot.encode());
    let signature = tpm.sign(&attest);
    let evidence =
        QuoteEvidence { attest: &attest, signature: &signature, pcrs: &pcrs, event_log: &event_log };
    let quote = verify_quote(&tpm.ak_public(), &NONCE, PcrMask::of(&few), &evidence).unwrap();
    assert_eq!(kinds(&judge(&quote, &golden()).findings), ["unquoted"; 3]);
    let mut more = golden();
    more.measurements.push(measurement(13, "initrd", Need::Always));
    assert_eq!(kinds(&judge(&quote, &more).findings), ["unquoted"; 4]);
}

#[test]
fn a_verdict_goes_into_evidence_and_comes_back() {
    let mut boot = Boot::golden_plain();
    boot.0.events.push(event(9, EventType::IPL, b"/evil.img"));
    let verdict = verdict(&boot, &golden());
    let json = serde_json::to_string(&verdict).unwrap();
    assert!(json.contains("unexpected_boot_event") && json.contains("/evil.img"), "{json}");
    assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
    assert!(verdict.to_string().starts_with("PCR 9 holds "), "{verdict}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a boot measures differently in PCR 4 or 9 is found, under any type and data.
    #[test]
    fn no_difference_passes(
        pick: prop::sample::Index, how in 0..3, kind: u32, data in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut boot = Boot::golden_secure_boot();
        let first = boot.program(0);
        let judged = |e: &recovery_protocol::tpm::Event| e.pcr == 4 || e.pcr == 9;
        let places: Vec<usize> = (first..boot.0.events.len()).filter(|i| judged(&boot.0.events[*i])).collect();
        let at = *pick.get(&places);
        let kind = if kind == 3 { 4 } else { kind };
        let (pcr, digest) = (boot.0.events[at].pcr, boot.0.events[at].digest);
        let twice = boot.0.of_pcr(pcr).filter(|e| e.digest == digest).count() > 1;
        match how {
            0 => {
                prop_assume!(!twice);
                boot.0.events.remove(at);
            }
            1 => boot.0.events[at].digest.0.0[31] ^= 1,
            _ => boot.0.events.insert(at, event(pcr, EventType(kind), &data)),
        }
        boot.0.events[first].kind = EventType(kind);
        let verdict = verdict(&boot, &golden());
        prop_assert!(!verdict.passed());
    }
}
