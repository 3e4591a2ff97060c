//! The runbooks that ship: the files of `library/`, inside the program. A test parses and lints each.

/// Name and text of one shipped runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// Its name, the file's name without `.yaml`.
    pub name: &'static str,
    /// Its text; give it to [`crate::runbook::parse::parse`].
    pub text: &'static str,
}

/// Every runbook that ships, by name.
#[must_use]
pub fn library() -> &'static [Shipped] {
    &[
        Shipped { name: "quarterly-hmi-drill", text: include_str!("../library/quarterly-hmi-drill.yaml") },
        Shipped { name: "single-hmi-failed", text: include_str!("../library/single-hmi-failed.yaml") },
    ]
}

#[cfg(test)]
mod tests {
    use super::library;
    use crate::runbook::{lint::lint, parse::parse};

    #[test]
    fn every_shipped_runbook_parses_and_lints_clean() {
        for shipped in library() {
            let runbook = parse(shipped.text).unwrap_or_else(|error| panic!("{}: {error}", shipped.name));
            assert_eq!(runbook.name, shipped.name);
            let findings: Vec<String> = lint(&runbook).iter().map(ToString::to_string).collect();
            assert_eq!(findings, Vec::<String>::new(), "{}", shipped.name);
        }
    }

    #[test]
    fn every_file_of_the_folder_ships() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("library");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned))
            .collect();
        files.sort();
        let shipped: Vec<&str> = library().iter().map(|shipped| shipped.name).collect();
        assert_eq!(files, shipped);
    }
}
