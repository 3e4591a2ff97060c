//! `groundstate recover`: one endpoint, followed to its end; or all that a selector means, planned first.
//!
//! Nobody wipes a line by a slip of a selector: `--plan` lists whom it means with a hash of that list, `--approve-plan HASH` orders
//! exactly them, or the one endpoint that was named. The guard rails of their groups count as for any order.

use recovery_protocol::operator::{Decision, EndpointState, EndpointView, JobView, RecoverRequest};
use serde_json::json;

use super::{
    args::{Recover, Wait},
    client::Client,
    endpoint,
    fault::{Code, Fault},
    follow_or_print, print, show,
};
use crate::cli::Output;

/// Carry it out.
///
/// # Errors
/// [`Fault`] with the exit code; partial when some could not be ordered.
pub fn act(client: &Client, order: Recover, output: Output) -> Result<(), Fault> {
    let request = RecoverRequest { reason: order.reason, give_up_preserved: order.give_up_preserved };
    let approved = order.approve_plan.as_deref();
    if let Some(selector) = &order.selector {
        let views = endpoint::meant(client, Some(selector))?;
        return several(client, (&views, &format!("--selector '{selector}'")), approved, &request, output);
    }
    let Some(endpoint) = order.endpoint else { return Ok(()) };
    if order.plan || approved.is_some() {
        let view: EndpointView = client.get(&format!("/api/v1/endpoints/{endpoint}"))?;
        return several(client, (&[view], endpoint.as_str()), approved, &request, output);
    }
    let job = if order.break_glass {
        let path = format!("/api/v1/endpoints/{endpoint}/break-glass");
        client.post(&path, &Decision { reason: request.reason })?
    } else {
        ask(client, endpoint.as_str(), &request)?
    };
    let wait = Wait { wait: !order.no_wait, timeout: order.timeout };
    follow_or_print(client, job, &wait, output)
}

fn ask(client: &Client, endpoint: &str, request: &RecoverRequest) -> Result<JobView, Fault> {
    let key = hex::encode(random()?);
    let path = format!("/api/v1/endpoints/{endpoint}/recover");
    client.post_with(&path, request, &[("idempotency-key", &key)])
}

fn random() -> Result<[u8; 16], Fault> {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| Fault::new(Code::Failed, "the system gives no random bytes", "", "try again"))?;
    Ok(bytes)
}

/// Why an endpoint is passed over; `None`: it is ordered.
fn why_not(view: &EndpointView) -> Option<String> {
    if view.state == EndpointState::Discovered {
        return Some("it is not on record".to_owned());
    }
    let open = view.job.as_ref().filter(|job| !job.state.is_over());
    open.map(|job| format!("job {} is open", job.job))
}

/// A hash of whom a plan means and what they are restored to.
pub(super) fn hash(views: &[EndpointView]) -> String {
    let lines: Vec<String> = views
        .iter()
        .map(|view| format!("{} {} {} {:?}", view.endpoint, view.revision, view.blueprint, why_not(view)))
        .collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, lines.join("\n").as_bytes());
    hex::encode(&digest.as_ref()[..8])
}

fn several(
    client: &Client,
    (views, typed): (&[EndpointView], &str),
    approved: Option<&str>,
    request: &RecoverRequest,
    output: Output,
) -> Result<(), Fault> {
    let plan = hash(views);
    let row = |view: &EndpointView| {
        let stands = why_not(view).unwrap_or_else(|| "is restored".to_owned());
        vec![view.endpoint.to_string(), view.blueprint.clone(), view.group.clone(), stands]
    };
    let Some(approved) = approved else {
        let rows: Vec<_> = views.iter().map(row).collect();
        let list: Vec<_> =
            views.iter().map(|view| json!({ "endpoint": view.endpoint, "why_not": why_not(view) })).collect();
        let table = show::table(&["ENDPOINT", "BLUEPRINT", "GROUP", "PLAN"], &rows);
        print(output, &json!({ "plan": plan, "order": typed, "endpoints": list }), |_| table.clone())?;
        let count = views.iter().filter(|view| why_not(view).is_none()).count();
        eprintln!(
            "{count} are restored; order exactly this with `groundstate recover {typed} --approve-plan {plan}`"
        );
        return Ok(());
    };
    if approved != plan {
        let why = format!("the plan is {plan} now: an endpoint, its record or its job is another");
        return Err(Fault::new(Code::Conflict, "this is not what was planned", why, "look at --plan again"));
    }
    let (mut jobs, mut faults) = (Vec::new(), 0);
    for view in views.iter().filter(|view| why_not(view).is_none()) {
        match ask(client, view.endpoint.as_str(), request) {
            Ok(job) => jobs.push(job),
            Err(fault) => {
                faults += 1;
                eprintln!("{}: {fault}", view.endpoint);
            }
        }
    }
    print(output, &jobs, |jobs| show::jobs(jobs))?;
    if faults == 0 {
        return Ok(());
    }
    let why = format!("{faults} were refused, {} are ordered", jobs.len());
    Err(Fault::new(Code::Partial, "not all could be ordered", why, "mend what stands above, and plan again"))
}
