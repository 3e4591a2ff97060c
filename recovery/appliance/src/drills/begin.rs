//! From what somebody asks for to a run: runbook, endpoints, facts, plan, and what the plan would do.

use std::collections::BTreeSet;

use recovery_protocol::{
    EndpointId, Problem,
    drill::{DrillPlan, DrillPlanWave, RunMode},
    operator::{DrillView, NewDrill},
    selector::Selector,
};
use runbooks::{
    Ask, Drill, DrillSafe, EndpointFacts, Paper, Real, Run, RunId, Runbook, Target,
    paper::Language,
    run::{
        PlanError, Stage,
        preview::{Known, Preview},
    },
    runbook::{ModeName, Uses},
};
use serde_json::json;

use super::{Drills, Kept, facts, going::Going, now_ms, rehearser::Said, view};
use crate::{keys, service::Actor};

/// Earlier runs of which times are taken for an outlook, at most.
const EARLIER: usize = 20;

impl Drills {
    /// Plan a run and let it begin.
    ///
    /// # Errors
    /// 404 `unknown-runbook` or `unknown-endpoint`; 409 `not-drill-safe`, `drill-refused` with the planner's reason, or `plan-changed`
    /// when it is bound to another plan; 422 `not-a-runbook`, `bad-selector`, `plan-first`.
    pub async fn start(&self, actor: &Actor, new: NewDrill) -> Result<DrillView, Problem> {
        let bound = new.binding.clone();
        if new.mode == RunMode::DryRun {
            let remedy = "ask for its plan: `groundstate runbook run NAME --mode dry-run`";
            return Err(refused_with("a dry run is a plan and begins nothing".into(), remedy));
        }
        if new.mode == RunMode::Real && bound.is_none() {
            let detail =
                "the real thing begins with a plan that somebody looked at, and this order names none"
                    .to_owned();
            let remedy = "ask for the plan, look at it, and begin it by its `binding`";
            return Err(Problem::new(422, "plan-first", "This run is bound to no plan", detail, remedy));
        }
        let run = self.planned(actor, &new).await?;
        if let Some(bound) = bound.filter(|bound| *bound != run.record().binding) {
            let now = &run.record().binding;
            let detail = format!(
                "you looked at plan {bound}, and it is {now} now: the runbook, an endpoint, its place or its image changed"
            );
            let remedy = "look at the plan again, and begin that one";
            return Err(Problem::new(409, "plan-changed", "This is another plan now", detail, remedy));
        }
        let kept = Kept::new(run.record().clone());
        let answer = view(&kept);
        let stops = |_| refused("the appliance stops".to_owned());
        let place = self.0.queue.reserve().await.map_err(stops)?;
        self.store(&kept)?;
        place.send(Said::Begin(Box::new(run)));
        let facts = json!({
            "drill": answer.drill, "runbook": answer.runbook, "mode": answer.mode, "binding": answer.binding,
        });
        self.note(&kept.record.run, "order.drill", actor, None, facts).await?;
        Ok(answer)
    }

    /// What a run would do. A dry run is put on record.
    ///
    /// # Errors
    /// As [`Drills::start`].
    pub async fn plan(&self, actor: &Actor, new: NewDrill) -> Result<DrillPlan, Problem> {
        let run = self.planned(actor, &new).await?;
        let record = run.record();
        let people = usize::try_from(new.people).unwrap_or(1);
        let mut known = Known { people, ..Known::default() };
        for earlier in self.earlier_of(&record.runbook.name, record.mode) {
            known.learn(&self.report_of(&earlier, Language::En).await?, record);
        }
        let preview = Preview::of(record, &known);
        let waves = preview.waves.iter().map(|(wave, endpoints)| DrillPlanWave {
            wave: wave.clone(),
            endpoints: endpoints.iter().filter_map(|name| name.parse().ok()).collect(),
        });
        let waits = |step: &&runbooks::runbook::Step| {
            let uses = step.uses_in(record.mode);
            let nobody = matches!(uses, Uses::Approve(approval) if approval.min == 0);
            step.condition.fits(record.mode) && (record.mode.is_paper() || uses.is_by_hand()) && !nobody
        };
        let plan = DrillPlan {
            runbook: preview.runbook.clone(),
            digest: preview.digest.clone(),
            mode: preview.mode.to_owned(),
            binding: preview.binding.clone(),
            waves: waves.collect(),
            by_hand: record.runbook.all_steps().filter(waits).map(|step| step.id.to_string()).collect(),
            permits_at_most: u64::try_from(preview.permits_at_most).unwrap_or(u64::MAX),
            outlook: preview.in_a_sentence(),
        };
        if new.mode == RunMode::DryRun {
            let facts = json!({ "plan": plan, "targets": record.targets });
            self.0.service.note("drill.dry-run", actor, None, None, facts).await?;
        }
        Ok(plan)
    }

    /// The newest runs of a runbook that are over, of hardware for hardware.
    fn earlier_of(&self, runbook: &str, mode: ModeName) -> Vec<Kept> {
        let mut earlier: Vec<Kept> = self.kept().values().cloned().collect();
        earlier.retain(|kept| {
            let record = &kept.record;
            record.runbook.name == runbook
                && matches!(record.stage, Stage::Over { .. })
                && (record.mode == ModeName::Virtual) == (mode == ModeName::Virtual)
        });
        earlier.sort_by_key(|kept| std::cmp::Reverse(kept.record.planned_at_ms));
        earlier.truncate(EARLIER);
        earlier
    }

    async fn planned(&self, actor: &Actor, new: &NewDrill) -> Result<Going, Problem> {
        let runbook = self.runbook(new)?;
        let endpoints = self.meant(actor, new).await?;
        let (facts, scope) = facts::of(&self.0.service, &self.0.config, &endpoints).await?;
        let id = keys::random::<8>().map_err(|error| crate::api::gate::random_failed(&error))?;
        let ask = Ask { run: RunId::new(hex::encode(id)), requester: actor.name.clone(), now_ms: now_ms() };
        let no = |error: PlanError| refused(error.to_string());
        Ok(match new.mode {
            RunMode::Real | RunMode::DryRun => {
                let targets = facts.into_iter().map(Target::<Real>::real).collect();
                Going::Real(runbooks::plan(runbook, targets, ask).map_err(no)?)
            }
            RunMode::Tabletop => {
                let targets = facts.into_iter().map(Target::<Paper>::on_paper).collect();
                Going::Paper(runbooks::plan(runbook, targets, ask).map_err(no)?)
            }
            RunMode::Drill | RunMode::Virtual => {
                let targets = drill_safe(facts, &scope)?;
                let run: Run<Drill> = runbooks::plan(runbook, targets, ask).map_err(no)?;
                if new.mode == RunMode::Virtual && run.record().mode != ModeName::Virtual {
                    let why =
                        "not every endpoint is virtual, or the runbook has no mode `virtual`".to_owned();
                    return Err(refused(why));
                }
                Going::Drill(run)
            }
        })
    }

    fn runbook(&self, new: &NewDrill) -> Result<Runbook, Problem> {
        let shipped = || runbooks::library().iter().find(|shipped| shipped.name == new.runbook);
        let text = match &new.text {
            Some(text) => text.as_str(),
            None => shipped().map(|shipped| shipped.text).ok_or_else(|| {
                let remedy = format!("choose one of: {}", self.runbooks().join(", "));
                Problem::new(404, "unknown-runbook", "No such runbook", format!("`{}`", new.runbook), remedy)
            })?,
        };
        runbooks::parse(text).map_err(|error| {
            let detail = format!("{}: {error}", new.runbook);
            let remedy = "mend it; `groundstate runbook lint` says whether it is good";
            Problem::new(422, "not-a-runbook", "This is no runbook", detail, remedy)
        })
    }

    /// Whom it is about: those named, then those of the selector, by name. A run acts in its own name, so whose it is, is asked here.
    async fn meant(&self, actor: &Actor, new: &NewDrill) -> Result<Vec<EndpointId>, Problem> {
        let service = &self.0.service;
        let mut endpoints = new.endpoints.clone();
        if let Some(text) = &new.selector {
            let selector: Selector =
                text.parse().map_err(|error: recovery_protocol::selector::SelectorError| {
                    let remedy = "write it like `line=3,kind!=historian`";
                    Problem::new(
                        422,
                        "bad-selector",
                        "This selector cannot be read",
                        error.to_string(),
                        remedy,
                    )
                })?;
            let named: BTreeSet<EndpointId> = endpoints.iter().cloned().collect();
            let found = service.endpoints(Some(&selector)).await?;
            endpoints.extend(found.into_iter().map(|view| view.endpoint).filter(|one| !named.contains(one)));
        }
        for endpoint in &endpoints {
            service.may_order(actor, endpoint).await?;
        }
        Ok(endpoints)
    }
}

fn drill_safe(
    facts: Vec<EndpointFacts>,
    scope: &runbooks::DrillScope,
) -> Result<Vec<Target<Drill>>, Problem> {
    let resolve = |fact| {
        DrillSafe::resolve(fact, scope).map(Target::from).map_err(|error| {
            let remedy = "three words must agree: the endpoint on record with `--drill-safe`, its blueprint with `place = \"bench\"` or \
                          `\"virtual\"`, its group with `drill_zone = true`";
            Problem::new(409, "not-drill-safe", "This endpoint may not be drilled", error.to_string(), remedy)
        })
    };
    facts.into_iter().map(resolve).collect()
}

fn refused(why: String) -> Problem {
    refused_with(why, "choose another runbook or endpoint; a drill needs endpoints that may be drilled")
}

fn refused_with(why: String, remedy: &str) -> Problem {
    Problem::new(409, "drill-refused", "This run cannot be planned", why, remedy)
}
