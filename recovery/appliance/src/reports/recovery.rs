//! The report of one recovery: its phases, what it wrote, what it proved, and every entry of the log about it.

use recovery_protocol::{
    JobId, Problem,
    evidence::{self, Line},
    job::JobState,
    operator::{JobView, Mode},
};
use runbooks::{
    paper::Language,
    report::{
        EvidenceRef, Seal,
        recovery::{Entry, RECOVERY_SCHEMA, RecoveryReport},
    },
};
use serde_json::Value;

use super::{Made, Reports, Wanted, timings};

impl Reports<'_> {
    /// The report of a job, as it stands now.
    ///
    /// # Errors
    /// 404 `unknown-job`; what the service refuses.
    pub async fn recovery(&self, job: JobId, wanted: Wanted) -> Result<Made, Problem> {
        let report = self.recovery_report(job, wanted.language()).await?;
        let name = format!("recovery-{}-{}", report.endpoint, report.job);
        Made::of(wanted, name, || report.paper(), &report, || report.csv())
    }

    async fn recovery_report(&self, job: JobId, language: Language) -> Result<RecoveryReport, Problem> {
        let view = self.service.job(job).await?;
        let lines = self.service.job_evidence(job).await?;
        let now_ms = self.service.now();
        let timeline: Vec<Entry> = lines.iter().filter_map(|line| entry(line)).collect();
        let of_kind = |beginning: &str| -> Vec<Entry> {
            timeline.iter().filter(|entry| entry.kind.starts_with(beginning)).cloned().collect()
        };
        let what = language.pick(format!("job {job}"), format!("Auftrag {job}"));
        Ok(RecoveryReport {
            schema: RECOVERY_SCHEMA.to_owned(),
            language,
            site: self.config.site.to_string(),
            appliance: Self::appliance(),
            written_at_ms: now_ms,
            job: job.to_string(),
            endpoint: view.endpoint.to_string(),
            rehearsal: view.mode == Mode::Drill,
            asked_by: match view.reason.as_str() {
                "" => view.trigger.clone(),
                reason => format!("{}: {reason}", view.trigger),
            },
            state: state(&view.state).to_owned(),
            what: view.what.clone(),
            what_now: view.what_now.clone(),
            image_name: view.image_name.clone(),
            image: view.image.to_string(),
            asked_at_ms: view.asked_unix_ms,
            over_at_ms: view.over_unix_ms,
            timings: timings(&view, language, now_ms),
            written: written(&view, language),
            proofs: of_kind("proof."),
            identity: of_kind("identity."),
            evidence: stretch(what, &lines).into_iter().collect(),
            timeline,
            seal: self.seal().await?,
        })
    }

    /// The state of the log now, signed.
    pub(super) async fn seal(&self) -> Result<Seal, Problem> {
        let signed = self.service.evidence_checkpoint().await?;
        Ok(Seal {
            seq: signed.size(),
            hash: hex::encode(signed.root()),
            key_ed25519: self.service.evidence_key().ed25519,
            checkpoint: signed.note().to_owned(),
        })
    }
}

fn state(state: &JobState) -> &'static str {
    match state {
        JobState::Working { .. } => "working",
        JobState::Held { .. } => "held",
        JobState::Recovered => "recovered",
        JobState::Captured => "captured",
        JobState::Cancelled { .. } => "cancelled",
        JobState::Failed { .. } => "failed",
    }
}

/// A size as people read it: `812 B`, `4.1 MiB`.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

/// What was written, erased and read back, by name.
fn written(view: &JobView, language: Language) -> Vec<(String, String)> {
    let mut written: Vec<(&str, String)> = Vec::new();
    if let Some(health) = &view.disk_health {
        written.push((language.pick("Disk before", "Datenträger davor"), health.to_string()));
    }
    if let Some(erased) = &view.erased {
        written.push((language.pick("Erased", "Gelöscht"), erased.to_string()));
    }
    if let Some(plan) = &view.plan {
        written.push((language.pick("Golden image", "Golden Image"), size(plan.image_bytes)));
        written.push((language.pick("Kept as it was", "Blieb, wie es war"), size(plan.keep_bytes)));
        if plan.preserve_bytes > 0 {
            written.push((language.pick("Preserved", "Bewahrt"), size(plan.preserve_bytes)));
        }
    }
    if let Some(restore) = &view.restore {
        written.push((language.pick("Over the network", "Über das Netz"), size(restore.wire_bytes)));
        written.push((language.pick("Written", "Geschrieben"), size(restore.written_bytes)));
        written.push((language.pick("Zeroed", "Genullt"), size(restore.zeroed_bytes)));
        written.push((
            language.pick("Read back and compared", "Zurückgelesen und verglichen"),
            size(restore.read_back_bytes),
        ));
    }
    if let Some(captured) = &view.captured {
        written.push((
            language.pick("Read into the store", "In den Speicher gelesen"),
            size(captured.data_bytes),
        ));
    }
    written.into_iter().map(|(name, what)| (name.to_owned(), what)).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let entry = evidence::entry(line)?;
    Some(Entry {
        seq: entry.seq,
        at_ms: entry.at_unix_ms,
        kind: entry.kind,
        actor: entry.actor,
        what: facts(&entry.facts),
    })
}

/// The facts of an entry in a line; a transition as the two stages.
fn facts(facts: &serde_json::Map<String, Value>) -> String {
    let stage = |name: &str| {
        let state = facts.get(name)?;
        let word = state.get("stage").or_else(|| state.get("is"))?.as_str()?;
        Some(if state.get("is")? == word {
            word.to_owned()
        } else {
            format!("{word} ({})", state["is"].as_str()?)
        })
    };
    if let (Some(from), Some(to)) = (stage("from"), stage("to")) {
        return format!("{from} → {to}");
    }
    let short = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let said: Vec<String> =
        facts.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), short(value))).collect();
    said.join("; ")
}

/// Where lines of one job stand in the evidence log; `None`: there are none.
pub fn stretch(what: String, lines: &[String]) -> Option<EvidenceRef> {
    let mut entries = lines.iter().filter_map(|line| numbered(line));
    let (first, first_hash) = entries.next()?;
    let (last, hash) = entries.next_back().unwrap_or((first, first_hash));
    Some(EvidenceRef { what, seq_first: first, seq_last: last, hash })
}

fn numbered(line: &str) -> Option<(u64, String)> {
    let hash = match Line::parse(line).ok()? {
        Line::Leaf { hash, .. } => hex::encode(hash),
        Line::Chained { hash, .. } => hash.into_owned(),
        Line::Signed(_) | Line::ChainSigned { .. } => return None,
    };
    Some((evidence::entry(line)?.seq, hash))
}
