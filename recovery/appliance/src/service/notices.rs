//! Who is told what happens: how it stands with each, and a test of one.

use std::time::Instant;

use recovery_protocol::{
    Problem,
    notify::{ChannelTested, ChannelView, Reloaded},
};

use super::{Actor, Inner, Service, scope};
use crate::{metrics::Counted, reload};

impl Service {
    /// `GET /api/v1/notifications`: every channel, and who follows the evidence log.
    pub async fn channels(&self) -> Result<Vec<ChannelView>, Problem> {
        Ok(self.0.channels.view(&mut *self.0.journal.db.read().await?).await?)
    }

    /// What the evidence log tells, counted since the start.
    #[must_use]
    pub fn counted(&self) -> &Counted {
        self.0.channels.counted()
    }

    /// Put the configuration file in force as it is now. 409 `no-file`, `needs-restart`, 422 `config-refused`.
    pub async fn reload(&self, actor: &Actor) -> Result<Reloaded, Problem> {
        reload::reload(&self.0, actor).await
    }

    /// Send a test message and wait until the channel took it. 404 `unknown-channel`, 502 `channel-failed`.
    pub async fn test_channel(&self, actor: &Actor, name: &str) -> Result<ChannelTested, Problem> {
        test(&self.0, actor, name).await
    }
}

async fn test(inner: &Inner, actor: &Actor, name: &str) -> Result<ChannelTested, Problem> {
    scope::whole_site(actor)?;
    let begun = Instant::now();
    inner.channels.test(name, &actor.name, &inner.journal).await?;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let views = inner.channels.view(&mut *inner.journal.db.read().await?).await?;
    let channel = views.into_iter().find(|view| view.name == name).unwrap_or_default();
    Ok(ChannelTested { channel, took_ms })
}
