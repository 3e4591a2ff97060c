//! `groundstate serve`: puts the parts together, binds the ports, runs until told to stop.
//!
//! ```text
//! config ─► keys ─► database, journal ─► images, authority, boot kit ─► ports bound ─► tasks ─► "ready"
//!                                                                                 SIGTERM ─► stop, drain, leave
//! ```
//!
//! | task | ends |
//! |---|---|
//! | runner of jobs, boot layer (DHCP, TFTP, HTTP) | at once; what a job was doing is done again after the next start |
//! | people's and endpoints' TLS listeners | drain, for a bounded time |
//! | confirmations of webhooks, rehearsals | at once; they lie in the database and on disk |
//! | following the depot, noting which images jobs need | at once; what it was fetching is fetched again |
//!
//! This is the only place that spawns tasks: one `JoinSet`, one `CancellationToken`. A task that ends by itself or
//! panics takes the appliance down loudly. Everything is checked before the first port is bound. It must never: decide
//! anything about a job.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::AtomicU64},
};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    agents::{Agents, Expectations, Files, Medium, Parts},
    api::{People, gate::Gate},
    attest::MakerRoots,
    backup,
    boot::{
        BootDesk, Kit, KitError,
        https::{self, BootTls},
        leases::{self, LeaseWriter},
        refused,
    },
    clock::{Clock, SystemClock},
    config::Config,
    control_plane,
    db::{Db, DbError},
    depot::{DepotState, Keeper},
    drills::{Drills, Rehearser},
    enrol,
    evidence::{
        EvidenceLog,
        anchor::{self, AnchorError, AnchorWriter, Anchors},
        inventory,
    },
    exhibits::Exhibits,
    followed::Followed,
    golden::{Golden, GoldenError},
    handed,
    hooks::{Confirmations, Hooks},
    interfaces::{self, InterfaceError},
    jobs::{journal::Journal, run::Runner},
    keys::{KeyError, Keys},
    listening::Listening,
    live::Live,
    maker_roots::{self, MakerRootsError},
    notify::{self, Followers},
    power::Drivers,
    refused_start, reload,
    seal::{self, Seal},
    service::{self, Inner, Service},
    supervisor::{self, Watchdog},
    takeover, tls, upgrade,
};

/// Why the appliance does not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Database.
    #[error("{}", .0.chain())]
    Db(#[from] DbError),
    /// Image store.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// Boot kit.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// Roots of TPM makers.
    #[error(transparent)]
    MakerRoots(#[from] MakerRootsError),
    /// Who issues certificates.
    #[error(transparent)]
    Enrol(#[from] enrol::OpenError),
    /// The evidence log is not the one that was anchored.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// Interfaces.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// Boot layer.
    #[error("the network boot cannot start: {0}")]
    Boot(#[from] pxe::BindError),
    /// A part of the appliance that keeps files.
    #[error("{what} cannot be opened: {why}")]
    Part {
        /// Which.
        what: &'static str,
        /// Its words.
        why: String,
    },
    /// A port.
    #[error(
        "cannot listen on {address}: {why}; stop the other program, choose another port, or grant CAP_NET_BIND_SERVICE"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        why: String,
    },
    /// Another appliance took over.
    #[error(
        "another appliance took over, and this one writes nothing any more; leave it off, or say `groundstate takeover --reason …` here"
    )]
    Fenced,
    /// A task ended by itself.
    #[error("{0} stopped by itself; look at the log above and start the appliance again")]
    Ended(&'static str),
}

fn part<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> DaemonError {
    move |error| DaemonError::Part { what, why: error.to_string() }
}

/// Structured logs on standard error: JSON lines, or for a terminal plain ones. `RUST_LOG` filters.
pub fn log_to_stderr() {
    use std::io::IsTerminal as _;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (tests) keeps the first one's.
    let _ = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
}

/// Run the appliance until SIGTERM or SIGINT. Blocking.
///
/// # Errors
/// [`DaemonError`]: what is wrong, before any port is bound; or which task stopped by itself.
pub fn serve(config: Config) -> Result<(), DaemonError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(part("the task runtime"))?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let appliance = Appliance::open(config).await?;
        let bound = appliance.bind().await?;
        tracing::info!(listening = ?bound.listening, "ready");
        supervisor::ready(&format!("console on {}", bound.listening.people));
        inventory::write_down(&bound.journal).await;
        bound.run(stop).await
    });
    // An image that is being pulled from the depot is not waited for.
    runtime.shutdown_background();
    ended
}

/// The parts, open and checked; no port is bound yet.
struct Appliance {
    config: Arc<Config>,
    keys: Arc<Keys>,
    seal: Option<Seal>,
    journal: Arc<Journal>,
    golden: Golden,
    live: Arc<Live>,
    desk: Arc<BootDesk>,
    service: Service,
    runner: Runner,
    identity: enrol::Identity,
    drills: (Drills, Rehearser),
    hooks: (Hooks, Confirmations),
    kit: Option<Kit>,
    maker_roots: MakerRoots,
    interfaces: Vec<pxe::Interface>,
    frame_bytes: Arc<AtomicU64>,
    keeper: Keeper,
    anchors: Anchors,
    followers: Followers,
}

impl Appliance {
    async fn open(config: Config) -> Result<Self, DaemonError> {
        let config = Arc::new(config);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let started_unix_ms = clock.now_unix_ms();
        let interfaces = interfaces::for_boot(&config)?;
        let (keys, seal) = backup::opened(&config, &config.data_dir)?;
        seal::serve_secrets(&config.data_dir, seal.as_ref())
            .map_err(|error| KeyError::Sealed(Box::new(error)))?;
        let hooks = Hooks::open(&config.hooks).map_err(part("the webhook sources"))?;
        let kit = boot_kit(&config).await?;
        let maker_roots = maker_roots::read(config.tpm_roots_dir.as_deref())?;
        let db = claimed(&config, &keys, started_unix_ms).await?;
        let evidence = EvidenceLog::new(Arc::clone(&keys));
        let journal =
            Arc::new(Journal::open(db.clone(), Arc::clone(&config), evidence, Arc::clone(&clock)).await?);
        let anchors = evidence_so_far(&config, &journal).await?;
        let (followers, channels) =
            notify::start(&config, &journal).map_err(part("who is told what happens"))?;
        let golden = Golden::open(&config.image_store(), &config.trust_root())?;
        let live = Arc::new(Live::default());
        let desk = BootDesk::new(Arc::clone(&journal.tickets), clock).on(interfaces.clone());
        let desk = Arc::new(desk.with_kit(kit.as_ref()));
        desk.recall(&db, &config.data_dir).await?;
        let plane = control_plane::open(&config, &journal).map_err(part("a control plane"))?;
        let drivers = drivers(&config, kit.as_ref(), &interfaces, &live);
        let runner = Runner::new(Arc::clone(&journal), golden.clone(), drivers, plane, Arc::clone(&live))
            .asking(hooks.1.sources());
        runner.recall().await?;
        let (frame_bytes, depot) = (Arc::new(AtomicU64::new(0)), DepotState::default());
        let keeper = Keeper::new(&config, &golden, &depot, &journal);
        let followed = Followed::open(&config).map_err(part("the site's directory or OpenID provider"))?;
        let service = Service::new(Inner {
            journal: Arc::clone(&journal),
            golden: golden.clone(),
            keys: Arc::clone(&keys),
            live: Arc::clone(&live),
            desk: Arc::clone(&desk),
            frame_bytes: Arc::clone(&frame_bytes),
            depot: depot.clone(),
            exhibits: Exhibits::new(&config, seal.clone()),
            channels,
            followed,
            started_unix_ms,
        });
        let identity = enrol::open(&config, started_unix_ms, seal.as_ref())?;
        let drills =
            Drills::open(service.clone(), journal.config.clone()).map_err(part("the record of drills"))?;
        Ok(Self {
            config,
            keys,
            seal,
            journal,
            golden,
            live,
            desk,
            service,
            runner,
            identity,
            drills,
            hooks,
            kit,
            maker_roots,
            interfaces,
            frame_bytes,
            keeper,
            anchors,
            followers,
        })
    }

    async fn bind(self) -> Result<Bound, DaemonError> {
        let listen = self.config.listen;
        let people = tcp("people", listen.people_address, listen.people_port).await?;
        let endpoints = tcp("endpoints", listen.endpoints_address, listen.endpoints_port).await?;
        let address = |listener: &TcpListener| listener.local_addr().map_err(part("a listener's address"));
        let (people_at, endpoints_at) = (address(&people)?, address(&endpoints)?);
        let (leases, lease_writer) =
            leases::open(self.journal.db.clone(), Arc::clone(&self.journal.clock)).await?;
        let (boot, http, expectations) = self.bind_boot(endpoints_at.port(), Arc::new(leases))?;
        let over_tls = self.bind_boot_tls(boot.as_ref()).await?;
        let http_port = http.first().map_or(listen.http_port, SocketAddr::port);
        let listening = Listening {
            people: people_at,
            endpoints: endpoints_at,
            http,
            spki_sha256: self.keys.spki_sha256.clone(),
        };
        listening.write(&self.config.data_dir).map_err(part("listening.json"))?;
        let agents = Agents::new(Parts {
            journal: Arc::clone(&self.journal),
            golden: self.golden.clone(),
            live: self.live,
            keys: Arc::clone(&self.keys),
            service: self.service.clone(),
            maker_roots: self.maker_roots,
            expectations,
            http_port,
        });
        let gate = Arc::new(Gate::new(&self.keys.operator_token));
        let rows = self.service.people_rows().await.map_err(part("who may in"))?;
        gate.learn(&rows, self.service.now());
        gate.learn_kiosks(&self.service.kiosk_rows().await.map_err(part("the kiosks"))?);
        let (drills, rehearser) = self.drills;
        let (hooks, confirmations) = self.hooks;
        let own = tls::own::Own::new(Arc::clone(&self.keys), Arc::clone(&self.journal.clock));
        let own = Arc::new(own.map_err(part("the TLS key"))?);
        let of_people = Arc::clone(&own);
        let door = tls::Door::open(move |clients| of_people.config(clients), hooks.client_issuers());
        let door = door.map_err(part("the TLS key"))?;
        let door = Arc::new(door);
        let for_people =
            People::new(self.service.clone(), gate, drills, Arc::new(hooks)).with_door(Arc::clone(&door));
        for_people.show_setup_code(people_at).await;
        let for_people = for_people.router();
        let (est, issuing) = enrol::est::door(self.service.clone(), self.identity.provider);
        let for_endpoints = agents.router().merge(est);
        let config = own.config(self.identity.clients).map_err(part("the TLS key"))?;
        Ok(Bound {
            people: (people, door.served(), for_people),
            endpoints: (endpoints, tls::fixed(config), for_endpoints),
            boot,
            over_tls,
            runner: self.runner,
            rehearser,
            confirmations,
            keeper: self.keeper,
            lease_writer,
            refusal_writer: refused::Writer::new(self.desk, Arc::clone(&self.journal)),
            service: self.service,
            issuing,
            followers: self.followers,
            anchor_writer: AnchorWriter::new(self.anchors, Arc::clone(&self.journal)),
            journal: self.journal,
            listening,
        })
    }

    /// The boot layer: none without an interface.
    fn bind_boot(
        &self,
        agent_port: u16,
        leases: Arc<leases::Leases>,
    ) -> Result<(Option<pxe::Server>, Vec<SocketAddr>, Expectations), DaemonError> {
        if self.interfaces.is_empty() {
            tracing::warn!("no interface is configured: no endpoint can boot from this appliance");
            return Ok((None, Vec::new(), Expectations::default()));
        }
        let listen = self.config.listen;
        let mut config = pxe::Config::new(self.interfaces.clone());
        config.tftp_single_port = listen.tftp_single_port;
        config.ports = pxe::Ports {
            dhcp: listen.dhcp_port,
            boot_server: listen.boot_server_port,
            tftp: listen.tftp_port,
            http: listen.http_port,
            syslog: listen.syslog_port,
            ..pxe::Ports::default()
        };
        let addresses: Vec<Ipv4Addr> = self.interfaces.iter().map(|interface| interface.addr).collect();
        let (table, expectations) = match &self.kit {
            Some(kit) => {
                let args = &self.config.kernel_args;
                config.loaders = kit.loaders();
                let table = kit.artefacts(agent_port, listen.http_port, args)?;
                let expectations = Expectations::new(&kit.contents, &table, &addresses, agent_port, args);
                (table, expectations)
            }
            None => {
                tracing::warn!("no boot kit is configured: firmware finds nothing to load");
                config.loaders = pxe::dhcp::loader::Loaders::none();
                (pxe::Artefacts::new(), Expectations::default())
            }
        };
        if let Some(port) = listen.https_boot_port {
            config.loaders = config.loaders.with_https(port);
        }
        let desk = Arc::clone(&self.desk);
        let sent = Arc::clone(&self.frame_bytes);
        let files = Files::new(self.golden.clone(), self.service.governor(), sent, desk.clone())
            .with_medium(self.kit.as_ref().and_then(|kit| Medium::of(kit, &self.journal)));
        let server = pxe::Server::bind(config, table, desk.clone(), desk.clone())?
            .with_handler(files.without(crate::injects::cut_off(&self.live, &self.journal)).handler())
            .with_leases(leases);
        desk.set_prober(server.prober());
        let http =
            server.ports().map(|(addr, ports)| SocketAddr::new(IpAddr::V4(addr), ports.http)).collect();
        Ok((Some(server), http, expectations))
    }

    /// Boot files over TLS, where the configuration gives a port for them.
    async fn bind_boot_tls(
        &self,
        boot: Option<&pxe::Server>,
    ) -> Result<Option<(Listener, Arc<BootTls>)>, DaemonError> {
        let listen = self.config.listen;
        let (Some(port), Some(boot)) = (listen.https_boot_port, boot) else { return Ok(None) };
        let (dir, site) = (self.config.data_dir.join("boot-ca"), self.config.site.to_string());
        let (addresses, now) = (interfaces::addresses()?, self.journal.clock.now_unix_ms() / 1000);
        let seal = self.seal.clone();
        let opened = tokio::task::spawn_blocking(move || BootTls::open(&dir, &site, &addresses, now, seal));
        let what = "the authority for boot files";
        let certificate = Arc::new(opened.await.map_err(part(what))?.map_err(part(what))?);
        let config = certificate.server_config().map_err(part("TLS for boot files"))?;
        let listener = tcp("boot-files", listen.endpoints_address, port).await?;
        Ok(Some(((listener, tls::fixed(config), https::router(boot.files())), certificate)))
    }
}

/// The log is the one that was anchored; what earlier starts could not write down is in it now.
async fn evidence_so_far(config: &Config, journal: &Journal) -> Result<Anchors, DaemonError> {
    let anchors = Anchors::new(config.evidence.anchors(&config.data_dir), journal.origin());
    anchors.check(&mut *journal.db.read().await?, &config.data_dir).await?;
    anchor::write_down(&config.data_dir, journal).await?;
    refused_start::write_down(&config.data_dir, journal).await?;
    upgrade::write_down(&config.data_dir, journal).await?;
    service::forget_tried(&config.data_dir);
    Ok(anchors)
}

fn drivers(config: &Config, kit: Option<&Kit>, interfaces: &[pxe::Interface], live: &Live) -> Arc<Drivers> {
    let shelf = kit.and_then(|kit| kit.shelf(interfaces, config.listen.http_port));
    Drivers::of(shelf, &live.in_band, config.attest_every_s)
}

/// The database, which nobody but this appliance writes from now on.
async fn claimed(config: &Config, keys: &Keys, at_unix_ms: u64) -> Result<Db, DaemonError> {
    keys.lock()?;
    let db = Db::of(config).await?;
    db.claim(&keys.own_id()?, at_unix_ms).await?;
    Ok(db)
}

async fn boot_kit(config: &Config) -> Result<Option<Kit>, DaemonError> {
    let Some(dir) = config.boot_kit_dir.clone() else { return Ok(None) };
    let read = tokio::task::spawn_blocking(move || Kit::read(&dir)).await;
    Ok(Some(read.map_err(part("the boot kit"))??))
}

/// A port: the one that the service manager held for us, or bound here and given to it to hold.
async fn tcp(name: &str, address: IpAddr, port: u16) -> Result<TcpListener, DaemonError> {
    let address = SocketAddr::new(address, port);
    let refused = |error: std::io::Error| DaemonError::Bind { address, why: error.to_string() };
    if let Some(handed) = handed::take(name, address) {
        handed.set_nonblocking(true).map_err(refused)?;
        tracing::info!(name, %address, "handed over: nobody was refused");
        return TcpListener::from_std(handed).map_err(refused);
    }
    let bound = TcpListener::bind(address).await.map_err(refused)?;
    handed::keep(name, &bound);
    Ok(bound)
}

type Listener = (TcpListener, tls::Served, axum::Router);

/// Every port is bound; nothing runs yet.
struct Bound {
    people: Listener,
    endpoints: Listener,
    boot: Option<pxe::Server>,
    over_tls: Option<(Listener, Arc<BootTls>)>,
    runner: Runner,
    rehearser: Rehearser,
    confirmations: Confirmations,
    keeper: Keeper,
    lease_writer: LeaseWriter,
    refusal_writer: refused::Writer,
    anchor_writer: AnchorWriter,
    followers: Followers,
    service: Service,
    issuing: enrol::asking::Issuing,
    journal: Arc<Journal>,
    listening: Listening,
}

impl Bound {
    async fn run(self, stop: CancellationToken) -> Result<(), DaemonError> {
        let mut tasks: JoinSet<&'static str> = JoinSet::new();
        listen(&mut tasks, self.people, self.endpoints, self.over_tls, &stop);
        if let Some(boot) = self.boot {
            let stop = stop.clone();
            tasks.spawn(async move {
                if let Err(error) = boot.run(stop).await {
                    tracing::error!(%error, source = %error.source, "network boot");
                }
                "the network boot"
            });
        }
        let (keeper, told) = (self.keeper, stop.clone());
        tasks.spawn(async move {
            keeper.run(told).await;
            "keeping the store and following the depot"
        });
        let (runner, rehearser, confirmations) = (self.runner, self.rehearser, self.confirmations);
        let (a, b, c, d) = (stop.clone(), stop.clone(), stop.clone(), stop.clone());
        let (e, f) = (stop.clone(), stop.clone());
        let (followers, told) = (self.followers, stop.clone());
        tasks.spawn(async move {
            followers.run(told).await;
            "telling others"
        });
        let (anchor_writer, lease_writer) = (self.anchor_writer, self.lease_writer);
        tasks.spawn(async move {
            anchor_writer.run(f).await;
            "the writer of anchors"
        });
        let (refusal_writer, service, issuing) = (self.refusal_writer, self.service, self.issuing);
        let (reloads, told_again, kept_until) = (service.clone(), stop.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::join!(reload::on_hangup(&reloads, told_again), reloads.keep_exhibits(kept_until));
            "reloading the configuration, and minding the exhibits"
        });
        let (watchdog, told, stopping) = (Watchdog::new(runner.turns()), stop.clone(), stop.clone());
        tasks.spawn(async move {
            watchdog.run(told).await;
            "the watchdog"
        });
        tasks.spawn(async move {
            issuing.run(stopping).await;
            "asking for certificates"
        });
        tasks.spawn(async move {
            runner.run(a).await;
            "the runner of jobs"
        });
        tasks.spawn(async move {
            rehearser.run(b).await;
            "the runner of drills"
        });
        tasks.spawn(async move {
            confirmations.run(service, c).await;
            "the confirmation of webhooks"
        });
        tasks.spawn(async move {
            lease_writer.run(d).await;
            "the writer of leases"
        });
        tasks.spawn(async move {
            refusal_writer.run(e).await;
            "the writer of refusals"
        });
        let ended = until_told(&mut tasks, &stop, &self.journal.db).await;
        self.journal.db.close().await;
        tracing::info!("stopped");
        ended
    }
}

/// The TLS listeners, and what keeps the certificate for boot files.
fn listen(
    tasks: &mut JoinSet<&'static str>,
    people: Listener,
    endpoints: Listener,
    over_tls: Option<(Listener, Arc<BootTls>)>,
    stop: &CancellationToken,
) {
    let mut listeners = vec![("the people's listener", people), ("the endpoints' listener", endpoints)];
    if let Some((listener, certificate)) = over_tls {
        listeners.push(("the listener for boot files", listener));
        let stop = stop.clone();
        tasks.spawn(async move {
            certificate.run(stop).await;
            "the renewal of the certificate for boot files"
        });
    }
    for (name, (listener, config, router)) in listeners {
        let stop = stop.clone();
        tasks.spawn(async move {
            tls::serve(listener, config, router, tls::Limits::default(), stop).await;
            name
        });
    }
}

/// Wait for a signal or for a task that ends; then stop the others and wait for them.
async fn until_told(
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
    db: &Db,
) -> Result<(), DaemonError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(part("the signal handler"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(part("the signal handler"))?;
    let mut result = tokio::select! {
        biased;
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = stop.cancelled() => Ok(()),
        () = takeover::fenced(db) => Err(DaemonError::Fenced),
        Some(ended) = tasks.join_next() => Err(ended_by_itself(ended)),
    };
    tracing::info!("stopping");
    supervisor::stopping("what was under way is put aside");
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            result = result.and(Err(ended_by_itself(Err(panic))));
        }
    }
    result
}

fn ended_by_itself(ended: Result<&'static str, tokio::task::JoinError>) -> DaemonError {
    match ended {
        Ok(name) => DaemonError::Ended(name),
        Err(error) => {
            tracing::error!(%error, "a task died");
            DaemonError::Ended("a task")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        time::{Duration, Instant},
    };

    use super::*;

    fn config(dir: &Path, more: &str) -> Config {
        let text = format!(
            "data_dir = \"state\"\n[listen]\npeople_address = \"127.0.0.1\"\npeople_port = 0\n\
             endpoints_address = \"127.0.0.1\"\nendpoints_port = 0\nhttp_port = 0\n{more}"
        );
        Config::parse(&text, &dir.join("groundstate.toml")).unwrap()
    }

    #[tokio::test]
    async fn it_starts_within_a_second_says_where_it_listens_and_stops_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let bound = Appliance::open(config(dir.path(), "")).await.unwrap().bind().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let listening = std::fs::read_to_string(dir.path().join("state/listening.json")).unwrap();
        assert!(listening.contains(&bound.listening.people.to_string()));
        let people = bound.listening.people;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(bound.run(stop.clone()));
        tokio::net::TcpStream::connect(people).await.unwrap();
        stop.cancel();
        // A task that ended because it was told to is no failure of its own.
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_start_waits_for_no_est_server_of_the_site() {
        let dir = tempfile::tempdir().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(dir.path().join("est.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("password"), "a:b").unwrap();
        let est = format!(
            "[est]\nurl = \"https://{}\"\nca_file = \"est.pem\"\npassword_file = \"password\"\n",
            silent.local_addr().unwrap()
        );
        let begun = Instant::now();
        Appliance::open(config(dir.path(), &est)).await.unwrap().bind().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_and_a_boot_kit_that_is_missing_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut first = config(dir.path(), "");
        first.listen.people_port = taken.local_addr().unwrap().port();
        let refused = Appliance::open(first).await.unwrap().bind().await;
        assert!(matches!(refused.map(drop), Err(DaemonError::Bind { .. })));
        let mut second = config(dir.path(), "");
        second.boot_kit_dir = Some(dir.path().join("none"));
        assert!(matches!(Appliance::open(second).await.map(drop), Err(DaemonError::Kit(_))));
    }
}
