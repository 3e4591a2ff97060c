//! The agent API with a TPM on paper: it signs the logs of real boots, and lies where a test says so. It cannot open our
//! credentials, so a test tells it the secret by the back door; that a real TPM opens them is tested with the agent.

use images::manifest::header::Need;
use recovery_protocol::{
    agent::{Base64, CertifiedKey, Challenge, EnrolOrder, Proof, ProofReply, TpmIdentity},
    tpm::{ALG_SHA256, Attest, Attested, ClockInfo, EccPublic, EventType, Point, RsaEkPublic, Sha256},
};

use super::*;
use crate::attest::tests::{
    maker::Maker,
    paper::{self, Boot, PaperTpm},
};

const SECRET: &[u8] = b"what the TPM found inside";
const SECRET_RSA: &[u8] = b"what its RSA key found inside";
const AUTO: &str = "[groups.default]\nmode = \"auto\"\ncool_down_s = 0\n";

/// An endpoint's TPM: two keys, and how often it was reset.
pub(super) struct Tpm {
    paper: PaperTpm,
    ek: EccPublic,
    certificate: Option<Vec<u8>>,
    rsa: Option<RsaEkPublic>,
    opens_rsa: bool,
    pub(super) resets: u32,
    pub(super) firmware: u64,
}

impl Tpm {
    pub(super) fn new() -> Self {
        let ek = EccPublic { unique: PaperTpm::new().ak.unique, ..EccPublic::ek_template() };
        Self {
            paper: PaperTpm::new(),
            ek,
            certificate: None,
            rsa: None,
            opens_rsa: true,
            resets: 7,
            firmware: 9,
        }
    }

    fn identity(&self) -> TpmIdentity {
        TpmIdentity {
            ek_public: Base64(self.ek.to_bytes()),
            ek_certificate: self.certificate.clone().map(Base64),
            ek_certificate_chain: Base64::default(),
            rsa_ek_public: self.rsa.as_ref().map(|rsa| Base64(rsa.to_bytes())),
            ak_public: Base64(self.paper.ak.to_bytes()),
        }
    }

    pub(super) fn hello(&self, booted_as: BootedAs, ticket: Option<&str>) -> Hello {
        Hello { tpm: Some(self.identity()), ..hello(booted_as, ticket) }
    }

    fn signed(&self, challenge: &Challenge, boot: &Boot, attested: Option<Attested>) -> (Base64, Base64) {
        let honest = self.paper.attest(boot);
        let attest = Attest {
            extra_data: challenge.nonce.0.clone(),
            clock: ClockInfo { reset_count: self.resets, ..honest.clock },
            attested: attested.unwrap_or_else(|| honest.attested.clone()),
            firmware_version: self.firmware,
            ..honest
        };
        let bytes = attest.to_bytes();
        let signature = self.paper.sign(&bytes);
        (Base64(bytes), Base64(signature))
    }

    pub(super) fn proof(&self, challenge: &Challenge, boot: &Boot, tls: Option<&rcgen::KeyPair>) -> Proof {
        let (quote, signature) = self.signed(challenge, boot, None);
        Proof {
            session: challenge.session.clone(),
            activated: Base64(SECRET.to_vec()),
            activated_rsa: challenge
                .rsa
                .as_ref()
                .filter(|_| self.opens_rsa)
                .map(|_| Base64(SECRET_RSA.to_vec())),
            quote,
            signature,
            event_log: Base64(boot.encode()),
            pcrs: boot
                .values()
                .0
                .iter()
                .map(|(pcr, value)| (*pcr, Base64(value.as_bytes().to_vec())))
                .collect(),
            tls_key: tls.map(|key| self.certified(challenge, boot, key)),
        }
    }

    /// The AK's word that this key lies in its TPM (TPM 2.0 Part 1 section 16.5 for the qualified name).
    fn certified(&self, challenge: &Challenge, boot: &Boot, key: &rcgen::KeyPair) -> CertifiedKey {
        let unique = Point::from_uncompressed(key.public_key_raw()).unwrap();
        let public = EccPublic { unique, ..EccPublic::tls_template(&[0; 32]) };
        let name = public.name().to_vec();
        let hash = Sha256::of_parts(&[&0x4000_000b_u32.to_be_bytes(), &name]);
        let qualified_name = [&ALG_SHA256.to_be_bytes()[..], hash.as_bytes()].concat();
        let (attest, signature) =
            self.signed(challenge, boot, Some(Attested::Certify { name, qualified_name }));
        CertifiedKey { public: Base64(public.to_bytes()), attest, signature }
    }
}

fn tls_key() -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

impl Site {
    pub(super) async fn with_tpm(more: &str) -> Self {
        let recovery = Expectations::one(paper::recovery().measurements)
            .with_handed_back(paper::measurement(4, "snponly", Need::Optional));
        // The image knows nothing of the network boot programs of whoever restores it.
        let golden = paper::golden().measurements.into_iter().filter(|m| m.need != Need::Optional);
        Self::of(more, golden.collect(), recovery).await
    }

    /// Hello; the challenge, with its secret replaced by one that the paper TPM knows.
    pub(super) async fn challenged(&self, hello: &Hello) -> Challenge {
        let HelloReply::Challenge(challenge) = self.hello(hello).await.unwrap() else {
            panic!("no challenge")
        };
        let mut tx = self.journal.begin().await.unwrap();
        let hash = crate::keys::secret_hash(&challenge.session);
        let mut session = db::session::get(tx.conn(), &hash).await.unwrap().unwrap();
        session.record.secret_hash = crate::keys::spki_sha256(SECRET);
        assert_eq!(session.record.rsa_secret_hash.is_empty(), challenge.rsa.is_none());
        if challenge.rsa.is_some() {
            session.record.rsa_secret_hash = crate::keys::spki_sha256(SECRET_RSA);
        }
        db::session::put(tx.conn(), &session).await.unwrap();
        tx.commit().await.unwrap();
        challenge
    }

    pub(super) async fn prove(&self, proof: &Proof) -> Result<ProofReply, Problem> {
        self.say("proof", proof).await
    }

    /// The recovery system proves itself; its session.
    pub(super) async fn proven(&self, tpm: &Tpm, boot: &Boot) -> Result<String, Problem> {
        let challenge = self.challenged(&tpm.hello(BootedAs::RecoverySystem, None)).await;
        self.prove(&tpm.proof(&challenge, boot, None)).await.map(|_| challenge.session)
    }

    /// The restored system proves itself with its ticket and a key.
    async fn golden(
        &self,
        tpm: &Tpm,
        ticket: &str,
        boot: &Boot,
        tls: &rcgen::KeyPair,
    ) -> Result<(String, EnrolOrder), Problem> {
        let challenge = self.challenged(&tpm.hello(BootedAs::GoldenSystem, Some(ticket))).await;
        match self.prove(&tpm.proof(&challenge, boot, Some(tls))).await? {
            ProofReply::Enrol(order) => Ok((challenge.session, order)),
            other => panic!("{other:?}"),
        }
    }

    /// EST, as the door in `enrol/` does it, and the report.
    async fn enrolled(&self, session: &str, order: &EnrolOrder, tls: &rcgen::KeyPair) {
        let spki = rcgen::PublicKeyData::subject_public_key_info(tls);
        let grant = self.service.redeem_est(&order.user, &order.password, &spki).await.unwrap();
        assert_eq!((grant.endpoint.as_str(), grant.issued), ("press-01", None));
        let certificate =
            rcgen::CertificateParams::new(vec!["press-01".to_owned()]).unwrap().self_signed(tls).unwrap();
        self.service.certificate_issued(order.job, "0a0b", certificate.der()).await.unwrap();
        let again = self.service.redeem_est(&order.user, &order.password, &spki).await.unwrap();
        assert_eq!(
            again.issued.as_deref(),
            Some(&certificate.der()[..]),
            "a lost answer gets the same certificate"
        );
        let what = Reported::Enrolled { certificate_serial: "0A0B".into() };
        let report = Report { session: session.to_owned(), job: order.job, step_seq: 0, what };
        let reply: ReportReply = self.say("report", &report).await.unwrap();
        assert_eq!(reply, ReportReply::Continue);
        self.runner.settle().await.unwrap();
    }

    /// A whole recovery.
    pub(super) async fn recovered(&self, tpm: &mut Tpm) -> JobView {
        let job = self.recover().await;
        let session = self.proven(tpm, &Boot::recovery_ipxe()).await.unwrap();
        let ticket = self.restore(&session).await;
        tpm.resets += 1;
        let tls = tls_key();
        let (session, order) = self.golden(tpm, &ticket.secret, &Boot::golden_plain(), &tls).await.unwrap();
        self.enrolled(&session, &order, &tls).await;
        self.service.job(job.job).await.unwrap()
    }

    pub(super) async fn held_for(&self, reason: HoldReason) -> bool {
        let jobs = self.service.jobs(None).await.unwrap();
        matches!(&jobs[0].state, JobState::Held { reason: found, .. } if *found == reason)
    }
}

#[tokio::test]
async fn an_endpoint_with_a_tpm_is_pinned_restored_proven_and_enrolled() {
    let (site, mut tpm) = (Site::with_tpm("").await, Tpm::new());
    let job = site.recovered(&mut tpm).await;
    assert_eq!(job.state, JobState::Recovered);
    let endpoint = site.service.endpoint(&"press-01".parse().unwrap()).await.unwrap();
    assert_eq!(endpoint.state, EndpointState::Trusted);
    assert_eq!(endpoint.certificate_serial.as_deref(), Some("0a0b"));
    assert_eq!(endpoint.ek_sha256, Some(tpm.ek.spki_sha256().to_string()));
    assert!(endpoint.proven_unix_ms.is_some());
    let kinds = site.kinds().await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "proof.quote").count(), 2);
    assert_eq!(site.facts_of("proof.quote").await[1]["more"]["resets_since_recovery_system"], 1);

    // Whoever has the log can check the quote again, without us.
    let sent = &site.facts_of("proof.quote").await[1]["more"]["sent"];
    let bytes = |field: &str| serde_json::from_value::<Base64>(sent[field].clone()).unwrap().0;
    let attest = Attest::parse(&bytes("attest")).unwrap();
    assert_eq!(attest.extra_data, bytes("nonce"));
    assert_eq!(bytes("ak_public"), tpm.paper.ak.to_bytes());
    let key = ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_FIXED,
        tpm.paper.ak.unique.uncompressed(),
    );
    let signature = recovery_protocol::tpm::Signature::parse(&bytes("signature")).unwrap();
    key.verify(&bytes("attest"), &signature.0).unwrap();

    // A second recovery revokes the first identity.
    site.recover().await;
    assert_eq!(site.service.revoked_certificates().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_trusted_endpoint_that_fails_its_quote_twice_is_recovered_where_the_group_says_so() {
    let (site, mut tpm) = (Site::with_tpm(AUTO).await, Tpm::new());
    site.recovered(&mut tpm).await;
    let good = Boot::golden_plain();
    let challenge = site.challenged(&tpm.hello(BootedAs::GoldenSystem, None)).await;
    let reply = site.prove(&tpm.proof(&challenge, &good, None)).await.unwrap();
    assert!(
        matches!(reply, ProofReply::Accepted { again_in_seconds, reboot_for: None } if again_in_seconds > 0)
    );

    let mut bad = Boot::golden_plain();
    let at = bad.find(8, "kernel_cmdline");
    bad.0.events[at] = paper::event(8, bad.0.events[at].kind, b"kernel_cmdline: /vmlinuz init=/bin/sh");
    for failures in 1..=2 {
        assert_eq!(
            site.service.jobs(None).await.unwrap().len(),
            1,
            "one failure may be a reboot in the middle"
        );
        let challenge = site.challenged(&tpm.hello(BootedAs::GoldenSystem, None)).await;
        assert_eq!(
            code(site.prove(&tpm.proof(&challenge, &bad, None)).await),
            "golden-not-proven",
            "{failures}"
        );
    }
    let jobs = site.service.jobs(None).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].trigger.as_str()), (2, "attestation"));
}

#[tokio::test]
async fn another_boot_than_ours_is_not_proven_and_gets_no_order() {
    let (site, tpm) = (Site::with_tpm("").await, Tpm::new());
    site.recover().await;
    let refused = site.proven(&tpm, &Boot::golden_plain()).await;
    assert_eq!(code(refused), "recovery-system-not-proven");
    assert!(site.held_for(HoldReason::RecoverySystemNotProven).await);
    let endpoint = site.service.endpoint(&"press-01".parse().unwrap()).await.unwrap();
    assert_eq!(endpoint.ek_sha256, None, "nothing is pinned by a failed proof");
}

#[tokio::test]
async fn another_tpm_is_let_through_by_a_person_and_no_other_than_the_one_they_saw() {
    let (site, mut tpm) = (Site::with_tpm("").await, Tpm::new());
    site.recovered(&mut tpm).await;
    let job = site.recover().await;
    let (board, anothers) = (Tpm::new(), Tpm::new());
    assert_eq!(code(site.proven(&board, &Boot::recovery_ipxe()).await), "identity-changed");
    assert!(site.held_for(HoldReason::IdentityChanged).await);
    let seen = site.service.job(job.job).await.unwrap().approval("the board was replaced");
    site.service.approve(&anna(), job.job, seen).await.unwrap();
    site.runner.settle().await.unwrap();
    let on_record =
        || async { site.service.endpoint(&"press-01".parse().unwrap()).await.unwrap().ek_sha256.unwrap() };
    assert_eq!(code(site.proven(&anothers, &Boot::recovery_ipxe()).await), "identity-changed");
    assert!(site.held_for(HoldReason::IdentityChanged).await);
    assert_eq!(on_record().await, tpm.ek.spki_sha256().to_string(), "nothing is pinned by an approval alone");
    site.service
        .resume(&anna(), job.job, Decision { reason: "the right board is in again".to_owned() })
        .await
        .unwrap();
    site.runner.settle().await.unwrap();
    site.proven(&board, &Boot::recovery_ipxe()).await.unwrap();
    assert_eq!(on_record().await, board.ek.spki_sha256().to_string());
}

#[tokio::test]
async fn another_firmware_is_let_through_by_a_person_and_no_other_than_the_one_they_saw() {
    let (site, mut tpm) = (Site::with_tpm("").await, Tpm::new());
    site.recovered(&mut tpm).await;
    let job = site.recover().await;
    let boot = |driver: &[u8]| {
        let mut boot = Boot::recovery_ipxe();
        boot.0.events.insert(0, paper::event(2, EventType::BOOT_SERVICES_DRIVER, driver));
        boot
    };
    assert_eq!(code(site.proven(&tpm, &boot(b"updated")).await), "firmware-changed");
    assert!(site.held_for(HoldReason::FirmwareChanged).await);
    let seen = site.service.job(job.job).await.unwrap().approval("updated last night");
    site.service.approve(&anna(), job.job, seen).await.unwrap();
    site.runner.settle().await.unwrap();
    assert_eq!(code(site.proven(&tpm, &boot(b"implant")).await), "firmware-changed");
    assert!(site.held_for(HoldReason::FirmwareChanged).await);
    site.service.resume(&anna(), job.job, Decision { reason: "look again".to_owned() }).await.unwrap();
    site.runner.settle().await.unwrap();
    site.proven(&tpm, &boot(b"updated")).await.unwrap();
    // That one is on record from now on.
    let again = site.proven(&tpm, &Boot::recovery_ipxe()).await;
    assert_eq!(code(again), "firmware-changed");
}

#[tokio::test]
async fn a_replayed_proof_and_an_unopened_credential_prove_nothing_and_hold_nothing() {
    let (site, tpm) = (Site::with_tpm("").await, Tpm::new());
    let job = site.recover().await;
    let challenge = site.challenged(&tpm.hello(BootedAs::RecoverySystem, None)).await;
    let mut guessed = tpm.proof(&challenge, &Boot::recovery_ipxe(), None);
    guessed.activated = Base64(vec![0; 32]);
    assert_eq!(code(site.prove(&guessed).await), "credential-not-opened");
    let right = tpm.proof(&challenge, &Boot::recovery_ipxe(), None);
    assert_eq!(code(site.prove(&right).await), "nonce-spent", "one answer for one question");
    let state = site.service.job(job.job).await.unwrap().state;
    assert_eq!(state, JobState::Working { stage: Stage::Proving });
    assert_eq!(code(site.next(&challenge.session).await), "session-unknown");
}

#[tokio::test]
async fn a_restored_system_that_was_not_rebooted_or_measures_otherwise_is_not_proven() {
    for (boot, reboot) in [(Boot::golden_plain(), false), (Boot::recovery_ipxe(), true)] {
        let (site, mut tpm) = (Site::with_tpm("").await, Tpm::new());
        site.recover().await;
        let session = site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap();
        let ticket = site.restore(&session).await;
        tpm.resets += u32::from(reboot);
        let refused = site.golden(&tpm, &ticket.secret, &boot, &tls_key()).await;
        assert_eq!(code(refused), "golden-not-proven");
        assert!(site.held_for(HoldReason::GoldenNotProven).await);
        // A security hold voids the ticket: the disk must be written again.
        let again = site.hello(&tpm.hello(BootedAs::GoldenSystem, Some(&ticket.secret))).await;
        assert_eq!(code(again), "ticket-spent");
    }
}

#[tokio::test]
async fn a_copied_ticket_is_refused_and_calls_a_person() {
    let (site, mut tpm) = (Site::with_tpm("").await, Tpm::new());
    site.recover().await;
    let session = site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap();
    let ticket = site.restore(&session).await;
    tpm.resets += 1;
    let tls = tls_key();
    let (_, first) = site.golden(&tpm, &ticket.secret, &Boot::golden_plain(), &tls).await.unwrap();
    // The answer was lost; the same endpoint with the same key asks again, and the first secret is replaced.
    let (_, second) = site.golden(&tpm, &ticket.secret, &Boot::golden_plain(), &tls).await.unwrap();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&tls);
    assert_eq!(code(site.service.redeem_est(&first.user, &first.password, &spki).await), "est-secret-wrong");
    let other = rcgen::PublicKeyData::subject_public_key_info(&tls_key());
    assert_eq!(
        code(site.service.redeem_est(&second.user, &second.password, &other).await),
        "est-key-foreign"
    );
    let thief = Tpm::new();
    let refused = site.hello(&thief.hello(BootedAs::GoldenSystem, Some(&ticket.secret))).await;
    assert_eq!(code(refused), "ticket-copied");
    assert!(site.held_for(HoldReason::TicketRefused).await);
}

/// The restored system after a network boot that loaded `program` and handed the boot back to the firmware.
fn network_first(program: Sha256) -> Boot {
    let mut boot = Boot::golden_plain();
    let disk = boot.program(0);
    let calling = boot.0.events[boot.find(4, "Calling")].clone();
    let mut loaded = paper::event(4, EventType::BOOT_SERVICES_APPLICATION, b"a network boot program");
    loaded.digest = program;
    let back = paper::event(4, EventType::EFI_ACTION, b"Returning from EFI Application from Boot Option");
    boot.0.events.splice(disk..disk, [loaded, back, calling]);
    boot
}

#[tokio::test]
async fn a_boot_that_asked_the_network_first_shows_our_program_and_no_other() {
    for (program, proven) in [(paper::file_digest("snponly"), true), (Sha256::of(b"another loader"), false)] {
        let (site, mut tpm) = (Site::with_tpm("").await, Tpm::new());
        site.recover().await;
        let session = site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap();
        let ticket = site.restore(&session).await;
        tpm.resets += 1;
        let reply = site.golden(&tpm, &ticket.secret, &network_first(program), &tls_key()).await;
        match proven {
            true => assert!(reply.is_ok(), "{reply:?}"),
            false => {
                let problem = reply.unwrap_err();
                assert_eq!(problem.code, "golden-not-proven");
                assert!(problem.detail.contains("not predicted"), "{}", problem.detail);
            }
        }
    }
}

#[tokio::test]
async fn an_image_that_predicts_nothing_is_not_proven_by_our_own_program() {
    let ours = paper::measurement(4, "snponly", Need::Optional);
    let recovery = Expectations::one(paper::recovery().measurements).with_handed_back(ours);
    let (site, mut tpm) = (Site::of("", Vec::new(), recovery).await, Tpm::new());
    site.recover().await;
    let session = site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap();
    let ticket = site.restore(&session).await;
    tpm.resets += 1;
    let problem = site.golden(&tpm, &ticket.secret, &Boot::golden_plain(), &tls_key()).await.unwrap_err();
    assert!(problem.detail.contains("nothing is predicted"), "{}", problem.detail);
}

#[tokio::test]
async fn a_blueprint_that_wants_secure_boot_gets_it_or_a_named_hold() {
    let (site, tpm) = (Site::with_tpm("secure_boot = true\n").await, Tpm::new());
    site.recover().await;
    let problem = site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap_err();
    assert_eq!(problem.code, "secure-boot-off");
    assert!(problem.remedy.contains("firmware's setup"), "{}", problem.remedy);
    assert!(site.held_for(HoldReason::SecureBootOff).await);
    let endpoint = site.service.endpoint(&"press-01".parse().unwrap()).await.unwrap();
    assert_eq!(endpoint.ek_sha256, None, "held before anything was pinned or written");
}

#[tokio::test]
async fn a_way_that_counts_under_secure_boot_proves_nothing_without_it() {
    let recovery = Expectations::one(paper::recovery().measurements).under_secure_boot();
    let (site, tpm) = (Site::of("", Vec::new(), recovery).await, Tpm::new());
    site.recover().await;
    let problem = site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap_err();
    assert_eq!(problem.code, "secure-boot-off");
}

impl Site {
    /// With one maker of TPMs whose word counts.
    async fn with_maker(maker: &Maker, policy: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("maker.pem"), maker.pem()).unwrap();
        let top = format!("tpm_roots_dir = \"{}\"\n", dir.path().display());
        let recovery = Expectations::one(paper::recovery().measurements);
        Self::configured(&top, policy, paper::golden().measurements, recovery).await
    }

    async fn press(&self) -> EndpointView {
        self.service.endpoint(&"press-01".parse().unwrap()).await.unwrap()
    }

    pub(super) async fn facts_of(&self, kind: &str) -> Vec<serde_json::Value> {
        let entries = self.entries().await;
        entries.iter().filter(|e| e["kind"] == kind).map(|e| e["facts"].clone()).collect()
    }
}

#[tokio::test]
async fn what_the_maker_says_of_a_tpm_is_shown_and_in_evidence() {
    let (maker, stranger) = (Maker::new("Maker Root"), Maker::new("Nobody"));
    for (by, is, rests_on) in [
        (Some(&maker), "verified", "its maker's certificate"),
        (Some(&stranger), "root_unknown", "first approved recovery: weaker"),
        (None, "absent", "first approved recovery: weaker"),
    ] {
        let (site, mut tpm) = (Site::with_maker(&maker, "").await, Tpm::new());
        tpm.certificate = by.map(|maker| maker.vouch(&tpm.ek.spki_der()));
        site.recover().await;
        site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap();
        let said = site.press().await.ek_certificate.unwrap();
        assert_eq!(serde_json::to_value(&said).unwrap()["is"], is);
        let facts = site.facts_of("proof.quote").await;
        assert_eq!(facts[0]["ek_certificate"]["is"], is);
        assert!(facts[0]["identity_rests_on"].as_str().unwrap().contains(rests_on), "{facts:?}");
    }
}

#[tokio::test]
async fn where_a_maker_is_required_an_unknown_tpm_without_one_is_held() {
    let (maker, stranger) = (Maker::new("Maker Root"), Maker::new("Nobody"));
    let required = "ek_certificate = \"required\"\n";
    for by in [Some(&stranger), None] {
        let (site, mut tpm) = (Site::with_maker(&maker, required).await, Tpm::new());
        tpm.certificate = by.map(|maker| maker.vouch(&tpm.ek.spki_der()));
        let job = site.recover().await;
        let problem = site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap_err();
        assert_eq!(problem.code, "ek-not-certified");
        assert!(problem.remedy.contains("tpm_roots_dir"), "{}", problem.remedy);
        assert!(site.held_for(HoldReason::EkNotCertified).await);
        assert_eq!(site.press().await.ek_sha256, None, "nothing is pinned");
        // Resumed with its maker's word, it goes on; and once it is on record, the record counts.
        site.service.resume(&anna(), job.job, Decision::default()).await.unwrap();
        site.runner.settle().await.unwrap();
        tpm.certificate = Some(maker.vouch(&tpm.ek.spki_der()));
        site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap();
        assert!(site.press().await.ek_certificate.unwrap().is_verified());
        tpm.certificate = None;
        site.proven(&tpm, &Boot::recovery_ipxe()).await.unwrap();
    }
}

#[tokio::test]
async fn the_certificate_of_another_tpm_is_refused_and_holds_nothing() {
    let maker = Maker::new("Maker Root");
    let (site, mut tpm) = (Site::with_maker(&maker, "").await, Tpm::new());
    tpm.certificate = Some(maker.vouch(&Tpm::new().ek.spki_der()));
    let job = site.recover().await;
    let refused = site.hello(&tpm.hello(BootedAs::RecoverySystem, None)).await;
    assert_eq!(code(refused), "ek-certificate-foreign");
    // A hello is anybody's: the refusal is written down, the job waits on.
    let state = site.service.job(job.job).await.unwrap().state;
    assert!(matches!(state, JobState::Working { .. }), "{state:?}");
    assert_eq!(site.facts_of("refusal.agent").await[0]["code"], "ek-certificate-foreign");
}

#[tokio::test]
async fn a_certified_rsa_key_counts_once_this_tpm_has_opened_its_credential() {
    let maker = Maker::new("Maker Root");
    let rsa = RsaEkPublic { modulus: (0..256).map(|n| 0xc1 | n as u8).collect() };
    for opens_rsa in [true, false] {
        let (site, mut tpm) = (Site::with_maker(&maker, "ek_certificate = \"required\"\n").await, Tpm::new());
        // The certificate of somebody's RSA key is in anybody's hands.
        tpm.certificate = Some(maker.vouch(&rsa.spki_der()));
        tpm.rsa = Some(rsa.clone());
        tpm.opens_rsa = opens_rsa;
        let job = site.recover().await;
        let proven = site.proven(&tpm, &Boot::recovery_ipxe()).await;
        if opens_rsa {
            proven.unwrap();
            assert!(site.press().await.ek_certificate.unwrap().is_verified());
        } else {
            assert_eq!(code(proven), "credential-not-opened");
            assert_eq!(site.press().await.ek_sha256, None);
            let state = site.service.job(job.job).await.unwrap().state;
            assert!(matches!(state, JobState::Working { .. }), "{state:?}");
        }
    }
}

#[tokio::test]
async fn the_firmware_of_a_class_is_that_of_those_on_record_until_a_person_lets_another_in() {
    let class = "hardware_class = \"panel-15\"\nfirmware_baseline = \"class\"\n";
    let (site, mut first) = (Site::with_tpm(class).await, Tpm::new());
    // The first of its class has nobody to be like.
    site.recovered(&mut first).await;
    let other =
        serde_json::json!({ "endpoint": "press-02", "macs": ["52:54:00:00:00:02"], "blueprint": "box" });
    site.service.add_endpoint(&anna(), serde_json::from_value(other).unwrap()).await.unwrap();
    let press = "press-02".parse().unwrap();
    let job = site.service.recover(&anna(), &press, Default::default()).await.unwrap();
    site.runner.settle().await.unwrap();
    let second = Tpm::new();
    let mut said = second.hello(BootedAs::RecoverySystem, None);
    said.inventory.macs = vec!["52:54:00:00:00:02".parse().unwrap()];
    (said.inventory.serial, said.inventory.uuid) = (String::new(), String::new());
    let mut implanted = Boot::recovery_ipxe();
    implanted.0.events.insert(0, paper::event(2, EventType::BOOT_SERVICES_DRIVER, b"another card"));
    let prove = async |boot: &Boot| {
        let challenge = site.challenged(&said).await;
        site.prove(&second.proof(&challenge, boot, None)).await
    };
    let refused = prove(&implanted).await.unwrap_err();
    assert_eq!(refused.code, "firmware-changed");
    assert!(
        refused.detail.contains("1 others of class panel-15")
            && refused.detail.contains("(check firmware-class)"),
        "{refused}"
    );
    let held = site.service.job(job.job).await.unwrap();
    assert!(matches!(held.state, JobState::Held { reason: HoldReason::FirmwareChanged, .. }));
    site.service.approve(&anna(), job.job, held.approval("it has a second network card")).await.unwrap();
    site.runner.settle().await.unwrap();
    prove(&implanted).await.unwrap();
    let view = site.service.endpoint(&press).await.unwrap();
    assert_eq!(view.ek_sha256, Some(second.ek.spki_sha256().to_string()));
}
