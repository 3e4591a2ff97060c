//! Is this runbook one that may be run? Every finding refuses it, and says what to do.
//!
//! Lint knows nothing of a site: it judges the file alone. [`crate::run::plan`] lints again, so an unlinted runbook never runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{ModeName, OnFailure, Per, Position, Runbook, Step, Uses, Verb};
use crate::ids::StepId;

/// Longest timeout of a step: a day. A step that may take longer is two steps.
pub const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// Most retries of a step.
pub const RETRIES_MAX: u32 = 5;

/// The rules, each with a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The runbook does nothing.
    NoSteps,
    /// Two steps of one id.
    DuplicateId,
    /// A step needs one that is not there, or is never done before it.
    UnreachableNeed,
    /// Steps that wait for each other.
    NeedsCircle,
    /// `needs` in `finally`.
    NeedsInFinally,
    /// A verb, mode or key of a later version.
    NotSupported,
    /// No mode that can run.
    NoMode,
    /// A verb that works on one endpoint in a step that runs once.
    PerTarget,
    /// `quarantine` for a step that is about no endpoint.
    QuarantinePerRun,
    /// Something is written and nobody had to approve.
    ReimageWithoutApprove,
    /// Something is written and never proven.
    ReimageWithoutVerify,
    /// The report is written before the proof is there.
    ReportBeforeVerify,
    /// A rehearsal without a report.
    NoReport,
    /// `min: 0` where hardware is written.
    NobodyApproves,
    /// A time that cannot be.
    Timeout,
    /// The steps' own targets exceed the objective.
    TargetsExceedRto,
    /// Retrying without end.
    Retries,
    /// Limits that let nothing happen.
    Limits,
    /// No English title.
    Title,
}

impl Rule {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoSteps => "no-steps",
            Self::DuplicateId => "duplicate-id",
            Self::UnreachableNeed => "unreachable-need",
            Self::NeedsCircle => "needs-circle",
            Self::NeedsInFinally => "needs-in-finally",
            Self::NotSupported => "not-supported",
            Self::NoMode => "no-mode",
            Self::PerTarget => "per-target",
            Self::QuarantinePerRun => "quarantine-per-run",
            Self::ReimageWithoutApprove => "reimage-without-approve",
            Self::ReimageWithoutVerify => "reimage-without-verify",
            Self::ReportBeforeVerify => "report-before-verify",
            Self::NoReport => "no-report",
            Self::NobodyApproves => "nobody-approves",
            Self::Timeout => "timeout",
            Self::TargetsExceedRto => "targets-exceed-rto",
            Self::Retries => "retries",
            Self::Limits => "limits",
            Self::Title => "title",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where; unknown (0) when it is about the whole file.
    pub at: Position,
    /// Which rule.
    pub rule: Rule,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.line > 0 {
            write!(f, "{}: ", self.at)?;
        }
        write!(f, "{} [{}]", self.what, self.rule.code())
    }
}

/// Everything that is wrong, in the order of the file. Empty: it may be run.
#[must_use]
pub fn lint(runbook: &Runbook) -> Vec<Finding> {
    let mut lint = Lint { runbook, before: needs_closure(&runbook.steps), findings: Vec::new() };
    lint.whole_file();
    lint.ids_and_needs();
    for step in runbook.all_steps() {
        lint.step(step);
    }
    lint.writing_is_approved_and_proven();
    lint.findings.sort_by_key(|finding| finding.at);
    lint.findings
}

struct Lint<'a> {
    runbook: &'a Runbook,
    /// Each step with all that is done before it, however far back.
    before: BTreeMap<&'a StepId, BTreeSet<&'a StepId>>,
    findings: Vec<Finding>,
}

impl<'a> Lint<'a> {
    fn found(&mut self, at: Position, rule: Rule, what: impl Into<String>) {
        self.findings.push(Finding { at, rule, what: what.into() });
    }

    fn whole_file(&mut self) {
        let runbook = self.runbook;
        let file = Position::default();
        if runbook.steps.is_empty() {
            self.found(file, Rule::NoSteps, "the runbook has no steps: add at least one under `steps`");
        }
        if !runbook.title.contains_key("en") {
            self.found(file, Rule::Title, "the title has no English text: add `en` under `metadata.title`");
        }
        for later in runbook.later.iter().chain(runbook.all_steps().flat_map(|step| &step.later)) {
            let what = format!("`{}` is not supported by this version: remove it", later.key);
            self.found(later.at, Rule::NotSupported, what);
        }
        for mode in runbook.modes.keys().filter(|mode| !ModeName::SUPPORTED.contains(mode)) {
            let what =
                format!("mode `{}` is not supported by this version: remove it from `modes`", mode.word());
            self.found(file, Rule::NotSupported, what);
        }
        if runbook.modes.is_empty() {
            self.found(file, Rule::NoMode, "no mode is allowed: name real, drill or virtual under `modes`");
        }
        if runbook.limits.max_parallel == 0 {
            self.found(file, Rule::Limits, "`max_parallel: 0` lets nothing happen: write 1 or more");
        }
        self.report_after_rehearsal();
        self.targets_within_rto();
    }

    fn report_after_rehearsal(&mut self) {
        let rehearses = self.runbook.modes.keys().any(|mode| *mode != ModeName::Real);
        if rehearses && !self.runbook.finally.iter().any(|step| step.uses.verb() == Verb::Report) {
            let what = "a drill without a report proves nothing: add a step `uses: report` under `finally`";
            self.found(Position::default(), Rule::NoReport, what);
        }
    }

    fn targets_within_rto(&mut self) {
        let Some(rto_ms) = self.runbook.objectives.rto_ms else { return };
        let mut path: BTreeMap<&StepId, u64> = BTreeMap::new();
        // Steps in an order in which what is needed comes first; a circle is another rule's finding.
        let mut order: Vec<&Step> = self.runbook.steps.iter().collect();
        order.sort_by_key(|step| self.before.get(&step.id).map_or(0, BTreeSet::len));
        for step in order {
            let until = step.needs.iter().filter_map(|need| path.get(need)).max().copied().unwrap_or(0);
            path.insert(&step.id, until.saturating_add(step.target_ms.unwrap_or(0)));
        }
        let longest_ms = path.into_values().max().unwrap_or(0);
        if longest_ms > rto_ms {
            let what = format!(
                "the steps' targets add up to {} s on the longest way, but the objective `rto` is {} s: lower the targets or raise the objective",
                longest_ms / 1000,
                rto_ms / 1000
            );
            self.found(Position::default(), Rule::TargetsExceedRto, what);
        }
    }

    fn ids_and_needs(&mut self) {
        let mut seen = BTreeSet::new();
        for step in self.runbook.all_steps() {
            if !seen.insert(&step.id) {
                let what = format!("a second step is called `{}`: give it another id", step.id);
                self.found(step.at, Rule::DuplicateId, what);
            }
        }
        let main: BTreeSet<&StepId> = self.runbook.steps.iter().map(|step| &step.id).collect();
        for step in &self.runbook.steps {
            for need in step.needs.iter().filter(|need| !main.contains(need)) {
                let what =
                    format!("`{}` needs `{need}`, which is not one of `steps`: correct the id", step.id);
                self.found(step.at, Rule::UnreachableNeed, what);
            }
            if self.is_before(&step.id, &step.id) {
                let what = format!("`{}` waits for itself through its needs: break the circle", step.id);
                self.found(step.at, Rule::NeedsCircle, what);
            }
        }
        for step in self.runbook.finally.iter().filter(|step| !step.needs.is_empty()) {
            let what =
                format!("`{}`: steps under `finally` run one after the other: remove `needs`", step.id);
            self.found(step.at, Rule::NeedsInFinally, what);
        }
    }

    fn step(&mut self, step: &Step) {
        let verb = step.uses.verb();
        if matches!(step.uses, Uses::Later { .. }) {
            let what = format!(
                "`{}` uses `{verb}`, which is not supported by this version: remove the step, or do it by hand with `uses: manual`",
                step.id
            );
            self.found(step.at, Rule::NotSupported, what);
        }
        if verb.works_on_a_target() && step.per == Per::Run {
            let what = format!("`{}` uses `{verb}`, which works on one endpoint: add `per: target`", step.id);
            self.found(step.at, Rule::PerTarget, what);
        }
        let finally = self.runbook.finally.iter().any(|other| std::ptr::eq(other, step));
        if finally && (step.per == Per::Target || verb == Verb::Reimage) {
            let what = format!("`{}`: `finally` is about the run as a whole: move it to `steps`", step.id);
            self.found(step.at, Rule::PerTarget, what);
        }
        if step.per == Per::Run && [step.on_failure, step.on_timeout].contains(&OnFailure::Quarantine) {
            let what = format!(
                "`{}` is about no endpoint, so none can be quarantined: use stop_run or continue",
                step.id
            );
            self.found(step.at, Rule::QuarantinePerRun, what);
        }
        if verb == Verb::Approve && [step.on_failure, step.on_timeout].contains(&OnFailure::Continue) {
            let what = format!(
                "`{}`: a denied approval must stop what it guards: use stop_run or quarantine",
                step.id
            );
            self.found(step.at, Rule::NobodyApproves, what);
        }
        if step.timeout_ms == 0 || step.timeout_ms > TIMEOUT_MS_MAX {
            let what = format!("`{}`: a timeout is longer than nothing and at most 1d: correct it", step.id);
            self.found(step.at, Rule::Timeout, what);
        } else if step.target_ms.is_some_and(|target_ms| target_ms > step.timeout_ms) {
            let what = format!(
                "`{}`: its target is longer than its timeout: raise the timeout or lower the target",
                step.id
            );
            self.found(step.at, Rule::Timeout, what);
        }
        if step.retries > RETRIES_MAX {
            let what =
                format!("`{}`: at most {RETRIES_MAX} retries: what fails more often needs a person", step.id);
            self.found(step.at, Rule::Retries, what);
        }
    }

    fn writing_is_approved_and_proven(&mut self) {
        let steps = &self.runbook.steps;
        for reimage in steps.iter().filter(|step| step.uses.verb() == Verb::Reimage) {
            for mode in self.runbook.modes.keys() {
                self.reimage_is_approved(reimage, *mode);
            }
            let proof =
                |step: &&'a Step| step.uses.verb() == Verb::Verify && self.is_before(&reimage.id, &step.id);
            if !steps.iter().any(|step| proof(&step)) {
                let what = format!(
                    "what `{}` writes is never proven: add a step `uses: verify` that needs it",
                    reimage.id
                );
                self.found(reimage.at, Rule::ReimageWithoutVerify, what);
            }
        }
        let proofs: Vec<&Step> = steps.iter().filter(|step| step.uses.verb() == Verb::Verify).collect();
        for report in steps.iter().filter(|step| step.uses.verb() == Verb::Report) {
            if !proofs.iter().all(|verify| self.is_before(&verify.id, &report.id)) {
                let what = format!(
                    "`{}` does not wait for every verify: name them in `needs`, or move it to `finally`",
                    report.id
                );
                self.found(report.at, Rule::ReportBeforeVerify, what);
            }
        }
    }

    /// In each mode, people approved before anything is written; only virtual endpoints may do without.
    fn reimage_is_approved(&mut self, reimage: &'a Step, mode: ModeName) {
        let approvals: Vec<(&Step, u8)> = self
            .runbook
            .steps
            .iter()
            .filter(|step| self.is_before(&step.id, &reimage.id))
            .filter_map(|step| match step.uses_in(mode) {
                Uses::Approve(approval) => Some((step, approval.min)),
                _ => None,
            })
            .collect();
        if approvals.is_empty() {
            let what = format!(
                "`{}` writes in mode `{}` and nobody approved: add a step `uses: approve` and let `{}` need it",
                reimage.id,
                mode.word(),
                reimage.id
            );
            self.found(reimage.at, Rule::ReimageWithoutApprove, what);
        } else if mode != ModeName::Virtual && approvals.iter().all(|(_, min)| *min == 0) {
            let (step, _) = approvals[0];
            let what = format!(
                "`{}`: `min: 0` is for mode `virtual` only, not `{}`: ask at least one person",
                step.id,
                mode.word()
            );
            self.found(step.at, Rule::NobodyApproves, what);
        }
    }

    fn is_before(&self, earlier: &StepId, later: &StepId) -> bool {
        self.before.get(later).is_some_and(|before| before.contains(earlier))
    }
}

/// Each step with everything that its needs reach. A step that reaches itself is in a circle.
fn needs_closure(steps: &[Step]) -> BTreeMap<&StepId, BTreeSet<&StepId>> {
    let direct: BTreeMap<&StepId, &[StepId]> =
        steps.iter().map(|step| (&step.id, step.needs.as_slice())).collect();
    let mut closure = BTreeMap::new();
    for step in steps {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&StepId> = step.needs.iter().collect();
        while let Some(need) = open.pop() {
            if reached.insert(need) {
                open.extend(direct.get(need).copied().unwrap_or_default());
            }
        }
        closure.insert(&step.id, reached);
    }
    closure
}
