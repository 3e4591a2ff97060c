//! STOP for the whole site, stage by stage.

use super::*;

#[test]
fn stop_holds_a_job_until_its_disk_is_whole_and_a_resume_takes_it_up_again() {
    for stage in recovery() {
        let mut job = job_in(stage);
        let by = "operator:anna".to_owned();
        if stage >= Stage::Disarming {
            assert!(matches!(on(&job, What::SiteStop { by }), Err(Refusal::NotNow(_))), "{stage:?}");
            continue;
        }
        let effects = go(&mut job, What::SiteStop { by: by.clone() });
        assert!(
            effects.contains(&Effect::VoidTickets) && effects.contains(&Effect::Mark(EndpointState::Held))
        );
        assert!(matches!(job.state, JobState::Held { reason: HoldReason::SiteStopped, .. }), "{stage:?}");
        assert!(matches!(on(&job, What::SiteStop { by: by.clone() }), Err(Refusal::NotNow(_))));
        go(&mut job, What::Resume { by });
        assert!(matches!(job.state, JobState::Working { stage: now } if now <= stage), "{stage:?}");
    }
}
