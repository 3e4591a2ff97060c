//! Broken glass.

use super::*;

#[test]
fn broken_glass_stands_for_the_missing_approval_and_for_nothing_else() {
    let anna = || What::BreakGlass { by: "operator:anna".into() };
    let wants_another = |job: &mut Job| {
        let (intent, verdict) =
            (job.intent, Admission::NeedsApproval { second_person: true, no_glass: false });
        go(job, What::Admission { intent, verdict });
    };
    // Before the guard rails were asked: they are asked all the same, and the image is looked at.
    let (mut job, _) = new_job();
    go(&mut job, anna());
    assert_eq!(on(&job, anna()), Err(Refusal::NothingToApprove), "once");
    let mut refused = job.clone();
    let (intent, rule) = (refused.intent, "max_concurrent".to_owned());
    go(&mut refused, What::Admission { intent, verdict: Admission::Refused { rule } });
    assert!(matches!(refused.state, JobState::Held { reason: HoldReason::GuardRail, .. }));
    wants_another(&mut job);
    assert_eq!(job.state, JobState::Working { stage: Stage::Admitted });
    let image_is_there = done(&job);
    go(&mut job, image_is_there);
    assert_eq!((&job.state, &job.approved_by), (&JobState::Working { stage: Stage::Approved }, &None));
    // In the highest class it does not count, whenever it was broken.
    let (mut highest, _) = new_job();
    go(&mut highest, anna());
    let (intent, verdict) =
        (highest.intent, Admission::NeedsApproval { second_person: true, no_glass: true });
    go(&mut highest, What::Admission { intent, verdict });
    let image_is_there = done(&highest);
    go(&mut highest, image_is_there);
    let waits = matches!(highest.state, JobState::Held { reason: HoldReason::AwaitingApproval, .. });
    assert!(waits && highest.break_glass.is_none(), "{:?}", highest.state);
    // While it waits.
    let (mut job, _) = new_job();
    wants_another(&mut job);
    let image_is_there = done(&job);
    go(&mut job, image_is_there);
    go(&mut job, anna());
    assert_eq!(job.state, JobState::Working { stage: Stage::Approved });
    // Another identity and other firmware are for people who look at them.
    for reason in [HoldReason::IdentityChanged, HoldReason::FirmwareChanged, HoldReason::GuardRail] {
        let mut job = job_in(Stage::Proving);
        job.state = JobState::Held { stage: Stage::Proving, reason, detail: String::new() };
        assert_eq!(on(&job, anna()), Err(Refusal::NothingToApprove), "{reason:?}");
    }
    let mut drill = new_job().0;
    drill.mode = Mode::Drill;
    assert_eq!(on(&drill, anna()), Err(Refusal::NothingToApprove));
}
