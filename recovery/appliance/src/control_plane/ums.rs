//! IGEL UMS as the fleet's control plane, by its REST API IMI v3: the old record of an endpoint goes before its first boot, a fresh one waits
//! in quarantine, and only an endpoint whose proof was accepted gets the site's settings.
//!
//! ```text
//! reset_record     the old records of its MAC are removed ─► until a look says so ─► import of the MAC into `quarantine_directory`
//! register         the comment names job and image                                        (UMS knows a device by its MAC, and gives it
//! lift_quarantine  move into `directory` ─► read back ─► settings2tc                       a certificate anew when it registers)
//! observe          UMS asks the device: online, or not yet
//! ```
//!
//! The endpoint's label `igel-ums` says that UMS knows it: `yes` by the first MAC on record, or the 12 hex digits of the MAC that UMS knows. One
//! without is none of UMS's. What we have of a record stands in its comment ([`mark`]). Automatic registration has to be off in UMS: else
//! whatever comes with that MAC is let in without us.
//!
//! It must never: touch the record of another endpoint's recovery, or have settings sent before the quarantine is lifted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use recovery_protocol::{EndpointId, JobId, MacAddr};
use serde_json::json;
use tokio::time::timeout;

use self::{
    imi::{Imi, ThinClient},
    mark::Mark,
};
use super::{ControlPlane, Observed, PlaneError, Registration};
use crate::{
    asking::pinned::FileError,
    config::UmsPlane,
    db::{self, Conn, Db, DbError, endpoint::Record},
};

mod imi;
mod mark;
#[cfg(test)]
mod tests;

pub use imi::is_id;

/// The label that says that UMS knows an endpoint.
const LABEL: &str = "igel-ums";
/// UMS asks a device for its settings; one that is off is waited for by UMS, not by us.
const SETTINGS_MAX: Duration = Duration::from_secs(4);

/// How much UMS may say, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest answer, bytes: the list of all its thin clients, about 700 bytes each.
    answer_len: usize,
    /// Longest time for one.
    question: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { answer_len: 32 << 20, question: Duration::from_secs(10) }
    }
}

/// A UMS.
pub struct Ums {
    imi: Imi,
    db: Db,
    quarantine: String,
    directory: String,
    firmware: Option<String>,
    asks_online: bool,
    /// What old records ran that are removed and not yet imported again, by MAC.
    ran: Mutex<BTreeMap<String, String>>,
}

/// Of which recovery a record in UMS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// An earlier one, or none of ours.
    Before,
    /// This one.
    This,
    /// A later one of the same endpoint: this call comes late.
    Later,
    /// One of another endpoint.
    Another,
}

impl Ums {
    /// Reads its files; nothing is connected yet.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(setting: &UmsPlane, db: Db) -> Result<Self, FileError> {
        Self::within(setting, db, Limits::default())
    }

    fn within(setting: &UmsPlane, db: Db, limits: Limits) -> Result<Self, FileError> {
        Ok(Self {
            imi: Imi::open(setting, limits)?,
            db,
            quarantine: setting.quarantine_directory.clone(),
            directory: setting.directory.clone(),
            firmware: setting.firmware_id.clone(),
            asks_online: setting.release_when_online,
            ran: Mutex::default(),
        })
    }

    /// By which MAC UMS knows an endpoint that is on record here.
    async fn mac(&self, endpoint: &EndpointId) -> Result<Option<String>, PlaneError> {
        let mut conn = self.db.read().await.map_err(failed)?;
        let Some(known) = db::endpoint::get(&mut conn, endpoint).await.map_err(failed)? else {
            return Ok(None);
        };
        let Some(mac) = mac_of(&known.record).map_err(PlaneError::Refused)? else { return Ok(None) };
        match owner(&mut conn, &mac).await.map_err(failed)? {
            Some(other) if other != *endpoint => Err(PlaneError::Refused(format!(
                "its label {LABEL} names {mac}, which is on record here as an address of {other}: correct the label, or the addresses of both"
            ))),
            Some(_) | None => Ok(Some(mac)),
        }
    }

    /// Of which recovery a record is, as seen from this one, and what its comment says.
    async fn whose(
        &self,
        id: &str,
        endpoint: &EndpointId,
        generation: u64,
    ) -> Result<(Whose, Option<Mark>, String), PlaneError> {
        let comment = self.imi.one(id, Some("details")).await?.comment.unwrap_or_default();
        let mark = Mark::of(&comment);
        let whose = match &mark {
            None => Whose::Before,
            Some(mark) if mark.endpoint != *endpoint => Whose::Another,
            Some(mark) if mark.generation > generation => Whose::Later,
            Some(mark) if mark.generation == generation => Whose::This,
            Some(_) => Whose::Before,
        };
        Ok((whose, mark, comment))
    }

    /// As [`Self::whose`], of an endpoint that is on record with this MAC. A record of another one is an old one of the same device where
    /// that other one is not on record any more; else a person has to say which of the two it is.
    async fn ours(
        &self,
        id: &str,
        endpoint: &EndpointId,
        generation: u64,
    ) -> Result<(Whose, String), PlaneError> {
        let (whose, mark, comment) = self.whose(id, endpoint, generation).await?;
        let other = mark.filter(|_| whose == Whose::Another).map(|mark| mark.endpoint);
        let Some(other) = other else { return Ok((whose, comment)) };
        let mut conn = self.db.read().await.map_err(failed)?;
        if db::endpoint::get(&mut conn, &other).await.map_err(failed)?.is_none() {
            return Ok((Whose::Before, comment));
        }
        Err(PlaneError::Refused(format!(
            "the record {id} in UMS is of the recovery of {other}, which is on record here, too: it was not touched; correct the addresses or \
             the label {LABEL} of one of the two, or remove that record in UMS"
        )))
    }

    /// The old records go, and where the endpoint is on record with this MAC a fresh one comes, in quarantine.
    async fn reset(
        &self,
        endpoint: &EndpointId,
        generation: u64,
        mac: &str,
        comes: bool,
    ) -> Result<(), PlaneError> {
        let all = self.imi.with_mac(mac).await?;
        self.remember(mac, &all);
        let (mut fresh, mut old) = (None, Vec::new());
        for one in all.iter().filter(|one| !one.in_bin) {
            let whose = match comes {
                true => self.ours(&one.id, endpoint, generation).await?.0,
                false => self.whose(&one.id, endpoint, generation).await?.0,
            };
            match whose {
                Whose::Later | Whose::Another => return Ok(()),
                Whose::This if comes && fresh.is_none() => fresh = Some(one),
                Whose::This | Whose::Before => old.push(one.id.as_str()),
            }
        }
        self.remove(mac, &old).await?;
        match fresh {
            _ if !comes => Ok(()),
            Some(one) => self.put_into(one, &self.quarantine).await,
            None => {
                self.import(mac, Mark { endpoint: endpoint.clone(), generation, job: None, image: None })
                    .await
            }
        }
    }

    /// It may take its time: gone, or in the recycle bin, is what a look says.
    async fn remove(&self, mac: &str, ids: &[&str]) -> Result<(), PlaneError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut said = Vec::new();
        for id in ids {
            said.extend(self.imi.delete(id).await?);
        }
        let left = self.imi.with_mac(mac).await?;
        let left = left.iter().filter(|one| !one.in_bin && ids.contains(&one.id.as_str()));
        let left: Vec<&str> = left.map(|one| one.id.as_str()).collect();
        if left.is_empty() {
            return Ok(());
        }
        let said = said.first().map(|said| format!(" ({said})")).unwrap_or_default();
        let why = format!("UMS still has the record {} of {mac}{said}", left.join(", "));
        Err(PlaneError::Refused(why))
    }

    /// Keep in mind what an endpoint runs: when its old record is gone UMS does not know it any more.
    fn remember(&self, mac: &str, all: &[ThinClient]) {
        let of =
            |in_bin: bool| all.iter().filter(move |one| one.in_bin == in_bin).find_map(ThinClient::firmware);
        let mut ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(firmware) = of(false) {
            ran.insert(mac.to_owned(), firmware.to_owned());
        } else if let Some(firmware) = of(true) {
            ran.entry(mac.to_owned()).or_insert_with(|| firmware.to_owned());
        }
    }

    /// A fresh record in quarantine.
    async fn import(&self, mac: &str, mark: Mark) -> Result<(), PlaneError> {
        let ran = self.ran.lock().unwrap_or_else(PoisonError::into_inner).get(mac).cloned();
        let Some(firmware) = ran.or_else(|| self.firmware.clone()) else {
            return Err(PlaneError::Refused(format!(
                "UMS has no old record of {mac} that says which firmware it runs, and without one it imports nothing: write `firmware_id` \
                 into the configuration of this control plane, and start the appliance again"
            )));
        };
        let order = json!({
            "mac": mac,
            "firmwareID": firmware,
            "name": mark.endpoint.as_str(),
            "parentID": self.quarantine,
            "comment": mark.to_string(),
        });
        let imported = self.imi.import(&order).await;
        if let Err(silent @ PlaneError::Silent(_)) = imported {
            return Err(silent);
        }
        let all = self.imi.with_mac(mac).await?;
        if let Err(error) = imported {
            // ITG-0A008 is all that it says of this.
            let binned = all.iter().any(|one| one.in_bin);
            let hint = if binned {
                "; an old record of it lies in its recycle bin: remove it there for good"
            } else {
                ""
            };
            return Err(PlaneError::Refused(format!("{}{hint}", error.why())));
        }
        // UMS may have put it elsewhere: a rule of its own for new ones comes first.
        let fresh = sole(mac, all)?.ok_or_else(|| {
            PlaneError::Refused(format!("UMS took the import of {mac} and has no record of it"))
        })?;
        self.put_into(&fresh, &self.quarantine).await?;
        self.ran.lock().unwrap_or_else(PoisonError::into_inner).remove(mac);
        Ok(())
    }

    /// Where it stands afterwards is what a look says.
    async fn put_into(&self, one: &ThinClient, directory: &str) -> Result<(), PlaneError> {
        if one.parent.as_deref() == Some(directory) {
            return Ok(());
        }
        self.imi.move_to(&one.id, directory).await?;
        if self.imi.one(&one.id, None).await?.parent.as_deref() == Some(directory) {
            return Ok(());
        }
        let why = format!("UMS says that {} is moved, and it is not in directory {directory}", one.id);
        Err(PlaneError::Refused(why))
    }

    async fn add(
        &self,
        endpoint: &EndpointId,
        generation: u64,
        told: &Registration,
    ) -> Result<(), PlaneError> {
        let Some(mac) = self.mac(endpoint).await? else { return Ok(()) };
        let (job, image) = (Some(told.job.clone()), Some(told.image.clone()));
        let mark = Mark { endpoint: endpoint.clone(), generation, job, image };
        let all = self.imi.with_mac(&mac).await?;
        self.remember(&mac, &all);
        let Some(one) = sole(&mac, all)? else { return self.import(&mac, mark).await };
        let (whose, comment) = self.ours(&one.id, endpoint, generation).await?;
        let wanted = mark.within(&comment);
        if whose == Whose::Later || comment == wanted {
            return Ok(());
        }
        self.put_into(&one, &self.quarantine).await?;
        self.imi.comment(&one.id, &wanted).await
    }

    async fn lift(&self, endpoint: &EndpointId, generation: u64) -> Result<(), PlaneError> {
        let Some(mac) = self.mac(endpoint).await? else { return Ok(()) };
        let one = sole(&mac, self.imi.with_mac(&mac).await?)?;
        let one = one.ok_or_else(|| {
            PlaneError::Refused(format!(
                "UMS has no record of {mac} any more: somebody removed it; recover the endpoint again"
            ))
        })?;
        if self.ours(&one.id, endpoint, generation).await?.0 == Whose::Later {
            return Ok(());
        }
        self.put_into(&one, &self.directory).await?;
        // A device that is off gets them when it comes.
        let why = match timeout(SETTINGS_MAX, self.imi.settings(&one.id)).await {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(why))) => why,
            Ok(Err(error)) => error.why().to_owned(),
            Err(_) => format!("no answer within {} s", SETTINGS_MAX.as_secs()),
        };
        tracing::info!(%endpoint, why, "UMS has not sent its settings at once; it sends them when the endpoint comes");
        Ok(())
    }

    async fn look(&self, endpoint: &EndpointId, job: JobId) -> Result<Observed, PlaneError> {
        let mac = if self.asks_online { self.mac(endpoint).await? } else { None };
        let Some(mac) = mac else { return Ok(Observed::Nothing) };
        let Some(one) = sole(&mac, self.imi.with_mac(&mac).await?)? else {
            return Ok(Observed::NotYet(format!("UMS has no record of {mac}")));
        };
        let comment = self.imi.one(&one.id, Some("details")).await?.comment.unwrap_or_default();
        let of_it = Mark::of(&comment)
            .is_some_and(|mark| mark.endpoint == *endpoint && mark.job == Some(job.to_string()));
        if !of_it {
            let why = format!("the comment of record {} in UMS does not name this recovery", one.id);
            return Ok(Observed::NotYet(why));
        }
        Ok(match self.imi.one(&one.id, Some("online")).await?.online {
            Some(true) => Observed::Passes,
            Some(false) => Observed::NotYet(format!("UMS does not see {mac} online")),
            None => Observed::NotYet(format!("UMS does not say whether {mac} is online")),
        })
    }
}

fn failed(error: DbError) -> PlaneError {
    PlaneError::Refused(error.chain())
}

/// The endpoint that has this MAC on record here.
async fn owner(conn: &mut Conn, mac: &str) -> Result<Option<EndpointId>, DbError> {
    let Ok(mac) = mac.parse::<MacAddr>() else { return Ok(None) };
    Ok(db::endpoint::by_mac(conn, &[mac]).await?.map(|known| known.id))
}

/// The only record that takes calls.
fn sole(mac: &str, all: Vec<ThinClient>) -> Result<Option<ThinClient>, PlaneError> {
    let mut live: Vec<ThinClient> = all.into_iter().filter(|one| !one.in_bin).collect();
    if live.len() > 1 {
        let ids: Vec<&str> = live.iter().map(|one| one.id.as_str()).collect();
        let ids = ids.join(", ");
        let why = format!(
            "UMS has several records of {mac} ({ids}), which is one device: remove there all but the right one"
        );
        return Err(PlaneError::Refused(why));
    }
    Ok(live.pop())
}

/// By which MAC UMS knows an endpoint with this record, as UMS writes it; None: it does not.
pub(super) fn mac_of(record: &Record) -> Result<Option<String>, String> {
    let Some(label) = record.labels.get(LABEL) else { return Ok(None) };
    let mac = match (label, record.macs.first()) {
        ("yes", Some(mac)) => *mac,
        ("yes", None) => {
            return Err(format!("its label {LABEL} is yes, and no Ethernet address is on record"));
        }
        (text, _) => match text.parse::<MacAddr>() {
            Ok(mac) => mac,
            Err(_) => return Err(format!("its label {LABEL} is neither yes nor the 12 hex digits of a MAC")),
        },
    };
    Ok(Some(hex::encode_upper(mac.0)))
}

impl ControlPlane for Ums {
    fn known_as<'a>(&'a self, endpoint: &'a EndpointId) -> BoxFuture<'a, Result<Option<String>, PlaneError>> {
        Box::pin(self.mac(endpoint))
    }

    fn reset_record<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            let Some(mac) = self.mac(endpoint).await? else { return Ok(()) };
            self.reset(endpoint, generation, &mac, true).await
        })
    }

    fn reset_name<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            let (owner, known) = {
                let mut conn = self.db.read().await.map_err(failed)?;
                let known = db::endpoint::get(&mut conn, endpoint).await.map_err(failed)?;
                (owner(&mut conn, name).await.map_err(failed)?, known)
            };
            // It is on record as another one by now, or always was: that one's own recovery sees to it.
            if owner.is_some_and(|owner| owner != *endpoint) {
                return Ok(());
            }
            let mac = known.and_then(|known| mac_of(&known.record).ok().flatten());
            self.reset(endpoint, generation, name, mac.as_deref() == Some(name)).await
        })
    }

    fn register<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(self.add(endpoint, generation, registration))
    }

    fn observe<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        job: JobId,
    ) -> BoxFuture<'a, Result<Observed, PlaneError>> {
        Box::pin(self.look(endpoint, job))
    }

    fn lift_quarantine<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(self.lift(endpoint, generation))
    }
}
