//! Traces as views: what the boot layer keeps of an endpoint's boots, in the words of the API.
//!
//! It must never: judge a boot (`pxe::trace` does).

use std::net::Ipv4Addr;

use pxe::{
    Arch, Chain, ClientClass,
    chains::Why,
    dhcp::loader::Loaders,
    trace::{self, Diagnosis, Mode, Outcome, Roles, Surroundings, Trace, Traces},
};
use recovery_protocol::{
    EndpointId, MacAddr,
    kit::BootKit,
    net::{BootDiagnosis, BootView, EarlierView, HopView, InterfaceView, NoticedView, SaidView},
};

use super::{history::offer, kit::HTTP_SECOND};

/// Traces of what our boot kit's files are for, on these interfaces.
pub fn traces(loaders: &Loaders, interfaces: &[pxe::Interface]) -> Traces {
    let kernels = [BootKit::KERNEL, BootKit::UKI, HTTP_SECOND];
    Traces::new(Roles::new(loaders, &kernels, &[BootKit::INITRD])).on(interfaces)
}

/// What is around a trace.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// How the interface answers on which it asked.
    pub mode: Mode,
    /// It holds a live boot ticket.
    pub ticket: bool,
    /// Other DHCP servers seen there.
    pub dhcp: Vec<Ipv4Addr>,
    /// Other boot servers seen there.
    pub boot: Vec<Ipv4Addr>,
    /// The chain that is offered, where it holds a ticket and something was seen of it; within: none is left.
    pub offer: Option<Option<(Chain, Why)>>,
}

impl Around {
    /// What is the matter with a boot.
    pub fn diagnose(&self, trace: Option<&Trace>, now: u64) -> Diagnosis {
        let Around { mode, ticket, dhcp, boot, offer } = self;
        let exhausted = *offer == Some(None);
        trace::diagnose(
            trace,
            &Surroundings { mode: *mode, ticket: *ticket, dhcp, boot, exhausted, over: false },
            now,
        )
    }
}

/// One endpoint, without its hops.
pub fn row(
    endpoint: Option<EndpointId>,
    found: Option<(MacAddr, &Trace)>,
    around: &Around,
    now: u64,
) -> BootView {
    let trace = found.map(|(_, trace)| trace);
    BootView {
        endpoint,
        mac: found.map(|(mac, _)| mac),
        firmware: trace.map(firmware).unwrap_or_default(),
        chain: trace.and_then(Trace::chain).map(|chain| chain_name(chain).to_owned()),
        offer: around.offer.map(offer).unwrap_or_default(),
        offer_code: around
            .offer
            .map(|choice| choice.map_or("none", |(_, why)| why.name()))
            .unwrap_or_default()
            .into(),
        offer_chain: around.offer.flatten().map(|(chain, _)| chain_name(chain)).unwrap_or_default().into(),
        chains: Vec::new(),
        ticket: around.ticket,
        begun_unix_ms: trace.and_then(|trace| trace.hops().first()).map(|hop| hop.at),
        last_unix_ms: trace.map(Trace::last),
        reached: trace.map(|trace| trace.reached().name().to_owned()).unwrap_or_default(),
        diagnosis: diagnosis(around.diagnose(trace, now)),
        hops: Vec::new(),
        earlier: Vec::new(),
        said: Vec::new(),
    }
}

/// One endpoint with all that is kept.
pub fn whole(
    endpoint: Option<EndpointId>,
    found: Option<(MacAddr, &Trace)>,
    around: &Around,
    now: u64,
) -> BootView {
    let mut view = row(endpoint, found, around, now);
    let Some((_, trace)) = found else { return view };
    view.hops = trace.hops().iter().map(hop).collect();
    view.earlier = trace
        .earlier()
        .map(|ended| EarlierView {
            begun_unix_ms: ended.at.0,
            last_unix_ms: ended.at.1,
            chain: ended.chain.map(|chain| chain_name(chain).to_owned()),
            reached: ended.reached.name().to_owned(),
            cause: ended.diagnosis.cause.clone(),
            code: ended.diagnosis.code.clone().into_owned(),
        })
        .collect();
    view.said = trace.said().map(|(at, text)| SaidView { at_unix_ms: *at, text: text.clone() }).collect();
    view
}

/// A diagnosis in the API's words.
pub fn diagnosis(found: Diagnosis) -> BootDiagnosis {
    BootDiagnosis {
        code: found.code.into_owned(),
        level: found.level.name().to_owned(),
        missing: found.missing.map(|step| step.name().to_owned()),
        cause: found.cause,
        remedy: found.remedy.into_owned(),
        also: found.also.iter().map(|noticed| noticed.what.clone()).collect(),
        noticed: found.also.into_iter().map(noticed).collect(),
    }
}

fn noticed(found: trace::Noticed) -> NoticedView {
    NoticedView { code: found.code.into_owned(), value: found.value }
}

fn hop(hop: &trace::Hop) -> HopView {
    let what = match &hop.outcome {
        Outcome::Broken(why) => format!("{}: {why}", hop.what),
        Outcome::Done | Outcome::Underway | Outcome::SizeAsked | Outcome::Refused(_) => hop.what.clone(),
    };
    HopView {
        step: hop.step.name().to_owned(),
        at_unix_ms: hop.at,
        until_unix_ms: hop.until,
        count: hop.count,
        bytes: hop.bytes,
        outcome: hop.outcome.name().to_owned(),
        what,
    }
}

/// An interface in the API's words.
pub fn interface(interface: &pxe::Interface) -> InterfaceView {
    let mode = match Mode::of(&interface.dhcp) {
        Mode::Observe => "observe",
        Mode::Proxy => "proxy",
        Mode::Full => "full",
    };
    InterfaceView { name: interface.name.clone(), address: interface.addr.to_string(), mode: mode.to_owned() }
}

/// A chain's stable name.
pub fn chain_name(chain: Chain) -> &'static str {
    match chain {
        Chain::Ipxe => "ipxe",
        Chain::Shim => "shim",
        Chain::UefiHttp => "uefi-http",
        Chain::Bios => "bios",
    }
}

fn firmware(trace: &Trace) -> String {
    let arch = trace.client.arch.map_or("", Arch::words);
    let class = match trace.client.class {
        ClientClass::Pxe => "PXE",
        ClientClass::HttpBoot => "HTTP Boot",
        ClientClass::Ipxe { .. } => "iPXE",
        ClientClass::Agent => "recovery system",
        ClientClass::Plain => "",
    };
    [arch, class].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use pxe::{BootEvent, BootEvents as _, Client};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        boot::BootDesk, control_plane::Embedded, golden::Golden, jobs::run::Runner, live::Live,
        power::Drivers, testing::Bench,
    };

    fn ask(desk: &BootDesk, last: u8) {
        let client = Client {
            arch: Some(Arch::EfiX64),
            class: ClientClass::Pxe,
            ..Client::bare([2, 0, 0, 0, 0, last].into(), None)
        };
        let interface = Ipv4Addr::LOCALHOST;
        desk.event(BootEvent::DiscoverSeen { client: client.clone(), interface, secs: 0, relay: None });
        desk.event(BootEvent::OfferSent { client, addr: None, file: None });
    }

    /// Carries out what the journal intends.
    pub(crate) fn runner(bench: &Bench) -> Runner {
        let config = &bench.journal.config;
        let golden = Golden::open(&config.image_store(), &config.trust_root()).unwrap();
        let plane = Arc::new(Embedded::new(bench.journal.db.clone()));
        let live = Arc::new(Live::default());
        Runner::new(bench.journal.clone(), golden, Arc::new(Drivers::default()), plane, live)
    }

    #[tokio::test]
    async fn a_boot_that_stops_is_named_in_the_job_the_doctor_and_the_console() {
        let bench = Bench::new("").await;
        bench.add("press-01", "02:00:00:00:00:01", json!({})).await;
        bench.add("press-02", "02:00:00:00:00:02", json!({})).await;
        let job = bench.recover("press-01").await.job;
        runner(&bench).settle().await.unwrap();
        ask(&bench.desk, 1);
        let waiting = bench.service.job(job).await.unwrap();
        assert!(waiting.what.contains("was offered"), "{}", waiting.what);
        ask(&bench.desk, 1);
        ask(&bench.desk, 1);
        ask(&bench.desk, 9);

        let stopped = bench.service.job(job).await.unwrap();
        assert!(stopped.what.contains("no DHCP server answers here"), "{}", stopped.what);
        assert!(stopped.what_now.starts_with("Look at the site's DHCP"), "{}", stopped.what_now);
        let (_, view) = bench.ask("GET", "/api/v1/net/press-01", Value::Null).await;
        assert_eq!(view["diagnosis"]["code"], "no-address");
        assert_eq!((&view["ticket"], &view["firmware"]), (&json!(true), &json!("UEFI x64, PXE")));
        assert_eq!(view["hops"][0]["count"], 3);
        let (_, net) = bench.ask("GET", "/api/v1/net", Value::Null).await;
        let names: Vec<_> =
            net["endpoints"].as_array().unwrap().iter().map(|e| e["endpoint"].clone()).collect();
        assert_eq!(
            names,
            [json!("press-01"), json!("press-02"), Value::Null],
            "trouble first, strangers last"
        );
        assert_eq!(net["endpoints"][1]["diagnosis"]["code"], "not-seen");
        assert_eq!(net["endpoints"][2]["mac"], "02:00:00:00:00:09");
        assert_eq!(net["endpoints"][0].get("hops"), None);
        for path in ["/endpoints/press-01".to_owned(), format!("/jobs/{job}")] {
            let (_, page) = bench.ask("GET", &path, Value::Null).await;
            let page = page.as_str().unwrap();
            assert!(page.contains("Its network boot") && page.contains("no-address"), "{path}");
        }
        let (_, page) = bench.ask("GET", "/endpoints/press-02", Value::Null).await;
        assert!(!page.as_str().unwrap().contains("Its network boot"), "nothing was seen of it");
        let (status, _) = bench.ask("GET", "/api/v1/net/press-07", Value::Null).await;
        assert_eq!(status, 404);
    }

    #[tokio::test]
    async fn an_agent_that_spoke_ends_the_boot_well_and_an_older_boot_says_nothing_of_a_new_job() {
        let bench = Bench::new("").await;
        bench.add("press-01", "02:00:00:00:00:01", json!({})).await;
        (0..3).for_each(|_| ask(&bench.desk, 1));
        let macs = [MacAddr([2, 0, 0, 0, 0, 1])];
        let now = bench.journal.now();
        assert!(bench.desk.diagnosis(&macs, 0, now).is_trouble());
        assert_eq!(bench.desk.diagnosis(&macs, now + 1, now + 1).code, "not-seen");
        let said = |last: u8| BootEvent::LoaderSaid {
            mac: [2, 0, 0, 0, 0, last].into(),
            peer: ([10, 0, 0, 5], 514).into(),
            text: "net0: link up".to_owned(),
        };
        bench.desk.event(said(1));
        ask(&bench.desk, 9);
        bench.desk.event(said(9));
        let stranger = bench.desk.boot(None, &[MacAddr([2, 0, 0, 0, 0, 9])], now);
        assert!(!stranger.hops.is_empty() && stranger.said.is_empty(), "{stranger:?}");
        bench.service.agent_spoke(&macs);
        let view = bench.service.boot(&"press-01".parse().unwrap()).await.unwrap();
        assert_eq!(view.said.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["net0: link up"]);
        let (_, page) = bench.ask("GET", "/endpoints/press-01", Value::Null).await;
        assert!(page.as_str().unwrap().contains("net0: link up"));
        assert_eq!((view.diagnosis.code.as_str(), view.reached.as_str()), ("booted", "agent"));
    }
}
