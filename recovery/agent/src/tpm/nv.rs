//! What the TPM's maker left in its non-volatile memory: the certificate of the endorsement key, and those of its issuers.
//!
//! | index | what | source |
//! |---|---|---|
//! | `0x01C0000A`, `0x01C00002` | certificate of the ECC P-256 EK, of the RSA-2048 EK, DER | TCG EK Credential Profile 2.5, section 2.2.1.4 |
//! | each and the next two | nonce and template of an EK that is not made from the default template | as above |
//! | `0x01C00100` to `0x01C001FF` | certificates of the issuers, DER, one after the other | section 2.2.1.5.2 |
//!
//! The P-256 key's certificate is preferred, since that key is the endpoint's identity. With the RSA key's alone the TPM
//! proves that it holds that key, too.
//!
//! A certificate is a claim; the appliance judges it. It must never keep an endpoint from proving itself: what cannot be
//! read is left out, and the appliance says what that means.

use recovery_protocol::tpm::RsaEkPublic;
use recovery_protocol::tpm::wire::{Reader, Writer};

use super::command::{Call, TpmError};
use super::{RH_OWNER, Tpm};

/// Handles of NV indices begin here, for the TCG's own.
const NV_FIRST: u32 = 0x01c0_0000;
const EK_CERTIFICATE: u32 = 0x01c0_000a;
const RSA_EK_CERTIFICATE: u32 = 0x01c0_0002;
const CHAIN: std::ops::RangeInclusive<u32> = 0x01c0_0100..=0x01c0_01ff;
/// `TPM_CAP_HANDLES` (Part 2 §6.12).
const CAP_HANDLES: u32 = 1;
/// Indices asked for at once; all that are asked for lie in front.
const HANDLES_MAX: u32 = 64;
/// Bytes read at once: every TPM's buffer holds as many (PC Client Platform TPM Profile, `TPM_PT_NV_BUFFER_MAX`).
const BLOCK: u16 = 512;
/// Longest certificate, and longest row of issuers' certificates.
const CERTIFICATE_MAX: u16 = 4096;
const CHAIN_MAX: usize = 16 * 1024;
/// `TPMA_NV_OWNERREAD`, `TPMA_NV_AUTHREAD`, `TPMA_NV_WRITTEN` (Part 2 §13.4).
const OWNER_READ: u32 = 1 << 17;
const AUTH_READ: u32 = 1 << 18;
const WRITTEN: u32 = 1 << 29;

/// The maker's word for an endorsement key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EkCertificate {
    /// The certificate of the key that [`Tpm::ek`] gives, or of the RSA key; `None` where there is neither.
    pub certificate: Option<Vec<u8>>,
    /// The RSA key, where the certificate is for that one.
    pub rsa: Option<RsaEkPublic>,
    /// Certificates of issuers, one after the other; empty where the TPM holds none.
    pub chain: Vec<u8>,
}

impl Tpm {
    /// Reads the maker's certificates.
    ///
    /// # Errors
    /// [`TpmError::Channel`], [`TpmError::Response`]: the TPM does not work. What it refuses to show is left out.
    pub fn ek_certificate(&mut self) -> Result<EkCertificate, TpmError> {
        let Some(indices) = shown(self.nv_indices())? else { return Ok(EkCertificate::default()) };
        // With a nonce or a template beside it, the certificate is of another key than ours.
        let default = |index: &u32| {
            indices.contains(index) && ![1, 2].iter().any(|next| indices.contains(&(index + next)))
        };
        let (mut certificate, mut rsa) = (None, None);
        if default(&EK_CERTIFICATE) {
            certificate = shown(self.nv_read(EK_CERTIFICATE))?.flatten();
        }
        if certificate.is_none() && default(&RSA_EK_CERTIFICATE) {
            certificate = shown(self.nv_read(RSA_EK_CERTIFICATE))?.flatten();
            if certificate.is_some() {
                rsa = shown(self.with_rsa_ek(|_, _, public| Ok(public)))?;
                certificate = certificate.filter(|_| rsa.is_some());
            }
        }
        let mut chain = Vec::new();
        for index in indices.into_iter().filter(|index| CHAIN.contains(index)) {
            match shown(self.nv_read(index))?.flatten() {
                Some(part) if certificate.is_some() && chain.len() + part.len() <= CHAIN_MAX => {
                    chain.extend(part)
                }
                _ => break,
            }
        }
        Ok(EkCertificate { certificate, rsa, chain })
    }

    fn nv_indices(&mut self) -> Result<Vec<u32>, TpmError> {
        let parameters = Writer::new().u32(CAP_HANDLES).u32(NV_FIRST).u32(HANDLES_MAX);
        let reply = Call::new("GetCapability", 0x17a).parameters(parameters).send(&mut *self.transport)?;
        let mut r = Reader::new("TPM2_GetCapability", &reply.parameters);
        r.u8()?; // moreData: those that follow are not ours
        let capability = r.u32()?;
        let count = r.u32()?;
        if capability != CAP_HANDLES || count > HANDLES_MAX {
            return Err(r
                .field("capability", capability.into(), "handles, as many as were asked for")
                .into());
        }
        let indices = (0..count).map(|_| r.u32()).collect::<Result<_, _>>()?;
        r.finish()?;
        Ok(indices)
    }

    /// The whole content of an index; `None` when it was never written, is read by nobody like us, or is too long.
    fn nv_read(&mut self, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
        let reply = Call::new("NV_ReadPublic", 0x169).handle(index).send(&mut *self.transport)?;
        let mut r = Reader::new("TPM2_NV_ReadPublic", &reply.parameters);
        let public = r.tpm2b("nvPublic", 128)?;
        let mut public = Reader::new("TPMS_NV_PUBLIC", public);
        let (found, _name_alg, attributes) = (public.u32()?, public.u16()?, public.u32()?);
        public.tpm2b("authPolicy", 64)?;
        let size = public.u16()?;
        public.finish()?;
        if found != index {
            return Err(r.field("nvIndex", found.into(), "the index that was asked for").into());
        }
        let reader = match attributes {
            a if a & AUTH_READ != 0 => index,
            a if a & OWNER_READ != 0 => RH_OWNER,
            _ => return Ok(None),
        };
        if attributes & WRITTEN == 0 || size > CERTIFICATE_MAX {
            return Ok(None);
        }
        let mut content = Vec::with_capacity(size.into());
        while content.len() < usize::from(size) {
            let offset = u16::try_from(content.len()).unwrap_or(size);
            let want = BLOCK.min(size - offset);
            let reply = Call::new("NV_Read", 0x14e)
                .handle_with_password(reader)
                .handle(index)
                .parameters(Writer::new().u16(want).u16(offset))
                .send(&mut *self.transport)?;
            let mut r = Reader::new("TPM2_NV_Read", &reply.parameters);
            let block = r.tpm2b("data", BLOCK.into())?;
            if block.len() != usize::from(want) {
                return Err(r.field("data.size", block.len() as u64, "the size that was asked for").into());
            }
            content.extend(block);
            r.finish()?;
        }
        Ok(Some(content))
    }
}

/// What the TPM shows: its refusal is an answer.
fn shown<T>(result: Result<T, TpmError>) -> Result<Option<T>, TpmError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(TpmError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
