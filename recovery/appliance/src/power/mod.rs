//! Power and boot control: how an endpoint is brought into a network boot.
//!
//! The trait is the seam: `off → confirmed off → boot override → read back → on → confirmed on`, or a person who is
//! told what to do. A driver observes before it acts and may be called again after a crash. It must never: switch off an
//! endpoint that is in the recovery system already (the runner looks before it calls).

use futures_util::future::BoxFuture;
use recovery_protocol::operator::Power;

mod ipmi;

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
    /// Its password file cannot be read.
    #[error("the password file {path} cannot be read; correct the endpoint's power settings")]
    Password {
        /// The file.
        path: String,
    },
}

/// How powering an endpoint into the network ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Powered {
    /// It is on and told to boot from the network.
    Confirmed {
        /// The driver, for evidence.
        by: &'static str,
    },
    /// A person must do it; what they are told.
    Asked {
        /// For a person.
        task: String,
    },
}

/// Drives the power of endpoints. Calls may be cancelled between two commands to the BMC.
pub trait PowerDriver: Send + Sync {
    /// Bring the endpoint into a network boot, once.
    fn power_into_network<'a>(&'a self, power: &'a Power) -> BoxFuture<'a, Result<Powered, PowerError>>;
    /// After a restart: was the endpoint just powered into a network boot? `false` where it cannot be known.
    fn probe<'a>(&'a self, power: &'a Power) -> BoxFuture<'a, bool>;
    /// Take back a boot override that is still set. Nothing to do is success.
    fn clear_boot<'a>(&'a self, power: &'a Power) -> BoxFuture<'a, Result<(), PowerError>>;
}

/// The drivers of this appliance, chosen by the endpoint's record.
#[derive(Debug, Clone, Default)]
pub struct Drivers {
    ipmi: ipmi::Ipmi,
}

impl PowerDriver for Drivers {
    fn power_into_network<'a>(&'a self, power: &'a Power) -> BoxFuture<'a, Result<Powered, PowerError>> {
        match power {
            Power::Person => Box::pin(async {
                let task = "Switch the endpoint off and on and choose network boot in its firmware.";
                Ok(Powered::Asked { task: task.to_owned() })
            }),
            Power::Ipmi { host, port, user, password_file } => Box::pin(async move {
                let bmc = ipmi::Bmc { host, port: *port, user, password_file };
                self.ipmi.power_into_network(&bmc).await?;
                Ok(Powered::Confirmed { by: "ipmi" })
            }),
        }
    }

    fn probe<'a>(&'a self, power: &'a Power) -> BoxFuture<'a, bool> {
        match power {
            Power::Person => Box::pin(async { true }),
            Power::Ipmi { host, port, user, password_file } => Box::pin(async move {
                let bmc = ipmi::Bmc { host, port: *port, user, password_file };
                self.ipmi.armed(&bmc).await.unwrap_or(false)
            }),
        }
    }

    fn clear_boot<'a>(&'a self, power: &'a Power) -> BoxFuture<'a, Result<(), PowerError>> {
        match power {
            Power::Person => Box::pin(async { Ok(()) }),
            Power::Ipmi { host, port, user, password_file } => Box::pin(async move {
                let bmc = ipmi::Bmc { host, port: *port, user, password_file };
                self.ipmi.clear_boot(&bmc).await
            }),
        }
    }
}
