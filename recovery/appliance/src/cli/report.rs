//! Reports of the appliance: fetched in one form and language, into a file or to stdout.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use recovery_protocol::{
    JobId,
    report::{ReportForm, ReportLanguage},
};
use runbooks::paper::Language;

use super::{
    client::Client,
    fault::{Code, Fault},
    image::write_new,
};

/// The longest report that is taken.
const BYTES_MAX: u64 = 1 << 30;

/// In which form and language, and where to.
#[derive(Debug, Args)]
pub struct How {
    /// html, pdf, json or csv
    #[arg(long, default_value_t)]
    pub format: ReportForm,
    /// Language of the report's own sentences: en or de
    #[arg(long, default_value_t)]
    pub language: ReportLanguage,
    /// File to write; default: stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Which job's.
#[derive(Debug, Args)]
pub struct OfJob {
    /// The job
    pub job: JobId,
    #[command(flatten)]
    pub how: How,
}

/// What to do with months of the security programme.
#[derive(Debug, Subcommand)]
pub enum CsmsVerb {
    /// Write a month's report: recoveries and drills, readiness, zones, what expires
    Report {
        /// The month, as 2026-11
        #[arg(long)]
        month: String,
        #[command(flatten)]
        how: How,
    },
    /// Make a month's evidence pack: reports, the entries they rest on, and the proofs, in one file that stands alone
    Pack {
        /// The month, as 2026-11
        #[arg(long)]
        month: String,
        /// File to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Carry out a verb.
///
/// # Errors
/// What the appliance refuses.
pub fn csms(client: &Client, verb: CsmsVerb) -> Result<(), Fault> {
    match verb {
        CsmsVerb::Report { month, how } => {
            how.fetch(client, &format!("/api/v1/csms/{}/report", in_query(&month)), "")
        }
        CsmsVerb::Pack { month, out } => {
            pack(client, &format!("/api/v1/csms/{}/pack", in_query(&month)), &out)
        }
    }
}

/// Have a pack made and written to a file.
///
/// # Errors
/// What the appliance refuses.
pub fn pack(client: &Client, path: &str, out: &Path) -> Result<(), Fault> {
    let pack = client.post_for_bytes(path)?;
    write_new(out, 0o644, &pack)?;
    let named = out.display();
    eprintln!(
        "wrote {named}; keep the evidence key apart from it: `groundstate evidence verify {named} --key …`"
    );
    Ok(())
}

impl How {
    /// Fetch a report; `more` is what else stands in the query, with its `&`.
    ///
    /// # Errors
    /// What the appliance refuses.
    pub fn fetch(self, client: &Client, path: &str, more: &str) -> Result<(), Fault> {
        let Self { format, language, out } = self;
        let answer = client.get_long(&format!("{path}?format={format}&language={language}{more}"))?;
        let mut bytes = Vec::new();
        answer.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| {
            Fault::new(Code::Failed, "the report broke off", error.to_string(), "ask for it again")
        })?;
        hand_over(out.as_deref(), &bytes)?;
        if let Some(out) = out {
            eprintln!("wrote {}", out.display());
        }
        Ok(())
    }
}

/// Write into a file that is not there yet, or to stdout.
///
/// # Errors
/// What the system refuses.
pub fn hand_over(out: Option<&Path>, bytes: &[u8]) -> Result<(), Fault> {
    match out {
        Some(path) => write_new(path, 0o644, bytes),
        None => {
            let mut stdout = std::io::stdout().lock();
            let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
            written.map_err(|error| Fault::of("it cannot be written", &error, "name a file with --out"))
        }
    }
}

/// The language as the maker of papers has it.
#[must_use]
pub fn language(wanted: ReportLanguage) -> Language {
    match wanted {
        ReportLanguage::En => Language::En,
        ReportLanguage::De => Language::De,
    }
}

/// A text as it may stand in a path or a query (RFC 3986).
#[must_use]
pub fn in_query(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_commands_of_the_manual_parse() {
        let job = "0193a5c2-7d1e-7c3a-9b44-1f0a6d2e8c55";
        for line in [
            &format!("job report {job} --format pdf --language de --out r.pdf") as &str,
            &format!("job report {job}"),
            "drill report drl-1 --out r.html",
            "drill report drl-1 --format csv",
            "zone report --format pdf --out zones.pdf",
            "zone report --zone packing-hmi --format json",
            "zone components --language de",
            "zone assess --zones z --log l --key k --form pdf --language de --out z.pdf",
            "csms report --month 2026-11 --format pdf --out m.pdf",
            "csms pack --month 2026-11 --out month.gsp",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for wrong in [
            "csms report",
            "csms pack --month 2026-11",
            "zone report --format docx",
            "drill report d --language fr",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(wrong.split(' ')));
            assert!(parsed.is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_asked_for_stays_one_word_of_a_query() {
        assert_eq!(in_query("packing-hmi.2"), "packing-hmi.2");
        assert_eq!(in_query("a&b=ü /"), "a%26b%3D%C3%BC%20%2F");
    }
}
