//! From a run's record and the caller's circumstances to the model of the report.

use super::{
    Action, Circumstances, Claim, Cleanup, EndpointResult, FailedCheck, NotAssessed, Objective, Observation,
    Person, Plan, RunReport, SCHEMA, Standing, StepResult, Trend, TrendRun, words,
};
use crate::{
    measure::{self, Clock},
    paper::Language,
    run::{CheckResult, Failure, RunRecord, TargetState, Task, TaskState, Verdict},
    runbook::{ModeName, Verb},
    target::Place,
};

/// Clean runs that a claim of 90 % needs.
const RUNS_FOR_90: u32 = 29;

pub(super) fn build(record: &RunRecord, circumstances: Circumstances) -> RunReport {
    let language = circumstances.language;
    let verdict = record.verdict();
    let endpoints: Vec<EndpointResult> =
        record.targets.iter().map(|planned| endpoint(record, planned, &circumstances.endpoints)).collect();
    let objectives = objectives(record, &endpoints, language);
    let steps: Vec<StepResult> =
        record.tasks.iter().map(|task| step_result(record, task, language)).collect();
    let cleanup = cleanup(record);
    RunReport {
        schema: SCHEMA.to_owned(),
        language,
        run: record.run.clone(),
        mode: record.mode,
        verdict,
        summary: summary(record, verdict, &endpoints, &cleanup, language),
        plan: Plan {
            runbook: record.runbook.name.clone(),
            version: record.runbook.version,
            digest: record.runbook.digest.clone(),
            title: title(record, language),
            purpose: record.runbook.purpose.clone(),
            owner: record.runbook.owner.clone(),
            binding: record.binding.clone(),
        },
        planned_at_ms: record.planned_at_ms,
        begun_at_ms: record.begun_at_ms,
        written_at_ms: circumstances.written_at_ms,
        people: people(record, language),
        scope: record.targets.clone(),
        claims: claims(record, &endpoints, &circumstances),
        trends: trends(record, &endpoints, &circumstances),
        failed_checks: failed_checks(record),
        deviations: deviations(record, &steps, &endpoints, &circumstances),
        actions: actions(record, &objectives, &steps, &cleanup, language),
        not_assessed: not_assessed(record, &objectives, language),
        objectives,
        endpoints,
        steps,
        cleanup,
        timeline: record.history.clone(),
        around: circumstances.around,
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

/// The runbook's title in the reader's language, or in English where it has none.
fn title(record: &RunRecord, language: Language) -> String {
    let runbook = &record.runbook;
    runbook.title.get(language.code()).map_or(runbook.title_en(), String::as_str).to_owned()
}

fn step_result(record: &RunRecord, task: &Task, language: Language) -> StepResult {
    let step = record.step_of(task);
    let (state, what, from_ms, to_ms) = match &task.state {
        TaskState::Pending => ("pending", String::new(), None, None),
        TaskState::Working { from_ms, .. } => {
            let what = language.pick("this report is part of it", "dieser Bericht gehört dazu");
            ("working", what.to_owned(), Some(*from_ms), None)
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
    language: Language,
) -> Vec<String> {
    let proven = endpoints.iter().filter(|endpoint| endpoint.state == "proven").count();
    let all = words::endpoints(language, endpoints.len());
    let went = match verdict {
        Verdict::Succeeded => language.pick("succeeded", "ist gelungen"),
        Verdict::Partly => language.pick("succeeded in part", "ist zum Teil gelungen"),
        Verdict::Failed => language.pick("failed", "ist gescheitert"),
        Verdict::Aborted => language.pick("was stopped by a person", "wurde von einem Menschen beendet"),
    };
    let mut said = vec![language.pick(
        format!("{proven} of {all} returned to its golden image and proved it. The run {went}."),
        format!("{proven} von {all} kam auf sein Golden Image zurück und hat es bewiesen. Der Lauf {went}."),
    )];
    if let Some(slowest_ms) = endpoints.iter().filter_map(|endpoint| endpoint.measured.service_rto_ms).max() {
        let aim = record.runbook.objectives.per_target_rto_ms.map(words::length);
        let aim = aim.map(|aim| {
            language.pick(format!(" against an objective of {aim}"), format!(" bei einem Ziel von {aim}"))
        });
        let (took, aim) = (words::length(slowest_ms), aim.unwrap_or_default());
        said.push(language.pick(
            format!("The slowest took {took} from declared to released{aim}."),
            format!("Das langsamste brauchte {took} vom Ausrufen bis zur Freigabe{aim}."),
        ));
    }
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.state != "proven").take(3) {
        let untouched =
            language.pick("it was not worked on to the end.", "daran wurde nicht bis zum Ende gearbeitet.");
        let why = endpoint.failure.as_ref().map_or(untouched, |why| why.what.as_str());
        said.push(format!("{}: {why}", endpoint.planned.target));
    }
    if !cleanup.proven {
        let text = language.pick(
            "That nothing was left behind is not proven: do not close this run.",
            "Dass nichts zurückblieb, ist nicht bewiesen: diesen Lauf nicht abschließen.",
        );
        said.push(text.to_owned());
    }
    if record.mode == ModeName::Virtual {
        let text = language.pick(
            "Virtual: this shows the procedure and the software. It does not count as a drill on hardware.",
            "Virtuell: dies zeigt den Ablauf und die Software. Es zählt nicht als Übung auf Hardware.",
        );
        said.push(text.to_owned());
    }
    said
}

fn people(record: &RunRecord, language: Language) -> Vec<Person> {
    let asked = Person {
        part: language.pick("asked for the run", "hat den Lauf verlangt").into(),
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
            part: language.pick(
                format!("approved `{}` as {}", task.step, given.role),
                format!("hat `{}` als {} genehmigt", task.step, given.role),
            ),
            person: given.person.clone(),
            at_ms: given.at_ms,
        })
    });
    let stopped = record.stop.iter().filter_map(|stop| {
        let part = language.pick("stopped the run", "hat den Lauf beendet").into();
        Some(Person { part, person: stop.person.clone()?, at_ms: stop.at_ms })
    });
    std::iter::once(asked).chain(approvals).chain(stopped).collect()
}

fn objectives(record: &RunRecord, endpoints: &[EndpointResult], language: Language) -> Vec<Objective> {
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
            language.pick("RTO of the run", "RTO des Laufs"),
            language.pick(
                "from its beginning to the end of its last step",
                "von seinem Beginn bis zum Ende des letzten Schritts",
            ),
            aims.rto_ms,
            run_ms,
            usize::from(run_ms.is_some()),
            1,
        ),
        objective(
            language.pick("RTO of an endpoint", "RTO eines Endgeräts"),
            language
                .pick("from declared to released, slowest", "vom Ausrufen bis zur Freigabe, das langsamste"),
            aims.per_target_rto_ms,
            service_ms,
            service_n,
            all,
        ),
        objective(
            language.pick("RTO by machines", "RTO der Maschinen"),
            language.pick(
                "of it, from triggered to proven, slowest",
                "davon vom Auslösen bis zum Beweis, das langsamste",
            ),
            aims.machine_rto_ms,
            machine_ms,
            machine_n,
            all,
        ),
        objective(
            language.pick("RPO of an endpoint", "RPO eines Endgeräts"),
            language.pick(
                "age of the restored configuration, oldest",
                "Alter der wiederhergestellten Konfiguration, das höchste",
            ),
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
            of: format!("{class}, {}", words::place(circumstances.language, place)),
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
                of: format!("{class}, {}", words::place(circumstances.language, place)),
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

fn where_of(step: &StepResult, language: Language) -> String {
    match &step.target {
        Some(target) => format!("`{}` {} {target}", step.step, language.pick("on", "an")),
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
    let language = circumstances.language;
    let stopped = |why: &str| {
        language.pick(format!("The run stopped early: {why}."), format!("Der Lauf endete vorzeitig: {why}."))
    };
    let mut said: Vec<String> = record.stop.iter().map(|stop| stopped(&stop.why)).collect();
    for step in steps {
        let at = where_of(step, language);
        if step.attempts > 1 {
            let n = step.attempts;
            said.push(
                language.pick(format!("{at} was begun {n} times."), format!("{at} wurde {n}-mal begonnen.")),
            );
        }
        if step.state == "skipped" {
            let why = &step.what;
            said.push(
                language.pick(format!("{at} was skipped: {why}."), format!("{at} wurde übergangen: {why}.")),
            );
        }
        if let Some((took_ms, target_ms)) = over_target(step) {
            let (took, target) = (words::length(took_ms), words::length(target_ms));
            said.push(language.pick(
                format!("{at} took {took}; its target is {target}."),
                format!("{at} brauchte {took}; das Ziel ist {target}."),
            ));
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
            let (target, phase, n) = (&planned.target, slower.phase.label(), slower.n);
            said.push(language.pick(
                format!("On {target} `{phase}` took {took}: longer than in each of {n} earlier runs, whose middle is {middle}. Look what changed: image, firmware or network."),
                format!("An {target} brauchte `{phase}` {took}: länger als in jedem von {n} früheren Läufen, deren Mitte {middle} ist. Nachsehen, was sich geändert hat: Image, Firmware oder Netz."),
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

/// Whose it mostly is that a step goes well: what people do is the owner's, what the appliance does is its own.
fn duty_of(verb: &str) -> &'static str {
    const OF_THE_APPLIANCE: [Verb; 6] =
        [Verb::Check, Verb::Reimage, Verb::Verify, Verb::Enrol, Verb::Release, Verb::Report];
    if OF_THE_APPLIANCE.iter().any(|one| one.word() == verb) { "appliance" } else { "owner" }
}

fn actions(
    record: &RunRecord,
    objectives: &[Objective],
    steps: &[StepResult],
    cleanup: &Cleanup,
    language: Language,
) -> Vec<Action> {
    let mut found: Vec<(String, String, String, &'static str)> = Vec::new();
    for (task, step) in record.tasks.iter().zip(steps) {
        let at = where_of(step, language);
        if let TaskState::Failed { why: Failure { what, what_now, .. }, .. } = &task.state {
            found.push((at, what.clone(), what_now.clone(), duty_of(&step.verb)));
        } else if let Some((took_ms, target_ms)) = over_target(step) {
            let (took, aim) = (words::length(took_ms), words::length(target_ms));
            let what = language.pick(
                format!("It took {took}; the target is {aim}."),
                format!("Es brauchte {took}; das Ziel ist {aim}."),
            );
            let now = language.pick(
                "Find the slow part, or set a target that can be met.",
                "Den langsamen Teil finden, oder ein Ziel setzen, das erreichbar ist.",
            );
            found.push((at, what, now.into(), duty_of(&step.verb)));
        }
    }
    for objective in objectives.iter().filter(|objective| objective.standing == Standing::Missed) {
        let aim = objective.target_ms.map_or("–".into(), words::length);
        let n = objective.n;
        let (actual_ms, aim_ms) = (objective.actual_ms, objective.target_ms);
        let who_came_was_in_time = actual_ms.zip(aim_ms).is_some_and(|(took_ms, aim_ms)| took_ms <= aim_ms);
        let what = match actual_ms.map(words::length) {
            Some(took) if who_came_was_in_time => language.pick(
                format!("Not every endpoint got there: {n} did, in at most {took}; the objective is {aim}."),
                format!(
                    "Nicht jedem Endgerät gelang es: bei {n} dauerte es höchstens {took}; das Ziel ist {aim}."
                ),
            ),
            Some(took) => language.pick(
                format!("The slowest of {n} took {took}; the objective is {aim}."),
                format!("Das langsamste von {n} brauchte {took}; das Ziel ist {aim}."),
            ),
            None => language.pick(
                format!("It was never reached; the objective is {aim}."),
                format!("Es wurde nie erreicht; das Ziel ist {aim}."),
            ),
        };
        let now = language.pick(
            "Remove the cause or agree another objective, then run this drill again.",
            "Die Ursache beseitigen oder ein anderes Ziel vereinbaren, dann diese Übung wiederholen.",
        );
        found.push((objective.name.clone(), what, now.into(), "owner"));
    }
    if !cleanup.proven {
        let what = language.pick(
            "That nothing was left behind is not proven.",
            "Dass nichts zurückblieb, ist nicht bewiesen.",
        );
        let now = language.pick(
            "Look for open boot tickets and jobs, close them, and check again.",
            "Nach offenen Boot-Tickets und Aufträgen sehen, sie schließen und erneut prüfen.",
        );
        found.push((language.pick("clean-up", "Aufräumen").into(), what.into(), now.into(), "appliance"));
    }
    let action = |(at, (from, what, what_now, duty)): (usize, (String, String, String, &str))| Action {
        id: format!("A{}", at + 1),
        from,
        what,
        what_now,
        duty: duty.into(),
    };
    found.into_iter().enumerate().map(action).collect()
}

fn not_assessed(record: &RunRecord, objectives: &[Objective], language: Language) -> Vec<NotAssessed> {
    /// A sentence in English and in German.
    type Both = (&'static str, &'static str);
    let mut said: Vec<(Both, Both)> = Vec::new();
    if record.targets.iter().any(|target| target.place == Place::Virtual) {
        said.push((
            ("Hardware: firmware, boot order, network card, disk and TPM of the real class; virtual endpoints stand for none of them",
             "Hardware: Firmware, Bootreihenfolge, Netzwerkkarte, Datenträger und TPM der wirklichen Klasse; virtuelle Endgeräte stehen für nichts davon"),
            ("Owner: a drill on a bench or a spare disk of the class", "Betreiber: eine Übung am Prüfplatz oder mit einem Ersatzdatenträger der Klasse"),
        ));
    }
    if objectives.iter().any(|o| o.name.starts_with("RPO") && o.standing == Standing::NotMeasured) {
        said.push((
            ("The age of what was restored (RPO): no configuration capture was part of this run",
             "Das Alter des Wiederhergestellten (RPO): keine gesicherte Konfiguration war Teil dieses Laufs"),
            ("Owner: a run that restores the station's own configuration", "Betreiber: ein Lauf, der die eigene Konfiguration der Station wiederherstellt"),
        ));
    }
    said.extend([
        (("Whether the golden image's engineering content (recipes, screens, interlocks) is right: a digest proves sameness only",
          "Ob der Inhalt des Golden Image (Rezepte, Bilder, Verriegelungen) richtig ist: eine Prüfsumme zeigt nur Gleichheit"),
         ("Owner: engineering sign-off", "Betreiber: Freigabe durch das Engineering")),
        (("Safe state of the line and essential functions while an endpoint is away",
          "Sicherer Zustand der Linie und wesentliche Funktionen, solange ein Endgerät fehlt"),
         ("Owner: process safety", "Betreiber: Prozesssicherheit")),
        (("Controllers, drives and safety systems: their logic and its backup",
          "Steuerungen, Antriebe und Sicherheitssysteme: ihre Logik und deren Sicherung"),
         ("Owner or integrator", "Betreiber oder Integrator")),
        (("Zones, conduits, firewalls and switches", "Zonen, Leitungen, Firewalls und Switches"), ("Integrator", "Integrator")),
        (("People: training, physical access, contracts", "Menschen: Schulung, Zutritt, Verträge"),
         ("Owner: security programme", "Betreiber: Sicherheitsprogramm")),
        (("Whether the site meets a security level (IEC 62443-3-3): this report gives facts for that assessment and no verdict",
          "Ob der Standort ein Security Level erreicht (IEC 62443-3-3): dieser Bericht gibt Tatsachen für diese Beurteilung und kein Urteil"),
         ("Assessor", "Wer beurteilt")),
    ]);
    let picked = |(en, de): (&str, &str)| language.pick(en, de).to_owned();
    said.into_iter().map(|(what, who)| NotAssessed { what: picked(what), who: picked(who) }).collect()
}
