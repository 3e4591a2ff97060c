//! Keys on disk, with a passphrase, with a TPM in software, on another machine, and in a backup.

use super::*;
use crate::{attest::tests::peers::SwTpm, backup, config::Config, keys::Keys};

const WORD: &str = "correct horse battery";

fn config(dir: &Path, secrets: &str) -> Config {
    let text = format!("data_dir = \"state\"\n{secrets}");
    Config::parse(&text, &dir.join("groundstate.toml")).unwrap()
}

fn with_passphrase(dir: &Path, word: &str) -> Config {
    fs::write(dir.join("word"), format!("{word}\n")).unwrap();
    config(dir, "[secrets]\nseal = \"passphrase\"\npassphrase_file = \"word\"\n")
}

/// Nobody has written it for a while.
fn settle(path: &Path) {
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(120);
    fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

/// As the appliance starts to serve.
fn serve(config: &Config) -> Seal {
    let (_, seal) = backup::opened(config, &config.data_dir).unwrap();
    serve_secrets(&config.data_dir, seal.as_ref()).unwrap();
    seal.unwrap()
}

/// Every file below a directory, as bytes.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()))
        }
    }
    found
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// No file of the directory holds a piece of these keys.
fn hides(dir: &Path, keys: &Keys, evidence: &[u8]) {
    let inner: String = keys.tls_key_pem.lines().filter(|line| !line.starts_with("-----")).collect();
    for (path, bytes) in files(dir) {
        assert!(!holds(&bytes, &inner.as_bytes()[..40]), "{}", path.display());
        assert!(!holds(&bytes, &evidence[16..48]), "{}", path.display());
        assert!(!holds(&bytes, b"PRIVATE KEY"), "{}", path.display());
    }
}

fn same(a: &Keys, b: &Keys) -> bool {
    a.tls_key_pem == b.tls_key_pem && a.evidence_public() == b.evidence_public()
}

#[test]
fn a_passphrase_seals_what_was_in_clear_and_without_it_nothing_opens() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let plain = backup::keys(&config(dir.path(), ""), &state).unwrap();
    let evidence = fs::read(state.join("evidence.key")).unwrap();
    let sealed = with_passphrase(dir.path(), WORD);
    assert!(same(&plain, &backup::keys(&sealed, &state).unwrap()));
    hides(&state, &plain, &evidence);
    assert!(same(&plain, &backup::keys(&sealed, &state).unwrap()), "at the next start");

    let refused = backup::keys(&config(dir.path(), ""), &state).unwrap_err().to_string();
    assert!(refused.contains("is sealed; say in [secrets]"), "{refused}");
    let refused = backup::keys(&with_passphrase(dir.path(), "canary-wrong"), &state).unwrap_err().to_string();
    assert!(refused.contains("the passphrase does not open") && !refused.contains("canary"), "{refused}");
    let refused = backup::keys(&with_passphrase(dir.path(), ""), &state).unwrap_err().to_string();
    assert!(refused.contains("no passphrase was given"), "{refused}");

    let mut bytes = fs::read(state.join("tls.key")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(state.join("tls.key"), bytes).unwrap();
    let refused = backup::keys(&with_passphrase(dir.path(), WORD), &state).unwrap_err().to_string();
    assert!(refused.contains("is not what was sealed"), "{refused}");
}

#[test]
fn this_tpm_opens_and_another_one_does_not() {
    let (tpm, other) = (SwTpm::start(), SwTpm::start());
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let by =
        |tpm: &SwTpm| config(dir.path(), &format!("[secrets]\nseal = \"tpm\"\ntpm = \"{}\"\n", tpm.tcti));
    let made = backup::keys(&by(&tpm), &state).unwrap();
    let seal = Seal::open(&state, by(&tpm).secrets.as_ref()).unwrap().unwrap();
    let evidence = read(&state.join("evidence.key"), Some(&seal)).unwrap();
    hides(&state, &made, &evidence);
    assert!(files(&state).iter().all(|(_, bytes)| !holds(bytes, seal.0.as_bytes())), "the word is nowhere");
    assert!(same(&made, &backup::keys(&by(&tpm), &state).unwrap()));
    let refused = backup::keys(&by(&other), &state).unwrap_err().to_string();
    assert!(
        refused.contains("the TPM did not do tpm2_load") && refused.contains("restore the newest backup"),
        "{refused}"
    );
    assert!(same(&made, &backup::keys(&by(&tpm), &state).unwrap()), "a stranger's try harms nothing");
    let nowhere = config(dir.path(), "[secrets]\nseal = \"tpm\"\ntpm = \"device:/dev/null\"\n");
    assert!(matches!(backup::keys(&nowhere, &state), Err(keys::KeyError::Sealed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_sealed_appliance_opens_on_another_machine_by_its_own_passphrase() {
    let tpm = SwTpm::start();
    let dir = tempfile::tempdir().unwrap();
    let by_tpm = config(dir.path(), &format!("[secrets]\nseal = \"tpm\"\ntpm = \"{}\"\n", tpm.tcti));
    let made = backup::keys(&by_tpm, &by_tpm.data_dir).unwrap();
    crate::enrol::ca::Authority::open(&by_tpm.data_dir.join("ca"), "a", 1, None).unwrap();
    crate::db::Db::of(&by_tpm).await.unwrap().close().await;
    let secrets = by_tpm.data_dir.join("secrets");
    serve(&by_tpm);
    fs::write(secrets.join("press-01"), "the BMC's own\n").unwrap();
    settle(&secrets.join("press-01"));
    assert_eq!(*secret(&secrets.join("press-01")).unwrap(), "the BMC's own\n");
    let file = dir.path().join("b.age");
    backup::save(&by_tpm, None, &file, "of the backup", 4).await.unwrap();
    assert!(!by_tpm.data_dir.join("backup-seal.new").exists());
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let new = with_passphrase(&elsewhere, WORD);
    backup::restore(&new, &file, "of the backup", false).await.unwrap();
    assert!(same(&made, &backup::keys(&new, &new.data_dir).unwrap()));
    serve(&new);
    let brought = new.data_dir.join("secrets/press-01");
    assert_eq!(fs::read(&brought).unwrap(), b"the BMC's own\n", "opened by the backup's passphrase");
    settle(&brought);
    assert_eq!(*secret(&brought).unwrap(), "the BMC's own\n");
    for data_dir in [&by_tpm.data_dir, &new.data_dir] {
        let path = data_dir.join("secrets/press-01");
        assert!(fs::read(&path).unwrap().starts_with(MARK), "sealed here as there");
        assert_eq!(*secret(&path).unwrap(), "the BMC's own\n");
    }
    assert!(!new.data_dir.join(BY_TPM).exists(), "the first one's TPM is of no use here");
    let refused = backup::keys(&config(&elsewhere, ""), &new.data_dir).unwrap_err().to_string();
    assert!(refused.contains("is sealed"), "sealed by its own passphrase at once: {refused}");
}

/// An appliance, a backup and an order to take over may all be the first: they have one word, and one set of keys.
#[test]
fn who_makes_the_seal_at_once_makes_one_and_no_other_word_is_made_over_sealed_keys() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_passphrase(dir.path(), WORD);
    fs::DirBuilder::new().mode(0o700).create(&config.data_dir).unwrap();
    let start = std::sync::Barrier::new(4);
    let words: Vec<Zeroizing<String>> = std::thread::scope(|scope| {
        let open = || {
            start.wait();
            Seal::open(&config.data_dir, config.secrets.as_ref()).unwrap().unwrap().0
        };
        let all: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(words.iter().all(|word| *word == words[0]));
    let all: Vec<_> = std::thread::scope(|scope| {
        let open = || backup::keys(&config, &config.data_dir).unwrap();
        let all: Vec<_> = (0..2).map(|_| scope.spawn(open)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(same(&all[0], &all[1]));
    assert!(files(&config.data_dir).iter().all(|(path, _)| path.extension().is_none_or(|end| end != "new")));

    let before = fs::read(config.data_dir.join("tls.key")).unwrap();
    fs::remove_file(config.data_dir.join(BY_PASSPHRASE)).unwrap();
    let refused = backup::keys(&config, &config.data_dir).unwrap_err().to_string();
    assert!(refused.contains("no other word was made"), "{refused}");
    assert!(!config.data_dir.join(BY_PASSPHRASE).exists());
    assert_eq!(fs::read(config.data_dir.join("tls.key")).unwrap(), before);
}

#[test]
fn the_root_key_of_endpoints_is_sealed_before_it_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_passphrase(dir.path(), WORD);
    let state = dir.path().join("state");
    let seal = Seal::open(&state, config.secrets.as_ref()).unwrap();
    let ca = state.join("ca");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&ca).unwrap();
    // Its founding is cut right after the key: the certificate has no place.
    std::os::unix::fs::symlink(dir.path().join("nowhere/at/all"), ca.join("root.crt")).unwrap();
    let cut = crate::enrol::ca::Authority::open(&ca, "plant 1", 1_763_800_000, seal.as_ref());
    assert!(cut.is_err());
    let key = fs::read(ca.join("root.key")).unwrap();
    assert!(key.starts_with(MARK) && !holds(&key, b"PRIVATE KEY"));
}

#[test]
fn secrets_that_lie_with_the_appliance_are_sealed_and_opened_for_who_needs_them() {
    let dir = tempfile::tempdir().unwrap();
    let sealed = with_passphrase(dir.path(), WORD);
    let (state, secrets) = (sealed.data_dir.clone(), sealed.data_dir.join("secrets"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&secrets).unwrap();
    let of = |name: &str, text: &str| {
        fs::write(secrets.join(name), text).unwrap();
        secrets.join(name)
    };
    let (bmc, snmp, outside) =
        (of("press-01", "canary-one"), of("snmp.conf", "defCommunity x"), dir.path().join("own"));
    fs::write(&outside, "canary-outside").unwrap();
    let link = secrets.join("link");
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    // Without a seal nothing changes.
    backup::keys(&config(dir.path(), ""), &state).unwrap();
    assert_eq!(
        (fs::read(&bmc).unwrap().as_slice(), secret(&bmc).unwrap().as_str()),
        (&b"canary-one"[..], "canary-one")
    );
    // A command beside the appliance opens, and seals nothing.
    [&bmc, &snmp, &outside].into_iter().for_each(|path| settle(path));
    backup::keys(&sealed, &state).unwrap();
    assert_eq!(*secret(&bmc).unwrap(), "canary-one");
    assert_eq!(fs::read(&bmc).unwrap(), b"canary-one");
    // Nor does the appliance because it lies there: who reads it otherwise could not open it.
    serve(&sealed);
    assert_eq!(fs::read(&bmc).unwrap(), b"canary-one");
    assert_eq!(*secret(&bmc).unwrap(), "canary-one");
    assert!(fs::read(&bmc).unwrap().starts_with(MARK));
    assert_eq!(*secret(&bmc).unwrap(), "canary-one");
    // What net-snmp reads is opened for it, and lies sealed like the others.
    assert_eq!(*secret(&snmp).unwrap(), "defCommunity x");
    assert!(fs::read(&snmp).unwrap().starts_with(MARK));
    assert_eq!(*secret(&snmp).unwrap(), "defCommunity x");
    let listed = at_rest(&state);
    assert!(listed.contains(&("secrets/press-01".to_owned(), true)), "{listed:?}");
    for (path, text) in [(&outside, "canary-outside"), (&link, "canary-outside")] {
        assert_eq!(
            (fs::read_to_string(path).unwrap().as_str(), secret(path).unwrap().as_str()),
            (text, text)
        );
    }
    // One that is written while it serves: used at once, sealed when nobody writes it any more.
    let new = of("press-02", "canary-two");
    assert_eq!(*secret(&new).unwrap(), "canary-two");
    assert_eq!(fs::read(&new).unwrap(), b"canary-two", "somebody may still be writing it");
    settle(&new);
    assert_eq!(*secret(&new).unwrap(), "canary-two");
    assert!(fs::read(&new).unwrap().starts_with(MARK));
    assert_eq!(*secret(&new).unwrap(), "canary-two");
    for (path, bytes) in files(&state) {
        let hidden =
            ["canary-one", "canary-two", "defCommunity"].iter().all(|word| !holds(&bytes, word.as_bytes()));
        assert!(hidden, "{}", path.display());
    }
    // Altered, of another folder, and after the seal is lost.
    let mut bytes = fs::read(&new).unwrap();
    let moved = dir.path().join("moved");
    fs::write(&moved, &bytes).unwrap();
    assert!(secret(&moved).unwrap_err().to_string().contains("is sealed"));
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&new, &bytes).unwrap();
    assert!(secret(&new).is_err());
    let refused = backup::keys(&config(dir.path(), ""), &state).unwrap_err().to_string();
    assert!(refused.contains("is sealed"), "{refused}");
    for key in ["tls.key", "evidence.key", BY_PASSPHRASE] {
        fs::remove_file(state.join(key)).unwrap();
    }
    let lost = backup::keys(&sealed, &state).unwrap_err().to_string();
    assert!(lost.contains("no other word was made") && lost.contains("secrets"), "{lost}");
}

/// BMCs by their addresses, a BMC and an outlet of one endpoint: each keeps its own.
#[test]
fn secrets_of_like_names_that_are_sealed_at_once_stay_whose_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_passphrase(dir.path(), WORD);
    serve(&config);
    let folder = config.data_dir.join("secrets");
    let all: Vec<PathBuf> = (0..8).map(|n| folder.join(format!("10.8.0.{n}"))).collect();
    for path in &all {
        fs::write(path, path.display().to_string()).unwrap();
        settle(path);
    }
    let start = std::sync::Barrier::new(2 * all.len());
    std::thread::scope(|scope| {
        for path in all.iter().chain(&all) {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                assert_eq!(*secret(path).unwrap(), path.display().to_string());
            });
        }
    });
    for path in &all {
        assert!(fs::read(path).unwrap().starts_with(MARK), "{}", path.display());
        assert_eq!(*secret(path).unwrap(), path.display().to_string());
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), all.len(), "nothing is left beside them");
}

#[test]
fn a_secret_that_came_meanwhile_is_not_written_over_and_stays_its_owners() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let dir = tempfile::tempdir().unwrap();
    let config = with_passphrase(dir.path(), WORD);
    let Seal(word) = serve(&config);
    let folder = config.data_dir.join("secrets");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "made for what comes");
    let path = folder.join("press-01");
    fs::write(&path, "new").unwrap();
    settle(&path);
    named::seal_in_place(&path, b"old", &word).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // Where that is allowed: a backup by root.
    let root = nix::unistd::geteuid().is_root();
    if root {
        chown(&path, Some(65_534), Some(65_534)).unwrap();
        chown(config.data_dir.join("tls.key"), Some(65_534), Some(65_534)).unwrap();
        keep(&config.data_dir.join("tls.key"), b"key", None).unwrap();
        assert_eq!(fs::metadata(config.data_dir.join("tls.key")).unwrap().uid(), 65_534);
    }
    let before = fs::metadata(&path).unwrap();
    named::seal_in_place(&path, b"new", &word).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(MARK));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
}

#[test]
fn a_key_in_secrets_opens_for_who_connects_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_passphrase(dir.path(), WORD);
    serve(&config);
    let own = rcgen::generate_simple_self_signed(vec!["appliance".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("own.crt"), config.data_dir.join("secrets/own.key"));
    fs::write(&certificate, own.cert.pem()).unwrap();
    fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    settle(&key);
    let own = Some((certificate.as_path(), key.as_path()));
    let known = crate::asking::pinned::Known { ca_file: &certificate, own, names_count: true };
    for _ in 0..2 {
        crate::asking::pinned::client(known).unwrap();
        assert!(fs::read(&key).unwrap().starts_with(MARK));
    }
}

#[test]
fn a_passphrase_does_not_lie_among_what_it_opens() {
    let text =
        "data_dir = \"state\"\n[secrets]\nseal = \"passphrase\"\npassphrase_file = \"state/secrets/word\"\n";
    let refused = Config::parse(text, Path::new("/etc/groundstate/groundstate.toml")).unwrap_err();
    let refused = format!("{refused} {refused:?}");
    assert!(refused.contains("lies among what it opens"), "{refused}");
}
