//! A hundred and a thousand endpoints on one port of 1 GbE, simulated with the queue that serves, against the planning model: every byte
//! once over the port, then the last one's read-back. And ten critical endpoints among a thousand, against the same ten alone.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Figure, Programs};
use crate::tool;

/// The planning model: case, endpoints, seconds until the last one is done.
const MODEL: [(&str, u32, f64); 9] = [
    ("full", 1, 41.0),
    ("rebuilt", 1, 51.0),
    ("ransomed", 1, 40.0),
    ("full", 100, 40.0 * 60.0),
    ("rebuilt", 100, 21.0 * 60.0),
    ("ransomed", 100, 9.9 * 60.0),
    ("full", 1000, 6.7 * 3600.0),
    ("rebuilt", 1000, 3.5 * 3600.0),
    ("ransomed", 1000, 99.0 * 60.0),
];
const CRITICAL: u32 = 10;

#[derive(Deserialize)]
struct Wave {
    case: String,
    endpoints: u32,
    critical: u32,
    last_s: f64,
    critical_s: f64,
}

/// How far the simulation is from the model, and how much longer critical endpoints take when a thousand others are there.
///
/// # Errors
/// When the simulation fails.
pub fn restore(programs: &Programs, _: &Path) -> Result<Vec<Figure>> {
    let waves: Vec<Wave> = serde_json::from_str(&tool::run(&mut Command::new(&programs.wave))?)?;
    let wave = |case: &str, endpoints: u32, critical: u32| {
        let of = |w: &&Wave| w.case == case && w.endpoints == endpoints && w.critical == critical;
        waves.iter().find(of).with_context(|| format!("{endpoints} endpoints, {case}, were not simulated"))
    };
    let mut figures = Vec::new();
    for (case, endpoints, model) in MODEL {
        let ours = wave(case, endpoints, 0)?.last_s;
        let name = format!("restore-planned/{endpoints} {case}, last one s");
        figures.push(Figure::at_most(&name, ours, model, "the planning model", 1.1));
        let name = format!("restore-planned/{endpoints} {case}, off the model %");
        figures.push(Figure::at_most(&name, 100.0 * (ours / model - 1.0).abs(), 10.0, "10 %", 1.0));
    }
    for case in ["full", "rebuilt", "ransomed"] {
        let (among, alone) = (wave(case, 1000, CRITICAL)?, wave(case, CRITICAL, CRITICAL)?);
        let name = format!("restore-planned/{CRITICAL} critical of 1000 {case}, last one s");
        figures.push(Figure::at_most(&name, among.critical_s, alone.critical_s, "the same ten alone", 1.35));
    }
    Ok(figures)
}
