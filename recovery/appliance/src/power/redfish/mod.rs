//! Redfish (DMTF DSP0266) over HTTPS: off, boot override, on; each step read back.
//!
//! ```text
//! GET system ─► Reset ForceOff ─► two equal reads "Off" ─► PATCH Boot (Once) ─► read back ─► Reset On ─► two equal reads "On"
//! ```
//!
//! What a BMC answers to an order is not believed, what it reports afterwards is: one-time overrides are ignored
//! (ironcore-dev/metal-operator#80) or turned into lasting ones (kubevirtbmc#165), so a lasting one counts as armed and is
//! taken back at the end of every job; some want the mode with each override (community.general#11543), newer schemas
//! refuse it (baremetal-operator#493), some want the target kept when it is taken back (metal-operator#998). Each order has
//! spellings, tried in turn until the read-back is right. The firmware's mode (UEFI or legacy) is never changed. What fails after it was
//! told to go off says how it was left.

use std::time::Duration;

use hyper::http::Method;
use recovery_protocol::operator::Chain;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Left, PowerError, Still};

pub mod media;
mod wire;

use wire::{Answer, NotSent, Wire};

/// A chassis may take its time to switch off; BMCs report it late.
const CONFIRM_MAX: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });
const BETWEEN_READS: Duration = Duration::from_millis(500);
/// The service root (DSP0266 section 6.3).
const ROOT: &str = "/redfish/v1/";

/// One BMC, and which of its systems.
#[derive(Debug, Clone, Copy)]
pub struct Bmc<'a> {
    /// `https://host[:port]`, with the path of the system that is meant where it has several.
    pub url: &'a str,
    /// User name.
    pub user: &'a str,
    /// File that holds the password.
    pub password_file: &'a str,
    /// SHA-256 of its certificate, in hex.
    pub pin: Option<&'a str>,
}

/// What we read of a system (schema ComputerSystem); what a BMC leaves out is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct System {
    power_state: Option<String>,
    boot: Boot,
    actions: Actions,
    #[serde(rename = "@odata.etag")]
    etag: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Boot {
    #[serde(rename = "BootSourceOverrideEnabled")]
    enabled: Option<String>,
    #[serde(rename = "BootSourceOverrideTarget")]
    target: Option<String>,
    #[serde(rename = "BootSourceOverrideMode")]
    mode: Option<String>,
    #[serde(rename = "BootSourceOverrideTarget@Redfish.AllowableValues")]
    targets: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actions {
    #[serde(rename = "#ComputerSystem.Reset")]
    reset: Reset,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reset {
    target: Option<String>,
    #[serde(rename = "ResetType@Redfish.AllowableValues")]
    kinds: Vec<String>,
}

impl Boot {
    /// Whether the next boot goes to the network.
    fn armed(&self) -> bool {
        let network = matches!(self.target.as_deref(), Some("Pxe" | "UefiHttp"));
        network && self.enabled.as_deref() != Some("Disabled")
    }

    fn said(&self) -> String {
        let word = |field: &Option<String>| field.clone().unwrap_or_else(|| "nothing".to_owned());
        format!("boot override {} to {}", word(&self.enabled), word(&self.target))
    }
}

/// Off, override, on; each step confirmed.
pub async fn power_into_network(bmc: &Bmc<'_>, chain: Chain, still: &dyn Still) -> Result<(), PowerError> {
    let session = Session::open(bmc).await?;
    let found = session.system().await?.power_state;
    still.wanted().await?;
    let was_on = found.as_deref() != Some("Off");
    match session.bring_up(chain, was_on).await {
        // What was off is as it was found.
        Err(error) if was_on => Err(error.leaving(Some(session.left().await))),
        ended => ended,
    }
}

/// On, with the override still set: somebody has just done the above.
pub async fn armed(bmc: &Bmc<'_>) -> Result<bool, PowerError> {
    let system = Session::open(bmc).await?.system().await?;
    Ok(system.boot.armed() && system.power_state.as_deref() == Some("On"))
}

/// How it is, after it may have been told to go off.
pub async fn stands(bmc: &Bmc<'_>) -> Left {
    match Session::open(bmc).await {
        Ok(session) => session.left().await,
        Err(_) => Left::Unknown,
    }
}

/// No override.
pub async fn clear_boot(bmc: &Bmc<'_>) -> Result<(), PowerError> {
    Session::open(bmc).await?.disarm(Boot::armed).await
}

/// One conversation about one system.
struct Session<'a> {
    bmc: &'a Bmc<'a>,
    wire: Wire,
    system: String,
}

impl<'a> Session<'a> {
    /// Finds the system that is meant.
    async fn open(bmc: &'a Bmc<'a>) -> Result<Self, PowerError> {
        let failed = |what, why: String| PowerError::Bmc { host: bmc.url.to_owned(), what, why };
        let (wire, path) = Wire::open(bmc).await?;
        if !["", ROOT.trim_end_matches('/')].contains(&path.trim_end_matches('/')) {
            return Ok(Self { bmc, wire, system: path });
        }
        let find = async {
            let root = wire.get(ROOT).await?;
            let collection = link(&root.body["Systems"]).unwrap_or("/redfish/v1/Systems").to_owned();
            let list = wire.get(&collection).await?;
            let members = list.body["Members"].as_array().cloned().unwrap_or_default();
            Ok::<_, String>(members.iter().filter_map(link).map(str::to_owned).collect::<Vec<_>>())
        };
        let mut systems: Vec<String> = find.await.map_err(|why| failed("find the system", why))?;
        match (systems.pop(), systems.is_empty()) {
            (Some(system), true) => Ok(Self { bmc, wire, system }),
            (None, _) => Err(failed("find the system", "it lists none".to_owned())),
            (Some(last), false) => {
                systems.push(last);
                let why = format!(
                    "it has several; put the path of one of them behind its address: {}",
                    systems.join(", ")
                );
                Err(failed("find the system", why))
            }
        }
    }

    async fn system(&self) -> Result<System, PowerError> {
        let what = "read the system";
        let answer = self.wire.get(&self.system).await.map_err(|why| self.failed(what, why))?;
        let mut system: System = serde_json::from_value(answer.body)
            .map_err(|error| self.failed(what, format!("it describes it in no way we know ({error})")))?;
        system.etag = answer.etag.or(system.etag);
        Ok(system)
    }

    async fn bring_up(&self, chain: Chain, was_on: bool) -> Result<(), PowerError> {
        if was_on {
            self.reset("power off", "Off", &["ForceOff"]).await?;
        }
        self.arm(chain).await?;
        self.reset("power on", "On", &["On", "ForceOn"]).await
    }

    /// How it is, after it was told to go off.
    async fn left(&self) -> Left {
        match self.system().await.map(|system| system.power_state).as_ref().map(Option::as_deref) {
            Ok(Some("On")) => Left::On,
            Ok(Some("Off")) => Left::Off,
            Ok(_) | Err(_) => Left::Unknown,
        }
    }

    /// The boot override is set to the network for the next boot, and reads so.
    async fn arm(&self, chain: Chain) -> Result<(), PowerError> {
        let boot = self.system().await?.boot;
        let http = chain == Chain::UefiHttp && boot.targets.iter().any(|target| target == "UefiHttp");
        let target = if http { "UefiHttp" } else { "Pxe" };
        self.arm_to(target, &boot, "boot from the network", Boot::armed).await
    }

    async fn arm_to(
        &self,
        target: &str,
        boot: &Boot,
        what: &'static str,
        right: impl Fn(&Boot) -> bool,
    ) -> Result<(), PowerError> {
        let bare = json!({ "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": target });
        let mut spellings = vec![bare.clone()];
        if let Some(mode) = &boot.mode {
            let mut with_mode = bare;
            with_mode["BootSourceOverrideMode"] = json!(mode);
            spellings.insert(0, with_mode);
        }
        self.set_boot(what, &spellings, right).await
    }

    /// Takes an override back that is `set`, and reads that it is gone.
    async fn disarm(&self, set: impl Fn(&Boot) -> bool) -> Result<(), PowerError> {
        let boot = self.system().await?.boot;
        if !set(&boot) {
            return Ok(());
        }
        let spellings = [
            json!({ "BootSourceOverrideEnabled": "Disabled" }),
            json!({ "BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None" }),
            json!({ "BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideMode": boot.mode }),
            json!({ "BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": boot.target }),
        ];
        self.set_boot("clear the boot override", &spellings, |boot| !set(boot)).await
    }

    /// Tries each spelling until what is read back is right.
    async fn set_boot(
        &self,
        what: &'static str,
        spellings: &[Value],
        right: impl Fn(&Boot) -> bool,
    ) -> Result<(), PowerError> {
        let mut refused = None;
        let mut found = String::new();
        for spelling in spellings {
            // Read anew each time: the last order may have changed the tag.
            let etag = self.system().await?.etag;
            let order = json!({ "Boot": spelling });
            let sent = self.wire.send(&Method::PATCH, &self.system, etag.as_deref(), &order);
            refused = sent.await.err().map(NotSent::why);
            let boot = self.system().await?.boot;
            if right(&boot) {
                return Ok(());
            }
            found = boot.said();
        }
        match refused {
            Some(why) => Err(self.failed(what, why)),
            None => Err(PowerError::Unconfirmed { host: self.bmc.url.to_owned(), what, found }),
        }
    }

    /// Brings the power to a state, by the first of these orders that the BMC says it knows.
    async fn reset(&self, what: &'static str, wanted: &str, kinds: &[&str]) -> Result<(), PowerError> {
        let reset = self.system().await?.actions.reset;
        let known = |kind: &&&str| reset.kinds.iter().any(|known| known == **kind);
        let kind = kinds.iter().find(known).unwrap_or(&kinds[0]);
        let own = format!("{}/Actions/ComputerSystem.Reset", self.system.trim_end_matches('/'));
        let path = reset.target.as_deref().unwrap_or(&own);
        let order = self.wire.send(&Method::POST, path, None, &json!({ "ResetType": kind })).await;
        if let Err(why) = order
            && self.system().await?.power_state.as_deref() != Some(wanted)
        {
            return Err(self.failed(what, why.why()));
        }
        self.confirm(what, wanted).await
    }

    /// Two equal reads in a row: the first after a change is often the old state.
    async fn confirm(&self, what: &'static str, wanted: &str) -> Result<(), PowerError> {
        let until = Instant::now() + CONFIRM_MAX;
        let mut equal = 0;
        loop {
            let found = self.system().await?.power_state.unwrap_or_else(|| "no power state".to_owned());
            equal = if found == wanted { equal + 1 } else { 0 };
            if equal == 2 {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(PowerError::Unconfirmed { host: self.bmc.url.to_owned(), what, found });
            }
            sleep(BETWEEN_READS).await;
        }
    }

    fn failed(&self, what: &'static str, why: String) -> PowerError {
        PowerError::Bmc { host: self.bmc.url.to_owned(), what, why }
    }
}

/// Where a resource is (`@odata.id`), if it names a path on this BMC.
fn link(resource: &Value) -> Option<&str> {
    resource["@odata.id"].as_str().filter(|path| path.starts_with('/'))
}

impl Answer {
    /// A refusal in the BMC's own words (DSP0266 section 8.6), shortened.
    fn words(&self) -> String {
        let error = &self.body["error"];
        let extended = error["@Message.ExtendedInfo"].as_array().and_then(|list| list.first());
        let message = extended.and_then(|info| info["Message"].as_str()).or(error["message"].as_str());
        let words: String =
            message.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
        format!("{} {words}", self.status).trim_end().to_owned()
    }
}

#[cfg(test)]
pub(super) mod tests;
