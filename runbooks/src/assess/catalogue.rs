//! The requirements as data: which there are, from which level each counts, and whose duty each is.
//!
//! A catalogue is a file of lines `id,level,confidence,duty,in_short`. The one that ships is made from secondary sources; an owner puts their own, checked
//! against a licensed copy, in its place. Nothing of the standard's text is in it.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// A foundational requirement, in the standard's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fr {
    /// 1: identification and authentication.
    Iac,
    /// 2: use control.
    Uc,
    /// 3: system integrity.
    Si,
    /// 4: data confidentiality.
    Dc,
    /// 5: restricted data flow.
    Rdf,
    /// 6: timely response.
    Tre,
    /// 7: resource availability.
    Ra,
}

impl Fr {
    /// All seven, in the order of a vector.
    pub const ALL: [Self; 7] = [Self::Iac, Self::Uc, Self::Si, Self::Dc, Self::Rdf, Self::Tre, Self::Ra];

    /// The word in a vector.
    #[must_use]
    pub fn word(self) -> &'static str {
        ["IAC", "UC", "SI", "DC", "RDF", "TRE", "RA"][self as usize]
    }
}

/// A requirement's identifier: `SR 7.3`, or with an enhancement `SR 7.3 RE1`. They sort as a person reads them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Req {
    fr: u8,
    number: u8,
    enhancement: u8,
}

impl Req {
    /// Its foundational requirement.
    #[must_use]
    pub fn fr(&self) -> Fr {
        Fr::ALL[usize::from(self.fr) - 1]
    }
}

impl fmt::Display for Req {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SR {}.{}", self.fr, self.number)?;
        if self.enhancement > 0 {
            write!(f, " RE{}", self.enhancement)?;
        }
        Ok(())
    }
}

impl From<Req> for String {
    fn from(req: Req) -> Self {
        req.to_string()
    }
}

/// Not a requirement's identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no requirement: write `SR 7.3`, or `SR 7.3 RE1`")]
pub struct NoReq(String);

impl TryFrom<String> for Req {
    type Error = NoReq;

    fn try_from(text: String) -> Result<Self, NoReq> {
        let read = || {
            let mut parts = text.strip_prefix("SR ")?.split(' ');
            let (fr, number) = parts.next()?.split_once('.')?;
            let enhancement = match parts.next() {
                None => 0,
                Some(word) => word.strip_prefix("RE")?.parse().ok().filter(|n| *n > 0)?,
            };
            let req = Self { fr: fr.parse().ok()?, number: number.parse().ok()?, enhancement };
            ((1..=7).contains(&req.fr) && req.number > 0 && parts.next().is_none() && req.to_string() == text)
                .then_some(req)
        };
        read().ok_or_else(|| NoReq(text.clone()))
    }
}

/// Whose duty a requirement mostly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duty {
    /// The asset owner.
    Owner,
    /// Who put the system together.
    Integrator,
    /// Who made the product.
    Supplier,
    /// What this appliance does.
    Appliance,
}

impl Duty {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        ["owner", "integrator", "supplier", "appliance"][self as usize]
    }

    /// The word in a language.
    #[must_use]
    pub fn said(self, language: crate::paper::Language) -> &'static str {
        language.pick(self.word(), ["Betreiber", "Integrator", "Hersteller", "Appliance"][self as usize])
    }
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its identifier.
    pub id: Req,
    /// The level from which it counts, 1 to 4.
    pub level: u8,
    /// `high`, or `medium` where public sources differ.
    pub confidence: String,
    /// Whose duty it mostly is.
    pub duty: Duty,
    /// What it is about, in our words.
    pub in_short: String,
}

/// All requirements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// Its name, with the edition.
    pub name: String,
    /// blake3 of its text, lower-case hex.
    pub digest: String,
    /// Sorted by identifier.
    pub requirements: Vec<Requirement>,
}

/// Why a text is no catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// A line that is none.
    #[error("line {line} of the catalogue: {what}; write `id,level,confidence,duty,in_short`")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// An enhancement that counts before what it enhances, or stands alone.
    #[error("{0} counts from a lower level than its base, or its base is missing: correct the catalogue")]
    Base(Req),
    /// The same twice.
    #[error("{0} stands twice in the catalogue: keep one")]
    Twice(Req),
}

impl Catalogue {
    /// The catalogue that ships.
    ///
    /// # Errors
    /// Never: a test reads it.
    pub fn shipped() -> Result<Self, CatalogueError> {
        Self::parse("iec62443-3-3-2013", include_str!("../../catalogue/iec62443-3-3-2013.csv"))
    }

    /// Read a catalogue. Lines that begin with `#` and the head are passed over.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(name: &str, text: &str) -> Result<Self, CatalogueError> {
        let mut requirements = Vec::new();
        let lines =
            text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
        for (at, line) in lines.filter(|(_, line)| !line.starts_with("id,")) {
            let wrong = |what: String| CatalogueError::Line { line: at + 1, what };
            let mut cells = line.splitn(5, ',').map(str::trim);
            let mut cell = |name: &str| cells.next().ok_or_else(|| wrong(format!("`{name}` is missing")));
            let id = Req::try_from(cell("id")?.to_owned()).map_err(|error| wrong(error.to_string()))?;
            let level = cell("level")?.parse().ok().filter(|level| (1..=4).contains(level));
            let level = level.ok_or_else(|| wrong("the level is 1 to 4".into()))?;
            let confidence = cell("confidence")?.to_owned();
            let duty = match cell("duty")? {
                "owner" => Duty::Owner,
                "integrator" => Duty::Integrator,
                "supplier" => Duty::Supplier,
                "appliance" => Duty::Appliance,
                other => return Err(wrong(format!("`{other}` is nobody's duty"))),
            };
            requirements.push(Requirement {
                id,
                level,
                confidence,
                duty,
                in_short: cell("in_short")?.to_owned(),
            });
        }
        requirements.sort_by(|a, b| a.id.cmp(&b.id));
        let mut seen = BTreeSet::new();
        let mut base_level = 0;
        for requirement in &requirements {
            let id = &requirement.id;
            if !seen.insert(id.clone()) {
                return Err(CatalogueError::Twice(id.clone()));
            }
            let base = Req { enhancement: 0, ..id.clone() };
            if id.enhancement == 0 {
                base_level = requirement.level;
            } else if !seen.contains(&base) || requirement.level < base_level {
                return Err(CatalogueError::Base(id.clone()));
            }
        }
        Ok(Self {
            name: name.into(),
            digest: blake3::hash(text.as_bytes()).to_hex().to_string(),
            requirements,
        })
    }

    /// What counts for a foundational requirement at a level and below.
    pub fn up_to(&self, fr: Fr, level: u8) -> impl Iterator<Item = &Requirement> {
        self.requirements.iter().filter(move |one| one.id.fr() == fr && one.level <= level)
    }

    /// One requirement.
    #[must_use]
    pub fn get(&self, id: &Req) -> Option<&Requirement> {
        self.requirements.binary_search_by(|one| one.id.cmp(id)).ok().map(|at| &self.requirements[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn req(text: &str) -> Req {
        Req::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn the_shipped_catalogue_has_every_requirement_at_its_level() {
        let catalogue = Catalogue::shipped().unwrap();
        let count = |level| Fr::ALL.into_iter().map(|fr| catalogue.up_to(fr, level).count()).sum::<usize>();
        assert_eq!([1, 2, 3, 4].map(count), [37, 60, 90, 100]);
        assert_eq!(catalogue.requirements.iter().filter(|one| one.confidence == "medium").count(), 5);
        assert_eq!(catalogue.get(&req("SR 7.5")).unwrap().duty, Duty::Owner);
        assert_eq!(catalogue.get(&req("SR 2.1 RE4")).unwrap().level, 4);
    }

    #[test]
    fn identifiers_sort_as_people_read_them() {
        let mut ids = ["SR 1.10", "SR 1.9 RE1", "SR 1.9", "SR 2.1"].map(req);
        ids.sort();
        assert_eq!(ids.map(|id| id.to_string()), ["SR 1.9", "SR 1.9 RE1", "SR 1.10", "SR 2.1"]);
        for wrong in [
            "",
            "SR",
            "SR 8.1",
            "SR 1",
            "SR 1.0",
            "SR 1.1 RE0",
            "SR 01.1",
            "CR 1.1",
            "SR 1.1 RE1 x",
            "SR 1.1  RE1",
        ] {
            assert!(Req::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_catalogue_is_refused_with_its_line() {
        let wrong = |text: &str| Catalogue::parse("mine", text).unwrap_err();
        assert!(matches!(wrong("# mine\nSR 1.1,5,high,owner,x\n"), CatalogueError::Line { line: 2, .. }));
        assert!(matches!(wrong("SR 1.1,1,high,nobody,x\n"), CatalogueError::Line { line: 1, .. }));
        assert!(matches!(wrong("SR 1.1,1,high\n"), CatalogueError::Line { line: 1, .. }));
        assert_eq!(
            wrong("SR 1.1,2,high,owner,x\nSR 1.1 RE1,1,high,owner,x\n"),
            CatalogueError::Base(req("SR 1.1 RE1"))
        );
        assert_eq!(wrong("SR 1.1 RE1,1,high,owner,x\n"), CatalogueError::Base(req("SR 1.1 RE1")));
        assert_eq!(
            wrong("SR 1.1,1,high,owner,x\nSR 1.1,1,high,owner,x\n"),
            CatalogueError::Twice(req("SR 1.1"))
        );
    }
}
