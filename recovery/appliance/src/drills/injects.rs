//! Injects of a run: begun with the step that the runbook names or by a person's order, ended by the clock, each on record with how often it was met.
//!
//! ```text
//! runbook or person ─► Said::Inject ─► permit of the endpoint ─► kept with the run ─► armed ─► met … ─► its end, or the run's clean-up
//! ```
//!
//! What is kept with the run is the truth, and what is armed follows from it: after a restart one that is not over is armed again.

use recovery_protocol::{
    EndpointId, Problem,
    drill::{DrillView, InjectView, NewInject},
};
use runbooks::{
    OrderKey, RunId, RunRecord,
    run::Stage,
    runbook::{INJECT_MS_MAX, InjectKind, ModeName},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use super::{Drills, Kept, now_ms, rehearser::Said};
use crate::service::Actor;

/// One inject of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// What goes wrong.
    pub kind: InjectKind,
    /// On which endpoint.
    pub endpoint: EndpointId,
    /// The runbook, or a person as in evidence.
    pub by: String,
    /// Since when, milliseconds since 1970.
    pub from_ms: u64,
    /// It ends by itself then.
    pub until_ms: u64,
    /// How often it was met, once it is over.
    pub met: u32,
    /// When it ended.
    pub ended_ms: Option<u64>,
}

/// An inject that is to begin.
pub struct Wanted {
    /// In which run.
    pub run: RunId,
    /// What goes wrong.
    pub kind: InjectKind,
    /// On which endpoints.
    pub endpoints: Vec<EndpointId>,
    /// How long, milliseconds.
    pub for_ms: u64,
    /// Who wants it.
    pub by: String,
}

/// In words, for the clean-up.
pub fn named(armed: &[InjectKind], unended: usize) -> Vec<String> {
    let mut left: Vec<String> = armed.iter().map(|kind| format!("{} is armed", kind.word())).collect();
    if unended > 0 {
        left.push(format!("{unended} not ended on record"));
    }
    left
}

/// Those that the runbook wants with this order, of a rehearsal.
pub fn declared(record: &RunRecord, key: &OrderKey) -> Vec<Wanted> {
    if !rehearses(record) || key.attempt != 1 {
        return Vec::new();
    }
    let all = record.targets.iter().map(|frozen| &frozen.target);
    let on: Vec<EndpointId> = all
        .filter(|target| key.target.as_ref().is_none_or(|mine| mine == *target))
        .filter_map(|target| target.as_str().parse().ok())
        .collect();
    let mine = record.runbook.injects.iter().filter(|inject| inject.at == key.step);
    let wanted = |inject: &runbooks::runbook::Inject| Wanted {
        run: record.run.clone(),
        kind: inject.kind,
        endpoints: on.clone(),
        for_ms: inject.for_ms,
        by: "runbook".to_owned(),
    };
    mine.map(wanted).collect()
}

fn rehearses(record: &RunRecord) -> bool {
    matches!(record.mode, ModeName::Drill | ModeName::Virtual)
}

impl Drills {
    /// Let something go wrong on purpose in a drill that runs.
    ///
    /// # Errors
    /// 404 `unknown-drill`; 409 `inject-refused` where it is no rehearsal, is over, or the endpoint is none of its; 422 `bad-inject`.
    pub async fn inject(&self, actor: &Actor, drill: &str, new: NewInject) -> Result<DrillView, Problem> {
        let record = self.find(drill)?.record;
        let refused = |why: &str| {
            let remedy = "injects happen in rehearsals that run, on their own endpoints";
            Problem::new(409, "inject-refused", "This inject cannot begin", why, remedy)
        };
        let bad = |why: String| {
            let words: Vec<&str> = InjectKind::ALL.into_iter().map(InjectKind::word).collect();
            let remedy = format!("one of {}, for 1 to {} s", words.join(", "), INJECT_MS_MAX / 1000);
            Problem::new(422, "bad-inject", "There is no such inject", why, remedy)
        };
        let kind = InjectKind::ALL.into_iter().find(|kind| kind.word() == new.inject);
        let kind = kind.ok_or_else(|| bad(format!("`{}`", new.inject)))?;
        let for_ms = u64::from(new.seconds) * 1000;
        if for_ms == 0 || for_ms > INJECT_MS_MAX {
            return Err(bad(format!("{} s", new.seconds)));
        }
        if !rehearses(&record) {
            return Err(refused("this run is no rehearsal"));
        }
        if !matches!(record.stage, Stage::Planned | Stage::Running) {
            return Err(refused("the drill is over, or about to be"));
        }
        let all =
            record.targets.iter().filter_map(|frozen| frozen.target.as_str().parse::<EndpointId>().ok());
        let meant = |one: &EndpointId| new.endpoint.as_ref().is_none_or(|endpoint| endpoint == one);
        let endpoints: Vec<EndpointId> = all.filter(meant).collect();
        if endpoints.is_empty() {
            return Err(refused("the endpoint is none of this drill's"));
        }
        for endpoint in &endpoints {
            self.0.service.may_order(actor, endpoint).await?;
        }
        let wanted = Wanted { run: record.run, kind, endpoints, for_ms, by: actor.name.clone() };
        let (reply, replied) = oneshot::channel();
        let stops = || refused("the appliance stops");
        self.0.queue.send(Said::Inject(wanted, reply)).await.map_err(|_| stops())?;
        replied.await.map_err(|_| stops())??;
        self.view(drill)
    }

    /// Begin an inject: with a permit of each endpoint, kept before it is armed.
    pub(super) async fn begin_inject(&self, wanted: Wanted) -> Result<(), Problem> {
        let now = now_ms();
        for endpoint in &wanted.endpoints {
            let permit = self.0.service.drill_permit(endpoint).await?;
            let injected = Injected {
                kind: wanted.kind,
                endpoint: endpoint.clone(),
                by: wanted.by.clone(),
                from_ms: now,
                until_ms: now.saturating_add(wanted.for_ms),
                met: 0,
                ended_ms: None,
            };
            self.change(&wanted.run, |kept| kept.injects.push(injected.clone()))?;
            self.0.service.injects().arm(wanted.run.as_str(), &permit, wanted.kind, injected.until_ms);
            self.note_inject(&wanted.run, &injected, "begun").await?;
        }
        Ok(())
    }

    /// End those of a run whose time is up, or all of them.
    pub(super) async fn end_injects(&self, run: &RunId, all: bool) {
        let now = now_ms();
        let open = self.kept().get(run).map(|kept| kept.injects.clone()).unwrap_or_default();
        let due = |one: &Injected| one.ended_ms.is_none() && (all || one.until_ms <= now);
        for (at, mut injected) in open.into_iter().enumerate().filter(|(_, one)| due(one)) {
            injected.met = self.0.service.injects().disarm(run.as_str(), injected.kind, &injected.endpoint);
            injected.ended_ms = Some(now);
            // Recorded last: an end that could not be put on record is tried again.
            let noted = self.note_inject(run, &injected, "ended").await;
            let kept = noted.and_then(|()| self.change(run, |kept| kept.injects[at] = injected.clone()));
            if let Err(error) = kept {
                tracing::error!(%run, %error, "the end of an inject could not be put on record");
            }
        }
    }

    /// Arm again what was not over when the appliance stopped.
    pub(super) async fn arm_again(&self, kept: &Kept) {
        let now = now_ms();
        for one in kept.injects.iter().filter(|one| one.ended_ms.is_none() && one.until_ms > now) {
            match self.0.service.drill_permit(&one.endpoint).await {
                Ok(permit) => {
                    self.0.service.injects().arm(kept.record.run.as_str(), &permit, one.kind, one.until_ms);
                }
                Err(error) => {
                    tracing::warn!(endpoint = %one.endpoint, %error, "an inject is not taken up again")
                }
            }
        }
    }

    /// When the next inject of any run ends by itself.
    pub(super) fn next_inject_end_ms(&self) -> Option<u64> {
        let kept = self.kept();
        let open = kept.values().flat_map(|kept| &kept.injects).filter(|one| one.ended_ms.is_none());
        open.map(|one| one.until_ms).min()
    }

    /// Runs of which an inject is due to end.
    pub(super) fn runs_with_ended_injects(&self) -> Vec<RunId> {
        let now = now_ms();
        let kept = self.kept();
        let due = |one: &Injected| one.ended_ms.is_none() && one.until_ms <= now;
        kept.values()
            .filter(|kept| kept.injects.iter().any(due))
            .map(|kept| kept.record.run.clone())
            .collect()
    }

    /// Injects of a run on an endpoint that are not ended on record.
    pub(super) fn injects_open(&self, run: &RunId, endpoint: &EndpointId) -> usize {
        let kept = self.kept();
        let of_run = kept.get(run).map(|kept| kept.injects.as_slice()).unwrap_or_default();
        of_run.iter().filter(|one| one.endpoint == *endpoint && one.ended_ms.is_none()).count()
    }

    /// When an inject that held this endpoint's job ends or ended; `None`: none was met.
    pub(super) fn held_by_inject(&self, run: &RunId, endpoint: &EndpointId) -> Option<u64> {
        let kept = self.kept();
        let of_run = kept.get(run).map(|kept| kept.injects.as_slice()).unwrap_or_default();
        let met = |one: &&Injected| {
            one.endpoint == *endpoint
                && (one.met > 0 || self.0.service.injects().met(run.as_str(), one.kind, endpoint) > 0)
        };
        of_run.iter().filter(met).map(|one| one.ended_ms.unwrap_or(one.until_ms)).max()
    }

    async fn note_inject(&self, run: &RunId, injected: &Injected, what: &str) -> Result<(), Problem> {
        let facts = json!({
            "drill": run, "inject": injected.kind.word(), "what": what, "by": injected.by, "until_unix_ms": injected.until_ms,
            "met": injected.met,
        });
        let actor = Actor::trigger(&format!("drill:{run}"));
        self.0.service.note_drill("drill.inject", &actor, Some(&injected.endpoint), facts).await
    }
}

/// For people.
pub fn view(injected: &Injected) -> InjectView {
    InjectView {
        inject: injected.kind.word().to_owned(),
        endpoint: injected.endpoint.clone(),
        by: injected.by.clone(),
        from_unix_ms: injected.from_ms,
        until_unix_ms: injected.until_ms,
        met: injected.met,
        ended_unix_ms: injected.ended_ms,
    }
}
