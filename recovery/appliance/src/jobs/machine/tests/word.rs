//! A person's word, and a control plane's, in place of the restored system's own.

use super::*;

fn restored(word: Word) -> Job {
    let mut job = job_in(Stage::Disarming);
    job.word = word;
    let disarmed = done(&job);
    go(&mut job, disarmed);
    job
}

fn ends(mut job: Job) -> Job {
    for stage in [Stage::Registering, Stage::Releasing] {
        assert_eq!(job.state, JobState::Working { stage });
        let told = done(&job);
        go(&mut job, told);
    }
    assert_eq!(job.state, JobState::Recovered);
    job
}

fn approve(by: &str) -> What {
    What::Approve { by: by.to_owned() }
}

fn waits(job: &Job) -> bool {
    matches!(job.state, JobState::Held { stage: Stage::OsWait, reason: HoldReason::AwaitingWord, .. })
}

#[test]
fn a_persons_word_is_waited_for_and_is_no_approval_of_the_recovery() {
    let mut job = restored(Word::Person);
    assert!(waits(&job), "{:?}", job.state);
    assert_eq!(on(&job, What::Resume { by: "operator:bert".into() }), Err(Refusal::ApproveInstead));
    let approved_by = job.approved_by.clone();
    let effects = go(&mut job, approve("operator:bert"));
    assert!(effects.contains(&Effect::Mark(EndpointState::Recovering)), "{effects:?}");
    assert_eq!((job.golden, &job.approved_by), (Some(Proof::Person), &approved_by));
    assert_eq!(ends(job).golden, Some(Proof::Person));
}

#[test]
fn who_asked_does_not_vouch_where_two_are_needed() {
    let mut job = restored(Word::Person);
    job.second_person = true;
    assert_eq!(on(&job, approve("operator:anna")), Err(Refusal::SecondPerson));
    go(&mut job, approve("operator:bert"));
}

#[test]
fn a_system_that_proves_itself_needs_nobodys_word() {
    let mut job = restored(Word::Person);
    go(&mut job, What::GoldenHello);
    assert_eq!(on(&job, approve("operator:bert")), Err(Refusal::NothingToApprove));
    for what in straight(&job, Stage::Verifying).into_iter().chain(straight(&job, Stage::Enrolling)) {
        go(&mut job, what);
    }
    assert_eq!(ends(job).golden, Some(Proof::Quote));
}

#[test]
fn nobody_vouches_where_the_systems_own_word_is_wanted() {
    let mut job = restored(Word::CheckIn);
    assert_eq!(job.state, JobState::Working { stage: Stage::OsWait });
    assert_eq!(on(&job, approve("operator:bert")), Err(Refusal::NothingToApprove));
    let late = job.limit_unix_ms.unwrap() + 1;
    let event = JobEvent { at_unix_ms: late, what: What::Tick { seen_unix_ms: 0 } };
    job = step(&job, event, &Limits::default()).unwrap().0;
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::OsSilent, .. }), "{:?}", job.state);
    assert_eq!(on(&job, approve("operator:bert")), Err(Refusal::NothingToApprove));
}

#[test]
fn an_endpoint_that_says_it_waits_for_a_word_gets_none() {
    for (word, stage) in
        [(Word::Person, Stage::Imaging), (Word::Person, Stage::ReadBack), (Word::CheckIn, Stage::OsWait)]
    {
        let mut job = job_in(stage);
        job.word = word;
        let (reason, detail) = (HoldReason::AwaitingWord, String::new());
        go(&mut job, What::Refused { reason, detail });
        assert_eq!(on(&job, approve("operator:bert")), Err(Refusal::NothingToApprove), "{stage:?}");
        go(&mut job, What::Resume { by: "operator:bert".into() });
        assert_eq!(job.state, JobState::Working { stage: Stage::Fenced });
    }
}

#[test]
fn a_control_plane_has_the_time_in_which_the_endpoint_starts_also_after_a_restart() {
    let job = restored(Word::ControlPlane);
    assert_eq!(job.golden, Some(Proof::ControlPlane));
    let mut releasing = job.clone();
    let told = done(&job);
    go(&mut releasing, told);
    let limits = Limits::default();
    let longest = millis(limits.stage(Stage::OsWait) + limits.stage(Stage::Releasing));
    assert_eq!(releasing.limit_unix_ms, Some(releasing.entered_unix_ms + longest));
    let mut again = releasing.clone();
    go(&mut again, What::Restarted);
    assert_eq!(again.limit_unix_ms, releasing.limit_unix_ms);
    ends(job);
}

#[test]
fn a_boot_override_that_stays_set_keeps_no_control_plane_from_being_told() {
    let mut job = job_in(Stage::Disarming);
    job.word = Word::ControlPlane;
    let mut begun = Vec::new();
    while job.state == (JobState::Working { stage: Stage::Disarming }) {
        let no = failed(&job, HoldReason::PowerFailed);
        begun = go(&mut job, no);
    }
    let newest = begun.iter().rev().find_map(|effect| match effect {
        Effect::Begin { intent, duty, .. } => Some((*intent, *duty)),
        _ => None,
    });
    assert_eq!(newest, Some((job.intent, Duty::Register)), "{begun:?}");
    let beside = |effect: &Effect| matches!(effect, Effect::Begin { duty: Duty::ClearBoot, .. });
    assert!(begun.iter().any(beside), "{begun:?}");
    ends(job);
}
