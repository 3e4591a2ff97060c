//! The calendar of drills and the board of readiness: what is due in which month, who came back lately out of how many, and who never did.

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};
use recovery_protocol::{
    Problem,
    drill::{ActionView, ReadinessView, ScheduleView, Stands},
};

use super::{
    texts::Texts,
    words::{Tone, badge},
};
use crate::drills::Drills;

/// What is to be mended, who is ready, what is due.
///
/// # Errors
/// What the service refuses.
pub async fn beside(drills: &Drills) -> Result<Markup, Problem> {
    let (to_mend, board) = (drills.actions().await?, drills.readiness().await?);
    let schedules = drills.schedules().await?;
    Ok(html! { (actions(&to_mend)) (readiness(&board)) (calendar(&schedules)) })
}

/// What is due, by month.
#[must_use]
pub fn calendar(schedules: &[ScheduleView]) -> Markup {
    let t = Texts::here();
    let mut last_month = String::new();
    html! {
        section class="card" id="calendar" {
            h2 { (t.drills_calendar()) }
            @if schedules.is_empty() {
                p { (t.drills_calendar_empty()) }
                pre { code { "groundstate drill schedule add quarterly --runbook quarterly-hmi-drill --selector group=bench --months 3 --window 'Sat 02:00-06:00'" } }
            }
            @for view in schedules {
                @let month = day(view.due_unix_ms)[..7].to_owned();
                @if month != last_month { h3 { (month) } }
                @let () = last_month = month;
                @let (tone, word) = standing(t, view.stands);
                div class={ "row " (tone.class()) } id={ "schedule-" (view.schedule.name) } {
                    span class="row-name" { (view.schedule.name) span class="small" { (view.schedule.runbook) } }
                    (badge(tone, &word))
                    span class="row-what" {
                        (t.drills_due_on(day(view.due_unix_ms)))
                        @if let Some(by) = &view.last_by { " · " (t.drills_last_by(by.as_str(), day(view.last_unix_ms.unwrap_or(0)))) }
                        " · "
                        @if view.schedule.windows.is_empty() { (t.drills_no_window()) }
                        @else { (t.drills_windows(view.schedule.windows.join(", "))) }
                    }
                }
            }
        }
    }
}

/// Who came back lately.
#[must_use]
pub fn readiness(board: &ReadinessView) -> Markup {
    let t = Texts::here();
    let tone =
        if board.hardware > 0 && board.proven == board.hardware { Tone::Good } else { Tone::Attention };
    html! {
        section class={ "card " (tone.class()) } id="readiness" {
            h2 { (t.drills_readiness()) }
            p class="summary" { (t.drills_proven_of(board.hardware, board.proven)) }
            @if !board.never.is_empty() {
                h3 { (t.drills_never(board.never.len())) }
                ul { @for endpoint in &board.never { li { a href={ "/endpoints/" (endpoint) } { (endpoint) } } } }
            }
            @let overdue: Vec<_> =
                board.endpoints.iter().filter(|one| one.stands == Stands::Overdue && one.place != "virtual").collect();
            @if !overdue.is_empty() {
                h3 { (t.drills_overdue()) }
                ul { @for one in overdue {
                    li { a href={ "/endpoints/" (one.endpoint) } { (one.endpoint) } " · " (day(one.last_unix_ms.unwrap_or(0))) }
                } }
            }
            p class="small" { (t.drills_virtual_proves_nothing()) }
        }
    }
}

/// What is to be mended; nothing where nothing is open.
#[must_use]
pub fn actions(actions: &[ActionView]) -> Markup {
    let t = Texts::here();
    let open: Vec<&ActionView> = actions.iter().filter(|one| one.closed_unix_ms.is_none()).collect();
    html! {
        @if !open.is_empty() {
            section class="card attention" id="actions" {
                h2 { (t.drills_actions(open.len())) }
                ul { @for one in open {
                    li {
                        b { (one.runbook) } " · " (one.class) " · " (one.subject)
                        span class="small block" { (one.what) " " (t.drills_due_on(day(one.due_unix_ms))) }
                    }
                } }
                p class="small" { (t.drills_actions_close()) }
            }
        }
    }
}

fn standing(t: Texts, stands: Stands) -> (Tone, String) {
    match stands {
        Stands::Never => (Tone::Attention, t.drills_stands_never()),
        Stands::Overdue => (Tone::Bad, t.drills_stands_overdue()),
        Stands::Soon => (Tone::Attention, t.drills_stands_soon()),
        Stands::Fine => (Tone::Good, t.drills_stands_fine()),
    }
}

/// The day in UTC, as `2027-02-28`.
fn day(unix_ms: u64) -> String {
    let at =
        i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    at.to_zoned(TimeZone::UTC).date().to_string()
}

#[cfg(test)]
mod tests {
    use recovery_protocol::drill::{ReadyView, RunMode, Schedule};

    use super::*;

    #[test]
    fn the_board_has_its_denominator_and_names_who_never_came_back() {
        let ready = |endpoint: &str, place: &str, stands| ReadyView {
            endpoint: endpoint.parse().unwrap(),
            place: place.into(),
            last_unix_ms: None,
            rehearsed: false,
            stands,
        };
        let board = ReadinessView {
            hardware: 2,
            proven: 1,
            never: vec!["press-01".parse().unwrap()],
            endpoints: vec![
                ready("press-01", "production", Stands::Never),
                ready("press-02", "bench", Stands::Fine),
                ready("vm-01", "virtual", Stands::Overdue),
            ],
        };
        let page = readiness(&board).into_string();
        assert!(page.contains("1 of 2") && page.contains("/endpoints/press-01"), "{page}");
        assert!(!page.contains("vm-01"), "a virtual endpoint proves no hardware");
    }

    #[test]
    fn the_calendar_goes_by_month_and_says_what_waits_for_a_window() {
        let view = |name: &str, due_unix_ms, windows: Vec<String>| ScheduleView {
            schedule: Schedule {
                name: name.into(),
                runbook: "quarterly-hmi-drill".into(),
                endpoints: Vec::new(),
                selector: None,
                mode: RunMode::Drill,
                months: 3,
                by: Vec::new(),
                windows,
            },
            added_by: "operator:ada".into(),
            last_unix_ms: Some(0),
            last_by: Some("recovery of press-01".into()),
            due_unix_ms,
            stands: Stands::Soon,
            open: false,
            began_unix_ms: None,
        };
        // 2026-12-01, 2026-12-31, 2027-01-01.
        let page = calendar(&[
            view("a", 1_796_083_200_000, Vec::new()),
            view("b", 1_798_675_200_000, vec!["Sat 02:00-06:00".into()]),
            view("c", 1_798_761_600_000, Vec::new()),
        ])
        .into_string();
        assert_eq!((page.matches("2026-12</h3>").count(), page.matches("2027-01</h3>").count()), (1, 1));
        assert!(page.contains("Sat 02:00-06:00") && page.contains("recovery of press-01"), "{page}");
        assert!(calendar(&[]).into_string().contains("drill schedule add"));
    }
}
