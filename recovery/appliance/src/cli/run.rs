//! `groundstate runbook run`: the appliance runs a runbook; what begins is the plan that was looked at.

use clap::{Args, ValueEnum};
use recovery_protocol::{
    EndpointId,
    drill::{DrillPlan, DrillPlanWave, DrillView, NewDrill, RunMode},
};

use super::{
    args::Wait,
    client::Client,
    drill,
    fault::{Code, Fault},
    print, runbook,
    show::table,
};
use crate::cli::Output;

/// What to run, where, as what.
#[derive(Debug, Args)]
pub struct Run {
    /// A file, or the name of a runbook that ships
    #[arg(value_name = "FILE_OR_NAME")]
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
    /// People with their hands free, for the outlook
    #[arg(long, default_value_t = 1, value_name = "N")]
    people: u32,
    /// Say what it would do, and begin nothing
    #[arg(long, conflicts_with = "approve_plan")]
    plan: bool,
    /// Begin what --plan said, if it is still that; the real thing begins no other way
    #[arg(long, value_name = "HASH")]
    approve_plan: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

/// The modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    /// A rehearsal on drill-safe endpoints
    Drill,
    /// A rehearsal on virtual endpoints alone
    Virtual,
    /// The real thing
    Real,
    /// Talked through by people, step by step
    Tabletop,
    /// The plan of the real thing, put on record
    #[value(alias = "dry_run")]
    DryRun,
}

impl From<As> for RunMode {
    fn from(mode: As) -> Self {
        match mode {
            As::Drill => Self::Drill,
            As::Virtual => Self::Virtual,
            As::Real => Self::Real,
            As::Tabletop => Self::Tabletop,
            As::DryRun => Self::DryRun,
        }
    }
}

/// Carry it out.
///
/// # Errors
/// What the appliance refuses; failed when a run that was waited for did not succeed.
pub fn act(client: &Client, order: Run, output: Output) -> Result<(), Fault> {
    let ships = runbooks::library().iter().any(|shipped| shipped.name == order.runbook);
    let text = if ships { None } else { Some(runbook::text_of(&order.runbook)?) };
    let new = NewDrill {
        runbook: order.runbook,
        text,
        endpoints: order.endpoints,
        selector: order.selector,
        mode: order.mode.into(),
        binding: None,
        people: order.people,
    };
    if order.mode == As::Real && !order.plan && order.approve_plan.is_none() {
        let now = "look at it with --plan, then begin it with --approve-plan HASH";
        return Err(Fault::new(Code::Usage, "the real thing begins with a plan that was looked at", "", now));
    }
    let binding = match order.approve_plan {
        Some(binding) => binding,
        None => {
            let plan: DrillPlan = client.post("/api/v1/drills/plan", &new)?;
            if order.plan || order.mode == As::DryRun {
                return print(output, &plan, shown);
            }
            plan.binding
        }
    };
    let view: DrillView = client.post("/api/v1/drills", &NewDrill { binding: Some(binding), ..new })?;
    drill::ended(client, view, &order.wait, output)
}

/// Say what a run would do.
///
/// # Errors
/// What the appliance refuses.
pub fn planned(client: &Client, new: &NewDrill, output: Output) -> Result<(), Fault> {
    let plan: DrillPlan = client.post("/api/v1/drills/plan", new)?;
    print(output, &plan, shown)?;
    eprintln!("begin exactly this with --approve-plan {}", plan.binding);
    Ok(())
}

fn shown(plan: &DrillPlan) -> String {
    let row = |wave: &DrillPlanWave| {
        let names: Vec<&str> = wave.endpoints.iter().map(EndpointId::as_str).collect();
        vec![wave.wave.clone(), names.len().to_string(), names.join(" ")]
    };
    let by_hand = match plan.by_hand.is_empty() {
        true => "nobody: it runs unattended".to_owned(),
        false => plan.by_hand.join(", "),
    };
    let waves = table(&["WAVE", "N", "ENDPOINTS"], &plan.waves.iter().map(row).collect::<Vec<_>>());
    format!(
        "runbook   {}\nmode      {}\nbinding   {}\nby hand   {by_hand}\nwrites    at most {} times\n\n{waves}\n\n{}",
        plan.runbook, plan.mode, plan.binding, plan.permits_at_most, plan.outlook
    )
}
