//! The appliance's own loss, as its keeper meets it: a backup while it runs, a bare machine, last week's database.

use std::process::{Child, Stdio};

use super::Desk;

const CONFIG: &str = "site = \"plant-7\"\n[listen]\npeople_address = \"127.0.0.1\"\npeople_port = 0\n\
    endpoints_address = \"127.0.0.1\"\nendpoints_port = 0\nhttp_port = 0\n[evidence]\nanchor_file = \"anchors\"\n[blueprints.hmi]\nimage = \"hmi-panel\"\n";

/// An appliance that runs; it ends with this.
struct Running<'a> {
    desk: &'a Desk,
    dir: &'a str,
    process: Child,
    url: String,
}

impl<'a> Running<'a> {
    /// Start on the data directory `dir`.
    fn start(desk: &'a Desk, dir: &'a str) -> Self {
        let listening = desk.path(dir).join("listening.json");
        let _ = std::fs::remove_file(&listening);
        let mut command = desk.command(&["serve", "--config", "groundstate.toml", "--data-dir", dir]);
        let errors = std::fs::File::create(desk.path("serve.log")).unwrap();
        let mut process = command.stderr(Stdio::from(errors)).spawn().unwrap();
        let url = loop {
            assert!(
                process.try_wait().unwrap().is_none(),
                "{}",
                std::fs::read_to_string(desk.path("serve.log")).unwrap()
            );
            let said: Option<serde_json::Value> =
                std::fs::read(&listening).ok().and_then(|text| serde_json::from_slice(&text).ok());
            let up = |at: &str| std::net::TcpStream::connect(at).is_ok();
            match said.as_ref().and_then(|said| said["people"].as_str()) {
                Some(at) if up(at) => break format!("https://{at}"),
                _ => std::thread::yield_now(),
            }
        };
        Self { desk, dir, process, url }
    }

    /// The command line, at this appliance.
    fn words<'w>(&'w self, words: &[&'w str]) -> Vec<&'w str> {
        words.iter().copied().chain(["--url", &self.url, "--data-dir", self.dir]).collect()
    }

    fn good(&self, words: &[&str]) -> String {
        self.desk.good(&self.words(words))
    }

    fn refused(&self, words: &[&str], code: i32, says: &str) {
        self.desk.refused(&self.words(words), code, says);
    }

    /// As a service manager stops it.
    fn stop(mut self) {
        let id = self.process.id().to_string();
        std::process::Command::new("kill").arg(id).status().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn desk() -> Desk {
    let desk = Desk::new();
    std::fs::write(desk.path("groundstate.toml"), CONFIG).unwrap();
    std::fs::write(desk.path("word"), "correct horse\n").unwrap();
    desk
}

#[test]
fn a_bare_machine_serves_as_the_same_appliance_after_a_restore() {
    let desk = desk();
    let old = Running::start(&desk, "old");
    old.good(&["endpoint", "add", "press-01", "--mac", "52:54:00:12:34:56", "--blueprint", "hmi"]);
    old.good(&["person", "add", "anna", "--role", "engineer", "--token-out", "anna.token"]);
    let save =
        ["backup", "b.age", "--config", "groundstate.toml", "--passphrase-file", "word", "--data-dir", "old"];
    std::fs::write(desk.path("kept"), desk.good(&save)).unwrap();
    // What came after the backup is lost with the machine.
    let pin = desk.good(&["init", "--config", "groundstate.toml", "--data-dir", "old"]);
    old.stop();

    let back = [
        "restore-state",
        "b.age",
        "--config",
        "groundstate.toml",
        "--passphrase-file",
        "word",
        "--data-dir",
        "new",
    ];
    let mut cut = std::fs::read(desk.path("b.age")).unwrap();
    cut.truncate(cut.len() / 2);
    std::fs::write(desk.path("cut.age"), cut).unwrap();
    let mut of_cut = back;
    of_cut[1] = "cut.age";
    desk.refused(&of_cut, 10, "altered, or cut off");
    assert!(!desk.path("new").exists());
    desk.good(&back);
    desk.refused(&back, 5, "is not overwritten");

    let new = Running::start(&desk, "new");
    assert_eq!(
        desk.good(&["init", "--config", "groundstate.toml", "--data-dir", "new"]),
        pin,
        "one identity"
    );
    assert!(new.good(&["endpoint", "list"]).contains("press-01"));
    assert!(
        new.good(&["endpoint", "list", "--token-file", "anna.token"]).contains("press-01"),
        "people, too"
    );
    let said = new.good(&["evidence", "verify", "--since", "kept"]);
    assert!(said.contains("good:") && said.contains("1 kept checkpoints"), "{said}");
    new.stop();
}

#[test]
fn last_weeks_database_is_refused_at_the_start_and_named_by_what_was_kept() {
    let desk = desk();
    let first = Running::start(&desk, "state");
    first.good(&["endpoint", "add", "press-02", "--mac", "52:54:00:12:34:57", "--blueprint", "hmi"]);
    first.good(&["evidence", "checkpoint", "--out", "kept-0"]);
    first.stop();
    std::fs::copy(desk.path("state/groundstate.db"), desk.path("old.db")).unwrap();

    let second = Running::start(&desk, "state");
    second.good(&["endpoint", "add", "press-01", "--mac", "52:54:00:12:34:56", "--blueprint", "hmi"]);
    second.good(&["evidence", "checkpoint", "--out", "kept-1"]);
    let key = second.good(&["evidence", "export", "--out", "log"]);
    assert_eq!(key, "");
    let held = second.good(&["evidence", "prove", "--since", "kept-0", "--out", "proof"]);
    assert_eq!(held, "");
    let anchored = |desk: &Desk| std::fs::read_to_string(desk.path("anchors")).unwrap_or_default();
    let kept = std::fs::read_to_string(desk.path("kept-1")).unwrap();
    let size = |note: &str| note.lines().nth(1).unwrap().parse::<u64>().unwrap();
    while !recovery_protocol::evidence::checkpoint::notes(&anchored(&desk))
        .any(|note| size(note) >= size(&kept))
    {
        std::thread::yield_now();
    }
    second.stop();

    for gone in ["groundstate.db-wal", "groundstate.db-shm"] {
        let _ = std::fs::remove_file(desk.path("state").join(gone));
    }
    std::fs::copy(desk.path("old.db"), desk.path("state/groundstate.db")).unwrap();
    let serve = ["serve", "--config", "groundstate.toml", "--data-dir", "state"];
    desk.refused(&serve, 1, "the database is not the one that");
    std::fs::rename(desk.path("anchors"), desk.path("anchors.kept")).unwrap();
    let third = Running::start(&desk, "state");
    third.refused(&["evidence", "verify", "--since", "kept-1"], 10, "covers");
    third.refused(&["evidence", "verify", "--anchor", "anchors.kept"], 10, "covers");
    let since = desk.run(&third.words(&["evidence", "prove", "--since", "kept-1"]));
    assert!(!since.status.success(), "{}", String::from_utf8_lossy(&since.stdout));
    third.good(&["evidence", "verify", "--since", "kept-0"]);
    third.good(&["evidence", "export", "--out", "after"]);
    assert!(std::fs::read_to_string(desk.path("after")).unwrap().contains("alarm.rolled-back"));
    third.stop();
}
