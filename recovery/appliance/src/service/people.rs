//! People: added, changed, never deleted. Of a token the hash is kept; the token itself is in one answer, once.
//!
//! It must never: let the last way in be lost. The operator's token of the data directory is no person and stays.

use std::net::IpAddr;

use ipnet::IpNet;
use recovery_protocol::{
    Problem,
    people::{ChangePerson, NewPerson, Origin, PersonView, Role},
    selector::{Selector, SelectorError},
};
use serde_json::json;

use super::{Actor, Inner, certificate};
use crate::{
    db::{self, person::Person},
    evidence::Fact,
    jobs::journal::JournalTx,
    keys,
};

/// In front of each token, so that a scanner for secrets knows one that was lost.
pub const TOKEN_PREFIX: &str = "gs_";
const NAME_MOST: usize = 32;
const NETWORKS_MOST: usize = 16;
const DAYS_MOST: u32 = 3650;
const DAY_MS: u64 = 24 * 3_600_000;
const REASON_MOST: usize = 500;
/// Names that stand in evidence for something else.
const TAKEN: &[&str] = &["token", "console", "appliance", "agent", "setup", "operator"];

/// Everybody.
pub async fn list(inner: &Inner) -> Result<Vec<PersonView>, Problem> {
    Ok(rows(inner).await?.into_iter().map(|person| view(person, None)).collect())
}

/// Everybody, as the gate wants them.
pub async fn rows(inner: &Inner) -> Result<Vec<Person>, Problem> {
    Ok(db::person::all(&mut *inner.journal.db.read().await?).await?)
}

/// Add a person; the answer holds the token.
pub async fn add(inner: &Inner, actor: &Actor, new: NewPerson) -> Result<PersonView, Problem> {
    check_name(&new.person)?;
    let mut tx = inner.journal.begin().await?;
    if db::person::get(tx.conn(), &new.person).await?.is_some() {
        return Err(exists(&new.person));
    }
    let token = token()?;
    let person = Person {
        scope: fit_scope(new.role, new.scope)?,
        networks: fit_networks(new.networks)?,
        token_ends: ends(tx.at, new.valid_days)?,
        token_id: token_id(&token),
        ..Person::new(new.person, new.role, keys::secret_hash(&token), tx.at)
    };
    db::person::put(tx.conn(), &person).await?;
    let facts = json!({
        "person": person.name, "role": person.role, "token_ends": person.token_ends, "scope": person.scope,
        "networks": person.networks, "token_id": person.token_id,
    });
    tx.note(Fact::new("order.person-add", &actor.name, facts)).await?;
    tx.commit().await?;
    Ok(view(person, Some(token)))
}

/// Change a person; the answer holds the token where a new one was asked for.
pub async fn change(
    inner: &Inner,
    actor: &Actor,
    name: &str,
    order: ChangePerson,
) -> Result<PersonView, Problem> {
    let mut tx = inner.journal.begin().await?;
    let Some(known) = db::person::get(tx.conn(), name).await? else { return Err(unknown(name)) };
    let token = if order.new_token { Some(token()?) } else { None };
    let mut now = Person {
        role: order.role.unwrap_or(known.role),
        disabled: order.disabled.unwrap_or(known.disabled),
        ..known.clone()
    };
    if let Some(networks) = order.networks {
        now.networks = fit_networks(networks)?;
    }
    let scope = match order.scope.as_deref().map(str::trim) {
        None => known.scope.clone(),
        Some("") => None,
        Some(text) => Some(text.parse().map_err(|error: SelectorError| {
            let remedy = "write it like `line=3,kind!=historian`; nothing was changed";
            Problem::new(422, "bad-scope", "This scope cannot be put on record", error.to_string(), remedy)
        })?),
    };
    now.scope = fit_scope(now.role, scope)?;
    if let Some(pem) = &order.client_certificate {
        now.client_certificate = certificate::pin(pem, now.role, tx.at)?;
        one_owner(&mut tx, &now).await?;
    }
    if now.role != Role::Automation {
        now.client_certificate = None;
    }
    if now.role != Role::Technician {
        (now.badge_sha256, now.pin, now.pin_wrong) = (None, None, 0);
    }
    if let Some(token) = &token {
        now.token_sha256 = keys::secret_hash(token);
        now.token_id = token_id(token);
        now.token_made = tx.at;
        now.token_ends = ends(tx.at, order.valid_days)?;
    }
    if now == known {
        let remedy = "say what shall change: `groundstate person set --help`";
        let detail = format!("{name} is so already");
        return Err(Problem::new(422, "nothing-to-change", "Nothing is to change", detail, remedy));
    }
    db::person::put(tx.conn(), &now).await?;
    let reason: String = order.reason.chars().take(REASON_MOST).collect();
    let facts = json!({
        "person": name, "reason": reason, "new_token": token.is_some(), "token_ends": now.token_ends,
        "role": { "from": known.role, "to": now.role },
        "disabled": { "from": known.disabled, "to": now.disabled },
        "scope": { "from": known.scope, "to": now.scope },
        "networks": { "from": known.networks, "to": now.networks },
        "certificate_sha256": certificate::of(&now).map(|der| keys::spki_sha256(&der)),
    });
    tx.note(Fact::new("order.person-change", &actor.name, facts)).await?;
    tx.commit().await?;
    Ok(view(now, token))
}

/// A certificate is of one program: who did something must stand in evidence under one name.
async fn one_owner(tx: &mut JournalTx<'_>, now: &Person) -> Result<(), Problem> {
    let Some(pinned) = &now.client_certificate else { return Ok(()) };
    let everybody = db::person::all(tx.conn()).await?;
    let other = everybody
        .iter()
        .find(|other| other.name != now.name && other.client_certificate.as_ref() == Some(pinned));
    let Some(other) = other else { return Ok(()) };
    let remedy = "make another one for this program; nothing was changed";
    Err(Problem::new(
        409,
        "certificate-taken",
        "The certificate is another's",
        format!("{} has it", other.name),
        remedy,
    ))
}

/// Set a person's password, as it is to be kept; `None`: they have none from now on. Sessions that the old one opened end.
pub async fn set_password(
    inner: &Inner,
    actor: &Actor,
    name: &str,
    phc: Option<String>,
) -> Result<PersonView, Problem> {
    let mut tx = inner.journal.begin().await?;
    let Some(known) = db::person::get(tx.conn(), name).await? else { return Err(unknown(name)) };
    if known.role == Role::Automation && phc.is_some() {
        let detail = format!("{name} is a program, and a program signs in nowhere");
        let remedy = "give it a token: `groundstate person token`";
        return Err(Problem::new(409, "no-password", "A program has no password", detail, remedy));
    }
    if known.origin != Origin::Here && phc.is_some() {
        let detail =
            format!("{name} comes from the site's {}, and their password is there", known.origin.as_str());
        let remedy = "change it there; for scripts they have a token: `groundstate person token`";
        return Err(Problem::new(409, "no-password", "Their password is not kept here", detail, remedy));
    }
    let at = tx.at;
    let (had, set) = (known.password.is_some(), phc.is_some());
    let now = Person { password: phc, password_set: set.then_some(at), ..known };
    db::person::put(tx.conn(), &now).await?;
    let facts = json!({ "person": name, "had_one": had, "has_one": set });
    tx.note(Fact::new("order.person-password", &actor.name, facts)).await?;
    tx.commit().await?;
    Ok(view(now, None))
}

/// 409 `admin-exists`.
pub async fn no_admin_yet(conn: &mut db::Conn) -> Result<(), Problem> {
    let Some(admin) = db::person::admin(conn).await? else { return Ok(()) };
    let detail = format!("{} is admin here: the set-up is over", admin.name);
    let remedy = "ask an admin to add you (`groundstate person add`)";
    Err(Problem::new(409, "admin-exists", "There is an admin", detail, remedy))
}

/// What stands against this name for a new person.
pub async fn free_name(inner: &Inner, name: &str) -> Result<(), Problem> {
    check_name(name)?;
    let known = db::person::get(&mut *inner.journal.db.read().await?, name).await?;
    known.map_or(Ok(()), |_| Err(exists(name)))
}

/// The first admin, with their password as it is to be kept. Nobody sees their token: they order one when they need one.
pub async fn first_admin(inner: &Inner, name: &str, phc: String) -> Result<(), Problem> {
    check_name(name)?;
    let mut tx = inner.journal.begin().await?;
    no_admin_yet(tx.conn()).await?;
    if db::person::get(tx.conn(), name).await?.is_some() {
        return Err(exists(name));
    }
    let person = Person {
        password: Some(phc),
        password_set: Some(tx.at),
        ..Person::new(name.to_owned(), Role::Admin, keys::secret_hash(&token()?), tx.at)
    };
    db::person::put(tx.conn(), &person).await?;
    let facts = json!({ "person": name, "role": Role::Admin, "by": "set-up code" });
    tx.note(Fact::new("order.person-add", "appliance", facts)).await?;
    Ok(tx.commit().await?)
}

pub fn unknown(name: &str) -> Problem {
    let detail = format!("nobody is called {name}");
    let remedy = "look for the name with `groundstate person list`";
    Problem::new(404, "unknown-person", "This person is not on record", detail, remedy)
}

pub fn exists(name: &str) -> Problem {
    let detail = format!("{name} is on record already; a name is never given to another");
    let remedy = "change them with `groundstate person set`, or choose another name";
    Problem::new(409, "person-exists", "This person is on record", detail, remedy)
}

/// Somebody was here. Not in evidence: what they did is.
pub async fn used(inner: &Inner, name: &str) -> Result<(), Problem> {
    let mut tx = inner.journal.begin().await?;
    let at = tx.at;
    db::person::used(tx.conn(), name, at).await?;
    Ok(tx.commit().await?)
}

pub fn view(person: Person, token: Option<String>) -> PersonView {
    let certificate_sha256 = certificate::of(&person).map(|der| keys::spki_sha256(&der));
    PersonView {
        person: person.name,
        role: person.role,
        disabled: person.disabled,
        scope: person.scope,
        networks: person.networks,
        added_unix_ms: person.added,
        token_id: person.token_id,
        token_unix_ms: person.token_made,
        token_ends_unix_ms: person.token_ends,
        used_unix_ms: person.used,
        password_unix_ms: person.password_set,
        certificate_sha256,
        has_badge: person.badge_sha256.is_some(),
        pin_wrong: person.pin_wrong,
        origin: person.origin,
        token,
    }
}

/// A new token: `gs_<id>_<secret>`. By its id, which is no secret and is kept, one that was lost is found.
pub fn token() -> Result<String, Problem> {
    let id = hex::encode(keys::random::<4>()?);
    Ok(format!("{TOKEN_PREFIX}{id}_{}", keys::secret()?))
}

/// The id within a token; `None` of one that was made before they had one.
pub fn token_id(token: &str) -> Option<String> {
    let (id, _) = token.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    Some(id.to_owned())
}

fn ends(at: u64, days: Option<u32>) -> Result<Option<u64>, Problem> {
    match days {
        Some(days) if days == 0 || days > DAYS_MOST => {
            let detail = format!("a token cannot be valid for {days} days");
            let remedy = format!("say 1 to {DAYS_MOST} days, or none");
            Err(Problem::new(422, "bad-validity", "This token cannot be made", detail, remedy))
        }
        days => Ok(days.map(|days| at.saturating_add(u64::from(days) * DAY_MS))),
    }
}

/// An admin gives roles and scopes: one who is bound by a scope could give themselves another.
fn fit_scope(role: Role, scope: Option<Selector>) -> Result<Option<Selector>, Problem> {
    if role != Role::Admin || scope.is_none() {
        return Ok(scope);
    }
    let remedy = "choose another role, or no scope";
    let detail = "an admin gives scopes to others, and so to themselves";
    Err(Problem::new(422, "bad-scope", "An admin has no scope", detail, remedy))
}

/// Each as it is kept: without what lies inside the network's own bits.
fn fit_networks(networks: Vec<String>) -> Result<Vec<String>, Problem> {
    if networks.len() > NETWORKS_MOST {
        let remedy = format!("name {NETWORKS_MOST} at most; nothing was put on record");
        return Err(Problem::new(422, "bad-network", "These are too many networks", "", remedy));
    }
    let fit = |text: String| {
        let net: Option<IpNet> =
            text.trim().parse().ok().or_else(|| text.trim().parse::<IpAddr>().ok().map(IpNet::from));
        net.map(|net: IpNet| net.trunc().to_string()).ok_or_else(|| {
            let remedy = "write it like `10.7.0.0/24` or `fd00::/8`; nothing was put on record";
            Problem::new(422, "bad-network", "This is no network", format!("`{text}`"), remedy)
        })
    };
    networks.into_iter().map(fit).collect()
}

pub fn check_name(name: &str) -> Result<(), Problem> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if !name.is_empty() && name.len() <= NAME_MOST && name.bytes().all(fits) && !TAKEN.contains(&name) {
        return Ok(());
    }
    let detail = format!("`{name}` cannot be a person's name here");
    let remedy = format!("write 1 to {NAME_MOST} of a-z, 0-9, `.`, `_`, `-`; not {}", TAKEN.join(", "));
    Err(Problem::new(422, "bad-name", "This name cannot be put on record", detail, remedy))
}
