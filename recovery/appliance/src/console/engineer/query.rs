//! Addresses of pages with what was asked for in them, so that a view can be sent to a colleague.

use maud::{Markup, Render, html};

use super::super::texts::Texts;

/// The links below a list: back to its first page, on to its next one; none where it is all on this page.
pub struct Pages {
    /// The first page's address, where this is another one.
    pub first: Option<String>,
    /// The next page's, where there is one.
    pub next: Option<String>,
}

impl Render for Pages {
    fn render(&self) -> Markup {
        let t = Texts::here();
        html! {
            @if self.first.is_some() || self.next.is_some() {
                nav class="pages" aria-label=(t.list_pages()) {
                    @if let Some(first) = &self.first { a class="button" href=(first) { (t.list_first()) } }
                    @if let Some(next) = &self.next { a class="button" rel="next" href=(next) { (t.list_next()) } }
                }
            }
        }
    }
}

/// `path?name=value&…`; what is empty is left out.
#[must_use]
pub fn link(path: &str, asked: &[(&str, &str)]) -> String {
    let pairs = asked.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

/// As a value in a query (RFC 3986 section 2.1).
fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_what_was_asked_and_nothing_that_was_not() {
        assert_eq!(link("/jobs", &[("state", ""), ("kind", "")]), "/jobs");
        let whole = link("/endpoints", &[("selector", "line=3,kind!=hmi"), ("q", ""), ("sort", "ä&\"")]);
        assert_eq!(whole, "/endpoints?selector=line%3D3%2Ckind%21%3Dhmi&sort=%C3%A4%26%22");
    }
}
