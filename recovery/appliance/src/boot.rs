//! The network boot's view of the appliance: live boot tickets, by Ethernet address, in memory.
//!
//! ```text
//! database (boot_ticket, endpoint) ──read after each commit──► Tickets ──► pxe::BootPolicy::decide, for every packet
//! ```
//!
//! A firmware's address selects a ticket and proves nothing. Without a live ticket the answer is "local disk": that
//! alone keeps a recovered endpoint from being recovered in a loop. What the boot layer reports is kept as the last
//! sign of life of an endpoint's boot and as its trace ([`trace`]), counted, and logged; what it refused is shown and goes
//! into evidence ([`refused`]).
//!
//! It must never: issue or void a ticket (the job machine does), or answer for an endpoint that has none.

mod count;
mod foreign;
mod history;
pub mod https;
mod kept;
mod kit;
pub mod leases;
pub mod refused;
mod span;
mod taken;
pub mod trace;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use pxe::{
    BootDecision, BootEvent, BootEvents, BootPolicy, BootRequest, Client, ClientClass, Mac,
    chains::{self, Why},
    dhcp::{loader::Loaders, overhear::Prober, reserved::Reservations},
    trace::{Ended, Mode, Trace, Traces},
};
use recovery_protocol::{
    EndpointId, JobId, MacAddr,
    net::{BootDiagnosis, BootView, InterfaceView},
    operator::{Chain, EndpointState},
    secure_boot::{SecureBoot, SiteKey},
};

pub use count::Counts;
use foreign::Foreign;
use history::Histories;
pub use kit::{Kit, KitError};
use refused::Refused;
use span::Spans;
use trace::Around;

use crate::{
    clock::Clock,
    db::{self, Db, DbError},
};

/// One live ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The job.
    pub job: JobId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The chain on record.
    pub chain: Chain,
    /// What its firmware lets start, as its agent told it last.
    pub secure_boot: Option<SecureBoot>,
    /// When it was issued, milliseconds since 1970.
    pub issued: u64,
    /// Milliseconds since 1970.
    pub expires: u64,
}

/// A live ticket under each address of its endpoint.
async fn by_address(
    conn: &mut db::Conn,
    ticket: db::ticket::BootTicket,
) -> Result<Vec<(MacAddr, Ticket)>, DbError> {
    let Some(found) = db::endpoint::get(conn, &ticket.endpoint).await? else { return Ok(Vec::new()) };
    let secure_boot = found.inventory.and_then(|inventory| inventory.secure_boot);
    let chain = found.record.chain;
    let db::ticket::BootTicket { job, endpoint, issued, expires } = ticket;
    let one = Ticket { job, endpoint, chain, secure_boot, issued, expires };
    Ok(found.record.macs.into_iter().map(|mac| (mac, one.clone())).collect())
}

/// The live boot tickets, by Ethernet address.
#[derive(Debug, Default)]
pub struct Tickets {
    live: RwLock<Arc<BTreeMap<MacAddr, Ticket>>>,
    known: RwLock<Arc<HashSet<MacAddr>>>,
    addresses: RwLock<Option<Reservations>>,
    reading: tokio::sync::Mutex<()>,
}

impl Tickets {
    /// One, as a test knows it.
    #[cfg(test)]
    fn of(mac: MacAddr, ticket: Ticket) -> Self {
        Self { live: RwLock::new(Arc::new([(mac, ticket)].into())), ..Self::default() }
    }

    /// Read them all from the database: at the start, and where an endpoint's addresses changed.
    ///
    /// # Errors
    /// [`DbError`]; the tickets in memory stay as they were.
    pub async fn read(&self, db: &Db) -> Result<(), DbError> {
        // One at a time, or an older reading could replace a newer one.
        let _one = self.reading.lock().await;
        let mut conn = db.read().await?;
        let mut live = BTreeMap::new();
        for ticket in db::ticket::live_boot(&mut conn).await? {
            live.extend(by_address(&mut conn, ticket).await?);
        }
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        Ok(())
    }

    /// Read those of these jobs. Called after each commit that changed them: with a thousand jobs open, reading all of them for each
    /// would be most of the work.
    ///
    /// # Errors
    /// [`DbError`]; the tickets in memory stay as they were.
    pub async fn read_of(&self, db: &Db, jobs: &[JobId]) -> Result<(), DbError> {
        let _one = self.reading.lock().await;
        let mut conn = db.read().await?;
        let mut fresh = Vec::new();
        for job in jobs {
            if let Some(ticket) = db::ticket::live_boot_of(&mut conn, *job).await? {
                fresh.extend(by_address(&mut conn, ticket).await?);
            }
        }
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let live = Arc::make_mut(&mut live);
        live.retain(|_, ticket| !jobs.contains(&ticket.job));
        live.extend(fresh);
        Ok(())
    }

    /// Those of these jobs are out of sight, until they are read again.
    pub fn withdraw(&self, jobs: &[JobId]) {
        if jobs.is_empty() {
            return;
        }
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut live).retain(|_, ticket| !jobs.contains(&ticket.job));
    }

    /// Read from the database which Ethernet addresses a person put on record, and which IPv4 addresses belong to them. Called after
    /// each commit that changed it.
    ///
    /// # Errors
    /// [`DbError`]; what is in memory stays as it was.
    pub async fn learn(&self, db: &Db) -> Result<(), DbError> {
        let _one = self.reading.lock().await;
        let endpoints = db::endpoint::all(&mut *db.read().await?).await?;
        let approved = endpoints.into_iter().filter(|endpoint| endpoint.state != EndpointState::Discovered);
        let (mut known, mut addresses) = (HashSet::new(), Vec::new());
        for endpoint in approved {
            known.extend(endpoint.record.macs);
            for interface in endpoint.record.settings.interfaces {
                let v4 = interface.addresses.iter().filter_map(|own| match own.address {
                    IpAddr::V4(address) => Some((Mac::from(interface.mac.0), address)),
                    IpAddr::V6(_) => None,
                });
                addresses.extend(v4);
            }
        }
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = Some(addresses.into());
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }

    /// Whether a person put this address on record.
    pub fn knows(&self, mac: MacAddr) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).contains(&mac)
    }

    /// The live ticket of an address at a time (milliseconds since 1970).
    pub fn find(&self, mac: MacAddr, at: u64) -> Option<Ticket> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner).clone();
        live.get(&mac).filter(|ticket| at < ticket.expires).cloned()
    }

    /// Whether a job's ticket is live at a time (milliseconds since 1970).
    pub fn admits(&self, job: JobId, at: u64) -> bool {
        self.any(|ticket| ticket.job == job && at < ticket.expires)
    }

    /// Whether a job's ticket is live in memory.
    pub fn holds(&self, job: JobId) -> bool {
        self.any(|ticket| ticket.job == job)
    }

    fn any(&self, is_it: impl FnMut(&Ticket) -> bool) -> bool {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner).clone();
        live.values().any(is_it)
    }
}

/// Answers the boot layer, and takes what it reports.
pub struct BootDesk {
    tickets: Arc<Tickets>,
    clock: Arc<dyn Clock>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    seen: Mutex<HashMap<EndpointId, Seen>>,
    refused: Mutex<Refused>,
    traces: Mutex<Traces>,
    kept: Mutex<Option<blake3::Hash>>,
    foreign: Mutex<Foreign>,
    taken: Mutex<taken::Taken>,
    histories: Mutex<Histories>,
    outcomes: Mutex<Counts>,
    spans: Mutex<Spans>,
    prober: OnceLock<Prober>,
    interfaces: Vec<pxe::Interface>,
    loaders: Loaders,
    signer: Option<String>,
    /// Bytes of boot files sent.
    pub sent_bytes: AtomicU64,
}

/// The last thing that an endpoint's firmware did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Milliseconds since 1970.
    pub at: u64,
    /// One sentence for a person.
    pub what: String,
}

impl BootDesk {
    /// A desk over these tickets.
    pub fn new(tickets: Arc<Tickets>, clock: Arc<dyn Clock>) -> Self {
        Self {
            tickets,
            clock,
            counts: Mutex::default(),
            seen: Mutex::default(),
            refused: Mutex::default(),
            kept: Mutex::default(),
            traces: Mutex::new(trace::traces(&Loaders::debian(), &[])),
            foreign: Mutex::default(),
            taken: Mutex::default(),
            histories: Mutex::default(),
            outcomes: Mutex::default(),
            spans: Mutex::default(),
            prober: OnceLock::new(),
            interfaces: Vec::new(),
            loaders: Loaders::debian(),
            signer: None,
            sent_bytes: AtomicU64::new(0),
        }
    }

    /// The same desk, of an appliance that serves these interfaces.
    #[must_use]
    pub fn on(self, interfaces: Vec<pxe::Interface>) -> Self {
        Self { traces: Mutex::new(trace::traces(&self.loaders, &interfaces)), interfaces, ..self }
    }

    /// The same desk, of an appliance with this boot kit.
    #[must_use]
    pub fn with_kit(self, kit: Option<&Kit>) -> Self {
        let Some(kit) = kit else { return self };
        let (loaders, signer) = (kit.loaders(), kit.signer().map(str::to_owned));
        Self { traces: Mutex::new(trace::traces(&loaders, &self.interfaces)), loaders, signer, ..self }
    }

    /// The interfaces that are served.
    pub fn interfaces(&self) -> Vec<InterfaceView> {
        self.interfaces.iter().map(trace::interface).collect()
    }

    /// What asks the network, once the boot layer is bound.
    pub fn set_prober(&self, prober: Prober) {
        // Set once, when the ports are bound.
        let _ = self.prober.set(prober);
    }

    /// Ask every interface who else serves boots on it; says on how many that could be asked. Answers are heard within seconds.
    pub fn probe(&self, xid: u32) -> usize {
        self.prober.get().map_or(0, |prober| prober.probe(xid))
    }

    fn is_full(&self, at: Ipv4Addr) -> bool {
        let full = |interface: &pxe::Interface| matches!(interface.dhcp, pxe::DhcpMode::Full(_));
        self.interfaces.iter().any(|interface| interface.addr == at && full(interface))
    }

    /// Take over what the database knows of the chains, and the traces of an earlier run.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn recall(&self, db: &Db, data_dir: &Path) -> Result<(), DbError> {
        self.recall_traces(data_dir);
        let histories = Histories::read(&mut *db.read().await?).await?;
        *self.histories() = histories;
        Ok(())
    }

    /// A person set another chain for this endpoint: what was learned is forgotten.
    pub fn forget_chains(&self, endpoint: &EndpointId) {
        self.histories().forget(endpoint);
    }

    fn histories(&self) -> MutexGuard<'_, Histories> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chain for a firmware with this ticket.
    fn choose(&self, client: &Client, mode: Mode, ticket: &Ticket) -> Option<(pxe::Chain, Why)> {
        let (set, history) = (history::set(ticket.chain), self.histories().of(&ticket.endpoint));
        let secure_boot = match &ticket.secure_boot {
            Some(told) if told.on => match told.find(self.signer.as_deref()) {
                SiteKey::Enrolled => chains::SecureBoot::WithOwnKey,
                SiteKey::BehindShim | SiteKey::Missing | SiteKey::None => chains::SecureBoot::WithoutOwnKey,
            },
            Some(_) | None => chains::SecureBoot::OffOrUnknown,
        };
        let firmware = chains::Firmware { client, mode, secure_boot };
        chains::choose(firmware, &self.loaders, set, &history, ticket.issued)
    }

    fn mode(&self, interface: Ipv4Addr) -> Mode {
        let found = self.interfaces.iter().find(|found| found.addr == interface);
        found.map(|interface| Mode::of(&interface.dhcp)).unwrap_or_default()
    }

    /// A firmware began anew: the chain that its attempt took failed, where it had fetched that chain's loader.
    fn attempt_ended(&self, mac: MacAddr, ended: &Ended, at: u64) {
        if let Some(ticket) = self.tickets.find(mac, at) {
            self.spans().end(&ticket.endpoint, ended.reached.name(), &ended.diagnosis.cause);
        }
        let Some(chain) = ended.chain.filter(|_| ended.failed()) else { return };
        let Some(ticket) = self.tickets.find(mac, at).filter(|ticket| ended.at.1 >= ticket.issued) else {
            return;
        };
        let cause = &ended.diagnosis.cause;
        tracing::warn!(endpoint = %ticket.endpoint, job = %ticket.job, ?chain, cause, "a boot failed");
        self.counted().boot(trace::chain_name(chain), false);
        self.histories().failed(&ticket.endpoint, Some(ticket.job), chain, ended.at.1, cause);
    }

    fn traces(&self) -> MutexGuard<'_, Traces> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The boot of one endpoint, with its hops, at a time.
    pub fn boot(&self, endpoint: Option<EndpointId>, macs: &[MacAddr], at: u64) -> BootView {
        let traces = self.traces();
        let found = newest(&traces, macs);
        let around = self.around(&traces, macs, found, at);
        let mut view = trace::whole(endpoint, found, &around, at);
        if let Some(endpoint) = &view.endpoint {
            view.chains = history::views(&self.histories().of(endpoint));
        }
        view
    }

    /// What is the matter with a boot that began at `since` or later.
    pub fn diagnosis(&self, macs: &[MacAddr], since: u64, at: u64) -> BootDiagnosis {
        let traces = self.traces();
        let found = newest(&traces, macs);
        let around = self.around(&traces, macs, found, at);
        let fresh = found.map(|(_, trace)| trace).filter(|trace| trace.last() >= since);
        trace::diagnosis(around.diagnose(fresh, at))
    }

    /// The boots of these endpoints and of every stranger that was seen, without hops.
    pub fn boots(&self, endpoints: &[(EndpointId, Vec<MacAddr>)], at: u64) -> Vec<BootView> {
        let traces = self.traces();
        let mut named: HashSet<MacAddr> = HashSet::new();
        let mut views = Vec::new();
        for (endpoint, macs) in endpoints {
            named.extend(macs);
            let found = newest(&traces, macs);
            let around = self.around(&traces, macs, found, at);
            views.push(trace::row(Some(endpoint.clone()), found, &around, at));
        }
        for (mac, seen) in traces.all() {
            let Some(mac) = mac_addr(*mac).filter(|mac| !named.contains(mac)) else { continue };
            let around = self.around(&traces, &[mac], Some((mac, seen)), at);
            views.push(trace::row(None, Some((mac, seen)), &around, at));
        }
        views
    }

    fn around(&self, traces: &Traces, macs: &[MacAddr], found: Option<(MacAddr, &Trace)>, at: u64) -> Around {
        let ticket = macs.iter().find_map(|mac| self.tickets.find(*mac, at));
        let mode = found.map(|(_, trace)| traces.mode(trace)).unwrap_or_default();
        let asked = found.and_then(|(_, trace)| trace.interface);
        let (dhcp, boot) = asked.map(|asked| self.foreign_now().on(asked, at)).unwrap_or_default();
        let firmware = found.map(|(_, trace)| as_firmware(&trace.client));
        let offer = firmware.zip(ticket.as_ref()).map(|(client, ticket)| self.choose(&client, mode, ticket));
        Around { mode, ticket: ticket.is_some(), dhcp, boot, offer }
    }

    /// The recovery system's agent said hello from one of these addresses.
    pub fn agent_spoke(&self, macs: &[MacAddr]) {
        let at = self.clock.now_unix_ms();
        let senders: Vec<Mac> = macs.iter().map(|mac| Mac::from(mac.0)).collect();
        let mut traces = self.traces();
        for (mac, chain) in traces.agent(at, &senders) {
            let ticket = mac_addr(mac).and_then(|mac| self.tickets.find(mac, at));
            let (Some(chain), Some(ticket), Some(trace)) = (chain, ticket, traces.get(&mac)) else {
                continue;
            };
            let choice = self.choose(&as_firmware(&trace.client), traces.mode(trace), &ticket);
            let why = choice
                .filter(|(chosen, _)| *chosen == chain)
                .map_or("its firmware took it", |(_, why)| why.text());
            self.counted().boot(trace::chain_name(chain), true);
            self.histories().worked(&ticket.endpoint, Some(ticket.job), chain, at, why);
            self.spans().end(&ticket.endpoint, "agent", "");
        }
    }

    /// What was refused since the start.
    pub fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last thing that an endpoint's firmware did, since the appliance started.
    pub fn seen(&self, endpoint: &EndpointId) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint).cloned()
    }

    /// Boot requests and transfers since the start, by kind.
    pub fn counts(&self) -> Vec<(String, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(kind, n)| ((*kind).to_owned(), *n)).collect()
    }

    /// What was done since the start, by protocol and outcome.
    pub fn outcomes(&self) -> Counts {
        self.counted().clone()
    }

    fn spans(&self) -> MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self) -> MutexGuard<'_, Counts> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, kind: &'static str, mac: Option<Mac>, what: impl FnOnce() -> String) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
        let at = self.clock.now_unix_ms();
        let Some(ticket) = mac.and_then(mac_addr).and_then(|mac| self.tickets.find(mac, at)) else { return };
        let what = what();
        mac.and_then(mac_addr).into_iter().for_each(|mac| self.refused().forget(mac));
        let span = self.spans().of(&ticket.endpoint, ticket.job, |endpoint| {
            self.tickets.any(|ticket| ticket.endpoint == *endpoint)
        });
        span.in_scope(|| tracing::info!(endpoint = %ticket.endpoint, job = %ticket.job, kind, what, "boot"));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(ticket.endpoint, Seen { at, what });
    }
}

/// The trace that something was seen of last, of the endpoint that has these addresses.
fn newest<'a>(traces: &'a Traces, macs: &[MacAddr]) -> Option<(MacAddr, &'a Trace)> {
    let found = macs.iter().filter_map(|mac| Some((*mac, traces.get(&mac.0.into())?)));
    found.max_by_key(|(_, trace)| trace.last())
}

/// The firmware behind whatever asked last: iPXE and the agent came from one.
fn as_firmware(client: &Client) -> Client {
    let class = match client.class {
        ClientClass::HttpBoot => ClientClass::HttpBoot,
        ClientClass::Pxe | ClientClass::Ipxe { .. } | ClientClass::Agent | ClientClass::Plain => {
            ClientClass::Pxe
        }
    };
    Client { class, ..client.clone() }
}

/// Whose event it is, where that is known.
fn sender(event: &BootEvent) -> Option<Mac> {
    match event {
        BootEvent::DiscoverSeen { client, .. }
        | BootEvent::OfferSent { client, .. }
        | BootEvent::AckSent { client, .. }
        | BootEvent::NakSent { client, .. } => Some(client.mac),
        BootEvent::TransferStarted { fetcher, .. }
        | BootEvent::TransferFinished { fetcher, .. }
        | BootEvent::TransferAborted { fetcher, .. } => fetcher.mac,
        BootEvent::Refused { mac, .. } => *mac,
        BootEvent::LoaderSaid { mac, .. } | BootEvent::AddressInUse { by: mac, .. } => Some(*mac),
        BootEvent::ForeignDhcpServer { client, .. } | BootEvent::ForeignOffer { client, .. } => Some(*client),
    }
}

/// Six-byte addresses only: the others are not Ethernet.
fn mac_addr(mac: Mac) -> Option<MacAddr> {
    mac.as_slice().try_into().ok().map(MacAddr)
}

impl BootPolicy for BootDesk {
    fn decide(&self, request: &BootRequest) -> BootDecision {
        let ticket =
            mac_addr(request.client.mac).and_then(|mac| self.tickets.find(mac, self.clock.now_unix_ms()));
        match ticket {
            None => BootDecision::LocalDisk,
            // Nothing is left that did not fail: its own disk, until a person decides.
            Some(ticket) => match self.choose(&request.client, self.mode(request.interface), &ticket) {
                Some((chain, _)) => chain.into(),
                None => BootDecision::LocalDisk,
            },
        }
    }

    fn reservations(&self) -> Option<Reservations> {
        self.tickets.addresses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl BootEvents for BootDesk {
    fn event(&self, event: BootEvent) {
        self.counted().note(&event);
        let (mac, at) = (sender(&event).and_then(mac_addr), self.clock.now_unix_ms());
        let ended = self.traces().take(at, &event, mac.is_some_and(|mac| self.tickets.knows(mac)));
        if let (Some(mac), Some(ended)) = (mac, ended) {
            self.attempt_ended(mac, &ended, at);
        }
        match event {
            BootEvent::DiscoverSeen { client, secs, .. } => self.record("discover", Some(client.mac), || {
                format!("its firmware asks for an address ({secs} s after its network came up)")
            }),
            BootEvent::OfferSent { client, file, .. } => {
                self.record("offer", Some(client.mac), || {
                    format!("was offered {}", file_name(file.as_deref()))
                });
            }
            BootEvent::AckSent { client, file, .. } => {
                self.record("ack", Some(client.mac), || {
                    format!("was told to load {}", file_name(file.as_deref()))
                });
            }
            BootEvent::NakSent { client, wanted } => {
                self.record("nak", Some(client.mac), || {
                    format!("asked to keep {wanted}, which is not its address")
                });
            }
            BootEvent::TransferStarted { fetcher, name, .. } => {
                self.record("transfer-started", fetcher.mac, || format!("loads {name}"));
            }
            BootEvent::TransferFinished { fetcher, name, bytes, took, .. } => {
                self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.record("transfer-finished", fetcher.mac, || {
                    format!("has loaded {name} ({bytes} bytes in {} ms)", took.as_millis())
                });
            }
            BootEvent::TransferAborted { fetcher, name, reason, .. } => {
                self.record("transfer-aborted", fetcher.mac, || format!("stopped loading {name}: {reason}"));
            }
            BootEvent::Refused { mac, reason, peer, stage } => {
                tracing::debug!(?mac, ?peer, ?stage, %reason, "boot request refused");
                let at = self.clock.now_unix_ms();
                self.refused().note(stage, &reason, mac.and_then(mac_addr), peer, at);
                self.record("refused", mac, || format!("was refused: {reason}"));
            }
            BootEvent::ForeignDhcpServer { server, interface, client } => {
                tracing::debug!(%server, %interface, %client, "another DHCP server was chosen");
                self.foreign_now().note(interface, server, (true, false), self.clock.now_unix_ms());
                self.record("foreign-dhcp", Some(client), || {
                    format!("was answered by another DHCP server, {server}")
                });
            }
            BootEvent::LoaderSaid { .. } => self.record("loader-said", None, String::new),
            BootEvent::AddressInUse { addr, by, holder, interface } => {
                tracing::warn!(%addr, %by, holder = holder.map(tracing::field::display), %interface,
                    "an address of the pool is in use by someone who has no lease of it");
                if let Some(who) = mac_addr(by) {
                    let pair = (who, holder.and_then(mac_addr));
                    self.taken_now().note(interface, addr, pair, self.clock.now_unix_ms());
                }
                self.record("address-in-use", Some(by), || {
                    format!("uses {addr} of our pool without a lease of it")
                });
            }
            BootEvent::ForeignOffer { server, interface, gives, boots, .. } => {
                self.foreign_now().note(interface, server, (gives, boots), self.clock.now_unix_ms());
                self.record("foreign-offer", None, String::new);
            }
        }
    }
}

fn file_name(file: Option<&str>) -> &str {
    file.unwrap_or("no file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn request(mac: [u8; 6]) -> BootRequest {
        BootRequest {
            client: pxe::Client::bare(mac.into(), None),
            stage: pxe::Stage::Discover,
            interface: Ipv4Addr::LOCALHOST,
        }
    }

    #[test]
    fn a_ticket_that_is_withdrawn_leads_nowhere_and_others_do() {
        let (mine, other) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let ticket = |n| Ticket {
            job: JobId::new(n, [0; 10]),
            endpoint: "press-01".parse().unwrap(),
            chain: Chain::Auto,
            secure_boot: None,
            issued: 0,
            expires: 10,
        };
        let tickets = Tickets::default();
        *tickets.live.write().unwrap() = Arc::new([(mine, ticket(1)), (other, ticket(2))].into());
        tickets.withdraw(&[ticket(1).job]);
        assert!(tickets.find(mine, 5).is_none() && tickets.find(other, 5).is_some());
    }

    #[test]
    fn only_a_live_ticket_leads_to_the_recovery_system() {
        let tickets = Arc::new(Tickets::default());
        let ticket = |chain, expires| Ticket {
            job: JobId::new(1, [0; 10]),
            endpoint: "press-01".parse().unwrap(),
            chain,
            secure_boot: None,
            issued: 0,
            expires,
        };
        *tickets.live.write().unwrap() = Arc::new(BTreeMap::from([
            (MacAddr([2, 0, 0, 0, 0, 1]), ticket(Chain::Auto, u64::MAX)),
            (MacAddr([2, 0, 0, 0, 0, 2]), ticket(Chain::Shim, u64::MAX)),
            (MacAddr([2, 0, 0, 0, 0, 3]), ticket(Chain::Auto, 1)),
        ]));
        let desk = BootDesk::new(tickets, Arc::new(SystemClock));
        assert_eq!(desk.decide(&request([2, 0, 0, 0, 0, 1])), pxe::Chain::Ipxe.into());
        assert_eq!(desk.decide(&request([2, 0, 0, 0, 0, 2])), pxe::Chain::Shim.into());
        assert_eq!(desk.decide(&request([2, 0, 0, 0, 0, 3])), BootDecision::LocalDisk, "expired");
        assert_eq!(desk.decide(&request([2, 0, 0, 0, 0, 4])), BootDecision::LocalDisk, "unknown");
    }

    #[tokio::test]
    async fn an_address_on_record_is_kept_for_it_as_soon_as_it_is_said() {
        let bench = crate::testing::Bench::new("").await;
        let mac = "02:00:00:00:00:01";
        let said = |address: &str| {
            let interface = serde_json::json!({ "mac": mac, "addresses": [address, "fd00::7/64"] });
            serde_json::json!({ "settings": { "interfaces": [interface] } })
        };
        let kept = |last| vec![(Mac::from([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 77, 0, last))];
        for last in [21, 22] {
            bench.add("press-01", mac, said(&format!("10.77.0.{last}/24"))).await;
            let now = bench.desk.reservations().unwrap();
            assert_eq!(now.to_vec(), kept(last));
            assert!(Arc::ptr_eq(&now, &bench.desk.reservations().unwrap()), "not made for every packet");
        }
    }
}
