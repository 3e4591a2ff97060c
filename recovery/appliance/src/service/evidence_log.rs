//! The evidence log, as people take it away: exports, checkpoints, proofs.

use recovery_protocol::{
    JobId, Problem,
    evidence::Checkpoint,
    operator::{EvidenceKey, Mode},
};

use serde_json::json;

use super::{Actor, Service};
use crate::{db, evidence};

impl Service {
    /// The evidence of one job as JSON lines ([`recovery_protocol::evidence::Line`]), oldest first; alone they prove nothing.
    pub async fn job_evidence(&self, job: JobId) -> Result<Vec<String>, Problem> {
        Ok(evidence::of_job(&mut *self.0.journal.db.read().await?, job).await?)
    }

    /// The whole log with its checkpoints, signed to its end so that a cut is seen.
    pub async fn evidence_export(&self, actor: &Actor) -> Result<evidence::Export, Problem> {
        self.note("log.read", actor, None, None, json!({ "what": "export" })).await?;
        let signed = self.evidence_checkpoint().await?;
        Ok(evidence::Export::begin(&self.0.journal.db).await?.ending_at(signed.size()))
    }

    /// The same for a report that is made of it: nothing of it is handed out, so it is no reading of the log.
    pub async fn evidence_for_a_report(&self) -> Result<evidence::Export, Problem> {
        let signed = self.evidence_checkpoint().await?;
        Ok(evidence::Export::begin(&self.0.journal.db).await?.ending_at(signed.size()))
    }

    /// The text of one entry.
    pub async fn evidence_text(&self, seq: u64) -> Result<Option<String>, Problem> {
        Ok(db::log::get(&mut *self.0.journal.db.read().await?, seq).await?.map(|row| row.text))
    }

    /// Everything so far, signed.
    pub async fn evidence_checkpoint(&self) -> Result<Checkpoint, Problem> {
        let none = || {
            let remedy = "wait until something has happened";
            Problem::new(404, "evidence-empty", "The evidence log is empty", "nothing is in it yet", remedy)
        };
        self.0.journal.sign_log().await?.ok_or_else(none)
    }

    /// The proof that this entry is in the log, as a file of its own.
    pub async fn evidence_proof(&self, actor: &Actor, seq: u64) -> Result<String, Problem> {
        self.note("log.read", actor, None, None, json!({ "what": "entry", "entry": seq })).await?;
        let signed = self.evidence_checkpoint().await?;
        let proof = evidence::prove(&mut *self.0.journal.db.read().await?, seq, &signed).await?;
        proof.ok_or_else(|| {
            let detail = format!("the log has {} entries, and none is number {seq}", signed.size());
            let remedy = "take the number of an entry (`seq`) from an export or a job's page";
            Problem::new(404, "unknown-entry", "There is no such entry", detail, remedy)
        })
    }

    /// Write an entry, and prove it: what it says stands in the log from now on, and the proof travels alone.
    pub async fn note_proven(
        &self,
        kind: &str,
        actor: &Actor,
        mode: Mode,
        facts: serde_json::Value,
    ) -> Result<String, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let mut fact = evidence::Fact::new(kind, &actor.name, facts);
        fact.mode = mode;
        tx.note(fact).await?;
        let seq = db::log::last(tx.conn()).await?.map_or(0, |(seq, _)| seq);
        tx.commit().await?;
        let mut proofs = self.proofs(&[seq]).await?;
        proofs.pop().map(|(_, proof)| proof).ok_or_else(|| {
            let detail = format!("entry {seq} was written and cannot be found");
            let remedy = "verify the log: `groundstate evidence verify`";
            Problem::new(500, "evidence-not-proven", "The log cannot prove its last entry", detail, remedy)
        })
    }

    /// Proofs of several entries by one checkpoint. What is not in the log, or older than its tree, has none.
    pub async fn proofs(&self, seqs: &[u64]) -> Result<Vec<(u64, String)>, Problem> {
        let signed = self.evidence_checkpoint().await?;
        let mut conn = self.0.journal.db.read().await?;
        let mut proofs = Vec::with_capacity(seqs.len());
        for seq in seqs {
            if let Some(proof) = evidence::prove(&mut conn, *seq, &signed).await? {
                proofs.push((*seq, proof));
            }
        }
        Ok(proofs)
    }

    /// The proof that the log continues the one of this signed checkpoint, as a file of its own.
    pub async fn evidence_proof_since(&self, note: &str) -> Result<String, Problem> {
        let old = Checkpoint::verify(note, &self.0.journal.origin()).map_err(|why| {
            let remedy = "give a checkpoint of `groundstate evidence checkpoint`, whole and as it was";
            Problem::new(422, "not-a-checkpoint", "This is no checkpoint of ours", why.to_string(), remedy)
        })?;
        let new = self.evidence_checkpoint().await?;
        let proof = evidence::prove_since(&mut *self.0.journal.db.read().await?, &old, &new).await?;
        proof.ok_or_else(|| {
            let (then, now) = (old.size(), new.size());
            let detail = format!("{then} entries were signed then, and there are {now} now");
            let remedy = "keep the checkpoint: it proves that entries are gone. Look for the newest backup";
            Problem::new(409, "evidence-rolled-back", "Entries of the log are missing", detail, remedy)
        })
    }

    /// The public half of the evidence key.
    #[must_use]
    pub fn evidence_key(&self) -> EvidenceKey {
        let verifier_key = self.0.journal.origin().verifier_key();
        EvidenceKey { ed25519: self.0.keys.evidence_public(), verifier_key }
    }

    /// The whole log, or one job's, line by line.
    #[cfg(test)]
    pub async fn evidence_lines(&self, job: Option<JobId>) -> Result<Vec<String>, Problem> {
        if let Some(job) = job {
            return self.job_evidence(job).await;
        }
        let (mut export, mut lines) = (
            {
                self.0.journal.sign_log().await?;
                evidence::Export::begin(&self.0.journal.db).await?
            },
            Vec::new(),
        );
        while let Some(page) = export.next().await? {
            lines.extend(page.lines().map(str::to_owned));
        }
        Ok(lines)
    }
}
