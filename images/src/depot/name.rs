//! What lies where in a depot: each name says what the object holds, and has one spelling.

use std::fmt;
use std::str::FromStr;

use crate::keys::{ChannelStatement, Signed};
use crate::{Digest, ImageId, PackId};

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// A pack.
    Pack(PackId),
    /// The manifest of an image, without signatures.
    Manifest(ImageId),
    /// A signature of an image, by the digest of its bytes.
    Signature(ImageId, Digest),
    /// A list of packs of an image, by its digest.
    Packs(ImageId, Digest),
    /// A channel statement.
    Statement {
        /// Plain blake3 of the name of the images that it speaks of.
        about: Digest,
        /// Its epoch.
        epoch: u64,
        /// Plain blake3 of its bytes.
        digest: Digest,
    },
    /// What a collection is about to remove.
    Condemned {
        /// Since when, milliseconds since 1970 UTC.
        at_unix_ms: u64,
        /// Plain blake3 of its bytes.
        digest: Digest,
    },
}

impl Name {
    /// The name of a statement that is kept as these bytes; none for one about no channel.
    pub fn of_statement(signed: &Signed<ChannelStatement>, bytes: &[u8]) -> Option<Self> {
        let about = Digest::of(signed.body.about()?.0.as_bytes());
        Some(Self::Statement { about, epoch: signed.body.epoch, digest: Digest::of(bytes) })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pack(id) => write!(f, "packs/{:02x}/{id}.pack", id.as_bytes()[0]),
            Self::Manifest(image) => write!(f, "images/{image}/manifest.gsi"),
            Self::Signature(image, digest) => write!(f, "images/{image}/{digest}.signature"),
            Self::Packs(image, digest) => write!(f, "images/{image}/{digest}.packs"),
            Self::Statement { about, epoch, digest } => {
                write!(f, "statements/{about}.{epoch:020}.{digest}.json")
            }
            Self::Condemned { at_unix_ms, digest } => write!(f, "condemned/{at_unix_ms:020}.{digest}.json"),
        }
    }
}

/// Not a name of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no object of ours is called so; nothing is done with it")]
pub struct ForeignName;

impl FromStr for Name {
    type Err = ForeignName;

    fn from_str(text: &str) -> Result<Self, ForeignName> {
        let name = parse(text).ok_or(ForeignName)?;
        // One spelling: another fan-out, sign or number of digits is another object, and not ours.
        if name.to_string() == text { Ok(name) } else { Err(ForeignName) }
    }
}

fn parse(text: &str) -> Option<Name> {
    let (dir, rest) = text.split_once('/')?;
    match dir {
        "packs" => Some(Name::Pack(rest.split_once('/')?.1.strip_suffix(".pack")?.parse().ok()?)),
        "images" => {
            let (image, file) = rest.split_once('/')?;
            let image = image.parse().ok()?;
            match file.rsplit_once('.')? {
                ("manifest", "gsi") => Some(Name::Manifest(image)),
                (digest, "signature") => Some(Name::Signature(image, digest.parse().ok()?)),
                (digest, "packs") => Some(Name::Packs(image, digest.parse().ok()?)),
                _ => None,
            }
        }
        "statements" => {
            let mut parts = rest.strip_suffix(".json")?.splitn(3, '.');
            let (about, epoch, digest) = (parts.next()?, parts.next()?, parts.next()?);
            let (about, epoch, digest) = (about.parse().ok()?, epoch.parse().ok()?, digest.parse().ok()?);
            Some(Name::Statement { about, epoch, digest })
        }
        "condemned" => {
            let (at, digest) = rest.strip_suffix(".json")?.split_once('.')?;
            Some(Name::Condemned { at_unix_ms: at.parse().ok()?, digest: digest.parse().ok()? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_spelling_and_no_other_counts() {
        let (digest, image) = (Digest::of(b"d"), ImageId(Digest::of(b"i")));
        let names = [
            Name::Pack(PackId(digest)),
            Name::Manifest(image),
            Name::Signature(image, digest),
            Name::Packs(image, digest),
            Name::Statement { about: digest, epoch: 7, digest },
            Name::Condemned { at_unix_ms: u64::MAX, digest },
        ];
        for name in names {
            let text = name.to_string();
            assert_eq!(text.parse(), Ok(name));
            for other in [
                text.to_uppercase(),
                format!("{text}x"),
                format!("/{text}"),
                text.replacen('/', "//", 1),
                text[1..].into(),
            ] {
                assert_eq!(other.parse::<Name>(), Err(ForeignName), "{other}");
            }
        }
        let pack = Name::Pack(PackId(digest)).to_string();
        let elsewhere = format!("packs/00/{}", &pack[9..]);
        assert_ne!(pack, elsewhere);
        for foreign in
            ["", "packs", "../packs", &elsewhere, "statements/a.+7.b.json", "images/x/manifest.gsi"]
        {
            assert!(foreign.parse::<Name>().is_err(), "{foreign}");
        }
    }
}
