//! A month for the security programme (CSMS), and its pack: reports, the owner's file, the entries on which they rest, and the proof of all of it ([`pack`]).

use std::collections::BTreeMap;

use recovery_protocol::{
    Problem,
    evidence::pack,
    operator::Mode,
    report::{ReportForm, ReportLanguage},
};
use runbooks::{
    assess::{
        month::{Month, MonthReport},
        page,
    },
    paper::Language,
};
use serde_json::json;

use super::{Made, Reports, Wanted, how_to, site};
use crate::service::Actor;

impl Reports<'_> {
    /// A month (`2026-11`); of the present one as it stands.
    ///
    /// # Errors
    /// 422 `bad-month`; as [`Reports::zones`].
    pub async fn month(&self, month: &str, wanted: Wanted) -> Result<Made, Problem> {
        let month = self.month_of(month)?;
        let grounds = self.grounds().await?;
        let report = self.month_report(&grounds, month, wanted.language());
        Made::of(
            wanted,
            format!("csms-{month}"),
            || report.paper(wanted.language()),
            &report,
            || report.csv(),
        )
    }

    /// The pack of a month. That it was made, and with what in it, is itself an entry of the log: that entry is its seal.
    ///
    /// # Errors
    /// As [`Reports::month`]; 409 `pack-too-large`.
    pub async fn month_pack(&self, actor: &Actor, month: &str) -> Result<Vec<u8>, Problem> {
        let month = self.month_of(month)?;
        let files = self.month_files(month).await?;
        pack::fits(&files).map_err(|why| {
            let remedy = "hand over the report and the whole log instead: `groundstate csms report` and `groundstate evidence export`";
            Problem::new(409, "pack-too-large", "This month is too large for a pack", why.to_string(), remedy)
        })?;
        let told = pack::sha256(pack::manifest(&files).as_bytes());
        let facts = json!({ "month": month, "manifest_sha256": told, "files": files.len() });
        let proof = self.service.note_proven(pack::KIND, actor, Mode::Real, facts).await?;
        Ok(pack::write(&files, &proof))
    }

    fn month_of(&self, text: &str) -> Result<Month, Problem> {
        let bad = |why: String| {
            let remedy = "name a month that has begun, as 2026-10";
            Problem::new(422, "bad-month", "There is no report of this month", why, remedy)
        };
        let month: Month = text.parse().map_err(bad)?;
        let (from_ms, _) = month.bounds_ms();
        if from_ms > self.service.now() { Err(bad(format!("{month} has not begun"))) } else { Ok(month) }
    }

    fn month_report(&self, grounds: &site::Grounds, month: Month, language: Language) -> MonthReport {
        let seen = grounds.seen.said(language);
        MonthReport::of(
            (&grounds.zones, &grounds.catalogue, &grounds.mapping),
            (&grounds.facts, &seen),
            month,
            self.service.now(),
        )
    }

    async fn month_files(&self, month: Month) -> Result<BTreeMap<String, Vec<u8>>, Problem> {
        let mut files = BTreeMap::new();
        let key = self.service.evidence_key().verifier_key;
        files.insert(pack::HOW_TO.to_owned(), how_to(&key, "csms.gsp").into_bytes());
        let grounds = self.grounds().await?;
        let mut add = |name: String, made: Made| files.insert(name, made.bytes);
        for language in [ReportLanguage::En, ReportLanguage::De] {
            for form in [ReportForm::Html, ReportForm::Pdf] {
                let wanted = Wanted { form, language };
                let report = self.month_report(&grounds, month, wanted.language());
                let seen = grounds.seen.said(wanted.language());
                let about = site::about(&grounds, &seen, report.as_of_ms, wanted.language());
                let paper = || report.paper(wanted.language());
                add(format!("report.{language}.{form}"), Made::of(wanted, "", paper, &report, String::new)?);
                let zones = || page::paper(&about, &report.zones);
                add(format!("zones.{language}.{form}"), Made::of(wanted, "", zones, &report, String::new)?);
            }
        }
        let report = self.month_report(&grounds, month, Language::En);
        for form in [ReportForm::Json, ReportForm::Csv] {
            let wanted = Wanted { form, ..Wanted::default() };
            let paper = || report.paper(Language::En);
            add(format!("report.{form}"), Made::of(wanted, "", paper, &report, || report.csv())?);
        }
        let sheet = Wanted { form: ReportForm::Csv, ..Wanted::default() };
        add("components.csv".to_owned(), self.components(sheet).await?);
        files.insert("zones.csv".to_owned(), page::csv(&report.zones).into_bytes());
        files.insert("zones.yaml".to_owned(), grounds.text.clone().into_bytes());
        let mut texts = String::new();
        for (seq, proof) in self.service.proofs(&report.entries()).await? {
            if let Some(text) = self.service.evidence_text(seq).await? {
                texts += &format!("{text}\n");
            }
            files.insert(format!("proofs/{seq}.tlog-proof"), proof.into_bytes());
        }
        files.insert("evidence/entries.jsonl".to_owned(), texts.into_bytes());
        Ok(files)
    }
}
