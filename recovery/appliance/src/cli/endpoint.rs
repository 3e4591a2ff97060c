//! `groundstate endpoint`: put on record, look at, change, remove.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand, ValueEnum};
use recovery_protocol::{
    EndpointId, MacAddr,
    operator::{
        Chain, ChangeEndpoint, Decision, EndpointView, ImportPlan, Kind, NewEndpoint, PairRequest, Power,
        RemovedEndpoint, Resolution,
    },
    selector::{Labels, Selector},
    settings::{EndpointSettings, InterfaceAddress, InterfaceSettings},
};

use super::{
    client::Client,
    fault::{Code, Fault},
    machine,
    pages::{self, Watch},
    power::PowerArgs,
    print, show,
};
use crate::cli::Output;

/// What to do with endpoints.
#[derive(Debug, Subcommand)]
pub enum EndpointVerb {
    /// Put an endpoint on record, or approve a discovered one
    Add(Box<Add>),
    /// Change what is on record of an endpoint; what is not said stays
    Set(Box<Set>),
    /// Take an endpoint off record: its certificates are revoked, its history stays, its name may be given to another
    Remove(Remove),
    /// List endpoints
    List {
        /// Those of which this is true, as in line=3,kind!=historian
        #[arg(long)]
        selector: Option<Selector>,
        /// Only those that were seen and are not on record
        #[arg(long, conflicts_with = "selector")]
        unknown: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// Where endpoints stand, by line and cell, and how they are; how long recoveries took
    Map,
    /// Show one endpoint
    Show {
        /// The endpoint
        endpoint: EndpointId,
        #[command(flatten)]
        watch: Watch,
    },
    /// Put a sheet (CSV) on record: planned first, applied whole by the plan's hash, or not at all
    Import(Import),
    /// Write a sheet (CSV) of all that are on record
    Export {
        /// File to write; default: stdout
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Say who an endpoint is, where another one came with its address
    Resolve {
        /// The endpoint
        endpoint: EndpointId,
        /// The one on record stays; the other is refused
        #[arg(long, conflicts_with = "replace", required_unless_present = "replace")]
        keep: bool,
        /// Its hardware was replaced: the other is this endpoint from now on
        #[arg(long)]
        replace: bool,
        /// Why; goes into evidence
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Set the picture by which a technician knows it: JPEG, PNG or WebP, at most 512 KiB
    Photo {
        /// The endpoint
        endpoint: EndpointId,
        /// The picture
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        file: Option<PathBuf>,
        /// Forget the picture on record
        #[arg(long)]
        remove: bool,
    },
    /// Write a card to print, A6: its code, its picture, six steps, what to do when the page does not open
    Card {
        /// The endpoint
        endpoint: EndpointId,
        /// en, de, fr, es or zh
        #[arg(long, default_value = "en")]
        language: String,
        /// How a tablet at the line reaches the appliance; default: --url
        #[arg(long, value_name = "URL")]
        address: Option<String>,
        /// File to write (HTML)
        #[arg(long)]
        out: PathBuf,
    },
    /// What a recovery would bring an endpoint, and how long that takes
    Outlook {
        /// The endpoint
        endpoint: EndpointId,
    },
    /// Confirm the code on an endpoint's screen
    Pair {
        /// The endpoint
        endpoint: EndpointId,
        /// The six digits on its screen
        code: String,
    },
}

/// An endpoint to add.
#[derive(Debug, Args)]
pub struct Add {
    /// Its name
    endpoint: EndpointId,
    /// Ethernet address; give it several times
    #[arg(long = "mac", required = true)]
    macs: Vec<MacAddr>,
    /// Blueprint from the configuration
    #[arg(long)]
    blueprint: String,
    /// Group whose guard rails apply
    #[arg(long, default_value = "default")]
    group: String,
    #[command(flatten)]
    facts: Facts,
    /// Boot chain; without: as on record, and for a new endpoint `auto`
    #[arg(long, value_enum)]
    chain: Option<ChainWord>,
    /// Serial number of its disk, where more than one could be meant
    #[arg(long)]
    disk_serial: Option<String>,
    #[command(flatten)]
    own: Own,
    /// It may be the target of a drill
    #[arg(long)]
    drill_safe: bool,
    #[command(flatten)]
    power: PowerArgs,
}

/// What to change.
#[derive(Debug, Args)]
pub struct Set {
    /// The endpoint
    endpoint: EndpointId,
    /// All its Ethernet addresses from now on; give it several times
    #[arg(long = "mac")]
    macs: Vec<MacAddr>,
    /// Blueprint from the configuration
    #[arg(long)]
    blueprint: Option<String>,
    /// Group whose guard rails apply
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    facts: Facts,
    /// Boot chain
    #[arg(long, value_enum)]
    chain: Option<ChainWord>,
    /// Serial number of its disk; empty: whichever fits, pinned by the next order
    #[arg(long)]
    disk_serial: Option<String>,
    #[command(flatten)]
    own: Own,
    /// It may be the target of a drill, or no longer
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    drill_safe: Option<bool>,
    #[command(flatten)]
    power: PowerArgs,
    /// A person switches it on and off: forget its BMC
    #[arg(long, conflicts_with_all = ["ipmi", "redfish", "wake_on_lan"])]
    no_power: bool,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    reason: String,
    /// Refuse when the record is at another revision (exit 5)
    #[arg(long, value_name = "REVISION")]
    revision: Option<u64>,
}

/// What to import.
#[derive(Debug, Args)]
pub struct Import {
    /// The sheet: `groundstate endpoint export` shows its columns
    file: PathBuf,
    /// Say what it adds and changes and what is wrong with it, and change nothing
    #[arg(long, conflicts_with = "approve_plan", required_unless_present = "approve_plan")]
    plan: bool,
    /// Apply what --plan said, if it is still that
    #[arg(long, value_name = "HASH")]
    approve_plan: Option<String>,
}

/// Whom to remove.
#[derive(Debug, Args)]
pub struct Remove {
    /// The endpoint
    endpoint: EndpointId,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    reason: String,
    /// Refuse when the record is at another revision (exit 5)
    #[arg(long, value_name = "REVISION")]
    revision: Option<u64>,
}

/// What it is and where it stands.
#[derive(Debug, Args)]
struct Facts {
    /// A label, as in line=3; with a `-` behind the key, as in line-, it is taken away; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<LabelWord>,
    /// What it is for: hmi, historian, directory, ews, laptop, kiosk or server
    #[arg(long)]
    kind: Option<Kind>,
    /// Safety class, where it is higher than its group's: 0 to 3
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=3))]
    safety_class: Option<u8>,
    /// Those that can stand in for it have the same word here; empty: none can
    #[arg(long, value_name = "NAME")]
    redundancy: Option<String>,
}

/// A label to set, or to take away.
#[derive(Debug, Clone)]
struct LabelWord(String, Option<String>);

impl FromStr for LabelWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.split_once('='), text.strip_suffix('-')) {
            (Some((key, value)), _) => Ok(Self(key.to_owned(), Some(value.to_owned()))),
            (None, Some(key)) => Ok(Self(key.to_owned(), None)),
            (None, None) => Err("write key=value, or key- to take it away".to_owned()),
        }
    }
}

impl Facts {
    fn label_changes(&self) -> BTreeMap<String, Option<String>> {
        self.labels.iter().map(|LabelWord(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// What belongs to it and not to its image.
#[derive(Debug, Args)]
struct Own {
    /// Its host name, which it gets after each restore
    #[arg(long)]
    hostname: Option<String>,
    /// Its own address with the prefix, as in 10.7.3.21/24, on the interface of its first --mac; may be repeated. Without: DHCP
    #[arg(long = "address", value_name = "ADDRESS/PREFIX")]
    addresses: Vec<InterfaceAddress>,
    /// Its gateway; one of each family
    #[arg(long = "gateway", value_name = "ADDRESS", requires = "addresses")]
    gateways: Vec<IpAddr>,
    /// A name server; may be repeated
    #[arg(long, value_name = "ADDRESS", requires = "addresses")]
    dns: Vec<IpAddr>,
    /// Forget the host name and addresses on record: it starts as its image is
    #[arg(long, conflicts_with_all = ["hostname", "addresses"])]
    no_settings: bool,
}

/// A boot chain.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ChainWord {
    /// What worked before, else by architecture; the next one after two failed boots
    Auto,
    /// shim and GRUB, for Secure Boot
    Shim,
    /// iPXE, for Secure Boot off
    Ipxe,
    /// UEFI HTTP Boot
    UefiHttp,
}

impl From<ChainWord> for Chain {
    fn from(word: ChainWord) -> Self {
        match word {
            ChainWord::Auto => Self::Auto,
            ChainWord::Shim => Self::Shim,
            ChainWord::Ipxe => Self::Ipxe,
            ChainWord::UefiHttp => Self::UefiHttp,
        }
    }
}

impl Own {
    /// As on record from now on; `None`: nothing was said of it.
    fn over(self, known: &EndpointSettings, first: Option<MacAddr>) -> Option<EndpointSettings> {
        if self.no_settings {
            return Some(EndpointSettings::default());
        }
        if self.hostname.is_none() && self.addresses.is_empty() {
            return None;
        }
        let interface = first.filter(|_| !self.addresses.is_empty()).map(|mac| InterfaceSettings {
            mac,
            addresses: self.addresses,
            gateways: self.gateways,
            dns: self.dns,
        });
        Some(EndpointSettings {
            hostname: self.hostname.or_else(|| known.hostname.clone()),
            interfaces: interface.map_or_else(|| known.interfaces.clone(), |own| vec![own]),
        })
    }
}

impl Add {
    fn into_new(self) -> Result<NewEndpoint, Fault> {
        let labels = Labels::default().with(&self.facts.label_changes());
        Ok(NewEndpoint {
            labels: labels.map_err(|error| Fault::usage("this is no label", &error))?,
            kind: self.facts.kind,
            safety_class: self.facts.safety_class.unwrap_or_default(),
            redundancy: self.facts.redundancy,
            settings: self.own.over(&EndpointSettings::default(), self.macs.first().copied()),
            endpoint: self.endpoint,
            macs: self.macs,
            blueprint: self.blueprint,
            group: self.group,
            chain: self.chain.map(Chain::from),
            disk_serial: self.disk_serial,
            drill_safe: self.drill_safe,
            power: self.power.into_power()?.unwrap_or_default(),
        })
    }
}

/// Every endpoint, or those that are meant.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn meant(client: &Client, selector: Option<&Selector>) -> Result<Vec<EndpointView>, Fault> {
    let query = selector.map(|selector| format!("?{}", selector.in_query()));
    client.get(&format!("/api/v1/endpoints{}", query.unwrap_or_default()))
}

/// Carry out a verb.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn act(client: &Client, verb: EndpointVerb, output: Output) -> Result<(), Fault> {
    let at = |endpoint: &EndpointId| format!("/api/v1/endpoints/{endpoint}");
    match verb {
        EndpointVerb::List { selector, unknown, watch } => {
            let strangers = "state=discovered".parse().ok().filter(|_| unknown);
            let selector = selector.or(strangers);
            if watch.watch {
                let ask = || meant(client, selector.as_ref());
                return pages::watch(client, output, "endpoint", ask, show::endpoints);
            }
            let views = meant(client, selector.as_ref())?;
            if unknown
                && !output.is_data()
                && let Some(view) = views.first()
            {
                let mac = view.macs.first().map(ToString::to_string).unwrap_or_default();
                eprintln!("put one on record: `groundstate endpoint add NAME --mac {mac} --blueprint …`");
            }
            print(output, &views, |views| show::endpoints(views))
        }
        EndpointVerb::Show { endpoint, watch } => {
            if watch.watch {
                let ask = || Ok(vec![client.get::<EndpointView>(&at(&endpoint))?]);
                return pages::watch(client, output, "endpoint", ask, show::endpoints);
            }
            let view: EndpointView = client.get(&at(&endpoint))?;
            print(output, &view, show::endpoint)
        }
        EndpointVerb::Pair { endpoint, code } => {
            let view: EndpointView =
                client.post(&format!("{}/pair", at(&endpoint)), &PairRequest { code })?;
            print(output, &view, show::endpoint)
        }
        EndpointVerb::Photo { endpoint, file, .. } => {
            machine::photo(client, &endpoint, file.as_deref(), output)
        }
        EndpointVerb::Card { endpoint, language, address, out } => {
            let address = address.unwrap_or_else(|| client.url().to_owned());
            machine::card(client, &endpoint, (&language, &address), &out)
        }
        EndpointVerb::Map => machine::map(client, output),
        EndpointVerb::Outlook { endpoint } => machine::outlook(client, &endpoint, output),
        EndpointVerb::Add(add) => {
            let view: EndpointView = client.post("/api/v1/endpoints", &add.into_new()?)?;
            print(output, &view, show::endpoint)
        }
        EndpointVerb::Resolve { endpoint, replace, reason, .. } => {
            let order = Resolution { replace, reason };
            let view: EndpointView = client.post(&format!("{}/resolve", at(&endpoint)), &order)?;
            print(output, &view, show::endpoint)
        }
        EndpointVerb::Import(order) => import(client, &order, output),
        EndpointVerb::Export { out } => {
            let sheet = client.get_text("/api/v1/sheet")?;
            match out {
                None => print!("{sheet}"),
                Some(path) => std::fs::write(&path, sheet).map_err(|error| {
                    Fault::of(&format!("{} cannot be written", path.display()), &error, "")
                })?,
            }
            Ok(())
        }
        EndpointVerb::Set(order) => set(client, *order, output),
        EndpointVerb::Remove(order) => {
            let decision = Decision { reason: order.reason };
            let gone: RemovedEndpoint = client.delete(&at(&order.endpoint), &decision, order.revision)?;
            print(output, &gone, |gone| {
                format!("{} is off record; {} certificates revoked", gone.endpoint, gone.certificates_revoked)
            })
        }
    }
}

fn import(client: &Client, order: &Import, output: Output) -> Result<(), Fault> {
    let sheet = std::fs::read(&order.file).map_err(|error| {
        Fault::of(&format!("{} cannot be read", order.file.display()), &error, "name the sheet")
    })?;
    let send = |query: &str| client.post_text(&format!("/api/v1/sheet{query}"), sheet.clone(), "text/csv");
    let plan: ImportPlan = send("")?;
    let wrong = plan.errors.len() + plan.conflicts.len();
    if let Some(hash) = order.approve_plan.as_ref().filter(|_| wrong == 0) {
        let hash: String = hash.chars().filter(char::is_ascii_alphanumeric).collect();
        let done: ImportPlan = send(&format!("?apply={hash}"))?;
        return print(output, &done, show::import);
    }
    print(output, &plan, show::import)?;
    if wrong > 0 {
        let now = "correct them, and plan again; nothing was changed";
        return Err(Fault::new(Code::Conflict, format!("{wrong} lines cannot be put on record"), "", now));
    }
    eprintln!(
        "apply it with `groundstate endpoint import {} --approve-plan {}`",
        order.file.display(),
        plan.plan
    );
    Ok(())
}

fn set(client: &Client, order: Set, output: Output) -> Result<(), Fault> {
    let path = format!("/api/v1/endpoints/{}", order.endpoint);
    // What is said of its own is laid over what is on record, so that must not change in between.
    let known: EndpointView = client.get(&path)?;
    let first = order.macs.first().or_else(|| known.macs.first()).copied();
    let power = if order.no_power { Some(Power::Person) } else { order.power.into_power()? };
    let change = ChangeEndpoint {
        labels: order.facts.label_changes(),
        kind: order.facts.kind,
        safety_class: order.facts.safety_class,
        redundancy: order.facts.redundancy,
        macs: Some(order.macs).filter(|macs| !macs.is_empty()),
        blueprint: order.blueprint,
        group: order.group,
        chain: order.chain.map(Chain::from),
        disk_serial: order.disk_serial,
        drill_safe: order.drill_safe,
        power,
        settings: order.own.over(&known.settings, first),
        reason: order.reason,
    };
    if change == (ChangeEndpoint { reason: change.reason.clone(), ..ChangeEndpoint::default() }) {
        let now = "say what shall change: `groundstate endpoint set --help`";
        return Err(Fault::new(Code::Usage, "nothing is to change", "", now));
    }
    let view: EndpointView = client.patch(&path, &change, order.revision.or(Some(known.revision)))?;
    print(output, &view, show::endpoint)
}
