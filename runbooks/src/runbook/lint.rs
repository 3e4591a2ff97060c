//! Is this runbook one that may be run? Every finding refuses it, and says what to do.
//!
//! Lint knows nothing of a site: it judges the file alone. [`crate::run::plan`] lints again, so an unlinted runbook never runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    CheckItem, INJECT_MS_MAX, ModeName, OnFailure, Pass, Per, Position, Profile, Runbook, Step, Uses, Verb,
};
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
    /// A capture before nothing.
    CaptureKeepsNothing,
    /// Something is written and nobody had to approve.
    ReimageWithoutApprove,
    /// Something is written and never proven.
    ReimageWithoutVerify,
    /// The report is written before the proof is there.
    ReportBeforeVerify,
    /// A rehearsal without a report.
    NoReport,
    /// Something is written, and nothing looks afterwards whether it left anything behind.
    NoCleanUp,
    /// An endpoint goes back to its zone before it is proven.
    ReleaseBeforeVerify,
    /// What must be good goes on when it is not.
    GoesOnUnproven,
    /// `stop_wave` where there is no wave to stop.
    StopsNoWave,
    /// A condition that can never hold, or that nobody decides.
    Condition,
    /// Waves that cannot be.
    Waves,
    /// A text that a person would read in another language than the title promises.
    Untranslated,
    /// `min: 0` where hardware is written.
    NobodyApproves,
    /// A time that cannot be.
    Timeout,
    /// The steps' own targets exceed the objective.
    TargetsExceedRto,
    /// Retrying without end.
    Retries,
    /// An inject that cannot be.
    Injects,
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
            Self::CaptureKeepsNothing => "capture-keeps-nothing",
            Self::ReimageWithoutApprove => "reimage-without-approve",
            Self::ReimageWithoutVerify => "reimage-without-verify",
            Self::ReportBeforeVerify => "report-before-verify",
            Self::NoReport => "no-report",
            Self::NoCleanUp => "no-clean-up",
            Self::ReleaseBeforeVerify => "release-before-verify",
            Self::GoesOnUnproven => "goes-on-unproven",
            Self::StopsNoWave => "stops-no-wave",
            Self::Condition => "condition",
            Self::Waves => "waves",
            Self::Untranslated => "untranslated",
            Self::NobodyApproves => "nobody-approves",
            Self::Timeout => "timeout",
            Self::TargetsExceedRto => "targets-exceed-rto",
            Self::Retries => "retries",
            Self::Injects => "injects",
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
    lint.waves();
    lint.injects();
    lint.findings.sort_by_key(|finding| finding.at);
    lint.findings
}

/// It is meant in each mode, and looks for all that a run could leave behind.
fn proves_clean(step: &Step) -> bool {
    step.condition.modes.is_empty()
        && matches!(&step.uses, Uses::Check { set } if set.contains(&CheckItem::Clean))
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
        for later in &runbook.later {
            let what = format!("`{}` is not supported by this version: remove it", later.key);
            self.found(later.at, Rule::NotSupported, what);
        }
        if runbook.modes.is_empty() {
            let what = "no mode is allowed: name real, drill, virtual, dry_run or tabletop under `modes`";
            self.found(file, Rule::NoMode, what);
        }
        if runbook.limits.max_parallel == 0 {
            self.found(file, Rule::Limits, "`max_parallel: 0` lets nothing happen: write 1 or more");
        }
        if runbook.limits.max_permits == 0 && runbook.steps.iter().any(|step| step.uses == Uses::Reimage) {
            self.found(file, Rule::Limits, "`max_permits: 0` lets nothing be written: write 1 or more");
        }
        self.report_after_rehearsal();
        self.targets_within_rto();
    }

    fn report_after_rehearsal(&mut self) {
        let rehearses = self.runbook.modes.keys().any(|mode| *mode != ModeName::Real && !mode.is_paper());
        let writes = self.runbook.steps.iter().any(|step| step.uses == Uses::Reimage);
        if writes && !self.runbook.finally.iter().any(|step| step.uses.verb() == Verb::Check) {
            let what = "nothing looks afterwards whether tickets or jobs are left: add a step `uses: check` under `finally`";
            self.found(Position::default(), Rule::NoCleanUp, what);
        } else if writes && rehearses && !self.runbook.finally.iter().any(proves_clean) {
            let what = "a drill ends only when it is proven that it left nothing behind: add `clean` to the `set` of a check under `finally`, without an `if`";
            self.found(Position::default(), Rule::NoCleanUp, what);
        }
        if rehearses && !self.runbook.finally.iter().any(|step| step.uses.verb() == Verb::Report) {
            let what = "a drill without a report proves nothing: add a step `uses: report` under `finally`";
            self.found(Position::default(), Rule::NoReport, what);
        }
    }

    fn injects(&mut self) {
        let rehearses = self.runbook.modes.keys().any(|mode| *mode != ModeName::Real && !mode.is_paper());
        for inject in &self.runbook.injects {
            let (kind, at) = (inject.kind.word(), &inject.at);
            let step = self.runbook.steps.iter().find(|step| step.id == *at);
            let what = match step {
                _ if !rehearses => {
                    format!(
                        "`{kind}` happens in rehearsals alone: add a mode `drill` or `virtual`, or remove it"
                    )
                }
                None => format!("`{kind}` begins with `{at}`, which is no step: name one of `steps`"),
                Some(_) if inject.for_ms == 0 || inject.for_ms > INJECT_MS_MAX => format!(
                    "`{kind}` lasts {} s: give it a `for` of up to {} s",
                    inject.for_ms / 1000,
                    INJECT_MS_MAX / 1000
                ),
                Some(step) if inject.for_ms >= step.timeout_ms => format!(
                    "`{kind}` lasts as long as `{at}` may take, so nobody could react to it: shorten it, or raise the step's timeout"
                ),
                Some(_) => continue,
            };
            self.findings.push(Finding { at: Position::default(), rule: Rule::Injects, what });
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
        self.condition(step);
        self.after_failure(step);
        self.languages(step);
        let finally = self.runbook.finally.iter().any(|other| std::ptr::eq(other, step));
        if finally && (step.per == Per::Target || verb == Verb::Reimage) {
            let what = format!("`{}`: `finally` is about the run as a whole: move it to `steps`", step.id);
            self.found(step.at, Rule::PerTarget, what);
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

    /// What a failure or a timeout of this step may mean.
    fn after_failure(&mut self, step: &Step) {
        let verb = step.uses.verb();
        let on = |what| [step.on_failure, step.on_timeout].contains(&what);
        if step.per == Per::Run && on(OnFailure::Quarantine) {
            let what = format!(
                "`{}` is about no endpoint, so none can be quarantined: use stop_run or continue",
                step.id
            );
            self.found(step.at, Rule::QuarantinePerRun, what);
        }
        if verb == Verb::Approve && on(OnFailure::Continue) {
            let what = format!(
                "`{}`: a denied approval must stop what it guards: use stop_run or quarantine",
                step.id
            );
            self.found(step.at, Rule::NobodyApproves, what);
        }
        if verb.must_be_good() && on(OnFailure::Continue) {
            let what = format!(
                "`{}`: where `{verb}` failed nothing may go on as if it were good: use quarantine, stop_wave or stop_run",
                step.id
            );
            self.found(step.at, Rule::GoesOnUnproven, what);
        }
        if on(OnFailure::StopWave) && (step.per == Per::Run || self.runbook.waves.is_empty()) {
            let what = format!(
                "`{}` stops no wave, since it {}: use stop_run or quarantine",
                step.id,
                if step.per == Per::Run {
                    "is about no endpoint"
                } else {
                    "stands in a runbook without `waves`"
                }
            );
            self.found(step.at, Rule::StopsNoWave, what);
        }
    }

    /// A condition holds in some mode of the runbook, and on an answer that somebody gives before.
    fn condition(&mut self, step: &Step) {
        let condition = &step.condition;
        let modes = &self.runbook.modes;
        if !condition.modes.is_empty() && !condition.modes.iter().any(|mode| modes.contains_key(mode)) {
            let what =
                format!("`{}` is meant for no mode of this runbook: correct `if`, or add the mode", step.id);
            self.found(step.at, Rule::Condition, what);
        }
        for (decide, option) in &condition.chose {
            let options = self.runbook.steps.iter().find(|other| other.id == *decide).and_then(|other| {
                match &other.uses {
                    Uses::Decide { options, .. } if other.per == Per::Run || step.per == Per::Target => {
                        Some(options)
                    }
                    _ => None,
                }
            });
            let what = match options {
                None => {
                    format!("`{}` waits for the answer to `{decide}`, which decides nothing for it", step.id)
                }
                Some(options) if !options.contains(option) => {
                    format!("`{}`: nobody can answer `{decide}` with `{option}`", step.id)
                }
                Some(_) if !self.is_before(decide, &step.id) => {
                    format!("`{}` does not wait for `{decide}`, on whose answer it depends", step.id)
                }
                Some(_) => continue,
            };
            let what = format!("{what}: name a `decide` step that it needs, and one of its options");
            self.found(step.at, Rule::Condition, what);
        }
    }

    /// What the title promises, each text keeps.
    fn languages(&mut self, step: &Step) {
        let runbook = self.runbook;
        for language in runbook.title.keys() {
            let uses = std::iter::once(&step.uses).chain(step.instead.values());
            if uses.flat_map(Uses::texts).any(|text| !text.speaks(language)) {
                let what = format!(
                    "`{}` has a text without `{language}`, which the title has: translate it, or take `{language}` from the title",
                    step.id
                );
                self.found(step.at, Rule::Untranslated, what);
            }
        }
    }

    fn waves(&mut self) {
        let runbook = self.runbook;
        if runbook.waves.is_empty() {
            return;
        }
        let file = Position::default();
        let mut names = BTreeSet::new();
        for wave in &runbook.waves {
            let wrong = if !names.insert(&wave.name) {
                "two waves have this name: give one another"
            } else if wave.size == Some(0) || matches!(wave.pass, Pass::Percent(0)) {
                "nobody is in it, or nobody needs to pass: write 1 or more"
            } else if wave.soak_ms > TIMEOUT_MS_MAX {
                "it soaks longer than a day: plan a second run"
            } else {
                continue;
            };
            self.found(file, Rule::Waves, format!("wave `{}`: {wrong}", wave.name));
        }
        if runbook.waves.last().is_some_and(|wave| wave.matches.is_some() || wave.once) {
            let what = "who fits no wave would never have a turn: end with a wave without `match` and `once`";
            self.found(file, Rule::Waves, what);
        }
        // A step per run waits for all endpoints, and the second wave would wait for it: nothing would move any more.
        let per_target = |step: &&Step| step.per == Per::Target;
        for step in runbook.steps.iter().filter(|step| step.per == Per::Run) {
            let after =
                runbook.steps.iter().filter(per_target).any(|other| self.is_before(&other.id, &step.id));
            let before =
                runbook.steps.iter().filter(per_target).any(|other| self.is_before(&step.id, &other.id));
            if after && before {
                let what = format!(
                    "`{}` stands between steps per endpoint, so that no second wave could begin: make it `per: target`, or move it",
                    step.id
                );
                self.found(step.at, Rule::Waves, what);
            }
        }
    }

    fn writing_is_approved_and_proven(&mut self) {
        let steps = &self.runbook.steps;
        for reimage in steps.iter().filter(|step| step.uses.verb() == Verb::Reimage) {
            let modes =
                self.runbook.modes.keys().filter(|mode| !mode.is_paper() && reimage.condition.fits(**mode));
            let modes: Vec<ModeName> = modes.copied().collect();
            for mode in &modes {
                self.reimage_is_approved(reimage, *mode);
            }
            let proof = |step: &Step, mode: ModeName| {
                step.uses.verb() == Verb::Verify
                    && self.is_before(&reimage.id, &step.id)
                    && step.condition.covers(&reimage.condition, mode)
            };
            if !modes.iter().all(|mode| steps.iter().any(|step| proof(step, *mode))) {
                let what = format!(
                    "what `{}` writes is never proven: add a step `uses: verify` that needs it",
                    reimage.id
                );
                self.found(reimage.at, Rule::ReimageWithoutVerify, what);
            }
        }
        let reimages = || steps.iter().filter(|step| step.uses.verb() == Verb::Reimage);
        for capture in self.runbook.all_steps() {
            let quick = matches!(capture.uses, Uses::Capture { profile: Profile::Quick, .. });
            if quick && !reimages().any(|reimage| self.is_before(&capture.id, &reimage.id)) {
                let what = format!(
                    "`{}` keeps nothing: the reimage that waits for it does, and none does; name it in a reimage's `needs`",
                    capture.id
                );
                self.found(capture.at, Rule::CaptureKeepsNothing, what);
            }
        }
        for release in steps.iter().filter(|step| step.uses.verb() == Verb::Release) {
            self.release_is_proven(release);
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

    /// In each mode, each thing that was written before the endpoint goes back was proven in between: after the writing, before the release, and
    /// wherever both are meant.
    fn release_is_proven(&mut self, release: &'a Step) {
        let steps = &self.runbook.steps;
        let unproven = |mode: ModeName| {
            let written = |step: &&Step| {
                step.uses.verb() == Verb::Reimage
                    && step.condition.fits(mode)
                    && self.is_before(&step.id, &release.id)
            };
            let proves = |verify: &Step, reimage: &Step| {
                verify.uses.verb() == Verb::Verify
                    && self.is_before(&reimage.id, &verify.id)
                    && self.is_before(&verify.id, &release.id)
                    && (verify.condition.covers(&release.condition, mode)
                        || verify.condition.covers(&reimage.condition, mode))
            };
            let mut written = steps.iter().filter(written);
            written.find(|reimage| !steps.iter().any(|step| proves(step, reimage)))
        };
        let mut modes = self.runbook.modes.keys().copied();
        let meant = |mode: &ModeName| !mode.is_paper() && release.condition.fits(*mode);
        let found = modes.by_ref().filter(meant).find_map(|mode| Some((mode, unproven(mode)?)));
        if let Some((mode, reimage)) = found {
            let what = format!(
                "`{}` lets an endpoint back in mode `{}` though nobody proved what `{}` wrote: let it need a step `uses: verify` that needs `{}`",
                release.id,
                mode.word(),
                reimage.id,
                reimage.id
            );
            self.found(release.at, Rule::ReleaseBeforeVerify, what);
        }
    }

    /// In each mode, people approved before anything is written; only virtual endpoints may do without.
    fn reimage_is_approved(&mut self, reimage: &'a Step, mode: ModeName) {
        let approvals: Vec<(&Step, u8)> = self
            .runbook
            .steps
            .iter()
            .filter(|step| self.is_before(&step.id, &reimage.id))
            .filter(|step| step.condition.covers(&reimage.condition, mode))
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
