//! Drills as an endpoint meets them: the last interlocks before an order, and what goes wrong on purpose.

use recovery_protocol::drill::{NewDrill, RunMode};
use runbooks::runbook::InjectKind;

use super::*;

const ZONE: &str = "[groups.bench]\ndrill_zone = true\n";

/// A site whose endpoint may be drilled, if its blueprint stands where it may.
async fn site(place: &str, zone: &str) -> Site {
    let more = format!("enrolment = \"none\"\nplace = \"{place}\"\n{zone}");
    let site = Site::of(&more, Vec::new(), Expectations::default()).await;
    let change = serde_json::from_value(serde_json::json!({ "drill_safe": true, "group": "bench" })).unwrap();
    site.service.change_endpoint(&anna(), &"press-01".parse().unwrap(), change, None).await.unwrap();
    site
}

/// A drill's job on it.
async fn rehearse(site: &Site) -> JobView {
    let leave = site.service.drill_permit(&"press-01".parse().unwrap()).await.unwrap();
    let actor = Actor::trigger("drill:x");
    let job = site.service.propose_drill(&actor, leave, "x/image/press-01#1", None).await.unwrap();
    site.runner.settle().await.unwrap();
    site.service.job(job.job).await.unwrap()
}

#[tokio::test]
async fn hardware_is_written_in_a_drill_once_a_person_matched_its_code() {
    let site = site("bench", ZONE).await;
    let job = rehearse(&site).await.job;
    let session = site.paired().await;
    let code = match site.next(&session).await.unwrap() {
        Assignment::Wait { why, .. } => why.strip_prefix("DRILL CODE ").unwrap()[..4].to_owned(),
        other => panic!("an order went out before anybody matched the code: {other:?}"),
    };
    let wrong = format!("{:04}", (code.parse::<u32>().unwrap() + 1) % 10_000);
    let refused = site.service.match_drill_code(&anna(), job, &wrong).await;
    assert_eq!(refused.unwrap_err().code, "drill-code-wrong");
    assert!(matches!(site.next(&session).await.unwrap(), Assignment::Wait { .. }));
    let shows = async || site.service.drill_codes(&[job]).await.unwrap();
    assert_eq!(shows().await, ["press-01".parse().unwrap()], "a person is asked for it");
    site.service.match_drill_code(&anna(), job, &code).await.unwrap();
    assert!(shows().await.is_empty());
    let order = site.ordered(&session).await;
    assert!(order.drill, "and the screen says that it is one");
    for kind in ["drill.code-shown", "refusal.drill-code", "proof.drill-code"] {
        assert!(site.kinds().await.iter().any(|seen| seen == kind), "no {kind}");
    }
}

#[tokio::test]
async fn three_wrong_drill_codes_end_the_job_with_nothing_written() {
    let site = site("bench", ZONE).await;
    let job = rehearse(&site).await.job;
    let session = site.paired().await;
    let code = match site.next(&session).await.unwrap() {
        Assignment::Wait { why, .. } => why.strip_prefix("DRILL CODE ").unwrap()[..4].to_owned(),
        other => panic!("{other:?}"),
    };
    let wrong = format!("{:04}", (code.parse::<u32>().unwrap() + 1) % 10_000);
    for _ in 0..3 {
        let refused = site.service.match_drill_code(&anna(), job, &wrong).await;
        assert_eq!(refused.unwrap_err().code, "drill-code-wrong");
    }
    let late = site.service.match_drill_code(&anna(), job, &code).await;
    assert_eq!(late.unwrap_err().code, "no-drill-code");
    let view = site.service.job(job).await.unwrap();
    assert!(matches!(view.state, JobState::Cancelled { .. }), "{:?}", view.state);
    assert!(!site.kinds().await.iter().any(|kind| kind == "order.restore"));
}

#[tokio::test]
async fn a_drill_is_served_in_its_network_alone_and_a_real_job_anywhere() {
    // The endpoint of these tests speaks from another network.
    let zone = &format!("{ZONE}drill_networks = [\"10.99.0.0/24\"]\n");
    let away = site("virtual", zone).await;
    let job = rehearse(&away).await.job;
    let session = away.paired().await;
    assert!(matches!(away.next(&session).await.unwrap(), Assignment::Wait { .. }));
    let held = away.service.job(job).await.unwrap().state;
    let JobState::Held { reason, detail, .. } = held else { panic!("{held:?}") };
    assert_eq!(reason, HoldReason::PermitMissing);
    assert!(detail.contains("drill_networks"), "{detail}");
    let real = site("virtual", zone).await;
    real.recover().await;
    let session = real.paired().await;
    assert!(!real.ordered(&session).await.drill);
}

#[tokio::test]
async fn what_was_drill_safe_when_planned_is_asked_again_before_it_is_written() {
    let site = site("production", ZONE).await;
    let job = rehearse(&site).await.job;
    let session = site.paired().await;
    assert!(matches!(site.next(&session).await.unwrap(), Assignment::Wait { .. }));
    let held = site.service.job(job).await.unwrap().state;
    assert!(matches!(&held, JobState::Held { detail, .. } if detail.contains("production")), "{held:?}");
}

#[tokio::test]
async fn an_inject_meets_the_drill_and_no_real_job_and_ends_by_the_clock() {
    let site = site("virtual", ZONE).await;
    let permit = site.service.drill_permit(&"press-01".parse().unwrap()).await.unwrap();
    let injects = &site.live.injects;
    let soon = site.journal.now() + 60_000;
    injects.arm("x", &permit, InjectKind::WrongDiskFitted, soon);
    injects.arm("x", &permit, InjectKind::ImageServerUnreachable, soon);
    // A real job of the same endpoint meets neither.
    let real = site.recover().await.job;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert_ne!(order.disk.serial.as_deref(), Some("INJECTED-NO-SUCH-DISK"));
    assert_eq!(injects.met("x", InjectKind::WrongDiskFitted, permit.endpoint()), 0);
    for _ in 0..2 {
        // Past the point of no return it is held first, and given up then.
        let _ = site.service.cancel(&anna(), real, Decision::default()).await;
    }
    site.runner.settle().await.unwrap();
    let on_record = order.disk.serial.clone();
    rehearse(&site).await;
    let session = site.paired().await;
    let order = site.ordered(&session).await;
    assert_eq!(order.disk.serial.as_deref(), Some("INJECTED-NO-SUCH-DISK"));
    let endpoint = db::endpoint::get(&mut site.journal.db.read().await.unwrap(), permit.endpoint()).await;
    assert_eq!(endpoint.unwrap().unwrap().record.disk_serial, on_record, "what is on record stays");
    assert_eq!(injects.met("x", InjectKind::WrongDiskFitted, permit.endpoint()), 1);
    let row = db::job::open_of(&mut site.journal.db.read().await.unwrap(), permit.endpoint()).await;
    let (job, now) = (row.unwrap().unwrap().job, site.journal.now());
    let (mine, others) = ([10, 0, 0, 9].into(), [10, 0, 0, 8].into());
    injects.fetches(&job, mine);
    assert!(injects.is_cut_off(mine, now) && !injects.is_cut_off(others, now));
    assert!(!injects.is_cut_off(mine, soon), "it ends by the clock");
    let mut real = job.clone();
    real.mode = recovery_protocol::operator::Mode::Real;
    injects.fetches(&real, mine);
    assert!(!injects.is_cut_off(mine, now), "a real job of the same endpoint gets its image");
    injects.arm("x", &permit, InjectKind::WrongDiskFitted, site.journal.now());
    assert_ne!(site.ordered(&session).await.disk.serial.as_deref(), Some("INJECTED-NO-SUCH-DISK"));
    for kind in [InjectKind::WrongDiskFitted, InjectKind::ImageServerUnreachable] {
        injects.disarm("x", kind, permit.endpoint());
    }
    assert!(injects.armed("x", permit.endpoint()).is_empty());
}

/// The standing test of the planner, over the appliance's own records: whatever the inventory says, a drill is planned for no endpoint of which one word is missing.
#[tokio::test]
async fn no_inventory_has_a_drill_permit_a_real_target() {
    use crate::drills::Drills;
    let seed = std::env::var("GROUNDSTATE_SEED").map_or(0x2545_f491_4f6c_dd1d, |text| text.parse().unwrap());
    let mut random: u64 = seed;
    let mut below = |end: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % end
    };
    let blueprints: String = ["production", "bench", "virtual"]
        .iter()
        .map(|place| format!("[blueprints.hmi-{place}]\nimage = \"hmi-panel\"\nplace = \"{place}\"\n"))
        .collect();
    let groups = "[groups.zone]\ndrill_zone = true\n[groups.plant]\n[groups.vital]\ndrill_zone = true\nsafety_class = 3\n";
    let bench = crate::testing::Bench::new(&format!("{blueprints}{groups}")).await;
    let (drills, _) = Drills::open(bench.service.clone(), bench.journal.config.clone()).unwrap();
    let (mut safe, mut all) = (Vec::new(), Vec::new());
    for n in 0..120 {
        let place = ["production", "bench", "virtual"][below(3) as usize];
        let group = ["zone", "zone", "plant", "vital"][below(4) as usize];
        let labelled = below(4) > 0;
        let name = format!("e{n}");
        let words = serde_json::json!({
            "drill_safe": labelled, "blueprint": format!("hmi-{place}"), "group": group,
        });
        bench.add(&name, &format!("52:54:00:00:01:{n:02x}"), words).await;
        if labelled && group == "zone" && place != "production" {
            safe.push(name.clone());
        }
        all.push(name);
    }
    let plan = async |endpoints: Vec<&String>| {
        let endpoints = endpoints.into_iter().map(|name| name.parse().unwrap()).collect();
        let new = NewDrill {
            runbook: "quarterly-hmi-drill".into(),
            endpoints,
            mode: RunMode::Drill,
            ..NewDrill::default()
        };
        drills.plan(&anna(), new).await.map_err(|problem| problem.code)
    };
    assert!(!safe.is_empty() && safe.len() < all.len());
    for name in &all {
        let may = safe.contains(name);
        let planned = plan(vec![name]).await;
        assert_eq!(planned.is_ok(), may, "{name} of seed {seed}: {planned:?}");
        // One that may not, hidden among those that may, spoils the plan whole.
        if !may {
            let hidden: Vec<&String> = safe.iter().take(3).chain([name]).collect();
            assert_eq!(plan(hidden).await.unwrap_err(), "not-drill-safe", "{name} of seed {seed}");
        }
    }
}
