//! `groundstate kiosk`: tablets at which technicians show a badge.

use clap::Subcommand;
use recovery_protocol::people::{KioskView, NewKiosk, SetupCode};

use super::{client::Client, fault::Fault, person::under, print, show};
use crate::cli::Output;

/// What to do with kiosks.
#[derive(Debug, Subcommand)]
pub enum KioskVerb {
    /// List kiosks
    List,
    /// Print a code that pairs a tablet, once; a tablet that had the name before is none any more
    Pair {
        /// The kiosk's name
        kiosk: String,
    },
    /// Take a kiosk away; sessions at it end at once
    End {
        /// The kiosk
        kiosk: String,
    },
}

/// Carry out a verb.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn act(client: &Client, verb: KioskVerb, output: Output) -> Result<(), Fault> {
    let kiosks: Vec<KioskView> = match verb {
        KioskVerb::List => client.get("/api/v1/kiosks")?,
        KioskVerb::Pair { kiosk } => {
            let made: SetupCode = client.post("/api/v1/kiosks", &NewKiosk { kiosk })?;
            println!("{}", made.code);
            eprintln!(
                "open {}{} on the tablet; it works once, for {} minutes",
                client.url(),
                made.path,
                made.valid_s / 60
            );
            return Ok(());
        }
        KioskVerb::End { kiosk } => {
            let path = under("/api/v1/kiosks", &kiosk, "groundstate kiosk list")?;
            client.delete(&path, &serde_json::json!({}), None)?
        }
    };
    print(output, &kiosks, |kiosks| show::kiosks(kiosks))
}
