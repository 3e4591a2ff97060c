//! Standing plans: made by one, approved by two others, void when anything that they name changes.
//!
//! ```text
//! make ─► proposed ─► first approval ─► second approval ─► standing ─► over: withdrawn · expired · void
//! ```
//!
//! What one lets through is decided by [`crate::guard`].
//!
//! It must never: let its maker, or who changed a record that it names, be one of the two.

use std::collections::BTreeMap;

use recovery_protocol::{
    Problem,
    operator::{Approval, Decision, EndpointState, ImageView},
    plan::{NewPlan, PlanApproval, PlanState, PlanView},
};
use serde_json::json;

use super::{Actor, Inner, Service, orders::within, people, scope};
use crate::{
    config::{Config, Window},
    db::{
        self, Conn,
        plan::{Body, Plan},
    },
    evidence::Fact,
    guard::plan::{APPROVALS, broken, hash, named},
    jobs::journal::Journal,
};

const DAY_MS: u64 = 24 * 3_600_000;
const DAYS_MOST: u32 = 90;
const PER_DAY_MOST: u32 = 100;
const COVERED_MOST: usize = 500;
const OPEN_MOST: usize = 64;
const LIST_MOST: usize = 16;

fn wrong(detail: impl Into<String>, remedy: &str) -> Problem {
    Problem::new(422, "bad-plan", "This plan cannot be made", detail, remedy)
}

impl Service {
    /// Plans, the newest first.
    pub async fn plans(&self) -> Result<Vec<PlanView>, Problem> {
        let inner = &self.0;
        let mut conn = inner.journal.db.read().await?;
        let mut views = Vec::new();
        for plan in db::plan::list(&mut conn).await? {
            views.push(view(&mut conn, &inner.journal.config, plan, inner.journal.now()).await?);
        }
        Ok(views)
    }

    /// Make one. 409 `plan-exists`, 422 `bad-plan`.
    pub async fn make_plan(&self, actor: &Actor, new: NewPlan) -> Result<PlanView, Problem> {
        let inner = &self.0;
        check(inner, &new)?;
        let images = inner.golden.list().await?;
        let image = image(&images, &new.image)?;
        let mut tx = inner.journal.begin().await?;
        let at = tx.at;
        let open = db::plan::open(tx.conn()).await?;
        if open.len() >= OPEN_MOST || open.iter().any(|plan| plan.body.asked.plan == new.plan) {
            let detail = format!("{} is open already, or {OPEN_MOST} plans are", new.plan);
            let remedy = "withdraw it first (`groundstate plan withdraw`), or choose another name";
            return Err(Problem::new(409, "plan-exists", "There is such a plan", detail, remedy));
        }
        let config = &inner.journal.config;
        let mut covered = BTreeMap::new();
        for endpoint in db::endpoint::all(tx.conn()).await? {
            let class = config.rails(&endpoint.record).safety_class;
            let on_record = endpoint.state != EndpointState::Discovered;
            if on_record && endpoint.is_meant(&new.selector, config.site.as_str(), class) {
                scope::covers(inner, actor, &endpoint)?;
                covered.insert(endpoint.id.clone(), named(config, &endpoint));
            }
        }
        if covered.is_empty() || covered.len() > COVERED_MOST {
            let detail = format!("`{}` means {} endpoints", new.selector, covered.len());
            return Err(wrong(
                detail,
                "mean at least one, and at most 500: `groundstate endpoint list --selector`",
            ));
        }
        let ends = at.saturating_add(u64::from(new.valid_days) * DAY_MS);
        let image_name = format!("{} {}", image.name, image.version);
        let body = Body { asked: new, image: image.image, image_name, named: covered };
        let plan = Plan {
            hash: hash(&body, &actor.name, at),
            body,
            made_by: actor.name.clone(),
            made: at,
            ends,
            approvals: Vec::new(),
            over: None,
        };
        db::plan::put(tx.conn(), &plan).await?;
        let facts = json!({ "plan": plan.body.asked, "hash": plan.hash, "image": plan.body.image, "named": plan.body.named });
        tx.note(Fact::new("order.plan", &actor.name, facts)).await?;
        let shown = view(tx.conn(), config, plan, at).await?;
        tx.commit().await?;
        Ok(shown)
    }

    /// One of two approvals, of what was seen. 404 `unknown-plan`, 409 `plan-over`, `approval-stale`, `second-person-needed`.
    pub async fn approve_plan(
        &self,
        actor: &Actor,
        name: &str,
        order: Approval,
    ) -> Result<PlanView, Problem> {
        let inner = &self.0;
        let config = &inner.journal.config;
        let mut tx = inner.journal.begin().await?;
        let at = tx.at;
        let mut plan = open_one(tx.conn(), name).await?;
        if plan.hash != order.seen {
            let detail = format!("plan {name} is another one than what was shown to {}", actor.name);
            let remedy = "look at it again: `groundstate plan list`";
            return Err(Problem::new(409, "approval-stale", "This is not what you saw", detail, remedy));
        }
        if let Some(why) = broken(tx.conn(), config, &plan, at).await? {
            let remedy = "have it made anew";
            return Err(Problem::new(409, "plan-over", "The plan does not count any more", why, remedy));
        }
        no_hand_in_it(inner, tx.conn(), actor, &plan).await?;
        plan.approvals.push(PlanApproval { by: actor.name.clone(), at_unix_ms: at });
        db::plan::put(tx.conn(), &plan).await?;
        let facts = json!({
            "plan": name, "hash": plan.hash, "reason": within(&order.reason), "approvals": plan.approvals.len(),
        });
        tx.note(Fact::new("order.plan-approve", &actor.name, facts)).await?;
        let shown = view(tx.conn(), config, plan, at).await?;
        tx.commit().await?;
        Ok(shown)
    }

    /// It counts no more; what it began goes on. 404 `unknown-plan`.
    pub async fn withdraw_plan(
        &self,
        actor: &Actor,
        name: &str,
        order: Decision,
    ) -> Result<PlanView, Problem> {
        let inner = &self.0;
        let mut tx = inner.journal.begin().await?;
        let at = tx.at;
        let mut plan = open_one(tx.conn(), name).await?;
        plan.over = Some((at, format!("withdrawn by {}", actor.name)));
        db::plan::put(tx.conn(), &plan).await?;
        let facts = json!({ "plan": name, "hash": plan.hash, "reason": within(&order.reason) });
        tx.note(Fact::new("order.plan-withdraw", &actor.name, facts)).await?;
        let shown = view(tx.conn(), &inner.journal.config, plan, at).await?;
        tx.commit().await?;
        Ok(shown)
    }
}

/// Those whose time is over, or of which something has changed, are over: told once for each.
pub async fn mind_plans(journal: &Journal) -> Result<(), db::DbError> {
    let open = db::plan::open(&mut *journal.db.read().await?).await?;
    for mut plan in open {
        let now = journal.now();
        let why = broken(&mut *journal.db.read().await?, &journal.config, &plan, now).await?;
        let Some(why) = why else { continue };
        let mut tx = journal.begin().await?;
        if db::plan::get(tx.conn(), &plan.hash).await?.is_none_or(|plan| plan.over.is_some()) {
            continue;
        }
        let facts = json!({ "plan": plan.body.asked.plan, "hash": plan.hash, "why": why });
        plan.over = Some((now, why));
        db::plan::put(tx.conn(), &plan).await?;
        tx.note(Fact::new("plan.over", "appliance", facts)).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn open_one(conn: &mut Conn, name: &str) -> Result<Plan, Problem> {
    let open = db::plan::open(conn).await?;
    open.into_iter().find(|plan| plan.body.asked.plan == name).ok_or_else(|| {
        let detail = format!("no plan that is called {name} is open");
        let remedy = "look for it with `groundstate plan list`";
        Problem::new(404, "unknown-plan", "There is no such plan", detail, remedy)
    })
}

/// Neither its maker, nor who approved it already, nor who changed a record that it names.
async fn no_hand_in_it(inner: &Inner, conn: &mut Conn, actor: &Actor, plan: &Plan) -> Result<(), Problem> {
    let by = &actor.name;
    let refused = |detail: String| {
        let remedy = "let another person approve it, who neither made it nor changed what it is about";
        Err(Problem::new(409, "second-person-needed", "Another person must approve it", detail, remedy))
    };
    if plan.made_by == *by {
        return refused(format!("{by} made the plan"));
    }
    if plan.approvals.iter().any(|approval| approval.by == *by) {
        return refused(format!("{by} has approved it already"));
    }
    if plan.approvals.len() >= APPROVALS {
        return refused("two people have approved it: it stands".to_owned());
    }
    let since = plan.made.saturating_sub(DAY_MS);
    for id in plan.body.named.keys() {
        if let Some(endpoint) = db::endpoint::get(conn, id).await? {
            scope::covers(inner, actor, &endpoint)?;
        }
        if db::endpoint::edited_by(conn, id, by, since).await? {
            return refused(format!(
                "{by} changed the record of {id} within a day before the plan was made, or since"
            ));
        }
    }
    Ok(())
}

async fn view(conn: &mut Conn, config: &Config, plan: Plan, now: u64) -> Result<PlanView, db::DbError> {
    let over = match &plan.over {
        Some((_, why)) => Some(why.clone()),
        None => broken(conn, config, &plan, now).await?,
    };
    let state = match (&over, plan.approvals.len()) {
        (Some(_), _) => PlanState::Over,
        (None, APPROVALS..) => PlanState::Standing,
        (None, _) => PlanState::Proposed,
    };
    let begun = db::plan::begun(conn, &plan.hash, now.saturating_sub(DAY_MS)).await?;
    Ok(PlanView {
        plan: plan.body.asked.plan.clone(),
        hash: plan.hash,
        state,
        over: over.unwrap_or_default(),
        image_name: plan.body.image_name,
        endpoints: plan.body.named.into_keys().collect(),
        asked: plan.body.asked,
        made_by: plan.made_by,
        made_unix_ms: plan.made,
        ends_unix_ms: plan.ends,
        approvals: plan.approvals,
        begun,
    })
}

fn check(inner: &Inner, new: &NewPlan) -> Result<(), Problem> {
    people::check_name(&new.plan).map_err(|problem| wrong(problem.detail, &problem.remedy))?;
    if !(1..=DAYS_MOST).contains(&new.valid_days) {
        return Err(wrong(format!("{} days", new.valid_days), "let it be valid for 1 to 90 days"));
    }
    if !(1..=PER_DAY_MOST).contains(&new.most_per_day) {
        return Err(wrong(
            format!("{} recoveries a day", new.most_per_day),
            "let it begin 1 to 100 within 24 hours",
        ));
    }
    if new.triggers.is_empty() || new.triggers.len() > LIST_MOST || new.windows.len() > LIST_MOST {
        return Err(wrong(
            "no trigger, or more than 16 triggers or windows",
            "name who may begin it: `attestation`, or a webhook",
        ));
    }
    for source in &new.triggers {
        if source != "attestation" && !inner.journal.config.hooks.contains_key(source) {
            return Err(wrong(
                format!("`{source}` is no source"),
                "name `attestation` or a webhook of the configuration",
            ));
        }
    }
    for window in &new.windows {
        Window::parse(window).map_err(|error| wrong(error, "correct it and make the plan again"))?;
    }
    Ok(())
}

/// The one image that is meant by `name:version` or by its id.
fn image<'a>(images: &'a [ImageView], text: &str) -> Result<&'a ImageView, Problem> {
    let fits = |view: &&ImageView| {
        view.image.to_string() == text || format!("{}:{}", view.name, view.version) == text
    };
    let mut found = images.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(view), None) if view.trusted => Ok(view),
        (Some(_), None) => Err(wrong(format!("image {text} is not trusted"), "have it signed first")),
        _ => Err(wrong(
            format!("`{text}` is no image, or more than one"),
            "name one: `groundstate image list`",
        )),
    }
}
