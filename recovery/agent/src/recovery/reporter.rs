//! Tells the appliance how a restore goes: milestones at once and until they are answered, progress at most twice a second.
//!
//! The appliance's answer to progress may be "stop": then [`Reporter::halted`] says so and the chunk source gives up.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recovery_protocol::JobId;
use recovery_protocol::agent::{Activity, Report, ReportReply, Reported};

use super::{Stop, patiently};
use crate::client::{ApiError, Appliance};
use crate::pid1::Pulse;
use crate::screen::{Mood, Screen};

/// Shortest time between two progress reports.
const PROGRESS_MIN: Duration = Duration::from_millis(500);

/// One order's line to the appliance.
pub struct Reporter<'a> {
    appliance: &'a Appliance,
    session: &'a str,
    job: JobId,
    step_seq: u32,
    screen: &'a Screen,
    pulse: &'a Pulse,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    progress: Option<(Activity, u64, u64)>,
    stop: Option<Stop>,
    over: bool,
}

impl<'a> Reporter<'a> {
    /// Reports belong to `session` and to an order: its job and number.
    pub fn new(
        appliance: &'a Appliance,
        session: &'a str,
        (job, step_seq): (JobId, u32),
        screen: &'a Screen,
        pulse: &'a Pulse,
    ) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { appliance, session, job, step_seq, screen, pulse, state, changed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, what: Reported) -> Report {
        Report { session: self.session.to_owned(), job: self.job, step_seq: self.step_seq, what }
    }

    /// A line for the screen's log.
    pub fn say(&self, line: String) {
        self.screen.say(line);
    }

    /// Says on the screen what is going on.
    pub fn show(&self, now: String, why: String) {
        self.screen.show(Mood::Working, now, why, super::LEAVE_ON);
    }

    /// Notes how far the work is; returns at once.
    pub fn progress(&self, activity: Activity, done_bytes: u64, total_bytes: u64) {
        self.pulse.beat();
        self.screen.progress(label(activity), done_bytes, total_bytes);
        self.state().progress = Some((activity, done_bytes, total_bytes));
    }

    /// Says `what` until it is answered.
    ///
    /// # Errors
    /// When the answer is to stop, or that we are not known.
    pub fn milestone(&self, what: Reported) -> Result<(), Stop> {
        let report = self.report(what);
        // What is known now is newer than any progress still waiting to be told.
        self.state().progress = None;
        match patiently(self.screen, self.pulse, || self.appliance.report(&report))? {
            ReportReply::Continue => Ok(()),
            ReportReply::Abort { why } => Err(Stop::Aborted(why)),
        }
    }

    /// Whether the appliance has said to stop.
    pub fn halted(&self) -> bool {
        self.state().stop.is_some()
    }

    /// What the appliance has said, if it was to stop.
    pub fn take_stop(&self) -> Option<Stop> {
        self.state().stop.take()
    }

    /// Runs `work` while progress is being told.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.state().over = false;
        std::thread::scope(|scope| {
            scope.spawn(|| self.tell_progress());
            // Also on the way out of a panic: the scope waits for the thread.
            let _over = Over(self);
            work()
        })
    }

    fn tell_progress(&self) {
        loop {
            let mut state = self.state();
            if !state.over {
                let waited = self.changed.wait_timeout(state, PROGRESS_MIN);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if state.over {
                return;
            }
            let Some((activity, done_bytes, total_bytes)) = state.progress.take() else { continue };
            drop(state);
            let report = self.report(Reported::Progress { activity, done_bytes, total_bytes });
            let stop = match self.appliance.report(&report) {
                Ok(ReportReply::Continue) => None,
                Ok(ReportReply::Abort { why }) => Some(Stop::Aborted(why)),
                Err(ApiError::Refused(problem)) if problem.status < 500 => Some(Stop::NotKnown(problem)),
                // Lost progress is no loss.
                Err(_) => None,
            };
            if stop.is_some() {
                self.state().stop = stop;
            }
        }
    }
}

struct Over<'r, 'a>(&'r Reporter<'a>);

impl Drop for Over<'_, '_> {
    fn drop(&mut self) {
        self.0.state().over = true;
        self.0.changed.notify_all();
    }
}

fn label(activity: Activity) -> &'static str {
    match activity {
        Activity::Scanning => "Reading what is on the disk",
        Activity::Writing => "Writing the golden image",
        Activity::ReadingBack => "Reading back what was written",
        Activity::Capturing => "Reading the disk into the store",
        Activity::Erasing => "Erasing the disk",
    }
}
