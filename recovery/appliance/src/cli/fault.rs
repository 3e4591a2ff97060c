//! How a command ends when it does not succeed: an exit code for scripts, and for people what happened, why, what now.

use std::{fmt, process::ExitCode};

use recovery_protocol::Problem;

use crate::chain::chain;

/// Exit codes. They are part of the interface and do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Not allowed.
    Forbidden = 4,
    /// Something stands against it.
    Conflict = 5,
    /// `--wait` ran out of time.
    TimedOut = 6,
    /// Of several things some were done.
    Partial = 7,
    /// A person must decide first.
    AwaitsPerson = 8,
    /// The appliance does not answer.
    Unavailable = 9,
    /// A digest, a signature or the evidence log does not fit.
    Integrity = 10,
}

/// Why a command did not succeed.
#[derive(Debug)]
pub struct Fault {
    /// For scripts.
    pub code: Code,
    what: String,
    why: String,
    now: String,
}

impl Fault {
    /// What happened, why (may be empty), what now.
    pub fn new(code: Code, what: impl Into<String>, why: impl Into<String>, now: impl Into<String>) -> Self {
        Self { code, what: what.into(), why: why.into(), now: now.into() }
    }

    /// An error with its whole chain as the reason.
    pub fn of(what: &str, error: &dyn std::error::Error, now: &str) -> Self {
        Self::new(Code::Failed, what, chain(error), now)
    }

    /// The same with another exit code.
    #[must_use]
    pub fn with(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// A wrong configuration or command line; the message says what to write instead.
    pub fn usage(what: &str, error: &dyn std::error::Error) -> Self {
        Self { code: Code::Usage, ..Self::of(what, error, "") }
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let code = match problem.status {
            401 | 403 => Code::Forbidden,
            404 => Code::NotFound,
            409 | 412 | 422 => Code::Conflict,
            429 | 503 => Code::Unavailable,
            _ => Code::Failed,
        };
        Self::new(code, format!("{} [{}]", problem.title, problem.code), problem.detail, problem.remedy)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if !self.why.is_empty() {
            write!(f, "\n  why: {}", self.why)?;
        }
        if !self.now.is_empty() {
            write!(f, "\n  now: {}", self.now)?;
        }
        Ok(())
    }
}
