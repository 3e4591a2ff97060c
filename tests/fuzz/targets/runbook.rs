//! A runbook, a blueprint, zones or a mapping from a person: it parses or is refused by name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runbooks::assess::{catalogue::Catalogue, evidence::Mapping, zone::Zones};
use runbooks::blueprint::{Blueprint, lint};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(runbook) = runbooks::runbook::parse::parse(text) {
            let _ = runbooks::lint(&runbook);
        }
        let _ = (Zones::parse(text), Mapping::parse(text), Catalogue::parse("it", text));
        if let (Ok(blueprint), Ok(catalogue)) = (Blueprint::parse(text), Catalogue::shipped()) {
            let _ = lint::lint(&blueprint, None, &catalogue, 1);
        }
    }
});
