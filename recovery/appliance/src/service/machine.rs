//! A machine as whoever stands before it needs it: picture, outlook, and whether it works again.

use images::manifest::header::Policy;
use recovery_protocol::{
    EndpointId, JobId, Problem,
    job::JobState,
    machine::{Acceptance, OutlookView, PHOTO_LEN_MAX, PhotoView, Usual, photo_type},
    operator::{JobKind, JobView},
};
use ring::digest;
use serde_json::json;

use super::{
    Actor, Inner, Service,
    orders::{self, choose, within},
    scope,
};
use crate::{
    db::{self, photo::Photo},
    evidence::Fact,
    refusals::{unknown_endpoint, unknown_job},
};

impl Service {
    /// An endpoint's picture. 404 `no-photo`.
    pub async fn photo(&self, endpoint: &EndpointId) -> Result<Photo, Problem> {
        let found = db::photo::get(&mut *self.0.journal.db.read().await?, endpoint).await?;
        found.ok_or_else(|| {
            let detail = format!("no picture of {endpoint} is on record");
            let remedy = "set one with `groundstate endpoint photo`, or on its page";
            Problem::new(404, "no-photo", "There is no picture", detail, remedy)
        })
    }

    /// Set an endpoint's picture. 413 `photo-too-large`, 422 `photo-unreadable`.
    pub async fn set_photo(
        &self,
        actor: &Actor,
        id: &EndpointId,
        bytes: Vec<u8>,
    ) -> Result<PhotoView, Problem> {
        if bytes.len() > PHOTO_LEN_MAX {
            return Err(photo_too_large());
        }
        let Some(media_type) = photo_type(&bytes) else {
            let detail = "the file is neither JPEG nor PNG nor WebP, by its first bytes";
            let remedy = "send a photograph in one of these formats";
            return Err(Problem::new(
                422,
                "photo-unreadable",
                "This is no picture that we take",
                detail,
                remedy,
            ));
        };
        let mut tx = self.0.journal.begin().await?;
        let at = tx.at;
        let endpoint = db::endpoint::get(tx.conn(), id).await?.ok_or_else(|| unknown_endpoint(id))?;
        scope::covers(&self.0, actor, &endpoint)?;
        let sha256 = hex::encode(digest::digest(&digest::SHA256, &bytes));
        let photo =
            Photo { media_type: media_type.to_owned(), sha256, bytes, set: at, set_by: actor.name.clone() };
        db::photo::put(tx.conn(), id, &photo).await?;
        let facts =
            json!({ "media_type": photo.media_type, "sha256": photo.sha256, "bytes": photo.bytes.len() });
        tx.note(Fact::new("order.photo", &actor.name, facts).about(id)).await?;
        tx.commit().await?;
        let bytes = photo.bytes.len() as u64;
        Ok(PhotoView { endpoint: id.clone(), media_type: photo.media_type, sha256: photo.sha256, bytes })
    }

    /// Forget an endpoint's picture. 404 `no-photo`.
    pub async fn remove_photo(&self, actor: &Actor, id: &EndpointId) -> Result<PhotoView, Problem> {
        self.may_order(actor, id).await?;
        let photo = self.photo(id).await?;
        let mut tx = self.0.journal.begin().await?;
        db::photo::remove(tx.conn(), id).await?;
        let facts = json!({ "removed": photo.sha256 });
        tx.note(Fact::new("order.photo", &actor.name, facts).about(id)).await?;
        tx.commit().await?;
        let bytes = photo.bytes.len() as u64;
        Ok(PhotoView { endpoint: id.clone(), media_type: photo.media_type, sha256: photo.sha256, bytes })
    }

    /// What a recovery would bring an endpoint, and when. 404 `unknown-endpoint`.
    pub async fn outlook(&self, id: &EndpointId) -> Result<OutlookView, Problem> {
        let found = db::endpoint::get(&mut *self.0.journal.db.read().await?, id).await?;
        let endpoint = found.ok_or_else(|| unknown_endpoint(id))?;
        let (image_name, image, saved, kept, why_none) = match choose(&self.0, &endpoint).await {
            Ok(choice) => {
                let (saved, kept) = saved(&self.0, choice.image).await?;
                (choice.name, Some(choice.image), saved, kept, String::new())
            }
            Err(problem) => (String::new(), None, None, Vec::new(), problem.detail),
        };
        let name = self.0.journal.config.blueprints.get(&endpoint.record.blueprint);
        let name = name.map(|blueprint| blueprint.image.as_str()).unwrap_or_default();
        let mut conn = self.0.journal.db.read().await?;
        let took = db::job::took(&mut conn, &endpoint.record.group, name).await?;
        let open = db::job::open_of(&mut conn, id).await?.filter(|row| row.job.capture.is_none());
        let begun = match &open {
            Some(row) => db::job::ticketed(&mut conn, row.job.id).await?,
            None => None,
        };
        let recoveries = took.len() as u64;
        let usual = Usual::of(took);
        let until = begun.zip(usual).map(|(begun, usual)| begun.saturating_add(usual.p90_ms));
        Ok(OutlookView {
            endpoint: id.clone(),
            image_name,
            image,
            saved_unix_ms: saved,
            kept,
            why_none,
            recoveries,
            usual,
            until_unix_ms: until,
        })
    }

    /// What a person sees on a recovered endpoint. The last answer counts. 404 `unknown-job`, 409 `not-recovered`.
    pub async fn accept(&self, actor: &Actor, job: JobId, order: Acceptance) -> Result<JobView, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let row = db::job::get(tx.conn(), job).await?.ok_or_else(|| unknown_job(job))?;
        if let Some(endpoint) = db::endpoint::get(tx.conn(), &row.job.endpoint).await? {
            scope::covers(&self.0, actor, &endpoint)?;
        }
        if row.job.state != JobState::Recovered {
            let detail = format!("job {job} has not recovered {}", row.job.endpoint);
            let remedy = "wait until it is recovered, then look at its screen";
            return Err(Problem::new(
                409,
                "not-recovered",
                "There is nothing to look at yet",
                detail,
                remedy,
            ));
        }
        if row.accepted != Some(order.live_values) || !order.note.is_empty() {
            db::job::accepted(tx.conn(), job, order.live_values).await?;
            let kind = if order.live_values { "recovery.accepted" } else { "recovery.not-accepted" };
            let facts = json!({ "live_values": order.live_values, "note": within(&order.note) });
            let mut fact = Fact::new(kind, &actor.name, facts).about(&row.job.endpoint).of(Some(job));
            fact.mode = row.job.mode;
            tx.note(fact).await?;
        }
        tx.commit().await?;
        orders::one(&self.0, job).await
    }
}

/// 413: more than a picture may have.
#[must_use]
pub fn photo_too_large() -> Problem {
    let detail = format!("a picture has at most {} KiB", PHOTO_LEN_MAX >> 10);
    let remedy = "make it smaller: 1280 pixels across are plenty";
    Problem::new(413, "photo-too-large", "The picture is too large", detail, remedy)
}

/// When an image was imported, and what of a disk it preserves.
async fn saved(inner: &Inner, image: images::ImageId) -> Result<(Option<u64>, Vec<String>), Problem> {
    let header = inner.golden.header(image).await?;
    let named = |at: u32, name: &str| if name.is_empty() { (at + 1).to_string() } else { name.to_owned() };
    let partitions = header
        .table
        .partitions
        .iter()
        .filter(|partition| matches!(partition.policy, Policy::Preserve | Policy::Skip));
    let kept = partitions.map(|partition| named(partition.index, &partition.name)).collect();
    Ok((Some(header.identity.created_unix_ms).filter(|at| *at > 0), kept))
}

/// Whether a person is still asked what they see.
#[must_use]
pub fn asks_for_live_values(job: &JobView) -> bool {
    job.kind == JobKind::Recovery && job.state == JobState::Recovered && job.accepted.is_none()
}
