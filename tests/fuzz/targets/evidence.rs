//! An export, a checkpoint and a proof as anybody may write them: nothing that we did not sign is ever good.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recovery_protocol::evidence::{Checkpoint, Line, Origin, Verifier, checkpoint, proof};

fuzz_target!(|text: &str| {
    // A key that nobody holds the other half of.
    let key = [7; 32];
    let origin = Origin::of(key);
    let named = text.replace("ORIGIN", origin.name());
    for line in named.lines() {
        if let Ok(read) = Line::parse(line) {
            assert_eq!(Line::parse(&read.to_string()).as_ref(), Ok(&read));
        }
    }
    let mut verifier = Verifier::new(key);
    for note in checkpoint::notes(&named) {
        assert!(Checkpoint::verify(note, &origin).is_err());
        assert!(verifier.hold("it", note).is_err());
    }
    assert!(proof::verify(&named, &origin).is_err());
    if named.lines().try_for_each(|line| verifier.line(line)).is_ok()
        && let Ok(seen) = verifier.finish()
    {
        assert_eq!((seen.checkpoints, seen.signed_up_to), (0, 0));
    }
});
