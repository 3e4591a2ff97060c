//! Golden images as people judge them: each with who signed it and where it is used; channels, and promotions that somebody signed elsewhere.
//!
//! The appliance holds no key that promotes images: what is handed in here is refused unless the trust root lists the key that signed it.

use std::collections::BTreeMap;

use images::{
    ImageId,
    keys::{ChannelStatement, Signed, Stage},
};
use recovery_protocol::{
    EndpointId, Problem,
    channel::{ChannelView, ImageDetail, Promotion, UseView},
};
use serde_json::json;

use super::{Actor, Service};
use crate::{db, evidence::Fact};

const HANDED_IN: &str = "hand in what `groundstate image promote --out FILE` wrote, whole and as it was";

impl Service {
    /// One image with who signed it and where it is used. 404 `unknown-image`.
    pub async fn image(&self, image: ImageId) -> Result<ImageDetail, Problem> {
        let (mut found, mut runs) = (self.0.golden.detail(image).await?, self.runs().await?);
        let used = self.used().await?;
        let Some(detail) = &mut found else {
            let remedy = "look at the page of images, or `groundstate image list`";
            let detail = format!("no image {image} is in the store");
            return Err(Problem::new(404, "unknown-image", "There is no such image", detail, remedy));
        };
        detail.used_by = used.get(&image).cloned().unwrap_or_default();
        detail.runs_on = runs.remove(&image).unwrap_or_default();
        Ok(detail.clone())
    }

    /// By image the blueprints that mean it now, with how many endpoints follow each.
    pub async fn used(&self) -> Result<BTreeMap<ImageId, Vec<UseView>>, Problem> {
        let mut follow: BTreeMap<String, u64> = BTreeMap::new();
        for endpoint in db::endpoint::light(&mut *self.0.journal.db.read().await?).await? {
            *follow.entry(endpoint.record.blueprint).or_default() += 1;
        }
        let (all, mut used) = (self.0.golden.list().await?, BTreeMap::<ImageId, Vec<UseView>>::new());
        for (name, blueprint) in &self.0.journal.config.blueprints {
            // One that means none now is told where its endpoints are.
            if let Ok(choice) = self.0.golden.choose_among(all.clone(), blueprint).await {
                let endpoints = follow.get(name).copied().unwrap_or_default();
                used.entry(choice.image).or_default().push(UseView { blueprint: name.clone(), endpoints });
            }
        }
        Ok(used)
    }

    /// By image the endpoints whose last good recovery was to it.
    async fn runs(&self) -> Result<BTreeMap<ImageId, Vec<EndpointId>>, Problem> {
        let mut runs: BTreeMap<ImageId, Vec<EndpointId>> = BTreeMap::new();
        for row in db::job::last_recoveries(&mut *self.0.journal.db.read().await?).await? {
            runs.entry(row.job.image).or_default().push(row.job.endpoint);
        }
        Ok(runs)
    }

    /// What was said about the images of every name.
    pub async fn channels_of_images(&self) -> Result<Vec<ChannelView>, Problem> {
        let mut names: Vec<String> = self.0.golden.list().await?.into_iter().map(|view| view.name).collect();
        names.sort();
        names.dedup();
        let mut found = Vec::new();
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            found.push(self.0.golden.channel(&name).await?);
        }
        Ok(found)
    }

    /// What was said about the images of this name. 404 `unknown-image`.
    pub async fn channel_of_images(&self, name: &str) -> Result<ChannelView, Problem> {
        let found = self.channels_of_images().await?.into_iter().find(|channel| channel.name == name);
        found.ok_or_else(|| {
            let detail = format!("no image in the store is called {name}");
            let remedy = "look at the page of images, or `groundstate image list`";
            Problem::new(404, "unknown-image", "There is no such image", detail, remedy)
        })
    }

    /// Keep a promotion that somebody signed. `revision`: the epoch that whoever hands it in saw; another one since: 412 `channel-moved`. One
    /// that is older than what was said since: 409 `channel-rolled-back`; whose key the trust root does not list: 403 `statement-refused`; of an
    /// image that is not trusted: 409 with the reason.
    pub async fn promote(
        &self,
        actor: &Actor,
        name: &str,
        promotion: Promotion,
        revision: Option<u64>,
    ) -> Result<ChannelView, Problem> {
        self.may_order_all(actor)?;
        let kept = self.keep(name, promotion, revision).await;
        let (kind, facts) = match &kept {
            Ok(body) => ("order.promote", json!(body)),
            Err(problem) => (
                "refusal.order",
                json!({ "order": "promote", "named": name, "code": problem.code, "detail": problem.detail }),
            ),
        };
        self.0.journal.note(Fact::new(kind, &actor.name, facts)).await?;
        kept?;
        self.channel_of_images(name).await
    }

    async fn keep(
        &self,
        name: &str,
        promotion: Promotion,
        revision: Option<u64>,
    ) -> Result<ChannelStatement, Problem> {
        let signed: Signed<ChannelStatement> =
            serde_json::from_value(promotion.statement).map_err(|error| {
                Problem::new(
                    422,
                    "bad-statement",
                    "This is no signed promotion",
                    error.to_string(),
                    HANDED_IN,
                )
            })?;
        let about = signed.body.about().map(|(about, stage)| (about.to_owned(), stage));
        let Some((_, stage)) = about.filter(|(about, _)| about == name) else {
            let detail = format!("it is about the channel `{}`, and {name} was named", signed.body.channel);
            return Err(Problem::new(
                422,
                "bad-statement",
                "The promotion is of another name",
                detail,
                HANDED_IN,
            ));
        };
        let now = self.channel_of_images(name).await?;
        if revision.is_some_and(|seen| seen != now.epoch) {
            let detail =
                format!("another promotion came since you looked; it stands at epoch {} now", now.epoch);
            let remedy = "look at it again, and decide anew";
            return Err(Problem::new(
                412,
                "channel-moved",
                "The channel was changed meanwhile",
                detail,
                remedy,
            ));
        }
        let known = now
            .statements
            .iter()
            .any(|said| said.epoch == signed.body.epoch && said.image == signed.body.image.to_string());
        if signed.body.epoch <= now.epoch && !known {
            let detail = format!(
                "the promotion has epoch {}, and the last one said here {}",
                signed.body.epoch, now.epoch
            );
            let remedy =
                "an order of before does not come back: have it signed anew (`groundstate image promote`)";
            return Err(Problem::new(
                409,
                "channel-rolled-back",
                "The promotion is older than the last",
                detail,
                remedy,
            ));
        }
        if stage == Stage::Approved {
            self.0.golden.check(signed.body.image).await?;
        }
        self.0.golden.put_statement(signed.clone()).await?;
        Ok(signed.body)
    }
}
