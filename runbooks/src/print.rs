//! The same runbook on paper: a card of one page for the wall, the whole binder, and the cards of a tabletop. One page of HTML each,
//! self-contained, without scripts.
//!
//! Paper carries the digest of the file it was made from, so that anyone can see whether it is still the runbook that runs.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    report::words,
    runbook::{ModeName, OnFailure, Pass, Per, Runbook, Step, Uses},
};

const STYLE: &str = include_str!("report/style.css");

const CARD_STYLE: &str = "
.card { break-after: page } .card h1 { font-size: 18pt } .steps { counter-reset: step; list-style: none; padding: 0; margin: 2mm 0 }
.steps > li { counter-increment: step; border-bottom: .4pt solid #c9cfd6; padding: 1.6mm 0 1.6mm 11mm; position: relative; break-inside: avoid }
.steps > li::before { content: counter(step); position: absolute; left: 0; top: 1.4mm; width: 7mm; height: 7mm; line-height: 7mm; text-align: center; border: .9pt solid #1b1f24; font-weight: 650 }
.steps ul { list-style: none; margin: 1mm 0 0; padding: 0 } .who { float: right; color: #4a535d; font-size: 9pt; margin-left: 4mm }
.stop { border: 1.2pt solid #a3261c; border-left-width: 4mm; padding: 2mm 4mm; margin: 3mm 0 }
.turn { break-after: page } .turn:last-child { break-after: auto } .turn .write { margin-top: 4mm }
";

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sheet {
    /// One page for the wall: what people do.
    Card,
    /// All of it, the card in front.
    Binder,
    /// A page per step to talk through, with a clock and room to write.
    Tabletop,
}

/// A runbook on paper, in a language; where a text is not translated it stands in English.
#[must_use]
pub fn print(runbook: &Runbook, sheet: Sheet, language: &str) -> String {
    let title = runbook.title.get(language).map_or_else(|| runbook.title_en(), String::as_str);
    let paper = Paper { runbook, language, title };
    let body = match sheet {
        Sheet::Card => paper.card(),
        Sheet::Binder => html! { (paper.card()) (paper.binder()) },
        Sheet::Tabletop => paper.tabletop(),
    };
    let markup = html! {
        (DOCTYPE)
        html lang=(language) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) " (" (runbook.name) " v" (runbook.version) ")" }
                style { (PreEscaped(STYLE)) (PreEscaped(CARD_STYLE)) }
            }
            body { (body) }
        }
    };
    markup.into_string()
}

struct Paper<'a> {
    runbook: &'a Runbook,
    language: &'a str,
    title: &'a str,
}

impl Paper<'_> {
    fn head(&self, kind: &str) -> Markup {
        let runbook = self.runbook;
        html! {
            header {
                p.kind { (kind) " · " (runbook.name) " · version " (runbook.version) }
                h1 { (self.title) }
                p { (runbook.purpose) }
            }
        }
    }

    /// Which file this paper is of. Groups of eight read well aloud.
    fn foot(&self) -> Markup {
        let digest = self.runbook.digest.as_bytes().chunks(8).map(String::from_utf8_lossy);
        let digest: Vec<_> = digest.map(std::borrow::Cow::into_owned).collect();
        html! {
            p.note {
                "Made from the file with blake3 " span.hash { (digest.join(" ")) }
                ". `groundstate runbook list` shows the digest of the file that runs: where it differs, print this again."
            }
        }
    }

    fn card(&self) -> Markup {
        let runbook = self.runbook;
        let steps: Vec<&Step> = runbook
            .steps
            .iter()
            .filter(|step| step.uses != Uses::Reimage || step.per == Per::Target)
            .collect();
        html! {
            section.card {
                (self.head("Card"))
                dl {
                    dt { "Start it when" } dd { (list(&runbook.activates_when)) }
                    dt { "It is over when" } dd { (list(&runbook.deactivates_when)) }
                    @if !runbook.contacts.is_empty() { dt { "Call" } dd { (list(&runbook.contacts)) } }
                    @if let Some(rto_ms) = runbook.objectives.rto_ms { dt { "Done within" } dd { (words::length(rto_ms)) } }
                }
                div.stop { b { "STOP" } " at any time, without asking anyone: nothing new starts, what works is let finish." }
                ol.steps { @for step in steps { (self.step_on_card(step)) } }
                (self.foot())
            }
        }
    }

    fn step_on_card(&self, step: &Step) -> Markup {
        let (text, ticks) = step.uses.told(self.language);
        html! {
            li {
                span.who { (who(step)) @if let Some(ms) = step.target_ms { " · " (words::length(ms)) } }
                b { (step.id) } ": " (text)
                @if let Some(only) = only_if(step) { " " i { "(" (only) ")" } }
                @if !ticks.is_empty() { ul { @for tick in ticks { li { span.box {} (tick) } } } }
            }
        }
    }

    fn binder(&self) -> Markup {
        let runbook = self.runbook;
        let modes: Vec<&str> = runbook.modes.keys().map(|mode| mode.word()).collect();
        let length = |ms: Option<u64>| ms.map_or_else(|| "none".to_owned(), words::length);
        html! {
            section {
                (self.head("Binder"))
                h2 { "Frame" }
                dl {
                    dt { "Answered for by" } dd { (runbook.owner) }
                    dt { "Roles" } dd { @for (duty, role) in &runbook.roles { (duty) ": " (role) br; } }
                    dt { "Modes" } dd { (modes.join(", ")) }
                    dt { "RTO, whole run" } dd { (length(runbook.objectives.rto_ms)) }
                    dt { "RTO, one endpoint" } dd { (length(runbook.objectives.per_target_rto_ms)) }
                    dt { "RTO, machine part" } dd { (length(runbook.objectives.machine_rto_ms)) }
                    dt { "RPO" } dd { (length(runbook.objectives.rpo_ms)) }
                    dt { "At once" } dd { (words::count(runbook.limits.max_parallel as usize, "endpoint")) }
                    dt { "Permissions to write" } dd { "at most " (runbook.limits.max_permits) }
                }
                @if !runbook.waves.is_empty() { h2 { "Waves" } (self.waves()) }
                h2 { "Steps" }
                (self.table(&runbook.steps))
                h2 { "At the end, whatever happened" }
                (self.table(&runbook.finally))
                (self.foot())
                h2 { "The file" }
                pre.hash { (runbook.source) }
            }
        }
    }

    fn waves(&self) -> Markup {
        html! {
            table.data {
                thead { tr { th { "wave" } th { "who" } th { "watched for" } th { "the next begins when" } } }
                tbody { @for wave in &self.runbook.waves { tr {
                    td { (wave.name) }
                    td {
                        @match (&wave.matches, wave.size) {
                            (Some(fits), size) => {
                                (fits.kind.as_deref().or(fits.label.as_deref()).or(fits.zone.as_deref()).unwrap_or("anyone"))
                                @if let Some(size) = size { ", " (size) " at most" }
                            }
                            (None, Some(size)) => { "the next " (size) }
                            (None, None) => "all that are left"
                        }
                    }
                    td { (words::length(wave.soak_ms)) }
                    td { @match wave.pass { Pass::All => "all went the whole way", Pass::Percent(percent) => { (percent) " % went the whole way" } } }
                } } }
            }
        }
    }

    fn table(&self, steps: &[Step]) -> Markup {
        html! {
            table.data {
                thead { tr { th { "step" } th { "what" } th { "who" } th { "after" } th.num { "target" } th.num { "limit" } th { "if it fails" } } }
                tbody { @for step in steps { tr {
                    @let (text, ticks) = step.uses.told(self.language);
                    td { (step.id) br; span.note { (step.uses.verb()) @if step.per == Per::Target { ", each" } } }
                    td {
                        (text)
                        @for tick in ticks { br; span.box {} (tick) }
                        @if let Some(only) = only_if(step) { br; i { (only) } }
                        @for (mode, uses) in &step.instead { br; span.note { "in mode " (mode.word()) ": " (uses.asked(self.language).0) } }
                    }
                    td { (who(step)) }
                    td { @for need in &step.needs { (need) " " } }
                    td.num { (step.target_ms.map_or_else(|| "–".into(), words::length)) }
                    td.num { (words::length(step.timeout_ms)) }
                    td { (fails(step.on_failure)) @if step.retries > 0 { ", after " (words::count(step.retries as usize, "retry")) } }
                } } }
            }
        }
    }

    fn tabletop(&self) -> Markup {
        let steps: Vec<&Step> =
            self.runbook.all_steps().filter(|step| step.condition.fits(ModeName::Tabletop)).collect();
        let n = steps.len();
        html! {
            section.turn {
                (self.head("Tabletop: nothing is touched, everything is said aloud"))
                p { "One person leads and reads, one watches the clock, one writes. For each card: who does it, with what, who decides, and what if they cannot?" }
                p { (words::count(n, "card")) ". What nobody could answer becomes a task with a name and a date." }
                (self.foot())
            }
            @for (at, step) in steps.iter().enumerate() {
                @let (text, ticks) = step.uses.told(self.language);
                section.turn {
                    p.kind { "Card " (at + 1) " of " (n) " · " (self.title) }
                    h1 { (step.id) }
                    p { (text) }
                    @for tick in ticks { p { span.box {} (tick) } }
                    @if let Some(only) = only_if(step) { p.note { (only) } }
                    p.note { (who(step)) ". Time for it: " (words::length(step.target_ms.unwrap_or(step.timeout_ms))) "." }
                    @for asked in ["Who, and who if they are away?", "With what, and where does it lie?", "What could stand in the way?", "Begun at, done at"] {
                        p { b { (asked) } } div.write {} div.write {}
                    }
                }
            }
        }
    }
}

fn list(lines: &[String]) -> Markup {
    html! { @for (at, line) in lines.iter().enumerate() { @if at > 0 { br; } (line) } }
}

fn who(step: &Step) -> &'static str {
    if step.uses.is_by_hand() { "a person" } else { "the appliance" }
}

fn only_if(step: &Step) -> Option<String> {
    let modes: Vec<&str> = step.condition.modes.iter().map(|mode| mode.word()).collect();
    let chose = step
        .condition
        .chose
        .iter()
        .map(|(decide, option)| format!("`{decide}` was answered with `{option}`"));
    let mut parts: Vec<String> = chose.collect();
    if !modes.is_empty() {
        parts.push(format!("the mode is {}", modes.join(" or ")));
    }
    (!parts.is_empty()).then(|| format!("only if {}", parts.join(" and ")))
}

fn fails(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::StopRun => "the run stops",
        OnFailure::StopWave => "its wave stops",
        OnFailure::Quarantine => "the endpoint is out",
        OnFailure::Continue => "it is noted, the run goes on",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{library, runbook::parse::parse};

    #[test]
    fn every_shipped_runbook_is_printed_whole() {
        for shipped in library() {
            let runbook = parse(shipped.text).unwrap();
            let binder = print(&runbook, Sheet::Binder, "en");
            let card = print(&runbook, Sheet::Card, "en");
            for step in &runbook.steps {
                assert!(
                    binder.contains(step.id.as_str()) && card.contains(step.id.as_str()),
                    "{}: {}",
                    shipped.name,
                    step.id
                );
                for tick in step.uses.asked("en").1 {
                    let tick = html! { (tick) }.into_string();
                    assert!(binder.contains(&tick) && card.contains(&tick), "{}: {tick}", shipped.name);
                }
            }
            assert!(card.contains(&runbook.digest[..8]), "paper says of which file it is");
            assert!(
                !binder.contains("<script") && !binder.contains("http:") && !binder.contains("https:"),
                "{}",
                shipped.name
            );
        }
    }

    #[test]
    fn paper_is_in_the_language_that_was_asked_for() {
        let runbook = parse(library::shipped("single-hmi-failed").unwrap().text).unwrap();
        let card = print(&runbook, Sheet::Card, "de");
        assert!(card.contains("Die Maschine steht") && card.contains("Ein HMI ist ausgefallen"), "{card}");
        assert!(!card.contains("The machine is stopped"));
        assert!(
            print(&runbook, Sheet::Card, "pl").contains("The machine is stopped"),
            "English where there is none"
        );
    }

    #[test]
    fn a_tabletop_has_a_card_per_step() {
        let runbook = parse(library::shipped("annual-tabletop").unwrap().text).unwrap();
        let cards = print(&runbook, Sheet::Tabletop, "en");
        assert_eq!(cards.matches("Begun at, done at").count(), runbook.all_steps().count());
    }
}
