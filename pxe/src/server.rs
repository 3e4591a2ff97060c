//! All ports of the boot layer, bound at once and run until told to stop.
//!
//! The configuration is checked before the first socket is made, and all sockets are made before the first packet is
//! answered: a boot server that half works is worse than none.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::artefact::Artefacts;
use crate::config::{Config, ConfigError, DhcpMode, FullDhcp, Interface, Ports};
use crate::dhcp::arp::Arp;
use crate::dhcp::lease::LeaseJournal;
use crate::dhcp::loader::Loaders;
use crate::dhcp::overhear::{Ear, Prober};
use crate::dhcp::reply::Site;
use crate::dhcp::serve::DhcpPorts;
use crate::dhcp::{Links, Responder};
use crate::dhcp6;
use crate::event::BootEvents;
use crate::gate::Gate;
use crate::http::Handler;
use crate::http::serve::{HttpPort, listen};
use crate::ndp::Solicitations;
use crate::net::{AnyPort, UdpPort};
use crate::policy::BootPolicy;
use crate::syslog::SyslogPort;
use crate::tftp::serve::TftpPort;
use crate::whois::{KernelNeighbours, Neighbours, Whois};

/// Why the boot layer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The configuration is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port cannot be had.
    #[error("{what} port {port} on interface `{interface}` cannot be opened: {hint}")]
    Port {
        /// Which protocol.
        what: &'static str,
        /// Interface.
        interface: String,
        /// Port number.
        port: u16,
        /// What it probably means and what to do.
        hint: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

impl BindError {
    fn port(what: &'static str, interface: &Interface, port: u16, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program has it; stop that program or serve another interface"
            }
            io::ErrorKind::PermissionDenied => "no permission; grant CAP_NET_BIND_SERVICE and CAP_NET_RAW",
            io::ErrorKind::AddrNotAvailable => "the address is not on this machine; correct `addr`",
            _ if source.raw_os_error() == Some(nix::libc::ENODEV) => {
                "there is no such interface; correct `name`"
            }
            _ => "see the cause",
        };
        BindError::Port { what, interface: interface.name.clone(), port, hint, source }
    }
}

/// Why a running boot layer ended by itself.
#[derive(Debug, thiserror::Error)]
#[error("network boot stopped: a socket failed; restart the appliance and check the interface")]
pub struct ServeError {
    /// The system's word.
    #[source]
    pub source: io::Error,
}

struct Sockets {
    interface: Interface,
    ports: Ports,
    dhcp: Option<DhcpPorts>,
    ear: Option<(UdpPort, [u8; 6], mpsc::Receiver<u32>)>,
    solicitations: Option<Solicitations>,
    syslog: Option<UdpPort>,
    tftp: AnyPort,
    http: TcpListener,
    ipv6: Option<Ipv6Sockets>,
}

/// What UEFI HTTP Boot over IPv6 needs.
struct Ipv6Sockets {
    ours: Ipv6Addr,
    full: FullDhcp,
    mac: [u8; 6],
    dhcp: UdpSocket,
    tftp: AnyPort,
    http: TcpListener,
}

impl Ipv6Sockets {
    /// Who answers DHCPv6.
    fn responder(
        &self,
        interface: Ipv4Addr,
        http_port: u16,
        loaders: &Loaders,
        links: &Links,
    ) -> dhcp6::Responder {
        dhcp6::Responder {
            ours: self.ours,
            interface,
            mac: self.mac,
            full: self.full.clone(),
            loaders: loaders.clone(),
            http_port,
            policy: links.policy.clone(),
            events: links.events.clone(),
        }
    }
}

/// The boot layer, bound.
pub struct Server {
    config: Config,
    artefacts: Artefacts,
    policy: Arc<dyn BootPolicy>,
    events: Arc<dyn BootEvents>,
    neighbours: Arc<dyn Neighbours>,
    journal: Option<Arc<dyn LeaseJournal>>,
    handler: Option<Handler>,
    sockets: Vec<Sockets>,
    prober: Prober,
    files: Arc<OnceLock<Arc<Gate>>>,
}

impl Server {
    /// Checks the configuration, then binds every port of every interface. Needs a tokio runtime.
    pub fn bind(
        config: Config,
        artefacts: Artefacts,
        policy: Arc<dyn BootPolicy>,
        events: Arc<dyn BootEvents>,
    ) -> Result<Self, BindError> {
        config.check(&artefacts)?;
        let mut prober = Prober::default();
        let bind = |interface| bind_interface(interface, config.ports, &mut prober);
        let sockets = config.interfaces.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Server {
            config,
            artefacts,
            policy,
            events,
            neighbours: Arc::new(KernelNeighbours),
            journal: None,
            handler: None,
            sockets,
            prober,
            files: Arc::default(),
        })
    }

    /// What asks the network who else serves boots on it.
    #[must_use]
    pub fn prober(&self) -> Prober {
        self.prober.clone()
    }

    /// The boot files for requests that come another way than by our own HTTP ports, such as over TLS; by the same decision. Refuses
    /// until the server runs.
    #[must_use]
    pub fn files(&self) -> Handler {
        crate::http::serve::files(self.files.clone())
    }

    /// Mounts a handler for all HTTP paths that are not boot files.
    #[must_use]
    pub fn with_handler(mut self, handler: Handler) -> Self {
        self.handler = Some(handler);
        self
    }

    /// Keeps leases across restarts.
    #[must_use]
    pub fn with_leases(mut self, journal: Arc<dyn LeaseJournal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Looks hardware addresses up elsewhere than in the kernel's neighbour table.
    #[must_use]
    pub fn with_neighbours(mut self, neighbours: Arc<dyn Neighbours>) -> Self {
        self.neighbours = neighbours;
        self
    }

    /// The ports in use on each interface, in the order of the configuration. They differ from the configured ones only
    /// where those were 0.
    pub fn ports(&self) -> impl Iterator<Item = (Ipv4Addr, Ports)> {
        self.sockets.iter().map(|s| (s.interface.addr, s.ports))
    }

    /// Serves until `stop` is cancelled. Returns early, and with everything stopped, when a socket fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServeError> {
        let stop = stop.child_token();
        let whois = Arc::new(Whois::new(self.neighbours));
        let gate = Arc::new(Gate {
            policy: self.policy.clone(),
            events: self.events.clone(),
            whois: whois.clone(),
            artefacts: self.artefacts,
        });
        let _ = self.files.set(gate.clone());
        let links = Links { policy: self.policy, events: self.events, whois, journal: self.journal };
        let permits = Arc::new(Semaphore::new(self.config.limits.http_connections));
        let mut tasks: JoinSet<io::Result<()>> = JoinSet::new();
        let all_ours: Vec<Ipv4Addr> = self.sockets.iter().map(|s| s.interface.addr).collect();
        for Sockets { interface, ports, dhcp, ear, solicitations, syslog, tftp, http, ipv6 } in self.sockets {
            let (ours, limits) = (interface.addr, self.config.limits);
            if let Some(sockets) = dhcp {
                let site = Site { interface: interface.clone(), loaders: self.config.loaders.clone(), ports };
                let extra = self.config.extra_vendor_classes.clone();
                let responder = Responder::new(site, extra, links.clone(), Instant::now());
                tasks.spawn(crate::dhcp::serve::run(
                    sockets,
                    responder,
                    ours,
                    ports.dhcp_client,
                    stop.clone(),
                ));
            }
            if let Some((port, mac, probes)) = ear {
                let (events, all) = (links.events.clone(), all_ours.clone());
                let ear =
                    Ear { port, interface: ours, server_port: ports.dhcp, mac, probes, events, ours: all };
                tasks.spawn(ear.run(stop.clone()));
            }
            let advertiser = solicitations.as_ref().map(Solicitations::advertiser);
            if let Some(solicitations) = solicitations {
                let (policy, stop) = (links.policy.clone(), stop.clone());
                tasks.spawn(async move { solicitations.run(&*policy, ours, stop).await });
            }
            if let Some(port) = syslog {
                tasks.spawn(SyslogPort { port, gate: gate.clone() }.run(stop.clone()));
            }
            let single = self.config.tftp_single_port;
            let tftp_port = |port| {
                let (port, interface, gate) = (Arc::new(port), interface.clone(), gate.clone());
                TftpPort { port, interface, limits, gate, single }
            };
            tasks.spawn(tftp_port(tftp).run(stop.clone()));
            let (handler, permits) = (self.handler.clone(), permits.clone());
            let per_addr_max = limits.http_connections_per_addr;
            let port = |listener| HttpPort {
                listener,
                interface: ours,
                gate: gate.clone(),
                handler: handler.clone(),
                permits: permits.clone(),
                per_addr_max,
            };
            tasks.spawn(port(http).run(stop.clone()));
            if let Some(sockets) = ipv6 {
                let responder = sockets.responder(ours, ports.http, &self.config.loaders, &links);
                tasks.spawn(tftp_port(sockets.tftp).run(stop.clone()));
                tasks.spawn(port(sockets.http).run(stop.clone()));
                tasks.spawn(dhcp6::serve::run(sockets.dhcp, responder, advertiser, stop.clone()));
            }
        }
        ended(tasks, &stop).await
    }
}

/// Waits for all; the first that fails stops the others.
async fn ended(mut tasks: JoinSet<io::Result<()>>, stop: &CancellationToken) -> Result<(), ServeError> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(io::Error::other).and_then(|inner| inner);
        if let Err(source) = ended {
            stop.cancel();
            result = result.and(Err(ServeError { source }));
        }
    }
    result
}

/// Where clients listen, shared with the system's own DHCP client; without it the boot layer works all the same.
fn bind_ear(
    interface: &Interface,
    port: u16,
    prober: &mut Prober,
) -> Option<(UdpPort, [u8; 6], mpsc::Receiver<u32>)> {
    let name = &interface.name;
    let opened = hardware_addr(name).and_then(|mac| Ok((UdpPort::bind_shared(name, port)?, mac)));
    match opened {
        Ok((port, mac)) => Some((port, mac, prober.add())),
        Err(error) => {
            tracing::info!(interface = %name, port, %error, "other servers' offers cannot be overheard here");
            None
        }
    }
}

/// What hears who uses which address; without it addresses are given without a look.
fn bind_arp(name: &str) -> Option<Arp> {
    Arp::open(name)
        .inspect_err(|error| {
            tracing::warn!(interface = %name, %error, "addresses in use cannot be seen here; grant CAP_NET_RAW");
        })
        .ok()
}

/// The hardware address of an Ethernet interface.
fn hardware_addr(name: &str) -> io::Result<[u8; 6]> {
    let mut all = nix::ifaddrs::getifaddrs()?.filter(|found| found.interface_name == name);
    let link = all.find_map(|found| found.address.as_ref()?.as_link_addr()?.addr());
    link.filter(|mac| *mac != [0; 6]).ok_or_else(|| io::Error::other("it is not Ethernet"))
}

fn bind_interface(interface: &Interface, ports: Ports, prober: &mut Prober) -> Result<Sockets, BindError> {
    let udp = |what, port| {
        UdpPort::bind(&interface.name, port).map_err(|source| BindError::port(what, interface, port, source))
    };
    let dhcp = match interface.dhcp {
        DhcpMode::Off => None,
        DhcpMode::Observe | DhcpMode::Proxy | DhcpMode::Full(_) => Some(DhcpPorts {
            dhcp: udp("DHCP", ports.dhcp)?,
            boot_server: udp("PXE boot server", ports.boot_server)?,
            arp: matches!(interface.dhcp, DhcpMode::Full(_)).then(|| bind_arp(&interface.name)).flatten(),
        }),
    };
    let solicitations = match interface.dhcp {
        DhcpMode::Off | DhcpMode::Observe => None,
        DhcpMode::Proxy | DhcpMode::Full(_) => Solicitations::open(&interface.name, ipv6_of(interface))
            .inspect_err(|error| {
                tracing::info!(interface = %interface.name, %error, "no IPv6 here; iPXE will wait for a router");
            })
            .ok(),
    };
    let tftp = udp("TFTP", ports.tftp)?;
    let http = listen(SocketAddr::from((interface.addr, ports.http)))
        .map_err(|source| BindError::port("HTTP", interface, ports.http, source))?;
    let bound = |what, port, result: io::Result<u16>| {
        result.map_err(|source| BindError::port(what, interface, port, source))
    };
    let mut actual = ports;
    actual.tftp = bound("TFTP", ports.tftp, tftp.port())?;
    actual.http = bound("HTTP", ports.http, http.local_addr().map(|a| a.port()))?;
    if let Some(dhcp) = &dhcp {
        actual.dhcp = bound("DHCP", ports.dhcp, dhcp.dhcp.port())?;
        actual.boot_server = bound("PXE boot server", ports.boot_server, dhcp.boot_server.port())?;
    }
    let syslog = UdpPort::bind(&interface.name, ports.syslog)
        .inspect_err(|error| {
            tracing::info!(interface = %interface.name, port = ports.syslog, %error, "no syslog of loaders here");
        })
        .ok();
    if let Some(port) = &syslog {
        actual.syslog = bound("syslog", ports.syslog, port.port())?;
    }
    let ipv6 = bind_ipv6(interface, actual)?;
    let ear = dhcp.as_ref().and_then(|_| bind_ear(interface, ports.dhcp_client, prober));
    Ok(Sockets {
        interface: interface.clone(),
        ports: actual,
        dhcp,
        ear,
        solicitations,
        syslog,
        tftp: AnyPort::V4(tftp),
        http,
        ipv6,
    })
}

fn ipv6_of(interface: &Interface) -> Option<Ipv6Addr> {
    match &interface.dhcp {
        DhcpMode::Full(full) => full.ipv6,
        DhcpMode::Off | DhcpMode::Observe | DhcpMode::Proxy => None,
    }
}

/// Where the configuration gives an IPv6 address it is an error when it cannot be served, as with any other port.
fn bind_ipv6(interface: &Interface, ports: Ports) -> Result<Option<Ipv6Sockets>, BindError> {
    let (DhcpMode::Full(full), Some(ours)) = (&interface.dhcp, ipv6_of(interface)) else { return Ok(None) };
    let failed = |what, port| move |source| BindError::port(what, interface, port, source);
    let mac = hardware_addr(&interface.name).map_err(failed("DHCPv6", 547))?;
    let dhcp = dhcp6::serve::open(&interface.name).map_err(failed("DHCPv6", 547))?;
    let tftp = AnyPort::bind_ipv6(&interface.name, ours, ports.tftp)
        .map_err(failed("TFTP over IPv6", ports.tftp))?;
    let http = listen(SocketAddr::from((ours, ports.http))).map_err(failed("HTTP over IPv6", ports.http))?;
    Ok(Some(Ipv6Sockets { ours, full: full.clone(), mac, dhcp, tftp, http }))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
