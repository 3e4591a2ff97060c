//! What an EST server answers: nothing panics, and what is read lies in what came.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../recovery/appliance/src/enrol/cms.rs"]
#[allow(dead_code)]
mod cms;

fuzz_target!(|data: &[u8]| {
    if let Some(found) = cms::certificates(data) {
        assert!(found.iter().map(|one| one.len()).sum::<usize>() <= data.len());
        let again = cms::certs_only(found.iter().copied());
        let mut sorted = found.clone();
        sorted.sort_unstable();
        assert_eq!(cms::certificates(&again), Some(sorted));
    }
});
