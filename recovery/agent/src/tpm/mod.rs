//! The endpoint's TPM 2.0: who this endpoint is, what it booted, and keys that cannot leave it.
//!
//! ```text
//! endorsement seed ─┬─ EK   decrypts; its hash is the endpoint's identity
//!                   ├─ AK   signs only what the TPM itself says: quotes and certifications
//!                   └─ TLS key, one for each enrolment seed; signs TLS and one CSR
//! ```
//!
//! All three are primaries of the endorsement hierarchy: the TPM derives them from a seed that neither a reimage nor
//! `TPM2_Clear` changes, so nothing of them is stored on a disk. The TLS key also hangs on 32 random bytes that lie beside
//! its certificate: a new enrolment draws new ones, so a key whose certificate was revoked never comes back, while the
//! same key is found again after each boot. The bytes are no secret; without this TPM they give nothing.
//!
//! It must never: take a key that is not made from the template it asked for, keep a policy session open, or try a
//! refused command again (only a busy TPM is asked twice).

use std::io;
use std::path::Path;

use recovery_protocol::tpm::wire::{Reader, Writer};
use recovery_protocol::tpm::{
    ALG_NULL, ALG_SHA256, Attest, Attested, EccPublic, PcrMask, PcrValues, RsaEkPublic, Sha256, Signature,
};

mod command;
mod csr;
mod nv;
mod transport;

#[cfg(test)]
mod cross;
#[cfg(test)]
pub mod swtpm;
#[cfg(test)]
mod tests;

use command::Call;
pub use command::TpmError;
pub use csr::CsrKey;
pub use transport::{DeviceFile, Transport};

/// The resource-managed TPM of Linux.
pub const DEVICE: &str = "/dev/tpmrm0";

const RH_OWNER: u32 = 0x4000_0001;
const RH_NULL: u32 = 0x4000_0007;
const RH_ENDORSEMENT: u32 = 0x4000_000b;
/// Where makers leave the RSA EK (TCG TPM v2.0 Provisioning Guidance, section 7.8).
const RSA_EK_PERSISTENT: u32 = 0x8101_0001;
const ST_HASHCHECK: u16 = 0x8024;
/// Digests in one `TPML_DIGEST` (Part 2 §10.9.5).
const PCRS_AT_ONCE: usize = 8;

/// A key that the TPM has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    handle: u32,
    /// Its public area.
    pub public: EccPublic,
}

/// A quote as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// `TPMS_ATTEST`.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE` by the AK.
    pub signature: Vec<u8>,
    /// The values that were quoted.
    pub pcrs: PcrValues,
}

/// A certification as it travels: the AK says that a key lies in this TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certification {
    /// `TPMS_ATTEST`.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE` by the AK.
    pub signature: Vec<u8>,
}

/// An open TPM. What it loaded is flushed when it is dropped.
pub struct Tpm {
    transport: Box<dyn Transport>,
    ek: Option<Key>,
    ak: Option<Key>,
    loaded: Vec<u32>,
}

impl Tpm {
    /// Opens [`DEVICE`].
    ///
    /// # Errors
    /// [`TpmError::Absent`] when the endpoint has none, or the kernel no driver for it; [`TpmError::Unopened`] when it has
    /// one: an endpoint with a TPM must not pass for one without.
    pub fn open() -> Result<Self, TpmError> {
        Self::open_at(Path::new(DEVICE))
    }

    fn open_at(device: &Path) -> Result<Self, TpmError> {
        let path = device.display().to_string();
        match DeviceFile::open(device) {
            Ok(file) => Ok(Self::over(Box::new(file))),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(TpmError::Absent { path, source }),
            Err(source) => Err(TpmError::Unopened { path, source }),
        }
    }

    /// A TPM at the end of `transport`.
    #[must_use]
    pub fn over(transport: Box<dyn Transport>) -> Self {
        Self { transport, ek: None, ak: None, loaded: Vec::new() }
    }

    /// The endorsement key, loaded on first use.
    ///
    /// # Errors
    /// [`TpmError::Refused`] with `0x9a2` when somebody has set a password on the endorsement hierarchy.
    pub fn ek(&mut self) -> Result<Key, TpmError> {
        if self.ek.is_none() {
            self.ek = Some(self.create_primary("EK", &EccPublic::ek_template())?);
        }
        self.ek.clone().ok_or(TpmError::ForeignKey("EK"))
    }

    /// The attestation key, loaded on first use; the same after a reimage and after `TPM2_Clear`.
    ///
    /// # Errors
    /// As [`Tpm::ek`].
    pub fn ak(&mut self) -> Result<Key, TpmError> {
        if self.ak.is_none() {
            self.ak = Some(self.create_primary("AK", &EccPublic::ak_template())?);
        }
        self.ak.clone().ok_or(TpmError::ForeignKey("AK"))
    }

    /// The TLS key of one enrolment: the same for the same seed.
    ///
    /// # Errors
    /// As [`Tpm::ek`].
    pub fn tls_key(&mut self, seed: &[u8; 32]) -> Result<Key, TpmError> {
        self.create_primary("TLS key", &EccPublic::tls_template(seed))
    }

    /// 32 random bytes from the TPM, for a new TLS key.
    ///
    /// # Errors
    /// [`TpmError`] as the TPM gives it.
    pub fn fresh_seed(&mut self) -> Result<[u8; 32], TpmError> {
        let reply =
            Call::new("GetRandom", 0x17b).parameters(Writer::new().u16(32)).send(&mut *self.transport)?;
        let mut r = Reader::new("TPM2_GetRandom", &reply.parameters);
        r.expect_u16("randomBytes.size", 32, "32")?;
        let seed = r.array()?;
        r.finish()?;
        Ok(seed)
    }

    /// Opens a credential that was made for this EK and AK: `TPM2_ActivateCredential` (Part 3 §12.5).
    /// `credential` is the contents of a `TPM2B_ID_OBJECT`, `secret` that of a `TPM2B_ENCRYPTED_SECRET`.
    ///
    /// # Errors
    /// [`TpmError::Refused`] when it was made for another TPM or another key.
    pub fn activate(&mut self, credential: &[u8], secret: &[u8]) -> Result<Vec<u8>, TpmError> {
        let ek = self.ek()?.handle;
        self.activate_with(ek, credential, secret)
    }

    /// As [`Tpm::activate`], of the TPM that holds the RSA EK.
    ///
    /// # Errors
    /// As [`Tpm::activate`].
    pub fn activate_rsa(&mut self, credential: &[u8], secret: &[u8]) -> Result<Vec<u8>, TpmError> {
        self.with_rsa_ek(|tpm, handle, _| tpm.activate_with(handle, credential, secret))
    }

    fn activate_with(&mut self, ek: u32, credential: &[u8], secret: &[u8]) -> Result<Vec<u8>, TpmError> {
        let ak = self.ak()?;
        let session = self.endorsement_session()?;
        let reply = Call::new("ActivateCredential", 0x147)
            .handle_with_password(ak.handle)
            .handle_with_policy(ek, session)
            .parameters(Writer::new().tpm2b(credential).tpm2b(secret))
            .send(&mut *self.transport);
        // A policy session left open takes one of very few slots, so it goes before the outcome counts.
        self.flush(session)?;
        let reply = reply?;
        let mut r = Reader::new("TPM2_ActivateCredential", &reply.parameters);
        let secret = r.tpm2b("certInfo", 64)?.to_vec();
        r.finish()?;
        Ok(secret)
    }

    /// Quotes PCRs of the SHA-256 bank, with `nonce` (at most 64 bytes) in `extraData`.
    ///
    /// # Errors
    /// [`TpmError::PcrsMoving`] when the values keep changing between the quote and reading them.
    pub fn quote(&mut self, nonce: &[u8], pcrs: PcrMask) -> Result<Quote, TpmError> {
        let ak = self.ak()?;
        for _ in 0..3 {
            let parameters = pcrs.write(Writer::new().tpm2b(nonce).u16(ALG_NULL));
            let reply = Call::new("Quote", 0x158).handle_with_password(ak.handle).parameters(parameters);
            let (attest, signature) = attested(&reply.send(&mut *self.transport)?.parameters)?;
            let values = self.read_pcrs(pcrs)?;
            let digest = values.digest();
            match Attest::parse(&attest)?.attested {
                Attested::Quote { pcr_digest, .. } if pcr_digest == digest.as_bytes() => {
                    return Ok(Quote { attest, signature, pcrs: values });
                }
                _ => {}
            }
        }
        Err(TpmError::PcrsMoving)
    }

    /// Has the AK certify `key`, with `nonce` in `extraData`: `TPM2_Certify` (Part 3 §18.2).
    ///
    /// # Errors
    /// [`TpmError`] as the TPM gives it.
    pub fn certify(&mut self, key: &Key, nonce: &[u8]) -> Result<Certification, TpmError> {
        let ak = self.ak()?;
        let reply = Call::new("Certify", 0x148)
            .handle_with_password(key.handle)
            .handle_with_password(ak.handle)
            .parameters(Writer::new().tpm2b(nonce).u16(ALG_NULL))
            .send(&mut *self.transport)?;
        let (attest, signature) = attested(&reply.parameters)?;
        Ok(Certification { attest, signature })
    }

    /// Signs a digest with a TLS key: `TPM2_Sign` (Part 3 §20.2).
    ///
    /// # Errors
    /// [`TpmError::Refused`] for the AK: a restricted key signs no digest from outside.
    pub fn sign(&mut self, key: &Key, digest: &Sha256) -> Result<Signature, TpmError> {
        // The ticket says "not hashed by this TPM"; an unrestricted key asks for no more.
        let parameters = Writer::new().tpm2b(digest.as_bytes()).u16(ALG_NULL);
        let parameters = parameters.u16(ST_HASHCHECK).u32(RH_NULL).tpm2b(&[]);
        let call = Call::new("Sign", 0x15d).handle_with_password(key.handle).parameters(parameters);
        Ok(Signature::parse(&call.send(&mut *self.transport)?.parameters)?)
    }

    /// Reads PCRs of the SHA-256 bank.
    fn read_pcrs(&mut self, pcrs: PcrMask) -> Result<PcrValues, TpmError> {
        let mut values = PcrValues::default();
        let indices: Vec<u8> = pcrs.indices().collect();
        for part in indices.chunks(PCRS_AT_ONCE) {
            let parameters = PcrMask::of(part).write(Writer::new());
            let reply = Call::new("PCR_Read", 0x17e).parameters(parameters).send(&mut *self.transport)?;
            let mut r = Reader::new("TPM2_PCR_Read", &reply.parameters);
            r.u32()?; // pcrUpdateCounter: the quote's digest tells more
            let selected = recovery_protocol::tpm::pcr::Selection::read_list(&mut r)?;
            let count = r.u32()?;
            let all_there = selected.len() == 1 && selected[0].bank == ALG_SHA256;
            if !all_there || selected[0].pcrs != PcrMask::of(part) || count as usize != part.len() {
                return Err(r.field("pcrValues.count", count.into(), "a SHA-256 value for each PCR").into());
            }
            for index in part {
                r.expect_u16("digest.size", 32, "32")?;
                values.0.insert(*index, Sha256::from(r.array::<32>()?));
            }
            r.finish()?;
        }
        Ok(values)
    }

    fn create_primary(&mut self, what: &'static str, template: &EccPublic) -> Result<Key, TpmError> {
        let (handle, public) = self.create(&template.to_bytes())?;
        let public = EccPublic::parse(&public)?;
        if !public.is_made_from(template) {
            return Err(TpmError::ForeignKey(what));
        }
        Ok(Key { handle, public })
    }

    /// Makes a primary of the endorsement hierarchy; its handle and its `TPMT_PUBLIC`.
    fn create(&mut self, template: &[u8]) -> Result<(u32, Vec<u8>), TpmError> {
        // TPM2B_SENSITIVE_CREATE with empty auth and data; no outsideInfo; no creationPCR.
        let parameters = Writer::new().tpm2b(&[0; 4]).tpm2b(template).tpm2b(&[]).u32(0);
        let reply = Call::new("CreatePrimary", 0x131)
            .handle_with_password(RH_ENDORSEMENT)
            .parameters(parameters)
            .returning_handle()
            .send(&mut *self.transport)?;
        self.loaded.push(reply.handle);
        let mut r = Reader::new("TPM2_CreatePrimary", &reply.parameters);
        Ok((reply.handle, r.tpm2b("outPublic", 512)?.to_vec()))
    }

    /// The RSA endorsement key while `work` runs: the one that the maker left in the TPM, else made anew, which takes a slow
    /// TPM seconds, and unloaded after. A TPM holds three keys at a time, also one that it keeps takes a place while it is used:
    /// beside the AK and a TLS key the other EK has to go, to be made again when it is asked for.
    fn with_rsa_ek<T>(
        &mut self,
        work: impl FnOnce(&mut Self, u32, RsaEkPublic) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        if let Some(ek) = self.ek.take() {
            self.unload(ek)?;
        }
        if let Some(public) = self.persistent_rsa_ek()? {
            return work(self, RSA_EK_PERSISTENT, public);
        }
        let (handle, public) = self.create(&RsaEkPublic::template().to_bytes())?;
        let outcome =
            RsaEkPublic::parse(&public).map_err(Into::into).and_then(|public| work(self, handle, public));
        self.loaded.retain(|loaded| *loaded != handle);
        self.flush(handle)?;
        outcome
    }

    fn persistent_rsa_ek(&mut self) -> Result<Option<RsaEkPublic>, TpmError> {
        let call = Call::new("ReadPublic", 0x173).handle(RSA_EK_PERSISTENT);
        match call.send(&mut *self.transport) {
            Ok(reply) => {
                let mut r = Reader::new("TPM2_ReadPublic", &reply.parameters);
                // Another key there is no reason to stop: ours can be made.
                Ok(RsaEkPublic::parse(r.tpm2b("outPublic", 512)?).ok())
            }
            Err(TpmError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A policy session in which `PolicySecret(endorsement)` holds: what an EK of the TCG templates wants.
    fn endorsement_session(&mut self) -> Result<u32, TpmError> {
        // Neither salted nor bound, and no HMAC is ever made in it: its nonce protects nothing and may be constant.
        let parameters = Writer::new().tpm2b(&[0; 16]).tpm2b(&[]).u8(1).u16(ALG_NULL).u16(ALG_SHA256);
        let session = Call::new("StartAuthSession", 0x176)
            .handle(RH_NULL)
            .handle(RH_NULL)
            .parameters(parameters)
            .returning_handle()
            .send(&mut *self.transport)?
            .handle;
        // nonceTPM, cpHashA and policyRef empty; expiration 0.
        let secret = Call::new("PolicySecret", 0x151)
            .handle_with_password(RH_ENDORSEMENT)
            .handle(session)
            .parameters(Writer::new().tpm2b(&[]).tpm2b(&[]).tpm2b(&[]).u32(0))
            .send(&mut *self.transport);
        if let Err(error) = secret {
            self.flush(session)?;
            return Err(error);
        }
        Ok(session)
    }

    fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        let call = Call::new("FlushContext", 0x165).parameters(Writer::new().u32(handle));
        call.send(&mut *self.transport).map(drop)
    }

    /// Unloads a TLS key that is not needed any more; a TPM holds few keys at a time.
    ///
    /// # Errors
    /// [`TpmError`] as the TPM gives it.
    pub fn unload(&mut self, key: Key) -> Result<(), TpmError> {
        self.loaded.retain(|handle| *handle != key.handle);
        self.flush(key.handle)
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        for handle in std::mem::take(&mut self.loaded) {
            // Nothing can be done about a failure here, and a closed device file flushes anyway.
            let _ = self.flush(handle);
        }
    }
}

impl std::fmt::Debug for Tpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tpm").field("loaded", &self.loaded).finish_non_exhaustive()
    }
}

/// Splits the response of a quote or a certification: `TPM2B_ATTEST`, then `TPMT_SIGNATURE`.
fn attested(parameters: &[u8]) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
    let mut r = Reader::new("attestation", parameters);
    let attest = r.tpm2b("TPM2B_ATTEST", 1024)?.to_vec();
    Ok((attest, r.rest().to_vec()))
}
