//! What a directory answers: nothing panics, a message that is read has the length that was said, and its words are harmless to show.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../recovery/appliance/src/directory/wire.rs"]
#[allow(dead_code)]
mod wire;

use wire::{Answer, MESSAGE_MAX, length, read};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(len)) = length(bytes) else { return };
    assert!(len <= MESSAGE_MAX + 6);
    let Some(message) = bytes.get(..len) else { return };
    let Ok((_, answer)) = read(message) else { return };
    if let Answer::Bound(outcome) | Answer::Done(outcome) | Answer::Extended(outcome, _) = answer {
        assert!(outcome.said.chars().count() <= 200 && !outcome.said.chars().any(char::is_control));
    }
});
