//! The site's directory (LDAP, RFC 4511), asked about somebody by their own name and password, over TLS.
//!
//! ```text
//! name, password ─► TLS ─► bind ─► (their entry) ─► their groups ─► the role of the first that fits: engineer, approver, technician, auditor
//! ```
//!
//! It is believed in what it is for: who somebody is, and in which groups. What a directory that lies can do is bounded here and in the configuration:
//! it makes nobody admin, opens no name that is somebody's here already, and its words reach only into the roles that the site has mapped.
//!
//! It must never: bind without a password (RFC 4513 §5.1.2 lets everybody in then), follow a referral, speak of anybody without TLS, or keep what it
//! was told.

mod filter;
mod wire;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use recovery_protocol::{Problem, people::Role};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use self::filter::{Filter, Part};
use self::wire::Answer;
use crate::{
    api::gate::source,
    asking::pinned::{self, Known},
    config,
};

/// From the first byte to the last answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Questions under way at once, of all and of one address.
const AT_ONCE: u32 = 8;
const OF_ADDRESS: u32 = 2;
/// Groups of one person that are looked at.
const GROUPS_MOST: u32 = 200;
/// LDAP's words for it went well, more was found than was asked for, a wrong password (RFC 4511 §4.1.9).
const SUCCESS: u32 = 0;
const TOO_MANY: u32 = 4;
const INVALID_CREDENTIALS: u32 = 49;
/// As good as a wrong password, of whom a directory says more than that: its constraint, no such entry, no DN, a method that they may not sign in
/// by, no rights (locked, expired), not willing (disabled).
const NOT_THEM: [u32; 7] = [19, 32, 34, 48, INVALID_CREDENTIALS, 50, 53];
/// Of several roles the first of these counts.
const ORDER: [Role; 4] = [Role::Engineer, Role::Approver, Role::Technician, Role::Auditor];

/// A directory.
pub struct Directory {
    setting: config::Directory,
    at: config::DirectoryAt,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    users: Option<(String, Filter)>,
    groups: Filter,
    roles: BTreeMap<String, Role>,
    under_way: Mutex<HashMap<IpAddr, u32>>,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is them, and a group of theirs has this role here; their entry's DN, as it is compared.
    Is(Role, String),
    /// It is them, and none has.
    NoRole,
    /// It is not.
    Not,
}

/// Why it cannot be asked.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("it does not answer: {0}")]
    Gone(#[from] std::io::Error),
    #[error("it shows a certificate that is not of the configured authority, or not of its address: {0}")]
    Untrusted(std::io::Error),
    #[error(transparent)]
    Odd(#[from] wire::Odd),
    #[error("it refused {what}: result {code}")]
    Refused { what: &'static str, code: u32 },
    #[error("the entry that `users` finds is not the one that signed in, or nothing tells that it is")]
    Another,
    #[error("it names more than {GROUPS_MOST} groups of one person")]
    TooMany,
}

impl Trouble {
    fn problem(&self) -> Problem {
        let (code, title) = match self {
            Self::Gone(_) => ("directory-gone", "The directory does not answer"),
            Self::Untrusted(_) => ("directory-untrusted", "This is not the site's directory"),
            Self::Odd(_) | Self::TooMany | Self::Another => {
                ("directory-odd", "The directory answers what cannot be")
            }
            Self::Refused { .. } => ("directory-refused", "The directory does not say who somebody is"),
        };
        let remedy = "people on record here sign in by their password or token meanwhile; look at the directory, its certificate, and [directory] of the configuration";
        Problem::new(503, code, title, self.to_string(), remedy)
    }
}

/// One question under way.
struct Turn<'a>(&'a Directory, IpAddr);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.1) {
            *count -= 1;
        }
        under_way.retain(|_, count| *count > 0);
    }
}

impl Directory {
    /// With its configuration.
    ///
    /// # Errors
    /// The authority's file, or what the configuration says, in words.
    pub fn open(setting: &config::Directory) -> Result<Self, String> {
        let at = setting.at()?;
        let known = Known { ca_file: &setting.ca_file, own: None, names_count: true };
        let name = ServerName::try_from(at.host.clone()).map_err(|error| format!("{}: {error}", at.host))?;
        let users =
            setting.users.as_ref().map(|users| Ok((users.base.clone(), Filter::parse(&users.filter)?)));
        Ok(Self {
            at,
            name,
            tls: Arc::new(pinned::client(known).map_err(|error| error.to_string())?),
            users: users.transpose().map_err(|error: String| error)?,
            groups: Filter::parse(&setting.group_filter)?,
            roles: setting.roles.iter().map(|(dn, role)| (plain(dn), *role)).collect(),
            under_way: Mutex::default(),
            setting: setting.clone(),
        })
    }

    /// Ask it. `name` holds nothing but `a-z`, `0-9`, `.`, `_`, `-`: others are nobody.
    ///
    /// # Errors
    /// 503 `directory-gone`, `directory-untrusted`, `directory-odd`, `directory-refused`, `sign-in-busy`.
    pub async fn ask(&self, name: &str, password: &str, from: IpAddr) -> Result<Said, Problem> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return Ok(Said::Not);
        }
        // Some take a password that begins with a NUL for an empty one.
        if password.is_empty() || password.contains('\0') {
            return Ok(Said::Not);
        }
        let Some(_turn) = self.turn(from) else {
            let remedy = "try again in some seconds; people on record here sign in meanwhile";
            let detail = "many people are being asked about at this moment";
            return Err(Problem::new(503, "sign-in-busy", "The directory is busy", detail, remedy));
        };
        let asked = timeout(TIMEOUT, self.talk(name, password)).await.unwrap_or_else(|_| {
            let why = format!("it took longer than {} s", TIMEOUT.as_secs());
            Err(Trouble::Gone(std::io::Error::new(std::io::ErrorKind::TimedOut, why)))
        });
        asked.map_err(|trouble| {
            tracing::warn!(url = self.setting.url, why = %trouble, "the directory cannot be asked");
            trouble.problem()
        })
    }

    /// Whether it answers, and by the certificate that is known. Nobody is asked about.
    ///
    /// # Errors
    /// As [`Directory::ask`].
    pub async fn reach(&self) -> Result<(), Problem> {
        let reached = timeout(TIMEOUT, self.connect()).await.unwrap_or_else(|_| {
            let why = format!("it took longer than {} s", TIMEOUT.as_secs());
            Err(Trouble::Gone(std::io::Error::new(std::io::ErrorKind::TimedOut, why)))
        });
        let mut line = reached.map_err(|trouble| trouble.problem())?;
        let _ = line.say(&wire::unbind(line.id)).await;
        Ok(())
    }

    fn turn(&self, from: IpAddr) -> Option<Turn<'_>> {
        let from = source(from);
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.values().sum::<u32>() >= AT_ONCE
            || under_way.get(&from).is_some_and(|own| *own >= OF_ADDRESS)
        {
            return None;
        }
        *under_way.entry(from).or_default() += 1;
        Some(Turn(self, from))
    }

    async fn talk(&self, name: &str, password: &str) -> Result<Said, Trouble> {
        let mut line = self.connect().await?;
        let said = self.said(&mut line, name, password).await?;
        let _ = line.say(&wire::unbind(line.id)).await;
        Ok(said)
    }

    /// TLS to it, and nothing said yet.
    async fn connect(&self) -> Result<Line<TlsStream<TcpStream>>, Trouble> {
        let mut plain = Line::new(TcpStream::connect((self.at.host.as_str(), self.at.port)).await?);
        if self.setting.starttls {
            plain.say(&wire::starttls(plain.id)).await?;
            match plain.answer().await? {
                Answer::Extended(outcome, _) => good("StartTLS", outcome)?,
                _ => return Err(wire::Odd("another answer than StartTLS has").into()),
            }
        }
        // Whatever came behind the answer, in clear, was not said by who is behind the TLS.
        if !plain.unread.is_empty() {
            return Err(wire::Odd("more than was asked for, before TLS").into());
        }
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let tls = connector.connect(self.name.clone(), plain.peer).await.map_err(|error| {
            let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match rustls {
                Some(rustls::Error::InvalidCertificate(_)) => Trouble::Untrusted(error),
                _ => Trouble::Gone(error),
            }
        })?;
        Ok(Line::new(tls))
    }

    async fn said<P: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<P>,
        name: &str,
        password: &str,
    ) -> Result<Said, Trouble> {
        let bind = self.setting.bind.replace("{name}", name);
        line.say(&wire::bind(line.id, &bind, password)).await?;
        match line.answer().await? {
            Answer::Bound(outcome) if NOT_THEM.contains(&outcome.code) => {
                // Its words are for whoever runs the appliance: they may tell whether a name is somebody's.
                tracing::info!(
                    code = outcome.code,
                    said = outcome.said,
                    "the directory lets somebody not in"
                );
                return Ok(Said::Not);
            }
            Answer::Bound(outcome) => good("to let them in", outcome)?,
            _ => return Err(wire::Odd("another answer than a bind has").into()),
        }
        let dn = match &self.users {
            None => bind,
            Some((base, filter)) => {
                let bound = line.who_am_i().await?;
                let found = line.search(base, &bound.of(filter.of(name, "")), 2).await;
                match found.map(<[String; 1]>::try_from) {
                    Ok(Ok([one])) if bound.is(&one) => one,
                    Ok(Ok(_)) => return Err(Trouble::Another),
                    Ok(Err(_)) | Err(Trouble::TooMany) => return Ok(Said::NoRole),
                    Err(trouble) => return Err(trouble),
                }
            }
        };
        let groups = line.search(&self.setting.groups_base, &self.groups.of(name, &dn), GROUPS_MOST).await?;
        let theirs: Vec<Role> =
            groups.iter().filter_map(|group| self.roles.get(&plain(group)).copied()).collect();
        let role = ORDER.into_iter().find(|role| theirs.contains(role));
        Ok(role.map_or(Said::NoRole, |role| Said::Is(role, plain(&dn))))
    }
}

/// Who is bound.
#[derive(Debug, PartialEq, Eq)]
enum Bound {
    /// This entry.
    Dn(String),
    /// The account of this name in Active Directory.
    Account(String),
}

impl Bound {
    /// A filter that finds no account but theirs.
    fn of(&self, filter: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Dn(_) => filter,
            Self::Account(account) => {
                let own = [wire::octets(b"sAMAccountName"), wire::octets(account.as_bytes())].concat();
                wire::element(0xa0, &[filter, wire::element(0xa3, &own)].concat())
            }
        }
    }

    /// Whether this entry is theirs, found by [`Bound::of`].
    fn is(&self, dn: &str) -> bool {
        match self {
            Self::Dn(own) => *own == plain(dn),
            Self::Account(_) => true,
        }
    }
}

/// A connection, one question at a time.
struct Line<P> {
    peer: P,
    unread: Vec<u8>,
    /// Of the question that is asked next, or was asked last.
    id: u32,
}

impl<P: AsyncRead + AsyncWrite + Unpin> Line<P> {
    fn new(peer: P) -> Self {
        Self { peer, unread: Vec::new(), id: 1 }
    }

    async fn say(&mut self, message: &[u8]) -> Result<(), Trouble> {
        self.peer.write_all(message).await?;
        Ok(self.peer.flush().await?)
    }

    async fn message(&mut self) -> Result<Answer, Trouble> {
        loop {
            if let Some(len) = wire::length(&self.unread)?.filter(|len| *len <= self.unread.len()) {
                let rest = self.unread.split_off(len);
                let message = std::mem::replace(&mut self.unread, rest);
                let (id, answer) = wire::read(&message)?;
                return if id == self.id {
                    Ok(answer)
                } else {
                    Err(wire::Odd("an answer to nothing").into())
                };
            }
            if self.peer.read_buf(&mut self.unread).await? == 0 {
                let why = "it hung up in the middle";
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, why).into());
            }
        }
    }

    /// The one answer of a question.
    async fn answer(&mut self) -> Result<Answer, Trouble> {
        let answer = self.message().await?;
        self.id += 1;
        Ok(answer)
    }

    /// Who is bound, by the directory's own word (RFC 4532): whoever is found by a filter must be them.
    async fn who_am_i(&mut self) -> Result<Bound, Trouble> {
        self.say(&wire::who_am_i(self.id)).await?;
        let Answer::Extended(outcome, value) = self.answer().await? else {
            return Err(wire::Odd("another answer than “who am I” has").into());
        };
        good("to say who is bound", outcome)?;
        if let Some(dn) = value.strip_prefix("dn:").filter(|dn| !dn.is_empty()) {
            return Ok(Bound::Dn(plain(dn)));
        }
        // Active Directory: `u:PLANT\name`.
        let account = value.strip_prefix("u:").and_then(|user| user.rsplit('\\').next());
        let account = account.filter(|account| !account.is_empty()).ok_or(Trouble::Another)?;
        Ok(Bound::Account(account.to_owned()))
    }

    /// Names of what a filter finds, so many at most.
    async fn search(&mut self, base: &str, filter: &[u8], most: u32) -> Result<Vec<String>, Trouble> {
        let seconds = u32::try_from(TIMEOUT.as_secs()).unwrap_or(5);
        self.say(&wire::search(self.id, base, filter, most, seconds)).await?;
        let mut found = Vec::new();
        loop {
            match self.message().await? {
                Answer::Entry(_) if found.len() >= most as usize => return Err(Trouble::TooMany),
                Answer::Entry(dn) => found.push(dn),
                Answer::Reference => {}
                Answer::Done(outcome) if outcome.code == TOO_MANY => return Err(Trouble::TooMany),
                Answer::Done(outcome) => {
                    self.id += 1;
                    return good("a search", outcome).map(|()| found);
                }
                Answer::Bound(_) | Answer::Extended(..) | Answer::Other => {
                    return Err(wire::Odd("another answer than a search has").into());
                }
            }
        }
    }
}

fn good(what: &'static str, outcome: wire::Outcome) -> Result<(), Trouble> {
    let wire::Outcome { code, said } = outcome;
    if code == SUCCESS {
        return Ok(());
    }
    tracing::warn!(what, code, said, "the directory refuses");
    Err(Trouble::Refused { what, code })
}

/// A DN as it is compared: without case, and without spaces around its signs.
fn plain(dn: &str) -> String {
    let parts = dn.split(',').map(|part| {
        part.split_once('=')
            .map_or_else(|| part.trim().to_owned(), |(key, value)| format!("{}={}", key.trim(), value.trim()))
    });
    parts.collect::<Vec<_>>().join(",").to_lowercase()
}

#[cfg(test)]
mod tests;
