//! The boot trace: what each endpoint's firmware did, hop by hop, with time, bytes and outcome.
//!
//! ```text
//!   BootEvent, time ─► Traces ─► by hardware address: Trace { this attempt: hops, earlier attempts: how each ended }
//!                         │                              └─► diagnose ─► the missing hop, the likely cause, a remedy
//!                         └─► an attempt that is over: by which chain, how far it came
//! ```
//!
//! An *attempt* is one try of a firmware to boot: it begins with a DISCOVER of the firmware after an attempt that had come to a
//! file, or after long silence. A *hop* is one thing that happened in it; the same thing again is counted, not repeated.
//!
//! Hardware addresses are claims. So nothing here proves anything, addresses that nobody put on record share few places
//! among themselves, and everything has a bound. No I/O, no clock: time is milliseconds since 1970, and the caller's.

mod diagnosis;
mod kept;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;

pub use diagnosis::{Diagnosis, Level, Mode, Noticed, Surroundings};

use serde::{Deserialize, Serialize};

use crate::client::{Arch, Client, ClientClass, Mac};
use crate::config::Interface;
use crate::dhcp::loader::{Loaders, SCRIPT_NAME};
use crate::event::{Abort, BootEvent, Fetcher, Refusal};
use crate::policy::{Chain, Stage};

/// Hops kept of one attempt; the oldest make room.
pub const HOPS_MOST: usize = 48;
/// Earlier attempts kept of one endpoint.
pub const EARLIER_MOST: usize = 4;
/// Lines of a loader's own words kept of one attempt.
pub const SAID_MOST: usize = 32;
/// Traces of endpoints on record, and of addresses that nobody put on record.
pub const KNOWN_MOST: usize = 4096;
/// See [`KNOWN_MOST`].
pub const STRANGERS_MOST: usize = 128;
/// Foreign servers remembered in one trace.
const FOREIGN_MOST: usize = 4;
/// The last so many hops are looked at for the same thing again: DISCOVER and OFFER take turns.
const SAME_WITHIN: usize = 4;
/// Longest text of a hop, in characters.
const WHAT_MOST: usize = 96;
/// After so long a silence a firmware begins anew. EDK2 waits 4, 8, 16 and 32 s between its DISCOVERs.
const SILENCE_MS: u64 = 120_000;

/// A step of a boot, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// DHCPDISCOVER.
    Discover,
    /// DHCPOFFER, ours.
    Offer,
    /// DHCPREQUEST: to us and acknowledged, or to another server.
    Request,
    /// A question to the boot server port 4011, answered.
    BootServer,
    /// What a loader asked for its transfer (RFC 2347).
    Options,
    /// The first loader.
    Loader,
    /// What the first loader loads: GRUB behind shim.
    SecondStage,
    /// A script or a configuration.
    Config,
    /// Kernel, or the unified kernel image.
    Kernel,
    /// Initial file system.
    Initrd,
    /// The recovery system's agent said hello.
    Agent,
}

impl Step {
    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Step::Discover => "discover",
            Step::Offer => "offer",
            Step::Request => "request",
            Step::BootServer => "4011",
            Step::Options => "options",
            Step::Loader => "loader",
            Step::SecondStage => "second-stage",
            Step::Config => "config",
            Step::Kernel => "kernel",
            Step::Initrd => "initrd",
            Step::Agent => "agent",
        }
    }
}

/// How a hop ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It happened.
    Done,
    /// A transfer that runs.
    Underway,
    /// Only the size was asked, as EDK2 and GRUB do first.
    SizeAsked,
    /// Not given: the refusal's code.
    Refused(Cow<'static, str>),
    /// A transfer that ended early, and why.
    Broken(String),
}

impl Outcome {
    /// Its stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Underway => "underway",
            Outcome::SizeAsked => "size-asked",
            Outcome::Refused(_) => "refused",
            Outcome::Broken(_) => "broken",
        }
    }
}

/// One thing that happened, perhaps several times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// Which step.
    pub step: Step,
    /// When it began first, milliseconds since 1970.
    pub at: u64,
    /// When it was seen last or ended.
    pub until: u64,
    /// How often.
    pub count: u32,
    /// Bytes that reached the endpoint.
    pub bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// File, class or address, for a person.
    pub what: String,
}

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When it began and when its last hop was.
    pub at: (u64, u64),
    /// The chain that it took, if it came to a file.
    pub chain: Option<Chain>,
    /// How far it came.
    pub reached: Step,
    /// What was the matter with it.
    pub diagnosis: Diagnosis,
}

impl Ended {
    /// Whether its chain failed: a whole loader was fetched, and the agent never spoke.
    #[must_use]
    pub fn failed(&self) -> bool {
        (Step::Loader..Step::Agent).contains(&self.reached)
    }
}

/// One endpoint's boots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trace {
    hops: Vec<Hop>,
    /// Who it last said it is.
    pub client: Client,
    /// Our address where it asked.
    pub interface: Option<Ipv4Addr>,
    /// Field `secs` of the first DISCOVER of this attempt.
    pub secs: u16,
    /// The relay it came through.
    pub relay: Option<Ipv4Addr>,
    /// Other DHCP servers that it turned to.
    pub foreign: Vec<Ipv4Addr>,
    /// Offers of the firmware that it went on without taking, in a row: it asked again.
    pub unanswered: u32,
    chain: Option<Chain>,
    said: VecDeque<(u64, String)>,
    earlier: VecDeque<Ended>,
}

impl Trace {
    fn new(client: Client) -> Self {
        Trace {
            hops: Vec::new(),
            client,
            interface: None,
            secs: 0,
            relay: None,
            foreign: Vec::new(),
            unanswered: 0,
            chain: None,
            said: VecDeque::new(),
            earlier: VecDeque::new(),
        }
    }

    /// The hops of this attempt, oldest first.
    #[must_use]
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// Earlier attempts, oldest first.
    pub fn earlier(&self) -> impl DoubleEndedIterator<Item = &Ended> {
        self.earlier.iter()
    }

    /// What loaders said of themselves in this attempt (syslog), oldest first, with its time.
    pub fn said(&self) -> impl Iterator<Item = &(u64, String)> {
        self.said.iter()
    }

    /// The chain that this attempt takes, once it came to a file.
    #[must_use]
    pub fn chain(&self) -> Option<Chain> {
        self.chain
    }

    /// The last time that anything was seen of it.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.hops.iter().map(|hop| hop.until).max().unwrap_or(0)
    }

    /// Whether a step was done in this attempt.
    #[must_use]
    pub fn has(&self, step: Step) -> bool {
        self.hops.iter().any(|hop| hop.step == step && hop.outcome == Outcome::Done)
    }

    /// How far this attempt came.
    #[must_use]
    pub fn reached(&self) -> Step {
        let done = self.hops.iter().filter(|hop| hop.outcome == Outcome::Done);
        done.map(|hop| hop.step).max().unwrap_or(Step::Discover)
    }

    fn of(&self, step: Step) -> impl DoubleEndedIterator<Item = &Hop> {
        self.hops.iter().filter(move |hop| hop.step == step)
    }

    fn begins_anew(&self, client: &Client, at: u64) -> bool {
        if self.hops.is_empty() {
            return false;
        }
        let silent = at.saturating_sub(self.last()) > SILENCE_MS;
        let tried = |step: Step| self.hops.iter().any(|hop| hop.step >= step);
        match client.class {
            ClientClass::Pxe | ClientClass::HttpBoot => silent || tried(Step::Loader),
            ClientClass::Ipxe { .. } => silent || tried(Step::Kernel),
            ClientClass::Agent | ClientClass::Plain => false,
        }
    }

    /// Notes one thing, or counts it once more.
    fn note(&mut self, at: u64, step: Step, outcome: Outcome, bytes: u64, what: &str) {
        let what: String = what.chars().take(WHAT_MOST).collect();
        let tail = self.hops.len().saturating_sub(SAME_WITHIN);
        // What loaders only try has many names; one line stands for all.
        let tries = outcome == Outcome::Refused("not-found".into());
        let same = |hop: &&mut Hop| {
            hop.step == step && hop.outcome == outcome && (hop.what == what || tries) && hop.bytes == bytes
        };
        if let Some(hop) = self.hops[tail..].iter_mut().rev().find(same) {
            hop.count = hop.count.saturating_add(1);
            hop.until = hop.until.max(at);
            hop.what = what;
            return;
        }
        if self.hops.len() >= HOPS_MOST {
            self.hops.remove(0);
        }
        self.hops.push(Hop { step, at, until: at, count: 1, bytes, outcome, what });
    }

    /// A transfer ended: its hop is completed where it is still there.
    fn end(&mut self, at: u64, step: Step, outcome: Outcome, bytes: u64, what: &str) {
        let runs = |hop: &&mut Hop| {
            hop.step == step && hop.outcome == Outcome::Underway && what.starts_with(hop.what.as_str())
        };
        let Some(hop) = self.hops.iter_mut().rev().find(runs) else {
            return self.note(at, step, outcome, bytes, what);
        };
        (hop.until, hop.outcome, hop.bytes) = (hop.until.max(at), outcome, bytes);
    }
}

/// What the files of a boot kit are for.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    loaders: BTreeMap<String, Chain>,
    kernels: Vec<String>,
    initrds: Vec<String>,
}

impl Roles {
    /// From the table of loaders and the names of the recovery system's files; a unified kernel image is a kernel.
    #[must_use]
    pub fn new(loaders: &Loaders, kernels: &[&str], initrds: &[&str]) -> Self {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let loaders = loaders.chains().map(|(name, chain)| (name.to_owned(), chain)).collect();
        Roles { loaders, kernels: own(kernels), initrds: own(initrds) }
    }

    fn step(&self, name: &str) -> Step {
        let is = |list: &[String]| list.iter().any(|known| known == name);
        if is(&self.kernels) {
            Step::Kernel
        } else if is(&self.initrds) {
            Step::Initrd
        } else if name == SCRIPT_NAME || name.ends_with("grub.cfg") || name.ends_with(".ipxe") {
            Step::Config
        } else if self.loaders.contains_key(name) {
            Step::Loader
        } else {
            Step::SecondStage
        }
    }

    /// The chain that begins with this file.
    fn chain(&self, name: &str, arch: Option<Arch>) -> Option<Chain> {
        let own_script = || (name == SCRIPT_NAME).then_some(Chain::Ipxe);
        let chain = self.loaders.get(name).copied().or_else(own_script)?;
        let bios = arch.is_none_or(|arch| arch == Arch::Bios);
        Some(if chain == Chain::Ipxe && bios { Chain::Bios } else { chain })
    }
}

/// The traces of all endpoints.
#[derive(Debug, Default)]
pub struct Traces {
    roles: Roles,
    modes: HashMap<Ipv4Addr, Mode>,
    /// Of addresses that a person put on record.
    known: HashMap<Mac, Trace>,
    strangers: HashMap<Mac, Trace>,
}

impl Traces {
    /// No trace yet, of a boot kit whose files have these roles.
    #[must_use]
    pub fn new(roles: Roles) -> Self {
        Traces { roles, ..Self::default() }
    }

    /// The interfaces on which endpoints ask, and how they answer.
    #[must_use]
    pub fn on(mut self, interfaces: &[Interface]) -> Self {
        self.modes = interfaces.iter().map(|interface| (interface.addr, Mode::of(&interface.dhcp))).collect();
        self
    }

    /// How the interface answers on which it asked; as beside a site's DHCP where that is not known.
    #[must_use]
    pub fn mode(&self, trace: &Trace) -> Mode {
        trace.interface.and_then(|at| self.modes.get(&at)).copied().unwrap_or_default()
    }

    /// The trace behind a hardware address.
    #[must_use]
    pub fn get(&self, mac: &Mac) -> Option<&Trace> {
        self.known.get(mac).or_else(|| self.strangers.get(mac))
    }

    fn get_mut(&mut self, mac: &Mac) -> Option<&mut Trace> {
        self.known.get_mut(mac).or_else(|| self.strangers.get_mut(mac))
    }

    /// All traces, in no order.
    pub fn all(&self) -> impl Iterator<Item = (&Mac, &Trace)> {
        self.known.iter().chain(&self.strangers)
    }

    /// Takes one event. `known`: the endpoint is on record. Returns the attempt that ended because another one began.
    pub fn take(&mut self, at: u64, event: &BootEvent, known: bool) -> Option<Ended> {
        match event {
            BootEvent::DiscoverSeen { client, interface, secs, relay } => {
                return self.discover(at, client, *interface, (*secs, *relay), known);
            }
            BootEvent::OfferSent { client, file, .. } => {
                let what = file.as_deref().unwrap_or("no file: it shall ask port 4011");
                self.dhcp(at, client, Step::Offer, what, known);
            }
            BootEvent::AckSent { client, stage, file } => {
                let step = if *stage == Stage::BootServer { Step::BootServer } else { Step::Request };
                self.dhcp(at, client, step, file.as_deref().unwrap_or("no file"), known);
            }
            BootEvent::NakSent { client, wanted } => {
                let what = format!("{wanted} is not its address");
                if let Some(trace) = self.get_mut(&client.mac) {
                    trace.note(at, Step::Request, Outcome::Refused("nak".into()), 0, &what);
                }
            }
            BootEvent::TransferStarted { fetcher, name, options, .. } => {
                self.started(at, fetcher, name, options);
            }
            BootEvent::TransferFinished { fetcher, name, bytes, .. } => {
                self.ended(at, fetcher, name, *bytes, Outcome::Done);
            }
            BootEvent::TransferAborted { fetcher, name, bytes, reason, .. } => {
                let outcome = match reason {
                    Abort::Probe => Outcome::SizeAsked,
                    other => Outcome::Broken(other.to_string()),
                };
                self.ended(at, fetcher, name, *bytes, outcome);
            }
            BootEvent::Refused { mac: Some(mac), stage, reason, .. } => {
                self.refused(at, mac, *stage, reason, known);
            }
            BootEvent::LoaderSaid { mac, text, .. } => self.say(at, mac, text),
            BootEvent::Refused { mac: None, .. }
            | BootEvent::ForeignOffer { .. }
            | BootEvent::AddressInUse { .. } => {}
            BootEvent::ForeignDhcpServer { server, client, .. } => {
                let trace = self.get_mut(client)?;
                trace.note(at, Step::Request, Outcome::Done, 0, &format!("to the DHCP server {server}"));
                note_foreign(trace, *server);
            }
        }
        None
    }

    /// The agent of the recovery system said hello from one of these addresses: the boot came to its end. Returns the chain of
    /// each attempt that got there.
    pub fn agent(&mut self, at: u64, macs: &[Mac]) -> Vec<(Mac, Option<Chain>)> {
        let mut came = Vec::new();
        for mac in macs {
            let Some(trace) = self.get_mut(mac) else { continue };
            if !trace.hops.is_empty() {
                trace.note(at, Step::Agent, Outcome::Done, 0, "its agent says hello");
                came.push((*mac, trace.chain));
            }
        }
        came
    }

    /// A loader's own words, by syslog. Only where there is a trace of an endpoint on record; cleaned and shortened.
    fn say(&mut self, at: u64, mac: &Mac, text: &str) {
        let Some(trace) = self.known.get_mut(mac) else { return };
        if trace.said.len() >= SAID_MOST {
            trace.said.pop_front();
        }
        let clean: String =
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WHAT_MOST * 2).collect();
        trace.said.push_back((at, clean.trim().to_owned()));
    }

    fn discover(
        &mut self,
        at: u64,
        client: &Client,
        interface: Ipv4Addr,
        (secs, relay): (u16, Option<Ipv4Addr>),
        known: bool,
    ) -> Option<Ended> {
        if client.class == ClientClass::Plain {
            return None;
        }
        let mode = self.modes.get(&interface).copied().unwrap_or_default();
        let trace = self.open(client, known);
        let ended = trace.begins_anew(client, at).then(|| close(trace, mode, at));
        if trace.hops.is_empty() {
            (trace.secs, trace.unanswered) = (secs, 0);
        }
        if trace.hops.last().is_some_and(|hop| hop.step == Step::Offer) {
            trace.unanswered = trace.unanswered.saturating_add(1);
        }
        (trace.client, trace.interface, trace.relay) = (client.clone(), Some(interface), relay);
        let class = class_name(client.class);
        let what =
            relay.map_or_else(|| class.to_owned(), |relay| format!("{class}, through the relay {relay}"));
        trace.note(at, Step::Discover, Outcome::Done, 0, &what);
        ended
    }

    fn dhcp(&mut self, at: u64, client: &Client, step: Step, what: &str, known: bool) {
        if client.class == ClientClass::Plain {
            return;
        }
        let trace = self.open(client, known);
        trace.client = client.clone();
        if step > Step::Offer {
            trace.unanswered = 0;
        }
        trace.note(at, step, Outcome::Done, 0, what);
    }

    fn started(&mut self, at: u64, fetcher: &Fetcher, name: &str, options: &str) {
        let (step, Some(mac)) = (self.roles.step(name), fetcher.mac) else { return };
        let arch = self.get(&mac).and_then(|trace| trace.client.arch);
        let chain = self.roles.chain(name, arch);
        let Some(trace) = self.get_mut(&mac) else { return };
        trace.chain = trace.chain.or(chain);
        trace.unanswered = 0;
        if !options.is_empty() {
            trace.note(at, Step::Options, Outcome::Done, 0, options);
        }
        trace.note(at, step, Outcome::Underway, 0, name);
    }

    fn ended(&mut self, at: u64, fetcher: &Fetcher, name: &str, bytes: u64, outcome: Outcome) {
        let step = self.roles.step(name);
        let Some(trace) = fetcher.mac.and_then(|mac| self.get_mut(&mac)) else { return };
        trace.end(at, step, outcome, bytes, name);
    }

    fn refused(&mut self, at: u64, mac: &Mac, stage: Stage, reason: &Refusal, known: bool) {
        let step = match stage {
            Stage::Discover => Step::Discover,
            Stage::Request => Step::Request,
            Stage::BootServer => Step::BootServer,
            Stage::RouterSolicit => return,
            Stage::Tftp | Stage::Http => match reason {
                Refusal::NotFound(name) => self.roles.step(name),
                _ => Step::Loader,
            },
        };
        // Other people's DHCP is no boot, and makes no trace.
        if matches!(
            reason,
            Refusal::NotBoot | Refusal::OtherServer | Refusal::MessageType(_) | Refusal::NotLeased
        ) {
            return;
        }
        let files = matches!(stage, Stage::Tftp | Stage::Http);
        if files && self.get(mac).is_none() {
            self.open(&Client::bare(*mac, None), known);
        }
        let Some(trace) = self.get_mut(mac) else { return };
        trace.note(at, step, Outcome::Refused(reason.code().into()), 0, &reason.to_string());
    }

    /// The trace of a client, made where there is none. A new one takes the place of the one that was silent longest, and a
    /// stranger only a stranger's. One that was put on record since, or taken from it, moves.
    fn open(&mut self, client: &Client, known: bool) -> &mut Trace {
        let (own, other, most) = match known {
            true => (&mut self.known, &mut self.strangers, KNOWN_MOST),
            false => (&mut self.strangers, &mut self.known, STRANGERS_MOST),
        };
        if own.len() >= most && !own.contains_key(&client.mac) {
            let oldest = own.iter().min_by_key(|(mac, trace)| (trace.last(), **mac)).map(|(mac, _)| *mac);
            oldest.and_then(|mac| own.remove(&mac));
        }
        let moved = || other.remove(&client.mac).unwrap_or_else(|| Trace::new(client.clone()));
        own.entry(client.mac).or_insert_with(moved)
    }
}

fn note_foreign(trace: &mut Trace, server: Ipv4Addr) {
    if !trace.foreign.contains(&server) && trace.foreign.len() < FOREIGN_MOST {
        trace.foreign.push(server);
    }
}

/// Ends an attempt: what it was goes to the earlier ones.
fn close(trace: &mut Trace, mode: Mode, now: u64) -> Ended {
    let begun = trace.hops.first().map_or(now, |hop| hop.at);
    let around = Surroundings { mode, over: true, ..Surroundings::default() };
    let ended = Ended {
        at: (begun, trace.last()),
        chain: trace.chain,
        reached: trace.reached(),
        diagnosis: diagnosis::diagnose(Some(trace), &around, now),
    };
    trace.hops.clear();
    trace.said.clear();
    trace.foreign.clear();
    trace.chain = None;
    if trace.earlier.len() >= EARLIER_MOST {
        trace.earlier.pop_front();
    }
    trace.earlier.push_back(ended.clone());
    ended
}

fn class_name(class: ClientClass) -> &'static str {
    match class {
        ClientClass::Pxe => "firmware, PXE",
        ClientClass::HttpBoot => "firmware, HTTP Boot",
        ClientClass::Ipxe { http: true } => "iPXE",
        ClientClass::Ipxe { http: false } => "iPXE without HTTP",
        ClientClass::Agent => "the recovery system",
        ClientClass::Plain => "an ordinary client",
    }
}

pub use diagnosis::diagnose;

#[cfg(test)]
mod tests;
