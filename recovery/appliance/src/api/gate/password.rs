//! Signing in by name and password, and what is to be kept of a new one.
//!
//! Each try is one Argon2id, whoever's name it is, in the [`lane`]; none where [`super::tries`] says that it is too soon.
//!
//! It must never: run an Argon2id without a turn.

use std::{net::IpAddr, time::Instant};

use recovery_protocol::{Problem, people::Permission};

use super::{Gate, Known, Who, lane, lane::Turn, tries};
use crate::passwords;

impl Gate {
    /// Open a session by name and password; its cookie value. One Argon2id, whoever's name it is, and none where it is too soon.
    ///
    /// # Errors
    /// 401 `sign-in-refused`, 429 `too-many-attempts`, 503 `sign-in-busy`.
    pub async fn sign_in_by_password(
        &self,
        name: &str,
        password: String,
        from: IpAddr,
        at: u64,
    ) -> Result<String, Problem> {
        let name = name.trim();
        let known = self.right_password(name, password, from).await?;
        let who = known.filter(|known| known.role.may(Permission::Session) && !known.over(at));
        let who =
            who.and_then(|known| Some(known.who(known.password_key()?, false).here(from))).transpose()?;
        let Some(who) = who else {
            return Err(self.refused(name, from, "password"));
        };
        self.inside().tries.right(name, from);
        self.open(&who, "password", from, at)
    }

    /// The lane has no room for this address until what this returns goes.
    #[cfg(test)]
    pub fn crowd(&self, from: IpAddr) -> impl Sized + use<> {
        self.lane.crowd(from)
    }

    /// Nobody here has this name and this password.
    pub(super) fn refused(&self, name: &str, from: IpAddr, how: &'static str) -> Problem {
        let on_record = self.inside().known.iter().any(|known| known.name == name);
        let problem = Problem::new(
            401,
            "sign-in-refused",
            "That did not open the console",
            "nobody here has this name and this password, or they may not in",
            "try again, sign in with your token, or ask an admin for a new password (`groundstate person passwd`)",
        );
        self.failed(on_record.then_some(name), from, how, problem)
    }

    /// Whether this is this person's password, as for [`Gate::sign_in_by_password`], and who they are.
    async fn right_password(
        &self,
        name: &str,
        password: String,
        from: IpAddr,
    ) -> Result<Option<Known>, Problem> {
        let (blame, known) = {
            let mut inside = self.inside();
            inside.tries.begin(name, from, Instant::now()).map_err(too_soon)?;
            (inside.tries.blame(from), inside.known.iter().find(|known| known.name == name).cloned())
        };
        let turn = match self.lane.turn(tries::source(from), blame).await {
            Ok(turn) => turn,
            Err(lane::Full) => {
                self.inside().tries.void(name, from);
                return Err(busy());
            }
        };
        let phc = known.as_ref().and_then(|known| known.password.as_ref()).map(|(phc, _)| phc.clone());
        let right = in_turn(turn, move || passwords::opens(&password, phc.as_deref())).await?;
        Ok(known.filter(|_| right))
    }

    /// The text of a new password to keep: one Argon2id. `current`: of a person who changes their own, where they have one.
    ///
    /// # Errors
    /// As [`Gate::sign_in_by_password`].
    pub async fn seal(
        &self,
        who: &Who,
        current: Option<String>,
        password: String,
        from: IpAddr,
    ) -> Result<String, Problem> {
        let has_one =
            self.inside().known.iter().any(|known| known.name == who.name && known.password.is_some());
        if let Some(current) = current.filter(|_| has_one) {
            if self.right_password(&who.name, current, from).await?.is_none() {
                let detail = "the password that you have now is another one";
                let remedy = "write the one that you have, or ask an admin for a new one (`groundstate person passwd`)";
                let problem =
                    Problem::new(403, "password-wrong", "This is not your password", detail, remedy);
                return Err(self.failed(Some(&who.name), from, "password", problem));
            }
            self.inside().tries.right(&who.name, from);
        }
        self.seal_new(password, from).await
    }

    /// The text of a password to keep: one Argon2id.
    ///
    /// # Errors
    /// 503 `sign-in-busy`.
    pub async fn seal_new(&self, password: String, from: IpAddr) -> Result<String, Problem> {
        let blame = self.inside().tries.blame(from);
        let turn = self.lane.turn(tries::source(from), blame).await.map_err(|lane::Full| busy())?;
        in_turn(turn, move || passwords::seal(&password)).await?
    }
}

/// Run it where it may take its time, and keep the turn until it is done, whoever waits for it.
pub(super) async fn in_turn<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    done.await.map_err(|error| {
        Problem::new(500, "internal", "The appliance failed", error.to_string(), "try again; look at the log")
    })
}

pub(super) fn too_soon(wait_s: u64) -> Problem {
    let detail = "too many wrong passwords for this name or from this address";
    let remedy =
        format!("wait {wait_s} s, or sign in with a token or a link from `groundstate console-link`");
    Problem::new(429, "too-many-attempts", "Too many attempts", detail, remedy)
}

pub(super) fn busy() -> Problem {
    let detail = "many passwords are being tried at this moment";
    let remedy =
        "try again in some seconds, or sign in with a token or a link from `groundstate console-link`";
    Problem::new(503, "sign-in-busy", "The door is busy", detail, remedy)
}
