//! kill -9 at any moment of an import, of a collection, of a bundle: the store opens whole, and the work can be repeated.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::{Desk, all_whole};

/// How often each piece of work is to be killed, at moments spread evenly over the time that it takes.
const KILLS: u32 = 16;

/// Goes on until that many were killed: a piece of work takes less time once the disk is warm, more when the computer is busy.
const TRIES: u32 = 6 * KILLS;

/// The moments of one piece of work. What ends before its moment tells how long the work takes now.
pub struct Moments {
    whole: Duration,
    tries: u32,
    killed: u32,
}

impl Moments {
    pub fn of(whole: Duration) -> Self {
        Self { whole, tries: 0, killed: 0 }
    }

    /// Whether some are still to be killed.
    pub fn left(&self) -> bool {
        self.killed < KILLS
    }

    /// Start the work and kill it at the next moment.
    pub fn kill_next(&mut self, command: &mut Command) {
        assert!(
            self.tries < TRIES,
            "only {} of {TRIES} were killed in time: this test shows little",
            self.killed
        );
        self.tries += 1;
        let after = self.whole * self.killed / KILLS;
        match kill_after(command, after) {
            None => self.killed += 1,
            Some(took) => self.whole = took,
        }
    }
}

/// Start a program and kill it after a while, unless it has ended by then: then says how long it took.
fn kill_after(command: &mut Command, after: Duration) -> Option<Duration> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let (ended, end) = channel();
    std::thread::spawn(move || {
        let _ = out.read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    if end.recv_timeout(after) == Err(RecvTimeoutError::Timeout) {
        child.kill().unwrap();
    }
    // Its status decides: it may have ended in the moment in which it was to be killed.
    let status = child.wait().unwrap();
    let killed = status.signal().is_some();
    assert!(killed || status.success(), "{command:?} failed by itself: {status}");
    (!killed).then(|| begun.elapsed())
}

pub fn time(command: &mut Command) -> Duration {
    let begun = Instant::now();
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    begun.elapsed()
}

fn files(desk: &Desk, dir: &str) -> usize {
    std::fs::read_dir(desk.path("store").join(dir)).unwrap().count()
}

#[test]
fn an_import_killed_at_any_moment_leaves_a_whole_store_and_can_be_repeated() {
    // More than two packs, so that some are sealed before the last moment.
    let len = 150 << 20;
    let (calm, desk) = (Desk::new(), Desk::new());
    calm.disk("disk.raw", 1, len);
    desk.disk("disk.raw", 1, len);
    let words = ["image", "import", "disk.raw", "--name", "hmi", "--version", "1", "--epoch", "1"];
    let mut moments = Moments::of(time(&mut calm.command(&words)));
    while moments.left() {
        moments.kill_next(&mut desk.command(&words));
        let images = all_whole(&desk.path("store"));
        assert_eq!((files(&desk, "temp"), files(&desk, "sessions")), (0, 0), "what the dead left is removed");
        if images > 0 {
            std::fs::remove_dir_all(desk.path("store")).unwrap();
        }
    }
    desk.good(&words);
    assert_eq!(all_whole(&desk.path("store")), 1);
    // What the killed ones left, and no image needs, goes.
    desk.good(&["image", "gc", "--grace-hours", "0"]);
    assert_eq!(all_whole(&desk.path("store")), 1);
    let (chunks, stored) = (desk.store().counts().1, calm.store().counts().1);
    assert_eq!(chunks, stored);
}

#[test]
fn a_collection_killed_at_any_moment_takes_nothing_that_is_needed() {
    let desk = Desk::new();
    desk.disk("kept.raw", 1, 8 << 20);
    // A third of it is in another image too, so that its pack is rewritten and not only removed.
    desk.disk("gone.raw", 2, 24 << 20);
    let gone = std::fs::read(desk.path("gone.raw")).unwrap();
    std::fs::write(desk.path("part.raw"), [&gone[..8 << 20], &vec![0; 24 << 20]].concat()).unwrap();
    let collect = ["image", "gc", "--grace-hours", "0"];
    let fill = || {
        desk.import("gone.raw", "gone");
        desk.import("part.raw", "part");
        desk.good(&["image", "delete", "hmi:gone"]);
    };
    // Else the next filling finds the third in a pack of its own, and nothing has to be rewritten.
    let empty = || {
        desk.good(&["image", "delete", "hmi:part"]);
        desk.good(&collect);
    };
    desk.import("kept.raw", "kept");
    fill();
    let mut moments = Moments::of(time(&mut desk.command(&collect)));
    empty();
    while moments.left() {
        fill();
        moments.kill_next(&mut desk.command(&collect));
        assert_eq!(all_whole(&desk.path("store")), 2);
        empty();
    }
    assert_eq!(all_whole(&desk.path("store")), 1);
    let left = desk.store();
    let kept = left.get_manifest(&left.list().unwrap()[0]).unwrap().parse().unwrap();
    let needed: std::collections::HashSet<_> = kept.chunk_ids().collect();
    assert_eq!(left.counts().1, needed.len(), "what was deleted is gone");
}

#[test]
fn a_bundle_killed_on_its_way_goes_on_where_it_was() {
    let (from, to) = (Desk::new(), Desk::new());
    from.disk("disk.raw", 1, 150 << 20);
    from.import("disk.raw", "1");
    let export = ["image", "export", "hmi", "--out", "hmi.bundle"];
    let whole = time(&mut from.command(&export));
    let good = std::fs::read(from.path("hmi.bundle")).unwrap();
    std::fs::remove_file(from.path("hmi.bundle")).unwrap();
    for moment in [1, 3, 5, 7] {
        let killed = kill_after(&mut from.command(&export), whole * moment / 8).is_none();
        assert_eq!(killed, !from.path("hmi.bundle").exists(), "what has the bundle's name is whole");
        let _ = std::fs::remove_file(from.path("hmi.bundle"));
    }
    from.good(&export);
    assert!(std::fs::read(from.path("hmi.bundle")).unwrap() == good);

    std::fs::write(to.path("hmi.bundle"), good).unwrap();
    let import = ["image", "import-bundle", "hmi.bundle", "--untrusted"];
    for moment in 1..8 {
        if kill_after(&mut to.command(&import), whole * moment / 8).is_none() {
            all_whole(&to.path("store"));
        }
    }
    to.good(&import);
    assert_eq!(all_whole(&to.path("store")), 1);
}
