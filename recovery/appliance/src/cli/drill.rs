//! `groundstate drill …`: start a rehearsal, follow it, answer what it asks, fetch its report.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use recovery_protocol::{
    EndpointId,
    drill::{DrillCode, NewInject},
    job::JobState,
    operator::{Decision, DrillAnswer, DrillView, JobView, NewDrill},
};

use super::{
    args::Wait,
    calendar,
    client::Client,
    fault::{Code, Fault},
    follow::{self, Look},
    print, report, run, show,
};
use crate::cli::Output;

/// What to do with drills.
#[derive(Debug, Subcommand)]
pub enum DrillVerb {
    /// Run a runbook on drill-safe endpoints
    Run {
        /// Name of the runbook
        runbook: String,
        /// Target; give it several times
        #[arg(long = "endpoint", required = true)]
        endpoints: Vec<EndpointId>,
        /// Say what it would do, and begin nothing
        #[arg(long, conflicts_with_all = ["approve_plan", "wait"])]
        plan: bool,
        /// Begin what --plan said, if it is still that
        #[arg(long, value_name = "HASH")]
        approve_plan: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// When runbooks are rehearsed
    #[command(subcommand)]
    Schedule(calendar::ScheduleVerb),
    /// Which endpoints came back lately, out of how many, and which never did
    Readiness,
    /// What is to be mended after drills; a passing drill of the same runbook and class closes it
    Actions,
    /// Put a drill beside an earlier one, step by step
    Compare {
        /// The drill
        drill: String,
        /// The earlier one
        with: String,
    },
    /// The drills of a runbook on a line, the oldest first
    Trend {
        /// Name of the runbook
        runbook: String,
    },
    /// List drills
    List,
    /// Show one drill
    Show {
        /// The drill
        drill: String,
    },
    /// Answer a step that waits for a person
    Answer {
        /// The drill
        drill: String,
        /// The step, as `drill show` names it
        #[arg(long)]
        step: String,
        /// The endpoint, for steps per target
        #[arg(long)]
        endpoint: Option<EndpointId>,
        /// Who did it, where that is not you; goes into the report. An approval is always yours
        #[arg(long, default_value = "")]
        person: String,
        /// In which of your duties; without: in the first that the step asks for
        #[arg(long, default_value = "")]
        role: String,
        /// Deny, or say that it cannot be done
        #[arg(long)]
        no: bool,
        /// In your words
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Let something go wrong on purpose in a drill that runs; it ends by itself
    Inject {
        /// The drill
        drill: String,
        /// image-server-unreachable, wrong-disk-fitted, technician-absent, pcr-mismatch or control-plane-down
        inject: String,
        /// One of the drill's endpoints; without: each of them
        #[arg(long)]
        endpoint: Option<EndpointId>,
        /// It ends after so many seconds, at most 1800
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Match the code on the screen of hardware that a drill is to write
    Code {
        /// The drill
        drill: String,
        /// Which endpoint
        #[arg(long)]
        endpoint: EndpointId,
        /// Four digits, off its screen
        code: String,
    },
    /// Stop a drill; its last steps still run
    Abort {
        /// The drill
        drill: String,
        /// Why; goes into evidence
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Make a drill's evidence pack: report, runbook, evidence and proofs in one file that stands alone
    Pack {
        /// The drill
        drill: String,
        /// File to write
        #[arg(long)]
        out: PathBuf,
    },
    /// Write a drill's report
    Report {
        /// The drill
        drill: String,
        #[command(flatten)]
        how: report::How,
    },
}

/// Carry out a verb.
///
/// # Errors
/// What the appliance refuses; failed when a drill that was waited for did not succeed.
pub fn act(client: &Client, verb: DrillVerb, output: Output) -> Result<(), Fault> {
    match verb {
        DrillVerb::Schedule(verb) => calendar::schedule(client, verb, output),
        DrillVerb::Readiness => calendar::readiness(client, output),
        DrillVerb::Actions => calendar::actions(client, output),
        DrillVerb::Compare { drill, with } => calendar::compare(client, &drill, &with, output),
        DrillVerb::Trend { runbook } => calendar::trend(client, &runbook, output),
        DrillVerb::List => {
            let views: Vec<DrillView> = client.get("/api/v1/drills")?;
            print(output, &views, |views| show::drills(views))
        }
        DrillVerb::Show { drill } => {
            let view: DrillView = client.get(&format!("/api/v1/drills/{drill}"))?;
            print(output, &view, show::drill)
        }
        DrillVerb::Answer { drill, step, endpoint, person, role, no, note } => {
            let answer = DrillAnswer { step, endpoint, person, role, yes: !no, note };
            let view: DrillView = client.post(&format!("/api/v1/drills/{drill}/answer"), &answer)?;
            print(output, &view, show::drill)
        }
        DrillVerb::Inject { drill, inject, endpoint, seconds } => {
            let new = NewInject { inject, endpoint, seconds };
            let view: DrillView = client.post(&format!("/api/v1/drills/{drill}/injects"), &new)?;
            print(output, &view, show::drill)
        }
        DrillVerb::Code { drill, endpoint, code } => {
            let order = DrillCode { endpoint, code };
            let view: DrillView = client.post(&format!("/api/v1/drills/{drill}/code"), &order)?;
            print(output, &view, show::drill)
        }
        DrillVerb::Abort { drill, reason } => {
            let view: DrillView =
                client.post(&format!("/api/v1/drills/{drill}/abort"), &Decision { reason })?;
            print(output, &view, show::drill)
        }
        DrillVerb::Report { drill, how } => how.fetch(client, &format!("/api/v1/drills/{drill}/report"), ""),
        DrillVerb::Pack { drill, out } => report::pack(client, &format!("/api/v1/drills/{drill}/pack"), &out),
        DrillVerb::Run { runbook, endpoints, plan, approve_plan, wait } => {
            let new = NewDrill { runbook, endpoints, binding: approve_plan, ..NewDrill::default() };
            if plan {
                return run::planned(client, &new, output);
            }
            let view: DrillView = client.post("/api/v1/drills", &new)?;
            ended(client, view, &wait, output)
        }
    }
}

/// Show a run that was begun, at its end where that is waited for.
///
/// # Errors
/// Failed when it did not succeed.
pub fn ended(client: &Client, view: DrillView, wait: &Wait, output: Output) -> Result<(), Fault> {
    let view = if wait.wait { to_the_end(client, view, wait, output)? } else { view };
    print(output, &view, show::drill)?;
    match view.state.as_str() {
        "failed" | "partly" | "aborted" => {
            let now = format!("read its report: `groundstate drill report {} --out report.html`", view.drill);
            Err(Fault::new(Code::Failed, format!("the drill ended {}", view.state), "", now))
        }
        _ => Ok(()),
    }
}

/// Follow a drill by its steps; while one of its recoveries runs, that is shown.
fn to_the_end(client: &Client, mut view: DrillView, wait: &Wait, output: Output) -> Result<DrillView, Fault> {
    let begun = std::time::Instant::now();
    let look = Look::choose(output);
    let mut said = std::collections::BTreeSet::new();
    loop {
        for step in view
            .steps
            .iter()
            .filter(|step| !matches!(step.state.as_str(), "pending" | "running" | "waiting_person"))
        {
            let endpoint = step.endpoint.as_ref().map(|endpoint| format!(" {endpoint}")).unwrap_or_default();
            if said.insert(format!("{}{endpoint}", step.step)) && !output.is_data() {
                eprintln!("{:<8}{}{endpoint}: {}", step.state, step.step, step.what);
            }
        }
        if !matches!(view.state.as_str(), "running" | "waiting_person") {
            return Ok(view);
        }
        for step in view.steps.iter().filter(|step| step.state == "waiting_person") {
            if said.insert(format!("? {}", step.step)) && !output.is_data() {
                let of = step.endpoint.as_ref().map(|of| format!(" --endpoint {of}")).unwrap_or_default();
                let answer = format!("groundstate drill answer {} --step {}{of}", view.drill, step.step);
                eprintln!("waits   {}: {} (`{answer}`, and `--no` where it is not so)", step.step, step.what);
            }
        }
        if wait.timeout.is_some_and(|limit| begun.elapsed().as_secs() > limit) {
            return Err(Fault::new(
                Code::TimedOut,
                "the drill is not over in time",
                "",
                "it goes on by itself",
            ));
        }
        if let Some(job) = view.jobs.last() {
            let job: JobView = client.get(&format!("/api/v1/jobs/{job}"))?;
            if matches!(job.state, JobState::Working { .. }) {
                // A held or failed recovery is the drill's to judge, not ours.
                let _ = follow::to_the_end(client, job, look, wait.timeout.map(Duration::from_secs));
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        view = client.get(&format!("/api/v1/drills/{}", view.drill))?;
    }
}
