//! Whether we may ship what we link: the licence and the source of every crate in the graph, read from cargo itself.
//!
//! The rules stand in `.deny.toml` for `cargo deny`, which knows more (advisories, bans) and takes long to install; this check reads
//! its allow list, so that there is one list, and always runs. An unknown licence is a refusal, never a warning.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::tool;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks the whole graph of the workspace at `root` and returns how many crates it has.
///
/// # Errors
/// When a crate has no licence that the allow list names, or comes from anywhere but crates.io; the message lists all of them.
pub fn check(cargo: &Path, root: &Path) -> Result<usize> {
    let rules = fs::read_to_string(root.join(".deny.toml")).context("the licence rules are in .deny.toml")?;
    let allowed = allowed(&rules);
    let metadata = tool::run(Command::new(cargo).current_dir(root).args([
        "metadata",
        "--format-version=1",
        "--locked",
        // As `graph.targets` in .deny.toml: what is for other systems alone is never built.
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
    let foreign: Vec<&Value> = packages.iter().filter(|package| !package["source"].is_null()).collect();
    let refused: Vec<String> = foreign.iter().filter_map(|package| refusal(package, &allowed)).collect();
    if !refused.is_empty() {
        bail!("{} crates may not be shipped:\n  {}", refused.len(), refused.join("\n  "));
    }
    Ok(foreign.len())
}

fn refusal(package: &Value, allowed: &[String]) -> Option<String> {
    let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
    if package["source"].as_str() != Some(REGISTRY) {
        return Some(format!("{name}: comes from {}, not from crates.io", package["source"]));
    }
    match package["license"].as_str() {
        None => Some(format!("{name}: states no licence")),
        Some(licence) if permits(licence, allowed) => None,
        Some(licence) => Some(format!("{name}: {licence}; allow it in .deny.toml or choose another crate")),
    }
}

/// The texts of the `allow = […]` list in `.deny.toml`.
fn allowed(rules: &str) -> Vec<String> {
    let list = rules
        .split_once("\nallow = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("", |(list, _)| list);
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression (annex D of the SPDX specification 2.3) can be met with allowed licences alone.
///
/// Old crates write `/` for `OR`.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Expression { words: &words, allowed };
    let verdict = reader.any();
    verdict && reader.words.is_empty()
}

struct Expression<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl Expression<'_> {
    fn any(&mut self) -> bool {
        let mut verdict = self.all();
        while self.take("OR") {
            verdict |= self.all();
        }
        verdict
    }

    fn all(&mut self) -> bool {
        let mut verdict = self.one();
        while self.take("AND") {
            verdict &= self.one();
        }
        verdict
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let verdict = self.any();
            return self.take(")") && verdict;
        }
        let Some((licence, rest)) = self.words.split_first() else { return false };
        self.words = rest;
        let name = match self.words {
            ["WITH", exception, rest @ ..] => {
                self.words = rest;
                format!("{licence} WITH {exception}")
            }
            _ => (*licence).to_owned(),
        };
        self.allowed.contains(&name)
    }

    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Vec<String> {
        allowed(
            "[licenses]\nallow = [\n  \"MIT\",\n  \"Apache-2.0\",\n  \"Apache-2.0 WITH LLVM-exception\", \"Unicode-3.0\",\n]\n",
        )
    }

    #[test]
    fn one_allowed_branch_is_enough_and_every_conjunct_is_needed() {
        let list = list();
        assert!(permits("MIT OR GPL-3.0", &list));
        assert!(permits("GPL-2.0/MIT", &list));
        assert!(permits("(MIT OR Apache-2.0) AND Unicode-3.0", &list));
        assert!(permits("Apache-2.0 WITH LLVM-exception", &list));
        assert!(!permits("(MIT OR Apache-2.0) AND GPL-3.0", &list));
        assert!(!permits("GPL-3.0", &list));
        assert!(!permits("MIT WITH Classpath-exception-2.0", &list));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "(MIT", "MIT)", "MIT AND", "OR", "MIT MIT"] {
            assert!(!permits(text, &list()), "{text:?}");
        }
    }

    #[test]
    fn a_crate_from_elsewhere_is_refused_whatever_its_licence() {
        let package = serde_json::json!({"name": "a", "version": "1.0.0", "source": "git+https://example.org/a", "license": "MIT"});
        assert!(refusal(&package, &list()).is_some());
    }
}
