//! What the console says, in the reader's language. The messages are Fluent files in `console/texts/<language>`; the build makes a function of each
//! (`build.rs`), and fails when a language lacks one. Codes are the same in every language.
//!
//! The language belongs to the request, as its time of day does: [`speak`] finds it once (cookie, then `Accept-Language`), [`Texts::here`] gives it
//! wherever a page is made. Outside of a request it is English.

use std::{borrow::Cow, sync::LazyLock};

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

/// The cookie that holds a person's choice.
pub const COOKIE: &str = "groundstate-language";

/// For tests of pages alone: each word longer by two fifths, in brackets; the same from right to left. Nobody is offered them, the cookie sets them.
const LONG: &str = "en-XA";
const MIRRORED: &str = "ar-XB";

tokio::task_local! {
    static HERE: Texts;
}

struct Language {
    name: &'static str,
    /// What it calls itself.
    own_name: &'static str,
    bundle: FluentBundle<FluentResource>,
}

/// The messages of one language.
#[derive(Clone, Copy)]
pub struct Texts(&'static Language);

static LANGUAGES: LazyLock<Vec<Language>> = LazyLock::new(|| {
    let mut all: Vec<Language> = SOURCES.iter().map(|(name, source)| Language::new(name, source)).collect();
    all.push(Language::new(LONG, SOURCES[0].1));
    all.push(Language::new(MIRRORED, SOURCES[0].1));
    all
});

impl Language {
    fn new(name: &'static str, source: &str) -> Self {
        let id: LanguageIdentifier = name.parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![id]);
        // The marks of isolation matter where directions mix; elsewhere they would stand in the way of whoever searches or copies a page.
        bundle.set_use_isolating(name == MIRRORED);
        match name {
            LONG => bundle.set_transform(Some(lengthened)),
            MIRRORED => bundle.set_transform(Some(mirrored)),
            _ => {}
        }
        // The build parsed each of them; what it refused never comes here.
        let resource = FluentResource::try_new(source.to_owned()).unwrap_or_else(|(resource, _)| resource);
        bundle.add_resource_overriding(resource);
        let own_name = match name {
            "de" => "Deutsch",
            "fr" => "Français",
            "es" => "Español",
            "zh" => "中文",
            _ => "English",
        };
        Self { name, own_name, bundle }
    }
}

impl Texts {
    /// The language of the request that is being answered; English outside of one.
    #[must_use]
    pub fn here() -> Self {
        HERE.try_with(|texts| *texts).unwrap_or_else(|_| Self(&LANGUAGES[0]))
    }

    /// Whether it is the language in which the record itself is written.
    #[must_use]
    pub fn is_the_records(self) -> bool {
        self.0.name == SOURCES[0].0
    }

    /// What is made while `work` runs is in this language.
    pub async fn while_here<T>(self, work: impl Future<Output = T>) -> T {
        HERE.scope(self, work).await
    }

    /// The language of this name, as BCP 47 writes it; a region is passed over (`de-AT` is `de`).
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let exact = LANGUAGES.iter().find(|language| language.name.eq_ignore_ascii_case(name));
        let short = name.split('-').next().unwrap_or_default();
        exact
            .or_else(|| LANGUAGES.iter().find(|language| language.name.eq_ignore_ascii_case(short)))
            .map(Self)
    }

    /// The languages that people may choose: name and what it calls itself.
    pub fn offered() -> impl Iterator<Item = (&'static str, &'static str)> {
        LANGUAGES.iter().take(SOURCES.len()).map(|language| (language.name, language.own_name))
    }

    /// For `lang` of the page.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// For `dir` of the page.
    #[must_use]
    pub fn direction(self) -> &'static str {
        if self.0.name == MIRRORED { "rtl" } else { "ltr" }
    }

    /// The codes that have a sentence of their own for what happened; what stands as `.` or `_` in a code is `-` here.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        let id = |line: &'static str| line.strip_prefix("code-")?.split_once("-what =").map(|(code, _)| code);
        SOURCES[0].1.lines().filter_map(id)
    }

    /// The message `code-<code>-<what>`; `None` where no language has a text of its own for it, and the English of the record stands.
    #[must_use]
    pub fn by_code<const N: usize>(
        self,
        code: &str,
        what: &str,
        values: [(&'static str, FluentValue<'_>); N],
    ) -> Option<String> {
        let id = format!("code-{}-{what}", code.replace(['.', '_'], "-"));
        self.0.bundle.has_message(&id).then(|| self.say(&id, values))
    }

    fn say<const N: usize>(self, id: &str, values: [(&'static str, FluentValue<'_>); N]) -> String {
        let pattern = self.0.bundle.get_message(id).and_then(|message| message.value());
        // The build made this call from the message itself.
        let Some(pattern) = pattern else { return id.to_owned() };
        let values: FluentArgs<'_> = values.into_iter().collect();
        let mut wrong = Vec::new();
        let said = self.0.bundle.format_pattern(pattern, Some(&values), &mut wrong);
        if !wrong.is_empty() {
            tracing::warn!(
                message = id,
                language = self.0.name,
                ?wrong,
                "a text of the console is not whole"
            );
        }
        said.into_owned()
    }
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "Texts({})", self.0.name)
    }
}

/// Answers the request in its language.
pub async fn speak(request: Request, next: Next) -> Response {
    let texts = chosen(request.headers()).unwrap_or(Texts(&LANGUAGES[0]));
    HERE.scope(texts, next.run(request)).await
}

/// What the cookie says; without one the first of `Accept-Language` that we have (RFC 9110 section 12.5.4).
fn chosen(headers: &HeaderMap) -> Option<Texts> {
    let text = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let cookie = text(header::COOKIE)
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .and_then(|(_, value)| Texts::of(value));
    cookie.or_else(|| {
        let mut wanted: Vec<(f32, &str)> = text(header::ACCEPT_LANGUAGE)
            .flat_map(|list| list.split(','))
            .map(|one| {
                let (name, weight) = one.split_once(';').unwrap_or((one, "q=1"));
                let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(0.0);
                (weight, name.trim())
            })
            .filter(|(weight, _)| *weight > 0.0)
            .collect();
        wanted.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        // The two for tests are asked for by name alone.
        wanted
            .into_iter()
            .filter(|(_, name)| ![LONG, MIRRORED].contains(name))
            .find_map(|(_, name)| Texts::of(name))
    })
}

/// Two fifths longer, in brackets, so that what does not grow with its text shows.
fn lengthened(text: &str) -> Cow<'_, str> {
    let letters = text.chars().filter(|letter| letter.is_alphabetic()).count();
    if letters == 0 {
        return Cow::Borrowed(text);
    }
    let accented: String = text
        .chars()
        .map(|letter| match letter {
            'a' => 'á',
            'e' => 'ê',
            'i' => 'î',
            'o' => 'ö',
            'u' => 'ü',
            other => other,
        })
        .collect();
    Cow::Owned(format!("[{accented}{}]", " ~~~~".repeat((letters * 2).div_ceil(25))))
}

/// From right to left: between the marks that turn the direction of letters (U+202E, U+202C).
fn mirrored(text: &str) -> Cow<'_, str> {
    if text.trim().is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("\u{202e}{text}\u{202c}")) }
}

include!(concat!(env!("OUT_DIR"), "/texts.rs"));

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(headers: &[(header::HeaderName, &str)]) -> Option<&'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        chosen(&map).map(Texts::name)
    }

    #[test]
    fn the_cookie_comes_before_the_browser_and_the_browser_before_english() {
        let accept = header::ACCEPT_LANGUAGE;
        assert_eq!(of(&[(accept.clone(), "pl, fr-CH;q=0.9, en;q=0.8")]), Some("fr"));
        assert_eq!(of(&[(accept.clone(), "en;q=0.1, de-AT")]), Some("de"));
        assert_eq!(of(&[(accept.clone(), "de;q=0, pl, *;q=nonsense, ar-XB")]), None);
        let cookies = (header::COOKIE, "a=b; groundstate-language=zh");
        assert_eq!(of(&[(accept.clone(), "de"), cookies]), Some("zh"));
        let junk = (header::COOKIE, "groundstate-language=\"><script>");
        assert_eq!(of(&[(accept, "es"), junk]), Some("es"));
    }

    #[tokio::test]
    async fn a_page_made_within_a_request_speaks_its_language() {
        assert_eq!(Texts::here().tab_drills(), "Drills");
        let german = Texts::of("de-DE").unwrap();
        let said = HERE.scope(german, async { Texts::here().tab_drills() }).await;
        assert_eq!((said.as_str(), german.direction()), ("Übungen", "ltr"));
    }

    #[test]
    fn the_languages_for_tests_are_long_and_mirrored_and_offered_to_nobody() {
        let long = Texts::of(LONG).unwrap().skip_to_content();
        assert!(long.starts_with('[') && long.chars().count() * 5 >= "Skip to content".len() * 7, "{long}");
        let mirrored = Texts::of(MIRRORED).unwrap();
        assert!(mirrored.skip_to_content().contains('\u{202e}') && mirrored.direction() == "rtl");
        assert_eq!(
            Texts::offered().map(|(name, _)| name).collect::<Vec<_>>(),
            ["en", "de", "fr", "es", "zh"]
        );
    }
}
