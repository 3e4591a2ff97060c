//! Lists page by page. A page ends with a cursor that says after what the next one begins, so that whoever comes or goes meanwhile
//! shifts nothing; the order is total, since names are unique.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use recovery_protocol::{
    Problem,
    operator::{EndpointState, EndpointView},
    selector::Selector,
};

use super::{Service, views};
use crate::db::{self, endpoint::Endpoint};

/// Entries of a page, at most.
pub const PAGE_MOST: usize = 500;

/// In which order endpoints are listed; names decide between equals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// Who needs a person first.
    #[default]
    Need,
    /// By name.
    Name,
    /// By the last sign of life, newest first.
    Seen,
    /// By the label `line`; those without one last.
    Line,
}

impl Sort {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Need, Self::Name, Self::Seen, Self::Line];

    /// As in an address.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Need => "need",
            Self::Name => "name",
            Self::Seen => "seen",
            Self::Line => "line",
        }
    }

    /// By its name; empty: the first.
    ///
    /// # Errors
    /// 400 `bad-sort`.
    pub fn of(text: &str) -> Result<Self, Problem> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        Self::ALL.into_iter().find(|sort| sort.as_str() == text).ok_or_else(|| {
            let (detail, remedy) = (format!("there is no order `{text}`"), "write need, name, seen or line");
            Problem::new(400, "bad-sort", "The order of the list cannot be understood", detail, remedy)
        })
    }

    fn key(self, endpoint: &Endpoint) -> String {
        let seen = u64::MAX - endpoint.seen.unwrap_or_default();
        let settled = endpoint.conflict.as_ref().is_none_or(|conflict| conflict.open.is_none());
        match self {
            Self::Need => format!("{}{}{seen:020}", u8::from(settled), urgency(endpoint.state)),
            Self::Name => String::new(),
            Self::Seen => format!("{seen:020}"),
            // `~` is behind every letter that a label may have.
            Self::Line => endpoint.record.labels.get("line").unwrap_or("~").to_owned(),
        }
    }
}

/// Lower is sooner.
fn urgency(state: EndpointState) -> u8 {
    match state {
        EndpointState::Held => 0,
        EndpointState::Suspect => 1,
        EndpointState::Recovering => 2,
        EndpointState::Discovered => 3,
        EndpointState::Known => 4,
        EndpointState::Trusted => 5,
    }
}

/// After what a page begins: opaque to whoever holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Vec<String>);

impl Cursor {
    /// As it is handed out.
    #[must_use]
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::json!(self.0).to_string())
    }

    /// What was handed out, of so many parts; empty: the first page.
    ///
    /// # Errors
    /// 400 `bad-cursor`.
    pub fn of(text: &str, parts: usize) -> Result<Option<Self>, Problem> {
        if text.is_empty() {
            return Ok(None);
        }
        let read = URL_SAFE_NO_PAD.decode(text).ok();
        let read: Option<Vec<String>> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        read.filter(|read| read.len() == parts).map(|read| Some(Self(read))).ok_or_else(|| {
            let detail = "it is none that a page of this list ended with";
            let remedy = "take it from the `Link` of the page before, or leave it out to begin again";
            Problem::new(400, "bad-cursor", "The cursor cannot be understood", detail, remedy)
        })
    }
}

/// How many entries a page has.
///
/// # Errors
/// 400 `bad-limit`.
pub fn limit(asked: Option<usize>, default: usize) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(default);
    if (1..=PAGE_MOST).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("a page has 1 to {PAGE_MOST} entries, and {limit} were asked for");
    Err(Problem::new(
        400,
        "bad-limit",
        "The page cannot be so long",
        detail,
        "ask for fewer, and go on with the cursor",
    ))
}

/// Which endpoints are asked for.
#[derive(Debug, Clone, Default)]
pub struct EndpointsAsk {
    /// Those that it means.
    pub selector: Option<Selector>,
    /// Words that each stand somewhere in name, labels, addresses, blueprint, group, kind or disk; in any case.
    pub q: String,
    /// The order.
    pub sort: Sort,
    /// Where the page begins, as the one before it ended.
    pub cursor: String,
    /// Entries of the page.
    pub limit: usize,
}

/// A page of endpoints.
#[derive(Debug, Clone)]
pub struct EndpointsPage {
    /// They.
    pub endpoints: Vec<EndpointView>,
    /// How many there are in all, on this page and others, by state as in JSON.
    pub states: BTreeMap<&'static str, usize>,
    /// Where the next page begins; none: this is the last.
    pub next: Option<String>,
}

impl EndpointsPage {
    /// How many there are in all.
    #[must_use]
    pub fn found(&self) -> usize {
        self.states.values().sum()
    }
}

/// As in JSON.
#[must_use]
pub fn state_name(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Discovered => "discovered",
        EndpointState::Known => "known",
        EndpointState::Trusted => "trusted",
        EndpointState::Suspect => "suspect",
        EndpointState::Recovering => "recovering",
        EndpointState::Held => "held",
    }
}

impl Service {
    /// A page of endpoints. Of the others only what orders and selects them is read. 400 `bad-cursor`.
    pub async fn endpoints_page(&self, ask: &EndpointsAsk) -> Result<EndpointsPage, Problem> {
        let after = Cursor::of(&ask.cursor, 2)?;
        let (config, words) = (&self.0.journal.config, words(&ask.q));
        let mut conn = self.0.journal.db.read().await?;
        let meant = |endpoint: &Endpoint| {
            let class = config.rails(&endpoint.record).safety_class;
            let selected =
                ask.selector.as_ref().is_none_or(|one| endpoint.is_meant(one, config.site.as_str(), class));
            selected && mentions(endpoint, &words)
        };
        let mut found: Vec<(String, Endpoint)> = db::endpoint::light(&mut conn)
            .await?
            .into_iter()
            .filter(meant)
            .map(|endpoint| (ask.sort.key(&endpoint), endpoint))
            .collect();
        let mut states = BTreeMap::new();
        for (_, endpoint) in &found {
            *states.entry(state_name(endpoint.state)).or_default() += 1;
        }
        found.sort_by(|(a, x), (b, y)| (a, &x.id).cmp(&(b, &y.id)));
        let place = |(key, endpoint): &(String, Endpoint)| vec![key.clone(), endpoint.id.to_string()];
        let from = after.map_or(0, |Cursor(after)| found.partition_point(|entry| place(entry) <= after));
        let to = (from + ask.limit).min(found.len());
        let next = (to < found.len()).then(|| Cursor(place(&found[to - 1])).text());
        let names: Vec<_> = found[from..to].iter().map(|(_, endpoint)| endpoint.id.clone()).collect();
        let mut whole = db::endpoint::named(&mut conn, &names).await?;
        whole.sort_by_key(|endpoint| names.iter().position(|name| *name == endpoint.id));
        Ok(EndpointsPage { endpoints: views::some_endpoints(&self.0, &mut conn, whole).await?, states, next })
    }
}

fn words(q: &str) -> Vec<String> {
    q.split_whitespace().map(str::to_lowercase).collect()
}

fn mentions(endpoint: &Endpoint, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let record = &endpoint.record;
    let mut text = format!("{} {} {} {}", endpoint.id, record.labels, record.blueprint, record.group);
    for mac in &record.macs {
        text.push_str(&format!(" {mac}"));
    }
    for part in [record.disk_serial.as_deref(), record.kind.map(|kind| kind.as_str())].into_iter().flatten() {
        text.push_str(&format!(" {part}"));
    }
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word.as_str()))
}
