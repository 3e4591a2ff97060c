//! A job as it goes on, on a terminal (lines that finish, one that moves), in a log (one line a phase) or as JSON lines.

use std::{
    io::{IsTerminal as _, Write as _, stderr, stdout},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use recovery_protocol::{
    agent::Activity,
    job::JobState,
    operator::{JobView, PhaseView},
};

use super::{
    client::Client,
    fault::{Code, Fault},
    show::{duration, job_state},
};
use crate::cli::Output;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Lines that move; for a terminal.
    Live,
    /// One line a phase; for a log.
    Lines,
    /// One JSON object a change, on stdout; other forms print the end alone.
    Json,
}

impl Look {
    /// As asked for, or by what stderr is.
    #[must_use]
    pub fn choose(output: Output) -> Self {
        if output == Output::Json {
            Self::Json
        } else if stderr().is_terminal() {
            Self::Live
        } else {
            Self::Lines
        }
    }
}

/// Follow a job until it is over or waits for a person.
///
/// # Errors
/// When it did not end recovered: 8 when it is held, 1 when it failed or was cancelled, 6 when time ran out.
pub fn to_the_end(
    client: &Client,
    job: JobView,
    look: Look,
    limit: Option<Duration>,
) -> Result<JobView, Fault> {
    let mut screen = Screen::new(look);
    screen.show(&job);
    if job.state.is_over() {
        return judge(job);
    }
    let last = client.follow(job.job, limit, |view| {
        screen.show(view);
        !matches!(view.state, JobState::Held { .. })
    });
    screen.close();
    judge(last?)
}

fn judge(view: JobView) -> Result<JobView, Fault> {
    let code = match &view.state {
        JobState::Recovered | JobState::Captured | JobState::Working { .. } => return Ok(view),
        JobState::Held { .. } => Code::AwaitsPerson,
        JobState::Cancelled { .. } | JobState::Failed { .. } => Code::Failed,
    };
    let detail = match &view.state {
        JobState::Held { detail, .. } | JobState::Failed { detail, .. } => detail.clone(),
        _ => String::new(),
    };
    Err(Fault::new(code, format!("{}: {}", job_state(&view), view.what), detail, view.what_now))
}

struct Screen {
    look: Look,
    bar: Option<ProgressBar>,
    /// Phases printed as done.
    printed: usize,
    /// The phase that was said to begin.
    begun: Option<(recovery_protocol::job::Stage, u64)>,
    /// What a person was told to do.
    told: String,
}

impl Screen {
    fn new(look: Look) -> Self {
        Self { look, bar: None, printed: 0, begun: None, told: String::new() }
    }

    fn show(&mut self, view: &JobView) {
        match self.look {
            Look::Json => {
                if let Ok(line) = serde_json::to_string(view) {
                    let _ = writeln!(stdout(), "{line}");
                }
            }
            Look::Lines | Look::Live => {
                self.finished(view);
                self.running(view);
                if !view.state.is_over() && !view.what_now.is_empty() && view.what_now != self.told {
                    self.told.clone_from(&view.what_now);
                    self.say(&format!("  now   {}", view.what_now));
                }
            }
        }
    }

    fn finished(&mut self, view: &JobView) {
        let done = |phase: &&PhaseView| phase.to_unix_ms.is_some();
        for phase in view.phases.iter().take_while(done).skip(self.printed) {
            let took = phase.to_unix_ms.unwrap_or_default().saturating_sub(phase.from_unix_ms);
            self.say(&format!("  done  {:<38} {:>12}", phase.stage.label(), duration(took)));
            self.printed += 1;
        }
        if view.state.is_over() {
            let took = view.over_unix_ms.unwrap_or_default().saturating_sub(view.asked_unix_ms);
            self.say(&format!("{} is {} after {}", view.endpoint, job_state(view), duration(took)));
            self.close();
        }
    }

    fn running(&mut self, view: &JobView) {
        let JobState::Working { stage } = view.state else { return self.close() };
        if self.look == Look::Lines {
            let now = (stage, view.phases.last().map_or(0, |phase| phase.from_unix_ms));
            if self.begun != Some(now) {
                self.begun = Some(now);
                self.say(&format!("  ...   {}", stage.label()));
            }
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(0);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        match view.progress {
            Some(progress) => {
                bar.set_style(style(
                    "  {spinner}     {msg:<38} {bytes:>10} of {total_bytes:<10} {prefix:>12}  {wide_bar}",
                ));
                bar.set_length(progress.total_bytes);
                bar.set_position(progress.done_bytes);
                bar.set_prefix(format!("{}/s", indicatif::BinaryBytes(progress.rate)));
                bar.set_message(match progress.activity {
                    Activity::Scanning => "reading the disk",
                    Activity::Writing => "writing the golden image",
                    Activity::ReadingBack => "reading back",
                    Activity::Capturing => "reading the disk into the store",
                    Activity::Erasing => "erasing the disk",
                    Activity::Keeping => "keeping what may show the cause",
                });
            }
            None => {
                bar.set_style(style("  {spinner}     {msg:<38} {elapsed:>12}"));
                bar.set_message(stage.label());
                let since = view.phases.last().map_or(0, |phase| phase.from_unix_ms);
                if self.begun != Some((stage, since)) {
                    self.begun = Some((stage, since));
                    bar.reset_elapsed();
                }
            }
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
