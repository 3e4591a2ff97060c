//! Which chain is offered to which endpoint: its history in memory for each packet, kept in the database by the writer.
//!
//! ```text
//!   an attempt ended, an agent spoke ─► History ─► pxe::chains::choose, for every packet
//!                                          └─► news, bounded ─► Writer ─► table boot_chain, evidence: boot.chain
//! ```
//!
//! It must never: decide (`pxe::chains` does), or wait for the database.

use std::collections::{HashMap, VecDeque};

use pxe::{
    Chain,
    chains::{History, Tried, Why},
};
use recovery_protocol::{EndpointId, JobId, net::ChainView, operator};
use serde_json::{Map, Value, json};

use super::trace::chain_name;
use crate::db::{self, Conn, DbError, chain::ChainRow};

/// News that may wait to be written; the oldest are lost, and with them at most what one boot taught.
const NEWS_MOST: usize = 256;

/// The histories of all endpoints.
#[derive(Debug, Default)]
pub struct Histories {
    by_endpoint: HashMap<EndpointId, History>,
    news: VecDeque<News>,
}

/// Something to write down.
#[derive(Debug, Clone)]
pub struct News {
    /// Whose.
    pub endpoint: EndpointId,
    /// In which job, if one is open.
    pub job: Option<JobId>,
    /// The row as it is now.
    pub row: ChainRow,
    /// What evidence says.
    pub facts: Map<String, Value>,
}

impl Histories {
    /// As the database has them.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn read(conn: &mut Conn) -> Result<Self, DbError> {
        let mut tried: HashMap<EndpointId, Vec<(Chain, Tried)>> = HashMap::new();
        for row in db::chain::all(conn).await? {
            let Some(chain) = named(&row.chain) else { continue };
            let one = Tried { worked: row.worked, failed: row.failed.into() };
            tried.entry(row.endpoint).or_default().push((chain, one));
        }
        let by_endpoint =
            tried.into_iter().map(|(endpoint, tried)| (endpoint, History::restored(tried))).collect();
        Ok(Self { by_endpoint, news: VecDeque::new() })
    }

    /// One endpoint's.
    pub fn of(&self, endpoint: &EndpointId) -> History {
        self.by_endpoint.get(endpoint).cloned().unwrap_or_default()
    }

    /// A person set another chain: what was learned under the old setting is forgotten.
    pub fn forget(&mut self, endpoint: &EndpointId) {
        self.by_endpoint.remove(endpoint);
        self.news.retain(|news| news.endpoint != *endpoint);
    }

    /// A boot came to its end by this chain.
    pub fn worked(&mut self, endpoint: &EndpointId, job: Option<JobId>, chain: Chain, at: u64, why: &str) {
        let history = self.by_endpoint.entry(endpoint.clone()).or_default();
        history.worked(chain, at);
        let facts = json!({ "chain": chain_name(chain), "outcome": "worked", "why": why });
        self.tell(endpoint, job, chain, facts);
    }

    /// A boot by this chain stopped; `cause` says why, and `next` is what is offered now.
    pub fn failed(&mut self, endpoint: &EndpointId, job: Option<JobId>, chain: Chain, at: u64, cause: &str) {
        self.by_endpoint.entry(endpoint.clone()).or_default().failed(chain, at);
        let failed = self.of(endpoint).of(chain).map_or(0, |tried| tried.failed.len());
        let facts = json!({
            "chain": chain_name(chain), "outcome": "failed", "failed": failed, "cause": cause,
        });
        self.tell(endpoint, job, chain, facts);
    }

    fn tell(&mut self, endpoint: &EndpointId, job: Option<JobId>, chain: Chain, facts: Value) {
        let tried = self.of(endpoint).of(chain).cloned().unwrap_or_default();
        if self.news.len() >= NEWS_MOST {
            self.news.pop_front();
        }
        let row = ChainRow {
            endpoint: endpoint.clone(),
            chain: chain_name(chain).to_owned(),
            worked: tried.worked,
            failed: tried.failed.into(),
        };
        let Value::Object(facts) = facts else { return };
        self.news.push_back(News { endpoint: endpoint.clone(), job, row, facts });
    }

    /// What is to be written; it counts as written.
    pub fn take_news(&mut self) -> Vec<News> {
        self.news.drain(..).collect()
    }
}

/// A history in the API's words.
pub fn views(history: &History) -> Vec<ChainView> {
    let view = |(chain, tried): (Chain, &Tried)| ChainView {
        chain: chain_name(chain).to_owned(),
        worked_unix_ms: tried.worked,
        failed_unix_ms: tried.failed.iter().copied().collect(),
    };
    history.all().map(view).collect()
}

/// What is offered, in a sentence for people.
pub fn offer(choice: Option<(Chain, Why)>) -> String {
    match choice {
        Some((chain, why)) => format!("{} ({})", chain_name(chain), why.text()),
        None => "none: every chain that its firmware can follow failed".to_owned(),
    }
}

/// What a person put on record, as the boot layer calls it; `None`: the appliance chooses.
pub fn set(chain: operator::Chain) -> Option<Chain> {
    match chain {
        operator::Chain::Auto => None,
        operator::Chain::Shim => Some(Chain::Shim),
        operator::Chain::Ipxe => Some(Chain::Ipxe),
        operator::Chain::UefiHttp => Some(Chain::UefiHttp),
    }
}

fn named(name: &str) -> Option<Chain> {
    [Chain::Ipxe, Chain::Shim, Chain::UefiHttp, Chain::Bios]
        .into_iter()
        .find(|chain| chain_name(*chain) == name)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        sync::{Arc, Mutex},
        time::Duration,
    };

    use pxe::{
        Arch, BootDecision, BootEvent, BootEvents as _, BootPolicy as _, BootRequest, Client, ClientClass,
        Stage,
        dhcp::loader::Loaders,
        event::{Fetcher, Protocol},
    };
    use recovery_protocol::{MacAddr, secure_boot::SecureBoot};

    use super::*;
    use crate::{
        boot::{
            BootDesk, Ticket, Tickets,
            refused::Writer,
            trace::{tests::runner, traces},
        },
        clock::SystemClock,
        testing::Bench,
    };

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const VLAN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    fn client() -> Client {
        Client { arch: Some(Arch::EfiX64), class: ClientClass::Pxe, ..Client::bare(MAC.into(), None) }
    }

    fn offered(desk: &BootDesk) -> Option<Chain> {
        let request = BootRequest { client: client(), stage: Stage::Discover, interface: VLAN };
        match desk.decide(&request) {
            BootDecision::RecoverySystem(boot) => Some(boot.chain),
            _ => None,
        }
    }

    /// The firmware asks, fetches this loader whole, and is not heard of again.
    fn boot(desk: &BootDesk, loader: &str) {
        boot_by(desk, client(), Protocol::Tftp, loader);
    }

    fn boot_by(desk: &BootDesk, client: Client, protocol: Protocol, file: &str) {
        let interface = VLAN;
        desk.event(BootEvent::DiscoverSeen { client, interface, secs: 0, relay: None });
        fetch(desk, protocol, file);
    }

    fn fetch(desk: &BootDesk, protocol: Protocol, file: &str) {
        let fetcher = Fetcher { peer: SocketAddr::from(([10, 77, 0, 50], 1)), mac: Some(MAC.into()) };
        let (name, took) = (file.to_owned(), Duration::ZERO);
        let options = String::new();
        desk.event(BootEvent::TransferStarted { fetcher, protocol, name: name.clone(), size: 9, options });
        desk.event(BootEvent::TransferFinished { fetcher, protocol, name, bytes: 9, took, resent: 0 });
    }

    #[tokio::test]
    async fn after_failed_boots_the_next_chain_is_offered_what_worked_is_kept_and_a_person_may_set_another() {
        let bench = Bench::new("").await;
        bench.add("press-01", "02:00:00:00:00:01", json!({})).await;
        // A boot from before its ticket: a later one under the ticket counts it not.
        boot(&bench.desk, "snponly.efi");
        let before = bench.journal.now();
        while bench.journal.now() == before {
            tokio::task::yield_now().await;
        }
        bench.recover("press-01").await;
        runner(&bench).settle().await.unwrap();
        let (desk, writer) = (&bench.desk, Writer::new(bench.desk.clone(), bench.journal.clone()));
        let again = || {
            let (client, interface) = (client(), VLAN);
            desk.event(BootEvent::DiscoverSeen { client, interface, secs: 0, relay: None });
        };
        assert_eq!(offered(desk), Some(Chain::Ipxe));
        boot(desk, "snponly.efi");
        boot(desk, "snponly.efi");
        assert_eq!(offered(desk), Some(Chain::Ipxe), "one failed, and one still runs");
        again();
        assert_eq!(offered(desk), Some(Chain::Shim));
        let name = "press-01".parse().unwrap();
        let view = bench.service.boot(&name).await.unwrap();
        assert_eq!(view.offer, "shim (the others failed)");
        assert_eq!((view.chains.len(), view.chains[0].failed_unix_ms.len()), (1, 2));

        // Kept over a restart.
        writer.write_due(1).await;
        let after = BootDesk::new(bench.journal.tickets.clone(), Arc::new(SystemClock));
        after.recall(&bench.journal.db, &bench.journal.config.data_dir).await.unwrap();
        assert_eq!(after.histories().of(&name), desk.histories().of(&name));

        boot(desk, "shimx64.efi");
        bench.service.agent_spoke(&[MacAddr(MAC)]);
        writer.write_due(2).await;
        let kinds = bench.evidence(None).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "boot.chain").count(), 3, "{kinds:?}");
        assert!(desk.histories().of(&name).of(Chain::Shim).unwrap().worked.is_some());
        let lines = bench.service.evidence_lines(None).await.unwrap().join("\n");
        assert!(lines.contains("the others failed") && lines.contains("Secure Boot refused it"), "{lines}");

        let mut boots = 0;
        while let Some(chain) = offered(desk) {
            boots += 1;
            assert!(boots < 99, "it ends some time");
            boot(desk, if chain == Chain::Shim { "shimx64.efi" } else { "snponly.efi" });
            again();
        }
        assert_eq!(boots, 10, "three rounds of two boots by each, of which two were made above");
        let stopped = bench.service.boot(&name).await.unwrap();
        assert_eq!(stopped.diagnosis.code, "chains-exhausted");
        let (_, metrics) = bench.ask("GET", "/metrics", Value::Null).await;
        let metrics = metrics.as_str().unwrap();
        for line in [
            "groundstate_boots_total{chain=\"shim\",outcome=\"worked\"} 1",
            "groundstate_boots_total{chain=\"ipxe\",outcome=\"failed\"} 6",
            "groundstate_boot_events_total{protocol=\"tftp\",outcome=\"finished\"} 14",
            "groundstate_boot_sent_bytes_total{protocol=\"tftp\"} 126",
        ] {
            assert!(metrics.contains(line), "{line}: {metrics}");
        }

        bench.add("press-01", "02:00:00:00:00:01", json!({ "chain": "ipxe" })).await;
        assert_eq!(offered(desk), Some(Chain::Ipxe));
        assert_eq!(bench.service.boot(&name).await.unwrap().offer, "ipxe (a person set it)");
        bench.add("press-01", "02:00:00:00:00:01", json!({})).await;
        assert_eq!(offered(desk), Some(Chain::Ipxe), "not said again: as on record");
        assert!(bench.evidence(None).await.contains(&"order.change".to_owned()));
        assert!(db::chain::all(&mut bench.journal.db.read().await.unwrap()).await.unwrap().is_empty());
    }

    #[test]
    fn f1_an_endpoint_without_the_sites_key_is_led_by_shim_and_one_that_has_it_is_not() {
        let ticket = |key: &str| Ticket {
            job: JobId::new(1, [0; 10]),
            endpoint: "press-01".parse().unwrap(),
            chain: operator::Chain::Auto,
            secure_boot: Some(SecureBoot { on: true, db: vec![key.to_owned()], ..SecureBoot::default() }),
            issued: 0,
            expires: u64::MAX,
        };
        let desk = |key| BootDesk {
            loaders: Loaders::debian().with_http_shim("signed/shimx64.efi"),
            traces: Mutex::new(traces(&Loaders::debian().with_http_shim("signed/shimx64.efi"), &[])),
            signer: Some("ours".to_owned()),
            ..BootDesk::new(Arc::new(Tickets::of(MacAddr(MAC), ticket(key))), Arc::new(SystemClock))
        };
        let by_http = || Client { class: ClientClass::HttpBoot, ..client() };
        let offered = |desk: &BootDesk| {
            desk.decide(&BootRequest { client: by_http(), stage: Stage::Discover, interface: VLAN })
        };
        assert_eq!(offered(&desk("ours")), Chain::UefiHttp.into());
        let desk = desk("another's");
        assert_eq!(offered(&desk), Chain::Shim.into());

        // Its agent speaks: shim over HTTP is what worked.
        boot_by(&desk, by_http(), Protocol::Http, "signed/shimx64.efi");
        fetch(&desk, Protocol::Http, "signed/grubx64.efi");
        desk.agent_spoke(&[MacAddr(MAC)]);
        let name = "press-01".parse().unwrap();
        assert!(desk.histories().of(&name).of(Chain::Shim).unwrap().worked.is_some());

        // Twice it does not, and the next chain is offered.
        for _ in 0..3 {
            boot_by(&desk, by_http(), Protocol::Http, "signed/shimx64.efi");
        }
        assert_eq!(desk.histories().of(&name).of(Chain::Shim).unwrap().failed.len(), 2);
        assert_eq!(offered(&desk), Chain::UefiHttp.into());
    }
}
