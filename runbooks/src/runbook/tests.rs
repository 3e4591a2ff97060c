//! Good, bad and strange runbooks: each wrong one gets one sentence with a place and a remedy.

use proptest::prelude::*;

use super::{
    MaxFailures, ModeName, OnFailure, Position, Runbook, Uses, Verb,
    lint::{Rule, lint},
    parse::{ParseError, TEXT_BYTES_MAX, parse},
};
use crate::library::library;

const GOOD: &str = "\
schema: runbook/v1
metadata:
  name: rehearse
  version: 1
  title: {en: Rehearse}
  owner: ot
modes:
  drill: {}
limits: {max_parallel: 3, max_failures: \"10%\"}
steps:
  - id: go
    uses: approve
    with: {min: 1}
    in: {virtual: {min: 0}}
  - id: image
    uses: reimage
    needs: [go]
    per: target
    timeout: 12m
  - id: prove
    uses: verify
    needs: [image]
    per: target
finally:
  - id: tidy
    uses: check
    with: {set: [endpoint-idle, clean]}
  - id: paper
    uses: report
";

fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn error(text: &str) -> ParseError {
    parse(text).expect_err("it must not parse")
}

fn at(line: u64, column: u64) -> Position {
    Position { line, column }
}

#[test]
fn a_good_runbook_is_what_its_text_says() {
    let runbook = parse(GOOD).unwrap();
    assert_eq!(lint(&runbook), []);
    assert_eq!(runbook.limits.max_failures, MaxFailures::Percent(10));
    let [go, image, prove] = &runbook.steps[..] else { panic!("{:?}", runbook.steps) };
    assert_eq!(go.at, at(11, 5));
    assert!(matches!(go.uses_in(ModeName::Drill), Uses::Approve(approval) if approval.min == 1));
    assert!(matches!(go.uses_in(ModeName::Virtual), Uses::Approve(approval) if approval.min == 0));
    assert_eq!((image.timeout_ms, image.on_failure), (720_000, OnFailure::Quarantine));
    assert_eq!((prove.timeout_ms, go.on_failure), (Verb::Verify.default_timeout_ms(), OnFailure::StopRun));
}

#[test]
fn a_stored_runbook_is_its_text() {
    let runbook = parse(GOOD).unwrap();
    let json = serde_json::to_string(&runbook).unwrap();
    assert_eq!(serde_json::from_str::<String>(&json).unwrap(), GOOD);
    assert_eq!(serde_json::from_str::<Runbook>(&json).unwrap(), runbook);
    assert!(serde_json::from_str::<Runbook>("\"schema: runbook/v9\"").is_err());
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_keys_that_fit() {
    let found = error(&with("    timeout: 12m", "    timout: 12m"));
    let ParseError::UnknownKey { at: place, key, expected } = &found else { panic!("{found:?}") };
    assert_eq!((*place, key.as_str()), (at(19, 5), "timout"));
    assert!(expected.iter().any(|key| key == "`timeout`"));
    assert!(found.to_string().starts_with("line 19, column 5: unknown key `timout`: use one of "), "{found}");
    assert!(matches!(error(&with("modes:", "modus: 1\nmodes:")), ParseError::UnknownKey { .. }));
    assert!(matches!(error(&with("limits: {", "limits: {max: 1, ")), ParseError::UnknownKey { .. }));
}

#[test]
fn an_unknown_word_is_named_with_the_words_that_fit() {
    let found = error(&with("uses: reimage", "uses: wipe"));
    let ParseError::UnknownWord { at: place, word, expected } = &found else { panic!("{found:?}") };
    assert_eq!((*place, word.as_str(), expected.len()), (at(16, 11), "wipe", Verb::ALL.len()));
    assert!(matches!(error(&with("drill: {}", "rehearsal: {}")), ParseError::UnknownWord { .. }));
}

#[test]
fn what_is_missing_is_named() {
    assert!(
        matches!(error(&with("  owner: ot\n", "")), ParseError::MissingKey { key, .. } if key == "owner")
    );
    assert!(
        matches!(error(&with("    uses: report\n", "")), ParseError::MissingKey { key, .. } if key == "uses")
    );
    assert!(matches!(error(""), ParseError::Shape { at: Position { line: 1, .. }, .. }));
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let found = error(&with("  version: 1\n", "  version: 1\n  version: 2\n"));
    assert!(matches!(found, ParseError::DuplicateKey { at: Position { line: 5, .. }, .. }), "{found:?}");
}

#[test]
fn wrong_shapes_are_refused_where_they_stand() {
    for (from, to, line) in [
        ("timeout: 12m", "timeout: 12", 19),
        ("timeout: 12m", "timeout: twelve", 19),
        ("version: 1", "version: one", 4),
        ("\"10%\"", "\"110%\"", 9),
        ("\"10%\"", "-1", 9),
        ("needs: [go]", "needs: {go: 1}", 17),
    ] {
        let found = error(&with(from, to));
        assert!(
            matches!(found, ParseError::Shape { at, .. } if at.line == line),
            "{from} -> {to}: {found:?}"
        );
    }
    assert!(matches!(error(&with("schema: runbook/v1", "schema: runbook/v2")), ParseError::Schema { .. }));
    assert!(matches!(
        error(&with("id: image", "id: Image 1")),
        ParseError::StepId { at: Position { line: 15, column: 9 }, .. }
    ));
    assert!(matches!(error(&" ".repeat(TEXT_BYTES_MAX + 1)), ParseError::TooLong { .. }));
    assert!(matches!(error("steps: [\n"), ParseError::Shape { .. }));
}

#[test]
fn arguments_are_checked_against_their_verb() {
    for (from, to, argument, place) in [
        ("with: {min: 1}", "with: {minimum: 1}", "minimum", at(13, 21)),
        ("with: {min: 1}", "with: {min: 300}", "min", at(13, 17)),
        ("in: {virtual: {min: 0}}", "in: {virtual: {max: 0}}", "max", at(14, 25)),
        ("    needs: [go]", "    with: {image: other}\n    needs: [go]", "image", at(17, 19)),
        ("uses: approve\n    with: {min: 1}\n    in: {virtual: {min: 0}}", "uses: check", "set", at(11, 5)),
        (
            "uses: approve\n    with: {min: 1}\n    in: {virtual: {min: 0}}",
            "uses: check\n    with: {set: []}",
            "set",
            at(11, 5),
        ),
        (
            "uses: approve\n    with: {min: 1}\n    in: {virtual: {min: 0}}",
            "uses: check\n    with: {set: [moon]}",
            "set",
            at(13, 17),
        ),
    ] {
        let found = error(&with(from, to));
        let ParseError::Argument { at: found_at, key, .. } = &found else { panic!("{to}: {found:?}") };
        assert_eq!((key.as_str(), *found_at), (argument, place), "{found}");
    }
}

#[test]
fn anchors_cannot_smuggle_keys_in() {
    assert!(parse(&with("modes:\n  drill: {}", "modes:\n  drill: &d {}\n  real:\n    <<: *d")).is_err());
}

fn rules(text: &str) -> Vec<Rule> {
    let runbook = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut rules: Vec<Rule> = lint(&runbook).into_iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// What is changed in the good one, into what, and the one rule that finds it.
const FAULTS: [(&str, &str, Rule); 51] = [
    ("id: prove", "id: image", Rule::DuplicateId),
    ("needs: [image]", "needs: [image, moon]", Rule::UnreachableNeed),
    ("needs: [image]", "needs: [image, paper]", Rule::UnreachableNeed),
    ("needs: [image]", "needs: [image, prove]", Rule::NeedsCircle),
    ("    uses: report", "    uses: report\n    needs: [go]", Rule::NeedsInFinally),
    ("needs: [go]", "needs: []", Rule::ReimageWithoutApprove),
    ("needs: [image]", "needs: [go]", Rule::ReimageWithoutVerify),
    (
        "  - id: prove\n    uses: verify\n    needs: [image]\n    per: target\n",
        "",
        Rule::ReimageWithoutVerify,
    ),
    ("with: {min: 1}", "with: {min: 0}", Rule::NobodyApproves),
    ("with: {min: 1}", "with: {min: 1}\n    on_failure: continue", Rule::NobodyApproves),
    ("with: {min: 1}", "with: {min: 1}\n    on_failure: quarantine", Rule::QuarantinePerRun),
    ("    needs: [image]\n    per: target", "    needs: [image]\n    per: run", Rule::PerTarget),
    ("uses: report", "uses: report\n    per: target", Rule::PerTarget),
    ("uses: report", "uses: notify\n    with: {to: lead, text: done}", Rule::NoReport),
    ("finally:", "  - {id: early, uses: report, needs: [image]}\nfinally:", Rule::ReportBeforeVerify),
    ("timeout: 12m", "timeout: 0s", Rule::Timeout),
    ("timeout: 12m", "timeout: 25h", Rule::Timeout),
    ("timeout: 12m", "timeout: 12m\n    target: 13m", Rule::Timeout),
    ("timeout: 12m", "timeout: 12m\n    retry: {max: 6}", Rule::Retries),
    ("max_parallel: 3", "max_parallel: 0", Rule::Limits),
    ("{en: Rehearse}", "{de: Probe}", Rule::Title),
    ("modes:", "params: {line: {}}\nmodes:", Rule::NotSupported),
    ("finally:\n", "finally:\n  - {id: more, uses: call}\n", Rule::NotSupported),
    ("  - id: tidy\n    uses: check\n    with: {set: [endpoint-idle, clean]}\n", "", Rule::NoCleanUp),
    ("[endpoint-idle, clean]", "[endpoint-idle]", Rule::NoCleanUp),
    ("finally:", "injects: [{inject: pcr-mismatch, at: none, for: 1m}]\nfinally:", Rule::Injects),
    ("finally:", "injects: [{inject: pcr-mismatch, at: image, for: 31m}]\nfinally:", Rule::Injects),
    ("finally:", "injects: [{inject: pcr-mismatch, at: image, for: 12m}]\nfinally:", Rule::Injects),
    (
        "modes:\n  drill: {}",
        "injects: [{inject: pcr-mismatch, at: image, for: 1m}]\nmodes:\n  real: {}",
        Rule::Injects,
    ),
    ("max_parallel: 3", "max_parallel: 3, max_permits: 0", Rule::Limits),
    // Approved or proven in some modes, or after some answers, is not approved and proven.
    ("timeout: 12m", "timeout: 12m\n    if: {chose: {go: approved}}", Rule::Condition),
    ("modes:\n  drill: {}", "modes:\n  real: {}\n  drill: {}\n  virtual: {}", Rule::ReimageWithoutVerify),
    ("timeout: 12m", "timeout: 12m\n    if: {chose: {go: yes}}", Rule::Condition),
    ("timeout: 12m", "timeout: 12m\n    if: {mode: [real]}", Rule::Condition),
    (
        "finally:",
        "  - {id: back, uses: release, needs: [image], per: target, with: {to: vlan}}\nfinally:",
        Rule::ReleaseBeforeVerify,
    ),
    // Proven too late, of another writing, or only in some modes.
    (
        "finally:",
        "  - {id: back, uses: release, needs: [prove], per: target, with: {to: vlan}}\n  - {id: more, uses: reimage, needs: [prove], per: target}\n  - {id: too, uses: verify, needs: [more], per: target}\n  - {id: out, uses: release, needs: [more], per: target, with: {to: vlan}}\nfinally:",
        Rule::ReleaseBeforeVerify,
    ),
    (
        "uses: verify\n    needs: [image]\n    per: target\n",
        "uses: verify\n    needs: [image]\n    per: target\n  - {id: look, uses: verify, needs: [go], per: target}\n  - {id: back, uses: release, needs: [image, look], per: target, with: {to: vlan}}\n",
        Rule::ReleaseBeforeVerify,
    ),
    ("timeout: 12m", "timeout: 12m\n    on_failure: continue", Rule::GoesOnUnproven),
    ("needs: [image]\n", "needs: [image]\n    on_timeout: continue\n", Rule::GoesOnUnproven),
    ("timeout: 12m", "timeout: 12m\n    on_failure: stop_wave", Rule::StopsNoWave),
    ("with: {min: 1}", "with: {min: 1}\n    on_timeout: stop_wave", Rule::StopsNoWave),
    ("modes:", "waves: [{name: a, once: true}]\nmodes:", Rule::Waves),
    ("{en: Rehearse}", "{en: Rehearse, de: Probe}", Rule::Untranslated),
    ("modes:", "waves: [{name: a, size: 1}, {name: a}]\nmodes:", Rule::Waves),
    ("modes:", "waves: [{name: a, size: 0}]\nmodes:", Rule::Waves),
    ("modes:", "waves: [{name: a, pass: 0%}]\nmodes:", Rule::Waves),
    ("modes:", "waves: [{name: a, soak: 25h}]\nmodes:", Rule::Waves),
    ("modes:", "waves: [{name: a, match: {kind: hmi}}]\nmodes:", Rule::Waves),
    (
        "finally:",
        "  - {id: mid, uses: check, needs: [image], with: {set: [store-free]}}\n  - {id: last, uses: verify, needs: [mid], per: target}\nfinally:",
        Rule::Waves,
    ),
    (
        "finally:",
        "  - {id: how, uses: decide, with: {text: How?, options: [a, b]}}\n  - {id: a, uses: wait, with: {for: 1s}, needs: [how], if: {chose: {how: c}}}\nfinally:",
        Rule::Condition,
    ),
    (
        "finally:",
        "  - {id: how, uses: decide, with: {text: How?, options: [a, b]}}\n  - {id: a, uses: wait, with: {for: 1s}, if: {chose: {how: a}}}\nfinally:",
        Rule::Condition,
    ),
];

#[test]
fn every_rule_finds_its_fault_and_only_that() {
    for (from, to, rule) in FAULTS {
        let mut text = with(from, to);
        if rule == Rule::Waves && !text.contains("waves:") {
            text = text.replace("modes:", "waves: [{name: first, size: 1}, {name: rest}]\nmodes:");
        }
        if rule == Rule::Untranslated {
            text = text.replace("uses: check\n    with", "uses: notify\n    with: {to: lead, text: {en: Look, de: Sieh nach}}\n  - id: look\n    uses: manual\n    with: {text: Look}\n  - id: again\n    uses: check\n    with");
        }
        if to.contains("virtual: {}") {
            text = text.replace("uses: verify", "uses: verify\n    if: {mode: [drill, real]}");
        }
        let found = rules(&text);
        // A second id of the same name also hides the step it was.
        let alone = found == [rule] || (rule == Rule::DuplicateId && found.contains(&rule));
        assert!(alone, "{from} -> {to}: {found:?}");
    }
    assert!(rules(&with("modes:\n  drill: {}", "modes: {}")).contains(&Rule::NoMode));
    assert!(
        rules(&with(&GOOD[GOOD.find("steps:").unwrap()..GOOD.find("finally:").unwrap()], "steps: []\n"))
            .contains(&Rule::NoSteps)
    );
}

#[test]
fn targets_on_the_longest_way_may_not_exceed_the_objective() {
    let text = with("limits:", "objectives: {rto: 10m}\nlimits:");
    let text = text.replace("timeout: 12m", "timeout: 12m\n    target: 6m");
    assert_eq!(rules(&text), []);
    let text = text.replace("    needs: [image]\n", "    needs: [image]\n    target: 5m\n");
    assert_eq!(rules(&text), [Rule::TargetsExceedRto]);
}

/// Whoever is let back in a mode was proven in that mode.
#[test]
fn who_is_proven_only_sometimes_is_let_back_only_then() {
    let both = with("drill: {}", "drill: {}\n  real: {}");
    let text = |verify_in: &str, back_in: &str| {
        let last = format!(
            "  - {{id: again, uses: verify, needs: [image], per: target, if: {{mode: [{verify_in}]}}}}\n  - {{id: back, uses: release, needs: [again], per: target, with: {{to: vlan}}, if: {{mode: [{back_in}]}}}}\nfinally:"
        );
        both.replace("finally:", &last)
    };
    assert_eq!(rules(&text("drill, real", "drill, real")), []);
    assert_eq!(rules(&text("drill", "drill")), []);
    assert_eq!(rules(&text("drill", "drill, real")), [Rule::ReleaseBeforeVerify]);
}

/// The approval's `if` may leave a mode out in which something is written; then nobody approved there.
#[test]
fn who_approves_only_sometimes_has_not_approved() {
    let all = with("drill: {}", "drill: {}\n  real: {}");
    let some = all.replace("with: {min: 1}", "with: {min: 1}\n    if: {mode: [drill]}");
    assert_eq!((rules(&all), rules(&some)), (vec![], vec![Rule::ReimageWithoutApprove]));
    let paper = with("drill: {}", "drill: {}\n  tabletop: {}\n  dry_run: {}");
    assert_eq!(rules(&paper), []);
}

#[test]
fn a_text_is_english_or_one_per_language() {
    let step = |text: &str| {
        with(
            "finally:",
            &format!("  - {{id: tell, uses: notify, with: {{to: lead, text: {text}}}}}\nfinally:"),
        )
    };
    assert!(parse(&step("Hello")).is_ok() && parse(&step("{en: Hello, de: Hallo}")).is_ok());
    for bad in ["{de: Hallo}", "[a]", "{en: [a]}"] {
        assert!(matches!(error(&step(bad)), ParseError::Argument { key, .. } if key == "text"), "{bad}");
    }
}

#[test]
fn who_decides_has_two_ways_at_least() {
    let step = |options: &str| {
        with(
            "finally:",
            &format!("  - {{id: how, uses: decide, with: {{text: How, options: {options}}}}}\nfinally:"),
        )
    };
    assert_eq!(rules(&step("[a, b]")), []);
    for bad in ["[]", "[a]", "[a, a]"] {
        assert!(matches!(error(&step(bad)), ParseError::Argument { key, .. } if key == "options"), "{bad}");
    }
}

#[test]
fn verbs_of_a_later_version_parse_and_are_refused_in_one_sentence() {
    let verb = Verb::Call;
    let step = format!(
        "  - id: extra\n    uses: {verb}\n    per: target\n    needs: [prove]\n    with: {{to: moon, if_essential: ask}}\n"
    );
    let runbook = parse(&with("finally:", &format!("{step}finally:"))).unwrap();
    let findings = lint(&runbook);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let said = findings[0].to_string();
    assert!(said.starts_with("line 24, column 5: `extra` uses"), "{said}");
    assert!(said.contains("not supported by this version") && said.contains("uses: manual"), "{said}");
}

#[test]
fn every_sentence_about_a_bad_file_says_what_to_do() {
    for text in
        [with("timeout: 12m", "timout: 12m"), with("version: 1", "version: x"), with("  owner: ot\n", "")]
    {
        let said = error(&text).to_string();
        assert!(
            said.starts_with("line ")
                && (said.contains(": use ") || said.contains("; mend ") || said.contains(": add ")),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

proptest! {
    /// The reader of a file that is not ours: any text gets a runbook or an error, never a panic.
    #[test]
    fn any_damage_to_a_good_file_is_read_or_refused(cut in 0usize..2_000, put in "[-{}\\[\\]:#&*!|>'\"%@`a-z0-9 \n]{0,6}", shipped in 0usize..library().len()) {
        let text = library()[shipped].text;
        let cut = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let damaged = format!("{}{put}{}", &text[..cut], &text[cut..]);
        if let Ok(runbook) = parse(&damaged) {
            let _ = lint(&runbook);
        }
    }
}
