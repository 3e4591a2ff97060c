//! Two appliances with one identity on one database, in a file and on a server.

use super::*;
use crate::{
    backup::{restore, save},
    db::{
        DbError,
        conformance::{Cluster, schema},
    },
    testing::Bench,
};

const WORD: &str = "correct horse";

/// What an appliance that serves does first.
async fn serving(config: &Config) -> Result<(Db, EvidenceLog), StateError> {
    let keys = backup::keys(config, &config.data_dir)?;
    keys.lock()?;
    let db = Db::of(config).await?;
    db.claim(&keys.own_id()?, 1).await?;
    Ok((db, EvidenceLog::new(keys)))
}

async fn write(db: &Db, log: &EvidenceLog, what: &str) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    log.append(&mut tx, 5, Fact::new("order.change", "operator:anna", json!({ "what": what }))).await?;
    tx.commit().await
}

async fn verified(config: &Config, log: &EvidenceLog) -> Vec<String> {
    let db = Db::of(config).await.unwrap();
    let text = crate::evidence::tests::exported(&db).await;
    recovery_protocol::evidence::verify(text.lines(), *log.origin().key()).unwrap();
    let entries = text.lines().filter_map(recovery_protocol::evidence::entry);
    entries
        .map(|entry| {
            format!("{} {}", entry.kind, entry.facts.get("what").map_or("", |what| what.as_str().unwrap()))
        })
        .collect()
}

/// The first loses its network, the second takes over, the first comes back.
async fn after_a_partition(first: &Config, second: &Config) {
    let (db, log) = serving(first).await.unwrap();
    write(&db, &log, "first").await.unwrap();
    // Begun before the takeover, and never committed: the machine sleeps. What holds the lock is waited for.
    let refused = serving(second).await.unwrap_err();
    assert!(matches!(refused, StateError::Db(DbError::Held { term: 1, .. })), "{refused}");
    let taken = take(second, "the first does not answer").await.unwrap();
    assert_eq!(taken.term, 2);
    assert_eq!(taken.from, backup::keys(first, &first.data_dir).unwrap().own_id().unwrap());
    let (two, two_log) = serving(second).await.unwrap();
    write(&two, &two_log, "second").await.unwrap();

    let refused = write(&db, &log, "too late").await.unwrap_err();
    assert!(matches!(refused, DbError::Fenced { ours: 1, now: 3 }), "{refused}");
    assert!(db.fenced().is_cancelled(), "the appliance stops by this");
    assert!(matches!(write(&db, &log, "again").await, Err(DbError::Fenced { .. })));
    write(&two, &two_log, "still").await.unwrap();
    assert!(!two.fenced().is_cancelled());
    let seen = verified(second, &two_log).await;
    let said: Vec<&str> =
        seen.iter().map(String::as_str).filter(|line| !line.starts_with("state.saved")).collect();
    let end = ["order.change first", "state.taken-over ", "order.change second", "order.change still"];
    assert_eq!(said[said.len() - 4..], end);
}

/// Both data directories; `top` says where the state is.
async fn pair(bench: &Bench, top: &str) -> (Config, Config) {
    let place = |name: &str| {
        let own = format!("data_dir = \"{name}\"\ntrust_root_file = \"trust-root.json\"\n{top}");
        let listen = "[listen]\npeople_address = \"127.0.0.1\"\npeople_port = 0\nendpoints_address = \"127.0.0.1\"\n\
                      endpoints_port = 0\nhttp_port = 0\n";
        let text = format!("{own}{}{listen}", crate::testing::CONFIG);
        Config::parse(&text, &bench.data.path().join("groundstate.toml")).unwrap()
    };
    let (first, second) = (place("first"), place("second"));
    backup::keys(&first, &first.data_dir).unwrap();
    drop(Db::of(&first).await.unwrap());
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_on_one_file_are_one_writer() {
    let bench = Bench::new("").await;
    let (first, _) = pair(&bench, "").await;
    let second = Config { data_dir: bench.data.path().join("second"), ..first.clone() };
    // The same file by another path, and the same keys: a shared disk.
    std::fs::create_dir(&second.data_dir).unwrap();
    std::fs::set_permissions(&second.data_dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for name in ["tls.key", "tls.crt", "evidence.key", "operator.token"] {
        std::fs::copy(first.data_dir.join(name), second.data_dir.join(name)).unwrap();
    }
    std::os::unix::fs::symlink(first.data_dir.join(db::FILE), second.data_dir.join(db::FILE)).unwrap();
    after_a_partition(&first, &second).await;
    let held = serving(&second).await.unwrap();
    let refused = serving(&second).await.unwrap_err();
    assert!(matches!(refused, StateError::Keys(crate::keys::KeyError::InUse { .. })), "{refused}");
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_on_one_server_are_one_writer() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let bench = Bench::new("").await;
    let server = schema(&cluster.url(), bench.data.path()).await;
    let (first, second) = pair(&bench, &format!("database = {:?}\n", server.url)).await;
    // The second has a data directory of its own, with the identity out of a backup.
    let file = bench.data.path().join("b.age");
    save(&first, None, &file, WORD, 4).await.unwrap();
    let refused = restore(&second, &file, WORD, false).await.unwrap_err();
    assert!(matches!(refused, StateError::Db(DbError::Unfit { .. })), "{refused}");
    let contents = restore(&second, &file, WORD, true).await.unwrap();
    assert!(contents.files.iter().any(|file| file.name == "evidence.key"));
    after_a_partition(&first, &second).await;

    // Without the keys nobody takes over.
    let third = Config { data_dir: bench.data.path().join("third"), ..second.clone() };
    assert!(matches!(take(&third, "a").await, Err(StateError::NoState(_))));
    backup::keys(&third, &third.data_dir).unwrap();
    assert!(matches!(take(&third, "a").await, Err(StateError::OtherKeys(_))));
}

/// Down to what the last release knew and up again: what was there stays, and a program that knows less refuses by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_goes_back_and_forward_with_its_data() {
    let cluster = Cluster::start(&[]);
    for on_a_server in [false, true] {
        let bench = Bench::new("").await;
        let more = match &cluster {
            Some(cluster) if on_a_server => {
                format!("database = {:?}\n", schema(&cluster.url(), bench.data.path()).await.url)
            }
            _ => String::new(),
        };
        let (config, _) = pair(&bench, &more).await;
        let (db, log) = serving(&config).await.unwrap();
        write(&db, &log, "before").await.unwrap();
        let mut tx = db.begin().await.unwrap();
        db::lease::put(
            &mut tx,
            &db::lease::Lease { address: "10.0.0.9".into(), mac: "a".into(), until: 99 },
            1,
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        db.close().await;
        drop((db, log));
        assert!(matches!(back_to(&config, 9).await, Err(StateError::Db(DbError::Unfit { .. }))));
        // Another one's is not taken from under it.
        let own = backup::keys(&config, &config.data_dir).unwrap().own_id().unwrap();
        for holder in ["another", &own] {
            let db = Db::of(&config).await.unwrap();
            let mut tx = db.begin().await.unwrap();
            db::reign::turn(&mut tx, holder, 2).await.unwrap();
            tx.commit().await.unwrap();
            db.close().await;
            if holder == "another" {
                let refused = back_to(&config, 14).await.unwrap_err();
                assert!(matches!(refused, StateError::Db(DbError::Held { .. })), "{refused}");
            }
        }
        back_to(&config, 14).await.unwrap();
        let (db, log) = serving(&config).await.unwrap();
        assert_eq!(db::lease::running(&mut db.read().await.unwrap(), 1).await.unwrap().len(), 1);
        let seen = verified(&config, &log).await;
        assert!(
            seen.ends_with(&["order.change before".to_owned(), "state.migrated ".to_owned()]),
            "{seen:?}"
        );
        if !on_a_server {
            let kept = config.data_dir.join(format!("{}.schema-14", db::FILE));
            assert!(kept.is_file(), "the file as it was before the way up");
        }
    }
}

/// A whole appliance that has nothing to write learns it within seconds, and ends with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn an_appliance_that_runs_stops_by_itself_when_another_one_took_over() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let bench = Bench::new("").await;
    let server = schema(&cluster.url(), bench.data.path()).await;
    let (first, second) = pair(&bench, &format!("database = {:?}\n", server.url)).await;
    let file = bench.data.path().join("b.age");
    save(&first, None, &file, WORD, 4).await.unwrap();
    restore(&second, &file, WORD, true).await.unwrap();
    let listening = first.data_dir.join("listening.json");
    let running = std::thread::spawn(move || crate::daemon::serve(first));
    while !listening.is_file() && !running.is_finished() {
        tokio::task::yield_now().await;
    }
    take(&second, "the first does not answer").await.unwrap();
    let ended = tokio::task::block_in_place(|| running.join()).unwrap();
    assert!(matches!(ended, Err(crate::daemon::DaemonError::Fenced)), "{ended:?}");
    let (db, log) = serving(&second).await.unwrap();
    write(&db, &log, "second").await.unwrap();
    assert!(verified(&second, &log).await.ends_with(&["order.change second".to_owned()]));
}
