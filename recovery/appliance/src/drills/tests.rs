//! Drills against a real service: who must answer, one job per order, also across a restart, and the report.

mod cuts;
mod due;

use axum::http::StatusCode;
use recovery_protocol::{
    drill::{DrillAnswer, DrillView},
    evidence::pack,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Drills, Rehearser};
use crate::{db, reports::Wanted, service::Actor, testing::Bench};

const PATH: &str = "/api/v1/drills";

/// What stands in each pack.
const PACKED: [&str; 6] =
    ["report.html", "report.pdf", "report.de.html", "report.de.pdf", "report.json", "runbook.yaml"];

async fn bench() -> Bench {
    let bench = Bench::new(
        "[blueprints.hmi-bench]\nimage = \"hmi-panel\"\nplace = \"bench\"\n[groups.bench]\ndrill_zone = true\n",
    )
    .await;
    let words = json!({ "drill_safe": true, "blueprint": "hmi-bench", "group": "bench" });
    bench.add("bench-01", "52:54:00:12:34:56", words).await;
    for (person, duty) in [("ada", "drill-lead"), ("eve", "line-technician")] {
        let new = json!({ "person": person, "role": "engineer" });
        assert_eq!(bench.ask("POST", "/api/v1/people", new).await.0, StatusCode::OK);
        let duties = json!({ "duties": [duty] });
        let path = format!("/api/v1/people/{person}/duties");
        assert_eq!(bench.ask("PUT", &path, duties.clone()).await, (StatusCode::OK, duties));
    }
    bench
}

fn run(rehearser: Rehearser) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let stop = CancellationToken::new();
    (stop.clone(), tokio::spawn(rehearser.run(stop)))
}

async fn start(bench: &Bench) -> DrillView {
    let new = json!({ "runbook": "quarterly-hmi-drill", "endpoints": ["bench-01"] });
    let (status, view) = bench.ask("POST", PATH, new).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{view}");
    serde_json::from_value(view).unwrap()
}

/// The drill once `want` holds of it.
async fn until(bench: &Bench, drill: &str, want: impl Fn(&DrillView) -> bool) -> DrillView {
    let mut changes = bench.service.changes();
    loop {
        let (_, view) = bench.ask("GET", &format!("{PATH}/{drill}"), Value::Null).await;
        let view: DrillView = serde_json::from_value(view).unwrap();
        if want(&view) {
            return view;
        }
        changes.changed().await.unwrap();
    }
}

fn step<'a>(view: &'a DrillView, step: &str) -> &'a str {
    view.steps.iter().find(|seen| seen.step == step).map_or("", |seen| seen.state.as_str())
}

fn yes(person: &str, role: &str) -> Value {
    json!({ "step": "go", "person": person, "role": role, "yes": true })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_waits_for_its_lead_and_recovers_once_even_across_a_restart() {
    let mut bench = bench().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    let drill = start(&bench).await.drill;
    until(&bench, &drill, |view| step(view, "go") == "waiting_person").await;
    let answer = format!("{PATH}/{drill}/answer");
    // Whoever asked for it is signed in here, whatever name they type.
    for (wrong, why) in [
        (yes("", ""), "cannot approve"),
        (yes("operator:token", ""), "cannot approve"),
        (yes("", "drill-lead"), "nobody becomes one by saying so"),
        (yes("ada", "drill-lead"), "by who is signed in, operator:token"),
        (json!({ "step": "none", "person": "ada", "yes": true }), "no step"),
    ] {
        let (status, problem) = bench.ask("POST", &answer, wrong).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(problem["detail"].as_str().unwrap().contains(why), "{why}: {problem}");
    }
    let ada = Actor::operator("ada");
    let says = |answer: Value| serde_json::from_value::<DrillAnswer>(answer).unwrap();
    // A duty is on record, or it is none: eve is not the lead, and ada is nothing else.
    for (who, role) in [("eve", ""), ("eve", "drill-lead"), ("ada", "visitor")] {
        let refused =
            bench.drills.answer(&Actor::operator(who), &drill, says(yes(who, role))).await.unwrap_err();
        assert!(refused.detail.contains("on record") && refused.remedy.contains("person duty"), "{refused}");
    }
    bench.drills.answer(&ada, &drill, says(yes("ada", ""))).await.unwrap();
    let record = &bench.drills.kept().values().next().unwrap().record.clone();
    let said = format!("{record:?}");
    assert!(said.contains("operator:ada") && said.contains("drill-lead"), "who was signed in, in their duty");
    until(&bench, &drill, |view| !view.jobs.is_empty()).await;

    stop.cancel();
    running.await.unwrap();
    let (again, rehearser) = Drills::open(bench.service.clone(), bench.journal.config.clone()).unwrap();
    let (stop, running) = run(rehearser);
    let job = bench.service.jobs(None).await.unwrap();
    assert_eq!((job.len(), job[0].trigger.as_str()), (1, "drill"));
    let (status, _) = bench.ask("POST", &format!("/api/v1/jobs/{}/cancel", job[0].job), Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let mut changes = bench.service.changes();
    let view = loop {
        let view = again.view(&drill).unwrap();
        if view.state == "failed" {
            break view;
        }
        changes.changed().await.unwrap();
    };
    assert_eq!(view.jobs, [job[0].job]);
    assert_eq!(
        (step(&view, "ready"), step(&view, "image"), step(&view, "paper")),
        ("passed", "failed", "passed")
    );
    let report = again.report(&drill, Wanted::default()).await.unwrap();
    let report = String::from_utf8(report.bytes).unwrap();
    assert!(report.contains("DRILL") && report.contains("bench-01") && !report.contains("<script"));
    let packed = again.pack(&ada, &drill).await.unwrap();
    let origin = bench.journal.origin();
    let seen = pack::verify(&packed, &origin).unwrap();
    let evidence = format!("evidence/{}.jsonl", job[0].job);
    for name in PACKED.iter().chain([&evidence.as_str()]) {
        assert!(seen.files.contains_key(*name), "{name}");
    }
    let lines = seen.files[&evidence].iter().filter(|byte| **byte == b'\n').count();
    assert!(lines > 0 && seen.proven == lines, "each entry of it is proven: {} of {lines}", seen.proven);
    assert_eq!((seen.entry.actor.as_str(), &seen.entry.facts["drill"]), ("operator:ada", &json!(drill)));
    let mut altered = packed.clone();
    let at = packed.windows(9).rposition(|some| some == b"<!DOCTYPE").unwrap();
    altered[at + 20] ^= 1;
    assert_eq!(pack::verify(&altered, &origin).unwrap_err(), pack::BadPack::Altered("report.html".into()));
    assert_eq!(bench.service.jobs(None).await.unwrap().len(), 1);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_never_names_an_endpoint_that_works_for_the_plant() {
    let bench = bench().await;
    bench.add("press-01", "52:54:00:12:34:57", json!({})).await;
    // Each of the three words missing is enough: on record as drill-safe, a place that may be drilled, a drill zone.
    bench.add("a", "52:54:00:12:34:58", json!({ "drill_safe": true, "group": "bench" })).await;
    bench.add("b", "52:54:00:12:34:59", json!({ "drill_safe": true, "blueprint": "hmi-bench" })).await;
    bench.add("c", "52:54:00:12:34:60", json!({ "blueprint": "hmi-bench", "group": "bench" })).await;
    for endpoints in
        [json!(["press-01"]), json!(["bench-01", "press-01"]), json!(["a"]), json!(["b"]), json!(["c"])]
    {
        let new = json!({ "runbook": "quarterly-hmi-drill", "endpoints": endpoints });
        let (status, problem) = bench.ask("POST", PATH, new).await;
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("not-drill-safe")), "{problem}");
    }
    let none = json!({ "runbook": "quarterly-hmi-drill", "endpoints": [] });
    assert_eq!(bench.ask("POST", PATH, none).await.1["code"], "drill-refused");
    assert!(bench.service.jobs(None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_stops_a_drill() {
    let mut bench = bench().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    let drill = start(&bench).await.drill;
    until(&bench, &drill, |view| step(view, "go") == "waiting_person").await;
    let abort = format!("{PATH}/{drill}/abort");
    let (status, refused) = bench.ask("POST", &format!("{PATH}/{drill}/pack"), json!({})).await;
    assert_eq!(
        (status, &refused["code"]),
        (StatusCode::CONFLICT, &json!("drill-not-over")),
        "half a drill is none"
    );
    assert_eq!(bench.ask("POST", &abort, json!({ "reason": "shift ends" })).await.0, StatusCode::OK);
    until(&bench, &drill, |view| view.state == "aborted").await;
    assert_eq!(bench.ask("POST", &abort, Value::Null).await.0, StatusCode::CONFLICT);
    stop.cancel();
    running.await.unwrap();
}

/// A drill whose job is there, and the job.
async fn with_job(bench: &Bench) -> (String, recovery_protocol::JobId) {
    let drill = start(bench).await.drill;
    until(bench, &drill, |view| step(view, "go") == "waiting_person").await;
    let lead = serde_json::from_value(yes("", "drill-lead")).unwrap();
    bench.drills.answer(&Actor::operator("ada"), &drill, lead).await.unwrap();
    let view = until(bench, &drill, |view| !view.jobs.is_empty()).await;
    (drill, view.jobs[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_waits_for_is_cancelled_or_on_record_as_left() {
    for (touched, said, kind) in
        [(false, "cancelled before anything", "order.cancel"), (true, "", "drill.left")]
    {
        let mut bench = bench().await;
        let (stop, running) = run(bench.rehearser.take().unwrap());
        let (drill, job) = with_job(&bench).await;
        let mut tx = bench.journal.begin().await.unwrap();
        let mut row = db::job::get(tx.conn(), job).await.unwrap().unwrap();
        row.job.touched = touched;
        db::job::put(tx.conn(), &row).await.unwrap();
        tx.commit().await.unwrap();
        let abort = json!({ "reason": "shift ends" });
        assert_eq!(bench.ask("POST", &format!("{PATH}/{drill}/abort"), abort).await.0, StatusCode::OK);
        let mut changes = bench.service.changes();
        while !bench.evidence(Some(job)).await.iter().any(|seen| seen == kind) {
            changes.changed().await.unwrap();
        }
        // The run says what it gave up; the job that goes on it follows to its end.
        let told = |view: &DrillView| view.steps.iter().any(|step| step.what.contains(said));
        let awaited = |view: &DrillView| step(view, "image") == "running";
        until(&bench, &drill, |view| if touched { awaited(view) } else { told(view) }).await;
        assert_eq!(bench.service.job(job).await.unwrap().state.is_over(), !touched);
        stop.cancel();
        running.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn power_lost_between_a_job_and_its_record_makes_no_second_job() {
    let mut bench = bench().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    let (drill, job) = with_job(&bench).await;
    stop.cancel();
    running.await.unwrap();
    // The job was made and over; that it belongs to the order was never stored.
    let mut kept = bench.drills.kept().values().next().unwrap().clone();
    kept.jobs.clear();
    bench.drills.store(&kept).unwrap();
    bench.service.cancel(&Actor::operator("ada"), job, Default::default()).await.unwrap();
    let (again, rehearser) = Drills::open(bench.service.clone(), bench.journal.config.clone()).unwrap();
    let (stop, running) = run(rehearser);
    let mut changes = bench.service.changes();
    while again.view(&drill).unwrap().state != "failed" {
        changes.changed().await.unwrap();
    }
    assert_eq!(again.view(&drill).unwrap().jobs, [job]);
    assert_eq!(bench.service.jobs(None).await.unwrap().len(), 1);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_takes_no_job_that_somebody_else_ordered() {
    let mut bench = bench().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    let drill = start(&bench).await.drill;
    until(&bench, &drill, |view| step(view, "go") == "waiting_person").await;
    let real = bench.recover("bench-01").await;
    let lead = serde_json::from_value(yes("", "drill-lead")).unwrap();
    bench.drills.answer(&Actor::operator("ada"), &drill, lead).await.unwrap();
    let view = until(&bench, &drill, |view| view.state == "failed").await;
    assert!(view.jobs.is_empty());
    assert!(view.steps.iter().any(|step| step.what.contains("ordered by somebody else")), "{view:?}");
    assert!(!bench.service.job(real.job).await.unwrap().state.is_over(), "and leaves it alone");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_is_the_plan_that_was_looked_at() {
    let mut bench = bench().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    let new = |more: Value| {
        let mut new = json!({ "runbook": "quarterly-hmi-drill", "selector": "group=bench" });
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        new
    };
    let plan_path = &format!("{PATH}/plan");
    let (status, plan) = bench.ask("POST", plan_path, new(json!({}))).await;
    assert_eq!(status, StatusCode::OK, "{plan}");
    assert_eq!((&plan["mode"], &plan["by_hand"]), (&json!("drill"), &json!(["go"])));
    assert_eq!(plan["waves"][0]["endpoints"], json!(["bench-01"]));
    // Another endpoint of the selector makes it another plan.
    let words = json!({ "drill_safe": true, "blueprint": "hmi-bench", "group": "bench" });
    bench.add("bench-02", "52:54:00:12:34:57", words).await;
    let bound = new(json!({ "binding": plan["binding"] }));
    let (status, refused) = bench.ask("POST", PATH, bound).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("plan-changed")), "{refused}");
    let (_, plan) = bench.ask("POST", plan_path, new(json!({}))).await;
    let (status, begun) = bench.ask("POST", PATH, new(json!({ "binding": plan["binding"] }))).await;
    assert_eq!((status, &begun["binding"]), (StatusCode::ACCEPTED, &plan["binding"]), "{begun}");
    for (more, code) in [
        (json!({ "selector": "group=" }), "bad-selector"),
        (json!({ "text": "steps: nonsense" }), "not-a-runbook"),
        (json!({ "mode": "virtual" }), "drill-refused"),
        (json!({ "mode": "dry_run" }), "drill-refused"),
    ] {
        assert_eq!(bench.ask("POST", PATH, new(more.clone())).await.1["code"], code, "{more}");
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tabletop_and_a_dry_run_are_on_record_and_touch_nothing() {
    let mut bench = bench().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    bench.add("press-01", "52:54:00:12:34:99", json!({})).await;
    let real = json!({ "runbook": "line-hmi-mass-recovery", "endpoints": ["press-01"], "mode": "dry_run" });
    let (status, plan) = bench.ask("POST", &format!("{PATH}/plan"), real).await;
    assert_eq!((status, &plan["mode"]), (StatusCode::OK, &json!("real")), "{plan}");
    assert!(bench.evidence(None).await.iter().any(|kind| kind == "drill.dry-run"));
    let (status, view) =
        bench.ask("POST", PATH, json!({ "runbook": "annual-tabletop", "mode": "tabletop" })).await;
    assert_eq!((status, &view["mode"]), (StatusCode::ACCEPTED, &json!("tabletop")), "{view}");
    let drill = view["drill"].as_str().unwrap().to_owned();
    let view = until(&bench, &drill, |view| view.state == "waiting_person").await;
    let asked = view.steps.iter().find(|step| step.state == "waiting_person").unwrap();
    let done = json!({ "step": asked.step, "yes": true });
    let (status, problem) = bench.ask("POST", &format!("{PATH}/{drill}/answer"), done).await;
    assert_eq!(status, StatusCode::OK, "{problem}");
    assert!(bench.service.jobs(None).await.unwrap().is_empty());
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_run_recovers_in_the_name_of_who_asked_behind_the_guard_rails() {
    let mut bench = bench().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    bench.add("press-01", "52:54:00:12:34:99", json!({})).await;
    let text = "schema: runbook/v1\nmetadata: {name: one, version: 1, title: {en: One}, owner: ot}\nmodes: {real: {}}\nsteps:\n  \
        - {id: go, uses: approve, with: {min: 1, roles: [drill-lead]}}\n  - {id: image, uses: reimage, needs: [go], per: target}\n  \
        - {id: prove, uses: verify, needs: [image], per: target}\nfinally:\n  \
        - {id: tidy, uses: check, with: {set: [no-open-tickets]}}\n";
    let mut new = json!({ "runbook": "one.yaml", "text": text, "endpoints": ["press-01"], "mode": "real" });
    assert_eq!(bench.ask("POST", PATH, new.clone()).await.1["code"], "plan-first");
    let (_, plan) = bench.ask("POST", &format!("{PATH}/plan"), new.clone()).await;
    new["binding"] = plan["binding"].clone();
    let (status, view) = bench.ask("POST", PATH, new).await;
    assert_eq!((status, &view["mode"]), (StatusCode::ACCEPTED, &json!("real")), "{view}");
    let drill = view["drill"].as_str().unwrap().to_owned();
    until(&bench, &drill, |view| step(view, "go") == "waiting_person").await;
    let lead = serde_json::from_value(yes("", "")).unwrap();
    bench.drills.answer(&Actor::operator("ada"), &drill, lead).await.unwrap();
    let view = until(&bench, &drill, |view| !view.jobs.is_empty()).await;
    let job = bench.service.job(view.jobs[0]).await.unwrap();
    assert_eq!((job.trigger.as_str(), job.mode), ("operator", recovery_protocol::operator::Mode::Real));
    assert!(job.reason.starts_with(&format!("run {drill}/image/press-01#1")), "{}", job.reason);
    stop.cancel();
    running.await.unwrap();
}

fn over(view: &DrillView) -> bool {
    !matches!(view.state.as_str(), "running" | "waiting_person")
}

/// Runs on a virtual endpoint until its job is there; nobody is asked.
async fn virtual_drill(bench: &Bench, injects: &str) -> (String, recovery_protocol::JobId) {
    let text = format!(
        "schema: runbook/v1\nmetadata: {{name: one, version: 1, title: {{en: One}}, owner: ot}}\nmodes: {{drill: {{}}, virtual: {{}}}}\n{injects}steps:\n  \
         - {{id: go, uses: approve, with: {{min: 1}}, in: {{virtual: {{min: 0}}}}}}\n  - {{id: image, uses: reimage, needs: [go], per: target, timeout: 30m}}\n  \
         - {{id: prove, uses: verify, needs: [image], per: target}}\nfinally:\n  - {{id: tidy, uses: check, with: {{set: [clean]}}, timeout: 5s, on_failure: continue}}\n  \
         - {{id: paper, uses: report}}\n"
    );
    let new = json!({ "runbook": "one.yaml", "text": text, "endpoints": ["vm-01"], "mode": "virtual" });
    let (status, view) = bench.ask("POST", PATH, new).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{view}");
    let drill = view["drill"].as_str().unwrap().to_owned();
    let job = until(bench, &drill, |view| !view.jobs.is_empty()).await.jobs[0];
    (drill, job)
}

async fn with_vm() -> Bench {
    let bench = Bench::new(
        "[blueprints.hmi-vm]\nimage = \"hmi-panel\"\nplace = \"virtual\"\n[groups.bench]\ndrill_zone = true\n",
    )
    .await;
    bench
        .add(
            "vm-01",
            "52:54:00:12:34:56",
            json!({ "drill_safe": true, "blueprint": "hmi-vm", "group": "bench" }),
        )
        .await;
    bench
}

/// The endpoint came back, as the journal would write it; `armed`: what was set at its BMC stands.
async fn came_back(bench: &Bench, job: recovery_protocol::JobId, armed: bool) {
    use recovery_protocol::{job::JobState, operator::EndpointState};
    let mut tx = bench.journal.begin().await.unwrap();
    let at = tx.at;
    let mut row = db::job::get(tx.conn(), job).await.unwrap().unwrap();
    (row.job.state, row.job.boot_set, row.ended) = (JobState::Recovered, armed, Some(at));
    let mut endpoint = db::endpoint::get(tx.conn(), &row.job.endpoint).await.unwrap().unwrap();
    (endpoint.state, endpoint.proven) = (EndpointState::Trusted, Some(at));
    db::job::put(tx.conn(), &row).await.unwrap();
    db::endpoint::put(tx.conn(), &endpoint).await.unwrap();
    tx.commit().await.unwrap();
    bench.journal.touch();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_leaves_something_behind_is_not_passed() {
    for (armed, state) in [(false, "succeeded"), (true, "partly")] {
        let mut bench = with_vm().await;
        let (stop, running) = run(bench.rehearser.take().unwrap());
        let (drill, job) = virtual_drill(&bench, "").await;
        came_back(&bench, job, armed).await;
        let view = until(&bench, &drill, over).await;
        assert_eq!((view.state.as_str(), step(&view, "prove")), (state, "passed"), "{view:?}");
        let made = bench.drills.report(&drill, Wanted::default()).await.unwrap();
        let report = String::from_utf8(made.bytes).unwrap();
        for kind in
            ["no-open-tickets", "no-leases", "no-orphan-identities", "no-boot-overrides", "no-injects"]
        {
            assert!(report.contains(&format!("{kind} vm-01")), "the report has no line for {kind}");
        }
        if armed {
            let tidy = view.steps.iter().find(|step| step.step == "tidy").unwrap();
            assert!(tidy.what.contains("no-boot-overrides vm-01"), "{}", tidy.what);
        }
        stop.cancel();
        running.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn injects_of_a_runbook_and_of_a_person_are_on_record_from_begin_to_end() {
    let mut bench = with_vm().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    let (drill, job) =
        virtual_drill(&bench, "injects: [{inject: control-plane-down, at: image, for: 10m}]\n").await;
    let path = format!("{PATH}/{drill}/injects");
    for (new, code) in [
        (json!({ "inject": "flood", "seconds": 10 }), "bad-inject"),
        (json!({ "inject": "pcr-mismatch", "seconds": 0 }), "bad-inject"),
        (json!({ "inject": "pcr-mismatch", "seconds": 1801 }), "bad-inject"),
        (json!({ "inject": "pcr-mismatch", "seconds": 9, "endpoint": "press-01" }), "inject-refused"),
    ] {
        assert_eq!(bench.ask("POST", &path, new.clone()).await.1["code"], code, "{new}");
    }
    let (status, view) =
        bench.ask("POST", &path, json!({ "inject": "technician-absent", "seconds": 600 })).await;
    assert_eq!(status, StatusCode::OK, "{view}");
    let begun: Vec<(&Value, &Value)> =
        view["injects"].as_array().unwrap().iter().map(|one| (&one["inject"], &one["by"])).collect();
    assert_eq!(
        begun,
        [
            (&json!("control-plane-down"), &json!("runbook")),
            (&json!("technician-absent"), &json!("operator:token"))
        ]
    );
    let answer = json!({ "step": "go", "yes": true });
    let (_, refused) = bench.ask("POST", &format!("{PATH}/{drill}/answer"), answer).await;
    assert!(refused["detail"].as_str().unwrap().contains("technician-absent"), "{refused}");
    // The end of the drill ends them, each on record with how often it was met.
    came_back(&bench, job, false).await;
    let view = until(&bench, &drill, |view| view.state == "succeeded").await;
    let met: Vec<(u32, bool)> =
        view.injects.iter().map(|one| (one.met, one.ended_unix_ms.is_some())).collect();
    assert_eq!(met, [(0, true), (1, true)]);
    let noted = bench.evidence(None).await.into_iter().filter(|kind| kind == "drill.inject").count();
    assert_eq!(noted, 4, "two begun, two ended");
    let late = json!({ "inject": "technician-absent", "seconds": 5 });
    assert_eq!(bench.ask("POST", &path, late).await.1["code"], "inject-refused");
    stop.cancel();
    running.await.unwrap();
}
