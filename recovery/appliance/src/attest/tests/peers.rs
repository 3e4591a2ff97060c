//! The verifier and a real TPM in software (swtpm), driven by an independent program (tpm2-tools).

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use recovery_protocol::operator::{EkCertificate, TpmModel};
use recovery_protocol::tpm::wire::{Reader, Writer};
use recovery_protocol::tpm::{EventLog, PcrMask, PcrValues, RsaEkPublic, Sha256};

use super::super::quote::CertifyError;
use super::super::*;
use super::paper::{Boot, NONCE};

/// A running `swtpm` and a directory for the files of tpm2-tools.
pub struct SwTpm {
    process: Child,
    /// Where tpm2-tools find it.
    pub tcti: String,
    dir: tempfile::TempDir,
}

impl SwTpm {
    pub fn start() -> Self {
        Self::start_with(|_| ())
    }

    /// Starts one on a state directory that `made` has filled.
    fn start_with(made: impl Fn(&std::path::Path)) -> Self {
        for _ in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            made(dir.path());
            let [data, control] = free_ports();
            let mut process = Command::new("swtpm")
                .args([
                    "socket",
                    "--tpm2",
                    "--seccomp",
                    "action=none",
                    "--flags",
                    "not-need-init,startup-clear",
                ])
                .args(["--tpmstate", &format!("dir={}", dir.path().display())])
                .args(["--server", &format!("type=tcp,bindaddr=127.0.0.1,port={data}")])
                .args(["--ctrl", &format!("type=tcp,bindaddr=127.0.0.1,port={control}")])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("swtpm is installed");
            let until = Instant::now() + Duration::from_secs(10);
            // Both ports: one that somebody else took ends the process, perhaps after the other answered.
            let answers = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
            while Instant::now() < until && process.try_wait().unwrap().is_none() {
                if answers(control) && answers(data) {
                    return Self { process, tcti: format!("swtpm:host=127.0.0.1,port={data}"), dir };
                }
                std::thread::yield_now();
            }
            // Another process took a port in between: try with others.
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("swtpm does not start");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Runs a program of tpm2-tools in the directory, then unloads what it left (there is no resource manager).
    fn run(&self, line: &str) -> Result<(), String> {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        for (program, arguments) in [(program, words.collect::<Vec<_>>()), ("tpm2_flushcontext", vec!["-t"])]
        {
            let mut command = Command::new("timeout");
            command
                .args(["60", program])
                .args(arguments)
                .current_dir(self.dir.path())
                .env("TPM2TOOLS_TCTI", &self.tcti);
            let output = command.output().expect("tpm2-tools are installed");
            if !output.status.success() {
                return Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)));
            }
        }
        Ok(())
    }

    fn ok(&self, line: &str) {
        self.run(line).unwrap();
    }

    /// Makes a primary of the endorsement hierarchy; gives its `TPMT_PUBLIC`.
    fn primary(&self, name: &str, attributes: &str) -> Vec<u8> {
        let always = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign";
        self.ok(&format!(
            "tpm2_createprimary -C e -G ecc256:ecdsa-sha256:null -a {always}{attributes} -c {name}.ctx"
        ));
        self.public(name)
    }

    fn ek(&self) -> EkPublic {
        self.ok("tpm2_createek -G ecc -c ek.ctx -u ek.pem");
        EkPublic::parse(&self.public("ek")).unwrap()
    }

    fn public(&self, name: &str) -> Vec<u8> {
        self.ok(&format!("tpm2_readpublic -c {name}.ctx -o {name}.pub"));
        let file = self.file(&format!("{name}.pub"));
        Reader::new("TPM2B_PUBLIC", &file).tpm2b("public", 512).unwrap().to_vec()
    }

    /// Has it open a credential with an EK and beside a key, both as files.
    fn activate(&self, credential: &Credential, ek: &str, key: &str) -> Result<Vec<u8>, String> {
        let file =
            Writer::new().u32(0xbadc_c0de).u32(1).tpm2b(&credential.blob).tpm2b(&credential.encrypted_secret);
        fs::write(self.path("credential"), file.into_bytes()).unwrap();
        self.ok("tpm2_startauthsession --policy-session -S session");
        self.ok("tpm2_policysecret -S session -c e");
        let opened = self.run(&format!(
            "tpm2_activatecredential -c {key}.ctx -C {ek}.ctx -i credential -P session:session -o out"
        ));
        self.ok("tpm2_flushcontext session");
        opened.map(|()| self.file("out"))
    }

    /// Endorsement and attestation key as Keylime's agents show them: `TPM2B_PUBLIC`.
    pub fn keys_for_keylime(&self) -> (Vec<u8>, Vec<u8>) {
        self.ok("tpm2_createek -G ecc -c ek.ctx -u ek.tss");
        self.ok("tpm2_createak -C ek.ctx -c ak.ctx -G rsa -g sha256 -s rsassa -u ak.tss -n ak.name");
        (self.file("ek.tss"), self.file("ak.tss"))
    }

    /// Opens a credential that Keylime's registrar made for [`SwTpm::keys_for_keylime`].
    pub fn opened_for_keylime(&self, blob: &[u8]) -> Vec<u8> {
        fs::write(self.path("blob"), blob).unwrap();
        self.ok("tpm2_startauthsession --policy-session -S session");
        self.ok("tpm2_policysecret -S session -c e");
        self.ok("tpm2_activatecredential -c ak.ctx -C ek.ctx -i blob -o secret -P session:session");
        self.ok("tpm2_flushcontext session");
        self.file("secret")
    }

    /// By what the endpoint is known.
    pub fn ek_sha256(&self) -> String {
        self.ek().hash().to_string()
    }

    /// Extends everything that a boot measured.
    fn boot(&self, boot: &Boot) {
        let extended = boot.0.events.iter().filter(|e| e.is_extended());
        let specs: Vec<String> = extended.map(|e| format!("{}:sha256={}", e.pcr, e.digest)).collect();
        for some in specs.chunks(16) {
            self.ok(&format!("tpm2_pcrextend {}", some.join(" ")));
        }
    }
}

impl Drop for SwTpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two adjacent ports that were free a moment ago (tpm2-tools expect control at data + 1).
fn free_ports() -> [u16; 2] {
    loop {
        let data = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = data.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return [port, port + 1];
        }
    }
}

#[test]
fn our_credential_opens_in_its_tpm_and_for_its_key_only() {
    let tpm = SwTpm::start();
    let ek = tpm.ek();
    assert_eq!(ek, EkPublic::parse(&tpm.public("ek")).unwrap(), "the same each time");
    let ak = AkPublic::parse(&tpm.primary("ak", "|restricted")).unwrap();
    tpm.primary("tls", "");
    let secret = [0xc3; 32];
    let credential = make_credential(&ek, &ak.name(), &secret).unwrap();
    assert_eq!(tpm.activate(&credential, "ek", "ak"), Ok(secret.to_vec()));
    let other = tpm.activate(&credential, "ek", "tls");
    assert!(other.is_err(), "a credential for one key must not open for another");
    let foreign = SwTpm::start().ek();
    let credential = make_credential(&foreign, &ak.name(), &secret).unwrap();
    assert!(tpm.activate(&credential, "ek", "ak").is_err(), "a credential for another TPM");
}

#[test]
fn a_quote_by_tpm2_tools_verifies_and_names_what_was_booted() {
    let (tpm, boot) = (SwTpm::start(), Boot::golden_secure_boot());
    let ak = AkPublic::parse(&tpm.primary("ak", "|restricted")).unwrap();
    tpm.boot(&boot);
    let (pcrs, log, asked) = (boot.values(), boot.encode(), PcrMask::of(&QUOTED_PCRS));
    let verify = |selection: &str, pcrs: &PcrValues, nonce: &[u8]| {
        let nonce_hex = hex::encode(NONCE);
        tpm.ok(&format!("tpm2_quote -c ak.ctx -l {selection} -q {nonce_hex} -m quote -s signature"));
        let (attest, signature) = (tpm.file("quote"), tpm.file("signature"));
        let evidence = QuoteEvidence { attest: &attest, signature: &signature, pcrs, event_log: &log };
        verify_quote(&ak, nonce, asked, &evidence)
    };
    let list = asked.to_string();
    let quote = verify(&format!("sha256:{list}"), &pcrs, &NONCE).unwrap();
    assert!(judge(&quote, &super::paper::golden()).passed());
    assert!(!quote.rebooted_since(quote.clock().reset_count));

    let selection = Err(QuoteError::Selection { expected: asked });
    assert_eq!(verify(&format!("sha256:{list}"), &pcrs, &[0; 32]), Err(QuoteError::Nonce));
    let bank = Err(QuoteError::Bank { bank: 0xc });
    assert_eq!(verify(&format!("sha384:{list}"), &pcrs, &NONCE), bank, "another bank");
    assert_eq!(verify(&format!("sha256:{list}+sha384:{list}"), &pcrs, &NONCE), bank, "two banks");
    assert_eq!(verify("sha256:0,2,4", &pcrs, &NONCE), selection);
    tpm.ok(&format!("tpm2_pcrextend 9:sha256={}", "00".repeat(32)));
    assert_eq!(verify(&format!("sha256:{list}"), &pcrs, &NONCE), Err(QuoteError::PcrDigest));
}

#[test]
fn an_ak_of_another_hierarchy_or_unrestricted_is_refused() {
    let (tpm, boot) = (SwTpm::start(), Boot::golden_plain());
    let unrestricted = tpm.primary("loose", "");
    assert!(matches!(AkPublic::parse(&unrestricted), Err(IdentityError::Unrestricted { .. })));

    // The same template under the owner hierarchy: its public area looks right, its qualified name does not.
    tpm.boot(&boot);
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign|restricted";
    tpm.ok(&format!("tpm2_createprimary -C o -G ecc256:ecdsa-sha256:null -a {attributes} -c owner.ctx"));
    let ak = AkPublic::parse(&tpm.public("owner")).unwrap();
    let asked = PcrMask::of(&QUOTED_PCRS);
    tpm.ok(&format!(
        "tpm2_quote -c owner.ctx -l sha256:{asked} -q {} -m quote -s signature",
        hex::encode(NONCE)
    ));
    let (attest, signature, pcrs, log) =
        (tpm.file("quote"), tpm.file("signature"), boot.values(), boot.encode());
    let evidence = QuoteEvidence { attest: &attest, signature: &signature, pcrs: &pcrs, event_log: &log };
    assert_eq!(verify_quote(&ak, &NONCE, asked, &evidence), Err(QuoteError::Signer));
}

#[test]
fn a_certification_by_tpm2_tools_verifies_for_its_key_only() {
    let tpm = SwTpm::start();
    let ak = AkPublic::parse(&tpm.primary("ak", "|restricted")).unwrap();
    let (tls, other) = (tpm.primary("tls", ""), tpm.primary("ak2", "|restricted"));
    // tpm2_certify takes no nonce, it certifies with a constant one.
    let constant = [0x00, 0xff, 0x55, 0xaa];
    tpm.ok("tpm2_certify -c tls.ctx -C ak.ctx -g sha256 -o attest -s signature -f tss");
    let (attest, signature) = (tpm.file("attest"), tpm.file("signature"));
    assert!(verify_certify(&ak, &constant, &tls, &attest, &signature).is_ok());
    assert_eq!(verify_certify(&ak, &NONCE, &tls, &attest, &signature), Err(CertifyError::Nonce));
    let refused = verify_certify(&ak, &constant, &other, &attest, &signature);
    assert!(matches!(refused, Err(CertifyError::Attributes { .. })), "an AK is no TLS key");
    let foreign = SwTpm::start().primary("tls", "");
    assert_eq!(verify_certify(&ak, &constant, &foreign, &attest, &signature), Err(CertifyError::OtherKey));
}

/// A maker of TPMs that is not ours: swtpm's, which issues from an authority below its root.
struct SwtpmMaker(tempfile::TempDir);

impl SwtpmMaker {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
            at(""),
            at("key.pem"),
            at("issuer.pem"),
            at("serial")
        );
        fs::write(at("config"), config).unwrap();
        fs::write(at("options"), "--platform-manufacturer A --platform-version 1 --platform-model B\n")
            .unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A new TPM in `state` with the certificates that this maker gives it.
    fn make(&self, state: &std::path::Path) {
        let at = |name: &str| self.path(name).display().to_string();
        let setup = format!(
            "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
            at("config"),
            at("options")
        );
        fs::write(self.path("setup"), setup).unwrap();
        let run = Command::new("swtpm_setup")
            .args([
                "--tpm2",
                "--create-ek-cert",
                "--pcr-banks",
                "sha256",
                "--config",
                &at("setup"),
                "--tpmstate",
            ])
            .arg(state)
            .output()
            .expect("swtpm-tools are installed");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    }

    /// The roots that a site trusts which trusts this maker.
    fn roots(&self) -> MakerRoots {
        let mut roots = MakerRoots::default();
        assert_eq!(roots.add(&fs::read(self.path("swtpm-localca-rootca-cert.pem")).unwrap()), Ok(1));
        roots
    }

    /// The authority below the root, DER.
    fn issuer(&self) -> Vec<u8> {
        x509_parser::pem::parse_x509_pem(&fs::read(self.path("issuer.pem")).unwrap()).unwrap().1.contents
    }

    /// An EK certificate, as `swtpm_setup --create-ek-cert` has it made.
    fn vouch(&self, ek: &EkPublic) -> Vec<u8> {
        let point = hex::encode(&ek.spki_der()[27..]);
        let (x, y) = point.split_at(64);
        let run = Command::new("swtpm_localca")
            .args(["--type", "ek", "--tpm2", "--vmid", "press-01", "--ek"])
            .arg(format!("x={x},y={y},id=secp256r1"))
            .args(["--tpm-spec-family", "2.0", "--tpm-spec-level", "0", "--tpm-spec-revision", "164"])
            .args([
                "--tpm-manufacturer",
                "id:49465800",
                "--tpm-model",
                "swtpm",
                "--tpm-version",
                "id:20191023",
            ])
            .args(["--configfile", &self.path("config").display().to_string()])
            .args(["--optsfile", &self.path("options").display().to_string()])
            .args(["--dir", &self.0.path().display().to_string()])
            .output()
            .expect("swtpm-tools are installed");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        fs::read(self.path("ek.cert")).unwrap()
    }
}

#[test]
fn swtpms_own_maker_vouches_for_its_tpm_by_root_issuer_and_key() {
    let (tpm, maker) = (SwTpm::start(), SwtpmMaker::new());
    let ek = tpm.ek();
    let certificate = maker.vouch(&ek);
    let (mut roots, chain) = (maker.roots(), maker.issuer());
    let model = TpmModel { manufacturer: "IFX".into(), model: "swtpm".into(), version: "id:20191023".into() };
    let spki = ek.spki_der();
    let by = |chain: &[u8], roots: &MakerRoots| maker_of(&spki, Some(&certificate), chain, roots).unwrap();
    let verified = EkCertificate::Verified { root: "CN=swtpm-localca-rootca".into(), tpm: model.clone() };
    assert_eq!(by(&chain, &roots), verified);
    let unknown = EkCertificate::RootUnknown { issuer: "CN=swtpm-localca".into(), tpm: model };
    assert_eq!(by(&[], &roots), unknown, "the issuer between them is missing");
    assert_eq!(by(&chain, &MakerRoots::default()), unknown);
    assert_eq!(roots.add(&chain), Ok(1));
    assert!(by(&[], &roots).is_verified(), "or trusted itself");
    let other = SwTpm::start().ek();
    assert!(matches!(
        maker_of(&other.spki_der(), Some(&certificate), &chain, &roots),
        Err(MakerError::OtherKey { .. })
    ));
}

#[test]
fn a_tpm_with_a_certified_rsa_key_alone_proves_that_it_holds_it() {
    let maker = SwtpmMaker::new();
    let tpm = SwTpm::start_with(|state| maker.make(state));
    tpm.ok("tpm2_nvread 0x01c00002 -C o -o certificate");
    tpm.ok("tpm2_readpublic -c 0x81010001 -o rsa.pub -t rsa.ctx");
    let public = tpm.file("rsa.pub");
    let rsa = Reader::new("TPM2B_PUBLIC", &public).tpm2b("public", 512).unwrap().to_vec();
    let rsa = RsaEkPublic::parse(&rsa).unwrap();
    let certificate = tpm.file("certificate");
    let said = maker_of(&rsa.spki_der(), Some(&certificate), &maker.issuer(), &maker.roots()).unwrap();
    assert!(said.is_verified(), "{said}");
    let p256 = tpm.ek().spki_der();
    let other = maker_of(&p256, Some(&certificate), &maker.issuer(), &maker.roots());
    assert!(matches!(other, Err(MakerError::OtherKey { .. })), "{other:?}");

    let ak = AkPublic::parse(&tpm.primary("ak", "|restricted")).unwrap();
    tpm.primary("tls", "");
    for secret in [[0xc3; 32], [0; 32]] {
        let credential = make_rsa_credential(&rsa, &ak.name(), &secret).unwrap();
        assert_eq!(credential.encrypted_secret.len(), 256);
        assert_eq!(tpm.activate(&credential, "rsa", "ak"), Ok(secret.to_vec()));
        assert!(tpm.activate(&credential, "rsa", "tls").is_err(), "for one key, not another");
        assert!(tpm.activate(&credential, "ek", "ak").is_err(), "with one EK, not the other");
    }
}

/// Where Debian's `tpm2_eventlog`, which is written in C by others, says that a log leads in the SHA-256 bank; `None`: it takes it for none.
fn led_to_by_a_peer(log: &std::path::Path) -> Option<BTreeMap<u8, Sha256>> {
    let run = Command::new("tpm2_eventlog").arg(log).output().expect("tpm2-tools are installed");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let (_, pcrs) = text.split_once("\npcrs:\n").filter(|_| run.status.success())?;
    let (_, bank) = pcrs.split_once("  sha256:\n")?;
    let value = |line: &str| {
        let (pcr, value) = line.strip_prefix("    ")?.split_once(": 0x")?;
        Some((pcr.trim().parse().ok()?, value.to_lowercase().parse().ok()?))
    };
    Some(bank.lines().map_while(value).collect())
}

#[test]
fn logs_lead_where_another_reader_says_that_they_lead_whole_and_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (file, mut whole, mut damaged) = (dir.path().join("log"), 0, 0);
    for boot in [Boot::golden_secure_boot(), Boot::golden_plain(), Boot::recovery_ipxe()] {
        let log = boot.encode();
        // One byte is another one, at places all over it.
        for at in [None].into_iter().chain((0..log.len()).step_by(log.len() / 70).map(Some)) {
            let mut bytes = log.clone();
            at.into_iter().for_each(|at| bytes[at] ^= 0x41);
            fs::write(&file, &bytes).unwrap();
            let (Ok(ours), Some(theirs)) = (EventLog::parse(&bytes), led_to_by_a_peer(&file)) else {
                continue;
            };
            assert!(theirs.len() > 8, "{theirs:?}");
            let replayed = ours.replay();
            for (pcr, value) in theirs {
                assert_eq!(replayed[usize::from(pcr)], value, "PCR {pcr}, byte {at:?}");
            }
            *if at.is_none() { &mut whole } else { &mut damaged } += 1;
        }
    }
    assert!(whole == 3 && damaged > 60, "{whole} whole and {damaged} damaged logs were read by both");
}
