//! `groundstate drill schedule …`, `readiness`, `actions`: what is due, who came back, what is to be mended.

use clap::{Args, Subcommand, ValueEnum};
use recovery_protocol::{
    EndpointId,
    drill::{
        ActionView, ComparedStep, Counts, DrillComparison, ReadinessView, RunMode, Schedule, ScheduleView,
        Stands, TrendPoint,
    },
};

use super::{
    client::Client,
    fault::Fault,
    print,
    show::{duration, moment, table},
};
use crate::cli::Output;

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub enum ScheduleVerb {
    /// Add a schedule
    Add(Box<Add>),
    /// List schedules, what is due first
    List,
    /// Take a schedule away
    Remove {
        /// Its name
        name: String,
    },
}

/// A schedule.
#[derive(Debug, Args)]
pub struct Add {
    /// Its name
    name: String,
    /// Name of a runbook that ships
    #[arg(long)]
    runbook: String,
    /// Target; give it several times
    #[arg(long = "endpoint")]
    endpoints: Vec<EndpointId>,
    /// Each endpoint of which this is true, as in line=3,kind=hmi
    #[arg(long)]
    selector: Option<String>,
    /// As what
    #[arg(long, value_enum, default_value = "drill")]
    mode: As,
    /// A clock of a regulation: its months, and what sets it back
    #[arg(long, value_enum, required_unless_present = "months")]
    clock: Option<Clock>,
    /// Calendar months from one to the next
    #[arg(long, value_name = "N")]
    months: Option<u16>,
    /// What sets it back; give it several times. Without: what the mode is, and a real recovery
    #[arg(long, value_enum)]
    by: Vec<By>,
    /// When it may begin by itself: `Sat 02:00-06:00`, or a stop of the line as `2026-12-24T06:00:00Z/2026-12-27T22:00:00Z`; several times.
    /// Without: it is only said that it is due
    #[arg(long = "window", value_name = "WINDOW")]
    windows: Vec<String>,
}

/// The modes that are scheduled.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum As {
    /// On drill-safe endpoints
    Drill,
    /// On virtual endpoints alone
    Virtual,
    /// Talked through
    Tabletop,
}

/// Clocks of regulations.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Clock {
    /// CIP-009-6 R2.1: 15 months; a recovery, a drill or a tabletop
    Cip009R2_1,
    /// CIP-009-6 R2.3: 36 months; an operational exercise, or a recovery
    Cip009R2_3,
}

/// What counts.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    /// A real recovery
    Recovery,
    /// A drill on hardware
    Drill,
    /// A drill on virtual endpoints
    Virtual,
    /// A tabletop
    Tabletop,
}

impl Add {
    fn schedule(self) -> Schedule {
        let (clock_months, clock_by) = match self.clock {
            Some(Clock::Cip009R2_1) => (15, vec![Counts::Recovery, Counts::Drill, Counts::Tabletop]),
            Some(Clock::Cip009R2_3) => (36, vec![Counts::Recovery, Counts::Drill]),
            None => (0, Vec::new()),
        };
        let by = |by: &By| match by {
            By::Recovery => Counts::Recovery,
            By::Drill => Counts::Drill,
            By::Virtual => Counts::Virtual,
            By::Tabletop => Counts::Tabletop,
        };
        Schedule {
            name: self.name,
            runbook: self.runbook,
            endpoints: self.endpoints,
            selector: self.selector,
            mode: match self.mode {
                As::Drill => RunMode::Drill,
                As::Virtual => RunMode::Virtual,
                As::Tabletop => RunMode::Tabletop,
            },
            months: self.months.unwrap_or(clock_months),
            by: if self.by.is_empty() { clock_by } else { self.by.iter().map(by).collect() },
            windows: self.windows,
        }
    }
}

/// Carry it out.
///
/// # Errors
/// What the appliance refuses.
pub fn schedule(client: &Client, verb: ScheduleVerb, output: Output) -> Result<(), Fault> {
    let path = "/api/v1/drills/schedules";
    match verb {
        ScheduleVerb::Add(add) => {
            let view: ScheduleView = client.post(path, &add.schedule())?;
            print(output, &view, |view| schedules(std::slice::from_ref(view)))
        }
        ScheduleVerb::List => {
            let views: Vec<ScheduleView> = client.get(path)?;
            print(output, &views, |views| schedules(views))
        }
        ScheduleVerb::Remove { name } => {
            let views: Vec<ScheduleView> =
                client.delete(&format!("{path}/{name}"), &serde_json::json!({}), None)?;
            print(output, &views, |views| schedules(views))
        }
    }
}

/// Who came back lately.
///
/// # Errors
/// What the appliance refuses.
pub fn readiness(client: &Client, output: Output) -> Result<(), Fault> {
    let board: ReadinessView = client.get("/api/v1/drills/readiness")?;
    print(output, &board, |board| {
        let row = |one: &recovery_protocol::drill::ReadyView| {
            let last = one.last_unix_ms.map_or_else(|| "-".to_owned(), moment);
            let how = if one.rehearsed { "drill" } else { "recovery" };
            let how = if one.last_unix_ms.is_some() { how } else { "-" };
            vec![
                one.endpoint.to_string(),
                one.place.clone(),
                word(one.stands).to_owned(),
                last,
                how.to_owned(),
            ]
        };
        let rows: Vec<_> = board.endpoints.iter().map(row).collect();
        format!(
            "{} of {} endpoints on hardware came back lately enough; {} never did\n\n{}",
            board.proven,
            board.hardware,
            board.never.len(),
            table(&["ENDPOINT", "PLACE", "STANDS", "LAST", "BY"], &rows)
        )
    })
}

/// What is to be mended.
///
/// # Errors
/// What the appliance refuses.
pub fn actions(client: &Client, output: Output) -> Result<(), Fault> {
    let actions: Vec<ActionView> = client.get("/api/v1/drills/actions")?;
    print(output, &actions, |actions| {
        let row = |one: &ActionView| {
            let stands = match (&one.closed_by, one.closed_unix_ms) {
                (Some(by), Some(at)) => format!("closed {} by {by}", moment(at)),
                _ => format!("open, due {}", moment(one.due_unix_ms)),
            };
            vec![
                one.action.clone(),
                one.runbook.clone(),
                one.class.clone(),
                one.subject.clone(),
                stands,
                one.what.clone(),
            ]
        };
        table(
            &["ACTION", "RUNBOOK", "CLASS", "SUBJECT", "STANDS", "WHAT"],
            &actions.iter().map(row).collect::<Vec<_>>(),
        )
    })
}

/// A drill beside an earlier one.
///
/// # Errors
/// What the appliance refuses.
pub fn compare(client: &Client, drill: &str, with: &str, output: Output) -> Result<(), Fault> {
    let compared: DrillComparison = client.get(&format!("/api/v1/drills/{drill}/compare?with={with}"))?;
    print(output, &compared, |compared| {
        let length = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), duration);
        let row = |step: &ComparedStep| {
            let change = step.change_percent.map_or_else(|| "-".to_owned(), |change| format!("{change:+} %"));
            vec![step.step.clone(), length(step.before_ms), length(step.now_ms), change]
        };
        let same = |same: bool| if same { "the same" } else { "another" };
        format!(
            "{}: {} before, {} now; {} file, {} images\n\n{}",
            compared.runbook,
            length(compared.before_ms),
            length(compared.now_ms),
            same(compared.same_runbook),
            same(compared.same_images),
            table(&["STEP", "BEFORE", "NOW", "CHANGE"], &compared.steps.iter().map(row).collect::<Vec<_>>())
        )
    })
}

/// The drills of a runbook on a line.
///
/// # Errors
/// What the appliance refuses.
pub fn trend(client: &Client, runbook: &str, output: Output) -> Result<(), Fault> {
    let points: Vec<TrendPoint> = client.get(&format!("/api/v1/drills/trend/{runbook}"))?;
    print(output, &points, |points| {
        let length = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), duration);
        let row = |point: &TrendPoint| {
            vec![
                point.drill.clone(),
                moment(point.ended_unix_ms),
                point.mode.clone(),
                point.state.clone(),
                length(point.run_ms),
                length(point.middle_before_ms),
                point.n_before.to_string(),
                length(point.rto_ms),
            ]
        };
        table(
            &["DRILL", "ENDED", "MODE", "STATE", "TOOK", "MIDDLE BEFORE", "N", "OBJECTIVE"],
            &points.iter().map(row).collect::<Vec<_>>(),
        )
    })
}

fn schedules(views: &[ScheduleView]) -> String {
    let row = |view: &ScheduleView| {
        vec![
            view.schedule.name.clone(),
            view.schedule.runbook.clone(),
            word(view.stands).to_owned(),
            moment(view.due_unix_ms),
            view.last_by.clone().unwrap_or_else(|| "-".to_owned()),
            if view.open { "open" } else { "-" }.to_owned(),
        ]
    };
    table(
        &["SCHEDULE", "RUNBOOK", "STANDS", "DUE", "LAST BY", "WINDOW"],
        &views.iter().map(row).collect::<Vec<_>>(),
    )
}

fn word(stands: Stands) -> &'static str {
    match stands {
        Stands::Never => "never proven",
        Stands::Overdue => "overdue",
        Stands::Soon => "due soon",
        Stands::Fine => "proven",
    }
}
