//! The evidence pack of a drill: its report, its runbook, what the log says of its recoveries, and the proof of all of it ([`pack`]).

use std::collections::BTreeMap;

use recovery_protocol::{
    Problem,
    evidence::{Entry, Line, pack},
    operator::Mode,
    report::ReportForm,
};
use runbooks::paper::Language;
use serde_json::json;

use super::{Drills, Kept};
use crate::{
    reports::{Made, Wanted, how_to},
    service::Actor,
};

impl Drills {
    /// The pack of a drill that is over. That it was made, and with what in it, is itself an entry of the log: that entry is its seal.
    ///
    /// # Errors
    /// 404 `unknown-drill`; 409 `drill-not-over` or `pack-too-large`, or what the service refuses.
    pub async fn pack(&self, actor: &Actor, drill: &str) -> Result<Vec<u8>, Problem> {
        let kept = self.find(drill)?;
        if !matches!(kept.record.stage, runbooks::run::Stage::Over { .. }) {
            let remedy = "wait until it is over, or stop it with `groundstate drill abort`";
            let detail = "a pack of half a drill would be taken for the whole".to_owned();
            return Err(Problem::new(409, "drill-not-over", "This drill still runs", detail, remedy));
        }
        let files = self.files(&kept).await?;
        pack::fits(&files).map_err(|why| {
            let remedy = "export the evidence log instead: `groundstate evidence export`";
            Problem::new(409, "pack-too-large", "This drill is too large for a pack", why.to_string(), remedy)
        })?;
        let told = pack::sha256(pack::manifest(&files).as_bytes());
        let facts = json!({ "drill": drill, "manifest_sha256": told, "files": files.len() });
        let proof = self.0.service.note_proven(pack::KIND, actor, Mode::Drill, facts).await?;
        Ok(pack::write(&files, &proof))
    }

    async fn files(&self, kept: &Kept) -> Result<BTreeMap<String, Vec<u8>>, Problem> {
        let service = &self.0.service;
        let report = self.report_of(kept, Language::En).await?;
        let unwritten = |error: serde_json::Error| {
            let remedy = "export the evidence log instead, and report this";
            Problem::new(500, "pack-not-written", "The pack could not be written", error.to_string(), remedy)
        };
        let mut files = BTreeMap::new();
        for (language, word) in [(Language::En, ""), (Language::De, "de.")] {
            let report = self.report_of(kept, language).await?;
            for form in [ReportForm::Html, ReportForm::Pdf] {
                let wanted = Wanted { form, ..Wanted::default() };
                let made = Made::of(wanted, "report", || report.paper(), &report, || report.csv())?;
                files.insert(format!("report.{word}{form}"), made.bytes);
            }
        }
        let mut add = |name: &str, text: String| files.insert(name.to_owned(), text.into_bytes());
        add(pack::HOW_TO, how_to(&service.evidence_key().verifier_key, "drill.gsp"));
        add("report.json", report.json().map_err(unwritten)?);
        add("report.csv", report.csv());
        add("runbook.yaml", kept.record.runbook.source.clone());
        add("run.json", serde_json::to_string_pretty(&kept.record).map_err(unwritten)?);
        let mut seqs = Vec::new();
        for (_, job) in &kept.jobs {
            let lines = service.job_evidence(*job).await?;
            seqs.extend(lines.iter().filter_map(|line| seq_of(line)));
            add(&format!("evidence/{job}.jsonl"), lines.iter().map(|line| format!("{line}\n")).collect());
        }
        for (seq, proof) in service.proofs(&seqs).await? {
            add(&format!("proofs/{seq}.tlog-proof"), proof);
        }
        Ok(files)
    }
}

fn seq_of(line: &str) -> Option<u64> {
    let line = Line::parse(line).ok()?;
    Some(serde_json::from_str::<Entry>(line.text()?).ok()?.seq)
}
