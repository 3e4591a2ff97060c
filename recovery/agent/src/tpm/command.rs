//! Commands and responses as a TPM 2.0 takes and gives them (Part 1 §18): header, handles, authorizations, parameters.
//!
//! ```text
//! Call ── bytes ─► Transport ─► response ─┬─ success ───────────────► Reply
//!   ▲                                     ├─ "come again" ─ pause ─┐
//!   └─────────────────────────────────────┼────────────────────────┘  bounded
//!                                         └─ refusal ───────────────► TpmError::Refused, with what to do
//! ```

use std::io;
use std::thread::sleep;
use std::time::Duration;

use recovery_protocol::tpm::wire::{CodecError, Reader, Writer};

use super::transport::{MAX_RESPONSE, Transport};

const ST_NO_SESSIONS: u16 = 0x8001;
const ST_SESSIONS: u16 = 0x8002;
/// `TPM_RS_PW`: an authorization by password; ours are all empty.
const RS_PASSWORD: u32 = 0x4000_0009;
const CONTINUE_SESSION: u8 = 1;

/// Pauses between tries: 20 ms doubling to 1.28 s, 7 times, 2.5 s in all. A self-test of a slow TPM takes about a second.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const TRIES: u32 = 8;

/// Why the TPM did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// There is no TPM to talk to.
    #[error("no TPM 2.0 at {path}; enable it in the firmware's setup (also called PTT or fTPM)")]
    Absent {
        /// Where it was looked for.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is one, and it cannot be opened: not the same as having none.
    #[error("the TPM at {path} cannot be opened; run as root, and end what else holds it")]
    Unopened {
        /// Where it is.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The channel failed.
    #[error("the TPM did not answer {command}; power the endpoint off and on")]
    Channel {
        /// Name of the command.
        command: &'static str,
        /// What the channel said.
        source: io::Error,
    },
    /// The TPM refused.
    #[error("the TPM refused {command} with code {code:#05x}: {}", advice(*.code))]
    Refused {
        /// Name of the command.
        command: &'static str,
        /// `TPM_RC` (Part 2 §6.6).
        code: u32,
    },
    /// The response is not one.
    #[error("the TPM's response cannot be read")]
    Response(#[from] CodecError),
    /// The TPM made another key than it was told to.
    #[error("the TPM returned a key that is not made from our {0} template; it is faulty or not a TPM")]
    ForeignKey(&'static str),
    /// PCRs changed under each of several quotes.
    #[error("the PCRs changed while they were quoted; something measures without end, quote earlier")]
    PcrsMoving,
}

/// What a response code means and what to do (Part 2 §6.6.3).
fn advice(code: u32) -> &'static str {
    // Format-one codes carry the number of the handle, session or parameter: it goes.
    let plain = if code & 0x80 == 0 { code } else { code & 0xbf };
    match plain {
        0xa2 | 0x8e => {
            "a hierarchy has a password that is not ours; clear the TPM in the firmware's setup (its EK stays)"
        }
        0x9f => "the credential was made for another TPM or another attestation key",
        0x85 => "the hierarchy is disabled; enable it in the firmware's setup",
        0x901..=0x903 => "its memory is full; power the endpoint off and on",
        0x921 => "it is locked out after failed authorizations; clear the TPM in the firmware's setup",
        0x101 => "it is in failure mode; power the endpoint off and on, then have it replaced",
        0x922 | 0x908 | 0x90a | 0x920 | 0x923 => "it stayed busy; try again",
        _ => "see TPM 2.0 Part 2, table of response codes",
    }
}

/// Whether the TPM asks for the same command again: `RETRY`, `YIELDED`, `TESTING`, `NV_RATE`, `NV_UNAVAILABLE`.
const fn says_again(code: u32) -> bool {
    matches!(code, 0x922 | 0x908 | 0x90a | 0x920 | 0x923)
}

/// A command being put together.
#[derive(Debug)]
pub struct Call {
    name: &'static str,
    code: u32,
    handles: Writer,
    sessions: Option<Writer>,
    parameters: Writer,
    returns_handle: bool,
}

/// What a command returned.
#[derive(Debug)]
pub struct Reply {
    /// The handle of what it made; 0 when it makes nothing.
    pub handle: u32,
    /// Its response parameters.
    pub parameters: Vec<u8>,
}

impl Call {
    /// The command with this name and `TPM_CC` (Part 2 §6.5.2).
    pub fn new(name: &'static str, code: u32) -> Self {
        let (handles, parameters) = (Writer::new(), Writer::new());
        Self { name, code, handles, sessions: None, parameters, returns_handle: false }
    }

    /// Adds a handle that needs no authorization.
    pub fn handle(mut self, handle: u32) -> Self {
        self.handles = self.handles.u32(handle);
        self
    }

    /// Adds a handle whose password is empty.
    pub fn handle_with_password(self, handle: u32) -> Self {
        self.handle(handle).session(RS_PASSWORD, 0)
    }

    /// Adds a handle that a policy session opens; the session stays for its owner to flush.
    pub fn handle_with_policy(self, handle: u32, session: u32) -> Self {
        self.handle(handle).session(session, CONTINUE_SESSION)
    }

    fn session(mut self, handle: u32, attributes: u8) -> Self {
        // TPMS_AUTH_COMMAND (Part 2 §10.13.2): handle, nonce, attributes, hmac.
        let sessions = self.sessions.unwrap_or_default();
        self.sessions = Some(sessions.u32(handle).tpm2b(&[]).u8(attributes).tpm2b(&[]));
        self
    }

    /// Sets the parameters.
    pub fn parameters(mut self, parameters: Writer) -> Self {
        self.parameters = parameters;
        self
    }

    /// The response begins with the handle of what the command made.
    pub fn returning_handle(mut self) -> Self {
        self.returns_handle = true;
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let (tag, sessions) = match &self.sessions {
            None => (ST_NO_SESSIONS, Vec::new()),
            Some(sessions) => {
                let sessions = sessions.clone().into_bytes();
                (ST_SESSIONS, [&length(&sessions).to_be_bytes()[..], &sessions].concat())
            }
        };
        let body =
            [self.handles.clone().into_bytes(), sessions, self.parameters.clone().into_bytes()].concat();
        Writer::new().u16(tag).u32(10 + length(&body)).u32(self.code).bytes(&body).into_bytes()
    }

    /// Sends the command, again while the TPM asks for that.
    pub fn send(&self, transport: &mut dyn Transport) -> Result<Reply, TpmError> {
        let command = self.to_bytes();
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            tries += 1;
            let channel = |source| TpmError::Channel { command: self.name, source };
            let response = transport.transact(&command).map_err(channel)?;
            match self.read(&response)? {
                Ok(reply) => return Ok(reply),
                Err(code) if says_again(code) && tries < TRIES => {
                    sleep(pause);
                    pause *= 2;
                }
                Err(code) => return Err(TpmError::Refused { command: self.name, code }),
            }
        }
    }

    /// Reads a response: outer error when it is none, inner error when the TPM refused.
    fn read(&self, response: &[u8]) -> Result<Result<Reply, u32>, CodecError> {
        let mut r = Reader::new("TPM response", response);
        let tag = r.u16()?;
        let size = r.u32()?;
        if usize::try_from(size) != Ok(response.len()) || response.len() > MAX_RESPONSE {
            return Err(r.field("responseSize", size.into(), "the number of bytes received"));
        }
        let code = r.u32()?;
        if code != 0 {
            return Ok(Err(code));
        }
        let handle = if self.returns_handle { r.u32()? } else { 0 };
        let parameters = match (tag, &self.sessions) {
            (ST_NO_SESSIONS, None) => r.rest().to_vec(),
            (ST_SESSIONS, Some(_)) => {
                let size = r.u32()?;
                // The authorizations that follow are those of empty passwords: nothing to check.
                r.take(usize::try_from(size).unwrap_or(usize::MAX))?.to_vec()
            }
            _ => return Err(r.field("tag", tag.into(), "the tag of the command")),
        };
        Ok(Ok(Reply { handle, parameters }))
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives prepared responses, and counts.
    struct Script(Vec<Vec<u8>>, usize);

    impl Transport for Script {
        fn transact(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
            self.1 += 1;
            let next = if self.0.len() > 1 { self.0.remove(0) } else { self.0[0].clone() };
            Ok(next)
        }
    }

    fn refusal(code: u32) -> Vec<u8> {
        Writer::new().u16(ST_NO_SESSIONS).u32(10).u32(code).into_bytes()
    }

    fn call() -> Call {
        Call::new("GetRandom", 0x17b).parameters(Writer::new().u16(4))
    }

    #[test]
    fn a_command_has_its_header_and_size() {
        let bytes = call().handle_with_password(0x4000_0007).to_bytes();
        let parts = [
            "8002", "0000001d", "0000017b", "40000007", "00000009", "40000009", "0000", "00", "0000", "0004",
        ];
        assert_eq!(hex::encode(bytes), parts.concat());
    }

    #[test]
    fn a_busy_tpm_is_asked_again_and_not_for_ever() {
        let good = Writer::new().u16(ST_NO_SESSIONS).u32(12).u32(0).u16(7).into_bytes();
        let mut script = Script(vec![refusal(0x922), refusal(0x90a), good], 0);
        assert_eq!(call().send(&mut script).unwrap().parameters, [0, 7]);
        assert_eq!(script.1, 3);

        let mut script = Script(vec![refusal(0x908)], 0);
        let error = call().send(&mut script).unwrap_err();
        assert!(matches!(error, TpmError::Refused { command: "GetRandom", code: 0x908 }));
        assert_eq!(script.1, TRIES as usize);
    }

    #[test]
    fn a_refusal_is_not_repeated_and_says_what_to_do() {
        let mut script = Script(vec![refusal(0x9a2)], 0);
        let error = call().send(&mut script).unwrap_err().to_string();
        assert_eq!(script.1, 1);
        assert!(error.contains("0x9a2") && error.contains("clear the TPM"), "{error}");
    }

    #[test]
    fn a_malformed_response_is_named() {
        for bad in [vec![], vec![0x80, 1], refusal(0)[..9].to_vec(), [refusal(0), vec![1]].concat()] {
            let mut script = Script(vec![bad], 0);
            assert!(matches!(call().send(&mut script), Err(TpmError::Response(_))));
        }
        let mut script = Script(vec![Writer::new().u16(ST_SESSIONS).u32(10).u32(0).into_bytes()], 0);
        assert!(matches!(call().send(&mut script), Err(TpmError::Response(_))), "tag of another command");
    }
}
