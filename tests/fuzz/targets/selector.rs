//! A selector as anybody may type it, and labels: what is read is written and read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recovery_protocol::selector::{Labels, Selector};

fuzz_target!(|text: &str| {
    match text.parse::<Selector>() {
        Ok(selector) => {
            assert_eq!(selector.to_string().parse(), Ok(selector.clone()));
            let _ = selector.matches(|key| (key.len() % 2 == 0).then_some("a"));
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column)),
    }
    if let Ok(labels) = text.parse::<Labels>() {
        assert_eq!(labels.to_string().parse(), Ok(labels));
    }
});
