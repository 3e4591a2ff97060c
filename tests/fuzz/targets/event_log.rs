//! What an endpoint's TPM and firmware say: event log, quote, signature, public area.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recovery_protocol::tpm::{attest, event_log::EventLog, public, rsa};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(log) = EventLog::parse(bytes) {
        let _ = log.replay();
    }
    let _ = attest::Attest::parse(bytes).map(|attest| attest.to_bytes());
    let _ = attest::Signature::parse(bytes).map(|signature| signature.to_der());
    let _ = public::EccPublic::parse(bytes).map(|public| public.spki_der());
    let _ = recovery_protocol::secure_boot::signature_lists(bytes);
    let _ = rsa::RsaEkPublic::parse(bytes).map(|public| public.spki_der());
});
