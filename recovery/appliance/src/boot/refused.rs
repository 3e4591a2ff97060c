//! What the boot layer was asked and did not give: counted by kind, shown, and in evidence in summary.
//!
//! ```text
//! refusal ─► kind (a closed list) ─► counts, the last one's words ─────────────────► status, /metrics
//!                └─ its own pace: at once, then after 1 min, 2, 4 … 60 ─► Writer ─► evidence, log
//!                                                                           └─► a stranger without a ticket: discovered
//! ```
//!
//! Anybody on the wire can make us refuse as often as he likes. So a kind is one line in memory, and its entries in
//! evidence grow rarer the longer it goes on: at most thirty a day, each with how many it stands for.
//!
//! It must never: keep a line for each sender, or wait on the packet path.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use pxe::{Refusal, Stage};
use recovery_protocol::{
    MacAddr, Problem,
    net::{AddressInUseView, ForeignView},
    operator::RefusalView,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{BootDesk, history::News};
use crate::{
    db,
    evidence::Fact,
    jobs::journal::{Journal, JournalTx},
    service::discovered,
};

/// Between two entries of one kind: first, and longest. After as long again without one it begins anew.
const PACE_MS: (u64, u64) = (60_000, 3_600_000);
/// Senders that an entry names, at most.
const NAMED_MOST: usize = 8;
/// Endpoints whose last refused boot is remembered, at most.
const TURNED_AWAY_MOST: usize = 256;
/// How often the writer looks.
const LOOK: Duration = Duration::from_secs(1);
/// Longest text of a reason, in characters.
const WHY_MOST: usize = 200;

/// Refusals since the start, by kind.
#[derive(Debug, Default)]
pub struct Refused {
    kinds: BTreeMap<String, Kind>,
    /// Whose boot was refused for want of a ticket, and when; the newest last.
    turned_away: VecDeque<(MacAddr, u64)>,
}

#[derive(Debug, Default)]
struct Kind {
    count: u64,
    last: Last,
    ordinary: bool,
    unwritten: u64,
    senders: Vec<MacAddr>,
    next: u64,
    wait: u64,
}

#[derive(Debug, Clone, Default)]
struct Last {
    at: u64,
    from: String,
    why: String,
}

/// What is to be written now of one kind.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    view: RefusalView,
    count: u64,
    senders: Vec<MacAddr>,
}

impl Refused {
    /// Take one refusal at a time (milliseconds since 1970).
    pub fn note(
        &mut self,
        stage: Stage,
        reason: &Refusal,
        mac: Option<MacAddr>,
        peer: Option<SocketAddr>,
        at: u64,
    ) {
        let kind = self.kinds.entry(format!("{}-{}", stage.protocol(), reason.code())).or_default();
        kind.count += 1;
        kind.unwritten += 1;
        kind.ordinary = reason.is_ordinary();
        let from: Vec<String> = mac
            .map(|mac| mac.to_string())
            .into_iter()
            .chain(peer.map(|peer| peer.ip().to_string()))
            .collect();
        let from = if from.is_empty() { "nobody known".to_owned() } else { from.join(", ") };
        kind.last = Last { at, from, why: reason.to_string().chars().take(WHY_MOST).collect() };
        let Some(mac) = mac else { return };
        if kind.senders.len() < NAMED_MOST && !kind.senders.contains(&mac) {
            kind.senders.push(mac);
        }
        if *reason == Refusal::NoTicket {
            self.forget(mac);
            if self.turned_away.len() >= TURNED_AWAY_MOST {
                self.turned_away.pop_front();
            }
            self.turned_away.push_back((mac, at));
        }
    }

    /// An endpoint got what it asked for.
    pub fn forget(&mut self, mac: MacAddr) {
        self.turned_away.retain(|(other, _)| *other != mac);
    }

    /// When one of these addresses was last refused a boot for want of a ticket.
    pub fn turned_away(&self, macs: &[MacAddr]) -> Option<u64> {
        self.turned_away.iter().rev().find(|(mac, _)| macs.contains(mac)).map(|(_, at)| *at)
    }

    /// Every kind with its count.
    pub fn counts(&self) -> Vec<(String, u64)> {
        self.kinds.iter().map(|(code, kind)| (code.clone(), kind.count)).collect()
    }

    /// The kinds that a person should see.
    pub fn views(&self) -> Vec<RefusalView> {
        self.kinds.iter().filter(|(_, kind)| !kind.ordinary).map(|(code, kind)| kind.view(code)).collect()
    }

    /// What is due to be written at a time; it counts as written.
    fn take_due(&mut self, at: u64) -> Vec<Summary> {
        let mut due = Vec::new();
        for (code, kind) in self.kinds.iter_mut().filter(|(_, kind)| !kind.ordinary) {
            if kind.unwritten == 0 || at < kind.next {
                continue;
            }
            let quiet = at >= kind.next.saturating_add(PACE_MS.1);
            kind.wait = if quiet { PACE_MS.0 } else { (kind.wait * 2).clamp(PACE_MS.0, PACE_MS.1) };
            kind.next = at.saturating_add(kind.wait);
            due.push(Summary {
                view: kind.view(code),
                count: std::mem::take(&mut kind.unwritten),
                senders: std::mem::take(&mut kind.senders),
            });
        }
        due
    }
}

impl Kind {
    fn view(&self, code: &str) -> RefusalView {
        let Last { at, from, why } = self.last.clone();
        RefusalView { code: code.to_owned(), count: self.count, last_unix_ms: at, from, why }
    }
}

/// Writes what is due into the evidence log.
pub struct Writer {
    desk: Arc<BootDesk>,
    journal: Arc<Journal>,
}

impl Writer {
    /// A writer for what `desk` hears.
    pub fn new(desk: Arc<BootDesk>, journal: Arc<Journal>) -> Self {
        Self { desk, journal }
    }

    /// Write until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = look.tick() => self.write_due(self.journal.now()).await,
            }
            self.keep_traces();
        }
        self.keep_traces();
    }

    fn keep_traces(&self) {
        if let Err(error) = self.desk.keep_traces(&self.journal.config.data_dir) {
            tracing::warn!(%error, "boot traces were not written down; a restart forgets them");
        }
    }

    pub(super) async fn write_due(&self, at: u64) {
        let news = self.desk.histories().take_news();
        for one in news {
            if let Err(problem) = self.write_chain(&one).await {
                tracing::error!(endpoint = %one.endpoint, %problem, "what a boot taught was not written down");
            }
        }
        for server in self.desk.foreign_due(at) {
            tracing::warn!(
                server = server.server,
                interface = server.interface,
                what = server.what,
                "foreign server"
            );
            if let Err(problem) = self.write_alarm(&server).await {
                tracing::error!(server = server.server, %problem, "an alarm was not written down");
            }
        }
        for used in self.desk.addresses_due(at) {
            if let Err(problem) = self.write_address(&used).await {
                tracing::error!(address = used.address, %problem, "an alarm was not written down");
            }
        }
        let due = self.desk.refused().take_due(at);
        for summary in due {
            let RefusalView { code, from, why, .. } = &summary.view;
            tracing::warn!(code, count = summary.count, from, why, "refused on the boot network");
            if let Err(problem) = self.write(&summary).await {
                tracing::error!(code = summary.view.code, %problem, "a refusal was not written down");
            }
        }
    }

    async fn write_chain(&self, news: &News) -> Result<(), Problem> {
        let mut tx = self.journal.begin().await?;
        db::chain::put(tx.conn(), &news.row).await?;
        let fact = Fact::new("boot.chain", "appliance", news.facts.clone().into());
        tx.note(fact.about(&news.endpoint).of(news.job)).await?;
        Ok(tx.commit().await?)
    }

    async fn write_alarm(&self, server: &ForeignView) -> Result<(), Problem> {
        let ForeignView {
            interface, server, gives_addresses, boots, first_unix_ms, last_unix_ms, what, ..
        } = server;
        let facts = json!({
            "server": server, "interface": interface, "gives_addresses": gives_addresses, "boots": boots,
            "first_unix_ms": first_unix_ms, "last_unix_ms": last_unix_ms, "what": what,
        });
        let mut tx = self.journal.begin().await?;
        tx.note(Fact::new("alarm.foreign-server", "appliance", facts)).await?;
        Ok(tx.commit().await?)
    }

    async fn write_address(&self, used: &AddressInUseView) -> Result<(), Problem> {
        let AddressInUseView { interface, address, by, holder, first_unix_ms, last_unix_ms, .. } = used;
        let facts = json!({
            "address": address, "interface": interface, "by": by, "holder": holder,
            "first_unix_ms": first_unix_ms, "last_unix_ms": last_unix_ms,
        });
        let mut tx = self.journal.begin().await?;
        tx.note(Fact::new("alarm.address-in-use", "appliance", facts)).await?;
        Ok(tx.commit().await?)
    }

    async fn write(&self, summary: &Summary) -> Result<(), Problem> {
        let mut tx = self.journal.begin().await?;
        let mut endpoints = Vec::new();
        for mac in &summary.senders {
            endpoints.extend(self.named(&mut tx, *mac, &summary.view).await?);
        }
        let RefusalView { code, count: since_start, last_unix_ms, from, why } = &summary.view;
        let facts = json!({
            "code": code, "count": summary.count, "since_start": since_start, "last_unix_ms": last_unix_ms,
            "from": from, "why": why, "senders": summary.senders, "endpoints": endpoints,
        });
        let mut fact = Fact::new("refusal.boot", "appliance", facts);
        if let [only] = endpoints.as_slice() {
            fact.endpoint = Some(only.clone());
        }
        tx.note(fact).await?;
        Ok(tx.commit().await?)
    }

    /// The endpoint behind an address. Firmware of a stranger that asks to boot is put on the list of the discovered.
    async fn named(
        &self,
        tx: &mut JournalTx<'_>,
        mac: MacAddr,
        view: &RefusalView,
    ) -> Result<Option<recovery_protocol::EndpointId>, Problem> {
        match db::endpoint::by_mac(tx.conn(), &[mac]).await? {
            Some(endpoint) => Ok(Some(endpoint.id)),
            None if view.code.ends_with("no-ticket") => discovered(tx, &[mac], None, "appliance").await,
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.7.0.9:1024";

    fn mac(last: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, last])
    }

    fn malformed(refused: &mut Refused, at: u64) {
        let reason = Refusal::Malformed("too short".into());
        refused.note(Stage::Discover, &reason, None, PEER.parse().ok(), at);
    }

    #[test]
    fn a_flood_for_a_day_is_few_entries_that_count_it_all() {
        let mut refused = Refused::default();
        let (mut entries, mut counted) = (0, 0);
        for second in 0..24 * 3600 {
            for _ in 0..10 {
                malformed(&mut refused, second * 1000);
            }
            for summary in refused.take_due(second * 1000) {
                entries += 1;
                counted += summary.count;
            }
        }
        assert!((20..=30).contains(&entries), "{entries}");
        assert!(counted > 23 * 3600 * 10, "{counted}");
        assert_eq!(refused.counts(), [("dhcp-malformed".to_owned(), 24 * 3600 * 10)]);
    }

    #[test]
    fn the_first_of_a_kind_and_the_first_after_a_quiet_time_are_written_at_once() {
        let mut refused = Refused::default();
        malformed(&mut refused, 1_000);
        assert_eq!(refused.take_due(1_000).len(), 1);
        malformed(&mut refused, 2_000);
        assert!(refused.take_due(2_000).is_empty());
        refused.note(Stage::Tftp, &Refusal::Unsupported("upload".into()), None, None, 2_000);
        assert_eq!(refused.take_due(2_000)[0].view.code, "tftp-unsupported", "another kind has its own pace");
        assert_eq!(refused.take_due(62_000)[0].count, 1, "what was held back is not lost");
        malformed(&mut refused, 10_000_000);
        assert_eq!(refused.take_due(10_000_000).len(), 1);
        malformed(&mut refused, 10_060_000);
        assert_eq!(refused.take_due(10_060_000).len(), 1, "the pace began anew");
    }

    #[test]
    fn what_a_healthy_network_is_full_of_is_counted_and_not_shown() {
        let mut refused = Refused::default();
        refused.note(Stage::Discover, &Refusal::NotBoot, Some(mac(1)), None, 0);
        assert!(refused.views().is_empty() && refused.take_due(0).is_empty());
        assert_eq!(refused.counts(), [("dhcp-not-boot".to_owned(), 1)]);
    }

    #[test]
    fn made_up_senders_fill_no_memory() {
        let mut refused = Refused::default();
        for n in 0..=u16::MAX {
            let [high, low] = n.to_be_bytes();
            let stranger = MacAddr([2, 0, 0, 0, high, low]);
            refused.note(Stage::Tftp, &Refusal::NoTicket, Some(stranger), None, u64::from(n));
        }
        assert_eq!(refused.turned_away.len(), TURNED_AWAY_MOST);
        assert_eq!(refused.take_due(0)[0].senders.len(), NAMED_MOST);
        let last = MacAddr([2, 0, 0, 0, 255, 255]);
        assert_eq!(refused.turned_away(&[mac(1), last]), Some(u64::from(u16::MAX)));
        refused.forget(last);
        assert_eq!(refused.turned_away(&[last]), None);
    }

    #[tokio::test]
    async fn another_boot_server_is_alarmed_in_evidence_status_console_and_doctor() {
        use pxe::BootEvents as _;
        let bench = crate::testing::Bench::new("").await;
        let interface = std::net::Ipv4Addr::new(10, 0, 0, 1);
        for (server, gives, boots) in [([10, 0, 0, 2], true, false), ([10, 0, 0, 3], false, true)] {
            let (server, client) = (server.into(), [2, 0, 0, 0, 0, 1].into());
            bench.desk.event(pxe::BootEvent::ForeignOffer { server, interface, client, gives, boots });
        }
        let writer = Writer::new(bench.desk.clone(), bench.journal.clone());
        let now = bench.journal.now();
        writer.write_due(now).await;
        writer.write_due(now + 1).await;
        let kinds = bench.evidence(None).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "alarm.foreign-server").count(), 1, "{kinds:?}");
        let status = bench.service.status().await.unwrap();
        let servers: Vec<_> = status.foreign.iter().map(|view| view.server.as_str()).collect();
        assert_eq!(servers, ["10.0.0.3"], "the site's own DHCP is no alarm");
        let (_, net) = bench.ask("GET", "/api/v1/net", serde_json::Value::Null).await;
        assert_eq!(net["servers"].as_array().map(Vec::len), Some(2));
        let (_, page) = bench.ask("GET", "/", serde_json::Value::Null).await;
        assert!(page.as_str().unwrap().contains("10.0.0.3"), "the console shows it, too");
        let (_, metrics) = bench.ask("GET", "/metrics", serde_json::Value::Null).await;
        assert!(metrics.as_str().unwrap().contains("groundstate_foreign_servers 1"));
        let (status, problem) = bench.ask("POST", "/api/v1/net/probe", json!({})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("no-ear")), "no interface listens here");
    }

    #[tokio::test]
    async fn an_address_in_use_is_alarmed_in_evidence_status_console_doctor_and_figures() {
        use pxe::BootEvents as _;
        let bench = crate::testing::Bench::new("").await;
        let (interface, addr) = ([10, 0, 0, 1].into(), [10, 0, 0, 50].into());
        let (by, holder) = ([2, 0, 0, 0, 0, 8].into(), Some([2, 0, 0, 0, 0, 9].into()));
        bench.desk.event(pxe::BootEvent::AddressInUse { addr, by, holder, interface });
        let writer = Writer::new(bench.desk.clone(), bench.journal.clone());
        let now = bench.journal.now();
        writer.write_due(now).await;
        writer.write_due(now + 1).await;
        let kinds = bench.evidence(None).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "alarm.address-in-use").count(), 1, "{kinds:?}");
        let status = bench.service.status().await.unwrap();
        assert_eq!(status.addresses_in_use.len(), 1);
        let (_, net) = bench.ask("GET", "/api/v1/net", serde_json::Value::Null).await;
        assert_eq!(net["addresses_in_use"][0]["by"], "02:00:00:00:00:08");
        let (_, page) = bench.ask("GET", "/", serde_json::Value::Null).await;
        assert!(page.as_str().unwrap().contains("10.0.0.50"), "the console shows it, too");
        let (_, metrics) = bench.ask("GET", "/metrics", serde_json::Value::Null).await;
        assert!(metrics.as_str().unwrap().contains("groundstate_addresses_in_use 1"));
    }

    #[tokio::test]
    async fn a_stranger_that_asks_to_boot_is_discovered_and_the_entry_names_it() {
        let bench = crate::testing::Bench::new("").await;
        bench.add("press-01", "02:00:00:00:00:01", json!({})).await;
        let desk = bench.desk.clone();
        for last in [1, 2] {
            desk.refused().note(Stage::Tftp, &Refusal::NoTicket, Some(mac(last)), None, 5);
        }
        malformed(&mut desk.refused(), 5);
        Writer::new(desk.clone(), bench.journal.clone()).write_due(5).await;
        let kinds = bench.evidence(None).await;
        assert_eq!(kinds[kinds.len() - 3..], ["refusal.boot", "endpoint.discovered", "refusal.boot"]);
        let stranger = bench.service.endpoint(&"seen-020000000002".parse().unwrap()).await.unwrap();
        assert!(stranger.refusal.unwrap().contains("no-boot-ticket"));
        let known = bench.service.endpoint(&"press-01".parse().unwrap()).await.unwrap();
        assert!(known.refusal.unwrap().contains("no live boot ticket"));
        let status = bench.service.status().await.unwrap();
        let codes: Vec<&str> = status.refusals.iter().map(|view| view.code.as_str()).collect();
        assert_eq!(codes, ["dhcp-malformed", "tftp-no-ticket"]);
        let (_, metrics) = bench.ask("GET", "/metrics", serde_json::Value::Null).await;
        let metrics = metrics.as_str().unwrap();
        assert!(metrics.contains("groundstate_boot_refusals_total{code=\"tftp-no-ticket\"} 2"), "{metrics}");
        let (_, page) = bench.ask("GET", "/", serde_json::Value::Null).await;
        assert!(page.as_str().unwrap().contains("dhcp-malformed"), "the console shows it, too");
    }
}
