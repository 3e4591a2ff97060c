//! `groundstate person`: who may in, and what they may.

use std::{
    fs::OpenOptions,
    io::{IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use recovery_protocol::{
    drill::Duties,
    people::{ChangePerson, NewBadge, NewPassword, NewPerson, PersonView, Role, SessionView},
    selector::Selector,
};

use super::{
    client::Client,
    fault::{Code, Fault},
    image, print, show,
};
use crate::cli::Output;

/// What to do with people.
#[derive(Debug, Subcommand)]
pub enum PersonVerb {
    /// Add a person or a program; prints their token, once
    Add(Add),
    /// Change a person's role, shut them out, or let them in again
    Set(Set),
    /// Give a person a new token; the old one ends, and with it their sessions
    Token(Token),
    /// Set a password for the console, one's own or another's; asked for, never on the command line
    Passwd(Passwd),
    /// Give a technician a badge and its PIN for kiosks; both are asked for
    Badge(Badge),
    /// Open a badge again that wrong PINs have closed
    Unlock {
        /// The person
        person: String,
    },
    /// What a person is in the words of runbooks, as in drill-lead; shown, or changed
    Duty {
        /// The person
        person: String,
        /// They are this from now on; give it several times
        #[arg(long, value_name = "DUTY")]
        add: Vec<String>,
        /// They are this no more; give it several times
        #[arg(long, value_name = "DUTY")]
        remove: Vec<String>,
    },
    /// Sessions of the console that are open: one's own, for an admin all; end one
    Sessions {
        /// End this one
        #[arg(long, value_name = "SESSION")]
        end: Option<String>,
    },
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
    /// File with the client certificate (PEM) that a program shows in the place of its token; '' means none
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
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

/// Whose password.
#[derive(Debug, Args)]
pub struct Passwd {
    /// The person; without: whoever's token this is
    person: Option<String>,
    /// File with the new password in its first line; without: asked for, or from stdin
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// File with the password that one has, where one changes one's own; without: asked for
    #[arg(long, value_name = "FILE", conflicts_with = "person")]
    current_file: Option<PathBuf>,
    /// They have none from now on; their token stays
    #[arg(long, requires = "person", conflicts_with = "password_file")]
    none: bool,
}

/// Whose badge.
#[derive(Debug, Args)]
pub struct Badge {
    /// The technician
    person: String,
    /// File with the badge's number in its first line; without: hold it to the reader when asked
    #[arg(long, value_name = "FILE")]
    badge_file: Option<PathBuf>,
    /// File with the PIN in its first line; without: asked for
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// They have none from now on
    #[arg(long, conflicts_with_all = ["badge_file", "pin_file"])]
    none: bool,
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
pub fn act(client: &Client, verb: PersonVerb, output: Output) -> Result<(), Fault> {
    match verb {
        PersonVerb::List => {
            let people: Vec<PersonView> = client.get("/api/v1/people")?;
            print(output, &people, |people| show::people(people))
        }
        PersonVerb::Add(Add { person, role, scope, network, made }) => {
            let mut out = made.open()?;
            let (valid_days, networks) = (made.valid_days, network);
            let new = NewPerson { person, role: role.into(), valid_days, scope, networks };
            let added = client.post("/api/v1/people", &new).inspect_err(|_| made.give_up())?;
            made.hand_over(added, &mut out, output)
        }
        PersonVerb::Set(order) => order.act(client, output),
        PersonVerb::Token(Token { person, made, reason }) => {
            let mut out = made.open()?;
            let order = ChangePerson {
                new_token: true,
                valid_days: made.valid_days,
                reason,
                ..ChangePerson::default()
            };
            let changed = client.patch(&path(&person)?, &order, None).inspect_err(|_| made.give_up())?;
            made.hand_over(changed, &mut out, output)
        }
        PersonVerb::Passwd(order) => order.act(client, output),
        PersonVerb::Badge(order) => order.act(client, output),
        PersonVerb::Unlock { person } => {
            let view: PersonView =
                client.post(&format!("{}/unlock", path(&person)?), &serde_json::json!({}))?;
            print(output, &view, |view| show::people(std::slice::from_ref(view)))
        }
        PersonVerb::Duty { person, add, remove } => {
            let at = format!("{}/duties", path(&person)?);
            let mut has: Duties = client.get(&at)?;
            if !add.is_empty() || !remove.is_empty() {
                has.duties.retain(|duty| !remove.contains(duty));
                has.duties.extend(add);
                has = client.put(&at, &has)?;
            }
            print(output, &has, |has| has.duties.join("\n"))
        }
        PersonVerb::Sessions { end } => {
            let sessions: Vec<SessionView> = match end {
                None => client.get("/api/v1/sessions")?,
                Some(session) => {
                    let path = under("/api/v1/sessions", &session, "groundstate person sessions")?;
                    client.delete(&path, &serde_json::json!({}), None)?
                }
            };
            print(output, &sessions, |sessions| show::sessions(sessions))
        }
    }
}

impl Set {
    fn act(self, client: &Client, output: Output) -> Result<(), Fault> {
        let some = self.network.iter().filter(|network| !network.is_empty()).cloned().collect();
        let order = ChangePerson {
            role: self.role.map(Role::from),
            disabled: if self.disable { Some(true) } else { self.enable.then_some(false) },
            scope: self.scope,
            networks: (!self.network.is_empty()).then_some(some),
            client_certificate: self.client_certificate.as_deref().map(certificate).transpose()?,
            reason: self.reason,
            ..ChangePerson::default()
        };
        let changed: PersonView = client.patch(&path(&self.person)?, &order, None)?;
        print(output, &changed, |view| show::people(std::slice::from_ref(view)))
    }
}

impl Badge {
    fn act(self, client: &Client, output: Output) -> Result<(), Fault> {
        let order = if self.none {
            NewBadge { badge: String::new(), pin: String::new() }
        } else {
            let badge = image::secret("Hold the badge to the reader: ", self.badge_file.as_deref())?;
            NewBadge { badge, pin: image::secret("PIN: ", self.pin_file.as_deref())? }
        };
        let view: PersonView = client.put(&format!("{}/badge", path(&self.person)?), &order)?;
        print(output, &view, |view| show::people(std::slice::from_ref(view)))
    }
}

impl Passwd {
    fn act(self, client: &Client, output: Output) -> Result<(), Fault> {
        let Self { person, password_file, current_file, none } = self;
        let at_a_terminal = std::io::stdin().is_terminal();
        let current = match (&person, &current_file) {
            (None, Some(file)) => image::secret("", Some(file))?,
            (None, None) if at_a_terminal => {
                image::secret("The password that you have (none: just Enter): ", None)?
            }
            _ => String::new(),
        };
        let password =
            if none { String::new() } else { image::secret("New password: ", password_file.as_deref())? };
        if !none
            && password_file.is_none()
            && at_a_terminal
            && image::secret("The same again: ", None)? != password
        {
            let now = "nothing was changed; type it twice";
            return Err(Fault::new(Code::Usage, "the two passwords are not the same", "", now));
        }
        let order = NewPassword { password, current };
        let path = match &person {
            Some(person) => path(person)? + "/password",
            None => "/api/v1/account/password".to_owned(),
        };
        let view: PersonView = client.put(&path, &order)?;
        print(output, &view, |view| {
            let does = if view.password_unix_ms.is_some() {
                "signs in by name and password"
            } else {
                "has no password"
            };
            format!("{} {does}; sessions that the old one opened ended", view.person)
        })
    }
}

/// What is in the file; of no file nothing.
fn certificate(path: &Path) -> Result<String, Fault> {
    if path.as_os_str().is_empty() {
        return Ok(String::new());
    }
    std::fs::read_to_string(path).map_err(|error| {
        let what = format!("{} cannot be read", path.display());
        Fault::of(&what, &error, "name the certificate's PEM file; nothing was ordered")
    })
}

/// A name goes into an address only when it can be one.
fn path(person: &str) -> Result<String, Fault> {
    under("/api/v1/people", person, "groundstate person list")
}

pub fn under(place: &str, name: &str, list: &str) -> Result<String, Fault> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) {
        let now = format!("look for the name with `{list}`");
        return Err(Fault::new(Code::Usage, format!("`{name}` cannot be a name"), "", now));
    }
    Ok(format!("{place}/{name}"))
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
        output: Output,
    ) -> Result<(), Fault> {
        let token = view.token.take().unwrap_or_default();
        let (Some(file), Some(path)) = (out, &self.token_out) else {
            view.token = Some(token);
            return print(output, &view, |view| view.token.clone().unwrap_or_default());
        };
        written(file, path, &token)?;
        print(output, &view, |view| {
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
