//! What travels inside the recovery system and on a restored ESP: whom to trust, and the way home.
//!
//! The image signers' keys come from here and never from the appliance: the appliance cannot mint an image.

use serde::{Deserialize, Serialize};

use crate::{agent::Base64, ids::JobId};

/// `/etc/groundstate/trust.json` inside the recovery system's initrd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryTrust {
    /// The site's name, for the screen.
    pub site: String,
    /// SHA-256 of the appliance's SubjectPublicKeyInfo (DER), lower-case hex: the TLS pin.
    pub appliance_spki_sha256: String,
    /// The image trust root document, as `images::keys` encodes it.
    pub image_trust_root: Base64,
    /// The lowest image epoch this recovery system accepts.
    pub min_image_epoch: u64,
}

/// `EFI/groundstate/ticket.json` on a restored ESP: the way home for one enrolment. Spent by its first use.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentTicket {
    /// The job that placed it.
    pub job: JobId,
    /// The endpoint's name.
    pub endpoint: String,
    /// `ip:port` of the appliance's endpoint listener.
    pub appliance: String,
    /// SHA-256 of the appliance's SubjectPublicKeyInfo (DER), lower-case hex.
    pub appliance_spki_sha256: String,
    /// The one-time secret, presented in [`crate::agent::Hello::enrolment_ticket`].
    pub secret: String,
}

impl EnrolmentTicket {
    /// Where it lies on the ESP.
    pub const ESP_PATH: &'static str = "EFI/groundstate/ticket.json";
}

impl std::fmt::Debug for EnrolmentTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolmentTicket")
            .field("job", &self.job)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
