//! Questions by HTTP to other systems of the site: short, bounded, no redirect followed, nothing believed but the body.
//!
//! It must never: send anything but the endpoint's name and the token that is configured for it.

pub mod pinned;

use std::{path::Path, sync::Arc, time::Duration};

use recovery_protocol::EndpointId;
use ureq::{
    Agent,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::tls::SYSTEM_ROOTS;

const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_LEN_MAX: u64 = 64 * 1024;
/// Longest list of revoked certificates: that of an authority with a hundred thousand of them.
const LIST_LEN_MAX: u64 = 16 << 20;

/// Whom to trust: the system's authorities, or those of one file (PEM). An unreadable file trusts nobody.
#[must_use]
pub fn agent(roots: Option<&Path>) -> Agent {
    agent_of(&[roots.unwrap_or(Path::new(SYSTEM_ROOTS))])
}

/// As [`agent`], trusting the system's authorities and those of this file.
#[must_use]
pub fn agent_with(more: &Path) -> Agent {
    agent_of(&[Path::new(SYSTEM_ROOTS), more])
}

fn agent_of(files: &[&Path]) -> Agent {
    let certificate =
        |item| if let Ok(PemItem::Certificate(certificate)) = item { Some(certificate) } else { None };
    let read = files.iter().filter_map(|file| std::fs::read(file).ok());
    let roots: Vec<Certificate<'static>> =
        read.flat_map(|pem| parse_pem(&pem).filter_map(certificate).collect::<Vec<_>>()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config =
        Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(0).tls_config(tls).build();
    Agent::new_with_config(config)
}

/// `GET <url>`, and its body. Blocks for some seconds at most.
///
/// # Errors
/// For a person.
pub fn plain(agent: &Agent, url: &str) -> Result<Vec<u8>, String> {
    let mut response = agent.get(url).call().map_err(|error| format!("{url}: no answer: {error}"))?;
    let body = response.body_mut().with_config().limit(LIST_LEN_MAX).read_to_vec();
    body.map_err(|error| format!("{url}: {error}"))
}

/// `GET <url>?endpoint=<id>`, and its body. Blocks for some seconds at most.
///
/// # Errors
/// For a person.
pub fn about(
    agent: &Agent,
    url: &str,
    endpoint: &EndpointId,
    token: Option<&str>,
) -> Result<Vec<u8>, String> {
    let mut question = agent.get(url).query("endpoint", endpoint.as_str());
    if let Some(token) = token {
        question = question.header("authorization", format!("Bearer {token}"));
    }
    let mut response = question.call().map_err(|error| format!("no answer: {error}"))?;
    response.body_mut().with_config().limit(ANSWER_LEN_MAX).read_to_vec().map_err(|error| error.to_string())
}
