//! `cargo verify`: every test there is, in the order in which a failure is cheapest to learn of, and a summary.
//!
//! ```text
//!   format ─► lints ─► house rules ─► licences ─► tests of all packages, peers among them ─► programs ─► console in a browser ─► fuzz ─► stories end to end
//! ```
//!
//! A step that fails does not stop the others: one run tells everything. The steps share cargo's target directory, so that nothing is
//! built twice; for the same reason each names the whole workspace, since a package alone has other features of the crates they share. What it must never do: pass because something was left out; whatever is skipped is in the summary.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cache::Cache;
use crate::programs::{self, Programs};
use crate::{crew, keylime, licences, redfish, setup, tool};

/// The largest agent that we ship, in bytes.
const AGENT_LEN_MAX: u64 = 8 << 20;

/// Coverage for libFuzzer on stable Rust: what `-Z sanitizer` would switch on, given to LLVM by name.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions --cfg fuzzing";
/// Named, so that the coverage flags do not reach procedural macros.
const FUZZ_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Run every test, the way CI does
#[derive(Debug, Args)]
pub struct Verify {
    /// Also what takes long: every story, a minute of fuzzing for each decoder, the documentation
    #[arg(long)]
    all: bool,
    /// Install missing Debian packages without asking
    #[arg(long)]
    yes: bool,
    /// Run only the steps whose name contains one of these words
    words: Vec<String>,
}

/// What every step needs to know.
struct Bench {
    root: PathBuf,
    target: PathBuf,
    cargo: PathBuf,
    all: bool,
}

type Step = (&'static str, fn(&Bench) -> Result<String>);

const STEPS: &[Step] = &[
    ("format", format),
    ("lints", lints),
    ("house rules", house_rules),
    ("licences", licences),
    ("tests", package_tests),
    ("programs", programs),
    ("console", console),
    ("fuzz", fuzz),
    ("stories", stories),
    ("documentation", documentation),
];

/// Runs the steps and prints the summary.
///
/// # Errors
/// When the packages cannot be installed, or no step has one of the words.
pub fn run(options: &Verify) -> Result<ExitCode> {
    setup::ensure(&[setup::PLANT, setup::VERIFY, setup::BROWSER], options.yes)?;
    let bench = Bench {
        root: programs::root(),
        target: programs::target_dir()?,
        cargo: std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")).into(),
        all: options.all,
    };
    let chosen =
        |name: &str| options.words.is_empty() || options.words.iter().any(|word| name.contains(word));
    let mut results = Vec::new();
    for (name, step) in STEPS.iter().filter(|(name, _)| chosen(name)) {
        eprintln!("\n=== {name}");
        let begin = Instant::now();
        let outcome = step(&bench);
        if let Err(error) = &outcome {
            eprintln!("{name} failed: {error:#}");
        }
        results.push((*name, outcome, begin.elapsed()));
    }
    if results.is_empty() {
        let names: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        bail!("no step is called that; there are: {}", names.join(", "));
    }
    println!("\n{}", summary(&results));
    let failed = results.iter().any(|(_, outcome, _)| outcome.is_err());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn summary(results: &[(&str, Result<String>, Duration)]) -> String {
    let mut lines = Vec::new();
    for (name, outcome, took) in results {
        let (verdict, note) = match outcome {
            Ok(note) => ("ok", note.clone()),
            Err(error) => ("FAILED", error.to_string().lines().next().unwrap_or_default().to_owned()),
        };
        lines.push(
            format!("{name:<14} {verdict:<7} {:>6.0} s  {note}", took.as_secs_f64()).trim_end().to_owned(),
        );
    }
    let failed = results.iter().filter(|(_, outcome, _)| outcome.is_err()).count();
    let total: Duration = results.iter().map(|(_, _, took)| *took).sum();
    let verdict = if failed == 0 {
        "all good".to_owned()
    } else {
        format!("{failed} failed, what they said stands above")
    };
    lines.push(format!("{verdict}; {} steps in {:.0} min", results.len(), total.as_secs_f64() / 60.0));
    lines.join("\n")
}

impl Bench {
    /// Cargo with these words, in the tree and its target directory, on this terminal.
    fn cargo(&self, words: &[&str]) -> Command {
        let mut command = programs::fresh_cargo();
        command.current_dir(&self.root).args(words).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    fn show(&self, words: &[&str]) -> Result<String> {
        tool::show(&mut self.cargo(words))?;
        Ok(String::new())
    }
}

fn format(bench: &Bench) -> Result<String> {
    bench.show(&["fmt", "--all", "--", "--check"])?;
    bench.show(&["fmt", "--manifest-path", "tests/fuzz/Cargo.toml", "--", "--check"])
}

fn lints(bench: &Bench) -> Result<String> {
    let denied = ["--locked", "--quiet", "--", "-D", "warnings"];
    bench.show(&[&["clippy", "--workspace", "--all-targets"], &denied[..]].concat())?;
    // Stories and tales are no part of "all targets": those are the ones that `cargo test` runs.
    bench.show(&[&["clippy", "--workspace", "--test", "e2e", "--test", "browser"], &denied[..]].concat())
}

fn house_rules(bench: &Bench) -> Result<String> {
    bench.show(&["test", "--workspace", "--test", "tidy", "--locked", "--quiet"])
}

fn licences(bench: &Bench) -> Result<String> {
    let crates = licences::check(&bench.cargo, &bench.root)?;
    Ok(format!("{crates} crates of others, every licence allowed"))
}

fn package_tests(bench: &Bench) -> Result<String> {
    // Peers that Debian does not have; their tests look for them where the stories find them, too.
    let cache = Cache::open()?;
    redfish::python(&cache)?;
    keylime::python(&cache)?;
    let mut cargo = bench.cargo(&["test", "--workspace", "--locked", "--quiet", "--no-fail-fast"]);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let mut counts = Counts::default();
    for line in BufReader::new(child.stdout.take().context("cargo test has no output")?).lines() {
        let line = line?;
        println!("{line}");
        counts.add(&line);
    }
    let status = child.wait()?;
    if !status.success() || counts.failed > 0 {
        bail!("{} tests passed, {} failed; what they said stands above", counts.passed, counts.failed);
    }
    Ok(format!("{} tests passed, {} failed", counts.passed, counts.failed))
}

/// What the lines `test result: ok. 12 passed; 0 failed; …` add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let words: Vec<&str> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }
}

/// Builds what ships and checks that the agent is one static file of the promised size.
fn programs(_bench: &Bench) -> Result<String> {
    let programs = Programs::build()?;
    let agent =
        fs::read(&programs.agent).with_context(|| format!("no agent at {}", programs.agent.display()))?;
    let length = agent.len() as u64;
    if needs_loader(&agent)? {
        bail!("the agent is not static: it names a program interpreter, and the recovery system has none");
    }
    if length > AGENT_LEN_MAX {
        bail!("the agent has {length} bytes, {AGENT_LEN_MAX} are allowed");
    }
    Ok(format!("agent static, {:.1} MiB", length as f64 / f64::from(1 << 20)))
}

/// Whether an ELF file has a PT_INTERP segment (System V ABI, chapter 5: program header).
fn needs_loader(file: &[u8]) -> Result<bool> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, length: usize| -> Result<u64> {
        let bytes = file.get(at..at + length).context("the ELF file is cut short")?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("not a 64-bit little-endian ELF file");
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let at = usize::try_from(table + index * size)?;
        if number(at, 4)? == u64::from(PT_INTERP) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every fuzz target for a few seconds: enough to catch what a change broke, not to find what nobody knew.
fn fuzz(bench: &Bench) -> Result<String> {
    let seconds = if bench.all { 60 } else { 8 };
    let dir = bench.root.join("tests/fuzz");
    let output = bench.target.join("fuzz");
    tool::show(
        Command::new(&bench.cargo)
            .current_dir(&dir)
            .args(["build", "--release", "--locked", "--quiet", "--target", FUZZ_TARGET, "--target-dir"])
            .arg(&output)
            .env("RUSTFLAGS", COVERAGE),
    )?;
    let found = Cache::open()?.dir().join("fuzz");
    let programs = output.join(FUZZ_TARGET).join("release");
    let targets = fuzz_targets(&dir)?;
    let fuzz_on = |target: &String| -> Result<()> {
        fuzz_one(&programs.join(target), &dir.join("seeds").join(target), &found, seconds)
    };
    crew::each(&targets, crew::processors(), fuzz_on).into_iter().collect::<Result<()>>()?;
    Ok(format!("{} decoders, {seconds} s each", targets.len()))
}

/// One target for so many seconds; what it finds and what it breaks on stays in `found`, beside its inputs.
fn fuzz_one(program: &Path, seeds: &Path, found: &Path, seconds: u32) -> Result<()> {
    let target = program.file_name().unwrap_or_default().to_string_lossy();
    let corpus = found.join(&*target);
    fs::create_dir_all(&corpus)?;
    let mut command = Command::new(program);
    command.current_dir(found).arg(&corpus);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.args([
        "-max_len=4096",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-verbosity=0",
        "-print_final_stats=0",
    ]);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{target}-", found.display()));
    tool::run(&mut command).with_context(|| {
        format!("{target} broke; the input is {}/{target}-*; make it a test", found.display())
    })?;
    Ok(())
}

fn fuzz_targets(dir: &Path) -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(dir.join("targets"))? {
        let path = entry?.path();
        targets.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    targets.sort();
    Ok(targets)
}

/// The console in Chromium, by role and name.
fn console(bench: &Bench) -> Result<String> {
    let mut words = vec!["test", "--workspace", "--test", "browser", "--locked", "--quiet"];
    if bench.all {
        words.extend(["--", "--all"]);
    }
    bench.show(&words)
}

fn stories(bench: &Bench) -> Result<String> {
    let mut words = vec!["test", "--workspace", "--test", "e2e", "--locked", "--quiet"];
    if bench.all {
        words.extend(["--", "--all"]);
    }
    bench.show(&words)
}

fn documentation(bench: &Bench) -> Result<String> {
    if !bench.all {
        return Ok("left out; `cargo verify --all` builds it".to_owned());
    }
    let words = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked", "--quiet"];
    tool::show(bench.cargo(&words).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_results_add_up() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out");
        counts.add("test result: FAILED. 1 passed; 2 failed; 0 ignored");
        counts.add("something passed; else");
        assert_eq!(counts, Counts { passed: 13, failed: 2 });
    }

    #[test]
    fn the_summary_names_what_failed_and_for_how_long_it_ran() {
        let results = [
            ("format", Ok(String::new()), Duration::from_secs(2)),
            ("stories", Err(anyhow::anyhow!("one broke\nand more")), Duration::from_secs(118)),
        ];
        let text = summary(&results);
        assert!(text.contains("format         ok           2 s"), "{text}");
        assert!(text.contains("stories        FAILED     118 s  one broke"), "{text}");
        assert!(text.ends_with("1 failed, what they said stands above; 2 steps in 2 min"), "{text}");
    }

    #[test]
    fn a_program_that_needs_a_loader_is_told_from_a_static_one() {
        let mut file = b"\x7fELF\x02\x01".to_vec();
        file.resize(64 + 2 * 56, 0);
        file[32] = 64; // program headers begin here
        file[54] = 56; // bytes each
        file[56] = 2; // how many
        file[64] = 1; // PT_LOAD
        assert!(!needs_loader(&file).unwrap());
        file[64 + 56] = 3; // PT_INTERP
        assert!(needs_loader(&file).unwrap());
        assert!(needs_loader(&file[..80]).is_err());
        assert!(needs_loader(b"#!/bin/sh").is_err());
    }

    #[test]
    fn every_fuzz_target_is_built() {
        let dir = programs::root().join("tests/fuzz");
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        for target in fuzz_targets(&dir).unwrap() {
            assert!(
                manifest.contains(&format!("path = \"targets/{target}.rs\"")),
                "{target} is not in Cargo.toml"
            );
        }
    }
}
