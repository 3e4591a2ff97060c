//! Who is told what happens: how it stands with each, and a button that sends a test message.

use axum::{
    Extension,
    extract::{Path, State},
    response::{Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::notify::ChannelView;

use super::{
    Failed,
    may::Viewer,
    page::{Page, Tab, sentence},
    respond,
    texts::Texts,
    words::{Tone, badge, moment},
};
use crate::{
    api::{People, gate::Who},
    service::Actor,
};

const TEST: &str = "/notifications/{channel}/test";

/// The page.
pub async fn page(State(people): State<People>, Extension(who): Extension<Who>) -> Result<Response, Failed> {
    let channels = people.service.channels().await?;
    let mut viewer = Viewer::of(&who);
    viewer.against(&[TEST], people.service.may_order_all(&who.actor()));
    let title = Texts::here().notifications();
    let content = list(&channels, &viewer);
    let page = Page { site: people.service.site(), title: &title, tab: Tab::Plans, live: None, content };
    Ok(respond(axum::http::StatusCode::OK, page.render()))
}

/// A test message; the page shows what came of it.
pub async fn test(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(channel): Path<String>,
) -> Result<Redirect, Failed> {
    people.service.test_channel(&actor, &channel).await?;
    Ok(Redirect::to("/notifications"))
}

/// On every page, while a channel does not take what it is told.
#[must_use]
pub fn banner(channels: &[ChannelView]) -> Markup {
    let t = Texts::here();
    let failing: Vec<&str> =
        channels.iter().filter(|view| !view.failure.is_empty()).map(|view| view.name.as_str()).collect();
    html! {
        @if !failing.is_empty() {
            p class="card attention" role="status" {
                (t.notifications_failing(failing.join(", "))) " " a href="/notifications" { (t.notifications_look()) }
            }
        }
    }
}

fn list(channels: &[ChannelView], viewer: &Viewer) -> Markup {
    let t = Texts::here();
    html! {
        h1 { (t.notifications()) }
        p { (t.notifications_intro()) }
        @if channels.is_empty() {
            p class="summary" { (t.notifications_none()) }
            pre { code { "[notify.channels.duty]\nkind = \"email\"\nserver = \"mail.plant\"\nfrom = \"groundstate@plant.example\"\nto = [\"duty@plant.example\"]\n\n[[notify.rules]]\nevents = [\"held\", \"failed\", \"alarm\"]\nchannels = [\"duty\"]" } }
        }
        @for (at, view) in channels.iter().enumerate() { (card(view, at, viewer, t)) }
    }
}

fn card(view: &ChannelView, at: usize, viewer: &Viewer, t: Texts) -> Markup {
    let (tone, word) = match (view.failure.is_empty(), view.delivered_unix_ms) {
        (false, _) => (Tone::Attention, t.notifications_fails()),
        (true, None) => (Tone::Quiet, t.notifications_untried()),
        (true, Some(_)) => (Tone::Good, t.notifications_works()),
    };
    let never = || html! { (t.notifications_never()) };
    let when = |at: Option<u64>| at.map_or_else(never, |at| html! { (moment(at)) });
    html! {
        section class={ "card " (tone.class()) } {
            div class="card-head" { h2 { (view.name) } (badge(tone, &word)) }
            @if !view.failure.is_empty() { p { (sentence(&view.failure)) } }
            dl class="figures" {
                dt { (t.notifications_kind()) } dd { (view.kind) @if view.evidence { " · " (t.notifications_evidence()) } }
                dt { (t.notifications_to()) } dd { (view.to) }
                dt { (t.notifications_delivered()) } dd { (when(view.delivered_unix_ms)) }
                dt { (t.notifications_failed_at()) } dd { (when(view.failed_unix_ms)) }
                dt { (t.notifications_waiting()) } dd { (view.waiting) @if let Some(oldest) = view.oldest_unix_ms { " · " (t.notifications_since()) " " (moment(oldest)) } }
                @if view.dead > 0 { dt { (t.notifications_dead()) } dd { (view.dead) " · " (sentence(&view.last_dead)) } }
            }
            div class="actions" {
                form method="post" action={ "/notifications/" (view.name) "/test" } {
                    (viewer.plain(TEST, "", &format!("test-{at}"), t.notifications_test()))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use recovery_protocol::people::Role;

    use super::*;

    #[test]
    fn a_channel_that_fails_says_why_and_who_may_not_test_it_is_told() {
        let failing = ChannelView {
            name: "duty".to_owned(),
            kind: "email".to_owned(),
            failure: "mail.plant:587: connection refused".to_owned(),
            waiting: 3,
            oldest_unix_ms: Some(1_764_417_600_123),
            ..ChannelView::default()
        };
        let page = list(std::slice::from_ref(&failing), &Viewer::role(Role::Engineer)).into_string();
        assert!(
            page.contains("mail.plant:587: connection refused.")
                && page.contains("action=\"/notifications/duty/test\""),
            "{page}"
        );
        assert!(!page.contains("disabled"), "{page}");
        let page = list(std::slice::from_ref(&failing), &Viewer::role(Role::Auditor)).into_string();
        assert!(page.contains("disabled") && page.contains("auditor"), "{page}");
        assert!(banner(std::slice::from_ref(&failing)).into_string().contains("duty"));
        let well = ChannelView { failure: String::new(), ..failing };
        assert_eq!(banner(&[well]).into_string(), "");
    }
}
