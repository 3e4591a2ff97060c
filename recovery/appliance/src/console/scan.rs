//! `/scan`: which machine? The field has the focus, so that a scanner that types leads on; a camera where the browser reads codes; and the list,
//! in rows that a glove hits.

use std::cmp::Reverse;

use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::{
    EndpointId,
    operator::{EndpointState, EndpointView},
};
use serde::Deserialize;

use super::{
    Failed, Part, endpoints,
    page::Tab,
    texts::Texts,
    words::{badge, endpoint_state},
};
use crate::api::People;

#[derive(Deserialize)]
pub struct Asked {
    code: Option<String>,
    part: Option<String>,
}

/// `GET /scan`, and what a scanner sent.
pub async fn page(State(people): State<People>, Query(asked): Query<Asked>) -> Result<Response, Failed> {
    let meant = asked.code.as_deref().map(endpoint_in);
    if let Some(Some(endpoint)) = &meant
        && people.service.endpoint(endpoint).await.is_ok()
    {
        return Ok(Redirect::to(&format!("/m/{endpoint}")).into_response());
    }
    let views = people.service.endpoints(None).await?;
    let content = content(&views, asked.code.as_deref());
    Part { part: asked.part }.of(&people, Tab::Scan, &Texts::here().scan_title(), "/scan", content).await
}

/// The endpoint that a code means: `https://appliance/m/<endpoint>`, or its bare name. Scanners may add spaces and write large letters.
fn endpoint_in(code: &str) -> Option<EndpointId> {
    let code = code.trim().to_ascii_lowercase();
    let name = code.rsplit_once("/m/").map_or(code.as_str(), |(_, name)| name);
    name.split(['?', '#', '/']).next()?.parse().ok()
}

fn content(views: &[EndpointView], tried: Option<&str>) -> Markup {
    let t = Texts::here();
    let mut known: Vec<_> = views.iter().filter(|view| view.state != EndpointState::Discovered).collect();
    known.sort_by_key(|view| {
        (endpoints::urgency(view.state), Reverse(view.seen_unix_ms), view.endpoint.clone())
    });
    html! {
        div class="scan" {
            h1 { (t.scan_title()) }
            p class="what" { (t.scan_how()) }
            @if let Some(tried) = tried {
                p class="refused" role="alert" { (t.scan_unreadable()) " " code { (tried.chars().take(80).collect::<String>()) } }
            }
            form class="scan-form" method="get" action="/scan" {
                label for="code" { (t.scan_field()) }
                input id="code" name="code" autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="300" required autofocus;
                div class="actions" {
                    button class="primary large" { (t.scan_open()) }
                    button class="large" type="button" id="camera" hidden data-stop-word=(t.scan_camera_stop())
                        data-refused-word=(t.scan_camera_refused()) { (t.scan_camera()) }
                }
                p class="small" id="camera-said" role="status" { (t.scan_no_camera()) }
                video id="viewfinder" hidden muted playsinline {}
            }
            h2 { (t.scan_list()) }
            @if known.is_empty() { p { (t.none_yet()) } }
            ul class="rows machines" { @for view in known { li { (row(view)) } } }
        }
    }
}

fn row(view: &EndpointView) -> Markup {
    let (tone, word) = endpoint_state(view.state);
    let name = view.endpoint.as_str();
    html! {
        a class={ "row machine " (tone.class()) } id={ "row-" (name) } href={ "/m/" (name) } {
            (picture(view, ""))
            span class="row-name" { (name) (line(view)) }
            (badge(tone, word))
        }
    }
}

/// The line at which it stands, by its label.
#[must_use]
pub fn line(view: &EndpointView) -> Markup {
    html! { @if let Some(line) = view.labels.get("line") { span class="small block" { (Texts::here().line_named(line)) } } }
}

/// Its picture, or a place where one would be. `label`: empty where the name stands beside it.
#[must_use]
pub fn picture(view: &EndpointView, label: &str) -> Markup {
    html! {
        @match &view.photo {
            Some(sha256) => {
                img class="photo" alt=(label) src={ "/endpoints/" (view.endpoint) "/photo?v=" (&sha256[..sha256.len().min(16)]) };
            }
            None => span class="photo none" aria-hidden="true" {
                svg viewBox="0 0 48 40" { path d="M4 4h40v26H4zM18 36h12M24 30v6" {} }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_address_of_a_machine_or_its_name() {
        let means = |code: &str| endpoint_in(code).map(|endpoint| endpoint.to_string());
        for code in [
            "press-01",
            " press-01\r\n",
            "PRESS-01",
            "https://appliance/m/press-01",
            "https://appliance:8444/m/press-01/",
            "https://appliance/m/press-01?x=1",
            "HTTPS://APPLIANCE/M/PRESS-01",
        ] {
            assert_eq!(means(code).as_deref(), Some("press-01"), "{code}");
        }
        for code in ["", "https://appliance/m/", "<script>", "press 01", "../press-01x/..", "/m//"] {
            assert_eq!(means(code), None, "{code}");
        }
    }
}
