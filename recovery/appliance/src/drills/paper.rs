//! The report of a drill: gathers what the run does not know (phases, evidence) and lets `runbooks` lay it out.

use recovery_protocol::{Problem, operator::JobView};
use runbooks::{
    TargetId,
    measure::{self, Measured, Observed},
    paper::Language,
    report::{Around, Circumstances, Observation, RunReport, Seal},
    run,
};

use super::{Kept, now_ms};
use crate::{
    config::Config,
    reports::{stretch, timings},
    service::Service,
};

/// The report.
///
/// # Errors
/// What the service refuses.
pub async fn report(
    service: &Service,
    config: &Config,
    kept: &Kept,
    language: Language,
    (earlier, around): (Vec<Observed>, Around),
) -> Result<RunReport, Problem> {
    let mut endpoints = Vec::new();
    let mut evidence = Vec::new();
    for (key, job) in &kept.jobs {
        let view = service.job(*job).await?;
        let Some(target) = key.target.clone() else { continue };
        let what = language.pick(
            format!("recovery of {} by job {}", view.endpoint, view.job),
            format!("Wiederherstellung von {} durch Auftrag {}", view.endpoint, view.job),
        );
        evidence.extend(stretch(what, &service.job_evidence(*job).await?));
        endpoints.push(observation(target, &view, language));
    }
    let signed = service.evidence_checkpoint().await?;
    let (seq, hash) = (signed.size(), hex::encode(signed.root()));
    let circumstances = Circumstances {
        site: config.site.to_string(),
        appliance: format!("groundstate {}", env!("CARGO_PKG_VERSION")),
        written_at_ms: now_ms(),
        endpoints,
        evidence,
        seal: Seal {
            seq,
            hash,
            key_ed25519: service.evidence_key().ed25519,
            checkpoint: signed.note().to_owned(),
        },
        earlier,
        language,
        around,
    };
    Ok(RunReport::of(&kept.record, circumstances))
}

/// What earlier drills measured, the oldest first. A drill that did not get there is among them, without a time.
///
/// # Errors
/// What the service refuses.
pub async fn earlier(service: &Service, before: &[Kept]) -> Result<Vec<Observed>, Problem> {
    let mut seen = Vec::new();
    for kept in before.iter().filter(|kept| matches!(kept.record.stage, run::Stage::Over { .. })) {
        for planned in &kept.record.targets {
            let job = kept.jobs.iter().rev().find(|(key, _)| key.target.as_ref() == Some(&planned.target));
            let Some((_, job)) = job else { continue };
            let observed = observation(planned.target.clone(), &service.job(*job).await?, Language::En);
            let proven = kept.record.target_state(&planned.target) == run::TargetState::Proven;
            let measured = if proven { measure::measure(&observed.timings) } else { Measured::default() };
            seen.push(Observed { class: planned.class.clone(), place: planned.place, proven, measured });
        }
    }
    Ok(seen)
}

fn observation(target: TargetId, view: &JobView, language: Language) -> Observation {
    Observation {
        target,
        job: Some(view.job.to_string()),
        image_name: view.image_name.clone(),
        timings: timings(view, language, now_ms()),
        written_bytes: view.restore.map(|restore| restore.written_bytes),
        config_age_ms: None,
    }
}
