//! A search filter (RFC 4515) out of the configuration, with places for a name and a DN. Those are put in as bytes, after the text was read:
//! whatever stands in them, the question stays the one that the site wrote.
//!
//! It must never: put text of somebody's into a text that is still to be read.

use super::wire::{element, octets};

const DEPTH_MOST: u8 = 8;

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Present(String),
    Equal(String, Vec<Part>),
    /// `attribute:rule:=value`: with the rule of Active Directory for groups in groups.
    Matches(String, String, Vec<Part>),
}

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Bytes(Vec<u8>),
    Name,
    Dn,
}

impl Filter {
    /// Read a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut left = text.trim();
        let filter = one(&mut left, 0)?;
        if left.is_empty() { Ok(filter) } else { Err(format!("goes on after its end: `{left}`")) }
    }

    /// Whether it asks for somebody.
    pub fn asks_for(&self, wanted: &Part) -> bool {
        match self {
            Self::All(of) | Self::Any(of) => of.iter().any(|filter| filter.asks_for(wanted)),
            Self::Not(of) => of.asks_for(wanted),
            Self::Present(_) => false,
            Self::Equal(_, parts) | Self::Matches(_, _, parts) => parts.contains(wanted),
        }
    }

    /// As BER, of this person (RFC 4511 section 4.5.1.7).
    pub fn of(&self, name: &str, dn: &str) -> Vec<u8> {
        let many = |of: &[Self]| of.iter().flat_map(|filter| filter.of(name, dn)).collect::<Vec<u8>>();
        let value = |parts: &[Part]| {
            let bytes = parts.iter().flat_map(|part| match part {
                Part::Bytes(bytes) => bytes.as_slice(),
                Part::Name => name.as_bytes(),
                Part::Dn => dn.as_bytes(),
            });
            bytes.copied().collect::<Vec<u8>>()
        };
        match self {
            Self::All(of) => element(0xa0, &many(of)),
            Self::Any(of) => element(0xa1, &many(of)),
            Self::Not(of) => element(0xa2, &of.of(name, dn)),
            Self::Present(attribute) => element(0x87, attribute.as_bytes()),
            Self::Equal(attribute, parts) => {
                element(0xa3, &[octets(attribute.as_bytes()), octets(&value(parts))].concat())
            }
            Self::Matches(attribute, rule, parts) => {
                let parts = [
                    element(0x81, rule.as_bytes()),
                    element(0x82, attribute.as_bytes()),
                    element(0x83, &value(parts)),
                ];
                element(0xa9, &parts.concat())
            }
        }
    }
}

fn one(left: &mut &str, depth: u8) -> Result<Filter, String> {
    if depth > DEPTH_MOST {
        return Err("is too deep".to_owned());
    }
    *left = left.strip_prefix('(').ok_or_else(|| format!("has no `(` before `{left}`"))?;
    let filter = match left.chars().next() {
        Some(sign @ ('&' | '|')) => {
            *left = &left[1..];
            let mut of = Vec::new();
            while left.starts_with('(') {
                of.push(one(left, depth + 1)?);
            }
            if of.is_empty() {
                return Err(format!("has nothing after `{sign}`"));
            }
            if sign == '&' { Filter::All(of) } else { Filter::Any(of) }
        }
        Some('!') => {
            *left = &left[1..];
            Filter::Not(Box::new(one(left, depth + 1)?))
        }
        _ => {
            let end = left.find(')').ok_or("has no `)` at its end")?;
            let item = item(&left[..end])?;
            *left = &left[end..];
            item
        }
    };
    *left = left.strip_prefix(')').ok_or_else(|| format!("has no `)` before `{left}`"))?;
    Ok(filter)
}

fn item(text: &str) -> Result<Filter, String> {
    let (attribute, value) = text.split_once('=').ok_or_else(|| format!("compares nothing: `{text}`"))?;
    let word = |text: &str| {
        let fits =
            !text.is_empty() && text.chars().all(|sign| sign.is_ascii_alphanumeric() || "-;.".contains(sign));
        if fits { Ok(text.to_owned()) } else { Err(format!("names no attribute with `{text}`")) }
    };
    if let Some(matched) = attribute.strip_suffix(':') {
        let (attribute, rule) = matched.split_once(':').ok_or_else(|| format!("names no rule: `{text}`"))?;
        return Ok(Filter::Matches(word(attribute)?, word(rule)?, parts(value)?));
    }
    let attribute = word(attribute)?;
    if value == "*" { Ok(Filter::Present(attribute)) } else { Ok(Filter::Equal(attribute, parts(value)?)) }
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut left) = (Vec::new(), text);
    let literal = |parts: &mut Vec<Part>, byte: &[u8]| match parts.last_mut() {
        Some(Part::Bytes(bytes)) => bytes.extend_from_slice(byte),
        _ => parts.push(Part::Bytes(byte.to_vec())),
    };
    while let Some(sign) = left.chars().next() {
        if let Some(rest) = left.strip_prefix("{name}") {
            (left, _) = (rest, parts.push(Part::Name));
        } else if let Some(rest) = left.strip_prefix("{dn}") {
            (left, _) = (rest, parts.push(Part::Dn));
        } else if let Some(rest) = left.strip_prefix('\\') {
            let byte = rest.get(..2).and_then(|digits| hex::decode(digits).ok());
            let byte = byte.ok_or_else(|| format!("has a `\\` without two digits in `{text}`"))?;
            literal(&mut parts, &byte);
            left = &rest[2..];
        } else if "*(".contains(sign) {
            return Err(format!("has a `{sign}` in a value, which is not read here: `{text}`"));
        } else {
            literal(&mut parts, &left.as_bytes()[..sign.len_utf8()]);
            left = &left[sign.len_utf8()..];
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_and_what_is_put_in_changes_nothing_of_it() {
        let filter = Filter::parse("(|(member={dn})(&(uid={name})(!(x=*))))").unwrap();
        let plain = filter.of("lena", "uid=lena");
        let evil = filter.of("*)(uid=*))(|(uid=*", "uid=*)(x");
        let uid = |value: &str| element(0xa3, &[octets(b"uid"), octets(value.as_bytes())].concat());
        let not = element(0xa2, &element(0x87, b"x"));
        let all = |value: &str| element(0xa0, &[uid(value), not.clone()].concat());
        let member = |dn: &str| element(0xa3, &[octets(b"member"), octets(dn.as_bytes())].concat());
        assert_eq!(plain, element(0xa1, &[member("uid=lena"), all("lena")].concat()));
        assert_eq!(evil, element(0xa1, &[member("uid=*)(x"), all("*)(uid=*))(|(uid=*")].concat()));
    }

    #[test]
    fn groups_in_groups_are_asked_for_as_active_directory_wants_it() {
        let filter = Filter::parse("(member:1.2.840.113556.1.4.1941:={dn})").unwrap();
        assert!(filter.asks_for(&Part::Dn) && !filter.asks_for(&Part::Name));
        let parts =
            [element(0x81, b"1.2.840.113556.1.4.1941"), element(0x82, b"member"), element(0x83, b"cn=a")];
        assert_eq!(filter.of("a", "cn=a"), element(0xa9, &parts.concat()));
        let escaped = Filter::parse("(cn=a\\2ab {name}x)").unwrap();
        assert_eq!(escaped.of("n", ""), element(0xa3, &[octets(b"cn"), octets(b"a*b nx")].concat()));
    }

    #[test]
    fn what_is_no_filter_is_said() {
        for text in [
            "",
            "uid=a",
            "(uid=a",
            "(uid)",
            "(&)",
            "(uid=a*b)",
            "(=a)",
            "(a b=c)",
            "(a:=c)",
            "(a=b))",
            "(a=\\2)",
            "(a=(b))",
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
        let deep = format!("{}(a=b){}", "(!".repeat(9), ")".repeat(9));
        assert!(Filter::parse(&deep).is_err());
    }
}
