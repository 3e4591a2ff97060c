//! Against a real TPM in software, and checked by an independent implementation (tpm2-tools).

use std::fs;
use std::process::Command;

use rcgen::{CertificateParams, CertificateSigningRequestParams, PublicKeyData as _};
use recovery_protocol::tpm::attest::ClockInfo;
use recovery_protocol::tpm::public::TLS_ATTRIBUTES;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::nv::EkCertificate;
use super::swtpm::SwTpm;
use super::*;

const PCRS: [u8; 5] = [0, 2, 4, 7, 9];

fn signed_by(key: &EccPublic, message: &[u8], signature: &[u8]) -> bool {
    let signature = Signature::parse(signature).unwrap().0;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.unique.uncompressed());
    key.verify(message, &signature).is_ok()
}

/// Runs a tpm2-tools program; gives its standard output, or its error output when it fails. swtpm serves one connection, so
/// a program that waits for one that is taken is ended after a minute.
fn tpm2(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("timeout");
    let output = command.args(["60", program]).args(arguments).output().expect("tpm2-tools are installed");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn identity_survives_power_off_and_clear_and_differs_between_tpms() {
    let board = SwTpm::start();
    let (ek, ak) = {
        let mut tpm = board.tpm();
        (tpm.ek().unwrap().public, tpm.ak().unwrap().public)
    };
    assert!(ek.is_made_from(&EccPublic::ek_template()) && ak.is_made_from(&EccPublic::ak_template()));

    let board = SwTpm::start_from(board.power_off());
    let mut tpm = board.tpm();
    assert_eq!((tpm.ek().unwrap().public, tpm.ak().unwrap().public), (ek.clone(), ak.clone()));
    tpm.clear().unwrap();
    assert_eq!((tpm.ek().unwrap().public, tpm.ak().unwrap().public), (ek.clone(), ak.clone()));

    let other = SwTpm::start();
    let mut tpm = other.tpm();
    assert_ne!(tpm.ek().unwrap().public, ek);
    assert_ne!(tpm.ak().unwrap().public, ak);
}

#[test]
fn a_tls_key_is_found_again_by_its_seed_only() {
    let board = SwTpm::start();
    let mut tpm = board.tpm();
    let seed = tpm.fresh_seed().unwrap();
    assert_ne!(seed, tpm.fresh_seed().unwrap());
    let key = tpm.tls_key(&seed).unwrap();
    assert_eq!(key.public.attributes, TLS_ATTRIBUTES);
    let (public, mut other) = (key.public.clone(), seed);
    tpm.unload(key).unwrap();
    assert_eq!(tpm.tls_key(&seed).unwrap().public, public);
    other[31] ^= 1;
    assert_ne!(tpm.tls_key(&other).unwrap().public, public);
}

#[test]
fn a_quote_tells_what_was_extended() {
    let board = SwTpm::start();
    let mut tpm = board.tpm();
    let (before, measured) = (tpm.quote(&[7; 32], PcrMask::of(&PCRS)).unwrap(), Sha256::of(b"vmlinuz"));
    tpm.extend(9, &measured).unwrap();
    let after = tpm.quote(&[8; 32], PcrMask::of(&PCRS)).unwrap();
    assert_eq!(after.pcrs.0[&9], before.pcrs.0[&9].extended(&measured));
    assert_eq!(after.pcrs.0[&4], before.pcrs.0[&4]);

    let ak = tpm.ak().unwrap().public;
    assert!(signed_by(&ak, &after.attest, &after.signature));
    assert!(!signed_by(&ak, &after.attest, &before.signature));
    let attest = Attest::parse(&after.attest).unwrap();
    assert_eq!(attest.extra_data, [8; 32]);
    let ClockInfo { clock, reset_count, .. } = attest.clock;
    assert!(clock > 0 && reset_count < 1000, "counters are not obfuscated: {:?}", attest.clock);
}

#[test]
fn all_24_pcrs_can_be_quoted() {
    let board = SwTpm::start();
    let all: Vec<u8> = (0..24).collect();
    let quote = board.tpm().quote(&[], PcrMask::of(&all)).unwrap();
    assert_eq!(quote.pcrs.0.len(), 24);
    assert_eq!(quote.pcrs.0[&17], Sha256::from([0xff; 32]));
}

#[test]
fn tpm2_checkquote_accepts_our_quote_and_refuses_another_nonce() {
    let board = SwTpm::start();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let mut tpm = board.tpm();
    let ak = tpm.ak().unwrap().public;
    let quote = tpm.quote(&[0xab; 32], PcrMask::of(&[4, 9])).unwrap();
    drop(tpm);
    let public = ak.to_bytes();
    fs::write(path("ak"), Writer::new().tpm2b(&public).into_bytes()).unwrap();
    fs::write(path("quote"), &quote.attest).unwrap();
    fs::write(path("signature"), &quote.signature).unwrap();
    let check = |nonce: &str| {
        let (ak, quote, signature) = (path("ak"), path("quote"), path("signature"));
        tpm2("tpm2_checkquote", &["-u", &ak, "-m", &quote, "-s", &signature, "-q", nonce, "-g", "sha256"])
    };
    check(&"ab".repeat(32)).unwrap();
    check(&"ac".repeat(32)).unwrap_err();
}

/// Has tpm2-tools make a credential for `ek` and the key named `name`; gives `TPM2B_ID_OBJECT` and
/// `TPM2B_ENCRYPTED_SECRET` contents.
pub fn peer_credential(ek: &[u8], name: &[u8], secret: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("ek"), Writer::new().tpm2b(ek).into_bytes()).unwrap();
    fs::write(path("secret"), secret).unwrap();
    let (ek, in_, out, name) = (path("ek"), path("secret"), path("out"), hex::encode(name));
    tpm2("tpm2_makecredential", &["-T", "none", "-u", &ek, "-s", &in_, "-n", &name, "-o", &out]).unwrap();
    let file = fs::read(out).unwrap();
    let mut r = Reader::new("tpm2_makecredential", &file);
    assert_eq!((r.u32().unwrap(), r.u32().unwrap()), (0xbadc_c0de, 1));
    let blob = r.tpm2b("credential", 256).unwrap().to_vec();
    let encrypted = r.tpm2b("secret", 512).unwrap().to_vec();
    r.finish().unwrap();
    (blob, encrypted)
}

#[test]
fn a_credential_opens_only_in_its_tpm_and_for_its_key() {
    let (board, other) = (SwTpm::start(), SwTpm::start());
    let mut tpm = board.tpm();
    let (ek, ak) = (tpm.ek().unwrap().public, tpm.ak().unwrap().public);
    let secret = [0x5a; 32];
    let (blob, encrypted) = peer_credential(&ek.to_bytes(), &ak.name(), &secret);
    // More often than there are session slots: none may stay open.
    for _ in 0..8 {
        assert_eq!(tpm.activate(&blob, &encrypted).unwrap(), secret);
    }
    let tls = tpm.tls_key(&[1; 32]).unwrap().public;
    let (foreign, foreign_secret) = peer_credential(&ek.to_bytes(), &tls.name(), &secret);
    for _ in 0..8 {
        let error = tpm.activate(&foreign, &foreign_secret).unwrap_err();
        assert!(matches!(error, TpmError::Refused { command: "ActivateCredential", .. }), "{error}");
        assert!(error.to_string().contains("another attestation key"), "{error}");
    }
    assert!(matches!(other.tpm().activate(&blob, &encrypted), Err(TpmError::Refused { .. })));
    assert_eq!(tpm.activate(&blob, &encrypted).unwrap(), secret);
}

#[test]
fn the_ak_certifies_a_tls_key_and_signs_nothing_from_outside() {
    let board = SwTpm::start();
    let mut tpm = board.tpm();
    let key = tpm.tls_key(&[3; 32]).unwrap();
    let certification = tpm.certify(&key, &[9; 32]).unwrap();
    let ak = tpm.ak().unwrap();
    assert!(signed_by(&ak.public, &certification.attest, &certification.signature));
    let attest = Attest::parse(&certification.attest).unwrap();
    assert!(matches!(attest.attested, Attested::Certify { name, .. } if name == key.public.name()));
    assert_eq!(attest.extra_data, [9; 32]);

    let digest = Sha256::of(b"a transcript");
    let signature = tpm.sign(&key, &digest).unwrap();
    assert!(signed_by(&key.public, b"a transcript", &signature.to_bytes()));
    assert!(matches!(tpm.sign(&ak, &digest), Err(TpmError::Refused { command: "Sign", .. })));
}

#[test]
fn a_certificate_request_is_signed_in_the_tpm() {
    let board = SwTpm::start();
    let mut tpm = board.tpm();
    let key = tpm.tls_key(&[4; 32]).unwrap();
    let csr_key = CsrKey::new(&mut tpm, &key);
    let request =
        CertificateParams::new(vec!["press-01".to_owned()]).unwrap().serialize_request(&csr_key).unwrap();
    // Checks the signature, too.
    let parsed = CertificateSigningRequestParams::from_der(request.der()).unwrap();
    assert_eq!(parsed.public_key.der_bytes(), key.public.unique.uncompressed());
    let spki = key.public.spki_der();
    assert!(request.der().windows(spki.len()).any(|window| window == spki));
}

#[test]
fn a_password_on_the_hierarchy_is_named_and_heals_by_clear() {
    let board = SwTpm::start();
    let mut tpm = board.tpm();
    let ek = tpm.ek().unwrap().public;
    tpm.lock_endorsement().unwrap();
    drop(tpm);
    let mut tpm = board.tpm();
    let error = tpm.ek().unwrap_err();
    assert!(matches!(error, TpmError::Refused { command: "CreatePrimary", code: 0x9a2 }), "{error}");
    assert!(error.to_string().contains("clear the TPM"), "{error}");
    tpm.clear().unwrap();
    assert_eq!(tpm.ek().unwrap().public, ek);
}

#[test]
fn no_tpm_and_a_tpm_that_does_not_open_are_two_things() {
    let dir = tempfile::tempdir().unwrap();
    let none = Tpm::open_at(&dir.path().join("tpmrm0")).unwrap_err();
    assert!(matches!(none, TpmError::Absent { .. }) && none.to_string().contains("firmware's setup"));
    // A directory is there, and cannot be opened for writing.
    assert!(matches!(Tpm::open_at(dir.path()), Err(TpmError::Unopened { .. })));
}

#[test]
fn tpm2_tools_see_the_same_keys() {
    let board = SwTpm::start();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let ek = {
        let mut tpm = board.tpm();
        tpm.ek().unwrap().public
    };
    let (tcti, context, pem) = (board.tcti(), path("ek.ctx"), path("ek.der"));
    let arguments = ["-T", &tcti, "-c", &context, "-G", "ecc", "-u", &pem, "-f", "der"];
    tpm2("tpm2_createek", &arguments).unwrap();
    assert_eq!(fs::read(pem).unwrap(), ek.spki_der(), "EK by TCG template L-2");
}

/// Puts `content` at an index, as the maker of a TPM does.
fn put_into_nv(board: &SwTpm, index: &str, content: &[u8], attributes: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("content").display().to_string();
    fs::write(&file, content).unwrap();
    let (tcti, size) = (board.tcti(), content.len().to_string());
    let attributes = format!("ppwrite|no_da|platformcreate|{attributes}");
    tpm2("tpm2_nvdefine", &["-T", &tcti, "-C", "p", "-s", &size, "-a", &attributes, index]).unwrap();
    tpm2("tpm2_nvwrite", &["-T", &tcti, "-C", "p", "-i", &file, index]).unwrap();
}

#[test]
fn the_makers_certificates_are_read_whole_and_in_order() {
    let board = SwTpm::start();
    assert_eq!(board.tpm().ek_certificate().unwrap(), EkCertificate::default());
    // Longer than one block, and not a multiple of it.
    let certificate: Vec<u8> = (0..1_500_u32).map(|n| n as u8).collect();
    put_into_nv(&board, "0x01c00101", b"second", "ppread|ownerread");
    put_into_nv(&board, "0x01c00100", b"first, ", "authread");
    assert_eq!(board.tpm().ek_certificate().unwrap(), EkCertificate::default(), "a chain alone is nothing");
    put_into_nv(&board, "0x01c0000a", &certificate, "ppread|ownerread|authread");
    let read = board.tpm().ek_certificate().unwrap();
    assert_eq!(read.certificate.as_deref(), Some(&certificate[..]));
    assert_eq!(read.chain, b"first, second");
    // The TPM still proves itself, and a template of its own makes the certificate another key's.
    board.tpm().quote(&[1; 32], PcrMask::of(&PCRS)).unwrap();
    put_into_nv(&board, "0x01c0000c", b"a template", "authread");
    assert_eq!(board.tpm().ek_certificate().unwrap(), EkCertificate::default());
}

#[test]
fn a_certificate_that_nobody_may_read_is_left_out() {
    let board = SwTpm::start();
    put_into_nv(&board, "0x01c0000a", b"for the platform's eyes", "ppread");
    assert_eq!(board.tpm().ek_certificate().unwrap(), EkCertificate::default());
}

/// A board whose TPM swtpm's own maker has certified: the RSA key, and an ECC key that is not of P-256.
pub fn certified_board() -> SwTpm {
    let (state, maker) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| maker.path().join(name).display().to_string();
    let authority = format!(
        "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
        at(""),
        at("key"),
        at("issuer"),
        at("serial")
    );
    fs::write(at("authority"), authority).unwrap();
    fs::write(at("options"), "--platform-manufacturer A --platform-version 1 --platform-model B\n").unwrap();
    let setup = format!(
        "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
        at("authority"),
        at("options")
    );
    fs::write(at("setup"), setup).unwrap();
    let (setup, state_dir) = (at("setup"), state.path().display().to_string());
    tpm2("swtpm_setup", &["--tpm2", "--create-ek-cert", "--config", &setup, "--tpmstate", &state_dir])
        .unwrap();
    SwTpm::start_from(state)
}

#[test]
fn where_the_maker_certified_the_rsa_key_alone_the_tpm_presents_and_proves_that_one() {
    let board = certified_board();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("certificate").display().to_string();
    tpm2("tpm2_nvread", &["-T", &board.tcti(), "-C", "o", "-o", &file, "0x01c00002"]).unwrap();
    let mut tpm = board.tpm();
    let read = tpm.ek_certificate().unwrap();
    assert_eq!(read.certificate, Some(fs::read(&file).unwrap()));
    let rsa = read.rsa.unwrap();
    let spki = rsa.spki_der();
    let certificate = read.certificate.unwrap();
    assert!(certificate.windows(spki.len()).any(|window| window == spki), "the certificate is for this key");

    let (ek, ak) = (tpm.ek().unwrap().public, tpm.ak().unwrap().public);
    let secret = [0x5a; 32];
    let (blob, encrypted) = peer_credential(&rsa.to_bytes(), &ak.name(), &secret);
    // With all the keys that a check-in uses, which are as many as a TPM holds.
    tpm.tls_key(&[1; 32]).unwrap();
    // More often than there are places for keys and sessions.
    for _ in 0..6 {
        assert_eq!(tpm.activate_rsa(&blob, &encrypted).unwrap(), secret);
    }
    assert!(tpm.activate(&blob, &encrypted).is_err(), "it is for the other key");
    assert_eq!(tpm.ek().unwrap().public, ek);
    // Made anew where the maker left none in the TPM: the same key, and no place taken for good.
    drop(tpm);
    tpm2("tpm2_evictcontrol", &["-T", &board.tcti(), "-C", "o", "-c", "0x81010001"]).unwrap();
    let mut tpm = board.tpm();
    for _ in 0..4 {
        tpm.ek().unwrap();
        assert_eq!(tpm.ek_certificate().unwrap().rsa.as_ref(), Some(&rsa));
        assert_eq!(tpm.activate_rsa(&blob, &encrypted).unwrap(), secret);
    }
}
