//! Webhooks of every dialect: nothing panics, and what is read is short and harmless to show.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../recovery/appliance/src/hooks/wire/mod.rs"]
#[allow(dead_code)]
mod wire;

use wire::{Dialect, Head, Rules, read};

struct Headers<'a>(&'a str, u8);

impl Head for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        match name {
            "content-type" => Some(
                ["application/json", "application/cloudevents+json", "application/cloudevents-batch+json"]
                    [usize::from(self.1 % 3)],
            ),
            "ce-specversion" => Some("1.0"),
            _ => Some(self.0),
        }
    }
}

fuzz_target!(|data: (u8, &str, &[u8])| {
    let (pick, header, body) = data;
    let types = ["endpoint.attestation.failed".to_owned(), "550".to_owned()];
    for field in [None, Some("/data/endpoint")] {
        let rules = Rules {
            dialect: Dialect::ALL[usize::from(pick) % Dialect::ALL.len()].1,
            integrity_types: &types,
            unreachable_types: &[],
            endpoint_label: "instance",
            endpoint_field: field,
        };
        for item in read(&rules, &Headers(header, pick / 7), body).unwrap_or_default() {
            let text = match item {
                Ok(said) => {
                    assert!(said.endpoint.len() <= 256 && !said.endpoint.is_empty());
                    said.reason
                }
                Err(why) => why.to_string(),
            };
            assert!(text.chars().count() <= 1000 && !text.chars().any(char::is_control), "{text:?}");
        }
    }
});
