//! The power is cut at fifty random instants of runs, in the appliance's own hands: whatever the rehearser was about is dropped where it stood, and
//! a new one opens what is on disk. Each run comes to its end, each order makes one job, and no step begins twice.
//!
//! The runs in the engine alone: `runbooks::run::cuts`. A recovery's own cuts: `jobs::simulation`. The endpoints' part is played here: a job that is open
//! is brought to its end in the database, well or not by a hash of its order.

use std::collections::{BTreeMap, BTreeSet};

use recovery_protocol::{
    drill::{NewDrill, RunMode},
    job::{HoldReason, JobState, Stage as At},
    operator::EndpointState,
};
use runbooks::run::Stage;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::super::Drills;
use crate::{db, service::Actor, testing::Bench};

const CUTS: u32 = 50;

/// A canary, two at a time, a retry, and nobody who is asked.
const RUNBOOK: &str = r#"
schema: runbook/v1
metadata: {name: cuts, version: 1, title: {en: Cuts}, owner: ot}
modes: {drill: {}, virtual: {}}
limits: {max_parallel: 2, max_failures: 4}
waves: [{name: canary, size: 1, pass: "1%", once: true}, {name: rest, size: 2, pass: "1%"}]
steps:
  - {id: ready, uses: check, with: {set: [store-free, image-verified]}, timeout: 9000s}
  - {id: go, uses: approve, needs: [ready], with: {min: 1}, in: {virtual: {min: 0}}, timeout: 9000s}
  - {id: image, uses: reimage, needs: [go], per: target, timeout: 9000s, retry: {max: 1}}
  - {id: prove, uses: verify, needs: [image], per: target, timeout: 9000s}
  - {id: join, uses: enrol, needs: [prove], per: target, timeout: 9000s}
finally:
  - {id: tidy, uses: check, with: {set: [clean]}, timeout: 9000s, on_failure: continue}
  - {id: paper, uses: report, timeout: 9000s}
"#;

/// A generator with its seed shown: xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Two of three attempts end well.
fn ends_well(order: &str) -> bool {
    !blake3::hash(order.as_bytes()).as_bytes()[0].is_multiple_of(3)
}

/// What the endpoints do meanwhile: the first open job comes to its end.
async fn one_job_ends(bench: &Bench) {
    let jobs = bench.service.jobs(None).await.unwrap();
    let Some(view) = jobs.into_iter().rev().find(|view| !view.state.is_over()) else { return };
    let mut tx = bench.journal.begin().await.unwrap();
    let at = tx.at;
    let mut row = db::job::get(tx.conn(), view.job).await.unwrap().unwrap();
    let mut endpoint = db::endpoint::get(tx.conn(), &view.endpoint).await.unwrap().unwrap();
    row.ended = Some(at);
    row.job.state = if ends_well(&view.reason) {
        (endpoint.state, endpoint.proven) = (EndpointState::Trusted, Some(at));
        JobState::Recovered
    } else {
        let (stage, reason) = (At::Imaging, HoldReason::AgentFailed);
        JobState::Failed { stage, reason, detail: "it broke".into() }
    };
    db::job::put(tx.conn(), &row).await.unwrap();
    db::endpoint::put(tx.conn(), &endpoint).await.unwrap();
    tx.commit().await.unwrap();
    bench.journal.touch();
}

/// Moments of a run so far, and whether it is over.
fn how_far(drills: &Drills, drill: &str) -> (usize, bool) {
    let record = drills.find(drill).unwrap().record;
    (record.history.len(), matches!(record.stage, Stage::Over { .. }))
}

/// Run on until so many more things happened, or to the end; then pull the plug.
async fn power_until_cut(bench: &Bench, drill: &str, more: usize, yields: u64) -> bool {
    let (drills, rehearser) = Drills::open(bench.service.clone(), bench.journal.config.clone()).unwrap();
    let before = how_far(&drills, drill).0;
    let power = tokio::spawn(rehearser.run(CancellationToken::new()));
    let mut changes = bench.service.changes();
    loop {
        changes.borrow_and_update();
        let (moments, over) = how_far(&drills, drill);
        if over || moments >= before + more {
            break;
        }
        one_job_ends(bench).await;
        changes.changed().await.unwrap();
    }
    for _ in 0..yields {
        tokio::task::yield_now().await;
    }
    power.abort();
    assert!(power.await.unwrap_err().is_cancelled());
    how_far(&drills, drill).1
}

/// No order made two jobs, each job is its order's, and no attempt began twice.
async fn nothing_was_done_twice(bench: &Bench, drill: &str, endpoints: usize) {
    let (drills, _) = Drills::open(bench.service.clone(), bench.journal.config.clone()).unwrap();
    let kept = drills.find(drill).unwrap();
    let mut begun: BTreeMap<String, u32> = BTreeMap::new();
    for moment in kept.record.history.iter().filter(|moment| moment.what.starts_with("began")) {
        let task =
            (moment.step.as_ref().map(ToString::to_string), moment.target.as_ref().map(ToString::to_string));
        *begun.entry(format!("{task:?} {}", moment.what)).or_default() += 1;
    }
    assert!(begun.values().all(|times| *times == 1), "{begun:?}");
    let mine = |reason: &String| reason.contains(&format!("drill {drill}/"));
    let jobs = bench.service.jobs(None).await.unwrap();
    let reasons: Vec<String> = jobs.iter().map(|view| view.reason.clone()).filter(mine).collect();
    let distinct: BTreeSet<&String> = reasons.iter().collect();
    assert_eq!(distinct.len(), reasons.len(), "an order made two jobs");
    let images = kept.record.tasks.iter().filter(|task| task.step.as_str() == "image");
    let attempts: u32 = images.clone().map(|task| task.attempts).sum();
    assert_eq!((images.count(), attempts as usize), (endpoints, reasons.len()));
    let known: BTreeSet<String> = kept.jobs.iter().map(|(_, job)| job.to_string()).collect();
    assert_eq!(known.len(), reasons.len(), "and each job is on the run's record");
    // An endpoint is proven when one of its attempts ended well, and by nothing else.
    for frozen in &kept.record.targets {
        let well = reasons
            .iter()
            .any(|reason| reason.contains(&format!("/{}#", frozen.target)) && ends_well(reason));
        let proven = kept.record.target_state(&frozen.target) == runbooks::run::TargetState::Proven;
        assert_eq!(well, proven, "{}: {reasons:?}", frozen.target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_lost_power_at_fifty_instants_goes_on_and_recovers_each_endpoint_once() {
    let seed = std::env::var("GROUNDSTATE_SEED").map_or(0x9e37_79b9_7f4a_7c15, |text| text.parse().unwrap());
    let mut random = Random(seed);
    let bench = Bench::new(
        "[blueprints.hmi-vm]\nimage = \"hmi-panel\"\nplace = \"virtual\"\n[groups.bench]\ndrill_zone = true\nmax_concurrent = 9\n",
    )
    .await;
    let words = json!({ "drill_safe": true, "blueprint": "hmi-vm", "group": "bench" });
    let names = ["vm-1", "vm-2", "vm-3", "vm-4"];
    for (n, name) in names.iter().enumerate() {
        bench.add(name, &format!("52:54:00:12:34:{n:02}"), words.clone()).await;
    }
    let mut cuts = 0;
    while cuts < CUTS {
        let (drills, rehearser) = Drills::open(bench.service.clone(), bench.journal.config.clone()).unwrap();
        let new = NewDrill {
            runbook: "cuts".into(),
            text: Some(RUNBOOK.into()),
            selector: Some("group=bench".into()),
            mode: RunMode::Virtual,
            ..NewDrill::default()
        };
        // The first cut is before anything was carried out: the run is on disk, and no more.
        let drill = drills.start(&Actor::operator("ada"), new).await.unwrap().drill;
        drop(rehearser);
        let mut over = false;
        while !over {
            let (more, yields) = (1 + random.below(7), random.below(400));
            over = power_until_cut(&bench, &drill, usize::try_from(more).unwrap(), yields).await;
            cuts += u32::from(!over);
        }
        nothing_was_done_twice(&bench, &drill, names.len()).await;
    }
}
