//! Table `person`: who may in.

use recovery_protocol::{
    people::{Origin, Role},
    selector::{Selector, SelectorError},
};

use super::{Conn, DbError, Row, num, num_opt, parse, query, sql};

/// One person or program. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name that stands in evidence.
    pub name: String,
    /// What they may.
    pub role: Role,
    /// They may not in.
    pub disabled: bool,
    /// About whom they may order something.
    pub scope: Option<Selector>,
    /// From where their token counts; empty: from anywhere.
    pub networks: Vec<String>,
    /// Since when on record.
    pub added: u64,
    /// SHA-256 of their token, lower-case hex.
    pub token_sha256: String,
    /// The part of it that is no secret; `None` for one that was made before there was one.
    pub token_id: Option<String>,
    /// When it was made.
    pub token_made: u64,
    /// When it ends.
    pub token_ends: Option<u64>,
    /// When it was last used, within an hour.
    pub used: Option<u64>,
    /// Their password as Argon2id's PHC text.
    pub password: Option<String>,
    /// When it was set.
    pub password_set: Option<u64>,
    /// The client certificate that is theirs: DER, base64.
    pub client_certificate: Option<String>,
    /// SHA-256 of their badge's number, lower-case hex.
    pub badge_sha256: Option<String>,
    /// The PIN that belongs to it, as Argon2id's PHC text.
    pub pin: Option<String>,
    /// Wrong PINs in a row.
    pub pin_wrong: u64,
    /// Who says who they are.
    pub origin: Origin,
    /// Whom the OpenID provider means by that: its name, and its own word for them; or whom the directory means: their entry's DN.
    pub subject: Option<String>,
    /// Until when they count, where somebody else says who they are.
    pub believed_until: Option<u64>,
}

impl Person {
    /// Somebody who comes on record at that time with this token (its SHA-256) and nothing else to show.
    pub fn new(name: String, role: Role, token_sha256: String, at: u64) -> Self {
        Self {
            name,
            role,
            disabled: false,
            scope: None,
            networks: Vec::new(),
            added: at,
            token_sha256,
            token_id: None,
            token_made: at,
            token_ends: None,
            used: None,
            password: None,
            password_set: None,
            client_certificate: None,
            badge_sha256: None,
            pin: None,
            pin_wrong: 0,
            origin: Origin::Here,
            subject: None,
            believed_until: None,
        }
    }
}

fn of(row: &Row) -> Result<Person, DbError> {
    let role: String = row.try_get("role")?;
    let origin: String = row.try_get("origin")?;
    let scope: Option<String> = row.try_get("scope")?;
    let scope = scope
        .map(|text| text.parse().map_err(|error: SelectorError| damaged(&error.to_string())))
        .transpose()?;
    let networks: String = row.try_get("networks")?;
    Ok(Person {
        name: row.try_get("name")?,
        role: parse("role", &format!("\"{role}\""))?,
        disabled: num(row, "disabled")? != 0,
        scope,
        networks: networks.split(',').filter(|network| !network.is_empty()).map(str::to_owned).collect(),
        added: num(row, "added")?,
        token_sha256: row.try_get("token_sha256")?,
        token_id: row.try_get("token_id")?,
        token_made: num(row, "token_made")?,
        token_ends: num_opt(row, "token_ends")?,
        used: num_opt(row, "used")?,
        password: row.try_get("password")?,
        password_set: num_opt(row, "password_set")?,
        client_certificate: row.try_get("client_certificate")?,
        badge_sha256: row.try_get("badge_sha256")?,
        pin: row.try_get("pin")?,
        pin_wrong: num(row, "pin_wrong")?,
        origin: parse("origin", &format!("\"{origin}\""))?,
        subject: row.try_get("subject")?,
        believed_until: num_opt(row, "believed_until")?,
    })
}

fn damaged(why: &str) -> DbError {
    DbError::Damaged { what: "scope", why: why.to_owned() }
}

/// Everybody, by name.
pub async fn all(conn: &mut Conn) -> Result<Vec<Person>, DbError> {
    let rows = query("SELECT * FROM person ORDER BY name").fetch_all(conn).await?;
    rows.iter().map(of).collect()
}

/// An admin who may in: the first by name.
pub async fn admin(conn: &mut Conn) -> Result<Option<Person>, DbError> {
    let row = query("SELECT * FROM person WHERE role = $1 AND disabled = 0 ORDER BY name LIMIT 1")
        .bind(Role::Admin.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(of).transpose()
}

/// One person.
pub async fn get(conn: &mut Conn, name: &str) -> Result<Option<Person>, DbError> {
    let row = query("SELECT * FROM person WHERE name = $1").bind(name).fetch_optional(conn).await?;
    row.as_ref().map(of).transpose()
}

/// Whom an OpenID provider or a directory means.
pub async fn of_subject(conn: &mut Conn, subject: &str) -> Result<Option<Person>, DbError> {
    let row = query("SELECT * FROM person WHERE subject = $1").bind(subject).fetch_optional(conn).await?;
    row.as_ref().map(of).transpose()
}

/// Write a person.
pub async fn put(conn: &mut Conn, person: &Person) -> Result<(), DbError> {
    query(
        "INSERT INTO person (name, role, disabled, added, token_sha256, token_made, token_ends, used, scope, networks, \
         password, password_set, client_certificate, badge_sha256, pin, pin_wrong, origin, subject, believed_until, token_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) ON CONFLICT (name) DO UPDATE \
         SET role = $2, disabled = $3, token_sha256 = $5, token_made = $6, token_ends = $7, used = $8, scope = $9, \
         networks = $10, password = $11, password_set = $12, client_certificate = $13, badge_sha256 = $14, pin = $15, \
         pin_wrong = $16, subject = $18, believed_until = $19, token_id = $20",
    )
    .bind(&person.name)
    .bind(person.role.as_str())
    .bind(i64::from(person.disabled))
    .bind(sql(person.added))
    .bind(&person.token_sha256)
    .bind(sql(person.token_made))
    .bind(person.token_ends.map(sql))
    .bind(person.used.map(sql))
    .bind(person.scope.as_ref().map(ToString::to_string))
    .bind(person.networks.join(","))
    .bind(&person.password)
    .bind(person.password_set.map(sql))
    .bind(&person.client_certificate)
    .bind(&person.badge_sha256)
    .bind(&person.pin)
    .bind(sql(person.pin_wrong))
    .bind(person.origin.as_str())
    .bind(&person.subject)
    .bind(person.believed_until.map(sql))
    .bind(&person.token_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Note that a person was here.
pub async fn used(conn: &mut Conn, name: &str, at: u64) -> Result<(), DbError> {
    query("UPDATE person SET used = $2 WHERE name = $1").bind(name).bind(sql(at)).execute(conn).await?;
    Ok(())
}
