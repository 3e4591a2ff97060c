//! `groundstate plan`: standing plans.

use clap::{Args, Subcommand};
use recovery_protocol::{
    operator::{Approval, Decision},
    plan::{NewPlan, PlanState, PlanView},
    selector::Selector,
};

use super::{
    client::Client,
    fault::{Code, Fault},
    print, show,
};
use crate::cli::Output;

/// What to do with standing plans.
#[derive(Debug, Subcommand)]
pub enum PlanVerb {
    /// List plans, with what each says and names
    List,
    /// Make a plan; two other people must approve it
    Make(Make),
    /// Give one of the two approvals, of the plan as it is shown
    Approve {
        /// The plan
        plan: String,
        /// The hash of what was seen; without: of what is printed now
        #[arg(long, value_name = "HASH")]
        seen: Option<String>,
        /// Why; goes into evidence
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// End a plan at once; what it began goes on
    Withdraw {
        /// The plan
        plan: String,
        /// Why; goes into evidence
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// A plan.
#[derive(Debug, Args)]
pub struct Make {
    /// Its name
    plan: String,
    /// Whom it is about, as in line=3,kind=hmi; who comes on record later is not covered
    #[arg(long)]
    selector: Selector,
    /// The golden image, as name:version
    #[arg(long)]
    image: String,
    /// Whose confirmed integrity failure may begin it: attestation, or a webhook's name; several times
    #[arg(long, required = true)]
    trigger: Vec<String>,
    /// When, as in 'Mon-Fri 22:00-05:00'; several times; without: at any time
    #[arg(long)]
    window: Vec<String>,
    /// Recoveries that it may begin within 24 hours
    #[arg(long)]
    most_per_day: u32,
    /// Days until it ends, 90 at most
    #[arg(long)]
    valid_days: u32,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    reason: String,
}

/// Carry out a verb.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn act(client: &Client, verb: PlanVerb, output: Output) -> Result<(), Fault> {
    let one = |view: PlanView| print(output, &view, |view| show::plans(std::slice::from_ref(view)));
    match verb {
        PlanVerb::List => {
            let plans: Vec<PlanView> = client.get("/api/v1/plans")?;
            print(output, &plans, |plans| show::plans(plans))
        }
        PlanVerb::Make(Make { plan, selector, image, trigger, window, most_per_day, valid_days, reason }) => {
            let new = NewPlan {
                plan,
                selector,
                image,
                triggers: trigger,
                windows: window,
                most_per_day,
                valid_days,
                reason,
            };
            one(client.post("/api/v1/plans", &new)?)
        }
        PlanVerb::Approve { plan, seen, reason } => {
            let path = path(&plan)?;
            let seen = match seen {
                Some(seen) => seen,
                // What is shown here is what is said yes to.
                None => {
                    let plans: Vec<PlanView> = client.get("/api/v1/plans")?;
                    let shown =
                        plans.into_iter().find(|view| view.plan == plan && view.state == PlanState::Proposed);
                    let shown: Vec<PlanView> = shown.into_iter().collect();
                    eprintln!("{}", show::plans(&shown));
                    shown.into_iter().next().map(|view| view.hash).unwrap_or_default()
                }
            };
            one(client.post(&format!("{path}/approve"), &Approval { seen, reason })?)
        }
        PlanVerb::Withdraw { plan, reason } => {
            one(client.post(&format!("{}/withdraw", path(&plan)?), &Decision { reason })?)
        }
    }
}

/// A name goes into an address only when it can be one.
fn path(plan: &str) -> Result<String, Fault> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if plan.is_empty() || !plan.bytes().all(fits) {
        let now = "look for the name with `groundstate plan list`";
        return Err(Fault::new(Code::Usage, format!("`{plan}` cannot be a name"), "", now));
    }
    Ok(format!("/api/v1/plans/{plan}"))
}
