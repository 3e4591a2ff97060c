//! From a run's record and the caller's circumstances to the model of the report.

use super::{
    Action, Circumstances, Claim, Cleanup, EndpointResult, FailedCheck, NotAssessed, Objective, Observation,
    Person, Plan, RunReport, SCHEMA, Standing, StepResult, Trend, TrendRun, words,
};
use crate::{
    measure::{self, Clock},
    run::{CheckResult, Failure, RunRecord, TargetState, Task, TaskState, Verdict},
    runbook::{ModeName, Verb},
    target::Place,
};

/// Clean runs that a claim of 90 % needs.
const RUNS_FOR_90: u32 = 29;

pub(super) fn build(record: &RunRecord, circumstances: Circumstances) -> RunReport {
    let verdict = record.verdict();
    let endpoints: Vec<EndpointResult> =
        record.targets.iter().map(|planned| endpoint(record, planned, &circumstances.endpoints)).collect();
    let objectives = objectives(record, &endpoints);
    let steps: Vec<StepResult> = record.tasks.iter().map(|task| step_result(record, task)).collect();
    let cleanup = cleanup(record);
    RunReport {
        schema: SCHEMA.to_owned(),
        run: record.run.clone(),
        mode: record.mode,
        verdict,
        summary: summary(record, verdict, &endpoints, &cleanup),
        plan: Plan {
            runbook: record.runbook.name.clone(),
            version: record.runbook.version,
            digest: record.runbook.digest.clone(),
            title: record.runbook.title_en().to_owned(),
            purpose: record.runbook.purpose.clone(),
            owner: record.runbook.owner.clone(),
            binding: record.binding.clone(),
        },
        planned_at_ms: record.planned_at_ms,
        begun_at_ms: record.begun_at_ms,
        written_at_ms: circumstances.written_at_ms,
        people: people(record),
        scope: record.targets.clone(),
        claims: claims(record, &endpoints, &circumstances),
        trends: trends(record, &endpoints, &circumstances),
        failed_checks: failed_checks(record),
        deviations: deviations(record, &steps, &endpoints, &circumstances),
        actions: actions(record, &objectives, &steps, &cleanup),
        not_assessed: not_assessed(record, &objectives),
        objectives,
        endpoints,
        steps,
        cleanup,
        timeline: record.history.clone(),
        site: circumstances.site,
        appliance: circumstances.appliance,
        evidence: circumstances.evidence,
        seal: circumstances.seal,
    }
}

fn endpoint(record: &RunRecord, planned: &crate::run::FrozenTarget, seen: &[Observation]) -> EndpointResult {
    let state = record.target_state(&planned.target);
    let observed = seen.iter().find(|observation| observation.target == planned.target).cloned();
    let mine = record.tasks.iter().filter(|task| task.target.as_ref() == Some(&planned.target));
    let timings = observed.as_ref().map_or(&[][..], |observation| &observation.timings);
    let mut measured = measure::measure(timings);
    if state != TargetState::Proven {
        // The last phase of a failed recovery has an end as well; it is no recovery time.
        (measured.service_rto_ms, measured.machine_rto_ms) = (None, None);
    }
    EndpointResult {
        planned: planned.clone(),
        state: state.word().to_owned(),
        failure: match state {
            TargetState::Failed(why) | TargetState::Held(why) => Some(why),
            _ => None,
        },
        measured,
        observed,
        target_ms: record.runbook.objectives.per_target_rto_ms,
        checks: mine.flat_map(|task| checks_of(task).to_vec()).collect(),
    }
}

fn checks_of(task: &Task) -> &[CheckResult] {
    match &task.state {
        TaskState::Passed { checks, .. } | TaskState::Failed { checks, .. } => checks,
        TaskState::Pending | TaskState::Working { .. } | TaskState::Skipped { .. } => &[],
    }
}

fn step_result(record: &RunRecord, task: &Task) -> StepResult {
    let step = record.step_of(task);
    let (state, what, from_ms, to_ms) = match &task.state {
        TaskState::Pending => ("pending", String::new(), None, None),
        TaskState::Working { from_ms, .. } => {
            ("working", "this report is part of it".to_owned(), Some(*from_ms), None)
        }
        TaskState::Passed { from_ms, to_ms, what, .. } => {
            ("passed", what.clone(), Some(*from_ms), Some(*to_ms))
        }
        TaskState::Failed { from_ms, to_ms, why, .. } => {
            ("failed", format!("{} [{}]", why.what, why.code), Some(*from_ms), Some(*to_ms))
        }
        TaskState::Skipped { why, not_meant: true, .. } => ("not meant", why.clone(), None, None),
        TaskState::Skipped { why, .. } => ("skipped", why.clone(), None, None),
    };
    StepResult {
        step: task.step.clone(),
        verb: step.map_or("", |step| step.uses.verb().word()).to_owned(),
        target: task.target.clone(),
        state: state.to_owned(),
        what,
        from_ms,
        took_ms: from_ms.zip(to_ms).map(|(from_ms, to_ms)| to_ms.saturating_sub(from_ms)),
        target_ms: step.and_then(|step| step.target_ms),
        attempts: task.attempts,
    }
}

fn summary(
    record: &RunRecord,
    verdict: Verdict,
    endpoints: &[EndpointResult],
    cleanup: &Cleanup,
) -> Vec<String> {
    let proven = endpoints.iter().filter(|endpoint| endpoint.state == "proven").count();
    let mut said = vec![format!(
        "{proven} of {} returned to its golden image and proved it. The run {}.",
        words::count(endpoints.len(), "endpoint"),
        match verdict {
            Verdict::Succeeded => "succeeded",
            Verdict::Partly => "succeeded in part",
            Verdict::Failed => "failed",
            Verdict::Aborted => "was stopped by a person",
        }
    )];
    if let Some(slowest_ms) = endpoints.iter().filter_map(|endpoint| endpoint.measured.service_rto_ms).max() {
        let aim = record.runbook.objectives.per_target_rto_ms;
        let aim = aim.map(|ms| format!(" against an objective of {}", words::length(ms))).unwrap_or_default();
        said.push(format!("The slowest took {} from declared to released{aim}.", words::length(slowest_ms)));
    }
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.state != "proven").take(3) {
        let why =
            endpoint.failure.as_ref().map_or("it was not worked on to the end.", |why| why.what.as_str());
        said.push(format!("{}: {why}", endpoint.planned.target));
    }
    if !cleanup.proven {
        said.push("That nothing was left behind is not proven: do not close this run.".to_owned());
    }
    if record.mode == ModeName::Virtual {
        said.push(
            "Virtual: this shows the procedure and the software. It does not count as a drill on hardware."
                .to_owned(),
        );
    }
    said
}

fn people(record: &RunRecord) -> Vec<Person> {
    let asked = Person {
        part: "asked for the run".into(),
        person: record.requester.clone(),
        at_ms: record.planned_at_ms,
    };
    let approvals = record.tasks.iter().flat_map(|task| {
        let given = match &task.state {
            TaskState::Passed { approvals, .. } | TaskState::Working { approvals, .. } => {
                approvals.as_slice()
            }
            TaskState::Pending | TaskState::Failed { .. } | TaskState::Skipped { .. } => &[],
        };
        given.iter().map(|given| Person {
            part: format!("approved `{}` as {}", task.step, given.role),
            person: given.person.clone(),
            at_ms: given.at_ms,
        })
    });
    let stopped = record.stop.iter().filter_map(|stop| {
        Some(Person { part: "stopped the run".into(), person: stop.person.clone()?, at_ms: stop.at_ms })
    });
    std::iter::once(asked).chain(approvals).chain(stopped).collect()
}

fn objectives(record: &RunRecord, endpoints: &[EndpointResult]) -> Vec<Objective> {
    let aims = record.runbook.objectives;
    let per_endpoint = |pick: fn(&EndpointResult) -> Option<u64>| {
        let figures: Vec<u64> = endpoints.iter().filter_map(pick).collect();
        (figures.iter().max().copied(), figures.len())
    };
    let (service_ms, service_n) = per_endpoint(|endpoint| endpoint.measured.service_rto_ms);
    let (machine_ms, machine_n) = per_endpoint(|endpoint| endpoint.measured.machine_rto_ms);
    let (age_ms, age_n) = per_endpoint(|endpoint| endpoint.observed.as_ref()?.config_age_ms);
    let all = endpoints.len();
    let over = record.tasks.iter().filter(|task| !task.finally).all(Task::is_through);
    let objective = |name: &str, meaning: &str, target_ms: Option<u64>, actual_ms: Option<u64>, n, wanted| {
        let standing = match (target_ms, actual_ms) {
            (None, None) => Standing::NotMeasured,
            (None, Some(_)) => Standing::NoTarget,
            (Some(target_ms), Some(actual_ms)) if actual_ms > target_ms => Standing::Missed,
            (Some(_), Some(_)) if n == wanted => Standing::Met,
            // Who never got there is not "not measured". Only the age of a configuration can simply be unknown.
            (Some(_), _) if over && name.starts_with("RTO") => Standing::Missed,
            (Some(_), _) => Standing::NotMeasured,
        };
        Objective { name: name.into(), meaning: meaning.into(), target_ms, actual_ms, n, standing }
    };
    let run_ms = run_took_ms(record);
    vec![
        objective(
            "RTO of the run",
            "from its beginning to the end of its last step",
            aims.rto_ms,
            run_ms,
            usize::from(run_ms.is_some()),
            1,
        ),
        objective(
            "RTO of an endpoint",
            "from declared to released, slowest",
            aims.per_target_rto_ms,
            service_ms,
            service_n,
            all,
        ),
        objective(
            "RTO by machines",
            "of it, from triggered to proven, slowest",
            aims.machine_rto_ms,
            machine_ms,
            machine_n,
            all,
        ),
        objective(
            "RPO of an endpoint",
            "age of the restored configuration, oldest",
            aims.rpo_ms,
            age_ms,
            age_n,
            all,
        ),
    ]
}

/// From the beginning to the end of the last step before `finally`; `None` while one of them is open, or when the run stopped early.
fn run_took_ms(record: &RunRecord) -> Option<u64> {
    let mut end_ms = record.begun_at_ms?;
    for task in record.tasks.iter().filter(|task| !task.finally) {
        match task.state {
            TaskState::Passed { to_ms, .. } | TaskState::Failed { to_ms, went_on: true, .. } => {
                end_ms = end_ms.max(to_ms)
            }
            _ => return None,
        }
    }
    Some(end_ms.saturating_sub(record.begun_at_ms?))
}

/// The classes and places of a run.
fn kinds(record: &RunRecord) -> Vec<(&str, Place)> {
    let mut kinds: Vec<(&str, Place)> = record.targets.iter().map(|t| (t.class.as_str(), t.place)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Earlier recoveries that are drawn beside those of a run.
const TREND_MAX: usize = 40;

/// The service times of each class and place: those before, and this one. Nothing where nothing came before.
fn trends(record: &RunRecord, endpoints: &[EndpointResult], circumstances: &Circumstances) -> Vec<Trend> {
    let of = |(class, place): (&str, Place)| {
        let alike = |run: &&measure::Observed| {
            run.class == class && measure::comparable(place, run.place, Clock::Service)
        };
        let before: Vec<TrendRun> = circumstances
            .earlier
            .iter()
            .filter(alike)
            .map(|run| TrendRun { took_ms: run.measured.service_rto_ms.filter(|_| run.proven), now: false })
            .collect();
        let mine = endpoints.iter().filter(|e| e.planned.class == class && e.planned.place == place);
        let mine = mine.map(|e| TrendRun { took_ms: e.measured.service_rto_ms, now: true });
        (!before.is_empty()).then(|| Trend {
            of: format!("{class}, {}", place.label()),
            objective_ms: record.runbook.objectives.per_target_rto_ms,
            runs: before.iter().skip(before.len().saturating_sub(TREND_MAX)).copied().chain(mine).collect(),
        })
    };
    kinds(record).into_iter().filter_map(of).collect()
}

/// What the runs of each class and place show together: those before, and this one.
fn claims(record: &RunRecord, endpoints: &[EndpointResult], circumstances: &Circumstances) -> Vec<Claim> {
    kinds(record)
        .into_iter()
        .filter_map(|(class, place)| {
            let mine = endpoints.iter().filter(|e| e.planned.class == class && e.planned.place == place);
            let clean = mine.clone().all(|endpoint| endpoint.state == "proven");
            // After a miss the count starts anew: only what came since counts.
            let before = circumstances
                .earlier
                .iter()
                .filter(|run| run.class == class && measure::comparable(place, run.place, Clock::Service))
                .rev()
                .take_while(|run| run.proven);
            let streak = if clean { before.count() + mine.clone().count() } else { 0 };
            let mut times = measure::pool(&circumstances.earlier, class, place, Clock::Service);
            times.extend(mine.filter_map(|endpoint| endpoint.measured.service_rto_ms));
            let summary = measure::summary(&times)?;
            let n = u32::try_from(streak).unwrap_or(u32::MAX);
            Some(Claim {
                of: format!("{class}, {}", place.label()),
                percent: (n > 0).then(|| measure::claimable_percent(n)),
                missing_for_90: RUNS_FOR_90.saturating_sub(n),
                summary,
            })
        })
        .collect()
}

fn failed_checks(record: &RunRecord) -> Vec<FailedCheck> {
    let of_task = |task: &Task| -> Vec<FailedCheck> {
        let failed = checks_of(task).iter().filter(|check| !check.passed);
        failed
            .map(|check| FailedCheck {
                step: task.step.clone(),
                target: task.target.clone(),
                check: check.clone(),
            })
            .collect()
    };
    record.tasks.iter().flat_map(of_task).collect()
}

fn where_of(step: &StepResult) -> String {
    match &step.target {
        Some(target) => format!("`{}` on {target}", step.step),
        None => format!("`{}`", step.step),
    }
}

fn over_target(step: &StepResult) -> Option<(u64, u64)> {
    step.took_ms.zip(step.target_ms).filter(|(took_ms, target_ms)| took_ms > target_ms)
}

fn deviations(
    record: &RunRecord,
    steps: &[StepResult],
    endpoints: &[EndpointResult],
    circumstances: &Circumstances,
) -> Vec<String> {
    let mut said: Vec<String> =
        record.stop.iter().map(|stop| format!("The run stopped early: {}.", stop.why)).collect();
    for step in steps {
        if step.attempts > 1 {
            said.push(format!("{} was begun {} times.", where_of(step), step.attempts));
        }
        if step.state == "skipped" {
            said.push(format!("{} was skipped: {}.", where_of(step), step.what));
        }
        if let Some((took_ms, target_ms)) = over_target(step) {
            let (took, target) = (words::length(took_ms), words::length(target_ms));
            said.push(format!("{} took {took}; its target is {target}.", where_of(step)));
        }
    }
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.state == "proven") {
        let planned = &endpoint.planned;
        for slower in measure::slower_than_ever(
            &endpoint.measured,
            &circumstances.earlier,
            &planned.class,
            planned.place,
        ) {
            let (took, middle) = (words::length(slower.now_ms), words::length(slower.median_ms));
            said.push(format!(
                "On {} `{}` took {took}: longer than in each of {} earlier runs, whose middle is {middle}. Look what changed: image, firmware or network.",
                planned.target,
                slower.phase.label(),
                slower.n
            ));
        }
    }
    said
}

fn cleanup(record: &RunRecord) -> Cleanup {
    let last = || record.tasks.iter().filter(|task| task.finally);
    let is_check = |task: &&Task| record.step_of(task).is_some_and(|step| step.uses.verb() == Verb::Check);
    let checks: Vec<CheckResult> =
        last().filter(is_check).flat_map(|task| checks_of(task).to_vec()).collect();
    let passed = last().filter(is_check).all(|task| matches!(task.state, TaskState::Passed { .. }));
    Cleanup { proven: passed && !checks.is_empty() && checks.iter().all(|check| check.passed), checks }
}

fn actions(
    record: &RunRecord,
    objectives: &[Objective],
    steps: &[StepResult],
    cleanup: &Cleanup,
) -> Vec<Action> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    for (task, step) in record.tasks.iter().zip(steps) {
        if let TaskState::Failed { why: Failure { what, what_now, .. }, .. } = &task.state {
            found.push((where_of(step), what.clone(), what_now.clone()));
        } else if let Some((took_ms, target_ms)) = over_target(step) {
            let what =
                format!("It took {}; the target is {}.", words::length(took_ms), words::length(target_ms));
            found.push((where_of(step), what, "Find the slow part, or set a target that can be met.".into()));
        }
    }
    for objective in objectives.iter().filter(|objective| objective.standing == Standing::Missed) {
        let aim = objective.target_ms.map_or("none".into(), words::length);
        let what = match objective.actual_ms {
            Some(ms) => {
                format!("The slowest of {} took {}; the objective is {aim}.", objective.n, words::length(ms))
            }
            None => format!("It was never reached; the objective is {aim}."),
        };
        found.push((
            objective.name.clone(),
            what,
            "Remove the cause or agree another objective, then run this drill again.".into(),
        ));
    }
    if !cleanup.proven {
        let what = "That nothing was left behind is not proven.".to_owned();
        found.push((
            "clean-up".into(),
            what,
            "Look for open boot tickets and jobs, close them, and check again.".into(),
        ));
    }
    let action = |(at, (from, what, what_now)): (usize, _)| Action {
        id: format!("A{}", at + 1),
        from,
        what,
        what_now,
    };
    found.into_iter().enumerate().map(action).collect()
}

fn not_assessed(record: &RunRecord, objectives: &[Objective]) -> Vec<NotAssessed> {
    let mut said: Vec<(&str, &str)> = Vec::new();
    if record.targets.iter().any(|target| target.place == Place::Virtual) {
        said.push((
            "Hardware: firmware, boot order, network card, disk and TPM of the real class; virtual endpoints stand for none of them",
            "Owner: a drill on a bench or a spare disk of the class",
        ));
    }
    if objectives.iter().any(|o| o.name.starts_with("RPO") && o.standing == Standing::NotMeasured) {
        said.push((
            "The age of what was restored (RPO): no configuration capture was part of this run",
            "Owner: a run that restores the station's own configuration",
        ));
    }
    said.extend([
        ("Whether the golden image's engineering content (recipes, screens, interlocks) is right: a digest proves sameness only", "Owner: engineering sign-off"),
        ("Safe state of the line and essential functions while an endpoint is away", "Owner: process safety"),
        ("Controllers, drives and safety systems: their logic and its backup", "Owner or integrator"),
        ("Zones, conduits, firewalls and switches", "Integrator"),
        ("People: training, physical access, contracts", "Owner: security programme"),
        ("Whether the site meets a security level (IEC 62443-3-3): this report gives facts for that assessment and no verdict", "Assessor"),
    ]);
    said.into_iter().map(|(what, who)| NotAssessed { what: what.into(), who: who.into() }).collect()
}
