//! Keys on a token, with SoftHSM as the token: it keeps the secret half, and what it signs counts like any other signature.

use std::path::Path;
use std::process::Command;

use super::Desk;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A desk with a token plugged in, or none where SoftHSM is not installed.
fn desk() -> Option<Desk> {
    if !Path::new(MODULE).exists() {
        super::not_looked_at("SoftHSM", "softhsm2");
        return None;
    }
    let desk = Desk::new();
    std::fs::create_dir(desk.path("tokens")).unwrap();
    let config = format!("directories.tokendir = {}\n", desk.path("tokens").display());
    std::fs::write(desk.path("softhsm2.conf"), config).unwrap();
    for (name, pin) in [("pin", "1234567\n"), ("wrong-pin", "7654321\n")] {
        std::fs::write(desk.path(name), pin).unwrap();
    }
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "signers", "--so-pin", "123456", "--pin", "1234567"])
        .env("SOFTHSM2_CONF", desk.path("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(desk)
}

/// The words that make the file of a key with this label.
fn key<'a>(role: &'a str, label: &'a str, out: &'a str, pin: &'a str) -> Vec<&'a str> {
    let mut words = vec!["image", "key", "token", "--role", role, "--name", label, "--module", MODULE];
    words.extend(["--token", "signers", "--label", label, "--out", out, "--pin-file", pin]);
    words
}

fn make(desk: &Desk, role: &str, label: &str) -> String {
    let file = format!("{label}.key");
    desk.good(&[&key(role, label, &file, "pin")[..], &["--generate"]].concat());
    file
}

#[test]
fn a_key_on_a_token_signs_roots_images_and_promotions() {
    let Some(desk) = desk() else { return };
    let (root, release, lead) =
        (make(&desk, "root", "root"), make(&desk, "image", "release"), make(&desk, "channel", "lead"));
    let held = std::fs::read_to_string(desk.path(&release)).unwrap();
    assert!(held.contains("\"protection\": \"token\"") && !held.contains("seed"), "{held}");

    let keys = ["--root", &root, "--signer", &release, "--channel", &lead, "--passphrase-file", "pin"];
    desk.good(&[&["image", "root", "new"], &keys[..]].concat());
    desk.disk("disk.raw", 1, 102_400);
    desk.import("disk.raw", "1");
    desk.refused(&["image", "verify", "hmi"], 10, "did not verify");
    desk.good(&["image", "sign", "hmi", "--key", &release, "--passphrase-file", "pin"]);
    desk.good(&["image", "verify", "hmi"]);
    desk.good(&["image", "promote", "hmi", "--key", &lead, "--passphrase-file", "pin"]);
    assert!(desk.good(&["image", "list"]).contains("approved"));
}

#[test]
fn a_key_that_is_there_already_is_used_and_never_overwritten() {
    let Some(desk) = desk() else { return };
    make(&desk, "image", "release");
    desk.good(&key("image", "release", "again.key", "pin"));
    assert_eq!(
        std::fs::read(desk.path("again.key")).unwrap(),
        std::fs::read(desk.path("release.key")).unwrap()
    );
    let words = [&key("image", "release", "third.key", "pin")[..], &["--generate"]].concat();
    desk.refused(&words, 1, "has a key labelled `release` already");
    assert!(!desk.path("third.key").exists());
}

#[test]
fn what_a_token_refuses_has_a_name() {
    let Some(desk) = desk() else { return };
    let file = make(&desk, "image", "release");
    desk.disk("disk.raw", 1, 102_400);
    desk.import("disk.raw", "1");
    let sign = |key: &str, pin: &str| -> Vec<String> {
        ["image", "sign", "hmi", "--key", key, "--passphrase-file", pin].map(str::to_owned).to_vec()
    };
    let refused = |words: &[String], code: i32, says: &str| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        desk.refused(&words, code, says);
    };
    refused(&sign(&file, "wrong-pin"), 4, "refuses the PIN");
    let altered = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(desk.path(&file)).unwrap();
        assert!(text.contains(from));
        std::fs::write(desk.path(name), text.replace(from, to)).unwrap();
    };
    altered("other-token.key", "\"token\": \"signers\"", "\"token\": \"vault\"");
    refused(&sign("other-token.key", "pin"), 3, "no token `vault` is plugged in; there is: `signers`");
    altered("other-label.key", "\"label\": \"release\"", "\"label\": \"nobody\"");
    refused(&sign("other-label.key", "pin"), 3, "0 Ed25519 private keys labelled `nobody`");
    altered("other-module.key", MODULE, "/usr/lib/nothing.so");
    refused(&sign("other-module.key", "pin"), 1, "cannot be used as a PKCS #11 library");

    // Another key under the label of the one in the file: its signature must not pass for the other's.
    let other = make(&desk, "image", "other");
    let public = |file: &str| {
        let text = std::fs::read_to_string(desk.path(file)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["public"].as_str().unwrap().to_owned()
    };
    altered("swapped.key", &public(&file), &public(&other));
    refused(&sign("swapped.key", "pin"), 1, "the token signed with another key");
    assert!(desk.store().get_manifest(&desk.store().list().unwrap()[0]).unwrap().signatures.is_empty());
}
