//! An erasure that a blueprint demands: nothing goes on without it, and only for the disk that was erased.

use super::*;

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
    let erasing = says(&job, Restored::Erasing(Box::default()));
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
fn what_was_not_demanded_is_not_reported() {
    let job = job_in(Stage::Imaging);
    for report in [Restored::Erasing(Box::default()), erased_by(EraseMethod::SanitizeBlock)] {
        assert!(matches!(on(&job, says(&job, report)), Err(Refusal::NotNow(_))));
    }
}
