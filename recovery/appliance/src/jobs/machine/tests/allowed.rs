//! What a person lets through is what they saw.

use super::*;

/// A refusal as the proof would say it.
pub fn said_no(reason: HoldReason, detail: String) -> What {
    match reason {
        HoldReason::IdentityChanged => {
            What::Differs { seen: Seen::Tpm { ek_sha256: detail.clone() }, detail }
        }
        HoldReason::FirmwareChanged => {
            What::Differs { seen: Seen::Firmware { baseline: detail.as_str().into() }, detail }
        }
        reason => What::Refused { reason, detail },
    }
}

#[test]
fn a_new_board_is_accepted_only_by_approval_and_the_whole_way_is_gone_again() {
    let mut job = job_in(Stage::Proving);
    let seen = Seen::Tpm { ek_sha256: "ab".repeat(32) };
    go(&mut job, What::Differs { seen: seen.clone(), detail: "ek".to_owned() });
    assert!(matches!(job.state, JobState::Held { reason: HoldReason::IdentityChanged, .. }));
    let (resumed, _) = on(&job, What::Resume { by: "operator:anna".into() }).unwrap();
    assert_eq!(resumed.state, JobState::Working { stage: Stage::Fenced });
    assert_eq!((resumed.allowed, resumed.seen), (vec![], None), "a resume lets nothing through");
    let effects = go(&mut job, What::Approve { by: "operator:anna".into() });
    assert!(effects.contains(&Effect::Allowed(seen.clone())));
    assert_eq!(job.state, JobState::Working { stage: Stage::Fenced });
    assert_eq!((job.allowed, job.seen), (vec![seen], None));
    // What nobody saw cannot be approved.
    let mut job = job_in(Stage::Proving);
    go(
        &mut job,
        What::Refused { reason: HoldReason::IdentityChanged, detail: "another endpoint's".to_owned() },
    );
    let refused = on(&job, What::Approve { by: "operator:anna".into() });
    assert!(matches!(refused, Err(Refusal::NothingSeen)), "{refused:?}");
}
