//! Why an endpoint does not boot: the missing hop, the likely cause, what to do. A pure function of a trace and what is around it.
//!
//! Causes are likely, not proven: DHCP cannot tell whether Secure Boot is on, and a dropped packet leaves no mark. Each sentence
//! says what was seen; the rows of the quirk table (`DESIGN.md`) that it rests on stand beside it.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use super::{Hop, Outcome, Step, Trace, class_name};
use serde::{Deserialize, Serialize};

use crate::client::{Arch, ClientClass};
use crate::config::DhcpMode;
use crate::dhcp::loader::NOT_ARMED;
use crate::policy::Chain;

/// A firmware or loader that goes on does so well within this time (F2, notes of the lab: 4 to 5 s at most between two hops).
const PATIENCE_MS: u64 = 30_000;
/// From a kernel to its agent's first word: slow disks controllers, spanning tree at the third link reset.
const KERNEL_PATIENCE_MS: u64 = 90_000;
/// DISCOVERs that each came after an offer of ours: EDK2 sends four in its window.
const IGNORED_OFFERS: u32 = 2;
/// A first DISCOVER that is so old was held back by the switch (C1).
const HELD_BACK_SECS: u16 = 30;

/// How an interface answers, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing is answered.
    Observe,
    /// Beside the site's DHCP.
    #[default]
    Proxy,
    /// We give the addresses.
    Full,
}

impl Mode {
    /// The mode of an interface.
    #[must_use]
    pub fn of(dhcp: &DhcpMode) -> Self {
        match dhcp {
            DhcpMode::Off | DhcpMode::Observe => Mode::Observe,
            DhcpMode::Proxy => Mode::Proxy,
            DhcpMode::Full(_) => Mode::Full,
        }
    }
}

/// What is known beside the trace.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// How the interface answers on which it asked.
    pub mode: Mode,
    /// It holds a live boot ticket.
    pub ticket: bool,
    /// Other DHCP servers seen there.
    pub dhcp: &'a [Ipv4Addr],
    /// Other boot servers seen there.
    pub boot: &'a [Ipv4Addr],
    /// Each chain that its firmware could follow failed too often under this ticket: nothing is offered.
    pub exhausted: bool,
    /// The attempt is over: nothing more will come of it.
    pub over: bool,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// As it should be.
    Fine,
    /// Not long enough to tell.
    Waiting,
    /// A person should act.
    Trouble,
}

impl Level {
    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Fine => "fine",
            Level::Waiting => "waiting",
            Level::Trouble => "trouble",
        }
    }
}

/// What is the matter with an endpoint's boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Stable name of the cause.
    pub code: Cow<'static, str>,
    /// How much it matters.
    pub level: Level,
    /// The hop that did not come.
    pub missing: Option<Step>,
    /// What was seen and what it likely means.
    pub cause: String,
    /// What to do; empty when nothing.
    pub remedy: Cow<'static, str>,
    /// What else was noticed, with its remedy.
    pub also: Vec<Noticed>,
}

/// Something else that was noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed {
    /// Stable name: `held-back`, `relayed`, `second-dhcp`, `second-boot-server`.
    pub code: Cow<'static, str>,
    /// What it is about: seconds of waiting, or the address of the relay or server.
    pub value: String,
    /// What was seen, what it likely means, and what to do.
    pub what: String,
}

impl Diagnosis {
    fn new(
        code: &'static str,
        level: Level,
        missing: Option<Step>,
        cause: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Diagnosis {
            code: code.into(),
            level,
            missing,
            cause: cause.into(),
            remedy: remedy.into(),
            also: Vec::new(),
        }
    }

    fn trouble(code: &'static str, missing: Step, cause: impl Into<String>, remedy: &'static str) -> Self {
        Self::new(code, Level::Trouble, Some(missing), cause, remedy)
    }

    fn fine(code: &'static str, cause: impl Into<String>) -> Self {
        Self::new(code, Level::Fine, None, cause, "")
    }

    fn waiting(missing: Step, cause: impl Into<String>) -> Self {
        Self::new("underway", Level::Waiting, Some(missing), cause, "")
    }
}

/// Says what is the matter. `trace` is `None` for an endpoint of which nothing was ever seen; `now` in milliseconds since 1970.
#[must_use]
pub fn diagnose(trace: Option<&Trace>, around: &Surroundings<'_>, now: u64) -> Diagnosis {
    let Some(trace) = trace.filter(|trace| !trace.hops.is_empty()) else {
        return unseen(around);
    };
    let mut found = if around.ticket && around.exhausted && trace.reached() < Step::Loader {
        exhausted(trace)
    } else {
        of_attempt(trace, around, now)
    };
    // A new attempt that has not come far says less than how the last one ended.
    if !around.over
        && found.level == Level::Waiting
        && trace.reached() < Step::Loader
        && let Some(last) = trace.earlier.back().filter(|last| last.diagnosis.level == Level::Trouble)
    {
        found = Diagnosis { also: Vec::new(), ..last.diagnosis.clone() };
    }
    if !around.over {
        found.also.extend(noticed(trace, around));
    }
    found
}

fn exhausted(trace: &Trace) -> Diagnosis {
    let last = trace.earlier.back().map_or("", |ended| ended.diagnosis.cause.as_str());
    Diagnosis::trouble(
        "chains-exhausted",
        Step::Offer,
        format!(
            "each chain that its firmware can follow failed under this boot ticket, so nothing is offered any more; the last time: {last}"
        ),
        "mend what stopped the earlier attempts, then set a chain (`groundstate endpoint set NAME --chain …`), or cancel the job and order it again",
    )
}

fn unseen(around: &Surroundings<'_>) -> Diagnosis {
    if !around.ticket {
        return Diagnosis::fine("not-seen", "it has not asked to boot from the network");
    }
    Diagnosis::new(
        "nothing-seen",
        Level::Waiting,
        Some(Step::Discover),
        "nothing of it was seen on the boot network: it is off, its firmware does not try the network, or its DISCOVER does not reach us",
        "switch it on and choose network boot in its firmware; then look at its cable, its VLAN, the Ethernet address on record, and that a relay forwards to the appliance",
    )
}

fn of_attempt(trace: &Trace, around: &Surroundings<'_>, now: u64) -> Diagnosis {
    if trace.hops.last().is_some_and(|hop| hop.step == Step::Agent) {
        return Diagnosis::fine("booted", "it runs the recovery system");
    }
    if sent_away(trace) {
        return own_disk(around);
    }
    if let Some(found) = refused(trace, around) {
        return found;
    }
    let quiet = if around.over { u64::MAX } else { now.saturating_sub(trace.last()) };
    if let Some(found) = transfers(trace, quiet) {
        return found;
    }
    let reached = trace.reached();
    if reached >= Step::Kernel {
        return after_kernel(trace, around.mode, quiet);
    }
    if reached >= Step::Loader {
        if quiet < PATIENCE_MS {
            return Diagnosis::waiting(
                next(trace, reached),
                format!("it has come to the step “{}”", reached.name()),
            );
        }
        return after_loader(trace, around, reached);
    }
    before_loader(trace, around, reached, quiet)
}

/// The step that should come after one that was reached.
fn next(trace: &Trace, reached: Step) -> Step {
    match reached {
        Step::Discover => Step::Offer,
        Step::Offer => Step::Request,
        Step::Request if trace.client.arch.is_some_and(Arch::is_uefi) => Step::BootServer,
        Step::Request | Step::BootServer | Step::Options => Step::Loader,
        Step::Loader if trace.chain == Some(Chain::Shim) => Step::SecondStage,
        Step::Loader | Step::SecondStage => Step::Config,
        Step::Config => Step::Kernel,
        Step::Kernel | Step::Initrd | Step::Agent => Step::Agent,
    }
}

/// The newest answer names the file that never is: it was sent on to its own disk in the way that costs it the least time (B21).
fn sent_away(trace: &Trace) -> bool {
    let told =
        |hop: &&Hop| (Step::Offer..=Step::BootServer).contains(&hop.step) && hop.outcome == Outcome::Done;
    let newest = trace.hops.iter().filter(told).max_by_key(|hop| hop.until);
    newest.is_some_and(|hop| hop.what.ends_with(NOT_ARMED))
}

fn own_disk(around: &Surroundings<'_>) -> Diagnosis {
    if around.ticket {
        let cause = "it was sent to its own disk before its boot ticket was issued; it will ask again when it is started again";
        return Diagnosis::waiting(Step::Offer, cause);
    }
    let cause =
        "it asked to boot from the network and holds no boot ticket: it boots its own disk, as it should";
    Diagnosis::fine("no-ticket", cause)
}

/// The last thing that was refused, unless the boot went on behind it.
fn refused(trace: &Trace, around: &Surroundings<'_>) -> Option<Diagnosis> {
    let newest =
        trace.hops.iter().filter(|hop| hop.outcome != Outcome::SizeAsked).max_by_key(|hop| hop.until)?;
    let hop = trace
        .hops
        .iter()
        .rev()
        .find(|hop| matches!(hop.outcome, Outcome::Refused(_)) && hop.until >= newest.until)?;
    let Outcome::Refused(code) = &hop.outcome else { return None };
    match code.as_ref() {
        "no-ticket" | "muted" => Some(own_disk(around)),
        "observing" if around.ticket => Some(Diagnosis::trouble(
            "observing",
            Step::Offer,
            "it asks, and the appliance only observes on this interface",
            "set `dhcp` of the interface to `proxy` beside the site's own DHCP, or to `full` on an isolated recovery VLAN, and start the appliance again",
        )),
        "observing" => {
            Some(Diagnosis::fine("observing", "it asked; the appliance only observes on this interface"))
        }
        "no-loader" => Some(Diagnosis::trouble(
            "no-loader",
            Step::Offer,
            format!("it asks as {} and the boot kit has no loader for that", firmware(trace)),
            "switch its firmware to 64-bit UEFI or legacy BIOS, choose another chain for it, or start it from a recovery stick",
        )),
        "pool-empty" => Some(Diagnosis::trouble(
            "pool-empty",
            Step::Offer,
            "there was no free address for it",
            "widen the pool of the interface, or shorten its leases",
        )),
        "busy" => Some(Diagnosis::trouble(
            "busy",
            Step::Loader,
            "it was turned away because too many transfers run at once",
            "start fewer endpoints at once; it asks again by itself",
        )),
        // A loader that only tries a name goes on without it.
        _ => None,
    }
}

fn firmware(trace: &Trace) -> String {
    let arch = match trace.client.arch {
        None => "a firmware that does not say its architecture".to_owned(),
        Some(Arch::Unknown(code)) => format!("architecture {code:#06x}, which is unknown here"),
        Some(arch) => arch.words().to_owned(),
    };
    match trace.client.class {
        ClientClass::HttpBoot => format!("{arch}, UEFI HTTP Boot,"),
        _ => format!("{arch},"),
    }
}

/// A transfer that stands or ended early is the reason by itself.
fn transfers(trace: &Trace, quiet: u64) -> Option<Diagnosis> {
    let file = |hop: &&Hop| hop.step >= Step::Loader && !matches!(hop.outcome, Outcome::Refused(_));
    let hop = trace.hops.iter().rev().find(file)?;
    match &hop.outcome {
        Outcome::Underway if quiet < PATIENCE_MS => {
            Some(Diagnosis::waiting(hop.step, format!("it loads {}", hop.what)))
        }
        Outcome::Underway => Some(stalled(hop, "it has not taken another block since")),
        Outcome::Broken(_) if quiet < PATIENCE_MS => {
            Some(Diagnosis::waiting(hop.step, format!("it stopped loading {}; it may try again", hop.what)))
        }
        Outcome::Broken(why) => Some(stalled(hop, why)),
        Outcome::SizeAsked if quiet < PATIENCE_MS => {
            Some(Diagnosis::waiting(hop.step, format!("it asked for the size of {}", hop.what)))
        }
        // D2: the probe is the rule, stopping after it is not.
        Outcome::SizeAsked => Some(Diagnosis::trouble(
            "size-only",
            hop.step,
            format!("it asked for the size of {} and never fetched it", hop.what),
            "look at its screen: the file may be too large for its firmware; update the firmware, or choose another chain",
        )),
        Outcome::Done | Outcome::Refused(_) => None,
    }
}

fn stalled(hop: &Hop, why: &str) -> Diagnosis {
    Diagnosis::trouble(
        "transfer-broken",
        hop.step,
        format!("loading {} ended after {} bytes: {why}", hop.what, hop.bytes),
        "look for a firewall between the two (TFTP answers come from a port of their own), a tunnel or VLAN with a smaller MTU, and a bad cable",
    )
}

fn after_kernel(trace: &Trace, mode: Mode, quiet: u64) -> Diagnosis {
    if quiet < KERNEL_PATIENCE_MS {
        return Diagnosis::waiting(Step::Agent, "it has loaded the recovery system and starts it");
    }
    let runs = trace.of(Step::Discover).any(|hop| hop.what == class_name(ClientClass::Agent));
    if runs {
        return Diagnosis::trouble(
            "agent-cut-off",
            Step::Agent,
            "the recovery system runs and has asked for an address, and its agent never spoke: it got none, or cannot reach the appliance's port for endpoints",
            "look at its screen; open the appliance's port for endpoints in the firewall between the two",
        );
    }
    if trace.chain == Some(Chain::UefiHttp) {
        let kernel = trace.of(Step::Kernel).next_back().map_or("its file", |hop| hop.what.as_str());
        return secure_boot(kernel, Step::Agent, trace.chain, mode);
    }
    // F18, C13, C15.
    Diagnosis::trouble(
        "agent-silent",
        Step::Agent,
        "the kernel was fetched, and the agent never spoke: the kernel did not start (Secure Boot refused it?), or has no driver for the network card",
        "look at its screen; then at Secure Boot and at the network card",
    )
}

/// F2. What helps depends on where it stands: shim needs PXE and a network in full mode (B12).
fn secure_boot(file: &str, missing: Step, chain: Option<Chain>, mode: Mode) -> Diagnosis {
    let remedy = match (chain, mode) {
        // F19.
        (Some(Chain::Shim), _) => {
            "let its firmware trust Microsoft's third-party UEFI CA, which signed shim, or switch Secure Boot off there"
        }
        (_, Mode::Proxy | Mode::Observe) => {
            "switch Secure Boot off in its firmware, or boot it on a recovery VLAN in full mode by the chain for Secure Boot (`groundstate endpoint set NAME --chain shim`), which does not work beside a site's DHCP"
        }
        (Some(Chain::UefiHttp), Mode::Full) => {
            "let its firmware boot by PXE, not HTTP, and choose the chain for Secure Boot (`groundstate endpoint set NAME --chain shim`), or switch Secure Boot off in its firmware"
        }
        (_, Mode::Full) => {
            "choose the chain for Secure Boot (`groundstate endpoint set NAME --chain shim`), or switch Secure Boot off in its firmware"
        }
    };
    let cause = format!("{file} was fetched whole, then silence: Secure Boot refused it, most likely");
    Diagnosis::trouble("loader-refused", missing, cause, remedy)
}

fn after_loader(trace: &Trace, around: &Surroundings<'_>, reached: Step) -> Diagnosis {
    let loader = trace.of(Step::Loader).next_back().map_or("the loader", |hop| hop.what.as_str());
    let ipxe_spoke = trace.of(Step::Discover).any(|hop| hop.what.starts_with("iPXE"));
    match reached {
        Step::Config => Diagnosis::trouble(
            "script-stuck",
            Step::Kernel,
            "it has its script, and never asked for the kernel",
            "look at its screen: the script says what it could not load, and tries again for a minute",
        ),
        // B12.
        Step::SecondStage if around.mode == Mode::Proxy => Diagnosis::trouble(
            "grub-beside-dhcp",
            Step::Config,
            "GRUB was loaded and asked for no configuration: it does not read ProxyDHCP offers, and knows only the site's DHCP",
            "let the site's DHCP name the appliance as next server, use another chain, or boot on a recovery VLAN in full mode",
        ),
        Step::SecondStage => Diagnosis::trouble(
            "second-stage-silent",
            Step::Config,
            "the second stage was loaded and asked for no configuration",
            "look at its screen: Secure Boot may have refused the second stage",
        ),
        // B13.
        _ if trace.chain == Some(Chain::Shim) && around.mode == Mode::Proxy => Diagnosis::trouble(
            "shim-went-elsewhere",
            Step::SecondStage,
            format!(
                "{loader} was fetched, then silence: shim asks the server that the site's DHCP names, or Secure Boot refused it"
            ),
            "take the boot file out of the site's DHCP for this network; then look at the endpoint's screen",
        ),
        _ if ipxe_spoke => Diagnosis::trouble(
            "script-not-fetched",
            Step::Config,
            "iPXE runs and asked for an address, and never fetched its script: it got none, or cannot reach the appliance's HTTP port",
            "open TCP port 80 towards the appliance, and set the switch port to portfast",
        ),
        _ if trace.client.arch.is_some_and(Arch::is_uefi) => secure_boot(
            loader,
            if trace.chain == Some(Chain::Shim) { Step::SecondStage } else { Step::Config },
            trace.chain,
            around.mode,
        ),
        // G4.
        _ => Diagnosis::trouble(
            "loader-silent",
            Step::Config,
            format!(
                "{loader} was fetched whole, then silence: it hangs in the network card's own driver, most likely"
            ),
            "update the firmware of the network card, or start the endpoint from a recovery stick",
        ),
    }
}

fn before_loader(trace: &Trace, around: &Surroundings<'_>, reached: Step, quiet: u64) -> Diagnosis {
    let ignored = trace.unanswered >= IGNORED_OFFERS;
    if quiet < PATIENCE_MS && !ignored {
        let missing = next(trace, reached);
        return Diagnosis::waiting(missing, format!("it has come to the step “{}”", reached.name()));
    }
    if reached >= Step::Offer
        && let Some(other) = around.boot.first()
    {
        // B3, B20.
        return Diagnosis::trouble(
            "two-boot-servers",
            next(trace, reached),
            format!(
                "offers seen from two boot servers: ours, and {other}; the firmware took the other, or neither"
            ),
            "switch the other boot server off for this network: firmware keeps only the first offer",
        );
    }
    let chose = trace.foreign.first().or(around.dhcp.first());
    match (reached, around.mode) {
        (Step::Discover, _) => Diagnosis::trouble(
            "not-answered",
            Step::Offer,
            "it asked and got no answer of ours",
            "look at the refusals in `groundstate status`",
        ),
        (Step::Offer, Mode::Full) => match chose {
            Some(other) => Diagnosis::trouble(
                "other-dhcp",
                Step::Request,
                format!(
                    "another DHCP server, {other}, gives addresses on this network, and the firmware took its offer"
                ),
                "full mode belongs on a network of its own: switch the other server off there, or set `dhcp` to `proxy`",
            ),
            None => Diagnosis::trouble(
                "offers-dropped",
                Step::Request,
                "our offers do not arrive: the switch drops them (DHCP snooping), most likely",
                "make the appliance's switch port a trusted port for DHCP snooping",
            ),
        },
        (Step::Offer, _) => match chose {
            // B4, C3.
            Some(other) => Diagnosis::trouble(
                "offers-not-taken",
                Step::Request,
                format!(
                    "the site's DHCP ({other}) and we made offers, and the firmware takes neither or only the other: DHCP snooping drops our offers, or it cannot merge two"
                ),
                "make the appliance's switch port a trusted port for DHCP snooping; if it is, let the site's DHCP name the boot file",
            ),
            None => Diagnosis::trouble(
                "no-address",
                Step::Request,
                "we made an offer beside the site's DHCP, and no address came with it: no DHCP server answers here, or DHCP snooping drops our offers",
                "look at the site's DHCP for this network; if it answers, make the appliance's switch port a trusted port for DHCP snooping",
            ),
        },
        // C3, C5.
        (Step::Request, Mode::Proxy | Mode::Observe) => Diagnosis::trouble(
            "boot-server-not-asked",
            next(trace, reached),
            "it took an address from the site's DHCP and never asked us for its file: DHCP snooping drops our offers, or a relay does not forward to port 4011",
            "make the appliance's switch port a trusted port for DHCP snooping; behind a relay, let the site's DHCP name the appliance and the boot file",
        ),
        (_, _) => Diagnosis::trouble(
            "file-not-asked",
            Step::Loader,
            "it was told its file and never asked for it",
            "look for a firewall that drops UDP port 69 (for HTTP Boot: TCP port 80) towards the appliance; plain HTTP may be off in its firmware",
        ),
    }
}

fn noticed(trace: &Trace, around: &Surroundings<'_>) -> Vec<Noticed> {
    let mut also = Vec::new();
    let mut note = |code: &'static str, value: String, what: String| {
        also.push(Noticed { code: code.into(), value, what });
    };
    if trace.secs > HELD_BACK_SECS {
        note(
            "held-back",
            trace.secs.to_string(),
            format!(
                "its first question came {} s after its network was up: the switch holds the port back (spanning tree); set it to portfast",
                trace.secs
            ),
        );
    }
    if let Some(relay) = trace.relay {
        note(
            "relayed",
            relay.to_string(),
            format!(
                "it comes through the relay {relay}: port 4011 is not relayed; if it does not ask for its file, let the site's DHCP name it"
            ),
        );
    }
    if around.mode == Mode::Full
        && let Some(other) = around.dhcp.first()
    {
        note(
            "second-dhcp",
            other.to_string(),
            format!("another DHCP server, {other}, answers on this network, which should be ours alone"),
        );
    }
    if let Some(other) = around.boot.first() {
        let what = format!("another boot server, {other}, answers on this network");
        note("second-boot-server", other.to_string(), what);
    }
    also
}
