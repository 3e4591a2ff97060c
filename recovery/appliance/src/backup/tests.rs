//! A whole appliance saved, lost, and back: as it was, or not at all.

use recovery_protocol::{evidence::Verifier, job::JobState};

use super::*;
use crate::{evidence::tests::exported, testing::Bench};

const WORD: &str = "correct horse";
const WORK: u8 = 4;

/// An appliance with an endpoint, an open job and something outside of its data directory.
async fn bench() -> (Bench, Config) {
    let bench = Bench::new("").await;
    bench.add("press-01", "52:54:00:12:34:56", json!({})).await;
    bench.recover("press-01").await;
    let state = bench.data.path().join("state");
    // As the daemon calls it.
    bench.journal.db.copy_to(&state.join(DATABASE)).await.unwrap();
    fs::create_dir(state.join("ca")).unwrap();
    fs::write(state.join("ca/root.key"), "a key").unwrap();
    let config = Config { data_dir: state, ..(*bench.journal.config).clone() };
    (bench, config)
}

fn elsewhere(bench: &Bench, config: &Config, name: &str) -> Config {
    Config { data_dir: bench.data.path().join(name), ..config.clone() }
}

#[tokio::test]
async fn a_bare_appliance_is_the_same_one_after_a_restore_and_takes_up_no_old_job() {
    let (bench, config) = bench().await;
    let (file, toml) = (bench.data.path().join("b.age"), bench.data.path().join("g.toml"));
    fs::write(&toml, "site = \"plant-7\"\n").unwrap();
    let saved = save(&config, Some(&toml), &file, WORD, WORK).await.unwrap();
    let bytes = fs::read(&file).unwrap();
    let token = fs::read_to_string(config.data_dir.join("operator.token")).unwrap();
    assert!(!bytes.windows(16).any(|window| window == &token.as_bytes()[..16]), "nothing can be read in it");
    assert!(!config.data_dir.join("backup.new").exists() && !bench.data.path().join("b.age.new").exists());

    let new = elsewhere(&bench, &config, "new");
    fs::create_dir(&new.data_dir).unwrap();
    assert_eq!(restore(&new, &file, WORD, false).await.unwrap(), saved);
    for name in ["tls.key", "evidence.key", "operator.token", "ca/root.key"] {
        let (was, is) = (config.data_dir.join(name), new.data_dir.join(name));
        assert_eq!(fs::read(was).unwrap(), fs::read(is).unwrap(), "{name}");
    }
    assert_eq!(fs::read(new.data_dir.join("groundstate.toml")).unwrap(), b"site = \"plant-7\"\n");
    assert!(new.data_dir.join("trust-root.json").is_file() && !new.data_dir.join("images").exists());
    let db = Db::open(&new.data_dir.join(DATABASE)).await.unwrap();
    let mut conn = db.read().await.unwrap();
    assert!(db::endpoint::get(&mut conn, &"press-01".parse().unwrap()).await.unwrap().is_some());
    assert!(
        db::job::open(&mut conn)
            .await
            .unwrap()
            .iter()
            .all(|row| !matches!(row.job.state, JobState::Working { .. }))
    );
    // Whoever kept what the lost one signed last finds it in the new one's log.
    let mut verifier = Verifier::new(*bench.journal.origin().key());
    verifier.hold("the backup's checkpoint", &saved.checkpoint).unwrap();
    let text = exported(&db).await;
    text.lines().try_for_each(|line| verifier.line(line)).unwrap();
    assert_eq!(verifier.finish().unwrap().held, 1);
    let kinds: Vec<String> =
        text.lines().filter_map(recovery_protocol::evidence::entry).map(|entry| entry.kind).collect();
    assert_eq!(kinds.last().unwrap(), "state.restored");
    assert!(kinds.contains(&"state.saved".to_owned()));
}

#[tokio::test]
async fn what_is_altered_cut_or_locked_restores_nothing_at_all() {
    let (bench, config) = bench().await;
    let file = bench.data.path().join("b.age");
    save(&config, None, &file, WORD, WORK).await.unwrap();
    let whole = fs::read(&file).unwrap();
    let new = elsewhere(&bench, &config, "new");
    let bad = bench.data.path().join("bad.age");
    let half = whole.len() / 2;
    let altered = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        altered(60),
        altered(half),
        altered(whole.len() - 1),
        whole[..half].to_vec(),
        whole[..whole.len() - 17].to_vec(),
        Vec::new(),
    ];
    for bytes in cases {
        fs::write(&bad, bytes).unwrap();
        assert!(matches!(restore(&new, &bad, WORD, false).await, Err(StateError::Refused { .. })));
        assert!(!new.data_dir.exists() && !bench.data.path().join("new.restoring").exists());
    }
    let refused = restore(&new, &file, "wrong", false).await.unwrap_err().to_string();
    assert!(refused.contains("the passphrase does not open it"), "{refused}");
    assert!(!new.data_dir.exists());
}

#[tokio::test]
async fn nothing_that_is_there_is_overwritten() {
    let (bench, config) = bench().await;
    let file = bench.data.path().join("b.age");
    save(&config, None, &file, WORD, WORK).await.unwrap();
    assert!(matches!(save(&config, None, &file, WORD, WORK).await, Err(StateError::Exists(_))));
    assert!(matches!(restore(&config, &file, WORD, false).await, Err(StateError::Exists(_))));
    let none = elsewhere(&bench, &config, "none");
    assert!(matches!(
        save(&none, None, &bench.data.path().join("c"), WORD, WORK).await,
        Err(StateError::NoState(_))
    ));
    assert!(!none.data_dir.exists());
}

/// Somebody who has the word makes a backup that holds another log than it says.
#[tokio::test]
async fn a_log_that_is_not_the_signed_one_is_refused() {
    let (bench, config) = bench().await;
    let file = bench.data.path().join("b.age");
    let mut contents = save(&config, None, &file, WORD, WORK).await.unwrap();
    let files = bench.data.path().join("files");
    fs::create_dir(&files).unwrap();
    unpack(&file, WORD, &files.join("all")).unwrap();
    let db = Db::open(&files.join("all").join(DATABASE)).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    db::query("UPDATE evidence SET text = replace(text, 'order', 'odder')").execute(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    db.close().await;
    let paths: Vec<(String, PathBuf)> =
        contents.files.iter().map(|one| (one.name.clone(), files.join("all").join(&one.name))).collect();
    contents.files = paths.iter().map(|(name, path)| described(name, path).unwrap()).collect();
    let forged = bench.data.path().join("forged.age");
    write(&contents, &paths, &forged, WORD, WORK).unwrap();
    let new = elsewhere(&bench, &config, "new");
    let refused = restore(&new, &forged, WORD, false).await.unwrap_err().to_string();
    assert!(refused.contains("evidence log is not what was signed: entry 1 "), "{refused}");
    assert!(!new.data_dir.exists());
}
