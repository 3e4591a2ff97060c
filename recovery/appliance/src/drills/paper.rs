//! The report of a drill: gathers what the run does not know (phases, evidence) and lets `runbooks` lay it out.

use recovery_protocol::{
    Problem,
    evidence::{self, Line},
    job::Stage,
    operator::JobView,
};
use runbooks::{
    TargetId,
    measure::{self, Actor, Measured, Observed, Phase, PhaseTiming},
    report::{Circumstances, EvidenceRef, Observation, RunReport, Seal},
    run,
};

use super::{Kept, now_ms};
use crate::{config::Config, service::Service};

/// The report.
///
/// # Errors
/// What the service refuses.
pub async fn report(
    service: &Service,
    config: &Config,
    kept: &Kept,
    earlier: Vec<Observed>,
) -> Result<RunReport, Problem> {
    let mut endpoints = Vec::new();
    let mut evidence = Vec::new();
    for (key, job) in &kept.jobs {
        let view = service.job(*job).await?;
        let Some(target) = key.target.clone() else { continue };
        if let Some(stretch) = stretch(&view, &service.job_evidence(*job).await?) {
            evidence.push(stretch);
        }
        endpoints.push(observation(target, &view));
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
            let observed = observation(planned.target.clone(), &service.job(*job).await?);
            let proven = kept.record.target_state(&planned.target) == run::TargetState::Proven;
            let measured = if proven { measure::measure(&observed.timings) } else { Measured::default() };
            seen.push(Observed { class: planned.class.clone(), place: planned.place, proven, measured });
        }
    }
    Ok(seen)
}

fn observation(target: TargetId, view: &JobView) -> Observation {
    let end = view.over_unix_ms.unwrap_or_else(now_ms);
    let timings = view.phases.iter().map(|passed| {
        let (phase, actor) = phase(passed.stage);
        let to_ms = passed.to_unix_ms.unwrap_or(end);
        PhaseTiming {
            phase,
            label: passed.stage.label().to_owned(),
            from_ms: passed.from_unix_ms,
            to_ms,
            actor,
        }
    });
    Observation {
        target,
        job: Some(view.job.to_string()),
        image_name: view.image_name.clone(),
        timings: timings.collect(),
        written_bytes: view.restore.map(|restore| restore.written_bytes),
        config_age_ms: None,
    }
}

/// Which measured phase a stage of a job is, and on whom it depends.
fn phase(stage: Stage) -> (Phase, Actor) {
    match stage {
        Stage::Proposed | Stage::Admitted => (Phase::Declare, Actor::Machine),
        Stage::Approved => (Phase::Approve, Actor::Human),
        Stage::Fenced | Stage::Ticketed => (Phase::Trigger, Actor::Machine),
        Stage::Powering => (Phase::Power, Actor::Firmware),
        Stage::AgentWait => (Phase::Loader, Actor::Firmware),
        Stage::Proving => (Phase::Identify, Actor::Machine),
        Stage::Capturing | Stage::Imaging => (Phase::Write, Actor::Machine),
        Stage::ReadBack => (Phase::ReadBack, Actor::Machine),
        Stage::Disarming => (Phase::Reboot, Actor::Machine),
        Stage::OsWait => (Phase::FirstBoot, Actor::Firmware),
        Stage::Verifying => (Phase::Attest, Actor::Machine),
        Stage::Enrolling => (Phase::Enrol, Actor::Machine),
        Stage::Registering | Stage::Releasing => (Phase::Release, Actor::Machine),
    }
}

/// Where one job stands in the evidence log.
fn stretch(view: &JobView, lines: &[String]) -> Option<EvidenceRef> {
    let mut entries = lines.iter().filter_map(|line| entry(line));
    let (first, first_hash) = entries.next()?;
    let (last, hash) = entries.next_back().unwrap_or((first, first_hash));
    let what = format!("recovery of {} by job {}", view.endpoint, view.job);
    Some(EvidenceRef { what, seq_first: first, seq_last: last, hash })
}

fn entry(line: &str) -> Option<(u64, String)> {
    let hash = match Line::parse(line).ok()? {
        Line::Leaf { hash, .. } => hex::encode(hash),
        Line::Chained { hash, .. } => hash.into_owned(),
        Line::Signed(_) | Line::ChainSigned { .. } => return None,
    };
    Some((evidence::entry(line)?.seq, hash))
}
