//! Every key of the configuration, found by asking the types themselves, with what their docstrings say: `groundstate config reference`.
//!
//! ```text
//! Config ─► serde asks a reader for its fields ─► the reader writes each down, and answers with something that fits ─► and so on inside
//! ```
//!
//! So a key that is new stands in the reference, and a test fails while nobody has said what it means.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write as _},
};

use serde::{
    Deserialize,
    de::{
        self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
        VariantAccess, Visitor,
    },
};

use super::{Config, KeylimePlane, UmsPlane};
use crate::{
    forward::{syslog::Siem, webhook::HookOut},
    notify::{email::Email, mqtt::Mqtt},
};

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

/// Texts of which one fits wherever a text is wanted.
const TEXTS: &[&str] = &[
    "press-01",
    "line=3",
    "daily 22:00-05:00",
    "10.7.0.100",
    "fd00::1",
    "52:54:00:12:34:56",
    "10.7.0.0/24",
    "standard",
    "label:host",
    "/etc/hostname",
    "postgres://groundstate@db.plant/groundstate",
    "7.2",
];

/// Tables whose `kind` says what they are: one of them that fits. What each kind holds is asked for beside.
const KINDS: &[(&str, &str)] = &[
    ("Channel", r#"{"kind":"webhook","url":"https://a","secret_file":"a"}"#),
    (
        "Plane",
        r#"{"kind":"keylime","verifier":"https://a","registrar":"https://a","ca_file":"a","certificate_file":"a","key_file":"a"}"#,
    ),
];

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Dotted; `NAME` stands for a name that the site chooses, `[]` for one of a list.
    pub path: String,
    /// The type that has it, and its name there.
    of: (&'static str, &'static str),
    /// What is written there.
    pub what: String,
}

impl Key {
    /// What its docstring says; empty: nobody has said it.
    #[must_use]
    pub fn doc(&self) -> &'static str {
        DOCS.iter().find(|(of, field, _)| (*of, *field) == self.of).map_or("", |(.., doc)| doc)
    }
}

/// Every key, in the order of the types.
///
/// # Errors
/// Where no text of [`TEXTS`] fits: a sentence for whoever added the key.
pub fn all() -> Result<Vec<Key>, String> {
    let mut found = Found::default();
    found.ask::<Config>("")?;
    for key in [("database.url", "url"), ("database.password_file", "password_file")] {
        found.keys.push(Key { path: key.0.to_owned(), of: ("Database", key.1), what: "text".to_owned() });
    }
    found.ask::<KeylimePlane>("control_planes.NAME(keylime)")?;
    found.ask::<UmsPlane>("control_planes.NAME(igel_ums)")?;
    found.ask::<Email>("notify.channels.NAME(email)")?;
    found.ask::<HookOut>("notify.channels.NAME(webhook)")?;
    found.ask::<Siem>("notify.channels.NAME(syslog)")?;
    found.ask::<Mqtt>("notify.channels.NAME(mqtt)")?;
    Ok(found.keys)
}

/// The reference, as a commented file.
///
/// # Errors
/// As [`all`].
pub fn reference() -> Result<String, String> {
    let mut tables: BTreeMap<String, String> = BTreeMap::new();
    let keys = all()?;
    for key in &keys {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
        // A table is shown by its own keys, and said what it is at its head.
        let inside =
            |other: &Key| other.path.strip_prefix(&key.path).is_some_and(|rest| rest.starts_with(['.', '[']));
        let text = tables.entry(table.to_owned()).or_default();
        if keys.iter().any(inside) {
            let _ = write!(text, "\n# {name}: {}\n", key.doc());
        } else {
            let _ = write!(text, "\n# {}\n#{name} = {}\n", key.doc(), key.what);
        }
    }
    let mut text = "# Every key of groundstate.toml. What is left out has its default. `NAME` is a name of your choice; `[[…]]` may stand several times.\n".to_owned();
    for (table, keys) in tables {
        let _ = match table.as_str() {
            "" => Ok(()),
            table if table.ends_with("[]") => write!(text, "\n\n#[[{}]]\n", table.replace("[]", "")),
            table => match table.split_once('(') {
                Some((table, kind)) => {
                    write!(text, "\n\n#[{table}]\n#kind = \"{}\"\n", kind.trim_end_matches(')'))
                }
                None => write!(text, "\n\n#[{}]\n", table.replace("[]", "")),
            },
        };
        text += &keys;
    }
    Ok(text)
}

#[derive(Default)]
struct Found {
    keys: Vec<Key>,
    /// Which text was last given at a path that wants a certain one.
    texts: BTreeMap<String, usize>,
    /// Where a text was given last.
    last: String,
}

impl Found {
    fn ask<'de, T: Deserialize<'de>>(&mut self, at: &str) -> Result<(), String> {
        let before = self.keys.len();
        loop {
            self.keys.truncate(before);
            let Err(Unfit(why)) = T::deserialize(Reader { found: self, at: at.to_owned() }) else {
                return Ok(());
            };
            let next = self.texts.entry(self.last.clone()).or_default();
            *next += 1;
            if *next >= TEXTS.len() {
                return Err(format!("no text fits at `{}` ({why}): add one to TEXTS", self.last));
            }
        }
    }

    /// What is written at a path.
    fn what(&mut self, at: &str, what: impl Into<String>) {
        if let Some(key) = self.keys.iter_mut().rev().find(|key| key.path == at) {
            key.what = what.into();
        }
    }
}

/// A value that did not fit.
#[derive(Debug)]
struct Unfit(String);

impl Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl de::Error for Unfit {
    fn custom<T: Display>(why: T) -> Self {
        Self(why.to_string())
    }
}

struct Reader<'a> {
    found: &'a mut Found,
    at: String,
}

impl Reader<'_> {
    fn inside(&mut self, name: &str) -> Reader<'_> {
        let at = if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) };
        Reader { found: self.found, at }
    }

    fn text(&mut self) -> &'static str {
        self.found.what(&self.at, "text");
        self.found.last.clone_from(&self.at);
        TEXTS[self.found.texts.get(&self.at).copied().unwrap_or_default()]
    }
}

struct Expecting<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> Display for Expecting<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
            self.found.what(&self.at, "number");
            visitor.visit_u64(1)
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
            visitor.visit_str(self.text())
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Unfit;

    numbers!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64);
    texts!(deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier);

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unfit> {
        let wanted = Expecting(&visitor).to_string();
        let fits = KINDS.iter().find(|(name, _)| wanted == format!("internally tagged enum {name}"));
        let Some((_, sample)) = fits else { return visitor.visit_str(self.text()) };
        let sample: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(sample).map_err(de::Error::custom)?;
        self.found.what(&self.at, "table");
        let entries =
            sample.into_iter().map(|(key, value)| (key, value.as_str().unwrap_or_default().to_owned()));
        visitor.visit_map(de::value::MapDeserializer::new(entries))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.found.what(&self.at, "true or false");
        visitor.visit_bool(false)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let at = format!("{}[]", self.at);
        let value = visitor.visit_seq(Once(Some(Reader { found: &mut *self.found, at: at.clone() })));
        let inner = self.found.keys.iter().any(|key| key.path.starts_with(&format!("{at}.")));
        self.found.what(&self.at, if inner { "tables" } else { "[…]" });
        value
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.found.what(&self.at, "{ NAME = … }");
        visitor.visit_map(Entries { reader: self, fields: ["NAME"].iter(), now: "" })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.found.what(&self.at, "table");
        for field in fields {
            let path = if self.at.is_empty() { (*field).to_owned() } else { format!("{}.{field}", self.at) };
            self.found.keys.push(Key { path, of: (name, field), what: String::new() });
        }
        visitor.visit_map(Entries { reader: self, fields: fields.iter(), now: "" })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        let quoted: Vec<String> = variants.iter().map(|variant| format!("\"{variant}\"")).collect();
        self.found.what(&self.at, quoted.join(" or "));
        visitor.visit_enum(First(variants.first().copied().unwrap_or_default(), self))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }
}

struct Once<'a>(Option<Reader<'a>>);

impl<'de> SeqAccess<'de> for Once<'_> {
    type Error = Unfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unfit> {
        self.0.take().map(|reader| seed.deserialize(reader)).transpose()
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
    fields: std::slice::Iter<'static, &'static str>,
    now: &'static str,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Unfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unfit> {
        let Some(field) = self.fields.next().copied() else { return Ok(None) };
        self.now = field;
        if field == "NAME" {
            // What a name must be like, its type says.
            return seed.deserialize(self.reader.inside("NAME=")).map(Some);
        }
        seed.deserialize(field.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unfit> {
        seed.deserialize(self.reader.inside(self.now))
    }
}

struct First<'a>(&'static str, Reader<'a>);

impl<'de, 'a> EnumAccess<'de> for First<'a> {
    type Error = Unfit;
    type Variant = Inside<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Inside<'a>), Unfit> {
        let variant: de::value::StrDeserializer<'_, Unfit> = self.0.into_deserializer();
        Ok((seed.deserialize(variant)?, Inside(self.1)))
    }
}

struct Inside<'a>(Reader<'a>);

impl<'de> VariantAccess<'de> for Inside<'_> {
    type Error = Unfit;

    fn unit_variant(self) -> Result<(), Unfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unfit> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unfit> {
        self.0.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.0.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_types_stands_in_the_reference_with_what_it_means() {
        let keys = all().unwrap();
        assert!(keys.len() > 150, "{}", keys.len());
        let silent: Vec<&str> =
            keys.iter().filter(|key| key.doc().is_empty()).map(|key| key.path.as_str()).collect();
        assert!(silent.is_empty(), "nobody has said what these mean: {silent:?}");
        let text = reference().unwrap();
        for key in &keys {
            let (_, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
            let stands = text.contains(&format!("#{name} = ")) || text.contains(&format!("# {name}: "));
            assert!(stands, "{} is missing in\n{text}", key.path);
        }
        for line in [
            "#[notify.channels.NAME]",
            "#kind = \"mqtt\"",
            "#[[notify.rules]]",
            "#[listen]",
            "#https_boot_port = number",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is missing in\n{text}");
        }
    }
}
