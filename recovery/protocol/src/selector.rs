//! Selectors: which endpoints are meant, by what is on record of them. One grammar for API, command line and configuration.
//!
//! ```text
//! selector = term *( "," term )                      every term must hold
//! term     = key                                     it has one
//!          / "!" key                                 it has none
//!          / key ( "=" / "==" / "!=" ) value         `!=` holds also where it has none
//!          / key ( "in" / "notin" ) "(" value *( "," value ) ")"
//! key      = 1*63( letter / digit / "-" / "_" / "." ), beginning and ending with a letter or digit; value likewise
//! ```
//!
//! Blanks may stand between them. The meaning is that of Kubernetes' label selectors, which people know; the empty one, which
//! would mean everything, is refused here: a forgotten variable in a script must not select a plant.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest selector in bytes.
const TEXT_MOST: usize = 2048;
/// Terms of a selector, at most.
const TERMS_MOST: usize = 32;
/// Values of a term, at most.
const VALUES_MOST: usize = 64;
/// Longest key or value in bytes.
const WORD_MOST: usize = 63;
/// Labels of an endpoint, at most.
const LABELS_MOST: usize = 32;

/// Keys that a selector asks of the record itself, so no label has one of these names.
pub const RECORD_KEYS: [&str; 7] =
    ["blueprint", "group", "kind", "name", "redundancy", "safety-class", "state"];
/// The place of an endpoint, from the largest to the smallest: labels like any other, shown first.
pub const PLACE_KEYS: [&str; 3] = ["site", "line", "cell"];
/// Words of the grammar.
const GRAMMAR: [&str; 2] = ["in", "notin"];

/// Why a text is no selector, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "column {column}: {why}; write it as `line=3,role!=hmi`, `key in (a,b)`, `key notin (a,b)`, `key` or `!key`"
)]
pub struct SelectorError {
    /// The character, from 1; one past the end where something is missing.
    pub column: usize,
    /// What is wrong there.
    pub why: String,
}

/// Why labels are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Not a key or value.
    #[error(
        "`{text}` is no {what} of a label; use 1 to {WORD_MOST} letters, digits, `-`, `_`, `.`, a letter or digit at both ends"
    )]
    Word {
        /// `key` or `value`.
        what: &'static str,
        /// What was given.
        text: String,
    },
    /// A key that means something else.
    #[error(
        "`{0}` is no label: it is asked of the record itself, or a word of the grammar; give the label another key"
    )]
    Taken(String),
    /// Not `key=value`.
    #[error("`{0}` is no label; write it as key=value")]
    Pair(String),
    /// Too many.
    #[error("more than {LABELS_MOST} labels; an endpoint has at most so many")]
    TooMany,
}

/// Whether a text can be a value of a label, and so be asked for by a selector.
#[must_use]
pub fn is_word(text: &str) -> bool {
    let end = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let bytes = text.as_bytes();
    text.len() <= WORD_MOST
        && bytes.iter().all(|c| is_inner(*c))
        && end(bytes.first().copied())
        && end(bytes.last().copied())
}

fn is_inner(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')
}

/// The labels of an endpoint: keys and values that a person gave it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Keys and values: the place first, then by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let place = PLACE_KEYS.into_iter().filter_map(|key| Some((key, self.get(key)?)));
        let rest = self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        place.chain(rest.filter(|(key, _)| !PLACE_KEYS.contains(key)))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with some set and some (`None`) taken away.
    ///
    /// # Errors
    /// [`LabelError`] names the first that cannot be.
    pub fn with(&self, changes: &BTreeMap<String, Option<String>>) -> Result<Self, LabelError> {
        let mut labels = self.0.clone();
        for (key, value) in changes {
            match value {
                Some(value) => labels.insert(key.clone(), value.clone()),
                None => labels.remove(key),
            };
        }
        labels.try_into()
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = LabelError;

    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, LabelError> {
        if labels.len() > LABELS_MOST {
            return Err(LabelError::TooMany);
        }
        for (key, value) in &labels {
            for (what, text) in [("key", key), ("value", value)] {
                if !is_word(text) {
                    return Err(LabelError::Word { what, text: text.clone() });
                }
            }
            if RECORD_KEYS.contains(&key.as_str()) || GRAMMAR.contains(&key.as_str()) {
                return Err(LabelError::Taken(key.clone()));
            }
        }
        Ok(Self(labels))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

/// `line=3,cell=press`: as in a table, and read back by [`FromStr`].
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.iter().map(|(key, value)| format!("{key}={value}")).collect();
        f.write_str(&pairs.join(","))
    }
}

/// Pairs with `,` or blanks between them; the last value of a key counts.
impl FromStr for Labels {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let pairs = text.split([',', ' ']).filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').ok_or_else(|| LabelError::Pair(pair.to_owned()))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        pairs.map(pair).collect::<Result<BTreeMap<_, _>, LabelError>>()?.try_into()
    }
}

/// Which endpoints are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    key: String,
    asks: Asks,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Asks {
    Has,
    HasNot,
    Is(String),
    IsNot(String),
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    /// Whether an endpoint is meant. `facts` gives the value of a key: one of [`RECORD_KEYS`], or a label.
    pub fn matches<'a>(&self, facts: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|term| {
            let value = facts(&term.key);
            match &term.asks {
                Asks::Has => value.is_some(),
                Asks::HasNot => value.is_none(),
                Asks::Is(wanted) => value == Some(wanted),
                Asks::IsNot(other) => value != Some(other),
                Asks::In(wanted) => value.is_some_and(|value| wanted.iter().any(|one| one == value)),
                Asks::NotIn(others) => value.is_none_or(|value| others.iter().all(|one| one != value)),
            }
        })
    }
}

impl Selector {
    /// As the value of `selector` in the query of a URL (RFC 3986 §2.1).
    #[must_use]
    pub fn in_query(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
        let encoded = |c: char| if plain(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) };
        // A selector is ASCII.
        format!("selector={}", self.to_string().chars().map(encoded).collect::<String>())
    }
}

/// As the grammar has it, without blanks that need not be.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Term { key, asks }) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "," })?;
            match asks {
                Asks::Has => write!(f, "{key}"),
                Asks::HasNot => write!(f, "!{key}"),
                Asks::Is(value) => write!(f, "{key}={value}"),
                Asks::IsNot(value) => write!(f, "{key}!={value}"),
                Asks::In(values) => write!(f, "{key} in ({})", values.join(",")),
                Asks::NotIn(values) => write!(f, "{key} notin ({})", values.join(",")),
            }?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;

    fn try_from(text: String) -> Result<Self, SelectorError> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.len() > TEXT_MOST {
            let why = format!("the selector has more than {TEXT_MOST} bytes");
            return Err(SelectorError { column: 1, why });
        }
        let mut reader = Reader { text, at: 0 };
        let mut terms = vec![reader.term()?];
        while reader.takes(",") {
            if terms.len() >= TERMS_MOST {
                return reader.wrong(format!("there are more than {TERMS_MOST} terms"));
            }
            terms.push(reader.term()?);
        }
        if reader.rest().is_empty() {
            Ok(Self(terms))
        } else {
            reader.expected("`,` and another term, or the end")
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Bytes; always at a character's beginning.
    at: usize,
}

impl<'a> Reader<'a> {
    /// What is left, without leading blanks.
    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start_matches([' ', '\t']);
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn takes(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        self.at += if is_next { token.len() } else { 0 };
        is_next
    }

    fn wrong<T>(&mut self, why: String) -> Result<T, SelectorError> {
        Err(SelectorError { column: 1 + self.text[..self.at].chars().count(), why })
    }

    fn expected<T>(&mut self, what: &str) -> Result<T, SelectorError> {
        let found =
            self.rest().chars().next().map_or("the end".to_owned(), |c| format!("`{}`", c.escape_debug()));
        self.wrong(format!("{found} stands where {what} is expected"))
    }

    /// The bytes of a word that are next; may be none.
    fn word_len(&mut self) -> usize {
        self.rest().bytes().take_while(|c| is_inner(*c)).count()
    }

    fn word(&mut self, what: &str) -> Result<String, SelectorError> {
        let len = self.word_len();
        if len == 0 {
            return self.expected(what);
        }
        let word = &self.text[self.at..self.at + len];
        if !is_word(word) {
            let why = "a word has at most 63 characters, and a letter or digit at both ends";
            return self.wrong(why.to_owned());
        }
        self.at += len;
        Ok(word.to_owned())
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        if !self.takes("(") {
            return self.expected("`(`");
        }
        let mut values = vec![self.word("a value")?];
        while self.takes(",") {
            if values.len() >= VALUES_MOST {
                return self.wrong(format!("there are more than {VALUES_MOST} values"));
            }
            values.push(self.word("a value")?);
        }
        if self.takes(")") { Ok(values) } else { self.expected("`,` or `)`") }
    }

    fn term(&mut self) -> Result<Term, SelectorError> {
        if self.takes("!") {
            return Ok(Term { key: self.word("a key")?, asks: Asks::HasNot });
        }
        let key = self.word("a key")?;
        let asks = if self.takes("!=") {
            Asks::IsNot(self.word("a value")?)
        } else if self.takes("==") || self.takes("=") {
            Asks::Is(self.word("a value")?)
        } else {
            match self.word_len() {
                0 => Asks::Has,
                len => {
                    let word = &self.text[self.at..self.at + len];
                    match word {
                        "in" => {
                            self.at += len;
                            Asks::In(self.values()?)
                        }
                        "notin" => {
                            self.at += len;
                            Asks::NotIn(self.values()?)
                        }
                        _ => {
                            return self.wrong(format!(
                                "`{word}` stands where `=`, `!=`, `in` or `notin` is expected"
                            ));
                        }
                    }
                }
            }
        };
        Ok(Term { key, asks })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

    use super::*;

    fn labels(text: &str) -> Labels {
        text.parse().unwrap()
    }

    fn meant(selector: &str, of: &str) -> bool {
        let of = labels(of);
        selector.parse::<Selector>().unwrap().matches(|key| of.get(key))
    }

    #[test]
    fn each_form_means_what_people_expect_of_it() {
        let hmi = "line=3,role=hmi,cell=press";
        for (selector, is) in [
            ("line=3", true),
            ("line==3", true),
            ("line=4", false),
            ("line=3,role!=hmi", false),
            ("line=3,role!=historian", true),
            ("colour!=red", true),
            ("line in (2,3)", true),
            (" line  in ( 2 , 3 ) , cell ", true),
            ("line in (2)", false),
            ("colour in (red)", false),
            ("line notin (2,4)", true),
            ("line notin (3)", false),
            ("colour notin (red)", true),
            ("cell", true),
            ("colour", false),
            ("!colour", true),
            ("! cell", false),
            ("line=3,cell=press,!colour", true),
        ] {
            assert_eq!(meant(selector, hmi), is, "{selector}");
        }
    }

    #[test]
    fn a_wrong_selector_names_its_column_and_the_remedy() {
        for (text, column, why) in [
            ("", 1, "the end stands where a key is expected"),
            ("   ", 4, "the end stands where a key is expected"),
            ("line=", 6, "the end stands where a value is expected"),
            ("line=3,", 8, "the end stands where a key is expected"),
            ("line=3,,a", 8, "`,` stands where a key is expected"),
            ("line in 3", 9, "`3` stands where `(` is expected"),
            ("line in (3", 11, "the end stands where `,` or `)` is expected"),
            ("line in ()", 10, "`)` stands where a value is expected"),
            ("line is 3", 6, "`is` stands where"),
            ("line=3;role=a", 7, "`;` stands where"),
            ("zelle=größe", 9, "`ö` stands where"),
            ("größe=3", 3, "`ö` stands where"),
            ("-a", 1, "a letter or digit at both ends"),
            ("a<3", 2, "`<` stands where"),
            ("!a=3", 3, "`=` stands where"),
        ] {
            let error = text.parse::<Selector>().unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.why.contains(why), "{text}: {error}");
            assert!(error.to_string().contains("line=3,role!=hmi"));
        }
        let many = |what: &str, n: usize| vec![what; n].join(",");
        assert!(many("a", TERMS_MOST).parse::<Selector>().is_ok());
        assert!(many("a", TERMS_MOST + 1).parse::<Selector>().is_err());
        assert!(format!("a in ({})", many("b", VALUES_MOST)).parse::<Selector>().is_ok());
        assert!(format!("a in ({})", many("b", VALUES_MOST + 1)).parse::<Selector>().is_err());
        assert!("a".repeat(WORD_MOST).parse::<Selector>().is_ok());
        assert!("a".repeat(WORD_MOST + 1).parse::<Selector>().is_err());
        assert!(" ".repeat(TEXT_MOST + 1).parse::<Selector>().is_err());
    }

    #[test]
    fn labels_have_limits_and_never_the_name_of_a_fact() {
        assert_eq!(labels("role=hmi,cell=b,line=3,site=a").to_string(), "site=a,line=3,cell=b,role=hmi");
        assert_eq!(labels("a=1 b=2"), labels("b=2,a=1"));
        for (bad, why) in [
            ("kind=hmi", "asked of the record"),
            ("in=1", "word of the grammar"),
            ("a", "key=value"),
            ("a=", "no value"),
            ("=a", "no key"),
            ("a=b=c", "no value"),
            ("a=-", "no value"),
            ("ä=1", "no key"),
        ] {
            let error = bad.parse::<Labels>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let many: BTreeMap<_, _> = (0..=LABELS_MOST).map(|n| (format!("k{n}"), "v".to_owned())).collect();
        assert_eq!(Labels::try_from(many), Err(LabelError::TooMany));
        let changes = [("a".to_owned(), None), ("b".to_owned(), Some("2".to_owned()))].into();
        assert_eq!(labels("a=1,c=3").with(&changes).unwrap(), labels("b=2,c=3"));
    }

    fn word() -> impl Strategy<Value = String> {
        "[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?"
    }

    fn term() -> impl Strategy<Value = Term> {
        let values = || prop::collection::vec(word(), 1..4);
        let asks = prop_oneof![
            proptest::strategy::Just(Asks::Has),
            proptest::strategy::Just(Asks::HasNot),
            word().prop_map(Asks::Is),
            word().prop_map(Asks::IsNot),
            values().prop_map(Asks::In),
            values().prop_map(Asks::NotIn),
        ];
        (word(), asks).prop_map(|(key, asks)| Term { key, asks })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(terms in prop::collection::vec(term(), 1..6)) {
            let selector = Selector(terms);
            assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }

        #[test]
        fn any_text_is_read_or_refused_at_a_place_in_it(text in "[a-c=!,() in\\PC]{0,40}") {
            match text.parse::<Selector>() {
                Ok(selector) => assert_eq!(selector.to_string().parse(), Ok(selector)),
                Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}"),
            }
        }

        #[test]
        fn a_term_and_its_opposite_never_agree(value in prop::option::of("[ab]"), same in any::<bool>()) {
            let facts = |_: &str| value.as_deref();
            let word = if same { "a" } else { "b" };
            for (one, other) in [
                ("k".to_owned(), "!k".to_owned()),
                (format!("k={word}"), format!("k!={word}")),
                (format!("k in (z,{word})"), format!("k notin (z,{word})")),
            ] {
                let says = |text: &str| text.parse::<Selector>().unwrap().matches(facts);
                assert_ne!(says(&one), says(&other), "{one}");
            }
        }
    }
}
