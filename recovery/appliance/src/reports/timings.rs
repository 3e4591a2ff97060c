//! From the stages of a job to the phases of a measured recovery, each with whom it depended on.

use recovery_protocol::{job::Stage, operator::JobView};
use runbooks::{
    measure::{Actor, Phase, PhaseTiming},
    paper::Language,
};

/// The phases of a job, in order; the one that runs ends at `now_ms`.
#[must_use]
pub fn timings(view: &JobView, language: Language, now_ms: u64) -> Vec<PhaseTiming> {
    let end = view.over_unix_ms.unwrap_or(now_ms);
    let timing = |passed: &recovery_protocol::operator::PhaseView| {
        let (phase, actor) = phase(passed.stage);
        PhaseTiming {
            phase,
            label: language.pick(passed.stage.label(), german(passed.stage)).to_owned(),
            from_ms: passed.from_unix_ms,
            to_ms: passed.to_unix_ms.unwrap_or(end),
            actor,
        }
    };
    view.phases.iter().map(timing).collect()
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

fn german(stage: Stage) -> &'static str {
    match stage {
        Stage::Proposed => "verlangt",
        Stage::Admitted => "gegen die Schutzregeln geprüft",
        Stage::Approved => "genehmigt",
        Stage::Fenced => "alte Identität widerrufen",
        Stage::Ticketed => "Boot-Ticket ausgestellt",
        Stage::Powering => "Einschalten in den Netzwerk-Boot",
        Stage::AgentWait => "Warten auf das Recovery-System",
        Stage::Proving => "Beweis der Hardware",
        Stage::Capturing => "Lesen des Datenträgers",
        Stage::Imaging => "Schreiben des Golden Image",
        Stage::ReadBack => "Zurücklesen",
        Stage::Disarming => "Ticket entwertet, Neustart",
        Stage::OsWait => "Warten auf das System",
        Stage::Verifying => "Beweis des Systems",
        Stage::Enrolling => "neue Identität",
        Stage::Registering => "Anmelden bei der Leitebene",
        Stage::Releasing => "Aufheben der Quarantäne",
    }
}
