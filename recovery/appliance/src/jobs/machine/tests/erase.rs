//! An erasure that a blueprint demands: nothing goes on without it, and only for the disk that was erased.

use super::*;

pub fn erased_by(method: EraseMethod) -> Restored {
    let facts = EraseFacts {
        policy: ErasePolicy::Clear,
        method,
        found: EraseFound::Nothing,
        reported: Vec::new(),
        seconds: 1,
        samples: EraseSamples::default(),
    };
    Restored::Erased(Box::new(facts))
}

#[test]
fn nothing_counts_as_written_before_the_erasure_that_is_demanded() {
    let written = |job: &Job| says(job, Restored::Written(RestoreFacts::default()));
    let mut job = job_in(Stage::Imaging);
    go(&mut job, asked(ErasePolicy::Purge, "S1"));
    assert!(matches!(on(&job, written(&job)), Err(Refusal::NotNow(_))));
    for less in [EraseMethod::Overwrite, EraseMethod::FormatUserData, EraseMethod::Discard] {
        assert!(matches!(on(&job, says(&job, erased_by(less))), Err(Refusal::NotNow(_))), "{less:?}");
    }
    let limit = job.limit_unix_ms.unwrap();
    let erasing = says(&job, Restored::Erasing(EraseMethod::SanitizeBlock, Box::default()));
    go(&mut job, erasing);
    assert!(job.limit_unix_ms.unwrap() > limit + 24 * 3_600_000, "a disk takes its time");
    let erased = says(&job, erased_by(EraseMethod::SanitizeBlock));
    go(&mut job, erased.clone());
    go(&mut job, erased);
    assert!(job.limit_unix_ms.unwrap() < limit + 3_600_000, "and a restore as much as ever");
    // A later order for the same disk demands nothing more; one for another disk does, and so does a harder policy.
    go(&mut job, asked(ErasePolicy::Purge, "S1"));
    assert!(!job.lacks_erasure());
    let mut other = job.clone();
    go(&mut other, asked(ErasePolicy::Purge, "S2"));
    assert!(other.lacks_erasure() && on(&other, written(&other)).is_err());
    let mut harder = job.clone();
    go(&mut harder, asked(ErasePolicy::Discard, "S1"));
    assert!(harder.lacks_erasure());
    let now = written(&job);
    go(&mut job, now);
    assert_eq!(job.state, JobState::Working { stage: Stage::ReadBack });
}

#[test]
fn a_stop_says_which_disk_goes_on_by_itself_and_that_nobody_can_stop_it() {
    let by = || "operator:anna".to_owned();
    let detail = |job: &Job, what: What| {
        let mut job = job.clone();
        go(&mut job, what);
        let JobState::Held { detail, .. } = job.state else { panic!("{:?}", job.state) };
        detail
    };
    let mut job = job_in(Stage::Imaging);
    go(&mut job, asked(ErasePolicy::Purge, "S1"));
    for (method, says_so) in [
        (EraseMethod::SanitizeBlock, Some("goes on when it has power again")),
        (EraseMethod::FormatCrypto, Some("must be formatted again")),
        (EraseMethod::Security, Some("stays locked")),
        (EraseMethod::Overwrite, None),
    ] {
        let mut job = job.clone();
        let erasing = says(&job, Restored::Erasing(method, Box::default()));
        go(&mut job, erasing);
        for what in [What::SiteStop { by: by() }, What::Cancel { by: by() }] {
            let detail = detail(&job, what);
            let named =
                detail.contains("Its disk S1 erases itself") && detail.contains("no command stops it");
            assert_eq!(named, says_so.is_some(), "{method:?}: {detail}");
            assert!(says_so.is_none_or(|says_so| detail.contains(says_so)), "{detail}");
        }
        // It has ended, or failed, or another disk is asked about; the same one may be at it still.
        let mut ended = job.clone();
        let erased = says(&ended, erased_by(EraseMethod::SanitizeBlock));
        go(&mut ended, erased);
        assert_eq!(ended.erases_itself(), None);
        go(&mut job, asked(ErasePolicy::Purge, "S1"));
        assert_eq!(job.erases_itself().is_some(), says_so.is_some());
        let mut other = job.clone();
        go(&mut other, asked(ErasePolicy::Purge, "S2"));
        assert_eq!(other.erasing, None);
        go(&mut job, What::Refused { reason: HoldReason::EraseFailed, detail: "x".to_owned() });
        assert_eq!(job.erasing, None);
    }
}

#[test]
fn what_was_not_demanded_is_not_reported() {
    let job = job_in(Stage::Imaging);
    for report in
        [Restored::Erasing(EraseMethod::SanitizeBlock, Box::default()), erased_by(EraseMethod::SanitizeBlock)]
    {
        assert!(matches!(on(&job, says(&job, report)), Err(Refusal::NotNow(_))));
    }
}
