//! An endpoint's half of a recovery, in messages alone: an agent's words over the real API, without a computer behind them.
//!
//! ```text
//!   hello ─► pairing code ─► (a person compares it) ─► order ─► planned, progress, written, proven, committed ─► hello as the golden system
//! ```
//!
//! For tests of what people see while an endpoint recovers, where minutes of emulation would show nothing more: the stories end to end have
//! real endpoints. It has no TPM, so its blueprint must want none (`enrolment = "none"`).

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use recovery_protocol::AGENT_PROTOCOL;
use recovery_protocol::agent::{
    Activity, Assignment, BootedAs, DiskFacts, Firmware, Hello, HelloReply, Inventory, Next, PlanFacts,
    Report, ReportReply, Reported, RestoreFacts, RestoreOrder,
};
use recovery_protocol::ids::MacAddr;
use recovery_protocol::trust::EnrolmentTicket;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::tls::TlsConfig;

/// Bytes of its disk, and of what a restore fetches.
pub const DISK_BYTES: u64 = 64 << 30;
const FETCH_BYTES: u64 = 700 << 20;

/// What speaks HTTPS with an appliance whose certificate is its own, on the same computer.
#[must_use]
pub fn https() -> Agent {
    let tls = TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder().tls_config(tls).http_status_as_error(false).build().new_agent()
}

/// The endpoint.
#[derive(Debug)]
pub struct Simulated {
    agent: Agent,
    /// The appliance's address and port for endpoints.
    appliance: String,
    mac: MacAddr,
    session: String,
    order: Option<Box<RestoreOrder>>,
}

impl Simulated {
    /// An endpoint with this Ethernet address, of the appliance at `appliance` (address and port).
    ///
    /// # Errors
    /// When it is no Ethernet address.
    pub fn new(appliance: &str, mac: &str) -> Result<Self> {
        let mac = mac.parse().map_err(|_| anyhow::anyhow!("{mac} is no Ethernet address"))?;
        Ok(Self { agent: https(), appliance: appliance.to_owned(), mac, session: String::new(), order: None })
    }

    /// The recovery system is up and says hello; the code on its screen.
    ///
    /// # Errors
    /// When it is refused, or asked for more than a code.
    pub fn boots(&mut self) -> Result<String> {
        match self.say("hello", &self.hello(BootedAs::RecoverySystem, None))? {
            HelloReply::Pair { session, code } => {
                self.session = session;
                Ok(code)
            }
            other => bail!("it was answered {other:?}"),
        }
    }

    /// Asks until there is an order. `None`: there is none yet.
    ///
    /// # Errors
    /// When it is refused, or told something else.
    pub fn asks(&mut self) -> Result<bool> {
        match self.say("next", &Next { session: self.session.clone() })? {
            Assignment::Restore(order) => {
                self.order = Some(order);
                Ok(true)
            }
            Assignment::Wait { .. } => Ok(false),
            other => bail!("it was told {other:?}"),
        }
    }

    /// The disk was scanned and the plan made.
    ///
    /// # Errors
    /// When it is told to stop.
    pub fn plans(&self) -> Result<()> {
        let plan = PlanFacts {
            image_bytes: DISK_BYTES,
            keep_bytes: DISK_BYTES - FETCH_BYTES,
            fetch_bytes: FETCH_BYTES,
            fetch_chunks: 5_600,
            ..PlanFacts::default()
        };
        self.report(Reported::Planned { plan, disk: disk(), preserved: Vec::new(), health: Box::default() })
    }

    /// So much of the restore is written, in hundredths.
    ///
    /// # Errors
    /// When it is told to stop.
    pub fn writes(&self, percent: u64) -> Result<()> {
        let done_bytes = FETCH_BYTES / 100 * percent;
        self.report(Reported::Progress { activity: Activity::Writing, done_bytes, total_bytes: FETCH_BYTES })
    }

    /// All is written, read back, and bootable; it reboots, and the golden system says hello.
    ///
    /// # Errors
    /// When it is told to stop, or refused.
    pub fn finishes(&self) -> Result<()> {
        let stats = RestoreFacts {
            wire_bytes: FETCH_BYTES / 2,
            written_bytes: FETCH_BYTES,
            read_back_bytes: DISK_BYTES,
            memory_peak_bytes: 45 << 20,
            ..RestoreFacts::default()
        };
        self.report(Reported::Written { stats, sources: Vec::new() })?;
        self.report(Reported::Proven { stats, preserved: Vec::new() })?;
        self.report(Reported::Committed { stats, placed: Vec::new() })?;
        let files = &self.order()?.esp_files;
        let ticket = files.get(EnrolmentTicket::ESP_PATH).context("no ticket lies on its disk")?;
        let ticket: EnrolmentTicket = serde_json::from_slice(&ticket.0)?;
        let reply: HelloReply =
            self.say("hello", &self.hello(BootedAs::GoldenSystem, Some(ticket.secret)))?;
        ensure!(matches!(reply, HelloReply::Wait { .. }), "the golden system was answered {reply:?}");
        Ok(())
    }

    fn order(&self) -> Result<&RestoreOrder> {
        self.order.as_deref().context("it has no order")
    }

    /// Something else that an agent has to say.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn says(&self, what: Reported) -> Result<()> {
        let order = self.order()?;
        let report = Report { session: self.session.clone(), job: order.job, step_seq: order.step_seq, what };
        self.say::<ReportReply>("report", &report).map(drop)
    }

    fn report(&self, what: Reported) -> Result<()> {
        let order = self.order()?;
        let report = Report { session: self.session.clone(), job: order.job, step_seq: order.step_seq, what };
        match self.say("report", &report)? {
            ReportReply::Continue => Ok(()),
            ReportReply::Abort { why } => bail!("it was told to stop: {why}"),
        }
    }

    fn say<R: DeserializeOwned>(&self, call: &str, message: &impl Serialize) -> Result<R> {
        let order = self.agent.post(format!("https://{}/agent/v1/{call}", self.appliance));
        let mut answer =
            order.header("content-type", "application/json").send(&serde_json::to_vec(message)?)?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(answer.status() == 200, "{call}: {} {text}", answer.status());
        serde_json::from_str(&text).with_context(|| format!("{call} was answered {text}"))
    }

    fn hello(&self, booted_as: BootedAs, enrolment_ticket: Option<String>) -> Hello {
        let inventory = Inventory {
            macs: vec![self.mac],
            dock_macs: Vec::new(),
            vendor: "Siemens".to_owned(),
            product: "SIMATIC IPC427E".to_owned(),
            serial: format!("SVP-{}", self.mac.to_string().replace(':', "")),
            uuid: String::new(),
            firmware: Firmware::Uefi,
            memory_bytes: 8 << 30,
            disks: vec![disk()],
            hostname: String::new(),
            addresses: Vec::new(),
            disk_health: Vec::new(),
            disk_erase: Vec::new(),
            secure_boot: None,
        };
        Hello {
            protocol: AGENT_PROTOCOL,
            agent_version: "0.1.0".to_owned(),
            booted_as,
            inventory,
            tpm: None,
            enrolment_ticket,
        }
    }
}

fn disk() -> DiskFacts {
    DiskFacts {
        wwn: None,
        serial: Some("S5GXNX0R".to_owned()),
        model: "SSD 64 GB".to_owned(),
        size_bytes: DISK_BYTES,
        sector_bytes: 512,
        transport: "nvme".to_owned(),
        rotational: false,
        removable: false,
        path: Some("pci-0000:00:04.0-nvme-1".to_owned()),
    }
}
