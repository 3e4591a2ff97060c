//! `groundstate recover`: one endpoint, followed to its end; or all that a selector means, planned first.
//!
//! Nobody wipes a line by a slip of a selector: `--plan` lists whom it means and to which image, with a hash of that list; `--approve-plan HASH`
//! orders exactly that, of them or of the one endpoint that was named: another image by then makes it void. The guard rails of their groups count as for any order.

use recovery_protocol::{
    machine::OutlookView,
    operator::{Decision, EndpointState, EndpointView, JobView, RecoverRequest},
};
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
    let request = RecoverRequest {
        reason: order.reason,
        give_up_preserved: order.give_up_preserved,
        image: None,
        keep: order.keeps.keep,
    };
    let approved = order.approve_plan.as_deref();
    if let Some(selector) = &order.selector {
        let views = endpoint::meant(client, Some(selector))?;
        return several(client, (views, &format!("--selector '{selector}'")), approved, &request, output);
    }
    let Some(endpoint) = order.endpoint else { return Ok(()) };
    if order.plan || approved.is_some() {
        let view: EndpointView = client.get(&format!("/api/v1/endpoints/{endpoint}"))?;
        return several(client, (vec![view], endpoint.as_str()), approved, &request, output);
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

/// An endpoint of a plan, and what it would return to: the image's name, its digest, or why there is none.
pub(super) struct Planned {
    view: EndpointView,
    outlook: OutlookView,
}

impl Planned {
    /// With what the appliance says that it would return to.
    pub(super) fn of(client: &Client, view: EndpointView) -> Result<Self, Fault> {
        let outlook = match view.state {
            EndpointState::Discovered => OutlookView {
                endpoint: view.endpoint.clone(),
                image_name: String::new(),
                image: None,
                saved_unix_ms: None,
                kept: Vec::new(),
                why_none: String::new(),
                recoveries: 0,
                usual: None,
                until_unix_ms: None,
            },
            _ => client.get(&format!("/api/v1/endpoints/{}/outlook", view.endpoint))?,
        };
        Ok(Self { view, outlook })
    }

    fn image(&self) -> String {
        self.outlook.image.map(|image| image.to_string()).unwrap_or_default()
    }
}

/// A hash of whom a plan means and what they are restored to, down to the image's digest.
pub(super) fn hash(planned: &[Planned]) -> String {
    let lines: Vec<String> = planned
        .iter()
        .map(|one| {
            let Planned { view, .. } = one;
            format!(
                "{} {} {} {} {:?}",
                view.endpoint,
                view.revision,
                view.blueprint,
                one.image(),
                why_not(view)
            )
        })
        .collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, lines.join("\n").as_bytes());
    hex::encode(&digest.as_ref()[..8])
}

fn several(
    client: &Client,
    (views, typed): (Vec<EndpointView>, &str),
    approved: Option<&str>,
    request: &RecoverRequest,
    output: Output,
) -> Result<(), Fault> {
    let planned = views.into_iter().map(|view| Planned::of(client, view));
    let planned = planned.collect::<Result<Vec<_>, _>>()?;
    let plan = hash(&planned);
    let row = |one: &Planned| {
        let Planned { view, outlook } = one;
        let stands = why_not(view).unwrap_or_else(|| "is restored".to_owned());
        let image =
            if outlook.image_name.is_empty() { "none".to_owned() } else { outlook.image_name.clone() };
        let digest: String = one.image().chars().take(12).collect();
        vec![view.endpoint.to_string(), view.blueprint.clone(), view.group.clone(), image, digest, stands]
    };
    let Some(approved) = approved else {
        let rows: Vec<_> = planned.iter().map(row).collect();
        let list: Vec<_> = planned
            .iter()
            .map(|one| {
                let outlook = &one.outlook;
                json!({ "endpoint": one.view.endpoint, "image_name": outlook.image_name, "image": outlook.image,
                        "why_not": why_not(&one.view) })
            })
            .collect();
        let table = show::table(&["ENDPOINT", "BLUEPRINT", "GROUP", "IMAGE", "DIGEST", "PLAN"], &rows);
        print(output, &json!({ "plan": plan, "order": typed, "endpoints": list }), |_| table.clone())?;
        let count = planned.iter().filter(|one| why_not(&one.view).is_none()).count();
        eprintln!(
            "{count} are restored; order exactly this with `groundstate recover {typed} --approve-plan {plan}`"
        );
        return Ok(());
    };
    if approved != plan {
        let why = format!(
            "the plan is {plan} now: an endpoint, its record, its golden image or its job is another"
        );
        return Err(Fault::new(Code::Conflict, "this is not what was planned", why, "look at --plan again"));
    }
    let (mut jobs, mut faults) = (Vec::new(), 0);
    for Planned { view, outlook } in planned.iter().filter(|one| why_not(&one.view).is_none()) {
        // The image may be replaced between this look and the order.
        let bound = RecoverRequest { image: outlook.image, ..request.clone() };
        match ask(client, view.endpoint.as_str(), &bound) {
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
