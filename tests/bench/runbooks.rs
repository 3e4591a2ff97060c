//! What it takes to say how fifty zones stand, and what a run of a thousand endpoints would do.
//!
//! Both are asked of the program that ships, from its start to its answer, with files as an owner has them. The limit is what its issue promises: a second.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use recovery_protocol::evidence::tree::{self, Tree};
use recovery_protocol::evidence::{Checkpoint, Line};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::{Figure, Programs};
use crate::tool;

const ZONES: usize = 50;
const ENDPOINTS: usize = 5_000;
const TARGETS: usize = 1_000;
const RUNS: usize = 5;
const LIMIT_S: f64 = 1.0;

/// Run the bench.
///
/// # Errors
/// When the program fails, or says something else than it should.
pub fn runbooks(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let appliance = &programs.programs.appliance;
    Ok(vec![zones(appliance, dir)?, plan(appliance, dir)?])
}

/// The quickest of some runs: what the machine does meanwhile is not what is measured.
fn quickest(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let begin = Instant::now();
        run()?;
        best = best.min(begin.elapsed());
    }
    Ok(best.as_secs_f64())
}

fn zones(appliance: &Path, dir: &Path) -> Result<Figure> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).ok().context("no key")?;
    let (log, zones) = (dir.join("log.jsonl"), dir.join("zones.yaml"));
    write_log(&pair, &log)?;
    write_zones(&zones)?;
    let key = hex::encode(pair.public_key().as_ref());
    let ask = || -> Result<Value> {
        let mut command = Command::new(appliance);
        command
            .args(["zone", "assess", "--json", "--key", &key, "--log"])
            .arg(&log)
            .arg("--zones")
            .arg(&zones);
        Ok(serde_json::from_str(&tool::run(&mut command)?)?)
    };
    let said = ask()?;
    let proven = said["zones"]
        .as_array()
        .context("no zones")?
        .iter()
        .filter(|zone| zone["endpoints"] == ENDPOINTS / ZONES);
    ensure!(proven.count() == ZONES, "not every zone was assessed");
    let took = quickest(|| ask().map(drop))?;
    let name = "runbooks/50 zones, 5000 endpoints, 20000 entries s";
    Ok(Figure::at_most(name, took, LIMIT_S, "a second, the log verified", 1.0))
}

/// Four entries an endpoint, as a recovery leaves them, and a signature at the end.
fn write_log(pair: &Ed25519KeyPair, path: &Path) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let mut out = BufWriter::new(File::create(path)?);
    let mut tree = Tree::default();
    for endpoint in 0..ENDPOINTS {
        for (kind, facts) in [
            ("proof.quote", json!({ "system": "golden_system", "ek_sha256": format!("{endpoint:064x}") })),
            ("identity.issued", json!({ "serial": endpoint })),
            ("transition", json!({ "from": "releasing", "to": { "is": "recovered" } })),
            ("report.captured", json!({})),
        ] {
            let seq = tree.size() + 1;
            // An entry begins with its number.
            let text = format!(
                r#"{{"seq":{seq},"at_unix_ms":{now},"kind":"{kind}","actor":"agent","endpoint":"press-{endpoint:04}","mode":"real","facts":{facts}}}"#
            );
            let hash = tree::leaf(text.as_bytes());
            tree.grow(hash);
            writeln!(out, "{}", Line::Leaf { text: &text, hash })?;
        }
    }
    let signed = Checkpoint::sign(pair, tree.size(), tree.root());
    writeln!(out, "{}", Line::Signed(signed.note().into()))?;
    Ok(out.flush()?)
}

fn write_zones(path: &Path) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "schema: zones/v1\nsite: bench\nzones:")?;
    for zone in 0..ZONES {
        writeln!(
            out,
            "  - name: zone-{zone}\n    target: {{iac: 2, uc: 2, si: 2, dc: 1, rdf: 2, tre: 2, ra: 2}}\n    endpoints:"
        )?;
        for endpoint in (zone..ENDPOINTS).step_by(ZONES) {
            writeln!(out, "      - {{name: press-{endpoint:04}, place: production}}")?;
        }
    }
    Ok(out.flush()?)
}

fn plan(appliance: &Path, dir: &Path) -> Result<Figure> {
    let text = tool::run(Command::new(appliance).args(["runbook", "show", "line-hmi-mass-recovery"]))?;
    let file = dir.join("thousand.yaml");
    std::fs::write(&file, text.replace("max_permits: 80", "max_permits: 4000"))?;
    let ask = || -> Result<Value> {
        let mut command = Command::new(appliance);
        command
            .args(["runbook", "plan", "--json", "--people", "8", "--count", &TARGETS.to_string()])
            .arg(&file);
        Ok(serde_json::from_str(&tool::run(&mut command)?)?)
    };
    let said = ask()?;
    ensure!(
        said["targets"].as_array().is_some_and(|targets| targets.len() == TARGETS),
        "not every target is planned"
    );
    ensure!(
        said["outlook"]["p90_ms"].as_u64().is_some_and(|ms| ms > 0),
        "it says not how long: {}",
        said["outlook"]
    );
    let took = quickest(|| ask().map(drop))?;
    Ok(Figure::at_most(
        "runbooks/plan of 1000 targets s",
        took,
        LIMIT_S,
        "a second, its thousand plays included",
        1.0,
    ))
}
