//! One suite for both engines: every test that needs a database takes it from [`database`], and one test here runs the
//! tests of this program once more with a PostgreSQL server behind them.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Db, DbError, log, query, server::Database, sql};
use crate::testing::not_looked_at;

/// Names the server of a run; without it databases are files.
const SERVER: &str = "GROUNDSTATE_TEST_POSTGRES";

/// The database at a place: a file there, or a schema of its own of the server of this run.
pub async fn database(at: &Path) -> Db {
    tried(at).await.unwrap()
}

/// The same, where it may be refused.
pub async fn tried(at: &Path) -> Result<Db, DbError> {
    match std::env::var(SERVER) {
        Ok(url) => Db::connect(&schema(&url, at).await).await,
        Err(_) => Db::open(at).await,
    }
}

/// The schema of a server that belongs to a place.
pub async fn schema(url: &str, at: &Path) -> Database {
    let digest = ring::digest::digest(&ring::digest::SHA256, at.as_os_str().as_encoded_bytes());
    let name = format!("t{}", hex::encode(&digest.as_ref()[..10]));
    let mut conn = PgConnection::connect(url).await.unwrap();
    let made = format!("CREATE SCHEMA IF NOT EXISTS {name}");
    sqlx::raw_sql(AssertSqlSafe(made)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    Database { url: format!("{url}&options[search_path]={name}"), password_file: None }
}

/// A server of our own, as long as this lives.
pub struct Cluster {
    dir: tempfile::TempDir,
    child: Child,
}

impl Cluster {
    /// None: there is no PostgreSQL here, which was said.
    pub fn start(more: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else {
            not_looked_at("PostgreSQL", "postgresql-15");
            return None;
        };
        // What it promises to the disk is tried elsewhere; here it is asked thousands of times.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        if nix::unistd::geteuid().is_root() {
            let user = nix::unistd::User::from_name("postgres").unwrap().expect("Debian's user postgres");
            nix::unistd::chown(dir.path(), Some(user.uid), Some(user.gid)).unwrap();
        }
        let data = dir.path().join("data");
        let made = as_its_user(&programs.join("initdb"))
            .args([
                "--auth=trust",
                "--username=groundstate",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = run(&programs, dir.path(), more);
        Some(Self { dir, child })
    }

    pub fn url(&self) -> String {
        format!("postgres://groundstate@localhost/postgres?host={}", self.dir.path().display())
    }

    /// As after a power cut; it comes back.
    pub fn restart(&mut self) {
        self.child = run(&programs().unwrap(), self.dir.path(), &[]);
    }

    pub fn stop(&mut self) {
        // SIGQUIT: at once, without a checkpoint (postgres(1), "immediate").
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        self.child.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(programs: &Path, dir: &Path, more: &[&str]) -> Child {
    let mut server = as_its_user(&programs.join("postgres"));
    server.arg("-D").arg(dir.join("data")).arg("-k").arg(dir);
    server.args(["-c", "listen_addresses=", "-c", "max_connections=400"]).args(more);
    let mut child = server.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    loop {
        let Some(Ok(line)) = lines.next() else { panic!("PostgreSQL did not start:\n{said}") };
        if line.contains("ready to accept connections") {
            break;
        }
        writeln!(said, "{line}").unwrap();
    }
    // Nobody reads on; it must not wait for that.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop()
}

/// PostgreSQL refuses to run as root.
fn as_its_user(program: &Path) -> Command {
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=KILL", "--"]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    // A signal to the test's own group is not meant for it.
    command.process_group(0).current_dir("/");
    command
}

/// Everything that is in a database, as text.
async fn dump(db: &Db, file: &Path) -> String {
    // Of a server only its own copy can be asked which tables there are.
    db.copy_to(file).await.unwrap();
    let listed = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let copy = Db::open(file).await.unwrap();
    let mut conn = copy.read().await.unwrap();
    let mut text = String::new();
    for row in query(listed).fetch_all(&mut conn).await.unwrap() {
        let table: String = row.try_get("name").unwrap();
        let columns = query(
            "SELECT group_concat('quote(' || name || ')', '||'',''||') AS c FROM pragma_table_info($1)",
        );
        let columns: String = columns.bind(&table).fetch_one(&mut conn).await.unwrap().try_get("c").unwrap();
        let rows = format!("SELECT {columns} AS row FROM {table} ORDER BY 1");
        for row in sql::query_of(rows).fetch_all(&mut conn).await.unwrap() {
            writeln!(text, "{table}: {}", row.try_get::<String>("row").unwrap()).unwrap();
        }
    }
    text
}

/// From a file to a server and back again nothing is lost, and a database that holds something is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn all_rows_go_from_one_engine_to_the_other_and_back() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let bench = crate::testing::Bench::new("").await;
    bench.add("press-01", "02:00:00:00:00:01", serde_json::json!({ "drill_safe": true })).await;
    bench.recover("press-01").await;
    let mut tx = bench.journal.begin().await.unwrap();
    for n in 0..450 {
        tx.note(crate::evidence::Fact::new("order.change", "operator:anna", serde_json::json!({ "n": n })))
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let before = dump(&bench.journal.db, &dir.path().join("before")).await;
    assert!(before.lines().count() > 450, "{before}");
    let server = schema(&cluster.url(), dir.path()).await;
    let kept = Db::connect(&server).await.unwrap();
    let file = Db::open(&dir.path().join("before")).await.unwrap();
    kept.take_over(&file).await.unwrap();
    assert_eq!(dump(&kept, &dir.path().join("after")).await, before);
    assert!(matches!(kept.take_over(&file).await, Err(DbError::Unfit { .. })));
}

async fn write(db: &Db, seq: u64) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    log::append(&mut tx, seq, None, "a", &[[0; 32]]).await?;
    tx.commit().await
}

/// A server that dies is gone and not damaged, nothing of what it answered is lost, and when it is there again we go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_gone_and_comes_back() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let db = Db::connect(&schema(&cluster.url(), dir.path()).await).await.unwrap();
    write(&db, 1).await.unwrap();
    let mut left = db.begin().await.unwrap();
    log::append(&mut left, 2, None, "never committed", &[[0; 32]]).await.unwrap();
    cluster.stop();
    assert!(matches!(left.commit().await, Err(DbError::Gone(_))));
    let refused = write(&db, 2).await.unwrap_err();
    assert!(matches!(refused, DbError::Gone(_)), "{refused:?}");
    let refused = db.read().await.unwrap_err();
    assert!(matches!(refused, DbError::Gone(_)), "{refused:?}");
    cluster.restart();
    write(&db, 2).await.unwrap();
    assert_eq!(log::page(&mut db.read().await.unwrap(), 0, 9, 9).await.unwrap()[1].text, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_what_it_promised_is_refused_and_readers_write_nothing() {
    let Some(cluster) = Cluster::start(&["-c", "fsync=off"]) else { return };
    let server = Database { url: cluster.url(), password_file: None };
    let Err(DbError::Unfit { why }) = Db::connect(&server).await else { panic!("taken") };
    assert!(why.contains("fsync"), "{why}");
    drop(cluster);
    let Some(cluster) = Cluster::start(&[]) else { return };
    let server = Database { url: cluster.url(), password_file: None };
    let db = Db::connect(&server).await.unwrap();
    let written = query("INSERT INTO dead_letter (sink, seq, at, why) VALUES ('a', 1, 1, 'b')");
    let refused = written.execute(&mut db.read().await.unwrap()).await.unwrap_err();
    assert!(matches!(refused, DbError::ReadOnly(_)), "{refused:?}");
    let mut tx = db.begin().await.unwrap();
    super::forward::bury(&mut tx, "a", 1, 1, "with a \0 in it").await.unwrap();
    tx.commit().await.unwrap();
    let dead = super::forward::dead(&mut db.read().await.unwrap(), "a").await.unwrap();
    assert_eq!(dead, (1, Some((1, "with a \u{fffd} in it".to_owned()))));
    let file = tempfile::tempdir().unwrap().path().join("nothing");
    let missing =
        Database { url: format!("postgres://a@localhost/b?host={}", file.display()), password_file: None };
    assert!(matches!(Db::connect(&missing).await, Err(DbError::Gone(_))));
}

/// The tests of this program that take their database from here, once more.
#[test]
fn the_tests_pass_on_postgresql_too() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["agents::", "api::", "backup::", "boot::", "console::", "control_plane::", "db::", "drills::"])
        .args(["evidence::", "forward::", "guard::", "hooks::", "service::", "tickets::"])
        .args(["--skip", "conformance::"])
        .env(SERVER, cluster.url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let passed = said.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next());
    let passed: u32 = passed.unwrap().parse().unwrap();
    assert!(passed > 150, "{said}");
}

/// A server that is there no more and says so to nobody, as one that lost its power: bytes stay in the air until `cut` is false.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_gone_within_a_bounded_time() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = schema(&cluster.url(), dir.path()).await;
    let real = cluster.dir.path().join(SOCKET);
    let listener = tokio::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    let (cut, seen) = tokio::sync::watch::channel(false);
    let between = async {
        let mut pairs = futures_util::stream::FuturesUnordered::new();
        loop {
            tokio::select! {
                taken = listener.accept() => pairs.push(through(taken.unwrap().0, &real, seen.clone())),
                Some(()) = futures_util::StreamExt::next(&mut pairs), if !pairs.is_empty() => {}
            }
        }
    };
    let url =
        server.url.replace(&cluster.dir.path().display().to_string(), &dir.path().display().to_string());
    assert_ne!(url, server.url);
    let asked = async {
        let db = Db::connect(&Database { url, ..server.clone() }).await.unwrap();
        write(&db, 1).await.unwrap();
        let mut left = db.begin().await.unwrap();
        cut.send(true).unwrap();
        let refused = log::append(&mut left, 2, None, "b", &[[0; 32]]).await.unwrap_err();
        assert!(matches!(refused, DbError::Gone(_)), "{refused:?}");
        drop(left);
        let refused = db.begin().await.map(drop).unwrap_err();
        assert!(matches!(refused, DbError::Gone(_)), "{refused:?}");
        cut.send(false).unwrap();
        // Those that were cut stay so; the place of the writer is free again.
        loop {
            match write(&db, 2).await {
                Ok(()) => return,
                Err(error) => assert!(matches!(error, DbError::Gone(_)), "{error:?}"),
            }
        }
    };
    let bounded = tokio::time::timeout(std::time::Duration::from_secs(90), async {
        tokio::select! { () = between => {}, () = asked => {} }
    });
    bounded.await.expect("it waits for ever");
}

const SOCKET: &str = ".s.PGSQL.5432";

/// Bytes to and fro until it is cut; then it is held open, and nothing comes or goes.
async fn through(mut near: tokio::net::UnixStream, real: &Path, mut cut: tokio::sync::watch::Receiver<bool>) {
    if *cut.borrow_and_update() {
        return std::future::pending().await;
    }
    let mut far = tokio::net::UnixStream::connect(real).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _ = cut.changed() => std::future::pending().await,
    }
}
