//! Pages for those who run the site: what waits for somebody, endpoints, approvals, the boot network, the site itself. Each page has its
//! question in its address, so that it can be sent to a colleague; each works without a script.

mod approvals;
mod home;
mod list;
mod network;
mod query;
mod site;

use axum::routing::{get, post};
use recovery_protocol::people::{Permission, Role};

use super::words::role;
use crate::api::{Closed, Needs};

/// Routes behind the gate.
pub fn routes() -> Vec<Closed> {
    use Permission as P;
    vec![
        ("/", get(home::page), Needs::LOOK),
        ("/endpoints", get(list::page), Needs::LOOK),
        ("/approvals", get(approvals::page), Needs::LOOK),
        ("/approvals/{job}", post(approvals::answer), Needs::all(P::Approve)),
        ("/network", get(network::page).post(network::probe), Needs::to_write(P::Network)),
        ("/network/{endpoint}", get(network::one), Needs::LOOK),
        ("/site", get(site::page), Needs::LOOK),
    ]
}

/// The roles that may do this, in the reader's language.
fn who_may(wanted: Permission) -> String {
    let roles = Role::ALL.into_iter().filter(|role| role.may(wanted)).map(role);
    roles.collect::<Vec<_>>().join(", ")
}
