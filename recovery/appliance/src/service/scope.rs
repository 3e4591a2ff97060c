//! The scope of a person: about whom they may order something. Looking is never scoped: a line stands beside another one.
//!
//! Asked where the endpoint is known, in the transaction of the order where there is one, and after a change of a record as well: nobody
//! moves an endpoint into their scope or out of it.

use recovery_protocol::Problem;

use super::{Actor, Inner, Service};
use crate::db::endpoint::Endpoint;

impl Service {
    /// Whether they may order what is about the whole site. 403 `out-of-scope`.
    pub fn may_order_all(&self, actor: &Actor) -> Result<(), Problem> {
        whole_site(actor)
    }
}

/// 403 `out-of-scope` where the endpoint is none of theirs.
pub fn covers(inner: &Inner, actor: &Actor, endpoint: &Endpoint) -> Result<(), Problem> {
    let Some(scope) = &actor.scope else { return Ok(()) };
    let config = &inner.journal.config;
    let class = config.rails(&endpoint.record).safety_class;
    if endpoint.is_meant(scope, config.site.as_str(), class) {
        return Ok(());
    }
    let detail = format!(
        "{} may order something about `{scope}` alone, and {} is not of these",
        actor.name, endpoint.id
    );
    Err(refused(actor, detail))
}

/// 403 `out-of-scope` for what is about the whole site.
pub fn whole_site(actor: &Actor) -> Result<(), Problem> {
    let Some(scope) = &actor.scope else { return Ok(()) };
    Err(refused(
        actor,
        format!("{} may order something about `{scope}` alone, and this is about the whole site", actor.name),
    ))
}

fn refused(actor: &Actor, detail: String) -> Problem {
    tracing::warn!(who = actor.name, detail, "out of scope");
    let remedy =
        "ask somebody whose scope it is; an admin changes scopes with `groundstate person set --scope`";
    Problem::new(403, "out-of-scope", "This is outside of your scope", detail, remedy)
}
