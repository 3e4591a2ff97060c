//! A configuration tried against what was reported before: the form, and what it would have done. Nothing of it is put into effect.

use std::collections::BTreeMap;

use maud::{Markup, html};
use recovery_protocol::{
    Problem,
    policy::{PolicyTried, PolicyTry, Would},
};
use serde::Deserialize;

use super::{
    may::Viewer,
    page::{problem_title, sentence, what_now},
    texts::Texts,
    words::{english, moment},
};

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
    let t = Texts::here();
    let days = if form.days.is_empty() { "30" } else { &form.days };
    html! {
        h1 { (t.policy_title()) }
        p { (t.policy_what()) }
        @match came {
            None => {}
            Some(Err(problem)) => section class="card attention" id="problem" role="alert" tabindex="-1" {
                h2 { (problem_title(problem)) }
                (what_now(problem))
            },
            Some(Ok(tried)) => (result(tried, form.days().unwrap_or_default())),
        }
        section class="card" {
            form method="post" action=(ROUTE) {
                label for="config" { (t.policy_config()) }
                textarea id="config" name="config" rows="16" spellcheck="false" autocomplete="off" required { (form.config) }
                label for="days" { (t.policy_days()) }
                input id="days" name="days" inputmode="numeric" pattern="[0-9]{1,4}" value=(days) required;
                div class="actions" { (viewer.plain(ROUTE, "primary", "try", t.policy_try())) a class="button" href="/plans" { (t.go_back()) } }
            }
        }
    }
}

fn result(tried: &PolicyTried, days: u64) -> Markup {
    let t = Texts::here();
    let count = |would: Would| tried.counts.get(&would).copied().unwrap_or_default();
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    for one in tried.replayed.iter().filter(|one| one.would == Would::Observe) {
        *by_rule.entry(&one.rule).or_default() += 1;
    }
    html! {
        section class="card" id="result" role="status" {
            h2 { (t.policy_begun(count(Would::Begin))) }
            dl class="figures" {
                dt { (t.policy_reports(days)) } dd { (tried.reports) }
                dt { (t.policy_begin()) } dd { (count(Would::Begin)) }
                dt { (t.policy_ask()) } dd { (count(Would::Ask)) }
                dt { (t.policy_quarantine()) } dd { (count(Would::Quarantine)) }
                dt { (t.policy_join()) } dd { (count(Would::Join)) }
                dt { (t.policy_nothing()) } dd { (count(Would::Observe)) }
            }
            (acted(tried))
            @if !by_rule.is_empty() {
                h3 { (t.policy_because()) }
                ul { @for (rule, times) in by_rule { li { (times) " × " (english(rule)) } } }
            }
            @if tried.left_out > 0 { p { (t.policy_left_out(tried.left_out)) } }
            h3 { (t.policy_not_replayed()) }
            ul { @for what in &tried.not_replayed { li { (english(sentence(what))) } } }
        }
    }
}

/// What would have been done, one by one.
fn acted(tried: &PolicyTried) -> Markup {
    let t = Texts::here();
    let acted: Vec<_> = tried.replayed.iter().filter(|one| one.would != Would::Observe).collect();
    let would = |would| match would {
        Would::Begin => t.policy_begin(),
        Would::Ask => t.policy_ask(),
        Would::Quarantine => t.policy_quarantine(),
        Would::Join => t.policy_join(),
        Would::Observe => t.policy_nothing(),
    };
    html! {
        @if !acted.is_empty() {
            div class="scroll" tabindex="0" role="region" aria-label=(t.policy_region()) {
                table {
                    thead { tr {
                        th scope="col" { (t.col_when()) } th scope="col" { (t.col_endpoint()) } th scope="col" { (t.col_source()) }
                        th scope="col" { (t.col_would()) } th scope="col" { (t.col_because()) }
                    } }
                    tbody {
                        @for one in acted {
                            tr {
                                td { (moment(one.at_unix_ms)) }
                                td { a href={ "/endpoints/" (one.endpoint) } { (one.endpoint) } }
                                td { (one.source) }
                                td { (would(one.would)) }
                                td { (english(&one.rule)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
