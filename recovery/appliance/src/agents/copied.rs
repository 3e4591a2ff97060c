//! One TPM that seems to be two: its key proves itself, and its counters went back since the last time.
//!
//! ```text
//! true quote ─► counted less than on record ─► conflict `tpm-copied`, the job held ─► every proof by this key refused
//!                                                    a person resolves ─► whichever proves itself next is on record again
//! ```
//!
//! Neither of the two can be told from the other by what it can do, so both are held: the one that came second is as much the endpoint
//! as the first.
//!
//! It must never: decide which of them is the endpoint.

use recovery_protocol::{Problem, job::HoldReason, operator::ClaimView};
use serde_json::json;

use super::{Agents, identity::COPIED, proof};
use crate::{
    attest::{Counted, VerifiedQuote},
    db::{self, endpoint::Endpoint, session::Session},
    evidence::Fact,
    jobs::journal::JournalTx,
};

/// Why a proof by the right key does not count.
pub struct Copied {
    why: String,
    opens: bool,
}

/// Whether this quote can come from a copy: it counts less than on record, or nobody has resolved yet that another one did.
pub fn by(endpoint: &Endpoint, session: &Session, quote: &VerifiedQuote) -> Option<Copied> {
    if endpoint.ek_sha256.as_ref() != Some(&session.record.ek_sha256) {
        return None;
    }
    if endpoint.conflict.as_ref().is_some_and(|conflict| conflict.open.is_some() && conflict.name == COPIED) {
        let why =
            "two TPMs have shown this endpoint's key, and nobody has resolved that yet (check tpm-copied)";
        return Some(Copied { why: why.to_owned(), opens: false });
    }
    let went_back = Counted::from(quote.clock()).follows(endpoint.tpm_counted?).err()?;
    Some(Copied { why: proof::named(COPIED, &went_back), opens: true })
}

impl Copied {
    /// Write the conflict down, hold the job, and give the refusal back.
    pub async fn hold(
        self,
        agents: &Agents,
        mut tx: JournalTx<'_>,
        session: &Session,
        endpoint: Endpoint,
    ) -> Problem {
        match self.write(&mut tx, session, endpoint).await {
            Ok(()) => proof::hold(agents, tx, session, HoldReason::TpmCopied, self.why).await,
            Err(error) => error.into(),
        }
    }

    async fn write(
        &self,
        tx: &mut JournalTx<'_>,
        session: &Session,
        mut endpoint: Endpoint,
    ) -> Result<(), db::DbError> {
        // A proof follows a hello, which put the inventory on record.
        let Some(inventory) = endpoint.inventory.clone().filter(|_| self.opens) else { return Ok(()) };
        let (at, ek_sha256) = (tx.at, session.record.ek_sha256.clone());
        let facts = json!({ "why": self.why, "ek_sha256": ek_sha256, "counted": endpoint.tpm_counted });
        tx.note(Fact::new("identity.conflict", "agent", facts).about(&endpoint.id).of(session.job)).await?;
        let mut conflict = endpoint.conflict.take().unwrap_or_default();
        conflict.name = COPIED.to_owned();
        conflict.open = Some(ClaimView {
            since_unix_ms: at,
            last_unix_ms: at,
            count: 1,
            why: self.why.clone(),
            ek_sha256,
            inventory,
        });
        endpoint.conflict = Some(conflict);
        db::endpoint::put(tx.conn(), &endpoint).await
    }
}
