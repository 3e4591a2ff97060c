//! Pages for those who run the site: what waits for somebody, endpoints, approvals, the boot network, the site itself. Each page has its
//! question in its address, so that it can be sent to a colleague; each works without a script.

mod approvals;
mod evidence;
mod home;
mod images;
mod jobs;
mod list;
mod map;
mod network;
mod people;
pub mod query;
mod retry;
mod site;
pub mod steps;

use axum::routing::{get, post};
use recovery_protocol::people::{Permission, Role};

#[cfg(test)]
pub use network::trace;

use super::words::role;
use crate::api::{Closed, Needs};

/// Routes behind the gate.
pub fn routes() -> Vec<Closed> {
    use Permission as P;
    vec![
        ("/", get(home::page), Needs::LOOK),
        ("/endpoints", get(list::page), Needs::LOOK),
        ("/jobs", get(jobs::page), Needs::LOOK),
        ("/jobs/{job}/retry", post(retry::order), Needs::all(P::Recover)),
        ("/evidence", get(evidence::page), Needs::all(P::Evidence)),
        ("/evidence/verify", post(evidence::verify), Needs::all(P::Evidence)),
        ("/evidence/{seq}", get(evidence::one), Needs::all(P::Evidence)),
        ("/images", get(images::page), Needs::LOOK),
        ("/images/{image}", get(images::one), Needs::LOOK),
        ("/images/{image}/promote", post(images::promote), Needs::all(P::Images)),
        ("/people", get(people::page).post(people::add), Needs::all(P::People)),
        ("/people/sessions/end", post(people::end_session), Needs::all(P::Session)),
        ("/people/{person}/change", post(people::change), Needs::all(P::People)),
        ("/people/{person}/token", post(people::token), Needs::all(P::People)),
        ("/people/{person}/in", post(people::shut), Needs::all(P::People)),
        ("/people/{person}/unlock", post(people::unlock), Needs::all(P::Kiosk)),
        ("/kiosks", get(people::kiosks).post(people::pair), Needs::all(P::Kiosk)),
        ("/kiosks/{kiosk}/end", post(people::unpair), Needs::all(P::Kiosk)),
        ("/approvals", get(approvals::page), Needs::LOOK),
        ("/approvals/{job}", post(approvals::answer), Needs::all(P::Approve)),
        ("/map", get(map::page), Needs::LOOK),
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
