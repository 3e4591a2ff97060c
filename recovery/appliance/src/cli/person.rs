//! `groundstate person`: who may in, and what they may.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use recovery_protocol::{
    people::{ChangePerson, NewPerson, PersonView, Role},
    selector::Selector,
};

use super::{
    client::Client,
    fault::{Code, Fault},
    print, show,
};

/// What to do with people.
#[derive(Debug, Subcommand)]
pub enum PersonVerb {
    /// Add a person or a program; prints their token, once
    Add(Add),
    /// Change a person's role, shut them out, or let them in again
    Set(Set),
    /// Give a person a new token; the old one ends, and with it their sessions
    Token(Token),
    /// List people
    List,
}

/// Whom to add.
#[derive(Debug, Args)]
pub struct Add {
    /// The name that stands in evidence; it is never given to another
    person: String,
    /// What they may
    #[arg(long, value_enum)]
    role: RoleWord,
    /// About whom they may order something, as in `line=3,kind=hmi`; without: about every endpoint
    #[arg(long, value_name = "SELECTOR")]
    scope: Option<Selector>,
    /// From where their token counts, as in 10.7.0.0/24; several times; without: from anywhere
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    #[command(flatten)]
    made: Made,
}

/// What to change.
#[derive(Debug, Args)]
pub struct Set {
    /// The person
    person: String,
    /// What they may from now on
    #[arg(long, value_enum)]
    role: Option<RoleWord>,
    /// About whom they may order something from now on; '' means about every endpoint
    #[arg(long, value_name = "SELECTOR")]
    scope: Option<String>,
    /// From where their token counts from now on, as in 10.7.0.0/24; several times; '' means from anywhere
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    /// They may not in any more; their sessions end at once
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// They may in again
    #[arg(long)]
    enable: bool,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    reason: String,
}

/// Who gets a token.
#[derive(Debug, Args)]
pub struct Token {
    /// The person
    person: String,
    #[command(flatten)]
    made: Made,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    reason: String,
}

/// A token that is made.
#[derive(Debug, Args)]
struct Made {
    /// Days until the token ends; without: it does not
    #[arg(long, value_name = "DAYS")]
    valid_days: Option<u32>,
    /// File to write the token to, readable by its owner alone; without: standard output
    #[arg(long, value_name = "FILE")]
    token_out: Option<PathBuf>,
}

/// A role.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleWord {
    /// At the machine: recovers, stops, pairs, answers a drill
    Technician,
    /// Keeps endpoints and images: all but people
    Engineer,
    /// Says yes to what another asked for
    Approver,
    /// Reads everything, changes nothing
    Auditor,
    /// Everything, people included
    Admin,
    /// A program: looks, and orders recoveries
    Automation,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Technician => Self::Technician,
            RoleWord::Engineer => Self::Engineer,
            RoleWord::Approver => Self::Approver,
            RoleWord::Auditor => Self::Auditor,
            RoleWord::Admin => Self::Admin,
            RoleWord::Automation => Self::Automation,
        }
    }
}

/// Carry out a verb.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn act(client: &Client, verb: PersonVerb, json: bool) -> Result<(), Fault> {
    match verb {
        PersonVerb::List => {
            let people: Vec<PersonView> = client.get("/api/v1/people")?;
            print(json, &people, |people| show::people(people))
        }
        PersonVerb::Add(Add { person, role, scope, network, made }) => {
            let mut out = made.open()?;
            let (valid_days, networks) = (made.valid_days, network);
            let new = NewPerson { person, role: role.into(), valid_days, scope, networks };
            let added = client.post("/api/v1/people", &new).inspect_err(|_| made.give_up())?;
            made.hand_over(added, &mut out, json)
        }
        PersonVerb::Set(Set { person, role, scope, network, disable, enable, reason }) => {
            let disabled = if disable { Some(true) } else { enable.then_some(false) };
            let some = network.iter().filter(|network| !network.is_empty()).cloned().collect();
            let networks = (!network.is_empty()).then_some(some);
            let role = role.map(Role::from);
            let order = ChangePerson { role, disabled, scope, networks, reason, ..ChangePerson::default() };
            let changed: PersonView = client.patch(&path(&person)?, &order, None)?;
            print(json, &changed, |view| show::people(std::slice::from_ref(view)))
        }
        PersonVerb::Token(Token { person, made, reason }) => {
            let mut out = made.open()?;
            let order = ChangePerson {
                new_token: true,
                valid_days: made.valid_days,
                reason,
                ..ChangePerson::default()
            };
            let changed = client.patch(&path(&person)?, &order, None).inspect_err(|_| made.give_up())?;
            made.hand_over(changed, &mut out, json)
        }
    }
}

/// A name goes into an address only when it can be one.
fn path(person: &str) -> Result<String, Fault> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if person.is_empty() || !person.bytes().all(fits) {
        let now = "look for the name with `groundstate person list`";
        return Err(Fault::new(Code::Usage, format!("`{person}` is nobody's name"), "", now));
    }
    Ok(format!("/api/v1/people/{person}"))
}

impl Made {
    /// Before the order: a token that cannot be written down would be lost. A file that is there is kept.
    fn open(&self) -> Result<Option<std::fs::File>, Fault> {
        let Some(path) = &self.token_out else { return Ok(None) };
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        opened.map(Some).map_err(|error| {
            let what = format!("{} cannot be made for the token", path.display());
            Fault::of(&what, &error, "name a file that is not there yet; nothing was ordered")
        })
    }

    /// No token came: the empty file goes.
    fn give_up(&self) {
        if let Some(path) = &self.token_out {
            let _ = std::fs::remove_file(path);
        }
    }

    fn hand_over(
        &self,
        mut view: PersonView,
        out: &mut Option<std::fs::File>,
        json: bool,
    ) -> Result<(), Fault> {
        let token = view.token.take().unwrap_or_default();
        let (Some(file), Some(path)) = (out, &self.token_out) else {
            view.token = Some(token);
            return print(json, &view, |view| view.token.clone().unwrap_or_default());
        };
        written(file, path, &token)?;
        print(json, &view, |view| {
            format!(
                "{} ({}): the token is in {}; give it to them alone",
                view.person,
                view.role,
                path.display()
            )
        })
    }
}

fn written(file: &mut std::fs::File, path: &Path, token: &str) -> Result<(), Fault> {
    let done = writeln!(file, "{token}").and_then(|()| file.sync_all());
    done.map_err(|error| {
        let what = format!("the token could not be written to {}", path.display());
        Fault::of(&what, &error, "order another with `groundstate person token`")
    })
}
