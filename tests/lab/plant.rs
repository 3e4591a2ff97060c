//! The plant network: a namespace of its own with a bridge, a tap for each endpoint, and addresses for BMCs.
//!
//! ```text
//!   outside                              inside (user, network, process and mount namespace)
//!   lab demo ── unshare ───────────────► lab demo        plant0 10.77.0.1/24 ── tap0, tap1, …
//!     │ standard input held open ──────► end of input ends the inside
//!     │ 127.0.0.1:<free port> ─► console.sock ─► 10.77.0.1:443
//! ```
//!
//! Everything that starts inside dies with it: the inside is the init of its own process namespace. Fixed names and addresses are
//! fine here, because nobody else is. Nothing outside the namespace is configured, ever.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};

/// The appliance's address on the plant network.
pub const APPLIANCE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The same over IPv6, which only firmware speaks here.
pub const APPLIANCE_IPV6: &str = "fd00:77::1";

/// The plant's bridge.
pub const BRIDGE: &str = "plant0";

/// Tells the inside its run directory.
const RUN_DIR: &str = "GROUNDSTATE_LAB_RUN";
/// Tells the inside which port of 127.0.0.1 leads to the console.
const CONSOLE_PORT: &str = "GROUNDSTATE_LAB_CONSOLE_PORT";
/// The socket in the run directory through which the console is reached from outside.
const CONSOLE_SOCKET: &str = "console.sock";

/// Whether this process already is inside a plant.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(RUN_DIR).is_some()
}

/// Runs this program again with `arguments` inside a plant and waits for it. `run_dir` is where the inside keeps everything of the run.
///
/// # Errors
/// When this computer allows no namespace or no tap; the message says what to change.
pub fn enter(arguments: &[OsString], run_dir: &Path) -> Result<ExitStatus> {
    OpenOptions::new().read(true).write(true).open("/dev/net/tun").context(
        "the lab needs /dev/net/tun to give endpoints a network. As root: modprobe tun; or run as root",
    )?;
    let namespace = allowed_namespace()?;
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1 for the console")?;
    let port = listener.local_addr()?.port();
    let socket = run_dir.join(CONSOLE_SOCKET);
    thread::spawn(move || {
        for browser in listener.incoming().flatten() {
            if let Ok(console) = UnixStream::connect(&socket) {
                join(browser, console);
            }
        }
    });
    let mut child = Command::new("unshare")
        .args(namespace)
        .arg("--")
        .arg(std::env::current_exe()?)
        .args(arguments)
        .env(RUN_DIR, run_dir)
        .env(CONSOLE_PORT, port.to_string())
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run unshare")?;
    // The pipe stays open for as long as this process lives; the inside ends when it closes.
    let lifeline = child.stdin.take();
    let status = child.wait()?;
    drop(lifeline);
    Ok(status)
}

/// The first way to make a namespace that works here, found by making one.
fn allowed_namespace() -> Result<&'static [&'static str]> {
    const WITH_USER: &[&str] =
        &["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const AS_ROOT: &[&str] = &["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let candidates: &[&[&str]] =
        if nix::unistd::geteuid().is_root() { &[AS_ROOT, WITH_USER] } else { &[WITH_USER] };
    let mut refusal = None;
    for candidate in candidates {
        match crate::tool::run(Command::new("unshare").args(*candidate).args(["--", "true"])) {
            Ok(_) => return Ok(candidate),
            Err(error) => refusal = Some(error),
        }
    }
    let advice = "this computer allows no namespace of one's own. As root: sysctl -w kernel.unprivileged_userns_clone=1 \
                  user.max_user_namespaces=10000, or run this command as root";
    Err(refusal.map_or_else(|| anyhow::anyhow!(advice), |error| error.context(advice)))
}

/// The plant as seen from inside.
#[derive(Debug)]
pub struct Plant {
    dir: PathBuf,
    taps: AtomicU32,
}

impl Plant {
    /// Builds the bridge. Call once, inside.
    ///
    /// # Errors
    /// When called outside, or when the network cannot be built.
    pub fn build() -> Result<Self> {
        let Some(dir) = std::env::var_os(RUN_DIR) else {
            bail!("the plant is built inside its namespace only")
        };
        thread::spawn(end_with_outside);
        let plant = Self { dir: dir.into(), taps: AtomicU32::new(0) };
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"])?;
        plant.address(APPLIANCE)?;
        ip(&["address", "add", &format!("{APPLIANCE_IPV6}/64"), "dev", BRIDGE, "nodad"])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        Ok(plant)
    }

    /// The directory of this run.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives this computer one more address on the plant network.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn address(&self, address: Ipv4Addr) -> Result<()> {
        ip(&["address", "add", &format!("{address}/24"), "dev", BRIDGE])
    }

    /// A new cable: the name of a tap on the bridge.
    ///
    /// # Errors
    /// When the tap cannot be made.
    pub fn tap(&self) -> Result<String> {
        let name = format!("tap{}", self.taps.fetch_add(1, Ordering::Relaxed));
        ip(&["tuntap", "add", "dev", &name, "mode", "tap"])?;
        ip(&["link", "set", &name, "master", BRIDGE, "up"])?;
        Ok(name)
    }

    /// A computer beside the endpoints, at `address`: a network namespace of its own behind a cable of its own.
    ///
    /// # Errors
    /// When the namespace or its cable cannot be made.
    pub fn neighbour(&self, address: Ipv4Addr) -> Result<Neighbour> {
        let holder = Command::new("unshare")
            .args(["--net", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run unshare")?;
        let mut neighbour = Neighbour(holder);
        neighbour.answer().context("the namespace of a neighbour was not made")?;
        crate::tool::run(neighbour.command("ip").args(["link", "set", "lo", "up"]))?;
        self.plug(&neighbour, "eth0", BRIDGE, address)?;
        Ok(neighbour)
    }

    /// Another switch, with no way to the first and none to this computer.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn switch(&self, name: &str) -> Result<()> {
        ip(&["link", "add", name, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"])?;
        ip(&["link", "set", name, "up"])
    }

    /// Gives a neighbour an adapter with `address` on a switch.
    ///
    /// # Errors
    /// When it has an adapter of that name, or there is no such switch.
    pub fn plug(&self, to: &Neighbour, adapter: &str, switch: &str, address: Ipv4Addr) -> Result<()> {
        let name = format!("near{}", self.taps.fetch_add(1, Ordering::Relaxed));
        let holder = to.0.id().to_string();
        ip(&["link", "add", &name, "type", "veth", "peer", "name", adapter, "netns", &holder])?;
        ip(&["link", "set", &name, "master", switch, "up"])?;
        for words in [
            &["address", "add", &format!("{address}/24"), "dev", adapter][..],
            &["link", "set", adapter, "up"],
        ] {
            crate::tool::run(to.command("ip").args(words))?;
        }
        Ok(())
    }

    /// Takes an adapter's cable out of a neighbour, for good.
    ///
    /// # Errors
    /// When it has no such adapter.
    pub fn unplug(&self, from: &Neighbour, adapter: &str) -> Result<()> {
        crate::tool::run(from.command("ip").args(["link", "delete", adapter])).map(drop)
    }

    /// Lets a browser outside reach `console`, and returns the port of 127.0.0.1 to give it.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn forward_console(&self, console: SocketAddrV4) -> Result<u16> {
        let listener = UnixListener::bind(self.dir.join(CONSOLE_SOCKET))?;
        thread::spawn(move || {
            for outside in listener.incoming().flatten() {
                if let Ok(inside) = TcpStream::connect(console) {
                    join(inside, outside);
                }
            }
        });
        let port = std::env::var(CONSOLE_PORT).context("the outside gave no console port")?;
        port.parse().context("the outside gave a bad console port")
    }
}

/// A computer on the plant network; gone when dropped.
#[derive(Debug)]
pub struct Neighbour(Child);

impl Neighbour {
    /// `program`, to be run on this computer.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace())).args(["--", program]);
        command
    }

    /// Waits until the program that holds the namespace runs: it gives back what it is given.
    fn answer(&mut self) -> Result<()> {
        let (input, output) = (self.0.stdin.as_mut(), self.0.stdout.as_mut());
        input.context("it has no input")?.write_all(b"!")?;
        Ok(output.context("it has no output")?.read_exact(&mut [0])?)
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &[&str]) -> Result<()> {
    crate::tool::run(Command::new("ip").args(words)).map(drop)
}

/// Ends this process, and with it the whole namespace, when the outside is gone (a Ctrl-C reaches only the outside).
fn end_with_outside() {
    let mut byte = [0];
    while matches!(io::stdin().read(&mut byte), Ok(1)) {}
    std::process::exit(130);
}

/// Copies both ways between two streams until both have ended.
fn join(tcp: TcpStream, unix: UnixStream) {
    thread::spawn(move || {
        let (Ok(tcp_read), Ok(unix_read)) = (tcp.try_clone(), unix.try_clone()) else { return };
        let there = thread::spawn(move || pour(tcp_read, &unix, || unix.shutdown(std::net::Shutdown::Write)));
        pour(unix_read, &tcp, || tcp.shutdown(std::net::Shutdown::Write));
        let _ = there.join();
    });
}

/// Copies one way, then says that no more will come. Either end may go at any time; that only ends the copy.
fn pour(mut from: impl Read, mut to: impl Write, finish: impl FnOnce() -> io::Result<()>) {
    let _ = io::copy(&mut from, &mut to);
    let _ = finish();
}
