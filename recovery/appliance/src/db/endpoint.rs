//! Tables `endpoint`, `endpoint_mac` and `endpoint_removed`.

use recovery_protocol::{
    EndpointId, MacAddr,
    agent::Inventory,
    operator::{Chain, ClaimView, EkCertificate, EndpointState, HardwareFact, Kind, Power},
    secure_boot::BootAge,
    selector::{Labels, Selector},
    settings::EndpointSettings,
};
use serde::{Deserialize, Serialize};

use crate::attest::Counted;

use super::{
    Conn, DbError, Row, id, json, json_opt, name, num, num_opt, query, sql,
    sql::{places, query_of},
    text,
};

/// What a person put on record of an endpoint. Empty but for the addresses while it is only discovered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Ethernet addresses.
    pub macs: Vec<MacAddr>,
    /// The blueprint's name.
    pub blueprint: String,
    /// The group's name.
    pub group: String,
    /// The boot chain its firmware needs.
    pub chain: Chain,
    /// Its disk's serial number, where more than one could be meant.
    pub disk_serial: Option<String>,
    /// May be the target of a drill.
    pub drill_safe: bool,
    /// How it is switched on and off.
    pub power: Power,
    /// What belongs to it and not to its image.
    #[serde(default)]
    pub settings: EndpointSettings,
    /// Its labels.
    #[serde(default)]
    pub labels: Labels,
    /// What it is for.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Its own safety class; see [`Config::rails`](crate::config::Config::rails).
    #[serde(default)]
    pub safety_class: u8,
    /// Those that can stand in for each other.
    #[serde(default)]
    pub redundancy: Option<String>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name.
    pub id: EndpointId,
    /// Where it stands.
    pub state: EndpointState,
    /// What a person put on record.
    pub record: Record,
    /// What it said of itself last.
    pub inventory: Option<Inventory>,
    /// What it is made of, by its own words.
    pub facts: Vec<HardwareFact>,
    /// Pinned EK: SHA-256 of its SPKI, lower-case hex.
    pub ek_sha256: Option<String>,
    /// What the maker's certificate of that key told at its last accepted proof.
    pub ek_certificate: Option<EkCertificate>,
    /// Firmware measurements on record: JSON of the verifier's own form.
    pub baseline: Option<serde_json::Value>,
    /// The pairing it shows, while a person must confirm it.
    pub pairing: Option<Pairing>,
    /// The last refusal it met.
    pub refusal: Option<String>,
    /// Last sign of life, milliseconds since 1970.
    pub seen: Option<u64>,
    /// The restored system's last accepted quote, milliseconds since 1970.
    pub proven: Option<u64>,
    /// Grows with each recovery.
    pub generation: u64,
    /// Grows with each change of the record.
    pub revision: u64,
    /// Who came with its address and is another one.
    pub conflict: Option<Conflict>,
    /// How old the chain is by which it boots, as that quote showed it.
    pub boot_age: Option<BootAge>,
    /// What its TPM counted in its last accepted quote.
    pub tpm_counted: Option<Counted>,
    /// Since when it is on the list, milliseconds since 1970: what is older belongs to one that had this name before.
    pub added: u64,
}

impl Endpoint {
    /// Whether a selector means it. `site`: where it is when no label says so; `safety_class`: the one that counts.
    #[must_use]
    pub fn is_meant(&self, selector: &Selector, site: &str, safety_class: u8) -> bool {
        let state = serde_json::to_value(self.state).ok();
        let class = safety_class.to_string();
        let known = |text: &'_ str| !text.is_empty();
        selector.matches(|key| match key {
            "name" => Some(self.id.as_str()),
            "state" => state.as_ref().and_then(|state| state.as_str()),
            "blueprint" => Some(self.record.blueprint.as_str()).filter(|text| known(text)),
            "group" => Some(self.record.group.as_str()).filter(|text| known(text)),
            "kind" => self.record.kind.map(Kind::as_str),
            "redundancy" => self.record.redundancy.as_deref(),
            "safety-class" => Some(class.as_str()),
            "site" => Some(self.record.labels.get("site").unwrap_or(site)),
            label => self.record.labels.get(label),
        })
    }

    /// One of which nothing is known yet but this.
    #[must_use]
    pub fn new(id: EndpointId, state: EndpointState, record: Record, at: u64) -> Self {
        Self {
            id,
            state,
            record,
            inventory: None,
            facts: Vec::new(),
            ek_sha256: None,
            ek_certificate: None,
            baseline: None,
            pairing: None,
            refusal: None,
            seen: None,
            proven: None,
            generation: 0,
            revision: 1,
            conflict: None,
            boot_age: None,
            tpm_counted: None,
            added: at,
        }
    }
}

/// A contradiction about who an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Conflict {
    /// The claim that a person must resolve.
    pub open: Option<ClaimView>,
    /// A name of that claim's identity.
    pub name: String,
    /// Names of those that a person dismissed: refused without a new conflict.
    pub dismissed: Vec<String>,
}

/// A pairing code on an endpoint's screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairing {
    /// Six digits.
    pub code: String,
    /// The session (hash) that shows it.
    pub session: String,
    /// Wrong codes typed so far.
    pub wrong: u32,
}

fn of(row: &Row) -> Result<Endpoint, DbError> {
    let state: String = row.try_get("state")?;
    Ok(Endpoint {
        id: id(row, "id")?,
        state: super::parse("state", &format!("\"{state}\""))?,
        record: json(row, "record")?,
        inventory: json_opt(row, "inventory")?,
        facts: json_opt(row, "facts")?.unwrap_or_default(),
        ek_sha256: row.try_get("ek_sha256")?,
        ek_certificate: json_opt(row, "ek_certificate")?,
        baseline: json_opt(row, "baseline")?,
        pairing: json_opt(row, "pairing")?,
        refusal: row.try_get("refusal")?,
        seen: num_opt(row, "seen")?,
        proven: num_opt(row, "proven")?,
        generation: num(row, "generation")?,
        revision: num(row, "revision")?,
        added: num(row, "added")?,
        conflict: json_opt(row, "conflict")?,
        boot_age: json_opt(row, "boot_age")?,
        tpm_counted: json_opt(row, "tpm_counted")?,
    })
}

/// All endpoints, by name.
pub async fn all(conn: &mut Conn) -> Result<Vec<Endpoint>, DbError> {
    let rows = query("SELECT * FROM endpoint ORDER BY id").fetch_all(conn).await?;
    rows.iter().map(of).collect()
}

/// All endpoints by name, without what they are made of and what proves it: what a list is filtered and ordered by.
pub async fn light(conn: &mut Conn) -> Result<Vec<Endpoint>, DbError> {
    let rows = query(
        "SELECT id, state, record, seen, proven, generation, revision, added, conflict, refusal, ek_sha256, NULL AS inventory, \
         NULL AS facts, NULL AS ek_certificate, NULL AS baseline, NULL AS pairing, NULL AS boot_age, NULL AS tpm_counted \
         FROM endpoint ORDER BY id",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(of).collect()
}

/// Those of these names that are on the list, in no order.
pub async fn named(conn: &mut Conn, names: &[EndpointId]) -> Result<Vec<Endpoint>, DbError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!("SELECT * FROM endpoint WHERE id IN ({})", places(names.len()));
    let query = names.iter().fold(query_of(text), |query, name| query.bind(name.as_str()));
    query.fetch_all(conn).await?.iter().map(of).collect()
}

/// One endpoint by name.
pub async fn get(conn: &mut Conn, endpoint: &EndpointId) -> Result<Option<Endpoint>, DbError> {
    let row =
        query("SELECT * FROM endpoint WHERE id = $1").bind(endpoint.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(of).transpose()
}

/// Endpoints whose name or record holds this text somewhere, whatever its case: few, of which the caller picks the right ones.
pub async fn mentioning(conn: &mut Conn, text: &str) -> Result<Vec<Endpoint>, DbError> {
    // `_` of a text stands for any character here; the caller looks again.
    let like = format!("%{}%", text.to_ascii_lowercase().replace(['%', '\\'], "_"));
    let rows = query("SELECT * FROM endpoint WHERE lower(id) LIKE $1 OR lower(record) LIKE $1 ORDER BY id")
        .bind(like)
        .fetch_all(conn)
        .await?;
    rows.iter().map(of).collect()
}

/// The endpoint that has one of these addresses.
pub async fn by_mac(conn: &mut Conn, macs: &[MacAddr]) -> Result<Option<Endpoint>, DbError> {
    for mac in macs {
        let row =
            query("SELECT e.* FROM endpoint e JOIN endpoint_mac m ON m.endpoint = e.id WHERE m.mac = $1")
                .bind(mac.to_string())
                .fetch_optional(&mut *conn)
                .await?;
        if let Some(row) = row {
            return of(&row).map(Some);
        }
    }
    Ok(None)
}

/// The endpoint whose pinned EK this is.
pub async fn by_ek(conn: &mut Conn, ek_sha256: &str) -> Result<Option<Endpoint>, DbError> {
    let row =
        query("SELECT * FROM endpoint WHERE ek_sha256 = $1").bind(ek_sha256).fetch_optional(conn).await?;
    row.as_ref().map(of).transpose()
}

/// Write an endpoint whole, and which addresses select it.
pub async fn put(conn: &mut Conn, e: &Endpoint) -> Result<(), DbError> {
    query(
        "INSERT INTO endpoint (id, state, record, inventory, ek_sha256, baseline, pairing, refusal, seen, proven, \
         generation, ek_certificate, revision, added, conflict, tpm_counted, boot_age, facts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) ON CONFLICT (id) DO UPDATE SET \
         state = $2, record = $3, inventory = $4, ek_sha256 = $5, baseline = $6, pairing = $7, refusal = $8, \
         seen = $9, proven = $10, generation = $11, ek_certificate = $12, revision = $13, added = $14, conflict = $15, \
         tpm_counted = $16, boot_age = $17, facts = $18",
    )
    .bind(e.id.as_str())
    .bind(name("state", &e.state)?)
    .bind(text("record", &e.record)?)
    .bind(e.inventory.as_ref().map(|i| text("inventory", i)).transpose()?)
    .bind(&e.ek_sha256)
    .bind(e.baseline.as_ref().map(|b| text("baseline", b)).transpose()?)
    .bind(e.pairing.as_ref().map(|p| text("pairing", p)).transpose()?)
    .bind(&e.refusal)
    .bind(e.seen.map(sql))
    .bind(e.proven.map(sql))
    .bind(sql(e.generation))
    .bind(e.ek_certificate.as_ref().map(|c| text("ek_certificate", c)).transpose()?)
    .bind(sql(e.revision))
    .bind(sql(e.added))
    .bind(e.conflict.as_ref().map(|c| text("conflict", c)).transpose()?)
    .bind(e.tpm_counted.as_ref().map(|c| text("tpm_counted", c)).transpose()?)
    .bind(e.boot_age.as_ref().map(|age| text("boot_age", age)).transpose()?)
    .bind(text("facts", &e.facts)?)
    .execute(&mut *conn)
    .await?;
    query("DELETE FROM endpoint_mac WHERE endpoint = $1").bind(e.id.as_str()).execute(&mut *conn).await?;
    for mac in &e.record.macs {
        query("INSERT INTO endpoint_mac (mac, endpoint) VALUES ($1, $2)")
            .bind(mac.to_string())
            .bind(e.id.as_str())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Let go of an endpoint's addresses, until it is written again in the same transaction.
pub async fn release(conn: &mut Conn, endpoint: &EndpointId) -> Result<(), DbError> {
    query("DELETE FROM endpoint_mac WHERE endpoint = $1").bind(endpoint.as_str()).execute(conn).await?;
    Ok(())
}

/// Take an endpoint off the list: one that was only discovered, or one of which [`bury`] kept what is to be kept.
pub async fn forget(conn: &mut Conn, endpoint: &EndpointId) -> Result<(), DbError> {
    for statement in [
        "DELETE FROM endpoint_mac WHERE endpoint = $1",
        "DELETE FROM session WHERE endpoint = $1",
        "DELETE FROM endpoint_photo WHERE endpoint = $1",
        "DELETE FROM endpoint WHERE id = $1",
    ] {
        query(statement).bind(endpoint.as_str()).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Keep what an endpoint was when it is removed. Its jobs, triggers and evidence name it and stay where they are.
pub async fn bury(conn: &mut Conn, e: &Endpoint, by: &str, at: u64) -> Result<(), DbError> {
    query(
        "INSERT INTO endpoint_removed (id, removed, removed_by, record, ek_sha256, generation, revision, added) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id, removed) DO NOTHING",
    )
    .bind(e.id.as_str())
    .bind(sql(at))
    .bind(by)
    .bind(text("record", &e.record)?)
    .bind(&e.ek_sha256)
    .bind(sql(e.generation))
    .bind(sql(e.revision))
    .bind(sql(e.added))
    .execute(conn)
    .await?;
    Ok(())
}

/// Note that somebody changed a record, and of which safety class the endpoint was before.
pub async fn edited(
    conn: &mut Conn,
    endpoint: &EndpointId,
    by: &str,
    class: u8,
    at: u64,
) -> Result<(), DbError> {
    query("INSERT INTO endpoint_edit (endpoint, at, edited_by, class_before) VALUES ($1, $2, $3, $4)")
        .bind(endpoint.as_str())
        .bind(sql(at))
        .bind(by)
        .bind(i64::from(class))
        .execute(conn)
        .await?;
    Ok(())
}

/// The highest safety class from which the endpoint was changed since then (milliseconds since 1970); 0: it was not.
pub async fn class_since(conn: &mut Conn, endpoint: &EndpointId, since: u64) -> Result<u8, DbError> {
    let row = query(
        "SELECT COALESCE(MAX(class_before), 0) AS class FROM endpoint_edit WHERE endpoint = $1 AND at >= $2",
    )
    .bind(endpoint.as_str())
    .bind(sql(since))
    .fetch_one(conn)
    .await?;
    Ok(u8::try_from(num(&row, "class")?).unwrap_or(u8::MAX))
}

/// Whether this person changed the record since then (milliseconds since 1970).
pub async fn edited_by(
    conn: &mut Conn,
    endpoint: &EndpointId,
    by: &str,
    since: u64,
) -> Result<bool, DbError> {
    let row =
        query("SELECT COUNT(*) AS n FROM endpoint_edit WHERE endpoint = $1 AND edited_by = $2 AND at >= $3")
            .bind(endpoint.as_str())
            .bind(by)
            .bind(sql(since))
            .fetch_one(conn)
            .await?;
    Ok(num(&row, "n")? > 0)
}

/// The last generation and revision of those that had this name before; zeros: nobody had it.
pub async fn last_of(conn: &mut Conn, endpoint: &EndpointId) -> Result<(u64, u64), DbError> {
    let row = query(
        "SELECT COALESCE(MAX(generation), 0) AS generation, COALESCE(MAX(revision), 0) AS revision \
         FROM endpoint_removed WHERE id = $1",
    )
    .bind(endpoint.as_str())
    .fetch_one(conn)
    .await?;
    Ok((num(&row, "generation")?, num(&row, "revision")?))
}

/// Endpoints with a conflict that nobody resolved, by name.
pub async fn in_conflict(conn: &mut Conn) -> Result<Vec<EndpointId>, DbError> {
    let rows = query("SELECT * FROM endpoint WHERE conflict IS NOT NULL ORDER BY id").fetch_all(conn).await?;
    let found: Vec<Endpoint> = rows.iter().map(of).collect::<Result<_, _>>()?;
    let open =
        |endpoint: &Endpoint| endpoint.conflict.as_ref().is_some_and(|conflict| conflict.open.is_some());
    Ok(found.into_iter().filter(open).map(|endpoint| endpoint.id).collect())
}

/// How many endpoints are in each state.
pub async fn count_by_state(conn: &mut Conn) -> Result<Vec<(String, u64)>, DbError> {
    let rows = query("SELECT state, COUNT(*) AS n FROM endpoint GROUP BY state ORDER BY state")
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("state")?, num(row, "n")?))).collect()
}
