//! The list of endpoints: filter, words, order and page stand in the address. No destructive control stands in a list.

use axum::{
    extract::{Query, State},
    response::Response,
};
use maud::{Markup, html};
use recovery_protocol::operator::EndpointState;
use serde::Deserialize;

use super::{
    super::{
        Failed, Part, endpoints, now_ms,
        page::Tab,
        texts::Texts,
        words::{badge, endpoint_state},
    },
    query::{Pages, link},
};
use crate::{
    api::{People, selector},
    service::list::{EndpointsAsk, EndpointsPage, Sort, limit, state_name},
};

/// Endpoints on a page.
const PAGE: usize = 100;

/// What is asked for, as it stands in the address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Ask {
    /// The live part alone, where it says so.
    pub part: String,
    /// Which endpoints it means.
    pub selector: String,
    /// Words.
    pub q: String,
    /// The order.
    pub sort: String,
    /// Where the page begins.
    pub cursor: String,
    /// Endpoints on it.
    pub limit: Option<usize>,
}

impl Ask {
    /// The address.
    #[must_use]
    pub fn path(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string()).unwrap_or_default();
        let asked = [
            ("selector", self.selector.trim()),
            ("q", self.q.trim()),
            ("sort", &self.sort),
            ("cursor", &self.cursor),
            ("limit", &limit),
            ("part", &self.part),
        ];
        link("/endpoints", &asked)
    }

    /// The same from its first page on.
    fn anew(&self) -> Self {
        Self { cursor: String::new(), part: String::new(), ..self.clone() }
    }
}

/// `GET /endpoints`.
pub async fn page(State(people): State<People>, Query(ask): Query<Ask>) -> Result<Response, Failed> {
    let text = ask.selector.trim();
    let wanted = EndpointsAsk {
        selector: if text.is_empty() { None } else { Some(selector(text)?) },
        q: ask.q.clone(),
        sort: Sort::of(&ask.sort)?,
        cursor: ask.cursor.clone(),
        limit: limit(ask.limit, PAGE)?,
    };
    let found = people.service.endpoints_page(&wanted).await?;
    let whole = Ask { part: String::new(), ..ask.clone() };
    let content = content(&whole, wanted.sort, &found, now_ms());
    let part = Part { part: Some(ask.part) };
    part.of(&people, Tab::Endpoints, &Texts::here().tab_endpoints(), &whole.path(), content).await
}

/// The page.
#[must_use]
pub fn content(ask: &Ask, sort: Sort, found: &EndpointsPage, now: u64) -> Markup {
    let t = Texts::here();
    html! {
        div class="list" data-now=(now) {
            h1 { (t.tab_endpoints()) }
            (find(ask, sort))
            (counts(ask, found))
            @if found.endpoints.is_empty() {
                p { (t.none_meant()) " " a href="/endpoints" { (t.show_all()) } }
            } @else { ul class="rows" { @for view in &found.endpoints { li { (endpoints::row(view, now)) } } } }
            (Pages {
                first: (!ask.cursor.is_empty()).then(|| ask.anew().path()),
                next: found.next.as_ref().map(|next| Ask { cursor: next.clone(), ..ask.clone() }.path()),
            })
        }
    }
}

fn find(ask: &Ask, sort: Sort) -> Markup {
    let t = Texts::here();
    let word = |sort: Sort| match sort {
        Sort::Need => t.list_sort_need(),
        Sort::Name => t.list_sort_name(),
        Sort::Seen => t.list_sort_seen(),
        Sort::Line => t.list_sort_line(),
    };
    html! {
        form class="ask" method="get" action="/endpoints" role="search" {
            div { label for="q" { (t.list_words()) }
                input id="q" name="q" type="search" maxlength="200" autocomplete="off" value=(ask.q); }
            div { label for="selector" { (t.list_selector()) }
                input id="selector" class="typed" name="selector" maxlength="2000" autocomplete="off" spellcheck="false"
                    placeholder="line=3,kind!=historian" value=(ask.selector); }
            div { label for="sort" { (t.list_sort()) }
                select id="sort" name="sort" {
                    @for one in Sort::ALL { option value=(one.as_str()) selected[one == sort] { (word(one)) } }
                } }
            button { (t.list_show()) }
        }
    }
}

/// How many of them are in each state; each number leads to its own list.
fn counts(ask: &Ask, found: &EndpointsPage) -> Markup {
    use EndpointState as S;
    let t = Texts::here();
    let only = |name: &str| {
        let selector = ask.selector.trim();
        let both =
            if selector.is_empty() { format!("state={name}") } else { format!("{selector},state={name}") };
        Ask { selector: both, ..ask.anew() }.path()
    };
    html! {
        ul class="states" aria-label=(t.home_states()) {
            @for state in [S::Held, S::Suspect, S::Recovering, S::Trusted, S::Known, S::Discovered] {
                @let name = state_name(state);
                @if let Some(count) = found.states.get(name) {
                    @let (tone, word) = endpoint_state(state);
                    li { a href=(only(name)) { (badge(tone, format!("{count} {word}"))) } }
                }
            }
            li { (t.list_found(found.found())) }
            @if !ask.selector.trim().is_empty() || !ask.q.trim().is_empty() { li { a href="/endpoints" { (t.show_all()) } } }
        }
    }
}
