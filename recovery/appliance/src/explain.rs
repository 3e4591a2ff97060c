//! `groundstate explain CODE`: what a code means and what to do, in the reader's language, from the console's own texts. Nobody is asked.
//!
//! Codes are those of refusals (`Problem`), of holds, of the boot network (what it refused, the hops of a boot, what is the matter with
//! one), and of alarms (`alarm.…`). It must never: open a file or a socket.

use serde::Serialize;

use crate::{
    cli::{Code, Fault, near},
    console::Texts,
};

/// A code, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The code.
    pub code: &'static str,
    /// What happened, in a sentence.
    pub what: String,
    /// What to do; empty where nothing is known.
    pub now: String,
    /// The language of both, as BCP 47 names it.
    pub language: &'static str,
}

/// The language that was named, or that of the terminal; English where we have no other.
///
/// # Errors
/// Usage, when one was named that we have not.
pub fn language(named: Option<&str>) -> Result<Texts, Fault> {
    if let Some(name) = named {
        return Texts::of(name).ok_or_else(|| {
            let have: Vec<&str> = Texts::offered().map(|(name, _)| name).collect();
            let now = format!("choose one of {}", have.join(", "));
            Fault::new(Code::Usage, format!("there are no texts in `{name}`"), "", now)
        });
    }
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(|name| {
        let value = std::env::var(name).ok()?;
        (!value.is_empty()).then_some(value)
    });
    Ok(of_locale(set.as_deref().unwrap_or_default()))
}

/// `de_AT.UTF-8` as we have it.
fn of_locale(locale: &str) -> Texts {
    let name = locale.split(['.', '@']).next().unwrap_or_default().replace('_', "-");
    Texts::of(&name).unwrap_or_else(Texts::here)
}

/// All of them, in their order.
#[must_use]
pub fn all(texts: Texts) -> Vec<Explained> {
    let mut codes: Vec<&str> = Texts::codes().collect();
    codes.sort_unstable();
    codes.into_iter().filter_map(|code| of(texts, code)).collect()
}

fn of(texts: Texts, code: &'static str) -> Option<Explained> {
    let what = texts.by_code(code, "what", [])?;
    let now = texts.by_code(code, "now", []).unwrap_or_default();
    Some(Explained { code, what, now, language: texts.name() })
}

/// One, as people copy it: `[guard-rail]`, `alarm.break-glass`, `GUARD_RAIL`.
///
/// # Errors
/// Not found, with the codes that come near.
pub fn one(texts: Texts, typed: &str) -> Result<Explained, Fault> {
    let bare = typed.trim().trim_matches(|sign: char| "[](){}`'\",:;".contains(sign)).to_lowercase();
    let wanted = bare.replace(['.', '_'], "-");
    let found = Texts::codes().find(|code| *code == wanted).and_then(|code| of(texts, code));
    found.ok_or_else(|| {
        let near = near(&wanted, Texts::codes());
        let now = match near.as_slice() {
            [] => "`groundstate explain` lists all that there are".to_owned(),
            near => format!("did you mean {}?", near.join(", ")),
        };
        Fault::new(Code::NotFound, format!("`{typed}` is no code of this version"), "", now)
    })
}

/// One for people.
#[must_use]
pub fn shown(explained: &Explained) -> String {
    let Explained { code, what, now, .. } = explained;
    if now.is_empty() { format!("{code}\n  {what}") } else { format!("{code}\n  {what}\n  {now}") }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use recovery_protocol::job::HoldReason;

    use super::*;

    fn is_code(text: &str) -> bool {
        let fits = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
        text.contains('-')
            && text.bytes().all(fits)
            && text.as_bytes()[0].is_ascii_lowercase()
            && !text.ends_with('-')
    }

    /// Sources of the product below a directory, without their tests.
    fn sources(dir: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                sources(&path, into);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "testing.rs" {
                let text = fs::read_to_string(&path).unwrap();
                into.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
            }
        }
    }

    /// The text literal with which what follows `from` begins, blanks aside; a number may stand before it.
    fn literal(text: &str) -> Option<&str> {
        let text = text.trim_start().trim_start_matches('(').trim_start();
        let text = text
            .trim_start_matches(|letter: char| letter.is_ascii_digit())
            .trim_start_matches(',')
            .trim_start();
        text.strip_prefix('"')?.split('"').next()
    }

    /// Every code that the sources name in a refusal, a diagnosis, or an alarm.
    fn named() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut texts = Vec::new();
        for dir in ["src", "../protocol/src", "../../pxe/src/trace"] {
            sources(&root.join(dir), &mut texts);
        }
        let makers = [
            "Problem::new(",
            "Refusal::bad_request(",
            "Self::bad_request(",
            "unfit(",
            "Diagnosis::trouble(",
            "Diagnosis::fine(",
        ];
        let mut found = BTreeSet::new();
        for text in &texts {
            for maker in makers {
                let after = text.split(maker).skip(1);
                found.extend(after.filter_map(literal).filter(|code| is_code(code)).map(str::to_owned));
            }
            // (409, "image-missing", …): status and code, taken apart later.
            for (at, _) in text.match_indices(", \"") {
                let status = text[..at].rsplit('(').next().unwrap_or_default().trim();
                let code = text[at + 3..].split('"').next().unwrap_or_default();
                if status.len() == 3
                    && status.parse::<u16>().is_ok_and(|n| (400..600).contains(&n))
                    && is_code(code)
                {
                    found.insert(code.to_owned());
                }
            }
            for piece in text.split("\"alarm.").skip(1) {
                let code = piece.split('"').next().unwrap_or_default();
                if !code.is_empty() && !code.contains('{') {
                    found.insert(format!("alarm.{code}"));
                }
            }
        }
        found
    }

    #[test]
    fn every_code_that_the_product_can_show_is_explained_in_every_language() {
        let mut codes = named();
        assert!(codes.len() > 150, "{codes:?}");
        for known in [
            "sign-in-refused",
            "image-missing",
            "bad-label",
            "no-ticket",
            "shim-went-elsewhere",
            "alarm.break-glass",
        ] {
            assert!(codes.contains(known), "{known} is not found in the sources: {codes:?}");
        }
        codes.extend(HoldReason::ALL.iter().map(|reason| reason.code().to_owned()));
        let event =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pxe/src/event.rs")).unwrap();
        let refused = event.lines().filter_map(|line| {
            line.trim().strip_prefix("Refusal::")?.split("=> \"").nth(1)?.split('"').next()
        });
        codes.extend(refused.map(str::to_owned));
        let steps =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pxe/src/trace/mod.rs"))
                .unwrap();
        let steps = steps
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Step::")?.split("=> \"").nth(1)?.split('"').next());
        codes.extend(steps.map(str::to_owned));
        assert!(codes.contains("4011") && codes.contains("off-link"), "{codes:?}");
        let mut without = Vec::new();
        for (name, _) in Texts::offered() {
            let texts = Texts::of(name).unwrap();
            for code in &codes {
                match one(texts, code) {
                    Ok(told) if told.what.ends_with(['.', '。']) && !told.now.is_empty() => {}
                    other => without.push(format!("{name} {code}: {other:?}")),
                }
            }
        }
        assert!(without.is_empty(), "write them into console/texts/*/refusals.ftl:\n{}", without.join("\n"));
    }

    #[test]
    fn a_code_is_found_as_people_copy_it_and_an_unknown_one_says_near_ones() {
        let english = of_locale("C.UTF-8");
        for typed in ["guard-rail", "[guard-rail]", "GUARD_RAIL", "`guard-rail`."] {
            let typed = typed.trim_end_matches('.');
            assert_eq!(one(english, typed).unwrap().code, "guard-rail", "{typed}");
        }
        assert_eq!(one(english, "alarm.break-glass").unwrap().code, "alarm-break-glass");
        let fault = one(english, "gard-rail").unwrap_err();
        assert!(fault.code == Code::NotFound && fault.to_string().contains("guard-rail"), "{fault}");
        assert!(one(english, "qqqqqq").unwrap_err().to_string().contains("lists all"));
    }

    #[test]
    fn the_language_is_that_of_the_terminal_or_the_one_that_is_named() {
        for (locale, name) in [
            ("de_AT.UTF-8", "de"),
            ("zh_CN", "zh"),
            ("C", "en"),
            ("", "en"),
            ("tlh_KL", "en"),
            ("fr_FR@euro", "fr"),
        ] {
            assert_eq!(of_locale(locale).name(), name, "{locale}");
        }
        assert_eq!(language(Some("es")).unwrap().name(), "es");
        assert_eq!(language(Some("tlh")).unwrap_err().code, Code::Usage);
        assert!(one(of_locale("de_DE"), "unknown-job").unwrap().what.contains("Auftrag"));
        assert!(all(of_locale("en")).len() > 200);
    }
}
