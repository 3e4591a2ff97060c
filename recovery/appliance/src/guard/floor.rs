//! How many stay up: the share of a group that may be down at once, and the floor of healthy members of a redundancy group.
//!
//! Healthy is an endpoint on record that is known or trusted and has no open job. One in recovery is down, held ones included, and so is
//! a suspect: counting them as healthy lets a whole line go down at once (openshift/machine-api-operator#898). A share is rounded down: 40 %
//! of 6 are 2.
//!
//! It must never: write, or act.

use std::collections::HashSet;

use recovery_protocol::{EndpointId, JobId, operator::EndpointState};

use crate::{
    config::{Config, Group},
    db::{self, Conn, DbError, endpoint::Endpoint},
};

/// A look at all endpoints, with one of them about to go down.
pub struct Fleet {
    all: Vec<Endpoint>,
    busy: HashSet<EndpointId>,
}

impl Fleet {
    /// As it is; `but` is the job that asks, which does not count itself.
    pub async fn now(conn: &mut Conn, but: Option<JobId>) -> Result<Self, DbError> {
        let all = db::endpoint::all(conn).await?;
        let open = db::job::open(conn).await?;
        let busy =
            open.into_iter().filter(|row| Some(row.job.id) != but).map(|row| row.job.endpoint).collect();
        Ok(Self { all, busy })
    }

    fn is_healthy(&self, endpoint: &Endpoint) -> bool {
        let state = matches!(endpoint.state, EndpointState::Known | EndpointState::Trusted);
        state && !self.busy.contains(&endpoint.id)
    }

    /// Why the share of the group says no.
    pub fn share(&self, id: &EndpointId, name: &str, group: &Group) -> Option<String> {
        let percent = u64::from(group.max_share_percent);
        if percent >= 100 {
            return None;
        }
        let members =
            || self.all.iter().filter(|e| e.record.group == name && e.state != EndpointState::Discovered);
        let count = members().count() as u64;
        let down = members().filter(|e| e.id != *id && self.busy.contains(&e.id)).count() as u64;
        let most = count * percent / 100;
        (down >= most).then(|| {
            format!(
                "{down} of {count} endpoints of group {name} are in recovery; at most {most} may be, {percent} % rounded down \
                 (max_share_percent)"
            )
        })
    }

    /// Why a redundancy group says no: too few of the others are healthy. `healthy`: the endpoint itself was, before it was asked for. A
    /// person may recover one that is down already, since that takes nothing away; a trigger may not.
    pub fn floor(&self, config: &Config, endpoint: &Endpoint, person: bool, healthy: bool) -> Option<String> {
        if person && !healthy {
            return None;
        }
        groups(config, endpoint).into_iter().find_map(|(name, floor)| {
            let others = self.all.iter().filter(|other| {
                other.id != endpoint.id
                    && self.is_healthy(other)
                    && groups(config, other).iter().any(|(of, _)| *of == name)
            });
            let up = others.count() as u64;
            (up < u64::from(floor)).then(|| {
                format!(
                    "{up} others of redundancy group {name} are healthy; at least {floor} must stay so (min_healthy)"
                )
            })
        })
    }
}

/// The redundancy groups of an endpoint, with their floors: the one that its record names, and those whose selector means it.
fn groups<'a>(config: &'a Config, endpoint: &'a Endpoint) -> Vec<(&'a str, u32)> {
    let own = endpoint.record.redundancy.as_deref();
    let configured = config.redundancy.iter().filter(|(name, group)| {
        let class = config.rails(&endpoint.record).safety_class;
        let meant = |selector| endpoint.is_meant(selector, config.site.as_str(), class);
        own == Some(name.as_str()) || group.selector.as_ref().is_some_and(meant)
    });
    let mut found: Vec<_> = configured.map(|(name, group)| (name.as_str(), group.min_healthy)).collect();
    if let Some(own) = own.filter(|own| !config.redundancy.contains_key(*own)) {
        found.push((own, 1));
    }
    if endpoint.state == EndpointState::Discovered { Vec::new() } else { found }
}
