//! `/livez` and `/readyz`: open, because a watchdog has no token; they say yes or no and why, nothing else.

use axum::{extract::State, routing::get};

use super::{People, Refusal, Route};

/// Health routes.
pub fn routes() -> Vec<Route> {
    vec![("/livez", get(live)), ("/readyz", get(ready))]
}

/// The process runs and its listener answers.
async fn live() -> &'static str {
    "alive\n"
}

/// The database answers and the evidence log can be written.
async fn ready(State(people): State<People>) -> Result<&'static str, Refusal> {
    people.service.ready().await?;
    Ok("ready\n")
}
