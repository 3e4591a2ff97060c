//! What a person reads, by language. A file writes a plain text, which is English, or one text per language.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de};

/// A text by language code. `en` is always there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(BTreeMap<String, String>);

impl Text {
    /// The English text.
    #[must_use]
    pub fn en(&self) -> &str {
        self.0.get("en").map_or("", String::as_str)
    }

    /// The text in a language, or in English where it has none.
    #[must_use]
    pub fn in_language(&self, language: &str) -> &str {
        self.0.get(language).map_or_else(|| self.en(), String::as_str)
    }

    /// It is written in that language.
    #[must_use]
    pub fn speaks(&self, language: &str) -> bool {
        self.0.contains_key(language)
    }
}

impl From<&str> for Text {
    fn from(english: &str) -> Self {
        Self(BTreeMap::from([("en".to_owned(), english.to_owned())]))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.en())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Plain(String),
            Each(BTreeMap<String, String>),
        }
        let wrong = || de::Error::custom("write a text, or one text per language such as {en: …, de: …}");
        match Written::deserialize(deserializer).map_err(|_| wrong())? {
            Written::Plain(english) => Ok(Self::from(english.as_str())),
            Written::Each(each) if each.contains_key("en") => Ok(Self(each)),
            Written::Each(_) => Err(de::Error::custom("the English text is missing: add `en`")),
        }
    }
}
