//! The plant of the peers' tests: our server in one network namespace, an endpoint's side in another.

use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pxe::config::FullDhcp;
use pxe::dhcp::loader::Loaders;
use pxe::dhcp::overhear::Prober;
use pxe::event::BootEvents;
use pxe::script::{KernelArgs, RecoverySystem, install};
use pxe::{
    Artefact, Artefacts, BootDecision, BootEvent, BootRequest, Chain, Config, DhcpMode, Interface, Mac,
    Server,
};
use tokio_util::sync::CancellationToken;

const INSIDE: &str = "PXE_TEST_INSIDE";
/// Our address on the wire.
pub const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

pub struct Plant {
    pub prober: Prober,
    pub dir: tempfile::TempDir,
    events: Arc<Mutex<Vec<BootEvent>>>,
    to_endpoint: Sender<Errand>,
}

/// Something that is done on the endpoint's side.
type Errand = Box<dyn FnOnce() + Send>;

impl Plant {
    /// Runs a program on the endpoint's side, in a directory of its own, and expects it to end well.
    pub fn endpoint<S: Into<String>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Output> {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        let (name, dir) = (program.to_owned(), self.dir.path().to_owned());
        let output = self.on_endpoint(move || {
            Command::new(&name).args(&args).current_dir(dir).output().with_context(|| missing(&name))
        })?;
        ensure!(output.status.success(), "{program} failed: {output:?}; events: {:#?}", self.events());
        Ok(output)
    }

    /// Runs code on the endpoint's side.
    pub fn on_endpoint<T: Send + 'static>(
        &self,
        code: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = channel();
        let errand: Errand = Box::new(move || drop(reply.send(code())));
        self.to_endpoint.send(errand).ok().context("the endpoint's thread is gone")?;
        answer.recv().context("the endpoint's thread died")?
    }

    pub fn fetched(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.dir.path().join(name);
        let bytes = std::fs::read(&path).with_context(|| format!("{name} was not fetched"))?;
        std::fs::remove_file(path)?;
        Ok(bytes)
    }

    /// Waits for an event.
    pub fn until(&self, what: &str, is: impl Fn(&BootEvent) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !self.events().iter().any(&is) {
            ensure!(begun.elapsed() < Duration::from_secs(20), "{what}: {:#?}", self.events());
            std::thread::yield_now();
        }
        Ok(())
    }

    pub fn events(&self) -> Vec<BootEvent> {
        self.events.lock().expect("lock").clone()
    }
}

pub fn missing(program: &str) -> String {
    format!(
        "`{program}` cannot be run; install util-linux, iproute2, dnsmasq-base, atftp, tftp-hpa, udhcpc, dhcping and curl"
    )
}

pub fn story(name: &str, tell: fn(&Plant) -> Result<()>) -> Result<()> {
    story_in(name, Setting::default(), tell)
}

pub fn story_for(name: &str, decision: BootDecision, tell: fn(&Plant) -> Result<()>) -> Result<()> {
    story_in(name, Setting { decision, ..Setting::default() }, tell)
}

/// What our side is told to do.
#[derive(Clone, Copy)]
pub struct Setting {
    pub decision: BootDecision,
    pub single_port: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Setting { decision: Chain::Ipxe.into(), single_port: false }
    }
}

/// Outside: runs this test again in namespaces of its own. Inside: builds the plant and tells the story.
pub fn story_in(name: &str, setting: Setting, tell: fn(&Plant) -> Result<()>) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return inside(setting, tell);
    }
    let output = Command::new("unshare")
        .args(["-r", "-n", "--"])
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .with_context(|| missing("unshare"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(
        output.status.success() && text.contains("1 passed"),
        "{name}, in its own namespaces (if these are forbidden here, allow unprivileged user namespaces):\n{text}"
    );
    Ok(())
}

fn inside(setting: Setting, tell: fn(&Plant) -> Result<()>) -> Result<()> {
    ip("link set lo up")?;
    ip("link add boot0 type veth peer name eth0 address 52:54:00:77:00:09")?;
    let to_endpoint = endpoint_side()?;
    // Link-local addresses of our own, so that no test waits for duplicate address detection.
    ip("link set boot0 addrgenmode none")?;
    ip("addr add fe80::1/64 dev boot0 nodad")?;
    ip("addr add fd00:77::1/64 dev boot0 nodad")?;
    ip("addr add 10.77.0.1/24 dev boot0")?;
    ip("addr add 10.77.0.2/24 dev boot0")?;
    ip("link set boot0 up")?;
    let events: Arc<Mutex<Vec<BootEvent>>> = Arc::default();
    let sink = events.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = CancellationToken::new();
    let server = {
        let _guard = runtime.enter();
        serve(setting, Arc::new(move |e| sink.lock().expect("lock").push(e)))?
    };
    let prober = server.prober();
    let task = runtime.spawn(server.run(stop.clone()));
    let plant = Plant { prober, dir: tempfile::tempdir()?, events, to_endpoint };
    let told = tell(&plant);
    stop.cancel();
    runtime.block_on(task)??;
    told
}

/// A thread in a network namespace of its own, with one end of the wire; it runs errands until the plant is dropped.
fn endpoint_side() -> Result<Sender<Errand>> {
    let (errands, queue): (Sender<Errand>, Receiver<Errand>) = channel();
    let (ready, is_ready) = channel();
    let (wired, is_wired) = channel();
    std::thread::spawn(move || {
        let unshared = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
        let sent = ready.send(unshared.map(|()| nix::unistd::gettid()));
        if sent.is_err() || is_wired.recv().is_err() {
            return;
        }
        for errand in queue {
            errand();
        }
    });
    let thread = is_ready.recv()?.context("no second network namespace")?;
    ip(&format!("link set eth0 netns {thread}"))?;
    wired.send(())?;
    let (done, is_done) = channel();
    let wire_up: Errand = Box::new(move || {
        let up = [
            "link set lo up",
            "link set eth0 addrgenmode none",
            "addr add fe80::9/64 dev eth0 nodad",
            "addr add 10.77.0.9/24 dev eth0",
            "link set eth0 up",
        ];
        drop(done.send(up.into_iter().try_for_each(ip)));
    });
    errands.send(wire_up).ok().context("the endpoint's thread is gone")?;
    is_done.recv()??;
    Ok(errands)
}

pub fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip").args(words.split(' ')).output().with_context(|| missing("ip"))?;
    ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The endpoint and those above it are armed, and nobody else: the policy goes by the hardware address.
fn serve(setting: Setting, events: Arc<dyn BootEvents>) -> Result<Server> {
    let endpoint: Mac = "52:54:00:77:00:09".parse()?;
    let policy = move |request: &BootRequest| {
        if request.client.mac >= endpoint { setting.decision } else { BootDecision::Nothing }
    };
    let mut pool = FullDhcp::pool(Ipv4Addr::new(10, 77, 0, 50), Ipv4Addr::new(10, 77, 0, 99));
    pool.ipv6 = Some("fd00:77::1".parse()?);
    pool.reservations.insert("52:54:00:77:00:0c".parse()?, Ipv4Addr::new(10, 77, 0, 20));
    let interface = Interface { name: "boot0".into(), addr: US, prefix: 24, dhcp: DhcpMode::Full(pool) };
    let mut kit = Artefacts::new();
    for name in Loaders::debian().names() {
        kit.insert(Artefact::fixed(name, program().into(), "00ff")?);
    }
    let system = RecoverySystem {
        kernel: "vmlinuz".into(),
        initrd: "initrd.img".into(),
        unified: Some("recovery.efi".into()),
        agent_port: 8443,
        args: KernelArgs::new(["console=ttyS0"])?,
    };
    install(&mut kit, system, 80)?;
    let config = Config { tftp_single_port: setting.single_port, ..Config::new(vec![interface]) };
    Ok(Server::bind(config, kit, Arc::new(policy), events)?)
}

/// A body that ends on no block boundary and repeats at no block length.
pub fn program() -> Vec<u8> {
    (0..1_500_007u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
