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
    /// The language of its own sentences.
    #[serde(default)]
    pub language: Language,
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
    /// The report, ready to be laid out in its language.
    #[must_use]
    pub fn paper(&self) -> Paper {
        let l = self.language;
        let mut blocks = vec![
            self.head(),
            self.outcome(),
            Block::Chapter(l.pick("How long it took", "Wie lange es dauerte").into()),
        ];
        blocks.extend(self.times());
        blocks.push(Block::Chapter(l.pick("What was written", "Was geschrieben wurde").into()));
        blocks.push(if self.written.is_empty() {
            let none = l.pick(
                "Nothing was reported as written in this job.",
                "In diesem Auftrag wurde nichts als geschrieben gemeldet.",
            );
            Block::Said(none.into())
        } else {
            Block::Facts(self.written.iter().map(|(name, what)| (name.clone(), what.into())).collect())
        });
        blocks.push(Block::Chapter(l.pick("What was proven", "Was bewiesen wurde").into()));
        blocks.push(self.listed(&self.proofs, l.pick(
            "Nothing was proven in this job: nothing that runs on this endpoint is known to be its golden image.",
            "In diesem Auftrag wurde nichts bewiesen: von nichts, was auf diesem Endgerät läuft, ist bekannt, dass es sein Golden Image ist.",
        )));
        blocks.push(Block::Chapter(l.pick("Its identity", "Seine Identität").into()));
        blocks.push(self.listed(
            &self.identity,
            l.pick(
                "No identity was issued, revoked or refused in this job.",
                "In diesem Auftrag wurde keine Identität ausgestellt, widerrufen oder verweigert.",
            ),
        ));
        blocks.push(Block::Chapter(l.pick("Timeline", "Ablauf").into()));
        blocks.push(self.listed(
            &self.timeline,
            l.pick("The log holds nothing about this job.", "Das Protokoll weiß nichts von diesem Auftrag."),
        ));
        blocks.push(Block::Chapter(l.pick("Evidence", "Nachweise").into()));
        if !self.evidence.is_empty() {
            blocks.push(paper::evidence_table(l, &self.evidence));
        }
        blocks.extend(paper::how_to_verify(l, &self.seal));
        blocks.push(Block::Note(l.pick(
            "This report says nothing of whether what the golden image does is right, of other endpoints, or of what happened to this one before it was asked for.",
            "Dieser Bericht sagt nicht, ob richtig ist, was das Golden Image tut, nichts von anderen Endgeräten und nichts davon, was mit diesem geschah, bevor der Auftrag kam.",
        ).into()));
        let (endpoint, site, written) = (&self.endpoint, &self.site, words::moment(self.written_at_ms));
        Paper {
            language: l,
            title: format!("{} ({})", self.title(), self.job),
            foot: l.pick(
                format!("Recovery of {endpoint}, {site}, written {written}."),
                format!("Wiederherstellung von {endpoint}, {site}, geschrieben {written}."),
            ),
            frame: self.rehearsal.then(|| l.pick("DRILL", "ÜBUNG").to_owned()),
            written_at_ms: self.written_at_ms,
            blocks,
        }
    }

    /// Its phases as lines of CSV, then every entry of the log about it.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from("kind,name,who,from_unix_ms,took_ms,what\n");
        for timing in &self.timings {
            text.push_str(&words::csv_line(&[
                "phase".into(),
                timing.label.clone(),
                timing.actor.label().into(),
                timing.from_ms.to_string(),
                timing.took_ms().to_string(),
                String::new(),
            ]));
        }
        for entry in &self.timeline {
            text.push_str(&words::csv_line(&[
                "entry".into(),
                entry.kind.clone(),
                entry.actor.clone(),
                entry.at_ms.to_string(),
                String::new(),
                format!("entry {}: {}", entry.seq, entry.what),
            ]));
        }
        text
    }

    fn title(&self) -> String {
        let endpoint = &self.endpoint;
        self.language.pick(format!("Recovery of {endpoint}"), format!("Wiederherstellung von {endpoint}"))
    }

    fn head(&self) -> Block {
        let l = self.language;
        let fact = |en: &str, de: &str, said: Text| (l.pick(en, de).to_owned(), said);
        Block::Head {
            kind: format!(
                "{} · {} · {}",
                l.pick("Recovery report", "Wiederherstellungsbericht"),
                if self.rehearsal { l.pick("rehearsal", "Übung") } else { l.pick("real", "Ernstfall") },
                self.site
            ),
            title: self.title(),
            lead: Text::default(),
            facts: vec![
                fact(
                    "Job",
                    "Auftrag",
                    Text::code(self.job.as_str()).and(format!(
                        ", {} {}",
                        l.pick("by", "durch"),
                        self.appliance
                    )),
                ),
                fact(
                    "Asked for",
                    "Verlangt",
                    format!("{}, {}", words::moment(self.asked_at_ms), self.asked_by).into(),
                ),
                fact(
                    "Over",
                    "Zu Ende",
                    self.over_at_ms.map_or(l.pick("not yet", "noch nicht").into(), words::moment).into(),
                ),
                fact(
                    "Golden image",
                    "Golden Image",
                    Text::from(format!("{}\n", self.image_name)).then(Style::Code, self.image.as_str()),
                ),
                fact("Report written", "Bericht geschrieben", words::moment(self.written_at_ms).into()),
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
        let de = match self.state.as_str() {
            "recovered" => "wiederhergestellt",
            "captured" => "gesichert",
            "failed" => "gescheitert",
            "cancelled" => "abgebrochen",
            "held" => "angehalten",
            "working" => "läuft",
            other => other,
        };
        let said = [&self.what, &self.what_now].into_iter().filter(|said| !said.is_empty());
        Block::Outcome {
            tone,
            word: capital(self.language.pick(&self.state, de)),
            said: said.map(|said| Text::prose(said)).collect(),
        }
    }

    fn times(&self) -> Vec<Block> {
        let l = self.language;
        let measured = measure::measure(&self.timings);
        let came_back = self.state == "recovered";
        let reached = |ms: Option<u64>| {
            let not = || l.pick("not reached", "nicht erreicht").to_owned();
            ms.filter(|_| came_back).map_or_else(not, words::length)
        };
        let (service, machine) = (reached(measured.service_rto_ms), reached(measured.machine_rto_ms));
        let row = |timing: &PhaseTiming| {
            vec![
                (&timing.label).into(),
                words::actor(l, timing.actor).into(),
                words::clock(timing.from_ms).into(),
                words::length(timing.took_ms()).into(),
            ]
        };
        let mut blocks = vec![Block::Facts(vec![
            (
                l.pick("RTO of service", "RTO des Dienstes").into(),
                l.pick(
                    format!("{service}, from declared to released"),
                    format!("{service}, vom Ausrufen bis zur Freigabe"),
                )
                .into(),
            ),
            (
                l.pick("RTO by machines", "RTO der Maschinen").into(),
                l.pick(
                    format!("of it {machine}, from triggered to proven"),
                    format!("davon {machine}, vom Auslösen bis zum Beweis"),
                )
                .into(),
            ),
        ])];
        blocks.extend(waterfall(l, &self.endpoint, &self.timings, None).map(Block::Figure));
        blocks.push(Block::Table {
            columns: columns(l.pick(
                ["Phase", "It depended on", "#Began (UTC)", "#Took"],
                ["Phase", "Es hing ab von", "#Beginn (UTC)", "#Dauer"],
            )),
            rows: self.timings.iter().map(row).collect(),
        });
        blocks
    }

    fn listed(&self, entries: &[Entry], none: &str) -> Block {
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
            columns: columns(self.language.pick(
                ["#Entry", "#UTC", "Kind", "Who", "Facts"],
                ["#Eintrag", "#UTC", "Art", "Wer", "Tatsachen"],
            )),
            rows: entries.iter().map(row).collect(),
        }
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
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
    fn in_german_none_of_its_own_sentences_is_english() {
        let mut german = RecoveryReport { language: Language::De, rehearsal: true, ..report("recovered") };
        german.timings.iter_mut().for_each(|timing| timing.label = "ein Teil".into());
        let page = german.paper().html();
        for wanted in [
            "lang=\"de\"",
            "<b>ÜBUNG</b>",
            "Wiederhergestellt",
            "vom Ausrufen bis zur Freigabe",
            "Wie sich dieser Bericht prüfen lässt",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        for english in [" the ", " of ", "DRILL", "people"] {
            let body = &page[page.find("<body").unwrap()..];
            assert!(!body.contains(english), "{english}: {body}");
        }
    }

    #[test]
    fn it_is_a_pdf_and_its_json_reads_back() {
        assert!(report("recovered").paper().pdf().unwrap().starts_with(b"%PDF"));
        let csv = report("recovered").csv();
        assert_eq!(csv.lines().count(), 5, "{csv}");
        assert!(csv.contains("phase,a part,people,0,1000,"), "{csv}");
        let json = serde_json::to_string(&report("held")).unwrap();
        assert_eq!(serde_json::from_str::<RecoveryReport>(&json).unwrap(), report("held"));
    }
}
