//! A permit from outside: some other system of the site says that an endpoint may be taken down now (its line stands still, an interlock
//! is closed). Asked when the image is checked, before the endpoint is fenced, before its ticket
//! lives and before its power is touched; silence is no permit.
//!
//! `GET <url>?endpoint=press-01` is answered with `{"endpoint": "press-01", "permit": true, "why": "line 3 stands still"}`.
//!
//! It must never: remember a permit.

use recovery_protocol::EndpointId;
use serde::Deserialize;

use crate::{asking, config::Permit, seal};

const WHY_MOST: usize = 300;

#[derive(Deserialize)]
struct Answer {
    endpoint: EndpointId,
    permit: bool,
    #[serde(default)]
    why: String,
}

/// Ask; what it says when it permits.
///
/// # Errors
/// Why there is none, for a person.
pub async fn ask(permit: &Permit, endpoint: &EndpointId) -> Result<String, String> {
    let (setting, asked) = (permit.clone(), endpoint.clone());
    let answer = tokio::task::spawn_blocking(move || get(&setting, &asked)).await;
    answer.unwrap_or_else(|error| Err(error.to_string()))
}

fn get(setting: &Permit, endpoint: &EndpointId) -> Result<String, String> {
    let url = &setting.url;
    let token = match &setting.token_file {
        None => None,
        Some(path) => Some(
            seal::secret(path)
                .map_err(|error| format!("its token cannot be read from {}: {error}", path.display()))?,
        ),
    };
    let agent = asking::agent(setting.ca_file.as_deref());
    let body = asking::about(&agent, url, endpoint, token.as_ref().map(|token| token.trim()))
        .map_err(|error| format!("{url}: {error}"))?;
    let Answer { endpoint: about, permit, why } = serde_json::from_slice(&body)
        .map_err(|error| format!("{url}: the answer cannot be understood: {error}"))?;
    let why: String = why.chars().filter(|c| !c.is_control()).take(WHY_MOST).collect();
    match permit {
        _ if about != *endpoint => Err(format!("{url}: the answer is about {about}, not {endpoint}")),
        true => Ok(why),
        false if why.is_empty() => Err(format!("{url} says no")),
        false => Err(format!("{url} says no: {why}")),
    }
}
