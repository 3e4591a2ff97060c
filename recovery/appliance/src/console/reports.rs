//! Reports where people meet them: the links of one report in its forms and languages, and the page of the zones.

use axum::{
    Extension,
    extract::{Query, State},
    response::Response,
};
use jiff::{Span, Timestamp, tz::TimeZone};
use maud::{Markup, html};
use runbooks::assess::zone::{Assessment, Standing, Verdict};

use super::{
    Failed, Part,
    engineer::query::link,
    may::Viewer,
    page::Tab,
    texts::Texts,
    words::{SLOTS, Tone, badge, fill},
};
use crate::{
    api::{People, gate::Who},
    reports::Reports,
};

/// Months that are offered.
const MONTHS: i32 = 6;

/// The links of one report: a page, a PDF and what programs read, in both languages. `path` answers them.
#[must_use]
pub fn links(path: &str) -> Markup {
    let t = Texts::here();
    html! {
        section class="card" id="report" {
            h2 { (t.report_title()) }
            (forms(path))
            p class="small" { (t.report_languages()) }
        }
    }
}

fn forms(path: &str) -> Markup {
    let t = Texts::here();
    let link = |form: &str, language: &str, word: Markup| {
        html! { a href={ (path) "?format=" (form) "&language=" (language) } hreflang=(language) { (word) } }
    };
    html! {
        ul {
            @for (language, name) in [("en", "English"), ("de", "Deutsch")] {
                li {
                    span lang=(language) { (name) } ": "
                    (link("html", language, html! { (t.report_page()) })) " · "
                    (link("pdf", language, html! { code { "PDF" } })) " · "
                    (link("csv", language, html! { code { "CSV" } })) " · "
                    (link("json", language, html! { code { "JSON" } }))
                }
            }
        }
    }
}

/// `GET /zones`.
pub async fn zones(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Query(part): Query<Part>,
) -> Result<Response, Failed> {
    let t = Texts::here();
    let standing = match Reports::new(&people.service).standing().await {
        Ok(standing) => Some(standing),
        Err(problem) if problem.code == "no-zones" => None,
        Err(problem) => return Err(problem.into()),
    };
    let months = months(people.service.now());
    let content = content(standing.as_deref(), &months, &Viewer::of(&who));
    part.of(&people, Tab::Drills, &t.zones_title(), "/zones", content).await
}

/// The months that are offered, the newest first.
fn months(now_ms: u64) -> Vec<String> {
    let now =
        i64::try_from(now_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let first = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let before = |n: i32| first.checked_sub(Span::new().months(n)).ok();
    (0..MONTHS).filter_map(before).map(|day| day.strftime("%Y-%m").to_string()).collect()
}

/// Each zone as it stands, and the reports. `zones`: none where the owner's file is not named.
#[must_use]
pub fn content(zones: Option<&[Assessment]>, months: &[String], viewer: &Viewer) -> Markup {
    let t = Texts::here();
    html! {
        div {
            p class="crumb" { a href="/drills" { (t.tab_drills()) } }
            h1 { (t.zones_title()) " " code { "IEC 62443-3-3" } }
            p class="summary" { (t.zones_lead()) }
            @match zones {
                None => section class="card attention" {
                    p { (fill(&t.zones_none(SLOTS[0]), [html! { code { "zones_file" } }])) }
                    pre { code { "[evidence]\nzones_file = \"zones.yaml\"" } }
                },
                Some(zones) => {
                    @for zone in zones { (one(zone, viewer)) }
                    (links("/api/v1/zones/report"))
                    section class="card" id="months" {
                        h2 { (t.zones_months()) }
                        @for month in months {
                            h3 { code { (month) } }
                            (forms(&format!("/api/v1/csms/{month}/report")))
                        }
                        p { (t.zones_pack()) }
                        pre { code { "groundstate csms pack --month " (months.first().map_or("2026-11", String::as_str)) " --out month.gsp" } }
                    }
                }
            }
            section class="card" id="components" {
                h2 { (t.zones_components()) " " code { "IEC 62443-4-2" } }
                (forms("/api/v1/components/report"))
            }
        }
    }
}

fn one(zone: &Assessment, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let language = if t.name() == "de" { "de" } else { "en" };
    let worst = zone.standings.iter().map(|one| one.verdict as usize).max().unwrap_or(0);
    let tone = [Tone::Good, Tone::Attention, Tone::Bad][worst];
    let row = |one: &Standing| {
        let (tone, word) = match one.verdict {
            Verdict::Met => (Tone::Good, t.zones_met()),
            Verdict::Unproven => (Tone::Attention, t.zones_unproven()),
            Verdict::Gap => (Tone::Bad, t.zones_gap()),
        };
        let way: Vec<String> = one.blocking.iter().map(ToString::to_string).collect();
        html! {
            tr {
                th scope="row" { code { (one.fr.word()) } }
                td class="num" { (one.target) }
                td class="num" { (one.declared.low) " – " (one.declared.high) }
                td { (badge(tone, word)) }
                td { @if way.is_empty() { "–" } @else { code { (way.join(", ")) } } }
            }
        }
    };
    html! {
        section class={ "card " (tone.class()) } id={ "zone-" (zone.zone) } {
            h2 { code { (zone.zone) } }
            div class="scroll" { table {
                thead { tr {
                    th scope="col" {} th scope="col" class="num" { (t.zones_aim()) } th scope="col" class="num" { (t.zones_shown()) }
                    th scope="col" {} th scope="col" { (t.zones_way()) }
                } }
                tbody { @for standing in &zone.standings { (row(standing)) } }
            } }
            @if worst > 0 {
                div class="actions" {
                    @if viewer.may(recovery_protocol::people::Permission::Drill) { a class="button" href="/drills#start" { (t.zones_drill()) } }
                    a class="button" href=(link("/api/v1/zones/report", &[("zone", zone.zone.as_str()), ("language", language)])) { (t.zones_to_do()) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use recovery_protocol::people::Role;
    use runbooks::assess::{
        catalogue::Catalogue,
        zone::{Zones, assess},
    };

    use super::*;

    #[test]
    fn a_zone_has_its_seven_rows_and_what_is_not_met_has_a_button() {
        let text = "schema: zones/v1\nsite: a\nzones:\n  - {name: bare, target: {iac: 0, uc: 0, si: 0, dc: 0, rdf: 0, tre: 0, ra: 0}}\n  - {name: aimed, target: {iac: 1, uc: 0, si: 0, dc: 0, rdf: 0, tre: 0, ra: 0}}\n";
        let (zones, catalogue) = (Zones::parse(text).unwrap(), Catalogue::shipped().unwrap());
        let all: Vec<Assessment> =
            zones.zones.iter().map(|zone| assess(&catalogue, zone, &BTreeMap::new(), 1)).collect();
        let page = |role| content(Some(&all), &["2026-11".to_owned()], &Viewer::role(role)).into_string();
        let engineer = page(Role::Engineer);
        assert_eq!(engineer.matches("scope=\"row\"").count(), 14);
        assert_eq!(engineer.matches("/drills#start").count(), 1, "{engineer}");
        assert_eq!(page(Role::Auditor).matches("/drills#start").count(), 0);
        for wanted in [
            "SR 1.1",
            "/api/v1/zones/report?format=pdf&amp;language=de",
            "/api/v1/csms/2026-11/report?format=html&amp;language=en",
            "/api/v1/components/report?format=csv",
            "groundstate csms pack --month 2026-11",
        ] {
            assert!(engineer.contains(wanted), "{wanted}: {engineer}");
        }
        let none = content(None, &[], &Viewer::role(Role::Engineer)).into_string();
        assert!(none.contains("zones_file = ") && none.contains("/api/v1/components/report"));
    }

    #[test]
    fn the_months_go_back_over_a_years_end() {
        // 2026-02-28.
        assert_eq!(
            months(1_772_236_800_000),
            ["2026-02", "2026-01", "2025-12", "2025-11", "2025-10", "2025-09"]
        );
    }
}
