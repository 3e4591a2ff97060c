//! `POST /language`: the reader's choice, in a cookie that says nothing else about them. Open: the sign-in page is read, too.

use axum::{
    Form,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::texts::{COOKIE, Texts};

/// A year, in seconds.
const KEPT_S: u32 = 365 * 24 * 3600;

#[derive(Deserialize)]
pub struct Choice {
    language: String,
}

/// Back to the page from which it was chosen; the first page where the browser does not say, or the language is none of ours.
pub async fn choose(headers: HeaderMap, Form(choice): Form<Choice>) -> Response {
    let mut response = Redirect::to(&back(&headers)).into_response();
    if let Some(texts) = Texts::of(&choice.language) {
        let cookie =
            format!("{COOKIE}={}; Path=/; Max-Age={KEPT_S}; Secure; HttpOnly; SameSite=Lax", texts.name());
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// Path and query of the page that sent the form; never another host's.
fn back(headers: &HeaderMap) -> String {
    let from = headers.get(header::REFERER).and_then(|from| from.to_str().ok()?.parse::<Uri>().ok());
    let path = from.as_ref().and_then(Uri::path_and_query).map_or("/", |path| path.as_str());
    // `//host` would be another host.
    if path.starts_with('/') && !path.starts_with("//") && !path.contains('\\') {
        path.to_owned()
    } else {
        "/".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_choice_is_kept_and_leads_back_to_this_host_alone() {
        for (from, to) in [
            ("https://appliance:8443/endpoints?selector=line%3D3", "/endpoints?selector=line%3D3"),
            ("https://appliance//evil.example/", "/"),
            ("nonsense", "/"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::REFERER, HeaderValue::from_static(from));
            let answer = choose(headers, Form(Choice { language: "de".to_owned() })).await;
            assert_eq!(answer.headers()[header::LOCATION], to, "{from}");
            assert!(
                answer.headers()[header::SET_COOKIE]
                    .to_str()
                    .unwrap()
                    .starts_with("groundstate-language=de; ")
            );
        }
        let answer = choose(HeaderMap::new(), Form(Choice { language: "tlh".to_owned() })).await;
        assert!(answer.headers().get(header::SET_COOKIE).is_none());
    }
}
