//! Tells the appliance how a restore goes: milestones at once and until they are answered, progress at most twice a second.
//!
//! The appliance's answer to progress may be "stop": then [`Reporter::halted`] says so and the chunk source gives up. While it answers
//! nothing for [`SILENCE_MAX`], nothing is written ([`super::gate`]).

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use recovery_protocol::JobId;
use recovery_protocol::agent::{Activity, Report, ReportReply, Reported};

use super::{Stop, patiently};
use crate::client::{ApiError, Appliance};
use crate::pid1::Pulse;
use crate::screen::{Mood, Screen};

/// Shortest time between two progress reports.
const PROGRESS_MIN: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 500 });
/// An appliance that was not heard for so long may have been told to stop us. Longer than two calls that run out of time, and half of
/// what the appliance itself waits before it begins again with the endpoint.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// One order's line to the appliance.
pub struct Reporter<'a> {
    appliance: &'a Appliance,
    session: &'a str,
    job: JobId,
    step_seq: u32,
    screen: &'a Screen,
    pulse: &'a Pulse,
    silence_max: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Not told yet.
    progress: Option<(Activity, u64, u64)>,
    /// What was told last, or will be next.
    latest: Option<(Activity, u64, u64)>,
    stop: Option<Stop>,
    over: bool,
    /// When the appliance last said to go on.
    heard: Instant,
    /// So many writes wait for its voice.
    waiting: u32,
    /// What the screen said before it said that.
    shown: (String, String),
}

impl Default for State {
    fn default() -> Self {
        let heard = Instant::now();
        let (progress, latest, stop, shown) = (None, None, None, Default::default());
        // Nobody tells anything before [`Reporter::during`].
        Self { progress, latest, stop, over: true, heard, waiting: 0, shown }
    }
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
        let silence_max = SILENCE_MAX;
        Self { appliance, session, job, step_seq, screen, pulse, silence_max, state, changed }
    }

    /// With another patience than a minute.
    #[cfg(test)]
    pub fn with_silence_max(self, silence_max: Duration) -> Self {
        Self { silence_max, ..self }
    }

    /// Whom it speaks to, and in which session.
    pub fn line(&self) -> (&'a Appliance, &'a str) {
        (self.appliance, self.session)
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
        self.state().shown = (now.clone(), why.clone());
        self.screen.show(Mood::Working, now, why, super::LEAVE_ON);
    }

    /// Notes how far the work is; returns at once.
    pub fn progress(&self, activity: Activity, done_bytes: u64, total_bytes: u64) {
        self.pulse.beat();
        self.screen.progress(label(activity), done_bytes, total_bytes);
        let mut state = self.state();
        state.progress = Some((activity, done_bytes, total_bytes));
        state.latest = state.progress;
    }

    /// Returns once the appliance was heard lately enough for something to be written. Where progress is not being told, a milestone was
    /// answered just before.
    ///
    /// # Errors
    /// When it said to stop.
    pub fn leave_to_write(&self) -> io::Result<()> {
        let mut state = self.state();
        let asked = Instant::now();
        let mut said = false;
        loop {
            if state.stop.is_some() {
                return Err(io::Error::other("the appliance said to stop"));
            }
            if state.over || state.heard.elapsed() <= self.silence_max || (said && state.heard >= asked) {
                break;
            }
            if !said {
                said = true;
                state.waiting += 1;
                if state.waiting == 1 {
                    drop(state);
                    self.screen.show(
                        Mood::Person,
                        "The appliance does not answer; nothing is written until it does.",
                        "It may have been told to stop this recovery. The disk is not whole yet and does not boot.",
                        "Check the network cable and the appliance; the agent goes on by itself.",
                    );
                    state = self.state();
                    continue;
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if said {
            state.waiting -= 1;
            let (last, (now, why)) = (state.waiting == 0, state.shown.clone());
            drop(state);
            if last {
                self.screen.show(Mood::Working, now, why, super::LEAVE_ON);
            }
        }
        Ok(())
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
            ReportReply::Continue => {
                self.state().heard = Instant::now();
                Ok(())
            }
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
            // A write that waits for an answer has nothing new to tell.
            let latest = (state.waiting > 0).then(|| state.latest.unwrap_or((Activity::Writing, 0, 0)));
            let Some((activity, done_bytes, total_bytes)) = state.progress.take().or(latest) else {
                continue;
            };
            drop(state);
            let report = self.report(Reported::Progress { activity, done_bytes, total_bytes });
            let answer = self.appliance.report(&report);
            let mut state = self.state();
            match answer {
                Ok(ReportReply::Continue) => state.heard = Instant::now(),
                Ok(ReportReply::Abort { why }) => state.stop = Some(Stop::Aborted(why)),
                Err(ApiError::Refused(problem)) if problem.status < 500 && problem.status != super::BUSY => {
                    state.stop = Some(Stop::NotKnown(problem));
                }
                // Lost progress is no loss.
                Err(_) => {}
            }
            drop(state);
            self.changed.notify_all();
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
        Activity::Keeping => "Keeping what may show what befell this system",
    }
}
