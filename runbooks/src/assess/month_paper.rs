//! A month on paper, in English or German. What people and the log wrote stays as it was written, and so do the words of the catalogue.

use super::{
    elsewhere,
    month::{Ended, MonthReport, Stands, Waiver},
    page::{not_assessable, to_do, vectors, verdict},
    readiness::{By, Due},
    zone::Standing,
};
use crate::{
    paper::{Block, Language, Paper, Style, Text, Tone, columns},
    report::words,
};

impl MonthReport {
    /// The month, ready to be laid out.
    #[must_use]
    pub fn paper(&self, language: Language) -> Paper {
        let say = |en: &str, de: &str| language.pick(en, de).to_owned();
        let mut blocks = vec![self.head(language)];
        blocks.extend(self.readiness(language));
        blocks.extend(self.recoveries(language));
        blocks.extend(self.levels(language));
        blocks.extend(self.waivers_of(language));
        blocks.extend(not_assessable(language));
        blocks.extend(elsewhere::blocks(language));
        blocks.push(Block::Part(say("By requirement", "Nach Anforderung").into()));
        blocks.push(self.crosswalk());
        blocks.push(self.signing(language));
        Paper {
            language,
            title: format!(
                "{} {}, {}",
                say("Security programme", "Sicherheitsprogramm"),
                self.month,
                self.site
            ),
            foot: format!(
                "{}, {}, {} {}. {}",
                self.site,
                self.month,
                say("written", "geschrieben"),
                words::moment(self.written_at_ms),
                say("It supports an assessment and is none.", "Es stützt eine Beurteilung und ist keine.")
            ),
            frame: None,
            written_at_ms: self.written_at_ms,
            blocks,
        }
    }

    fn head(&self, language: Language) -> Block {
        let say = |en: &str, de: &str| language.pick(en, de).to_owned();
        let digest = |text: String, digest: &str| Text::from(text).then(Style::Code, digest);
        Block::Head {
            kind: say("CSMS · month", "CSMS · Monat") + " · IEC 62443-2-1",
            title: format!("{} {}", self.site, self.month),
            lead: say(
                "What the evidence log and the owner's declarations show of this month. Levels are intervals: the first figure is shown, the second might be. Nothing is averaged.",
                "Was das Protokoll der Nachweise und die Erklärungen des Betreibers von diesem Monat zeigen. Level sind Spannen: die erste Zahl ist gezeigt, die zweite möglich. Nichts wird gemittelt.",
            )
            .into(),
            facts: vec![
                (say("As it stood", "Stand"), words::moment(self.as_of_ms).into()),
                (say("Evidence", "Nachweise"), (&self.evidence).into()),
                (say("Catalogue", "Katalog"), digest(format!("{}, ", self.catalogue.0), &self.catalogue.1)),
                (say("Mapping", "Zuordnung"), digest(format!("{} {}, ", say("version", "Version"), self.mapping.0), &self.mapping.1)),
            ],
        }
    }

    fn readiness(&self, language: Language) -> Vec<Block> {
        let (all, proven) = self.board.hardware;
        let said = language.pick(
            format!("{proven} of {all} endpoints on hardware came back lately enough."),
            format!("{proven} von {all} Endgeräten auf Hardware sind in ihrer Frist zurückgekommen."),
        );
        let due = |due: Due| match due {
            Due::Never => Text::word(Tone::Bad, language.pick("never proven", "nie bewiesen")),
            Due::Overdue => Text::word(Tone::Bad, language.pick("overdue", "überfällig")),
            Due::Soon => Text::word(Tone::Partly, language.pick("due soon", "bald fällig")),
            Due::Fine => Text::word(Tone::Good, language.pick("proven", "bewiesen")),
        };
        let by = |last: Option<(u64, By, u64)>| match last {
            None => Text::from("–"),
            Some((at_ms, by, entry)) => {
                let by = match by {
                    By::Recovery => language.pick("recovery", "Wiederherstellung"),
                    By::Drill => language.pick("drill", "Übung"),
                    By::Virtual => language.pick("virtual", "virtuell"),
                };
                format!("{} {by}, {} {entry}", words::day(at_ms), language.pick("entry", "Eintrag")).into()
            }
        };
        let day = |ms: Option<u64>| ms.map_or("–".to_owned(), words::day).into();
        let mut rows: Vec<Vec<Text>> = Vec::new();
        for one in &self.board.endpoints {
            let place = words::place(language, one.place);
            rows.push(vec![
                one.endpoint.as_str().into(),
                (&one.zone).into(),
                place.into(),
                due(one.due),
                by(one.last),
                day(one.due_ms),
            ]);
        }
        for one in &self.board.clocks {
            let clock = language.pick("clock of the site", "Uhr des Standorts");
            rows.push(vec![
                (&one.name).into(),
                "–".into(),
                clock.into(),
                due(one.due),
                by(one.last),
                day(one.due_ms),
            ]);
        }
        let overdue = self.overdue();
        let names: Vec<&str> = overdue.iter().map(|(name, _)| name.as_str()).collect();
        let late = if names.is_empty() {
            language.pick("Nothing is overdue.", "Nichts ist überfällig.").to_owned()
        } else {
            format!(
                "{}: {}.",
                language.pick("Overdue or never proven", "Überfällig oder nie bewiesen"),
                names.join(", ")
            )
        };
        vec![
            Block::Chapter(language.pick("Readiness", "Bereitschaft").into()),
            Block::Said(said.into()),
            Block::Said(late.into()),
            Block::Table {
                columns: columns(language.pick(
                    ["endpoint or clock", "zone", "place", "", "last", "due"],
                    ["Endgerät oder Uhr", "Zone", "Ort", "", "zuletzt", "fällig"],
                )),
                rows,
            },
        ]
    }

    fn recoveries(&self, language: Language) -> Vec<Block> {
        let mut blocks = vec![Block::Chapter(
            language.pick("Recoveries and drills", "Wiederherstellungen und Übungen").into(),
        )];
        if self.ended.is_empty() {
            blocks.push(Block::Said(
                language.pick("None ended in this month.", "Keine endete in diesem Monat.").into(),
            ));
            return blocks;
        }
        let row = |one: &Ended| {
            let what = if one.drill {
                language.pick("drill", "Übung")
            } else {
                language.pick("recovery", "Wiederherstellung")
            };
            let went = if one.came_back {
                Text::word(Tone::Good, language.pick("came back", "zurückgekommen"))
            } else {
                Text::word(Tone::Bad, language.pick("failed", "gescheitert"))
            };
            let place = one
                .place
                .map_or(language.pick("in no zone", "in keiner Zone"), |at| words::place(language, at));
            vec![
                words::moment(one.at_ms).into(),
                one.endpoint.as_str().into(),
                place.into(),
                what.into(),
                went,
                one.entry.to_string().into(),
            ]
        };
        blocks.push(Block::Table {
            columns: columns(language.pick(
                ["ended", "endpoint", "place", "", "", "#entry"],
                ["beendet", "Endgerät", "Ort", "", "", "#Eintrag"],
            )),
            rows: self.ended.iter().map(row).collect(),
        });
        blocks
    }

    fn levels(&self, language: Language) -> Vec<Block> {
        let row = |one: &Standing| {
            let way: Vec<String> = one.blocking.iter().map(ToString::to_string).collect();
            let span = |low: u8, high: u8| Text::from(format!("{low} – {high}"));
            vec![
                one.fr.word().into(),
                one.target.to_string().into(),
                span(one.evidence.low, one.evidence.high),
                span(one.declared.low, one.declared.high),
                verdict(language, one.verdict),
                if way.is_empty() { "–".into() } else { way.join(", ").into() },
            ]
        };
        let mut blocks = Vec::new();
        for zone in &self.zones {
            blocks.push(Block::Chapter(format!("Zone {}", zone.zone)));
            blocks.push(Block::Figure(vectors(zone, language)));
            blocks.push(Block::Table {
                columns: columns(language.pick(
                    ["", "#aimed at", "#evidence alone", "#with declarations", "", "stands in the way"],
                    ["", "#Ziel", "#nur Nachweise", "#mit Erklärungen", "", "steht im Weg"],
                )),
                rows: zone.standings.iter().map(row).collect(),
            });
            blocks.extend(to_do(language, zone));
            let months = self.trend.get(&zone.zone).map_or(&[][..], Vec::as_slice);
            if months.len() > 1 {
                blocks.push(Block::Part(
                    language.pick("How it stood at each month's end", "Stand an jedem Monatsende").into(),
                ));
                let row = |stood: &super::month::Stood| {
                    let levels = stood.levels.iter().map(|(low, high)| Text::from(format!("{low} – {high}")));
                    std::iter::once(Text::from(stood.month.to_string())).chain(levels).collect()
                };
                let columns = columns([
                    language.pick("month", "Monat"),
                    "#IAC",
                    "#UC",
                    "#SI",
                    "#DC",
                    "#RDF",
                    "#TRE",
                    "#RA",
                ]);
                blocks.push(Block::Table { columns, rows: months.iter().map(row).collect() });
            }
        }
        blocks
    }

    fn waivers_of(&self, language: Language) -> Vec<Block> {
        let row = |one: &Waiver| {
            let stands = match one.stands {
                Stands::Expired => Text::word(Tone::Bad, language.pick("expired", "abgelaufen")),
                Stands::Soon => Text::word(Tone::Partly, language.pick("within 60 days", "in 60 Tagen")),
                Stands::Counts => Text::word(Tone::Good, language.pick("counts", "gilt")),
            };
            let kind = if one.compensates {
                language.pick("compensation", "Ausgleich")
            } else {
                language.pick("declaration", "Erklärung")
            };
            let until = words::day(one.until_ms.saturating_sub(1));
            vec![
                until.into(),
                stands,
                (&one.zone).into(),
                (&one.req).into(),
                kind.into(),
                (&one.what).into(),
                (&one.by).into(),
            ]
        };
        let mut blocks = vec![Block::Chapter(
            language
                .pick(
                    "Declarations and compensations, the first to end first",
                    "Erklärungen und Ausgleiche, was zuerst endet zuerst",
                )
                .into(),
        )];
        blocks.push(if self.waivers.is_empty() {
            Block::Said(language.pick("None.", "Keine.").into())
        } else {
            Block::Table {
                columns: columns(language.pick(
                    ["last day", "", "zone", "requirement", "", "what", "by"],
                    ["letzter Tag", "", "Zone", "Anforderung", "", "was", "von"],
                )),
                rows: self.waivers.iter().map(row).collect(),
            }
        });
        blocks
    }

    fn crosswalk(&self) -> Block {
        let row = |row: &super::evidence::Crosswalk| {
            let lists = [&row.csf_2_0, &row.cip_009_6, &row.nis2_cir, &row.sp_800_53];
            let cells = lists.into_iter().map(|list| list.join(", ").into());
            std::iter::once(Text::of(Style::Bold, row.req.to_string())).chain(cells).collect()
        };
        Block::Table {
            columns: columns(["62443-3-3", "CSF 2.0", "CIP-009-6", "NIS2, (EU) 2024/2690", "SP 800-53"]),
            rows: self.crosswalk.iter().map(row).collect(),
        }
    }

    fn signing(&self, language: Language) -> Block {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Block::Signing {
            title: language.pick("Signed off", "Abgezeichnet").into(),
            boxes: texts(language.pick(
                &["Read.", "Items were agreed. Observations:"],
                &["Gelesen.", "Maßnahmen vereinbart. Bemerkungen:"],
            )),
            heads: language
                .pick(["Part", "Name", "Date", "Signature"], ["Rolle", "Name", "Datum", "Unterschrift"])
                .map(str::to_owned),
            parts: texts(language.pick(&["Owner", "OT security"], &["Betreiber", "OT-Sicherheit"])),
        }
    }

    /// Its rows as CSV: kind, subject, state, until or when, detail.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from("kind,subject,state,at,detail\n");
        let mut add = |cells: [String; 5]| text.push_str(&words::csv_line(&cells));
        for one in &self.ended {
            let state = if one.came_back { "recovered" } else { "failed" };
            let kind = if one.drill { "drill" } else { "recovery" };
            add([
                kind.into(),
                one.endpoint.to_string(),
                state.into(),
                words::moment(one.at_ms),
                format!("entry {}", one.entry),
            ]);
        }
        for one in &self.board.endpoints {
            let until = one.due_ms.map_or_else(String::new, words::moment);
            add([
                "readiness".into(),
                one.endpoint.to_string(),
                one.due.word().into(),
                until,
                one.zone.clone(),
            ]);
        }
        for one in &self.board.clocks {
            add([
                "clock".into(),
                one.name.clone(),
                one.due.word().into(),
                one.due_ms.map_or_else(String::new, words::moment),
                String::new(),
            ]);
        }
        for zone in &self.zones {
            for one in &zone.standings {
                let detail = format!(
                    "aimed at {}, evidence {}-{}, declared {}-{}",
                    one.target, one.evidence.low, one.evidence.high, one.declared.low, one.declared.high
                );
                add([
                    "level".into(),
                    format!("{} {}", zone.zone, one.fr.word()),
                    one.verdict.word().into(),
                    words::moment(self.as_of_ms),
                    detail,
                ]);
            }
        }
        for one in &self.waivers {
            let state = ["expired", "soon", "counts"][one.stands as usize];
            add([
                "waiver".into(),
                format!("{} {}", one.zone, one.req),
                state.into(),
                words::moment(one.until_ms),
                format!("{}: {}", one.by, one.what),
            ]);
        }
        for (what, why, who) in &self.not_assessable {
            add([
                "not assessable by this tool".into(),
                what.clone(),
                String::new(),
                String::new(),
                format!("{why}; {who}"),
            ]);
        }
        text
    }
}
