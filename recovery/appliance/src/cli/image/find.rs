//! Which image a person means: its id, `name`, or `name:version`.
//!
//! Of several the one of the highest epoch is meant, but for what must not hit the wrong one without a word: there the others are named.

use images::{ImageId, Store, store::LegalHold};
use recovery_protocol::operator::ImageView;

use super::{store_fault, views};
use crate::cli::fault::{Code, Fault};

/// Most that an error names of what is there.
const NAMED_MOST: usize = 12;

/// Whether an image is called so: `name`, or `name:version`.
pub fn is_called(name: &str, version: &str, word: &str) -> bool {
    let rest = word.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':') == Some(version))
}

/// An image by its id, by `name`, or by `name:version`; of several the one with the highest epoch.
pub fn find(store: &Store, wanted: &str) -> Result<ImageId, Fault> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let known = views(store, None)?;
    let newest = called(&known, wanted).max_by_key(|view| view.epoch);
    newest.map(|view| view.image).ok_or_else(|| absent(&known, wanted))
}

/// The one image called so that is under a legal hold: a newer one under none must not be taken for it.
pub fn find_held(store: &Store, wanted: &str) -> Result<ImageId, Fault> {
    let known = views(store, None)?;
    let id: Option<ImageId> = wanted.parse().ok();
    let found: Vec<&ImageView> = match id {
        Some(id) => known.iter().filter(|view| view.image == id).collect(),
        None => called(&known, wanted).collect(),
    };
    if found.is_empty() {
        // What is not there under its id the store says itself.
        return id.ok_or_else(|| absent(&known, wanted));
    }
    let mut held: Vec<(&ImageView, LegalHold)> = Vec::new();
    for view in &found {
        let keep = store.keep_of(&view.image).map_err(|error| store_fault(&error))?;
        held.extend(keep.legal_hold.map(|hold| (*view, hold)));
    }
    match held.as_slice() {
        [(view, _)] => Ok(view.image),
        [] => {
            let why = format!("found {}, under no legal hold", listed(found.iter().map(|view| text(view))));
            let now = "`groundstate image keep IMAGE` says what stands";
            Err(Fault::new(Code::NotFound, format!("`{wanted}` has no legal hold to lift"), why, now))
        }
        _ => {
            let one = |(view, hold): &(&ImageView, LegalHold)| {
                format!("{} ({}: {}) {}", text(view), hold.by, hold.why, view.image)
            };
            let what = format!("more than one image called `{wanted}` is under a legal hold");
            let now = "lift one at a time: name it by name:version, or by its id";
            Err(Fault::new(Code::Conflict, what, listed(held.iter().map(one)), now))
        }
    }
}

fn called<'a>(known: &'a [ImageView], word: &'a str) -> impl Iterator<Item = &'a ImageView> {
    known.iter().filter(move |view| !view.name.is_empty() && is_called(&view.name, &view.version, word))
}

fn text(view: &ImageView) -> String {
    format!("{} {}", view.name, view.version)
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.collect();
    let more = texts.len().saturating_sub(NAMED_MOST);
    let named = texts.into_iter().take(NAMED_MOST).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named}, and {more} more") }
}

/// No image is called so; what there is instead, of that name or at all.
fn absent(known: &[ImageView], wanted: &str) -> Fault {
    let name = wanted.split_once(':').map_or(wanted, |(name, _)| name);
    let mut names: Vec<&str> =
        known.iter().map(|v| v.name.as_str()).filter(|name| !name.is_empty()).collect();
    names.dedup();
    let why = match (names.contains(&name), names.is_empty()) {
        (true, _) => format!("found {}", listed(called(known, name).map(text))),
        (false, true) => "the store has no images".to_owned(),
        (false, false) => format!("the store has {}", listed(names.into_iter().map(str::to_owned))),
    };
    let now = "name it as in `groundstate image list`: id, name or name:version";
    Fault::new(Code::NotFound, format!("there is no image `{wanted}`"), why, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(number: u8, name: &str, version: &str) -> ImageView {
        let mut view = ImageView::new(ImageId::of_header(&[number]), None, None);
        (view.name, view.version) = (name.to_owned(), version.to_owned());
        view
    }

    #[test]
    fn an_image_is_called_by_its_name_alone_or_with_its_version() {
        assert!(is_called("hmi", "1", "hmi") && is_called("hmi", "1", "hmi:1"));
        for other in ["hmi:2", "hm", "hmi-panel", "hmi:", "hmi1", ""] {
            assert!(!is_called("hmi", "1", other), "{other}");
        }
        assert!(
            is_called("a:b", "1", "a:b") && is_called("a:b", "1", "a:b:1"),
            "made before names were checked"
        );
    }

    #[test]
    fn what_is_not_there_names_what_is() {
        let known = [view(1, "hmi", "1"), view(2, "hmi", "2"), view(3, "panel", "1")];
        let said = |known: &[ImageView], wanted: &str| absent(known, wanted).to_string();
        assert!(said(&known, "hmi:3").contains("found hmi 1, hmi 2\n"));
        assert!(said(&known, "press").contains("the store has hmi, panel\n"));
        assert!(said(&[], "press").contains("no images"));
        let many: Vec<_> = (0..20).map(|n| view(n, &format!("n{n:02}"), "1")).collect();
        assert!(said(&many, "press").contains("n11, and 8 more"));
    }
}
