//! The agent as PID 1: what a kernel expects of its first process, and nothing else.
//!
//! ```text
//! mount /proc /sys /dev … ─► screen ─► panic hook ─► drivers (and again, as devices appear) ─► network ─► hello
//!      any failure ─► screen says what, why and when ─► reboot
//! ```
//!
//! It must never end (the kernel would panic), loop in silence, or start another program than this one ([`crate::recovery::keep`]).

pub mod modules;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitPidFlag, waitpid};

use self::modules::Loader;
use crate::screen::{Mood, Screen};

/// Time a person has to read the last words before a reboot.
pub const LAST_WORDS: Duration = Duration::from_secs(60);
/// Without any sign of progress for this long the recovery system starts over.
const PULSE_MAX: Duration = Duration::from_secs(30 * 60);
/// Drivers looked for often after the start, then seldom.
const COLDPLUG: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(3));
/// How long "after the start" is.
const COLDPLUG_BUSY: Duration = Duration::from_secs(20);

/// Source, target, type, options; in order.
const MOUNTS: [(&str, &str, &str, &str); 5] = [
    ("proc", "/proc", "proc", ""),
    ("sysfs", "/sys", "sysfs", ""),
    ("devtmpfs", "/dev", "devtmpfs", "mode=0755"),
    ("securityfs", "/sys/kernel/security", "securityfs", ""),
    ("tmpfs", "/run", "tmpfs", "mode=0755,size=16m"),
];

/// Mounts the kernel's file systems. A missing one is told, not fatal: later steps say what they lack.
pub fn mount_all() -> Vec<String> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let mut said = Vec::new();
    for (source, target, kind, options) in MOUNTS {
        let _ = fs::create_dir_all(target);
        let flags = if kind == "devtmpfs" { MsFlags::MS_NOSUID } else { flags };
        if let Err(errno) = mount(Some(source), target, Some(kind), flags, Some(options)) {
            said.push(format!("{target} not mounted: {}", errno.desc()));
        }
    }
    // Kernel messages would tear our page apart; only warnings and worse come through.
    let _ = fs::write("/proc/sys/kernel/printk", "4 4 1 7");
    // A kernel that panics, or that has a processor stand still for two minutes, restarts by itself: nobody presses a key on a plant floor.
    // (Its thresholds are half of what a soft lockup takes: Documentation/admin-guide/lockup-watchdogs.rst.)
    for (setting, value) in [("panic", "60"), ("watchdog_thresh", "60"), ("softlockup_panic", "1")] {
        let _ = fs::write(Path::new("/proc/sys/kernel").join(setting), value);
    }
    // There is no modprobe here; the kernel need not try to start one.
    let _ = fs::write("/proc/sys/kernel/modprobe", "");
    said
}

/// Mounts the firmware's variables; possible only once the driver is loaded, and only on UEFI.
fn mount_efivarfs() {
    let target = "/sys/firmware/efi/efivars";
    if Path::new(target).exists() {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
        let _ = mount(Some("efivarfs"), target, Some("efivarfs"), flags, None::<&str>);
    }
}

/// The firmware's variables, to be written for as long as `work` takes.
pub fn with_writable_variables<T>(work: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    let target = Path::new("/sys/firmware/efi/efivars");
    let remount = |more: MsFlags| {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | more;
        mount(Some("efivarfs"), target, None::<&str>, flags, None::<&str>)
    };
    remount(MsFlags::empty())?;
    let done = work(target);
    // It is as good as closed: nothing else here writes there, and the system ends soon.
    let _ = remount(MsFlags::MS_RDONLY);
    done
}

/// A panic anywhere ends on the screen and in a reboot, never in silence.
pub fn install_panic_hook(screen: &Screen) {
    let screen = screen.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let why = panic.to_string();
        screen.last_words("The recovery system has a fault.", &why, &reboots_in(LAST_WORDS));
        std::thread::sleep(LAST_WORDS);
        restart(&screen);
    }));
}

/// Says the last words, waits, reboots.
pub fn last_words(screen: &Screen, what: &str, why: &str, wait: Duration) -> ! {
    screen.show(Mood::Failed(String::new()), what, why, reboots_in(wait));
    std::thread::sleep(wait);
    restart(screen)
}

fn reboots_in(wait: Duration) -> String {
    format!("The endpoint reboots in {} s. Photograph this screen if it comes back.", wait.as_secs())
}

/// Reboots now.
pub fn restart(screen: &Screen) -> ! {
    nix::unistd::sync();
    loop {
        let Err(errno) = reboot(RebootMode::RB_AUTOBOOT);
        let next = "Switch the endpoint off and on by hand.";
        screen.last_words("The endpoint cannot reboot by itself.", errno.desc(), next);
        std::thread::sleep(LAST_WORDS);
    }
}

/// What the driver thread has seen.
#[derive(Debug, Clone, Default)]
pub struct Drivers {
    /// When a device last appeared; `None` until the first pass is over.
    changed: Arc<Mutex<Option<Instant>>>,
}

impl Drivers {
    /// Starts loading drivers, in the background and for as long as the system lives, since buses and cables answer late.
    ///
    /// # Errors
    /// When the recovery system holds no driver index for this kernel.
    pub fn start(screen: &Screen) -> std::io::Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let mut loader = Loader::open(&Path::new("/lib/modules").join(release.trim()))?;
        let (drivers, screen) = (Self::default(), screen.clone());
        let started = Instant::now();
        let changed = drivers.changed.clone();
        std::thread::spawn(move || {
            let say = |line: String| screen.say(line);
            if Path::new("/sys/firmware/efi").exists() {
                loader.load("efivarfs").into_iter().for_each(say);
                mount_efivarfs();
            }
            loop {
                let any = loader.settle(say);
                let mut changed = changed.lock().unwrap_or_else(PoisonError::into_inner);
                if any || changed.is_none() {
                    *changed = Some(Instant::now());
                }
                drop(changed);
                let (busy, idle) = COLDPLUG;
                std::thread::sleep(if started.elapsed() < COLDPLUG_BUSY { busy } else { idle });
            }
        });
        Ok(drivers)
    }

    /// Waits until no device has appeared for `quiet`, but not longer than `limit`.
    pub fn wait_quiet(&self, quiet: Duration, limit: Duration) {
        let until = Instant::now() + limit;
        let is_quiet = || {
            let changed = *self.changed.lock().unwrap_or_else(PoisonError::into_inner);
            changed.is_some_and(|changed| changed.elapsed() >= quiet)
        };
        while !is_quiet() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The sign of life that the caretaker watches.
#[derive(Debug, Clone)]
pub struct Pulse {
    started: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Pulse {
    /// A pulse that beats now.
    pub fn new() -> Self {
        Self { started: Instant::now(), last_ms: Arc::default() }
    }

    /// Something went forward.
    pub fn beat(&self) {
        self.last_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }
}

/// Reaps children that are not ours (PID 1 inherits orphans) and reboots when the pulse stops.
pub fn start_caretaker(screen: &Screen, pulse: &Pulse) {
    let (screen, pulse) = (screen.clone(), pulse.clone());
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {}
            if pulse.age() > PULSE_MAX {
                let why = format!("Nothing went forward for {} minutes.", PULSE_MAX.as_secs() / 60);
                last_words(&screen, "The recovery system starts over.", &why, LAST_WORDS);
            }
        }
    });
}

/// Seconds since the kernel started.
pub fn kernel_seconds() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}
