//! What the evidence means for IEC 62443-3-3: per zone and foundational requirement an interval, never a score.
//!
//! ```text
//! evidence log ─► Fact ─┐
//! mapping (versioned) ──┼─► evidence::weigh ─► state of each requirement ─┐
//! endpoints of a zone ──┘                                                 ├─► zone::assess ─► [low, high], verdict, blocking rows
//! catalogue ── declarations, compensations (dated) ───────────────────────┘
//! ```
//!
//! [`readiness`] reads the same log and says who came back lately; [`month`] puts both together for the security programme; [`components`] is about the appliance itself.
//!
//! What nothing fresh speaks of is unknown: neither met nor unmet. So an achieved level is an interval. `low` counts what is shown, `high` also what
//! might be. Evidence stands apart from what people declared, and what no tool can see is named on every page.
//!
//! It must never: say that anything complies, make one number of seven, let the appliance's own virtue speak for a zone, or write its opinion back into the log.

pub mod catalogue;
pub mod components;
pub mod elsewhere;
pub mod evidence;
pub mod month;
mod month_paper;
pub mod page;
pub mod readiness;
#[cfg(test)]
pub(crate) mod tests;
pub mod zone;

/// What this tool cannot see, and who can say. It stands on every report.
pub const NOT_ASSESSABLE: &[(&str, &str, &str)] = &[
    (
        "the target levels, the drawing of zones and conduits, the risk that is tolerable",
        "they come out of a risk assessment",
        "owner",
    ),
    ("essential functions and the safe state of a line", "they need knowledge of the process", "owner"),
    ("radio (SR 1.6, SR 2.2)", "an appliance sees no radio", "owner"),
    (
        "mobile code, input, outputs and sessions inside the control application (SR 2.4, 3.5, 3.6, 3.8)",
        "they are inside a product",
        "supplier",
    ),
    ("integrity of the plant's own protocols (SR 3.1)", "that traffic does not pass here", "integrator"),
    (
        "division and borders of the zone's network (SR 5.1, 5.2, 5.3)",
        "firewalls and switches are not ours",
        "integrator",
    ),
    ("floods on the process network and emergency power (SR 7.1, SR 7.5)", "both are outside", "owner"),
    ("logic of controllers, drives and safety systems", "an endpoint's image does not hold it", "owner"),
    ("training, contracts and locked doors", "they are matters of the programme (62443-2-1)", "owner"),
    (
        "whether what the golden image does is right",
        "a digest shows that it is the same, not that it is right",
        "owner's engineering",
    ),
];
