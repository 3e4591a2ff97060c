//! The main job itself: how much of its time is ours, and how small and quick its parts are. The peer here is a limit, not a program.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Figure, Programs};
use crate::tool;

const MIB: f64 = 1_048_576.0;

/// What a demo showed, the recovery of a blank disk and of a tampered one; written by `lab demo --figures`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// Seconds from start to ready of the appliance.
    pub ready_s: f64,
    /// Resident bytes of the idle appliance.
    pub idle_bytes: u64,
    /// Milliseconds from power-on to recovered, of the job in which our share was the largest.
    pub all_ms: u64,
    /// Of it, ours.
    pub ours_ms: u64,
    /// Largest resident memory of the agent.
    pub agent_bytes: u64,
    /// Seconds from kernel start to the agent's first packet.
    pub first_packet_s: f64,
    /// Seconds of the whole demo, from the entry into the plant.
    pub demo_s: f64,
}

/// Runs the demo and compares with the limits of the design.
///
/// # Errors
/// When the recovery fails.
pub fn demo(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let file = dir.join("figures.json");
    tool::show(
        Command::new(&programs.programs.lab).args(["demo", "--yes", "--no-build", "--figures"]).arg(&file),
    )?;
    let text = fs::read_to_string(&file).context("the demo wrote no figures")?;
    let seen: Seen = serde_json::from_str(&text)?;
    let agent_len = fs::metadata(&programs.programs.agent)?.len() as f64;
    let limit = |name: &str, ours: f64, limit: f64| Figure::at_most(name, ours, limit, "limit", 1.0);
    Ok(vec![
        limit(
            "demo/our share of power-on to recovered %",
            100.0 * seen.ours_ms as f64 / seen.all_ms as f64,
            15.0,
        ),
        limit("demo/whole run s", seen.demo_s, 300.0),
        limit("demo/kernel start to first packet s", seen.first_packet_s, 5.0),
        limit("demo/agent memory MiB", seen.agent_bytes as f64 / MIB, 256.0),
        limit("demo/agent binary MiB", agent_len / MIB, 8.0),
        limit("demo/appliance idle MiB", seen.idle_bytes as f64 / MIB, 64.0),
        limit("demo/appliance ready s", seen.ready_s, 1.0),
    ])
}
