//! Schedules: when a runbook is due, by what that is satisfied, and what begins by itself.
//!
//! ```text
//! every minute: for each schedule ─► last of what satisfies it + its months = due
//!      due ─┬─ a window is open, nobody is asked, no STOP ─► it begins, at most once a day
//!           └─ else ─► drill.due is said, at most once a day
//! ```
//!
//! Due is computed from what happened and never kept: a real recovery satisfies a clock because it is there. It must never: begin the real thing, or begin what asks a person.

use jiff::{Span, Timestamp, tz::TimeZone};
use recovery_protocol::{
    EndpointId, Problem,
    drill::{Counts, NewDrill, ReadinessView, ReadyView, RunMode, Schedule, ScheduleView, Stands},
    operator::EndpointView,
};
use runbooks::{
    run::{Stage, Verdict},
    runbook::ModeName,
};
use serde_json::json;

use super::{Drills, Kept, now_ms};
use crate::{
    config::{Place, Window},
    db::drill::Scheduled,
    service::Actor,
};

const DAY_MS: u64 = 24 * 3_600_000;
/// Due so soon that somebody should plan it.
const SOON_MS: u64 = 30 * DAY_MS;
/// How long a recovery proves an endpoint: half a year.
const PROVES_MS: u64 = 180 * DAY_MS;
const NAME_MOST: usize = 48;
const WINDOWS_MOST: usize = 16;

/// When something may begin by itself.
enum Opens {
    Weekly(Window),
    Once(u64, u64),
}

impl Opens {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((from, to)) = text.split_once('/') else { return Window::parse(text).map(Self::Weekly) };
        let at = |text: &str| {
            let at: Timestamp = text.trim().parse().ok()?;
            u64::try_from(at.as_millisecond()).ok()
        };
        match (at(from), at(to)) {
            (Some(from), Some(to)) if from < to => Ok(Self::Once(from, to)),
            _ => Err(format!(
                "`{text}` is no stop of a line; write it like `2026-12-24T06:00:00Z/2026-12-27T22:00:00Z`"
            )),
        }
    }

    fn is_open(&self, at_ms: u64, zone: &TimeZone) -> bool {
        match self {
            Self::Weekly(window) => window.left(at_ms, zone).is_some(),
            Self::Once(from, to) => (*from..*to).contains(&at_ms),
        }
    }
}

/// Calendar months later, in UTC: the same day, or the month's last.
fn months_after(at_ms: u64, months: u16) -> u64 {
    let later = || {
        let at = Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()?.to_zoned(TimeZone::UTC);
        let later = at.checked_add(Span::new().months(i32::from(months))).ok()?;
        u64::try_from(later.timestamp().as_millisecond()).ok()
    };
    later().unwrap_or(u64::MAX)
}

fn stands(last: Option<u64>, due_ms: u64, now: u64) -> Stands {
    match last {
        None => Stands::Never,
        Some(_) if due_ms <= now => Stands::Overdue,
        Some(_) if due_ms - now <= SOON_MS => Stands::Soon,
        Some(_) => Stands::Fine,
    }
}

/// What sets a schedule back that does not say so: what it is, and the real thing.
fn counts(schedule: &Schedule) -> Vec<Counts> {
    match (schedule.by.is_empty(), schedule.mode) {
        (false, _) => schedule.by.clone(),
        (true, RunMode::Virtual) => vec![Counts::Virtual, Counts::Drill, Counts::Recovery],
        (true, RunMode::Tabletop) => vec![Counts::Tabletop, Counts::Drill, Counts::Recovery],
        (true, RunMode::Drill | RunMode::Real | RunMode::DryRun) => vec![Counts::Drill, Counts::Recovery],
    }
}

impl Drills {
    /// Put a schedule on record.
    ///
    /// # Errors
    /// 409 `schedule-exists`, `drill-refused` (its plan cannot be made today); 422 `bad-schedule`; what planning refuses.
    pub async fn add_schedule(&self, actor: &Actor, schedule: Schedule) -> Result<ScheduleView, Problem> {
        let bad = |why: String| {
            let remedy = "mend it and add it again: `groundstate drill schedule add --help`";
            Problem::new(422, "bad-schedule", "This schedule cannot be put on record", why, remedy)
        };
        let plain = |name: &str| {
            !name.is_empty()
                && name.len() <= NAME_MOST
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
        };
        if !plain(&schedule.name) {
            return Err(bad(format!(
                "its name has at most {NAME_MOST} small letters, digits, hyphens and points"
            )));
        }
        if !(1..=120).contains(&schedule.months) {
            return Err(bad("from one to the next are 1 to 120 months".to_owned()));
        }
        if matches!(schedule.mode, RunMode::Real | RunMode::DryRun) {
            return Err(bad("the real thing is never scheduled, and a dry run proves nothing".to_owned()));
        }
        if schedule.windows.len() > WINDOWS_MOST {
            return Err(bad(format!("at most {WINDOWS_MOST} windows")));
        }
        for window in &schedule.windows {
            let opens = Opens::parse(window).map_err(&bad)?;
            if matches!(opens, Opens::Weekly(_)) && self.0.config.time_zone.is_none() {
                return Err(bad(
                    "a weekly window is meant in the site's time, and the configuration has no time_zone"
                        .to_owned(),
                ));
            }
        }
        // What cannot be planned today would never begin, and nobody would know why.
        self.plan(actor, asked(&schedule)).await?;
        let one =
            Scheduled { schedule, added: now_ms(), added_by: actor.name.clone(), began: None, noticed: None };
        if !self.0.service.add_schedule(actor, &one).await? {
            let detail = format!("`{}` is on record", one.schedule.name);
            let remedy = "remove it first, or give this one another name";
            return Err(Problem::new(409, "schedule-exists", "There is such a schedule", detail, remedy));
        }
        self.standing(one).await
    }

    /// Take a schedule away; what is left.
    ///
    /// # Errors
    /// 404 `unknown-schedule`.
    pub async fn remove_schedule(&self, actor: &Actor, name: &str) -> Result<Vec<ScheduleView>, Problem> {
        if !self.0.service.remove_schedule(actor, name).await? {
            let remedy = "list them with `groundstate drill schedule list`";
            return Err(Problem::new(
                404,
                "unknown-schedule",
                "No such schedule",
                format!("`{name}`"),
                remedy,
            ));
        }
        self.schedules().await
    }

    /// Every schedule and how it stands, what is due first.
    ///
    /// # Errors
    /// What the service refuses.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, Problem> {
        let mut views = Vec::new();
        for one in self.0.service.schedules().await? {
            views.push(self.standing(one).await?);
        }
        views.sort_by(|a, b| (a.due_unix_ms, &a.schedule.name).cmp(&(b.due_unix_ms, &b.schedule.name)));
        Ok(views)
    }

    async fn standing(&self, one: Scheduled) -> Result<ScheduleView, Problem> {
        let (now, schedule) = (now_ms(), one.schedule);
        let last = self.satisfied(&schedule).await?;
        let due_unix_ms = match &last {
            Some((at, _)) => months_after(*at, schedule.months),
            None => one.added,
        };
        let zone = self.0.config.zone();
        let open = |text: &String| Opens::parse(text).is_ok_and(|opens| opens.is_open(now, &zone));
        Ok(ScheduleView {
            open: schedule.windows.iter().any(open),
            stands: stands(last.as_ref().map(|(at, _)| *at), due_unix_ms, now),
            last_unix_ms: last.as_ref().map(|(at, _)| *at),
            last_by: last.map(|(_, by)| by),
            due_unix_ms,
            added_by: one.added_by,
            began_unix_ms: one.began,
            schedule,
        })
    }

    /// What satisfied a schedule last, and when.
    async fn satisfied(&self, schedule: &Schedule) -> Result<Option<(u64, String)>, Problem> {
        let by = counts(schedule);
        let counted = |kept: &&Kept| {
            let record = &kept.record;
            let good = matches!(record.stage, Stage::Over { verdict: Verdict::Succeeded });
            let kind = match record.mode {
                ModeName::Virtual => Counts::Virtual,
                ModeName::Tabletop => Counts::Tabletop,
                ModeName::Real => Counts::Recovery,
                ModeName::Drill | ModeName::DryRun => Counts::Drill,
            };
            good && record.runbook.name == schedule.runbook && by.contains(&kind)
        };
        let run = |kept: &Kept| (kept.record.now_ms, kept.record.run.to_string());
        let mut last = self.kept().values().filter(counted).map(run).max();
        if by.contains(&Counts::Recovery) {
            let meant = self.meant_by(schedule).await?;
            for (endpoint, at, drill) in self.0.service.recovered().await? {
                if !drill && meant.contains(&endpoint) {
                    last = last.max(Some((at, format!("recovery of {endpoint}"))));
                }
            }
        }
        Ok(last)
    }

    async fn meant_by(&self, schedule: &Schedule) -> Result<Vec<EndpointId>, Problem> {
        let mut meant = schedule.endpoints.clone();
        if let Some(selector) = schedule.selector.as_ref().and_then(|text| text.parse().ok()) {
            let found = self.0.service.endpoints(Some(&selector)).await?;
            meant.extend(found.into_iter().map(|view| view.endpoint));
        }
        Ok(meant)
    }

    /// Begin what is due and may begin by itself; say of the rest that it is due.
    ///
    /// # Errors
    /// What the service refuses.
    pub async fn mind_schedules(&self) -> Result<(), Problem> {
        let now = now_ms();
        for one in self.0.service.schedules().await? {
            let name = one.schedule.name.clone();
            let lately = |at: Option<u64>| at.is_some_and(|at| now < at.saturating_add(DAY_MS));
            let (began, noticed) = (lately(one.began), lately(one.noticed));
            let view = self.standing(one).await?;
            if view.due_unix_ms > now || began || self.runs_now(&view.schedule.runbook) {
                continue;
            }
            let why = match self.begin_by_itself(&view).await {
                Ok(None) => {
                    self.0.service.schedule_began(&name).await?;
                    continue;
                }
                Ok(Some(why)) => why,
                Err(problem) => format!("{}: {}", problem.title, problem.detail),
            };
            if !noticed {
                let facts = json!({ "schedule": view.schedule, "due_unix_ms": view.due_unix_ms, "why_not_alone": why });
                let actor = Actor::trigger(&format!("schedule:{name}"));
                self.0.service.note_drill("drill.due", &actor, None, facts).await?;
                self.0.service.schedule_noticed(&name).await?;
                tracing::warn!(schedule = name, why, "a drill is due");
            }
        }
        Ok(())
    }

    /// `None`: it began. Else why it does not begin alone.
    async fn begin_by_itself(&self, view: &ScheduleView) -> Result<Option<String>, Problem> {
        if view.schedule.windows.is_empty() {
            return Ok(Some("it has no window in which it may begin by itself".to_owned()));
        }
        if !view.open {
            return Ok(Some("none of its windows is open".to_owned()));
        }
        self.0.service.may_begin().await?;
        let actor = Actor::trigger(&format!("schedule:{}", view.schedule.name));
        let new = asked(&view.schedule);
        let plan = self.plan(&actor, new.clone()).await?;
        if !plan.by_hand.is_empty() {
            return Ok(Some(format!("people are asked: {}", plan.by_hand.join(", "))));
        }
        self.start(&actor, NewDrill { binding: Some(plan.binding), ..new }).await?;
        Ok(None)
    }

    fn runs_now(&self, runbook: &str) -> bool {
        let open = |kept: &Kept| !matches!(kept.record.stage, Stage::Over { .. });
        self.kept().values().any(|kept| open(kept) && kept.record.runbook.name == runbook)
    }

    /// Who came back lately, out of how many.
    ///
    /// # Errors
    /// What the service refuses.
    pub async fn readiness(&self) -> Result<ReadinessView, Problem> {
        let now = now_ms();
        let recovered = self.0.service.recovered().await?;
        let mut endpoints: Vec<ReadyView> = Vec::new();
        for view in self.0.service.endpoints(None).await? {
            let of = recovered.iter().filter(|(endpoint, ..)| *endpoint == view.endpoint);
            let last = of.max_by_key(|(_, at, _)| *at);
            let at = last.map(|(_, at, _)| *at);
            endpoints.push(ReadyView {
                place: self.place(&view).to_owned(),
                last_unix_ms: at,
                rehearsed: last.is_some_and(|(_, _, drill)| *drill),
                stands: stands(at, at.unwrap_or(0).saturating_add(PROVES_MS), now),
                endpoint: view.endpoint,
            });
        }
        endpoints.sort_by(|a, b| {
            (a.stands, a.last_unix_ms, &a.endpoint).cmp(&(b.stands, b.last_unix_ms, &b.endpoint))
        });
        let hardware: Vec<&ReadyView> = endpoints.iter().filter(|one| one.place != VIRTUAL).collect();
        let of = |wanted: &[Stands]| hardware.iter().filter(|one| wanted.contains(&one.stands)).count();
        Ok(ReadinessView {
            hardware: u64::try_from(hardware.len()).unwrap_or(u64::MAX),
            proven: u64::try_from(of(&[Stands::Soon, Stands::Fine])).unwrap_or(u64::MAX),
            never: hardware
                .iter()
                .filter(|one| one.stands == Stands::Never)
                .map(|one| one.endpoint.clone())
                .collect(),
            endpoints,
        })
    }

    fn place(&self, view: &EndpointView) -> &'static str {
        match self.0.config.blueprints.get(&view.blueprint).map(|blueprint| blueprint.place) {
            Some(Place::Virtual) => VIRTUAL,
            Some(Place::Bench) => "bench",
            Some(Place::Production) | None => "production",
        }
    }
}

const VIRTUAL: &str = "virtual";

fn asked(schedule: &Schedule) -> NewDrill {
    NewDrill {
        runbook: schedule.runbook.clone(),
        endpoints: schedule.endpoints.clone(),
        selector: schedule.selector.clone(),
        mode: schedule.mode,
        ..NewDrill::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    #[test]
    fn months_are_of_the_calendar() {
        assert_eq!(months_after(at("2025-11-30T10:00:00Z"), 15), at("2027-02-28T10:00:00Z"));
        assert_eq!(months_after(at("2026-01-31T00:00:00Z"), 36), at("2029-01-31T00:00:00Z"));
    }

    #[test]
    fn a_stop_of_the_line_is_a_window_once() {
        let stop = Opens::parse("2026-12-24T06:00:00Z/2026-12-27T22:00:00Z").unwrap();
        let open = |text: &str| stop.is_open(at(text), &TimeZone::UTC);
        assert!(open("2026-12-24T06:00:00Z") && open("2026-12-27T21:59:59Z"));
        assert!(!open("2026-12-24T05:59:59Z") && !open("2026-12-27T22:00:00Z"));
        for wrong in ["2026-12-27T22:00:00Z/2026-12-24T06:00:00Z", "Sat/Sun", "Sat", "/"] {
            assert!(Opens::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Opens::parse("Sat 02:00-06:00").is_ok());
    }
}
