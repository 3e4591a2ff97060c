//! A configuration tried against what was reported before: the form, and what it would have done. Nothing of it is put into effect.

use std::collections::BTreeMap;

use maud::{Markup, html};
use recovery_protocol::{
    Problem,
    policy::{PolicyTried, PolicyTry, Would},
};
use serde::Deserialize;

use super::{may::Viewer, page::sentence, words::moment};

const DAY_MS: u64 = 24 * 3_600_000;
/// The appliance looks at most so many days back.
const DAYS_MOST: u64 = 3650;
const ROUTE: &str = "/policy";

/// The form, as it was sent.
#[derive(Debug, Default, Deserialize)]
pub struct Trying {
    /// The text of a configuration file.
    #[serde(default)]
    config: String,
    /// How far back.
    #[serde(default)]
    days: String,
}

impl Trying {
    fn days(&self) -> Option<u64> {
        self.days.trim().parse().ok().filter(|days| (1..=DAYS_MOST).contains(days))
    }

    /// As the service takes it.
    ///
    /// # Errors
    /// 422, with what is to be mended.
    pub fn wanted(&self, now_ms: u64) -> Result<PolicyTry, Problem> {
        let wrong =
            |title: &str, detail: &str, remedy: &str| Problem::new(422, "policy-form", title, detail, remedy);
        let days = self.days().ok_or_else(|| {
            wrong(
                "No days",
                "it is not said how far to look back",
                &format!("write days, from 1 to {DAYS_MOST}"),
            )
        })?;
        if self.config.trim().is_empty() {
            let detail = "an empty configuration says nothing";
            return Err(wrong("No configuration", detail, "paste the whole text of a configuration file"));
        }
        // Forms end lines as the network does.
        let config = self.config.replace("\r\n", "\n");
        Ok(PolicyTry { config, since_unix_ms: now_ms.saturating_sub(days * DAY_MS) })
    }
}

/// The page: the form, and above it what came of the last one.
#[must_use]
pub fn content(form: &Trying, came: Option<&Result<PolicyTried, Problem>>, viewer: &Viewer) -> Markup {
    let days = if form.days.is_empty() { "30" } else { &form.days };
    html! {
        h1 { "Try a policy" }
        p { "What would another configuration have made of what was reported to this appliance? The reports are told again to the guard rails, in their order and at their times. Nothing is put into effect." }
        @match came {
            None => {}
            Some(Err(problem)) => section class="card attention" id="problem" role="alert" tabindex="-1" {
                h2 { (problem.title) }
                p { (sentence(&problem.detail)) }
                p class="now" { strong { "What now: " } (sentence(&problem.remedy)) }
            },
            Some(Ok(tried)) => (result(tried, days)),
        }
        section class="card" {
            form method="post" action=(ROUTE) {
                label for="config" { "Configuration, as in the appliance's file" }
                textarea id="config" name="config" rows="16" spellcheck="false" autocomplete="off" required { (form.config) }
                label for="days" { "Days to look back" }
                input id="days" name="days" inputmode="numeric" pattern="[0-9]{1,4}" value=(days) required;
                div class="actions" { (viewer.plain(ROUTE, "primary", "try", "Try it")) a class="button" href="/plans" { "Go back" } }
            }
        }
    }
}

fn result(tried: &PolicyTried, days: &str) -> Markup {
    let count = |would: Would| tried.counts.get(&would).copied().unwrap_or_default();
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    for one in tried.replayed.iter().filter(|one| one.would == Would::Observe) {
        *by_rule.entry(&one.rule).or_default() += 1;
    }
    let acted: Vec<_> = tried.replayed.iter().filter(|one| one.would != Would::Observe).collect();
    html! {
        section class="card" id="result" role="status" {
            h2 { (count(Would::Begin)) " would have begun by themselves" }
            dl class="figures" {
                dt { "Reports in " (days) " days" } dd { (tried.reports) }
                dt { "Would have begun by themselves" } dd { (count(Would::Begin)) }
                dt { "Would have asked a person" } dd { (count(Would::Ask)) }
                dt { "Endpoints no longer trusted" } dd { (count(Would::Quarantine)) }
                dt { "Joined an open recovery" } dd { (count(Would::Join)) }
                dt { "Nothing" } dd { (count(Would::Observe)) }
            }
            @if !acted.is_empty() {
                div class="scroll" tabindex="0" role="region" aria-label="What would have been done" {
                    table {
                        thead { tr { th scope="col" { "When" } th scope="col" { "Endpoint" } th scope="col" { "Source" } th scope="col" { "Would" } th scope="col" { "Because" } } }
                        tbody {
                            @for one in acted {
                                tr {
                                    td { (moment(one.at_unix_ms)) }
                                    td { a href={ "/endpoints/" (one.endpoint) } { (one.endpoint) } }
                                    td { (one.source) }
                                    td { (one.would.words()) }
                                    td { (one.rule) }
                                }
                            }
                        }
                    }
                }
            }
            @if !by_rule.is_empty() {
                h3 { "Nothing, because" }
                ul { @for (rule, times) in by_rule { li { (times) " × " (rule) } } }
            }
            @if tried.left_out > 0 { p { (tried.left_out) " older reports were left out." } }
            h3 { "Not replayed" }
            ul { @for what in &tried.not_replayed { li { (sentence(what)) } } }
        }
    }
}
