//! axe-core, which finds what a page does against WCAG: one script that runs in the page under test.
//!
//! It comes from PyPI as others package it, by the client that fetches the other peers, and only with the bytes that are known here. It is used in
//! tests, and never part of what ships.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ring::digest::{SHA256, digest};

use crate::cache::Cache;
use crate::tool;

/// The package that carries it, and where.
const PACKAGE: &str = "axe-playwright-python==0.1.8";
const FILE: &str = "axe_playwright_python/axe.min.js";
/// axe-core 4.12.1.
const AXE_SHA256: &str = "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc";

/// What runs it, and gives back one line for each thing that is wrong. Rules beyond the tags: contrast of 7:1, targets.
pub const RUN: &str = "axe.run(document, {
    runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] },
    rules: { 'color-contrast-enhanced': { enabled: true }, 'target-size': { enabled: true } },
    resultTypes: ['violations'],
}).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map(({ target, html, any }) =>
    `${id}: ${target.join(' ')} ${html.slice(0, 120)} ${any.map(({ message }) => message).join('; ').slice(0, 160)}`)))";

/// The script, from the cache or from PyPI.
///
/// # Errors
/// When it is in no cache and PyPI cannot be reached, or gives other bytes.
pub fn script(cache: &Cache) -> Result<PathBuf> {
    cache.file(&format!("axe-{}.js", &AXE_SHA256[..16]), |part| {
        let work = part.with_extension("pip");
        let _ = fs::remove_dir_all(&work);
        tool::run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&work))?;
        let mut pip = Command::new(work.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target"])
            .arg(work.join("axe"));
        tool::run(pip.arg(PACKAGE)).context("axe-core cannot be fetched from PyPI")?;
        let bytes = fs::read(work.join("axe").join(FILE))?;
        let found = hex::encode(digest(&SHA256, &bytes));
        ensure!(
            found == AXE_SHA256,
            "{PACKAGE} carries another axe-core than the one that is known: SHA-256 {found}"
        );
        fs::remove_dir_all(&work)?;
        Ok(fs::write(part, bytes)?)
    })
}
