//! The report of one recovery: how long each part took and on whom it depended, what was written, what was proven, and every entry of the log about it.
//!
//! It holds facts of one job and judges nothing but whether the endpoint came back. Of a rehearsal it carries the frame of a drill.

use serde::{Deserialize, Serialize};

use super::{EvidenceRef, Seal, paper, waterfall::waterfall, words};
use crate::{
    measure::{self, PhaseTiming},
    paper::{Block, Language, Paper, Style, Text, Tone, columns},
};

/// The schema of its JSON form.
pub const RECOVERY_SCHEMA: &str = "recovery-report/v1";

/// A recovery, as an appliance saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecoveryReport {
    /// [`RECOVERY_SCHEMA`].
    pub schema: String,
    /// The site's name.
    pub site: String,
    /// Which appliance and version.
    pub appliance: String,
    /// When this was written, milliseconds since 1970.
    pub written_at_ms: u64,
    /// The job.
    pub job: String,
    /// The endpoint.
    pub endpoint: String,
    /// It was a rehearsal.
    pub rehearsal: bool,
    /// What asked for it, and why.
    pub asked_by: String,
    /// Where it stands, in a word: `recovered`, `held`, `failed`, …
    pub state: String,
    /// What is happening or what happened.
    pub what: String,
    /// What a person should do now; empty when nothing.
    pub what_now: String,
    /// The golden image, for people.
    pub image_name: String,
    /// Its digest.
    pub image: String,
    /// When it was asked for.
    pub asked_at_ms: u64,
    /// When it was over.
    pub over_at_ms: Option<u64>,
    /// Its phases, each with whom it depended on.
    pub timings: Vec<PhaseTiming>,
    /// What was written, erased and read back, by name.
    pub written: Vec<(String, String)>,
    /// What was proven.
    pub proofs: Vec<Entry>,
    /// What became of its identity.
    pub identity: Vec<Entry>,
    /// Everything in the log about it, in order.
    pub timeline: Vec<Entry>,
    /// Where that stands in the log.
    pub evidence: Vec<EvidenceRef>,
    /// The state of the log when this was written.
    pub seal: Seal,
}

/// One entry of the evidence log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What kind of fact.
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// Its facts in a line.
    pub what: String,
}

impl RecoveryReport {
    /// The report, ready to be laid out.
    #[must_use]
    pub fn paper(&self) -> Paper {
        let mut blocks = vec![self.head(), self.outcome(), Block::Chapter("How long it took".into())];
        blocks.extend(self.times());
        blocks.push(Block::Chapter("What was written".into()));
        blocks.push(if self.written.is_empty() {
            Block::Said("Nothing was reported as written in this job.".into())
        } else {
            Block::Facts(self.written.iter().map(|(name, what)| (name.clone(), what.into())).collect())
        });
        blocks.push(Block::Chapter("What was proven".into()));
        blocks.push(listed(&self.proofs, "Nothing was proven in this job: nothing that runs on this endpoint is known to be its golden image."));
        blocks.push(Block::Chapter("Its identity".into()));
        blocks.push(listed(&self.identity, "No identity was issued, revoked or refused in this job."));
        blocks.push(Block::Chapter("Timeline".into()));
        blocks.push(listed(&self.timeline, "The log holds nothing about this job."));
        blocks.push(Block::Chapter("Evidence".into()));
        if !self.evidence.is_empty() {
            blocks.push(paper::evidence_table(&self.evidence));
        }
        blocks.extend(paper::how_to_verify(&self.seal));
        blocks.push(Block::Note("This report says nothing of whether what the golden image does is right, of other endpoints, or of what happened to this one before it was asked for.".into()));
        Paper {
            language: Language::En,
            title: format!("Recovery of {} ({})", self.endpoint, self.job),
            foot: format!(
                "Recovery of {}, {}, written {}.",
                self.endpoint,
                self.site,
                words::moment(self.written_at_ms)
            ),
            frame: self.rehearsal.then(|| "DRILL".to_owned()),
            written_at_ms: self.written_at_ms,
            blocks,
        }
    }

    fn head(&self) -> Block {
        Block::Head {
            kind: format!(
                "Recovery report · {} · {}",
                if self.rehearsal { "rehearsal" } else { "real" },
                self.site
            ),
            title: format!("Recovery of {}", self.endpoint),
            lead: Text::default(),
            facts: vec![
                ("Job".into(), Text::code(self.job.as_str()).and(format!(", by {}", self.appliance))),
                (
                    "Asked for".into(),
                    format!("{}, {}", words::moment(self.asked_at_ms), self.asked_by).into(),
                ),
                ("Over".into(), self.over_at_ms.map_or("not yet".into(), words::moment).into()),
                (
                    "Golden image".into(),
                    Text::from(format!("{}\n", self.image_name)).then(Style::Code, self.image.as_str()),
                ),
                ("Report written".into(), words::moment(self.written_at_ms).into()),
            ],
        }
    }

    fn outcome(&self) -> Block {
        let tone = match self.state.as_str() {
            "recovered" | "captured" => Tone::Good,
            "failed" => Tone::Bad,
            "cancelled" => Tone::Plain,
            _ => Tone::Partly,
        };
        let said = [&self.what, &self.what_now].into_iter().filter(|said| !said.is_empty());
        Block::Outcome {
            tone,
            word: capital(&self.state),
            said: said.map(|said| Text::prose(said)).collect(),
        }
    }

    fn times(&self) -> Vec<Block> {
        let measured = measure::measure(&self.timings);
        let came_back = self.state == "recovered";
        let reached = |ms: Option<u64>| ms.filter(|_| came_back).map_or("not reached".into(), words::length);
        let row = |timing: &PhaseTiming| {
            vec![
                (&timing.label).into(),
                timing.actor.label().into(),
                words::clock(timing.from_ms).into(),
                words::length(timing.took_ms()).into(),
            ]
        };
        let mut blocks = vec![Block::Facts(vec![
            (
                "RTO of service".into(),
                format!("{}, from declared to released", reached(measured.service_rto_ms)).into(),
            ),
            (
                "RTO by machines".into(),
                format!("of it {}, from triggered to proven", reached(measured.machine_rto_ms)).into(),
            ),
        ])];
        blocks.extend(waterfall(&self.endpoint, &self.timings, None).map(Block::Figure));
        blocks.push(Block::Table {
            columns: columns(["Phase", "It depended on", "#Began (UTC)", "#Took"]),
            rows: self.timings.iter().map(row).collect(),
        });
        blocks
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn listed(entries: &[Entry], none: &str) -> Block {
    if entries.is_empty() {
        return Block::Said(none.into());
    }
    let row = |entry: &Entry| {
        vec![
            entry.seq.to_string().into(),
            words::clock(entry.at_ms).into(),
            Text::of(Style::Bold, entry.kind.as_str()),
            (&entry.actor).into(),
            (&entry.what).into(),
        ]
    };
    Block::Table {
        columns: columns(["#Entry", "#UTC", "Kind", "Who", "Facts"]),
        rows: entries.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Actor, Phase};

    fn report(state: &str) -> RecoveryReport {
        let phase = |phase, from_ms, to_ms, actor| PhaseTiming {
            phase,
            label: String::from("a part"),
            from_ms,
            to_ms,
            actor,
        };
        RecoveryReport {
            schema: RECOVERY_SCHEMA.into(),
            endpoint: "press-01".into(),
            state: state.into(),
            timings: vec![
                phase(Phase::Declare, 0, 1_000, Actor::Human),
                phase(Phase::Write, 1_000, 61_000, Actor::Machine),
                phase(Phase::Attest, 61_000, 62_000, Actor::Machine),
                phase(Phase::Release, 62_000, 63_000, Actor::Machine),
            ],
            ..RecoveryReport::default()
        }
    }

    #[test]
    fn only_what_came_back_has_a_recovery_time() {
        let page = |state| report(state).paper().html();
        assert!(page("recovered").contains("1 min 03 s, from declared to released"));
        for other in ["failed", "held", "cancelled"] {
            assert!(page(other).contains("not reached, from declared to released"), "{other}");
        }
        assert!(
            page("failed").contains("nothing that runs on this endpoint is known to be its golden image")
        );
        assert!(!page("recovered").contains("<b>DRILL</b>"));
        assert!(
            RecoveryReport { rehearsal: true, ..report("recovered") }.paper().html().contains("<b>DRILL</b>")
        );
    }

    #[test]
    fn it_is_a_pdf_and_its_json_reads_back() {
        assert!(report("recovered").paper().pdf().unwrap().starts_with(b"%PDF"));
        let json = serde_json::to_string(&report("held")).unwrap();
        assert_eq!(serde_json::from_str::<RecoveryReport>(&json).unwrap(), report("held"));
    }
}
