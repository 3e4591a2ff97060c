//! The house rules as a test: the arrows between packages, who may do what, caps, and words.
//!
//! Each rule is a pure function from a file's text to [`Offence`]s, so that the rules themselves are tested on made-up files at the end. A
//! deviation stands in [`EXCEPTIONS`] with its date and reason, or it fails. Nothing here fixes anything.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The packages, where they live, and which of ours each may import. Everything else is a broken arrow.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("images", "images", &[]),
    ("pxe", "pxe", &[]),
    ("runbooks", "runbooks", &[]),
    ("recovery-protocol", "recovery/protocol", &["images"]),
    ("recovery-appliance", "recovery/appliance", &["images", "pxe", "runbooks", "recovery-protocol"]),
    ("recovery-agent", "recovery/agent", &["images", "recovery-protocol"]),
    ("tests", "tests", &["recovery-protocol"]),
];

/// What may stand at the top of the tree.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "images",
    "pxe",
    "recovery",
    "runbooks",
    "tests",
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".config",
    ".deny.toml",
    ".git",
    ".gitignore",
    ".rustfmt.toml",
    "target",
];

/// Deviations: the rule, the file it is about, since when and why.
const EXCEPTIONS: &[(Rule, &str, &str)] = &[
    (
        Rule::Spawn,
        "pxe/src/server.rs",
        "2026-11-22: its JoinSet is owned by the future that the daemon runs, and ends with it",
    ),
    (Rule::Spawn, "pxe/src/tftp/serve.rs", "2026-11-22: as above, one task a transfer"),
    (Rule::Spawn, "pxe/src/http/serve.rs", "2026-11-22: as above, one task a connection"),
    (Rule::Spawn, "recovery/appliance/src/tls.rs", "2026-11-22: as above, one task a connection"),
    (Rule::Word, "pxe/src/server.rs", "2026-11-22: `Server` is RFC 2131's own word for this side of DHCP"),
    (Rule::Word, "pxe/src/client.rs", "2026-11-22: `MachineId` is option 97's name in RFC 4578, section 2.3"),
    (Rule::Word, "runbooks/src/run/machine.rs", "2026-11-22: a state machine, not a computer"),
    (Rule::Word, "recovery/appliance/src/jobs/machine.rs", "2026-11-22: a state machine, not a computer"),
    (
        Rule::Word,
        "recovery/agent/src/tpm/transport.rs",
        "2026-11-22: the kernel's device file, not an endpoint",
    ),
    (
        Rule::Word,
        "recovery/agent/src/disk/device.rs",
        "2026-11-22: the kernel's block device, not an endpoint",
    ),
    (
        Rule::Word,
        "images/src/manifest/header.rs",
        "2026-11-22: the region that stays with the endpoint's firmware, as disks call it",
    ),
];

/// The only files with `unsafe` in them; each holds nothing else, and its package's `DESIGN.md` says why.
const UNSAFE: &[&str] = &[
    "recovery/agent/src/net/ioctl.rs",
    "recovery/agent/src/disk/ioctl.rs",
    "recovery/appliance/src/handed.rs",
];

/// Lines of a file without its tests.
const LINES_MAX: usize = 600;

/// Parts of a type's or a file's name that the glossary replaces, and by what. Words that also have another honest meaning in this trade
/// (client, event, index, session, task, template) are left to the reviewer.
const WORDS: &[(&str, &str)] = &[
    ("Server", "appliance"),
    ("Controller", "appliance"),
    ("Cloud", "control plane"),
    ("Backend", "control plane"),
    ("Device", "endpoint"),
    ("Host", "endpoint"),
    ("Machine", "endpoint"),
    ("Installer", "agent"),
    ("Ramdisk", "recovery system"),
    ("Netboot", "boot kit"),
    ("Backup", "golden image"),
    ("Snapshot", "golden image"),
    ("Blob", "chunk"),
    ("Repository", "store"),
    ("Workflow", "recovery job"),
    ("Playbook", "runbook"),
    ("Exercise", "drill"),
    ("Audit", "evidence"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Arrow,
    Version,
    Lints,
    Core,
    CommandLine,
    Spawn,
    Sql,
    JobState,
    Length,
    FirstLine,
    Leftover,
    Ignored,
    Sleep,
    Unsafe,
    Word,
    Top,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offence {
    rule: Rule,
    path: String,
    line: usize,
    why: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {:?}: {}", self.path, self.line, self.rule, self.why)
    }
}

/// A Rust file as the rules see it.
struct Source<'a> {
    path: &'a str,
    text: &'a str,
    /// Compiled for tests only.
    tests_only: bool,
}

impl Source<'_> {
    /// The lines before the file's own tests, numbered from 1. A file that holds nothing but tests has none.
    fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = if self.is_test() { 0 } else { self.tests_begin() };
        self.text.lines().take(end).enumerate().map(|(index, line)| (index + 1, code(line)))
    }

    /// The lines of tests.
    fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let begin = if self.is_test() { 0 } else { self.tests_begin() };
        self.text.lines().enumerate().skip(begin).map(|(index, line)| (index + 1, code(line)))
    }

    fn tests_begin(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let inline = |pair: &[&str]| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        };
        lines.windows(2).position(inline).unwrap_or(lines.len())
    }

    fn is_test(&self) -> bool {
        let named = self.path.contains("/tests/") || self.path.ends_with("_tests.rs");
        self.tests_only || named || self.path.starts_with("tests/")
    }

    fn within(&self, dir: &str) -> bool {
        self.path.starts_with(dir)
    }

    fn offence(&self, rule: Rule, line: usize, why: impl Into<String>) -> Offence {
        Offence { rule, path: self.path.to_owned(), line, why: why.into() }
    }

    /// An offence for each product line that has one of `needles`.
    fn forbid(&self, rule: Rule, needles: &[&str], why: &str) -> Vec<Offence> {
        self.product()
            .filter(|(_, line)| needles.iter().any(|needle| line.contains(needle)))
            .map(|(number, _)| self.offence(rule, number, why))
            .collect()
    }
}

/// The modules that `text` declares for tests only, as paths without `.rs`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (dir, file) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = match file {
        "mod.rs" | "lib.rs" | "main.rs" => dir.to_owned(),
        file => format!("{dir}/{}", file.trim_end_matches(".rs")),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]").filter_map(|pair| {
        let name = pair[1].strip_suffix(';')?.rsplit(' ').next()?;
        pair[1].contains("mod ").then(|| format!("{dir}/{name}"))
    });
    declared.collect()
}

/// Whether the file at `path` belongs to one of `modules` or lies below it.
fn belongs(path: &str, modules: &[String]) -> bool {
    modules.iter().any(|module| {
        path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

/// A line without its comment. A `//` inside a text literal cuts too much, never too little for these rules.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn source_offences(source: &Source<'_>) -> Vec<Offence> {
    let mut found = Vec::new();
    found.extend(first_line(source));
    found.extend(length(source));
    found.extend(leftovers(source));
    found.extend(sleeps(source));
    found.extend(words(source));
    found.extend(cores(source));
    found.extend(places(source));
    found.extend(unsafe_code(source));
    found
}

fn unsafe_code(source: &Source<'_>) -> Vec<Offence> {
    // Written apart, so that this file does not offend.
    let lint = concat!("unsafe", "_code,");
    let elsewhere = source.text.lines().enumerate().filter(|(_, line)| line.contains(lint));
    elsewhere
        .filter(|_| !UNSAFE.contains(&source.path))
        .map(|(index, _)| {
            source.offence(Rule::Unsafe, index + 1, "move it to a listed file, or list this one")
        })
        .collect()
}

fn first_line(source: &Source<'_>) -> Option<Offence> {
    let first = source.text.lines().next().unwrap_or_default();
    let says = "open the file with `//!`: what it is, its words, what it must never do";
    (!first.starts_with("//! ")).then(|| source.offence(Rule::FirstLine, 1, says))
}

fn length(source: &Source<'_>) -> Option<Offence> {
    let lines = source.tests_begin();
    (lines > LINES_MAX).then(|| {
        source.offence(
            Rule::Length,
            lines,
            format!("{lines} lines without tests, {LINES_MAX} are allowed: split it"),
        )
    })
}

fn leftovers(source: &Source<'_>) -> Vec<Offence> {
    // Written apart, so that this file does not offend.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
    ];
    let ignored = concat!("#[ig", "nore");
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        if marks.iter().any(|mark| has_word(line, mark)) {
            found.push(source.offence(
                Rule::Leftover,
                index + 1,
                "finish it, or open an issue and remove the mark",
            ));
        }
        if line.contains(ignored) {
            found.push(source.offence(
                Rule::Ignored,
                index + 1,
                "a test that does not run proves nothing: make it run or remove it",
            ));
        }
    }
    found
}

/// Whether `line` has `mark` with no letter or digit around it.
fn has_word(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + mark.len()..].chars().next();
        let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joined(before) && (mark.ends_with('(') || !joined(after))
    })
}

fn sleeps(source: &Source<'_>) -> Vec<Offence> {
    let needle = concat!("sle", "ep(");
    source
        .tests()
        // A paused clock does not wait.
        .filter(|(_, line)| line.contains(needle) && !source.text.contains("start_paused = true"))
        .map(|(number, _)| {
            source.offence(Rule::Sleep, number, "wait for what should happen instead (tests::story)")
        })
        .collect()
}

fn words(source: &Source<'_>) -> Vec<Offence> {
    let mut found = Vec::new();
    for (number, line) in source.product() {
        let Some(name) = declared_type(line) else { continue };
        for (word, instead) in WORDS {
            if parts(name).any(|part| part == *word) {
                let why = format!("`{name}`: the glossary says {instead}, not {}", word.to_lowercase());
                found.push(source.offence(Rule::Word, number, why));
            }
        }
    }
    found
}

/// The name that a line declares as a type.
fn declared_type(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line
        .strip_prefix("pub ")
        .or_else(|| line.strip_prefix("pub(")?.split_once(") ").map(|(_, rest)| rest))
        .unwrap_or(line);
    let rest =
        ["struct ", "enum ", "trait ", "type "].iter().find_map(|keyword| line.strip_prefix(keyword))?;
    rest.split(|c: char| !c.is_alphanumeric()).next()
}

/// The parts of a name in upper camel case.
fn parts(name: &str) -> impl Iterator<Item = &str> {
    let mut starts: Vec<usize> =
        name.char_indices().filter(|(_, c)| c.is_uppercase()).map(|(at, _)| at).collect();
    starts.push(name.len());
    (1..starts.len()).map(move |index| &name[starts[index - 1]..starts[index]])
}

/// Cores without a runtime, a database, a network, a clock or an environment.
fn cores(source: &Source<'_>) -> Vec<Offence> {
    if !source.within("images/src/") && !source.within("recovery/protocol/src/") {
        return Vec::new();
    }
    let needles = [
        "tokio::",
        "sqlx::",
        "hyper::",
        "ureq::",
        "std::net::Tcp",
        "std::net::Udp",
        "SystemTime::now",
        "Instant::now",
        "std::env::",
    ];
    source.forbid(
        Rule::Core,
        &needles,
        "this core has no runtime, database, network, clock or environment: let the caller bring it",
    )
}

/// What only one place may do.
fn places(source: &Source<'_>) -> Vec<Offence> {
    let mut found = Vec::new();
    let appliance = source.within("recovery/appliance/src/");
    if (appliance || source.within("pxe/src/")) && !source.path.ends_with("/daemon.rs") {
        let needles = ["tokio::spawn(", "task::spawn(", "thread::spawn(", "JoinSet"];
        found.extend(source.forbid(Rule::Spawn, &needles, "only daemon.rs spawns"));
    }
    if appliance && !source.within("recovery/appliance/src/db/") {
        let needles = ["sqlx::", "\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE "];
        found.extend(source.forbid(Rule::Sql, &needles, "only db/ speaks SQL"));
    }
    if appliance && !source.path.ends_with("/jobs/machine.rs") {
        found.extend(source.forbid(
            Rule::JobState,
            &["job.state = ", "job.stage = "],
            "only jobs/machine.rs changes a job's state",
        ));
    }
    if source.within("recovery/appliance/src/cli") {
        // 2026-11-27: the depot is a way to an image store, on which the command line works by itself, as `images` is.
        // 2026-11-28: an error in one line for people is nothing of the appliance's own.
        let reaches = |line: &str| {
            line.contains("crate::")
                && !["crate::cli", "crate::depot", "crate::chain"].iter().any(|own| line.contains(own))
        };
        let why =
            "the command line speaks REST like any other client and touches nothing else of the appliance";
        found.extend(
            source
                .product()
                .filter(|(_, line)| reaches(line))
                .map(|(n, _)| source.offence(Rule::CommandLine, n, why)),
        );
    }
    found
}

/// Arrows, versions and lints of one package's manifest.
fn manifest_offences(path: &str, text: &str, package: &str, may: &[&str]) -> Vec<Offence> {
    let mut found = Vec::new();
    let mut add = |rule, line, why: String| found.push(Offence { rule, path: path.to_owned(), line, why });
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, ..)| *name).collect();
    let mut section = "";
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies") && line.contains('=') && !line.starts_with('#') {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if ours.contains(name) && !may.contains(&name) {
                add(Rule::Arrow, index + 1, format!("{package} must not import {name}"));
            }
            if !line.contains("workspace = true") {
                add(
                    Rule::Version,
                    index + 1,
                    format!("the version of {name} belongs into the root manifest"),
                );
            }
        }
    }
    if !text.contains("[lints]\nworkspace = true") {
        add(Rule::Lints, 1, "take the lints of the workspace".to_owned());
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Every Rust file below `dir`, but no build output.
fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "target" {
                rust_files(&path, into);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn excused(offence: &Offence) -> bool {
    EXCEPTIONS.iter().any(|(rule, path, _)| *rule == offence.rule && *path == offence.path)
}

#[test]
fn the_tree_keeps_the_house_rules() {
    let root = root();
    let mut found = Vec::new();
    for (package, dir, may) in ARROWS {
        let manifest = format!("{dir}/Cargo.toml");
        let text = fs::read_to_string(root.join(&manifest)).unwrap();
        found.extend(manifest_offences(&manifest, &text, package, may));
        let mut files = Vec::new();
        rust_files(&root.join(dir), &mut files);
        let texts: Vec<(String, String)> = files
            .iter()
            .map(|file| {
                (
                    file.strip_prefix(&root).unwrap().to_string_lossy().into_owned(),
                    fs::read_to_string(file).unwrap(),
                )
            })
            .collect();
        let for_tests: Vec<String> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
        for (path, text) in &texts {
            found.extend(source_offences(&Source { path, text, tests_only: belongs(path, &for_tests) }));
        }
    }
    for entry in fs::read_dir(&root).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !TOP.contains(&name.as_str()) {
            found.push(Offence {
                rule: Rule::Top,
                path: name,
                line: 0,
                why: "has no place at the top of the tree".to_owned(),
            });
        }
    }
    found.retain(|offence| !excused(offence));
    found.sort();
    let list: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} offences:\n{}", list.len(), list.join("\n"));
}

#[test]
fn every_exception_is_about_a_file_that_exists() {
    for path in UNSAFE {
        assert!(root().join(path).exists(), "{path} is gone, take it off the list");
    }
    for (rule, path, reason) in EXCEPTIONS {
        assert!(root().join(path).exists(), "{rule:?}: {path} is gone, remove its exception");
        assert!(reason.starts_with("20"), "{rule:?} {path}: the reason begins with its date");
    }
}

#[cfg(test)]
mod the_rules_bite {
    use super::*;

    #[test]
    fn a_module_declared_for_tests_is_judged_as_tests() {
        let parent = "//! A.\n#[cfg(test)]\npub(crate) mod simulation;\nmod machine;\n";
        let modules = test_modules("a/src/jobs/mod.rs", parent);
        assert_eq!(modules, ["a/src/jobs/simulation"]);
        assert!(
            belongs("a/src/jobs/simulation.rs", &modules)
                && belongs("a/src/jobs/simulation/disk.rs", &modules)
        );
        assert!(
            !belongs("a/src/jobs/machine.rs", &modules) && !belongs("a/src/jobs/simulation_of.rs", &modules)
        );
        assert_eq!(test_modules("a/src/jobs.rs", parent), ["a/src/jobs/simulation"]);
    }

    fn rules(path: &str, text: &str) -> Vec<Rule> {
        let mut rules: Vec<Rule> = source_offences(&Source { path, text, tests_only: false })
            .into_iter()
            .map(|offence| offence.rule)
            .collect();
        rules.dedup();
        rules
    }

    #[test]
    fn a_clean_file_passes() {
        assert_eq!(rules("pxe/src/a.rs", "//! What it is.\npub struct Ticket;\n"), []);
    }

    #[test]
    fn a_leaf_that_imports_ours_is_a_broken_arrow() {
        let text =
            "[package]\nname = \"pxe\"\n[lints]\nworkspace = true\n[dependencies]\nimages.workspace = true\n";
        let found = manifest_offences("pxe/Cargo.toml", text, "pxe", &[]);
        assert_eq!(
            found.iter().map(|offence| (offence.rule, offence.line)).collect::<Vec<_>>(),
            [(Rule::Arrow, 6)]
        );
    }

    #[test]
    fn the_agent_may_not_import_pxe_even_for_tests() {
        let text = "[lints]\nworkspace = true\n[dev-dependencies]\npxe = { workspace = true }\n";
        let found = manifest_offences(
            "recovery/agent/Cargo.toml",
            text,
            "recovery-agent",
            &["images", "recovery-protocol"],
        );
        assert_eq!(found[0].rule, Rule::Arrow);
    }

    #[test]
    fn a_version_outside_the_root_and_missing_lints_are_found() {
        let found = manifest_offences("a/Cargo.toml", "[dependencies]\nserde = \"1\"\n", "images", &[]);
        assert_eq!(
            found.iter().map(|offence| offence.rule).collect::<Vec<_>>(),
            [Rule::Version, Rule::Lints]
        );
    }

    #[test]
    fn only_the_named_places_may_spawn_ask_the_database_or_change_a_job() {
        assert_eq!(
            rules("recovery/appliance/src/api.rs", "//! A.\nfn a() { tokio::spawn(b()); }\n"),
            [Rule::Spawn]
        );
        assert_eq!(rules("recovery/appliance/src/daemon.rs", "//! A.\nfn a() { tokio::spawn(b()); }\n"), []);
        assert_eq!(rules("recovery/appliance/src/api.rs", "//! A.\nuse sqlx::Row;\n"), [Rule::Sql]);
        assert_eq!(rules("recovery/appliance/src/db/job.rs", "//! A.\nuse sqlx::Row;\n"), []);
        assert_eq!(
            rules("recovery/appliance/src/api.rs", "//! A.\nfn a() { job.state = b; }\n"),
            [Rule::JobState]
        );
        assert_eq!(
            rules("recovery/appliance/src/cli/image.rs", "//! A.\nuse crate::db::Db;\n"),
            [Rule::CommandLine]
        );
    }

    #[test]
    fn cores_have_no_clock_and_no_runtime() {
        assert_eq!(rules("images/src/a.rs", "//! A.\nfn a() { SystemTime::now(); }\n"), [Rule::Core]);
        assert_eq!(rules("recovery/protocol/src/a.rs", "//! A.\nuse tokio::net;\n"), [Rule::Core]);
        assert_eq!(
            rules("images/src/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    use std::env::args;\n}\n"),
            []
        );
    }

    #[test]
    fn caps_first_lines_and_leftovers_are_found() {
        assert_eq!(rules("pxe/src/a.rs", "use b;\n"), [Rule::FirstLine]);
        assert_eq!(
            rules("pxe/src/a.rs", &format!("//! A.\n{}", "fn a() {}\n".repeat(LINES_MAX))),
            [Rule::Length]
        );
        assert_eq!(
            rules("pxe/src/a.rs", &format!("//! A.\n// {} later\n", concat!("TO", "DO"))),
            [Rule::Leftover]
        );
        assert_eq!(
            rules("pxe/src/a.rs", &format!("//! A.\n{}]\n", concat!("#[ig", "nore"))),
            [Rule::Ignored]
        );
        assert_eq!(
            rules("pxe/src/a.rs", &format!("//! A.\nconst A: &str = \"{}X\";\n", concat!("XX", "X"))),
            []
        );
    }

    #[test]
    fn unsafe_code_stands_in_listed_files_only() {
        let text =
            format!("//! A.\n#![expect(\n    {}\n    reason = \"b\"\n)]\n", concat!("unsafe", "_code,"));
        assert_eq!(rules("recovery/agent/src/main.rs", &text), [Rule::Unsafe]);
        assert_eq!(rules(UNSAFE[0], &text), []);
    }

    #[test]
    fn tests_do_not_wait_by_the_clock() {
        let text = format!(
            "//! A.\n#[cfg(test)]\nmod tests {{\n    fn a() {{ {} }}\n}}\n",
            concat!("sle", "ep(b);")
        );
        assert_eq!(rules("pxe/src/a.rs", &text), [Rule::Sleep]);
        assert_eq!(
            rules("pxe/src/a.rs", &format!("//! A.\nfn a() {{ {} }}\n", concat!("sle", "ep(b);"))),
            []
        );
    }

    #[test]
    fn a_type_is_named_by_the_glossary() {
        assert_eq!(rules("images/src/a.rs", "//! A.\npub struct ImageBlob;\n"), [Rule::Word]);
        assert_eq!(rules("images/src/a.rs", "//! A.\npub(crate) enum HostKind {}\n"), [Rule::Word]);
        assert_eq!(rules("images/src/a.rs", "//! A.\npub struct Hosting;\n"), []);
    }
}
