//! Reports of what the appliance knows: of one recovery, of zones, of itself as a component, of a month; and the month's signed pack.
//!
//! ```text
//! evidence log ─► verified line by line ─► facts ─┐
//! owner's file of zones (evidence.zones_file) ────┼─► runbooks::assess, runbooks::report ─► Paper ─► HTML, PDF
//! jobs ─► phases, entries ────────────────────────┘                            └─────────────────► JSON, CSV
//! ```
//!
//! Nothing is kept: each report is made anew, so it cannot be older than what it says. The words and the layout are `runbooks`'; here stand the facts.
//! It must never: judge by a log that does not hold, or write an opinion back into it.

mod month;
mod recovery;
mod site;
mod timings;

use recovery_protocol::{
    Problem,
    report::{ReportForm, ReportLanguage},
};
use runbooks::paper::{Language, Paper};
use serde::Serialize;

pub use self::{recovery::stretch, timings::timings};
use crate::{config::Config, service::Service};

/// What makes reports. It stands on the service and its configuration in force.
pub struct Reports<'a> {
    service: &'a Service,
    config: &'a Config,
}

/// In which form and language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The form.
    pub form: ReportForm,
    /// The language of its own sentences.
    pub language: ReportLanguage,
}

impl Wanted {
    /// The language as the maker of papers has it.
    #[must_use]
    pub fn language(self) -> Language {
        match self.language {
            ReportLanguage::En => Language::En,
            ReportLanguage::De => Language::De,
        }
    }
}

/// A report in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its form.
    pub form: ReportForm,
    /// A plain name for its file, without an ending.
    pub name: String,
    /// It.
    pub bytes: Vec<u8>,
}

impl Made {
    /// One report in the form that is wanted; only that one is made.
    ///
    /// # Errors
    /// 500 `report-not-made`: a fault of this program.
    pub fn of(
        wanted: Wanted,
        name: impl Into<String>,
        paper: impl FnOnce() -> Paper,
        json: &impl Serialize,
        csv: impl FnOnce() -> String,
    ) -> Result<Self, Problem> {
        let bytes = match wanted.form {
            ReportForm::Html => paper().html().into_bytes(),
            ReportForm::Pdf => paper().pdf().map_err(|error| not_made(&error))?,
            ReportForm::Json => {
                let mut text = serde_json::to_vec_pretty(json).map_err(|error| not_made(&error))?;
                text.push(b'\n');
                text
            }
            ReportForm::Csv => csv().into_bytes(),
        };
        Ok(Self { form: wanted.form, name: name.into(), bytes })
    }
}

fn not_made(error: &dyn std::error::Error) -> Problem {
    let remedy = "take it as html, and report this";
    Problem::new(500, "report-not-made", "The report could not be made", error.to_string(), remedy)
}

impl<'a> Reports<'a> {
    /// Of this appliance.
    #[must_use]
    pub fn new(service: &'a Service) -> Self {
        Self { service, config: service.config() }
    }

    fn appliance() -> String {
        format!("groundstate {}", env!("CARGO_PKG_VERSION"))
    }
}

/// A page for who trusts no tool of ours: how to look at a pack of this name.
#[must_use]
pub fn how_to(verifier_key: &str, file: &str) -> String {
    format!(
        "HOW TO VERIFY THIS PACK\n\n\
         With Groundstate, on any computer, without a network:\n\n\
         \x20   groundstate evidence verify {file} --key KEY\n\n\
         KEY is the evidence key that you keep apart from this pack. The one that stands below is only a convenience: who forged the pack forged it too.\n\n\
         With public tools alone:\n\n\
         1. tar -xf {file}, in an empty folder. The pack is a POSIX tar.\n\
         2. sha256sum -c MANIFEST.sha256. Every file must be OK, and no file may be there that the list does not name, but for\n\
         \x20  MANIFEST.sha256 and PACK.tlog-proof.\n\
         3. sha256sum MANIFEST.sha256, and compare it with manifest_sha256 in the entry that the second line of PACK.tlog-proof holds:\n\
         \x20   sed -n 's/^extra //p' PACK.tlog-proof | base64 -d\n\
         4. PACK.tlog-proof is a C2SP tlog-proof (c2sp.org/tlog-proof): any tool for it checks that the entry is in the log that the checkpoint at its end\n\
         \x20  covers, and that the checkpoint is signed. Leaves and nodes are hashed as in RFC 6962. The key, in the form of c2sp.org/signed-note:\n\
         \x20   {verifier_key}\n\
         5. The same for each file in proofs/: one entry of the evidence log each. evidence/ holds them as lines, to be read.\n\n\
         What a pack does not show: that nothing was left out of the log before it was written, and that the appliance's clock was right. Checkpoints that you or\n\
         another appliance kept show that nothing was removed afterwards.\n"
    )
}

#[cfg(test)]
mod tests;
