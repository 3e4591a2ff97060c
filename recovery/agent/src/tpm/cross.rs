//! Each command that we send, and each response that a TPM gives, read by another implementation (`tpm2-protocol`): what we wrote by hand
//! means to it what it means to us.

use std::io;
use std::sync::{Arc, Mutex};

use tpm2_protocol::TpmWriter;
use tpm2_protocol::data::TpmCc;
use tpm2_protocol::frame::*;

use super::swtpm::SwTpm;
use super::tests::{certified_board, peer_credential};
use super::*;

type Spoken = Arc<Mutex<Vec<(Vec<u8>, Vec<u8>)>>>;

/// Passes on and remembers.
struct Overheard(Box<dyn Transport>, Spoken);

impl Transport for Overheard {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let response = self.0.transact(command)?;
        self.1.lock().unwrap().push((command.to_vec(), response.clone()));
        Ok(response)
    }
}

/// Nobody is there.
struct Gone;

impl Transport for Gone {
    fn transact(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

fn overheard(board: &SwTpm) -> (Tpm, Spoken) {
    let (mut tpm, spoken) = (board.tpm(), Spoken::default());
    let inner = std::mem::replace(&mut tpm.transport, Box::new(Gone));
    (Tpm::over(Box::new(Overheard(inner, spoken.clone()))), spoken)
}

/// The other implementation takes our command apart, puts it together again, and has the same bytes; and it understands the response.
fn same<C, R>(command: &TpmCommand, response: &TpmResponse)
where
    C: TpmUnmarshalBody + TpmMarshalBody,
    R: TpmUnmarshalBody + TpmMarshalBody,
{
    let theirs: C = command.unmarshal().unwrap();
    let (mut handles, mut parameters) = ([0; 64], [0; 4096]);
    let (mut handles, mut parameters) = (TpmWriter::new(&mut handles), TpmWriter::new(&mut parameters));
    theirs.marshal_handles(&mut handles).unwrap();
    theirs.marshal_parameters(&mut parameters).unwrap();
    assert_eq!(handles.as_bytes(), command.handles().unwrap());
    assert_eq!(parameters.as_bytes(), command.parameters().unwrap());
    response.unmarshal::<R>().unwrap();
}

#[test]
fn another_implementation_reads_every_command_and_response_as_we_do() {
    let board = certified_board();
    let (mut tpm, spoken) = overheard(&board);
    let seed = tpm.fresh_seed().unwrap();
    let key = tpm.tls_key(&seed).unwrap();
    let (ek, ak) = (tpm.ek().unwrap().public, tpm.ak().unwrap().public);
    tpm.quote(&[7; 32], PcrMask::of(&[0, 2, 4, 7, 8, 9, 11, 12])).unwrap();
    tpm.certify(&key, &[8; 32]).unwrap();
    tpm.sign(&key, &Sha256::of(b"a transcript")).unwrap();
    tpm.unload(key).unwrap();
    let (blob, secret) = peer_credential(&ek.to_bytes(), &ak.name(), &[5; 32]);
    tpm.activate(&blob, &secret).unwrap();
    tpm.ek_certificate().unwrap();
    tpm.with_rsa_ek(|_, _, _| Ok(())).unwrap();
    drop(tpm);
    let mut heard = std::collections::BTreeSet::new();
    for (command, response) in spoken.lock().unwrap().iter() {
        let (command, response) = (TpmCommand::cast(command).unwrap(), TpmResponse::cast(response).unwrap());
        command.validate().unwrap();
        let cc = command.cc().unwrap();
        response.validate(cc).unwrap();
        // What the TPM refused (an index that is not there) has no body.
        if response.body().is_empty() && cc != TpmCc::FlushContext {
            continue;
        }
        match cc {
            TpmCc::GetRandom => same::<TpmGetRandomCommand, TpmGetRandomResponse>(command, response),
            TpmCc::CreatePrimary => {
                same::<TpmCreatePrimaryCommand, TpmCreatePrimaryResponse>(command, response)
            }
            TpmCc::Quote => same::<TpmQuoteCommand, TpmQuoteResponse>(command, response),
            TpmCc::PcrRead => same::<TpmPcrReadCommand, TpmPcrReadResponse>(command, response),
            TpmCc::Certify => same::<TpmCertifyCommand, TpmCertifyResponse>(command, response),
            TpmCc::Sign => same::<TpmSignCommand, TpmSignResponse>(command, response),
            TpmCc::FlushContext => same::<TpmFlushContextCommand, TpmFlushContextResponse>(command, response),
            TpmCc::StartAuthSession => {
                same::<TpmStartAuthSessionCommand, TpmStartAuthSessionResponse>(command, response);
            }
            TpmCc::PolicySecret => same::<TpmPolicySecretCommand, TpmPolicySecretResponse>(command, response),
            TpmCc::ActivateCredential => {
                same::<TpmActivateCredentialCommand, TpmActivateCredentialResponse>(command, response);
            }
            TpmCc::ReadPublic => same::<TpmReadPublicCommand, TpmReadPublicResponse>(command, response),
            TpmCc::NvReadPublic => same::<TpmNvReadPublicCommand, TpmNvReadPublicResponse>(command, response),
            TpmCc::GetCapability => {
                same::<TpmGetCapabilityCommand, TpmGetCapabilityResponse>(command, response);
            }
            TpmCc::NvRead => same::<TpmNvReadCommand, TpmNvReadResponse>(command, response),
            other => panic!("{other:?} is not compared"),
        }
        heard.insert(command.cc().unwrap().value());
    }
    assert_eq!(heard.len(), 14, "each of our commands was heard: {heard:x?}");
}
