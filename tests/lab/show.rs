//! The demo on the terminal: one block of bars for each endpoint, fed by the job as the appliance shows it.
//!
//! ```text
//!   press-01  ● writing the golden image        0:41   212 MiB / 1.1 GiB  38 MiB/s
//!             │ <last line of the endpoint's serial line>
//! ```
//!
//! On a terminal the lines redraw; without one, each phase is a line of its own. Shows only what the appliance and the serial line say.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use recovery_protocol::job::{JobState, Stage};
use recovery_protocol::operator::JobView;

/// The lines of one endpoint.
pub struct Show {
    name: String,
    phase: ProgressBar,
    serial: ProgressBar,
    live: bool,
    last_stage: Option<Stage>,
}

impl Show {
    /// Adds the endpoint's lines to `bars`.
    #[must_use]
    pub fn new(bars: &MultiProgress, name: &str) -> Self {
        let phase = bars.add(ProgressBar::new(1));
        let serial = bars.add(ProgressBar::new(1));
        let style = |template: &str| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
        };
        phase.set_style(style("{prefix:>10} {spinner} {wide_msg} {elapsed}"));
        serial.set_style(style("           │ {wide_msg:.dim}"));
        phase.set_prefix(name.to_owned());
        phase.set_message("switched off");
        let live = !phase.is_hidden();
        if live {
            phase.enable_steady_tick(Duration::from_millis(120));
        }
        Self { name: name.to_owned(), phase, serial, live, last_stage: None }
    }

    /// Shows the job as it is now.
    pub fn job(&mut self, job: &JobView) {
        let mut text = headline(job);
        if let Some(progress) = &job.progress {
            let _ = write!(
                text,
                "  {} / {}  {}/s",
                HumanBytes(progress.done_bytes),
                HumanBytes(progress.total_bytes),
                HumanBytes(progress.rate)
            );
        }
        self.phase.set_message(text.clone());
        let stage = job.state.stage();
        if !self.live && stage != self.last_stage {
            println!("{:>10}  {text}", self.name);
        }
        self.last_stage = stage;
    }

    /// Shows the last line of the endpoint's serial line.
    pub fn serial(&self, text: &str) {
        self.serial.set_message(text.to_owned());
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        if self.live {
            self.phase.println(format!("{:>10}  {text}", self.name));
        } else {
            println!("{:>10}  {text}", self.name);
        }
    }

    /// Leaves the last phase on the screen and the serial line off it.
    pub fn finish(&self, text: &str) {
        self.serial.finish_and_clear();
        self.phase.finish_with_message(text.to_owned());
        if !self.live {
            println!("{:>10}  {text}", self.name);
        }
    }
}

/// One line for where a job stands.
fn headline(job: &JobView) -> String {
    match &job.state {
        JobState::Working { stage } => stage.label().to_owned(),
        JobState::Held { reason, detail, .. } => {
            format!("held: {} {detail} {}", reason.what(), reason.what_now())
        }
        JobState::Recovered => "recovered".to_owned(),
        JobState::Captured => "captured".to_owned(),
        JobState::Cancelled { stage } => format!("cancelled while {}", stage.label()),
        JobState::Failed { reason, detail, .. } => format!("failed: {} {detail}", reason.what()),
    }
}

/// Who a stage's time belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Firmware, kernels and the restored system's own boot.
    Theirs,
    /// Ours: appliance and agent at work.
    Ours,
}

/// Whose time a stage is. The stages that wait for a boot are not ours; all others are.
#[must_use]
pub fn whose(stage: Stage) -> Whose {
    match stage {
        Stage::AgentWait | Stage::OsWait => Whose::Theirs,
        Stage::Proposed
        | Stage::Admitted
        | Stage::Approved
        | Stage::Fenced
        | Stage::Ticketed
        | Stage::Powering
        | Stage::Proving
        | Stage::Capturing
        | Stage::Imaging
        | Stage::ReadBack
        | Stage::Disarming
        | Stage::Verifying
        | Stage::Enrolling
        | Stage::Registering
        | Stage::Releasing => Whose::Ours,
    }
}

/// A job's time in milliseconds, from power-on to its end: (ours, all). Power-on is when the BMC has confirmed it: what its
/// orders before that took stands in the table.
#[must_use]
pub fn shares(job: &JobView) -> (u64, u64) {
    job.phases.iter().filter(|phase| phase.stage > Stage::Powering).fold((0, 0), |(ours, all), phase| {
        let took = phase.to_unix_ms.unwrap_or(phase.from_unix_ms).saturating_sub(phase.from_unix_ms);
        (ours + if whose(phase.stage) == Whose::Ours { took } else { 0 }, all + took)
    })
}

/// The table of phases that ends a demo.
#[must_use]
pub fn table(job: &JobView) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} {} ({})", job.endpoint, headline(job), job.image_name);
    for phase in &job.phases {
        let took = phase.to_unix_ms.unwrap_or(phase.from_unix_ms).saturating_sub(phase.from_unix_ms);
        let mark = if whose(phase.stage) == Whose::Ours { "ours" } else { "" };
        let _ = writeln!(text, "  {:<34} {:>8.1} s  {mark}", phase.stage.label(), took as f64 / 1000.0);
    }
    let (ours, all) = shares(job);
    let share = if all == 0 { 0.0 } else { 100.0 * ours as f64 / all as f64 };
    let _ = writeln!(
        text,
        "  from power-on to recovered {:.1} s, of it ours {:.1} s ({share:.0} %)",
        all as f64 / 1000.0,
        ours as f64 / 1000.0
    );
    if let (Some(plan), Some(done)) = (&job.plan, &job.restore) {
        let _ = writeln!(
            text,
            "  preserved {}, kept {}, fetched {} ({} on the wire), zeroed {}, written {}, read back {}; agent's memory at most {}",
            HumanBytes(plan.preserve_bytes),
            HumanBytes(plan.keep_bytes),
            HumanBytes(plan.fetch_bytes),
            HumanBytes(done.wire_bytes),
            HumanBytes(done.zeroed_bytes),
            HumanBytes(done.written_bytes),
            HumanBytes(done.read_back_bytes),
            HumanBytes(done.memory_peak_bytes)
        );
    }
    text
}
