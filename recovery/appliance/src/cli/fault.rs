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

impl Code {
    /// All but success, which is 0.
    pub const ALL: [Self; 10] = [
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::Forbidden,
        Self::Conflict,
        Self::TimedOut,
        Self::Partial,
        Self::AwaitsPerson,
        Self::Unavailable,
        Self::Integrity,
    ];

    /// What it means, for the help.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "it failed",
            Self::Usage => "the command line, or what it sent, is wrong",
            Self::NotFound => "there is no such thing",
            Self::Forbidden => "not signed in, or not allowed",
            Self::Conflict => "something stands against it: another state, revision or plan than was assumed",
            Self::TimedOut => "it was waited for in vain; what was ordered goes on",
            Self::Partial => "of several things some were done",
            Self::AwaitsPerson => "a person must decide first: a job is held, or another person must say yes",
            Self::Unavailable => "the appliance does not answer, or is too busy: try again later",
            Self::Integrity => "a digest, a signature, a pin or the evidence log does not fit: do not go on",
        }
    }

    /// What to do, where an error says nothing closer.
    const fn hint(self) -> &'static str {
        match self {
            Self::Failed => "mend the cause, then try again; `groundstate doctor` looks at the appliance",
            Self::Usage => "look at the command with --help",
            Self::NotFound => "look at what there is with the noun's `list`",
            Self::Forbidden => "ask somebody with the right role, or name another --token-file",
            Self::Conflict => "look at it again, then decide",
            Self::TimedOut => "it goes on by itself; look at it later",
            Self::Partial => "mend what stands above, and order the rest",
            Self::AwaitsPerson => "have a person decide: `groundstate job list`",
            Self::Unavailable => "try again; `groundstate doctor` looks at the appliance",
            Self::Integrity => "keep everything as it is and find out who changed it",
        }
    }

    /// Of a refusal: by its own code where that says more than its status.
    #[must_use]
    pub fn of(problem: &Problem) -> Self {
        match problem.code.as_str() {
            "image-not-trusted"
            | "manifest-unsigned"
            | "manifest-foreign"
            | "manifest-altered"
            | "chunk-corrupt"
            | "evidence-rolled-back"
            | "evidence-not-proven"
            | "trust-root-missing" => {
                return Self::Integrity;
            }
            "second-person-needed" | "approve-instead" => return Self::AwaitsPerson,
            "idempotency-key-reused" | "import-wrong" | "plan-first" | "nothing-to-change" => {
                return Self::Conflict;
            }
            "too-slow" => return Self::Unavailable,
            _ => {}
        }
        match problem.status {
            400 | 405 | 411 | 413 | 415 | 422 => Self::Usage,
            401 | 403 => Self::Forbidden,
            404 | 410 => Self::NotFound,
            409 | 412 | 428 => Self::Conflict,
            408 | 429 | 503 | 504 => Self::Unavailable,
            _ => Self::Failed,
        }
    }
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
        let code = Code::of(&problem);
        Self::new(code, format!("{} [{}]", problem.title, problem.code), problem.detail, problem.remedy)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if !self.why.is_empty() {
            write!(f, "\n  why: {}", self.why)?;
        }
        write!(f, "\n hint: {}", if self.now.is_empty() { self.code.hint() } else { &self.now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: u16, code: &str) -> Code {
        Code::of(&Problem::new(status, code, "", "", ""))
    }

    #[test]
    fn a_refusal_has_the_exit_code_of_its_status_or_of_its_own_code() {
        for (status, wanted) in [
            (400, Code::Usage),
            (401, Code::Forbidden),
            (403, Code::Forbidden),
            (404, Code::NotFound),
            (409, Code::Conflict),
            (412, Code::Conflict),
            (422, Code::Usage),
            (429, Code::Unavailable),
            (500, Code::Failed),
            (502, Code::Failed),
            (503, Code::Unavailable),
        ] {
            assert_eq!(code(status, "x"), wanted, "{status}");
        }
        assert_eq!(code(409, "manifest-altered"), Code::Integrity);
        assert_eq!(code(409, "second-person-needed"), Code::AwaitsPerson);
        assert_eq!(code(422, "import-wrong"), Code::Conflict);
    }

    #[test]
    fn every_error_says_what_now_and_every_code_stands_once() {
        for (n, code) in (1_u8..).zip(Code::ALL) {
            assert_eq!(code as u8, n);
            let said = Fault::new(code, "it broke", "", "").to_string();
            let hint = said.lines().find_map(|line| line.trim_start().strip_prefix("hint: "));
            assert!(hint.is_some_and(|hint| !hint.is_empty()) && !code.meaning().is_empty(), "{said}");
        }
        assert_eq!(Fault::new(Code::Failed, "a", "b", "c").to_string(), "error: a\n  why: b\n hint: c");
    }
}
