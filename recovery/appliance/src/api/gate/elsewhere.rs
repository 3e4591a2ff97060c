//! Sessions of people of whom somebody else says who they are: the site's directory, or its OpenID provider.
//!
//! They are slowed down as any other, and their session belongs to what is on record here: who is shut out here is out, whatever is said of them there.
//!
//! It must never: open a session for a name that is ours.

use std::{net::IpAddr, time::Instant};

use recovery_protocol::{
    Problem,
    people::{Origin, Permission},
};

use super::{Gate, Hash, hash, password};
use crate::db::person::Person;

/// What was said of somebody there.
#[derive(Debug)]
pub enum Elsewhere {
    /// It is them, and they are on record.
    Yes,
    /// It is not.
    No,
    /// It is them, and nothing that they are there is a role here.
    NoRole,
    /// Nothing.
    Silent(Problem),
}

/// What a session belongs to that was opened so: a new token, and being shut out, end it.
pub fn key(person: &Person) -> Option<Hash> {
    let of = |origin: Origin| hash(&format!("{}:{}", origin.as_str(), person.token_sha256));
    (person.origin != Origin::Here).then(|| of(person.origin))
}

impl Gate {
    /// Somebody is about to be asked about elsewhere; what is said of them there, [`Gate::elsewhere_said`] takes.
    ///
    /// # Errors
    /// 429 `too-many-attempts`.
    pub fn asks_elsewhere(&self, name: &str, from: IpAddr) -> Result<(), Problem> {
        self.inside().tries.begin(name, from, Instant::now()).map_err(password::too_soon)
    }

    /// It never came to a name: why, in evidence. What was wrong counts against the address.
    pub fn refused_elsewhere(&self, how: &'static str, problem: Problem, from: IpAddr) -> Problem {
        if problem.status < 500 {
            return self.failed(None, from, how, problem);
        }
        let mut inside = self.inside();
        let note = inside.tries.entry(None, from, how, Instant::now());
        inside.note(note);
        problem
    }

    /// Open a session where it is them. `how`: by whom it was said.
    ///
    /// # Errors
    /// 401 `sign-in-refused`, 403 `no-role-here`; what stood against the question.
    pub fn elsewhere_said(
        &self,
        name: &str,
        (how, said): (&'static str, Elsewhere),
        from: IpAddr,
        at: u64,
    ) -> Result<String, Problem> {
        let known = self.inside().known.iter().find(|known| known.name == name).cloned();
        let on_record = known.is_some();
        let who = match said {
            Elsewhere::Silent(problem) => {
                let mut inside = self.inside();
                inside.tries.void(name, from);
                // Else somebody could keep whoever is asked busy from one address, at no cost.
                inside.tries.wrong(from, Instant::now());
                let note = inside.tries.entry(on_record.then_some(name), from, &problem.code, Instant::now());
                inside.note(note);
                return Err(problem);
            }
            Elsewhere::NoRole => {
                let detail =
                    format!("the {how} knows {name}, and nothing that they are there is a role here");
                let remedy = "ask an admin which groups have a role here ([directory.roles], [provider.roles] of the configuration)";
                let problem = Problem::new(403, "no-role-here", "You have no role here", detail, remedy);
                return Err(self.failed(on_record.then_some(name), from, "no-role-here", problem));
            }
            Elsewhere::Yes => known.filter(|known| known.role.may(Permission::Session) && !known.over(at)),
            Elsewhere::No => None,
        };
        let who = who.and_then(|known| Some(known.who(known.elsewhere?, false).here(from))).transpose()?;
        let Some(who) = who else { return Err(self.refused(name, from, how)) };
        self.inside().tries.right(name, from);
        self.open(&who, how, from, at)
    }
}
