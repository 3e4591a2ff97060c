//! What people and programs wait for: lists of a large site, the console's pages, and the command line itself.
//!
//! The limits are the ones that the appliance promises; there is no peer that shows the same. How long a page takes until it can be used, on a slow
//! processor, is told by the tales of `tests/browser`, which have the browser.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{Figure, Programs, costs, door};

const ENDPOINTS: usize = 5_000;
const LISTS: usize = 100;
const PAGES: usize = 50;
const STARTS: usize = 51;
const BLUEPRINT: &str = "[blueprints.hmi]\nimage = \"hmi\"\n[groups.line]\nmode = \"approve\"\n";

/// Lists, pages, `--help`.
///
/// # Errors
/// When a program cannot be run.
pub fn api(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let (_server, door) = door::open(&programs.programs, dir, BLUEPRINT)?;
    door.fill(ENDPOINTS, "hmi")?;
    let waits = |times: usize, path: &str, least: usize| -> Result<f64> {
        let mut waits = Vec::new();
        for _ in 0..times {
            let begin = Instant::now();
            let body = door.page(path)?;
            waits.push(begin.elapsed().as_secs_f64() * 1000.0);
            ensure!(body.len() > least, "{path} has {} bytes: that is not what was asked for", body.len());
        }
        waits.sort_by(f64::total_cmp);
        Ok(waits[(waits.len() * 95).div_ceil(100) - 1])
    };
    let list = waits(LISTS, "/api/v1/endpoints", ENDPOINTS * 50)?;
    let search = waits(PAGES, "/endpoints?q=press-49", 2_000)?;
    let first = waits(PAGES, "/", 2_000)?;
    let (requests, bytes) = weight(&door)?;
    let help = || {
        let mut command = Command::new(&programs.programs.appliance);
        command.arg("--help");
        Ok(command)
    };
    Ok(vec![
        limit("list of 5,000 endpoints p95 ms", list, 150.0),
        limit("search among 5,000 in the console p95 ms", search, 150.0),
        limit("first page of the console p95 ms", first, 150.0),
        limit("first page with all it needs KB", bytes as f64 / 1000.0, 100.0),
        limit("first page requests", requests as f64, 5.0),
        limit("--help ms", costs(STARTS, help)?.wall * 1000.0, 30.0),
    ])
}

fn limit(name: &str, ours: f64, limit: f64) -> Figure {
    Figure::at_most(&format!("recovery.api/{name}"), ours, limit, "the limit that it must keep", 1.0)
}

/// Requests and bytes of the first page with its scripts, styles and pictures.
fn weight(door: &door::Door) -> Result<(usize, usize)> {
    let page = String::from_utf8(door.page("/")?).context("a page is text")?;
    let (mut requests, mut bytes) = (1, page.len());
    let mut seen: Vec<&str> = Vec::new();
    for part in page.split('"').filter(|part| part.starts_with("/assets/")) {
        if !seen.contains(&part) {
            seen.push(part);
            requests += 1;
            bytes += door.page(part)?.len();
        }
    }
    Ok((requests, bytes))
}
