//! The last interlocks of a drill, at the moment at which its order to write would go out. Whatever was believed when it was planned, it is asked here again.
//!
//! ```text
//! order of a drill's job ─► record, blueprint and group still say drill ─► the endpoint is in the group's drill network ─► hardware: a person matched the code
//!                               no: held                                       no: held                                    on its screen; till then it waits
//! ```
//!
//! It must never: let a real job wait for any of this, or take "not configured" of the first for yes.

use recovery_protocol::{Problem, agent::Assignment, job::HoldReason, operator::Mode};
use serde_json::json;

use super::{
    Agents,
    next::{Reached, wait},
};
use crate::{
    config::Place,
    db::{self, endpoint::Endpoint, job::JobRow},
    evidence::Fact,
    jobs::job::What,
    keys,
};

/// What the agent is told in the place of its order; `None`: the order may go out.
///
/// # Errors
/// The database.
pub async fn not_yet(
    agents: &Agents,
    reached: Reached,
    row: &JobRow,
    endpoint: &Endpoint,
) -> Result<Option<Assignment>, Problem> {
    if row.job.mode != Mode::Drill {
        return Ok(None);
    }
    let (journal, config) = (&agents.0.journal, &agents.0.journal.config);
    let place = config.blueprints.get(&endpoint.record.blueprint).map(|blueprint| blueprint.place);
    let group = config.group(&endpoint.record.group);
    let why = if !endpoint.record.drill_safe || !group.drill_zone || endpoint.record.group != row.group {
        Some("its record or its group does not say any more that it may be drilled".to_owned())
    } else if !matches!(place, Some(Place::Bench | Place::Virtual)) {
        Some("its blueprint stands in production: a drill never writes there".to_owned())
    } else if config.rails(&endpoint.record).safety_class >= 3 {
        Some("the plant cannot do without it: a drill never writes there".to_owned())
    } else if !group.drill_networks.is_empty()
        && !group.drill_networks.iter().any(|network| network.holds(reached.peer))
    {
        Some(format!("it asks from {}, which is in none of its group's drill_networks", reached.peer))
    } else {
        None
    };
    if let Some(why) = why {
        let detail = format!("this is a drill, and {why}");
        let what = What::Refused { reason: HoldReason::PermitMissing, detail };
        journal.event(row.job.id, "appliance", what).await?;
        return Ok(Some(wait(2, "a drill may not write here")));
    }
    if place == Some(Place::Virtual) {
        return Ok(None);
    }
    let mut tx = journal.begin().await?;
    let code = match db::drill_code::of(tx.conn(), row.job.id).await? {
        Some(shown) if shown.matched.is_some() => return Ok(None),
        Some(shown) => shown.code,
        None => {
            let digits = u32::from_le_bytes(keys::random::<4>()?) % 10_000;
            let code = format!("{digits:04}");
            let at = tx.at;
            db::drill_code::show(tx.conn(), row.job.id, &code, at).await?;
            let mut fact = Fact::new("drill.code-shown", "appliance", json!({})).about(&endpoint.id);
            fact.mode = Mode::Drill;
            tx.note(fact.of(Some(row.job.id))).await?;
            tx.commit().await?;
            code
        }
    };
    let why =
        format!("DRILL CODE {code}: this disk is written once somebody gives this code to the appliance");
    Ok(Some(wait(3, why)))
}
