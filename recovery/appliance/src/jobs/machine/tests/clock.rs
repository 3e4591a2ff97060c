//! A clock that is set while a job is open.

use super::*;

/// Found by seed 2328543806: after the clock was set back some hours, a job waited those hours for its next try.
#[test]
fn a_clock_that_is_set_back_lets_nothing_wait_for_it() {
    for stage in recovery() {
        let mut job = job_in(stage);
        let five_hours = 5 * 3_600_000;
        (job.entered_unix_ms, job.limit_unix_ms) =
            (job.entered_unix_ms + five_hours, job.limit_unix_ms.map(|limit| limit + five_hours));
        let at_unix_ms = job.entered_unix_ms - five_hours;
        let event = JobEvent { at_unix_ms, what: What::Restarted };
        let (now, _) = step(&job, event, &Limits::default()).unwrap();
        assert_eq!(now.entered_unix_ms, at_unix_ms, "{stage:?}");
        let longest = if stage == Stage::Imaging { Limits::ERASE } else { Limits::default().stage(stage) };
        let longest = u64::try_from(longest.max(Limits::GRACE).as_millis()).unwrap();
        assert!(now.limit_unix_ms.unwrap() <= at_unix_ms + longest, "{stage:?}");
    }
}
