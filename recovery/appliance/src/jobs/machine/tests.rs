//! The machine on its straight way, by random events, and at each thing that it refuses.

use proptest::prelude::*;
use recovery_protocol::{
    JobId,
    agent::{CaptureSpec, Captured, PlanFacts, RestoreFacts},
    erase::{EraseFacts, EraseFound, EraseMethod, ErasePolicy, EraseSamples},
    job::Word,
    operator::Mode,
};

use self::erase::erased_by;
use super::*;
use crate::jobs::job::{Restored, Seen};

mod allowed;
mod clock;
mod erase;
mod glass;
mod histories;
mod stop;
mod word;

/// The stages of a recovery, in order.
fn recovery() -> impl Iterator<Item = Stage> {
    Stage::ALL.into_iter().filter(|stage| *stage != Stage::Capturing)
}

/// The stages of a capture, in order.
const CAPTURE: [Stage; 8] = [
    Stage::Proposed,
    Stage::Admitted,
    Stage::Ticketed,
    Stage::Powering,
    Stage::AgentWait,
    Stage::Proving,
    Stage::Capturing,
    Stage::Disarming,
];

const CAPTURED: images::ImageId = images::ImageId(images::Digest([8; 32]));

fn new_job() -> (Job, Vec<Effect>) {
    new(None)
}

fn new_capture() -> Job {
    let spec = CaptureSpec {
        name: "hmi".to_owned(),
        version: "1".to_owned(),
        epoch: 1,
        hardware_class: String::new(),
        note: String::new(),
        created_unix_ms: 1,
        previous: None,
        keep_free_space: false,
        preserve: Vec::new(),
    };
    new(Some(spec)).0
}

fn new(capture: Option<CaptureSpec>) -> (Job, Vec<Effect>) {
    let proposal = Proposal {
        capture,
        id: JobId::new(1, [1; 10]),
        endpoint: "press-01".parse().unwrap(),
        mode: Mode::Real,
        image: images::ImageId(images::Digest([7; 32])),
        asked_by: "operator:anna".to_owned(),
        before: EndpointState::Trusted,
        give_up_preserved: false,
        keep: recovery_protocol::exhibit::Keep::None,
        keep_seconds: None,
        asks_again: false,
        word: Word::CheckIn,
    };
    propose(proposal, &Limits::default(), 1_000)
}

fn on(job: &Job, what: What) -> Result<(Job, Vec<Effect>), Refusal> {
    step(job, JobEvent { at_unix_ms: job.entered_unix_ms + 10, what }, &Limits::default())
}

fn go(job: &mut Job, what: What) -> Vec<Effect> {
    let (next, effects) =
        on(job, what.clone()).unwrap_or_else(|e| panic!("{what:?} in {:?}: {e}", job.state));
    *job = next;
    effects
}

fn done(job: &Job) -> What {
    What::Done { intent: job.intent, outcome: Outcome::Done }
}

fn failed(job: &Job, reason: HoldReason) -> What {
    What::Done { intent: job.intent, outcome: Outcome::Failed { reason, detail: "x".to_owned() } }
}

fn says(job: &Job, report: Restored) -> What {
    What::Reported { session: "s".to_owned(), step_seq: job.step_seq, report }
}

/// The agent asks for its order; what it will be told of the disk's old content.
fn asked(erase: ErasePolicy, disk: &str) -> What {
    What::OrderAsked { session: "s".to_owned(), disk: disk.to_owned(), erase }
}

/// The event that brings a job out of a stage on the straight way.
fn straight(job: &Job, stage: Stage) -> Vec<What> {
    let admitted = Admission::Approved { by: "operator:anna".to_owned() };
    match stage {
        Stage::Proposed => vec![What::Admission { intent: job.intent, verdict: admitted }],
        Stage::AgentWait => vec![What::AgentHello],
        Stage::Proving => vec![What::HardwareProven { session: "s".to_owned(), proof: Proof::Quote }],
        Stage::Capturing => vec![
            asked(ErasePolicy::None, "S1"),
            What::Captured {
                session: "s".to_owned(),
                step_seq: job.step_seq + 1,
                image: CAPTURED,
                captured: Captured::default(),
            },
        ],
        Stage::Imaging => vec![
            asked(ErasePolicy::None, "S1"),
            What::Reported {
                session: "s".to_owned(),
                step_seq: job.step_seq + 1,
                report: Restored::Planned(PlanFacts::default(), Box::default()),
            },
            What::Reported {
                session: "s".to_owned(),
                step_seq: job.step_seq + 1,
                report: Restored::Written(RestoreFacts::default()),
            },
        ],
        Stage::ReadBack => vec![
            says(job, Restored::Proven(RestoreFacts::default())),
            says(job, Restored::Committed(RestoreFacts::default())),
        ],
        Stage::OsWait => vec![What::GoldenHello],
        Stage::Verifying => vec![What::GoldenProven { proof: Proof::Quote, enrols: true }],
        Stage::Enrolling => {
            vec![What::Certified { serial: "0a".to_owned() }, What::Enrolled { serial: "0a".to_owned() }]
        }
        Stage::Admitted
        | Stage::Approved
        | Stage::Fenced
        | Stage::Ticketed
        | Stage::Powering
        | Stage::Disarming
        | Stage::Registering
        | Stage::Releasing => vec![done(job)],
    }
}

fn job_in(stage: Stage) -> Job {
    bring(new_job().0, stage)
}

fn bring(mut job: Job, stage: Stage) -> Job {
    while job.state != (JobState::Working { stage }) {
        let now = job.state.stage().unwrap();
        for what in straight(&job, now) {
            go(&mut job, what);
        }
    }
    job
}

#[test]
fn the_straight_way_passes_every_stage_in_order_and_ends_recovered() {
    let (mut job, _) = new_job();
    for stage in recovery() {
        assert_eq!(job.state, JobState::Working { stage });
        assert!(job.limit_unix_ms.is_some(), "{stage:?} has no limit");
        for what in straight(&job, stage) {
            go(&mut job, what);
        }
    }
    assert_eq!(job.state, JobState::Recovered);
    assert_eq!(on(&job, What::AgentHello), Err(Refusal::Over));
}

#[test]
fn every_stage_is_held_or_tried_again_when_its_limit_passes_and_the_ticket_is_void() {
    for stage in recovery() {
        let mut job = job_in(stage);
        for _ in 0..Limits::ROUNDS {
            let at_unix_ms = job.limit_unix_ms.unwrap() + 1;
            let event = JobEvent { at_unix_ms, what: What::Tick { seen_unix_ms: at_unix_ms } };
            let (next, effects) = step(&job, event, &Limits::default()).unwrap();
            job = next;
            if let JobState::Held { stage: at, reason, .. } = &job.state {
                assert_eq!(*reason, limits::late(*at));
                assert!(effects.contains(&Effect::VoidTickets));
                break;
            }
            assert_eq!(job.state, JobState::Working { stage: Stage::Fenced });
            job.state = JobState::Working { stage };
        }
        assert!(matches!(job.state, JobState::Held { .. }), "{stage:?} went on for ever");
    }
}

#[test]
fn a_person_can_stop_before_the_point_of_no_return_and_only_hold_after_it() {
    for stage in recovery() {
        let mut job = job_in(stage);
        let effects = go(&mut job, What::Cancel { by: "operator:anna".to_owned() });
        assert!(effects.contains(&Effect::VoidTickets));
        if stage.past_point_of_no_return() {
            assert!(matches!(job.state, JobState::Held { reason: HoldReason::Stopped, .. }), "{stage:?}");
            go(&mut job, What::Cancel { by: "operator:anna".to_owned() });
            assert_eq!(job.state, JobState::Cancelled { stage });
        } else {
            assert_eq!(job.state, JobState::Cancelled { stage });
            let back = if stage < Stage::Approved { EndpointState::Trusted } else { EndpointState::Known };
            assert!(effects.contains(&Effect::Mark(back)), "{stage:?}: {effects:?}");
        }
    }
}

#[test]
fn a_job_that_needs_a_person_waits_for_another_one_where_the_group_says_so() {
    let (mut job, _) = new_job();
    let verdict = Admission::NeedsApproval { second_person: true, no_glass: false };
    let intent = job.intent;
    go(&mut job, What::Admission { intent, verdict });
    let image_is_there = done(&job);
    go(&mut job, image_is_there);
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::AwaitingApproval, .. }));
    assert_eq!(on(&job, What::Resume { by: "operator:bert".into() }), Err(Refusal::ApproveInstead));
    assert_eq!(on(&job, What::Approve { by: "operator:anna".into() }), Err(Refusal::SecondPerson));
    go(&mut job, What::Approve { by: "operator:bert".into() });
    assert_eq!(job.state, JobState::Working { stage: Stage::Approved });
}

#[test]
fn an_unproven_hello_never_moves_a_job_back() {
    for stage in [Stage::Proving, Stage::Imaging, Stage::ReadBack] {
        let mut job = job_in(stage);
        go(&mut job, What::AgentHello);
        assert_eq!(job.state, JobState::Working { stage });
    }
    for stage in [Stage::Fenced, Stage::Disarming, Stage::OsWait, Stage::Enrolling] {
        assert!(on(&job_in(stage), What::AgentHello).is_err(), "{stage:?}");
    }
}

#[test]
fn a_rebooted_agent_that_proves_itself_takes_over_and_the_old_session_is_stale() {
    let mut job = job_in(Stage::ReadBack);
    go(&mut job, What::HardwareProven { session: "t".to_owned(), proof: Proof::Quote });
    assert_eq!(job.state, JobState::Working { stage: Stage::Imaging });
    assert_eq!(on(&job, says(&job, Restored::Written(RestoreFacts::default()))), Err(Refusal::Session));
    for _ in 0..Limits::BOOTS {
        if let Ok((next, _)) = on(&job, What::HardwareProven { session: "t".to_owned(), proof: Proof::Quote })
        {
            job = next;
        }
    }
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::AgentFailed, .. }), "endless boots");
}

#[test]
fn the_boot_region_is_not_committed_without_an_equal_read_back() {
    let job = job_in(Stage::ReadBack);
    assert!(on(&job, says(&job, Restored::Committed(RestoreFacts::default()))).is_err());
    let stale = What::Reported {
        session: "s".to_owned(),
        step_seq: job.step_seq + 1,
        report: Restored::Proven(RestoreFacts::default()),
    };
    assert_eq!(on(&job, stale), Err(Refusal::Order { got: job.step_seq + 1, current: job.step_seq }));
}

#[test]
fn a_stall_is_tried_once_by_power_and_then_held() {
    let mut job = job_in(Stage::Imaging);
    for expect_held in [false, true] {
        let at_unix_ms = job.entered_unix_ms + millis(Limits::STALL) + 1;
        let alive = JobEvent { at_unix_ms, what: What::Tick { seen_unix_ms: at_unix_ms } };
        assert!(step(&job, alive, &Limits::default()).is_err(), "progress is no stall");
        let event = JobEvent { at_unix_ms, what: What::Tick { seen_unix_ms: 0 } };
        job = step(&job, event, &Limits::default()).unwrap().0;
        assert_eq!(matches!(job.state, JobState::Held { reason: HoldReason::Stalled, .. }), expect_held);
        if !expect_held {
            assert_eq!(job.state, JobState::Working { stage: Stage::Fenced });
            job.state = JobState::Working { stage: Stage::Imaging };
            job.limit_unix_ms = None;
            assert!(job.touched, "what was touched stays touched");
        }
    }
}

#[test]
fn transport_retries_busy_retries_slowly_and_a_refused_image_holds_at_once() {
    let mut job = job_in(Stage::Powering);
    for _ in 1..Limits::TRIES {
        let what = failed(&job, HoldReason::PowerFailed);
        go(&mut job, what);
        assert_eq!(job.state, JobState::Working { stage: Stage::Powering });
    }
    let what = failed(&job, HoldReason::PowerFailed);
    go(&mut job, what);
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::PowerFailed, .. }));

    let mut job = job_in(Stage::Registering);
    for _ in 0..50 {
        let what = failed(&job, HoldReason::ControlPlaneFailed);
        go(&mut job, what);
    }
    assert_eq!(job.state, JobState::Working { stage: Stage::Registering });

    let mut job = job_in(Stage::Admitted);
    let what = failed(&job, HoldReason::ImageNotTrusted);
    go(&mut job, what);
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::ImageNotTrusted, .. }));
}

#[test]
fn pairing_holds_until_a_person_matched_the_code() {
    let mut job = job_in(Stage::AgentWait);
    go(&mut job, What::PairingShown);
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::PairingNeeded, .. }));
    assert!(on(&job, What::HardwareProven { session: "s".into(), proof: Proof::Quote }).is_err());
    let effects = go(&mut job, What::HardwareProven { session: "s".into(), proof: Proof::Paired });
    assert!(effects.contains(&Effect::IssueBootTicket));
    assert_eq!(job.state, JobState::Working { stage: Stage::Imaging });
}

#[test]
fn a_late_restored_system_goes_on_by_itself() {
    let mut job = job_in(Stage::OsWait);
    let at_unix_ms = job.limit_unix_ms.unwrap() + 1;
    job = step(&job, JobEvent { at_unix_ms, what: What::Tick { seen_unix_ms: 0 } }, &Limits::default())
        .unwrap()
        .0;
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::OsSilent, .. }));
    go(&mut job, What::GoldenHello);
    assert_eq!(job.state, JobState::Working { stage: Stage::Verifying });
}

#[test]
fn a_job_waits_for_whoever_decides_about_its_certificate() {
    let mut job = job_in(Stage::Enrolling);
    let limit = job.limit_unix_ms.unwrap();
    for until_unix_ms in [limit - 1, limit + 5] {
        go(&mut job, What::EnrolmentLater { until_unix_ms });
        assert_eq!(job.limit_unix_ms, Some(limit.max(until_unix_ms)));
    }
    let tick = |at_unix_ms| JobEvent { at_unix_ms, what: What::Tick { seen_unix_ms: 0 } };
    assert!(step(&job, tick(limit + 1), &Limits::default()).is_err(), "it is not late");
    assert!(step(&job, tick(limit + 6), &Limits::default()).is_ok());
}

#[test]
fn a_restart_gives_every_limit_some_grace() {
    let job = job_in(Stage::AgentWait);
    let later = job.limit_unix_ms.unwrap() + 3_600_000;
    let event = JobEvent { at_unix_ms: later, what: What::Restarted };
    let (job, _) = step(&job, event, &Limits::default()).unwrap();
    assert_eq!(job.limit_unix_ms, Some(later + millis(Limits::GRACE)));
}

#[test]
fn a_capture_passes_its_stages_fences_nobody_and_leaves_the_endpoint_as_it_was() {
    let (mut job, mut effects) = (new_capture(), Vec::new());
    for stage in CAPTURE {
        assert_eq!(job.state, JobState::Working { stage });
        for what in straight(&job, stage) {
            effects.extend(go(&mut job, what));
        }
    }
    assert_eq!((&job.state, job.image), (&JobState::Captured, CAPTURED));
    assert!(!effects.contains(&Effect::RevokeCertificates));
    assert_eq!(effects.last(), Some(&Effect::Mark(EndpointState::Trusted)));
    assert!(!job.touched && !job.fenced);
}

#[test]
fn what_was_captured_is_believed_of_the_session_and_order_that_read_it() {
    let mut job = bring(new_capture(), Stage::Capturing);
    go(&mut job, asked(ErasePolicy::None, "S1"));
    let says = |session: &str, step_seq| What::Captured {
        session: session.into(),
        step_seq,
        image: CAPTURED,
        captured: Captured::default(),
    };
    assert_eq!(on(&job, says("t", 1)), Err(Refusal::Session));
    assert_eq!(on(&job, says("s", 0)), Err(Refusal::Order { got: 0, current: 1 }));
    go(&mut job, says("s", 1));
    assert_eq!(on(&job, says("s", 1)), Err(Refusal::Repeated));
    assert!(on(&job_in(Stage::Imaging), says("s", 0)).is_err(), "a recovery captures nothing");
}

#[test]
fn a_capture_that_is_held_goes_round_again_and_one_that_is_stopped_leaves_no_trace() {
    let mut job = bring(new_capture(), Stage::Capturing);
    go(&mut job, What::Refused { reason: HoldReason::CaptureRefused, detail: "full".into() });
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::CaptureRefused, .. }));
    go(&mut job, What::Resume { by: "operator:anna".into() });
    assert_eq!(job.state, JobState::Working { stage: Stage::Ticketed });
    let mut job = bring(job, Stage::Capturing);
    let effects = go(&mut job, What::Cancel { by: "operator:anna".into() });
    assert_eq!(job.state, JobState::Cancelled { stage: Stage::Capturing });
    assert!(
        effects.contains(&Effect::Mark(EndpointState::Trusted)) && effects.contains(&Effect::VoidTickets)
    );
}

fn any_event() -> impl Strategy<Value = (u8, u8, u32)> {
    (0_u8..30, any::<u8>(), 0_u32..200_000)
}

fn event_for(job: &Job, pick: u8, salt: u8) -> What {
    let session = if salt.is_multiple_of(4) { "t" } else { "s" }.to_owned();
    let intent = if salt.is_multiple_of(5) { job.intent.wrapping_sub(1) } else { job.intent };
    let step_seq = if salt.is_multiple_of(7) { job.step_seq + 1 } else { job.step_seq };
    let reason = HoldReason::ALL[usize::from(salt) % HoldReason::ALL.len()];
    let by = if salt.is_multiple_of(2) { "operator:anna" } else { "operator:bert" }.to_owned();
    let facts = RestoreFacts::default();
    let reported = |report| What::Reported { session: session.clone(), step_seq, report };
    let detail = String::new();
    match pick {
        0 => What::Tick { seen_unix_ms: 0 },
        1 => What::Restarted,
        2 => What::Admission { intent, verdict: Admission::Approved { by } },
        3 => What::Admission {
            intent,
            verdict: Admission::NeedsApproval {
                second_person: salt.is_multiple_of(2),
                no_glass: salt.is_multiple_of(3),
            },
        },
        4 => What::Admission { intent, verdict: Admission::Refused { rule: by } },
        5..=9 => What::Done { intent, outcome: Outcome::Done },
        10 => What::Done { intent, outcome: Outcome::Failed { reason, detail } },
        11 => What::AgentHello,
        12 => What::PairingShown,
        13 => What::HardwareProven { session, proof: Proof::Quote },
        14 => What::HardwareProven { session, proof: Proof::Paired },
        15 => {
            let erase =
                [ErasePolicy::None, ErasePolicy::Clear, ErasePolicy::Purge][usize::from(salt / 4) % 3];
            What::OrderAsked {
                session,
                disk: if salt.is_multiple_of(3) { "S2" } else { "S1" }.to_owned(),
                erase,
            }
        }
        16 => reported(Restored::Planned(PlanFacts::default(), Box::default())),
        17 => reported(Restored::Written(facts)),
        18 => reported(Restored::Proven(facts)),
        19 => reported(Restored::Committed(facts)),
        20 => What::GoldenHello,
        21 => What::GoldenProven { proof: Proof::Quote, enrols: salt.is_multiple_of(2) },
        22 => What::Certified { serial: "0a".to_owned() },
        23 => What::Enrolled { serial: if salt.is_multiple_of(3) { "0b" } else { "0a" }.to_owned() },
        28 => reported(Restored::Erasing(EraseMethod::SanitizeBlock, Box::default())),
        29 => reported(erased_by(EraseMethod::ALL[usize::from(salt) % EraseMethod::ALL.len()])),
        27 => What::Captured { session, step_seq, image: CAPTURED, captured: Captured::default() },
        24 if salt < 40 => allowed::said_no(reason, detail),
        24 if salt < 60 => What::BreakGlass { by },
        24 | 25 => {
            if salt.is_multiple_of(2) {
                What::Approve { by }
            } else {
                What::Resume { by }
            }
        }
        _ => {
            if salt < 16 {
                What::Cancel { by }
            } else {
                What::Resume { by }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_recovers_what_was_not_proven(
        start in 0_usize..16,
        events in proptest::collection::vec(any_event(), 1..120),
    ) {
        let mut job = job_in(recovery().nth(start).unwrap());
        let mut at = job.entered_unix_ms;
        // What really happened, kept beside the machine.
        let mut quoted = start > 12;
        let mut restored = start > 9;
        let mut live_ticket = (4..10).contains(&start);
        let (mut demanded, mut erasures) = ((ErasePolicy::None, String::new()), Vec::new());
        for (pick, salt, pass) in events {
            at += u64::from(pass);
            let what = event_for(&job, pick, salt);
            let before = job.clone();
            let Ok((next, effects)) = step(&job, JobEvent { at_unix_ms: at, what: what.clone() }, &Limits::default())
            else { continue };
            job = next;
            for effect in &effects {
                match effect {
                    Effect::IssueBootTicket => live_ticket = true,
                    Effect::VoidTickets => live_ticket = false,
                    // What is taken back beside the job is older than what its stage has to do.
                    Effect::Begin { intent, duty, .. } => {
                        prop_assert!(*intent == job.intent || *duty == Duty::ClearBoot && *intent < job.intent);
                    }
                    Effect::VoidEnrolment | Effect::RevokeCertificates | Effect::Allowed(_) | Effect::Mark(_) => {}
                }
            }
            if let What::OrderAsked { disk, erase, .. } = &what { demanded = (*erase, disk.clone()); }
            if let What::Reported { report: Restored::Erased(facts), .. } = &what {
                erasures.push((demanded.1.clone(), facts.method));
            }
            if let What::Reported { report: Restored::Written(_), .. } = &what {
                let (policy, disk) = &demanded;
                let satisfied = erasures.iter().any(|(of, way)| of == disk && policy.methods().contains(way));
                prop_assert!(*policy == ErasePolicy::None || satisfied, "{disk} was not erased as {policy:?} wants");
            }
            if let What::GoldenProven { .. } = what { quoted = true; }
            if let What::Reported { report: Restored::Committed(_), .. } = what { restored = true; quoted = false; }
            match &job.state {
                JobState::Recovered => {
                    prop_assert!(quoted && restored && job.golden.is_some(), "recovered without a proof");
                    prop_assert!(!live_ticket);
                }
                JobState::Captured => prop_assert!(false, "a recovery captured something"),
                JobState::Held { .. } | JobState::Cancelled { .. } | JobState::Failed { .. } => {
                    prop_assert!(!live_ticket, "a ticket outlived {:?}", job.state);
                }
                JobState::Working { stage } => {
                    prop_assert_eq!(live_ticket, (Stage::Ticketed..=Stage::ReadBack).contains(stage));
                    if *stage < Stage::Disarming {
                        // Going round again: earlier proofs of the restored system count no more.
                        restored = false;
                        quoted = false;
                    }
                }
            }
            if job.step_seq > before.step_seq {
                let stage = before.state.stage();
                prop_assert!(matches!(stage, Some(Stage::Imaging | Stage::ReadBack)), "an order in {:?}", stage);
                prop_assert!(job.touched);
            }
            prop_assert!(!before.touched || job.touched);
            if job.touched && !matches!(before.state, JobState::Held { .. }) {
                prop_assert!(!matches!(job.state, JobState::Cancelled { .. }), "cancelled a half-written disk");
            }
        }
    }

    #[test]
    fn no_order_of_events_lets_a_capture_write_or_fence(
        start in 0_usize..CAPTURE.len(),
        events in proptest::collection::vec(any_event(), 1..120),
    ) {
        let mut job = bring(new_capture(), CAPTURE[start]);
        let (mut at, mut live_ticket) = (job.entered_unix_ms, (2..7).contains(&start));
        let mut captured = start > 6;
        for (pick, salt, pass) in events {
            at += u64::from(pass);
            let what = event_for(&job, pick, salt);
            let event = JobEvent { at_unix_ms: at, what: what.clone() };
            let Ok((next, effects)) = step(&job, event, &Limits::default()) else { continue };
            captured |= matches!(what, What::Captured { .. });
            job = next;
            for effect in &effects {
                match effect {
                    Effect::IssueBootTicket => live_ticket = true,
                    Effect::VoidTickets => live_ticket = false,
                    Effect::RevokeCertificates => prop_assert!(false, "a capture revokes nothing"),
                    Effect::Begin { .. } | Effect::VoidEnrolment | Effect::Allowed(_) | Effect::Mark(_) => {}
                }
            }
            prop_assert!(!job.touched && !job.fenced);
            match &job.state {
                JobState::Working { stage } => {
                    prop_assert!(CAPTURE.contains(stage), "a capture in {:?}", stage);
                    prop_assert_eq!(live_ticket, (Stage::Ticketed..=Stage::Capturing).contains(stage));
                }
                JobState::Captured => prop_assert!(captured && !live_ticket && job.image == CAPTURED),
                JobState::Recovered => prop_assert!(false, "a capture recovers nothing"),
                JobState::Held { .. } | JobState::Cancelled { .. } | JobState::Failed { .. } => {
                    prop_assert!(!live_ticket);
                }
            }
        }
    }
}
