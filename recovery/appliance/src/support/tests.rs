//! A bundle of a real appliance in which secrets were put wherever one may lie: none of them is in it, and what failed is a gap.

use std::process::Command as Program;

use super::*;
use crate::cli::by_hand::Desk;

/// What must be nowhere in the bundle.
const CANARIES: [&str; 13] = [
    "canary-hook-01",
    "canary-bmc-02",
    "canary-client-secret-03",
    "canary-database-04",
    "canary-depot-05",
    "canary-mail-06",
    "canary-passphrase-07",
    "canary-vault-08",
    "canary-tls-09",
    "canary-siem-10",
    "gs_canarytoken11canarytoken11",
    "canary-kiosk-12",
    "canary-ums-13",
];

fn opened(bundle: &Path) -> Vec<(String, String)> {
    let plain = zstd::decode_all(fs::File::open(bundle).unwrap()).unwrap();
    let mut rest = plain.as_slice();
    let mut files = Vec::new();
    while let Some(head) = tar::next(&mut rest).unwrap() {
        let mut text = vec![0; usize::try_from(head.len).unwrap()];
        io::Read::read_exact(&mut rest, &mut text).unwrap();
        tar::skip_padding(&mut rest, head.len).unwrap();
        let name = head.name.strip_prefix("groundstate-support/").unwrap().to_owned();
        files.push((name, String::from_utf8(text).unwrap()));
    }
    files
}

/// A configuration that names secrets in itself and in files, each with a canary.
fn planted(dir: &Path, data_dir: &Path) -> PathBuf {
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        name.to_owned()
    };
    file("hook.secret", "canary-hook-01\n");
    file("client.secret", "canary-client-secret-03");
    file("mail.password", "canary-mail-06\n");
    file("ums.password", "canary-ums-13\n");
    file("word", "canary-passphrase-07\n");
    file("siem.key", "-----BEGIN PRIVATE KEY-----\ncanary-siem-10\n-----END PRIVATE KEY-----\n");
    file("depot.credentials", "[default]\naws_secret_access_key = canary-depot-05\n");
    fs::create_dir_all(data_dir.join("secrets")).unwrap();
    fs::write(data_dir.join("secrets/vault"), "canary-vault-08").unwrap();
    // Old keys, of times when this one was in clear.
    fs::write(
        data_dir.join("tls.key"),
        "-----BEGIN PRIVATE KEY-----\ncanary-tls-09\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    let path = dir.join("groundstate.toml");
    let text = "site = \"plant-7\"\n# database = \"postgres://gs:canary-database-04@db.plant/gs\"\n\
        # an old token: gs_canarytoken11canarytoken11\n[hooks.verifier]\nsecret_file = \"hook.secret\"\n[provider]\n\
        client_secret_file = \"client.secret\"\n[notify.channels.duty]\npassword_file = \"mail.password\"\n[secrets]\n\
        passphrase_file = \"word\"\n[images.depot]\ncredentials_file = \"depot.credentials\"\n[evidence.siem]\nkey_file = \"siem.key\"\n\
        [kiosk]\npin = \"canary-kiosk-12\"\n[control_planes.fleet]\nkind = \"igel_ums\"\npassword_file = \"ums.password\"\n";
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_holds_what_helps_and_no_secret_and_says_what_is_missing() {
    let desk = Desk::new("").await;
    let dir = desk.bench.data.path().to_owned();
    let bmc = dir.join("bmc.password");
    fs::write(&bmc, "canary-bmc-02\n").unwrap();
    let add = format!(
        "endpoint add press-01 --mac 52:54:00:00:00:01 --blueprint hmi --ipmi 10.0.0.9 --ipmi-user a --ipmi-password-file {}",
        bmc.display()
    );
    assert_eq!(desk.says(&add).await, 0);
    // People write into reasons what they should not.
    for (n, canary) in CANARIES.iter().enumerate() {
        assert_eq!(
            desk.says(&format!("endpoint set press-01 --disk-serial S{n} --reason {canary}")).await,
            0
        );
    }
    let reason = format!("recover press-01 --no-wait --reason {}", CANARIES.join("/"));
    assert_eq!(desk.says(&reason).await, 0);

    let state = dir.join("state");
    let file = planted(&dir, &state);
    let config = Config { data_dir: state, file: Some(file), ..(*desk.bench.journal.config).clone() };
    let (reach, out) = (desk.reach(), dir.join("bundle.tar.zst"));
    let to = out.clone();
    tokio::task::spawn_blocking(move || run((&config, &reach), &to, &[], Output::Json))
        .await
        .unwrap()
        .unwrap();

    let files = opened(&out);
    for (name, text) in &files {
        for canary in CANARIES.iter().chain([&desk.bench.token.as_str()]) {
            assert!(!text.contains(canary), "{canary} is in {name}:\n{text}");
        }
        assert!(!text.contains("BEGIN PRIVATE"), "{name}");
    }
    let of = |wanted: &str| files.iter().find(|(name, _)| name == wanted).map(|(_, text)| text.as_str());
    for name in [
        "versions.txt",
        "config.toml",
        "doctor.json",
        "status.json",
        "endpoints.json",
        "jobs.json",
        "metrics.txt",
        "net.json",
    ] {
        assert!(of(name).is_some_and(|text| text.len() > 10), "{name}: {files:?}");
    }
    assert!(of("config.toml").unwrap().contains("hook.secret"), "where a secret lies is none");
    assert!(of("endpoints.json").unwrap().contains("press-01"));
    let manifest: Value = serde_json::from_str(&files[0].1).unwrap();
    assert_eq!((files[0].0.as_str(), manifest["format"].as_u64()), ("manifest.json", Some(1)));
    let pieces = manifest["pieces"].as_array().unwrap();
    assert_eq!(pieces.len() + 1, files.len());
    for (piece, (name, text)) in pieces.iter().zip(&files[1..]) {
        let sha256 = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
        assert_eq!(
            (piece["name"].as_str(), piece["sha256"].as_str()),
            (Some(name.as_str()), Some(sha256.as_str()))
        );
    }
    // The test's appliance has no kit and no file-backed database of its own name: said, and not fatal.
    let gaps: Vec<&str> =
        manifest["gaps"].as_array().unwrap().iter().filter_map(|gap| gap["name"].as_str()).collect();
    assert!(gaps.contains(&"kit.json"), "{gaps:?}");
}

#[test]
fn without_an_appliance_there_is_a_bundle_with_gaps_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { data_dir: dir.path().join("none"), ..Config::default() };
    let reach = Reach {
        url: "https://127.0.0.1:1".to_owned(),
        pin: Some("0".repeat(64)),
        token_file: None,
        data_dir: dir.path().join("none"),
    };
    let out = dir.path().join("bundle");
    run((&config, &reach), &out, &[], Output::Json).unwrap();
    let manifest: Value = serde_json::from_str(&opened(&out)[0].1).unwrap();
    let gaps: Vec<&str> =
        manifest["gaps"].as_array().unwrap().iter().filter_map(|gap| gap["name"].as_str()).collect();
    for gap in ["api", "config.toml", "data-directory.txt", "database.json"] {
        assert!(gaps.contains(&gap), "{gaps:?}");
    }
    let fault = run((&config, &reach), &out, &[], Output::Json).unwrap_err();
    assert_eq!(fault.code, Code::Conflict, "{fault}");
}

#[test]
fn only_a_recipient_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("anna.key");
    let made = Program::new("age-keygen").arg("-o").arg(&key).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = fs::read_to_string(&key).unwrap();
    let anna: Recipient =
        text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().parse().unwrap();
    let pieces = [("a.txt".to_owned(), "what helps".to_owned())];
    let (_, plain) = packed(&pieces, Vec::new()).unwrap();
    let out = dir.path().join("bundle.age");
    write(&out, &plain, &[anna]).unwrap();
    assert!(zstd::decode_all(fs::File::open(&out).unwrap()).is_err());
    let opened = Program::new("age").args(["--decrypt", "-i"]).arg(&key).arg(&out).output().unwrap();
    assert!(opened.status.success(), "{opened:?}");
    assert_eq!(opened.stdout, plain);
    // Everybody's own programs read it.
    fs::write(dir.path().join("plain.tar.zst"), &plain).unwrap();
    let tar = zstd::decode_all(plain.as_slice()).unwrap();
    fs::write(dir.path().join("plain.tar"), tar).unwrap();
    let listed = Program::new("tar").arg("-tf").arg(dir.path().join("plain.tar")).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("groundstate-support/a.txt"), "{listed:?}");
}
