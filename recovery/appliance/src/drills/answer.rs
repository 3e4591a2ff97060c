//! What people answer a run: in their own name, and in a duty that is theirs on record.

use std::collections::BTreeSet;

use recovery_protocol::{
    Problem,
    drill::DrillCode,
    operator::{DrillAnswer, DrillView},
};
use runbooks::{
    Happened, RunRecord,
    run::{Task, TaskState, Waiting},
    runbook::Uses,
};

use super::{Drills, answer_refused};
use crate::service::Actor;

impl Drills {
    /// A person's answer to a step that waits for one.
    ///
    /// # Errors
    /// 404 `unknown-drill`; 409 `drill-answer-refused` with the run's reason (wrong role, own request, nothing waits), or an approval in
    /// another's name.
    pub async fn answer(
        &self,
        actor: &Actor,
        drill: &str,
        answer: DrillAnswer,
    ) -> Result<DrillView, Problem> {
        let DrillAnswer { step, endpoint, mut person, role, yes, note } = answer;
        let record = self.find(drill)?.record;
        if self.0.service.injects().nobody_answers(drill, super::now_ms()) {
            return Err(answer_refused(
                "inject `technician-absent`: nobody is there to answer until it ends",
            ));
        }
        // An answer lets every endpoint of the drill go on.
        let targets: BTreeSet<&str> =
            record.tasks.iter().filter_map(|t| Some(t.target.as_ref()?.as_str())).collect();
        for target in targets {
            if let Ok(endpoint) = target.parse() {
                self.0.service.may_order(actor, &endpoint).await?;
            }
        }
        let asked = |task: &&Task| {
            task.step.as_str() == step
                && task.target.as_ref().map(runbooks::TargetId::as_str)
                    == endpoint.as_ref().map(|e| e.as_str())
        };
        let task = record.tasks.iter().find(asked).ok_or_else(|| {
            let of: Vec<&str> = record
                .tasks
                .iter()
                .filter(|task| task.step.as_str() == step)
                .filter_map(|task| Some(task.target.as_ref()?.as_str()))
                .collect();
            answer_refused(&match of.is_empty() {
                true => format!("there is no step `{step}`"),
                false => format!("step `{step}` is asked of {}: name it with --endpoint", of.join(", ")),
            })
        })?;
        let key = record.key_of(task);
        let waits =
            |for_what| matches!(&task.state, TaskState::Working { waiting, .. } if *waiting == for_what);
        let approves = waits(Waiting::Approval);
        let named = person.strip_prefix("operator:").unwrap_or(&person);
        if approves && !person.is_empty() && Some(named) != actor.name.strip_prefix("operator:") {
            let why = format!(
                "an approval is given by who is signed in, {}, and by nobody in another's name",
                actor.name
            );
            return Err(answer_refused(&why));
        }
        if approves || person.is_empty() {
            person.clone_from(&actor.name);
        }
        let role = self.duty(actor, &record, task, role, approves).await?;
        let facts = serde_json::json!({
            "drill": drill, "step": step, "endpoint": endpoint, "person": person, "role": role, "yes": yes, "note": note,
        });
        let binding = record.binding.clone();
        let what = if approves {
            Happened::Decided { key, person, role, approves: yes, binding, reason: note }
        } else if waits(Waiting::Choice) {
            Happened::Chose { key, person, option: note }
        } else {
            Happened::Answered { key, person, done: yes, note }
        };
        self.tell(&record.run, what).await?;
        self.note(&record.run, "decision.drill", actor, endpoint.as_ref(), facts).await?;
        self.view(drill)
    }

    /// Match the code on the screen of an endpoint that this drill is to write.
    ///
    /// # Errors
    /// 404 `unknown-drill`; 409 `no-drill-code`, `drill-code-wrong`.
    pub async fn match_code(
        &self,
        actor: &Actor,
        drill: &str,
        order: DrillCode,
    ) -> Result<DrillView, Problem> {
        let run = self.find(drill)?.record.run;
        self.0.service.may_order(actor, &order.endpoint).await?;
        let job = self.job_in(&run, order.endpoint.as_str()).ok_or_else(|| {
            let detail = format!("this drill has no recovery on {}", order.endpoint);
            let remedy = "look at the drill's steps: it shows a code while it is being recovered";
            Problem::new(409, "no-drill-code", "This endpoint shows no drill code", detail, remedy)
        })?;
        self.0.service.match_drill_code(actor, job, &order.code).await?;
        self.view(drill)
    }

    /// In which of their duties somebody answers: the one that they name, if it is theirs, else the first that the step asks for.
    async fn duty(
        &self,
        actor: &Actor,
        record: &RunRecord,
        task: &Task,
        named: String,
        approves: bool,
    ) -> Result<String, Problem> {
        let duties = self.0.service.duties_of(actor).await?;
        let approval = match record.step_of(task).map(|step| step.uses_in(record.mode)) {
            Some(Uses::Approve(approval)) if approves => Some(approval),
            _ => None,
        };
        let lacks = |duty: &str| {
            let person = actor.name.strip_prefix("operator:").unwrap_or(&actor.name);
            let why = format!("{person} is no {duty} on record, and nobody becomes one by saying so");
            let remedy = format!(
                "somebody who is one answers; or whoever manages people gives it: `groundstate person duty {person} --add {duty}`"
            );
            Problem::new(409, "drill-answer-refused", "The run did not take this answer", why, remedy)
        };
        if !named.is_empty() && !duties.contains(&named) {
            return Err(lacks(&named));
        }
        if !named.is_empty() {
            return Ok(named);
        }
        let Some(approval) = approval else { return Ok(String::new()) };
        let theirs = approval.roles.iter().find(|duty| duties.contains(duty));
        match theirs.or(approval.roles.first()) {
            None => Ok(String::new()),
            Some(duty) if theirs.is_some() => Ok(duty.clone()),
            // The run itself refuses who asked for it, whatever they are: a duty would not help them.
            Some(duty) if approval.not_requester && actor.name == record.requester => Ok(duty.clone()),
            Some(duty) => Err(lacks(duty)),
        }
    }
}
