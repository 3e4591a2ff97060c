//! The frame of every page: head, site name, navigation, the live part, and the banner for a lost connection.

use maud::{DOCTYPE, Markup, html};

use recovery_protocol::{Problem, people::Permission};

use super::{
    may::leads_on,
    texts::Texts,
    words::{SLOTS, english},
};

/// Where a page stands in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// What waits for somebody.
    Home,
    /// Which machine? The start of whoever stands before one.
    Scan,
    /// Endpoints.
    Endpoints,
    /// What waits for a yes.
    Approvals,
    /// The boot network.
    Network,
    /// The appliance itself.
    Site,
    /// Drills.
    Drills,
    /// Jobs.
    Jobs,
    /// The evidence log.
    Evidence,
    /// Golden images.
    Images,
    /// People, their sessions, and kiosks.
    People,
    /// The plant as a picture.
    Map,
    /// Standing plans.
    Plans,
    /// None: login and errors.
    None,
}

impl Tab {
    /// What is looked at less often stands behind one more touch.
    fn is_in_the_drawer(self) -> bool {
        matches!(
            self,
            Self::Jobs
                | Self::Map
                | Self::Images
                | Self::Evidence
                | Self::People
                | Self::Network
                | Self::Plans
                | Self::Site
        )
    }
}

/// A whole page.
pub struct Page<'a> {
    /// The site's name.
    pub site: &'a str,
    /// The page's title.
    pub title: &'a str,
    /// Which tab is on.
    pub tab: Tab,
    /// Path of the page's live part; `None` for a page that never changes by itself.
    pub live: Option<&'a str>,
    /// The content.
    pub content: Markup,
}

impl Page<'_> {
    /// The HTML.
    #[must_use]
    pub fn render(&self) -> Markup {
        let t = Texts::here();
        html! {
            (DOCTYPE)
            html lang=(t.name()) dir=(t.direction()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · " (self.site) }
                    link rel="icon" href="/assets/mark.svg" type="image/svg+xml";
                    link rel="stylesheet" href="/assets/console.css";
                    @if self.live.is_some() { noscript { meta http-equiv="refresh" content="5"; } }
                    script type="module" src="/assets/console.js" {}
                }
                body {
                    a class="skip" href="#content" { (t.skip_to_content()) }
                    (self.top())
                    p id="lost" class="lost" role="status" hidden { (t.lost_connection()) " " span data-lost-at {} }
                    main id="content" data-live=[self.live]
                        data-hold-word=(t.hold_seconds(SLOTS[0])) data-started-word=(t.hold_started())
                        data-seconds=(t.duration_seconds(SLOTS[0])) data-minutes=(t.duration_minutes(SLOTS[0], SLOTS[1]))
                        data-hours=(t.duration_hours(SLOTS[0], SLOTS[1])) { (self.content) }
                    p class="quiet-live" id="said" role="status" aria-live="polite" {}
                    (languages(t))
                }
            }
        }
    }

    fn top(&self) -> Markup {
        let t = Texts::here();
        let tab = |tab, path, name: String| {
            html! { a href=(path) aria-current=[(self.tab == tab).then_some("page")] { (name) } }
        };
        html! {
            header class="top" {
                a class="site" href="/" { img src="/assets/mark.svg" alt="" width="28" height="28"; span { (self.site) } }
                @if self.tab != Tab::None {
                    nav aria-label=(t.main_navigation()) {
                        (tab(Tab::Home, "/", t.tab_home())) (tab(Tab::Scan, "/scan", t.scan_tab())) (tab(Tab::Endpoints, "/endpoints", t.tab_endpoints()))
                        (tab(Tab::Approvals, "/approvals", t.tab_approvals())) (tab(Tab::Drills, "/drills", t.tab_drills()))
                        details class="more" {
                            summary class=[self.tab.is_in_the_drawer().then_some("on")] { (t.tab_more()) }
                            div {
                                (tab(Tab::Jobs, "/jobs", t.tab_jobs())) (tab(Tab::Map, "/map", t.tab_map())) (tab(Tab::Images, "/images", t.tab_images()))
                                @if leads_on(Permission::Evidence) { (tab(Tab::Evidence, "/evidence", t.tab_evidence())) }
                                @if leads_on(Permission::People) { (tab(Tab::People, "/people", t.tab_people())) }
                                @else if leads_on(Permission::Kiosk) { (tab(Tab::People, "/kiosks", t.kiosks_title())) }
                                (tab(Tab::Network, "/network", t.tab_network())) (tab(Tab::Plans, "/plans", t.tab_plans()))
                                (tab(Tab::Site, "/site", t.tab_site()))
                            }
                        }
                    }
                    a class="button danger stop" href="/stop" { (t.stop_word()) }
                    a class="account" href="/account" { (t.account()) }
                    form class="out" method="post" action="/logout" { button class="link" { (t.sign_out()) } }
                }
            }
        }
    }
}

/// The languages, each under its own name; choosing one changes nothing but the words.
fn languages(t: Texts) -> Markup {
    html! {
        footer class="languages" {
            form method="post" action="/language" aria-label=(t.language()) {
                @for (name, own_name) in Texts::offered() {
                    button class="link" name="language" value=(name) lang=(name) aria-current=[(name == t.name()).then_some("true")] { (own_name) }
                }
            }
        }
    }
}

/// What happened and what now, as a card.
#[must_use]
pub fn problem_card(problem: &Problem) -> Markup {
    let t = Texts::here();
    html! {
        section class="card attention" {
            h1 { (problem_title(problem)) }
            (what_now(problem))
            p class="small" { (t.word_code()) " " code { (problem.code) } }
            p { a class="button" href="/endpoints" { (t.back_to_endpoints()) } }
        }
    }
}

/// A problem's title in the reader's language; the record's where no text of ours is.
#[must_use]
pub fn problem_title(problem: &Problem) -> Markup {
    match code_text(&problem.code, "what") {
        Some(what) => html! { (what.trim_end_matches(['.', '。'])) },
        None => english(&problem.title),
    }
}

/// Its detail and what to do now.
#[must_use]
pub fn what_now(problem: &Problem) -> Markup {
    let ours = code_text(&problem.code, "now");
    html! {
        @if ours.is_some() { p class="small" { (english(sentence(&problem.detail))) } }
        @else { p { (english(sentence(&problem.detail))) } }
        p class="now" {
            strong { (Texts::here().what_now()) " " }
            @match ours { Some(now) => { (now) } None => { (english(sentence(&problem.remedy))) } }
        }
    }
}

/// A text of ours for a code: `what` happened, what `now`. `None` where the record's own words serve: in its language, and where we have none.
#[must_use]
pub fn code_text(code: &str, what: &str) -> Option<String> {
    let t = Texts::here();
    if t.is_the_records() { None } else { t.by_code(code, what, []) }
}

/// First letter large, a full stop at the end. A name or a command that stands first (`operator:anna`, `press-01`) stays as it is.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    let is_name = |word: &str| {
        let word = word.trim_end_matches([':', ',', ';']);
        word.starts_with('`') || word.contains([':', '_']) || word.bytes().any(|byte| byte.is_ascii_digit())
    };
    let named = text.split(' ').next().is_some_and(is_name);
    if named { text.to_owned() + end } else { first.to_uppercase().chain(letters).collect::<String>() + end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_needs_an_exception_from_the_content_policy() {
        let content = html! { p { "<script>alert(1)</script>" } };
        let page =
            Page { site: "plant", title: "t", tab: Tab::Endpoints, live: Some("/?part=live"), content };
        let text = page.render().into_string();
        assert!(!text.contains("style=") && !text.contains("onclick") && !text.contains("<style"));
        assert_eq!(text.matches("<script").count(), 1);
        assert!(text.contains("&lt;script&gt;") && !text.contains("http://") && !text.contains("https://"));
    }

    #[test]
    fn sentences_begin_and_end() {
        assert_eq!(sentence("wait a minute"), "Wait a minute.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence("operator:anna began it"), "operator:anna began it.");
        assert_eq!(sentence("press-01 is not on record"), "press-01 is not on record.");
        assert_eq!(sentence("`x` is no state"), "`x` is no state.");
        assert_eq!(sentence("too-slow, it says"), "Too-slow, it says.");
        assert_eq!(sentence(""), "");
    }
}
