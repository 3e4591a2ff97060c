//! Power and boot control: how an endpoint is brought into a network boot.
//!
//! The trait is the seam: `off → confirmed off → boot override → read back → on → confirmed on`, or a person who is
//! told what to do. A driver observes before it acts and may be called again after a crash. It must never: switch off an
//! endpoint that is in the recovery system already (the runner looks before it calls), or one whose job was stopped while it
//! observed (it asks [`Still`] last of all), or leave it off without a word ([`PowerError::left_dark`]).

use std::{fmt, path::Path, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use recovery_protocol::{
    EndpointId, JobId, MacAddr,
    operator::{Chain, Power},
};
use zeroize::Zeroizing;

use crate::seal;

pub mod in_band;
mod ipmi;
mod outlet;
mod redfish;
mod wake;

pub use redfish::media;

/// A password, from its file.
async fn secret(path: &str) -> Result<Zeroizing<String>, PowerError> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || seal::secret(Path::new(&file))).await;
    read.map_err(std::io::Error::other).flatten().map_err(|error| {
        tracing::warn!(path, %error, "a password cannot be read");
        PowerError::Password { path: path.to_owned() }
    })
}

/// Why the endpoint was not powered into a network boot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PowerError {
    /// The tool cannot be run.
    #[error("`{tool}` cannot be run ({why}); install the Debian package `{tool}`")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// The system's words.
        why: String,
    },
    /// The BMC does not answer, or says no.
    #[error("the BMC {host}: {what} failed: {why}")]
    Bmc {
        /// Its address.
        host: String,
        /// What was tried.
        what: &'static str,
        /// Its words, shortened.
        why: String,
    },
    /// It said yes and did not do it.
    #[error("the BMC {host} was told to {what}, but it reports: {found}")]
    Unconfirmed {
        /// Its address.
        host: String,
        /// What was tried.
        what: &'static str,
        /// What it reports.
        found: String,
    },
    /// It failed once it had been told to go off.
    #[error("{why}; {left}")]
    Left {
        /// What failed.
        why: Box<PowerError>,
        /// How it was left.
        left: Left,
    },
    /// The appliance ended in the midst of it, and the job went on without it.
    #[error("the appliance ended while it powered this endpoint, and the job does not do so any more")]
    Interrupted,
    /// A magic packet cannot be sent.
    #[error("no wake-up packet can be sent to {to}: {why}; correct the endpoint's power settings")]
    Wake {
        /// Where to.
        to: std::net::Ipv4Addr,
        /// The system's words, or what is missing.
        why: String,
    },
    /// None of several drivers did it.
    #[error("no driver did it: {all}")]
    Each {
        /// What each says.
        all: String,
        /// How the last one that switched it off left it.
        left: Option<Left>,
    },
    /// The job was stopped, cancelled or went on before anything was switched.
    #[error("nothing was switched: the job does not want it any more")]
    Withdrawn,
    /// Another appliance has taken over.
    #[error("nothing was switched: another appliance has taken over")]
    Fenced,
    /// It is on record for another endpoint as well.
    #[error(
        "nothing was switched: the BMC {at} is on record for {other}, too, and would be switched and booted with it [power-shared]; correct one of the two records (`groundstate endpoint set NAME --ipmi …`, `--no-power`), then go on"
    )]
    Shared {
        /// Where it is.
        at: String,
        /// Whose it is, too.
        other: EndpointId,
    },
    /// Whether the job still wants it cannot be told.
    #[error("nothing was switched: it cannot be told whether the job still wants it ({0})")]
    Unsure(String),
    /// Its own agent did not reboot it.
    #[error("it was not rebooted by its own agent: {why}")]
    InBand {
        /// Why not.
        why: String,
    },
    /// Its password file cannot be read.
    #[error("the password file {path} cannot be read; correct the endpoint's power settings")]
    Password {
        /// The file.
        path: String,
    },
}

/// How an endpoint was left by a driver that failed after it had told it to go off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It reads on.
    On,
    /// It reads off.
    Off,
    /// It took the order to go on, and does not say whether it is.
    Told,
    /// Nothing can be told.
    Unknown,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "it was left on",
            Self::Off => "it was switched off, and is off: switch it on",
            Self::Told => {
                "it was switched off, took the order to go on again, and does not say whether it is on: look at it"
            }
            Self::Unknown => "it was switched off, and whether it is on is not known: look at it",
        })
    }
}

impl PowerError {
    /// How the endpoint may have been left dark by us; `None`: it is as it was, or on.
    pub fn left_dark(&self) -> Option<Left> {
        let left = match self {
            Self::Left { left, .. } => Some(*left),
            Self::Each { left, .. } => *left,
            _ => None,
        };
        left.filter(|left| *left != Left::On)
    }

    /// With how it was left.
    pub fn leaving(self, left: Option<Left>) -> Self {
        match left {
            None => self,
            Some(left) => Self::Left { why: Box::new(self), left },
        }
    }
}

/// How powering an endpoint into the network ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Powered {
    /// It is on and told to boot from the network.
    Confirmed {
        /// The driver, for evidence, and which ones failed before it.
        by: String,
    },
    /// A person must do it; what they are told.
    Asked {
        /// For a person.
        task: String,
    },
}

/// Whose power, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// How it is switched on and off.
    pub power: &'a Power,
    /// Its Ethernet addresses.
    pub macs: &'a [MacAddr],
    /// How its firmware reaches the recovery system.
    pub chain: Chain,
    /// Which power cycle of the job this is, from 1: where there are several drivers, each begins with the next one, since the last one
    /// said yes and the recovery system did not come.
    pub round: u32,
    /// The job, whose name a medium carries.
    pub job: JobId,
    /// Whose.
    pub endpoint: &'a EndpointId,
    /// Its running system can prove itself: a TPM is on record.
    pub proves: bool,
}

/// Whether the job still wants its endpoint switched: minutes may pass before a driver has observed, or the ones before it have failed.
pub trait Still: Send + Sync {
    /// Asked anew each time, right before something is switched.
    ///
    /// # Errors
    /// [`PowerError::Withdrawn`], [`PowerError::Fenced`], [`PowerError::Unsure`]: nothing is to be switched.
    fn wanted(&self) -> BoxFuture<'_, Result<(), PowerError>>;

    /// Whether what failed or was stopped may be taken back: what is set there is ours, and not of the appliance that took over.
    fn may_clean_up(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { !matches!(self.wanted().await, Err(PowerError::Fenced | PowerError::Unsure(_))) })
    }
}

/// Drives the power of endpoints. Calls may be cancelled between two commands to the BMC.
pub trait PowerDriver: Send + Sync {
    /// Bring the endpoint into a network boot, once, while it is still wanted. Once it is off, it is brought up again.
    fn power_into_network<'a>(
        &'a self,
        target: &'a Target<'a>,
        still: &'a dyn Still,
    ) -> BoxFuture<'a, Result<Powered, PowerError>>;
    /// After a restart: was the endpoint just powered into a network boot? `false` where it cannot be known.
    fn probe<'a>(&'a self, target: &'a Target<'a>) -> BoxFuture<'a, bool>;
    /// After a restart: how it stands, where an earlier run may have told it to go off; `None`: nothing here switches it off.
    fn stands<'a>(&'a self, target: &'a Target<'a>) -> BoxFuture<'a, Option<Left>>;
    /// Take back a boot override that is still set. Nothing to do is success.
    fn clear_boot<'a>(&'a self, target: &'a Target<'a>) -> BoxFuture<'a, Result<(), PowerError>>;
}

/// The drivers of this appliance, chosen by the endpoint's record.
#[derive(Debug, Clone, Default)]
pub struct Drivers {
    ipmi: ipmi::Ipmi,
    shelf: Option<media::Shelf>,
    in_band: Arc<in_band::Desk>,
    check_in_every: Duration,
}

/// A BMC that is spoken to.
enum Bmc<'a> {
    Ipmi(ipmi::Bmc<'a>),
    Redfish(redfish::Bmc<'a>),
    Media(redfish::Bmc<'a>),
}

/// Where a driver may set something that outlives its power cycle; `None`: it sets nothing.
#[must_use]
pub fn place(power: &Power) -> Option<(&'static str, &str)> {
    Some(match bmc(power)? {
        Bmc::Ipmi(bmc) => ("ipmi", bmc.host),
        Bmc::Redfish(bmc) => ("redfish", bmc.url),
        Bmc::Media(bmc) => ("virtual media", bmc.url),
    })
}

/// The BMC that a driver switches by, as one is compared with another: `host`, or `host:port` where the port is not the usual one, and behind it the
/// path of a system where a URL names one, since a chassis has one BMC for many. By whatever it is spoken to, one host with the usual ports is one BMC.
/// `None`: it switches by none.
#[must_use]
pub fn same_bmc(power: &Power) -> Option<String> {
    let text = match bmc(power)? {
        Bmc::Ipmi(bmc) => match (bmc.port, bmc.host.contains(':')) {
            (623, _) => bmc.host.to_ascii_lowercase(),
            (port, false) => format!("{}:{port}", bmc.host.to_ascii_lowercase()),
            (port, true) => format!("[{}]:{port}", bmc.host.to_ascii_lowercase()),
        },
        Bmc::Redfish(bmc) | Bmc::Media(bmc) => {
            let (scheme, rest) = bmc.url.split_once("://").unwrap_or(("https", bmc.url));
            let (at, system) = rest.split_once('/').unwrap_or((rest, ""));
            let usual = if scheme == "http" { ":80" } else { ":443" };
            let at = at.strip_suffix(usual).unwrap_or(at);
            let at = at.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')).unwrap_or(at);
            let (at, system) = (at.to_ascii_lowercase(), system.trim_end_matches('/'));
            if system.is_empty() { at } else { format!("{at}/{system}") }
        }
    };
    Some(text)
}

fn bmc(power: &Power) -> Option<Bmc<'_>> {
    match power {
        Power::Person
        | Power::InBand
        | Power::WakeOnLan { .. }
        | Power::Outlet { .. }
        | Power::Several { .. } => None,
        Power::Ipmi { host, port, user, password_file } => {
            Some(Bmc::Ipmi(ipmi::Bmc { host, port: *port, user, password_file }))
        }
        Power::Redfish { url, user, password_file, certificate_sha256 } => {
            let pin = certificate_sha256.as_deref();
            Some(Bmc::Redfish(redfish::Bmc { url, user, password_file, pin }))
        }
        Power::VirtualMedia { url, user, password_file, certificate_sha256 } => {
            let pin = certificate_sha256.as_deref();
            Some(Bmc::Media(redfish::Bmc { url, user, password_file, pin }))
        }
    }
}

impl Drivers {
    /// With a medium that BMCs can fetch; `None`: the boot kit holds none.
    #[must_use]
    pub fn with_shelf(self, shelf: Option<media::Shelf>) -> Self {
        Self { shelf, ..self }
    }

    /// With both: where BMCs fetch a medium, and the desk at which agents ask every so many seconds.
    #[must_use]
    pub fn of(shelf: Option<media::Shelf>, in_band: &Arc<in_band::Desk>, every_s: u32) -> Arc<Self> {
        let every = Duration::from_secs(every_s.into());
        Arc::new(Self::default().with_shelf(shelf).with_in_band(Arc::clone(in_band), every))
    }

    /// With the desk at which agents ask, and the time between two check-ins.
    #[must_use]
    pub fn with_in_band(self, in_band: Arc<in_band::Desk>, check_in_every: Duration) -> Self {
        Self { in_band, check_in_every, ..self }
    }

    async fn one(
        &self,
        power: &Power,
        target: &Target<'_>,
        still: &dyn Still,
    ) -> Result<Powered, PowerError> {
        let by = |name: &str| Ok(Powered::Confirmed { by: name.to_owned() });
        match bmc(power) {
            Some(Bmc::Ipmi(bmc)) => {
                self.ipmi.power_into_network(&bmc, still).await?;
                return by("ipmi");
            }
            Some(Bmc::Redfish(bmc)) => {
                redfish::power_into_network(&bmc, target.chain, still).await?;
                return by("redfish");
            }
            Some(Bmc::Media(bmc)) => {
                media::power_into_medium(&bmc, self.shelf.as_ref(), target.job, still).await?;
                return by("virtual media");
            }
            None => {}
        }
        let mut task = "Switch the endpoint off and on and choose network boot in its firmware.";
        match power {
            Power::Outlet { at } => {
                outlet::cycle(at, still).await?;
                return by("outlet");
            }
            Power::InBand => {
                in_band::reboot(&self.in_band, target, self.check_in_every, still).await?;
                return by("in-band");
            }
            Power::WakeOnLan { to } => {
                still.wanted().await?;
                wake::wake(*to, target.macs).await?;
                task = "A wake-up packet was sent. Where the endpoint was not off, or does not start: switch it off and on and \
                        choose network boot in its firmware.";
            }
            Power::Person
            | Power::Ipmi { .. }
            | Power::Redfish { .. }
            | Power::VirtualMedia { .. }
            | Power::Several { .. } => still.wanted().await?,
        }
        Ok(Powered::Asked { task: task.to_owned() })
    }

    /// Take back what a driver may have set. Nothing to do is success.
    async fn disarm(&self, power: &Power) -> Result<(), PowerError> {
        match bmc(power) {
            Some(Bmc::Ipmi(bmc)) => self.ipmi.clear_boot(&bmc).await,
            Some(Bmc::Redfish(bmc)) => redfish::clear_boot(&bmc).await,
            Some(Bmc::Media(bmc)) => media::clear(&bmc).await,
            None => Ok(()),
        }
    }
}

impl PowerDriver for Drivers {
    fn power_into_network<'a>(
        &'a self,
        target: &'a Target<'a>,
        still: &'a dyn Still,
    ) -> BoxFuture<'a, Result<Powered, PowerError>> {
        Box::pin(async move {
            let each = target.power.each();
            if let [only] = each {
                return match self.one(only, target, still).await {
                    // Alone it is a person who is asked then: nobody waits for the word of a system that may not even run.
                    Err(PowerError::InBand { why }) => Ok(Powered::Asked {
                        task: format!(
                            "Its own agent did not reboot it ({why}). Switch the endpoint off and on and choose network boot in its firmware."
                        ),
                    }),
                    ended => ended,
                };
            }
            let begin =
                usize::try_from(target.round.saturating_sub(1)).unwrap_or_default() % each.len().max(1);
            let (mut failed, mut left) = (Vec::new(), None);
            for power in each[begin..].iter().chain(&each[..begin]) {
                // It asks again right before it switches; this spares the conversation up to there.
                still.wanted().await.map_err(|error| error.leaving(left))?;
                match self.one(power, target, still).await {
                    Ok(Powered::Confirmed { by }) if !failed.is_empty() => {
                        return Ok(Powered::Confirmed { by: format!("{by}, after: {}", failed.join("; ")) });
                    }
                    Ok(powered) => return Ok(powered),
                    Err(error @ (PowerError::Withdrawn | PowerError::Fenced | PowerError::Unsure(_))) => {
                        return Err(error.leaving(left));
                    }
                    Err(error) => {
                        left = error.left_dark().or(left);
                        // It may have armed before it failed: that must not wait for the end of the job.
                        if still.may_clean_up().await
                            && let Err(error) = self.disarm(power).await
                        {
                            tracing::warn!(?power, %error, "a driver that failed could not take back its override");
                        }
                        failed.push(error.to_string());
                    }
                }
            }
            Err(PowerError::Each { all: failed.join("; "), left })
        })
    }

    fn probe<'a>(&'a self, target: &'a Target<'a>) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            for power in target.power.each() {
                let there = match bmc(power) {
                    Some(Bmc::Ipmi(bmc)) => self.ipmi.armed(&bmc).await.unwrap_or(false),
                    Some(Bmc::Redfish(bmc)) => redfish::armed(&bmc).await.unwrap_or(false),
                    Some(Bmc::Media(bmc)) => {
                        media::armed(&bmc, self.shelf.as_ref(), target.job).await.unwrap_or(false)
                    }
                    // A person who was asked is not asked again; a packet more does no harm.
                    None => *target.power == Power::Person,
                };
                if there {
                    return true;
                }
            }
            false
        })
    }

    fn stands<'a>(&'a self, target: &'a Target<'a>) -> BoxFuture<'a, Option<Left>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for power in target.power.each() {
                found.extend(match (bmc(power), power) {
                    (Some(Bmc::Ipmi(bmc)), _) => Some(self.ipmi.stands(&bmc).await),
                    (Some(Bmc::Redfish(bmc) | Bmc::Media(bmc)), _) => Some(redfish::stands(&bmc).await),
                    (None, Power::Outlet { at }) => Some(outlet::stands(at).await),
                    (None, _) => None,
                });
            }
            // One that is off is dark, whatever hangs before it; one that is not read may be.
            let worst = [Left::Off, Left::Unknown, Left::On].into_iter().find(|left| found.contains(left));
            worst.or(found.first().copied())
        })
    }

    fn clear_boot<'a>(&'a self, target: &'a Target<'a>) -> BoxFuture<'a, Result<(), PowerError>> {
        Box::pin(async move {
            // One that does not answer must not keep the others from it.
            let mut failed = None;
            for power in target.power.each() {
                failed = self.disarm(power).await.err().or(failed);
            }
            failed.map_or(Ok(()), Err)
        })
    }
}

#[cfg(test)]
pub mod tests;
