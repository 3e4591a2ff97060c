//! Virtual media: the recovery system as a CD that the BMC fetches from the appliance and shows its endpoint (DSP0268, VirtualMedia).
//!
//! ```text
//! look ─► insert ─► reads "inserted, ours" ─► off ─► still ours ─► override Cd (Once) ─► read back ─► on
//!            └─ whatever fails from here on ─► override taken back ─► ejected ─► read back
//! ```
//!
//! The file's name carries the job, so that what is in a drive is known as ours and as whose, also by the next appliance after a takeover.
//! BMCs differ: some have no action to insert and take a PATCH, some want the way of transfer, some refuse what they do not know, and all
//! judge the address by its suffix. Each order has spellings, tried in turn until the read-back is right. A drive is this endpoint's where
//! it hangs on its system, or on a manager that manages no other one. It must never: eject what is not ours, or choose the CD while
//! somebody else's is in a drive, since it may be that one that boots; or touch what the appliance that took over has set.

use std::net::Ipv4Addr;

use recovery_protocol::JobId;

use super::{
    Bmc, Boot, Duration, Instant, Method, NotSent, PowerError, Session, Still, Value, json, link, sleep,
};

/// What stands in front of the job in a medium's name.
const NAME: &str = "groundstate-";
const SUFFIX: &str = ".iso";
/// Where the appliance serves it.
pub const PATH: &str = "/media/";
/// Most drives that are looked at.
const DRIVES_MAX: usize = 8;
/// BMCs fetch the medium, or its beginning, before they say that it is there.
const INSERTED_MAX: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
const BETWEEN_READS: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 500 });

/// The name of a job's medium.
pub fn name(job: JobId) -> String {
    format!("{NAME}{job}{SUFFIX}")
}

/// Whose medium has this name, where it is one of ours.
pub fn job_of(name: &str) -> Option<JobId> {
    name.strip_prefix(NAME)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// Where the appliance has the recovery system as a CD.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// Its addresses on the networks that it serves.
    pub addresses: Vec<Ipv4Addr>,
    /// The port of its boot files.
    pub port: u16,
}

impl Shelf {
    /// The medium's address as the BMC behind `url` sees it: ours on the way to it, where we serve there.
    fn address(&self, url: &str, job: JobId) -> Result<String, String> {
        let first =
            self.addresses.first().ok_or("the appliance serves no network from which it could be fetched")?;
        let toward = || {
            let uri: hyper::Uri = url.parse().ok()?;
            let host = uri.host()?.trim_matches(['[', ']']).to_owned();
            let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
            // Sends nothing: it only chooses the way.
            socket.connect((host.as_str(), 443)).ok()?;
            match socket.local_addr().ok()?.ip() {
                std::net::IpAddr::V4(own) if self.addresses.contains(&own) => Some(own),
                _ => None,
            }
        };
        let own = toward().unwrap_or(*first);
        Ok(format!("http://{own}:{}{PATH}{}", self.port, name(job)))
    }
}

/// One virtual drive, as it reads.
struct Drive {
    path: String,
    body: Value,
    etag: Option<String>,
}

impl Drive {
    fn is_cd(&self) -> bool {
        let kinds = self.body["MediaTypes"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| matches!(kind.as_str(), Some("CD" | "DVD"))))
    }

    fn is_taken(&self) -> bool {
        self.body["Inserted"].as_bool() == Some(true)
            || !self.image().is_empty() && self.body["Inserted"].is_null()
    }

    fn image(&self) -> &str {
        self.body["Image"].as_str().unwrap_or_default()
    }

    /// Whose job's medium is in it; `None`: none of ours.
    fn ours(&self) -> Option<JobId> {
        let last = |text: &str| job_of(text.rsplit('/').next().unwrap_or_default());
        let name = self.body["ImageName"].as_str().unwrap_or_default();
        // Some keep the name of what was in before.
        let image = if self.image().is_empty() { name } else { self.image() };
        if self.is_taken() { last(image) } else { None }
    }

    /// Whether what it reads may be ours: that, or a medium that it does not name.
    fn may_be_ours(&self) -> bool {
        self.is_taken() && (self.ours().is_some() || self.image().is_empty())
    }

    /// What is in it, for a person.
    fn said(&self) -> String {
        let image: String = self.image().chars().filter(|c| !c.is_control()).take(120).collect();
        match (self.is_taken(), image.is_empty()) {
            (false, _) => "nothing inserted".to_owned(),
            (true, true) => "a medium that it does not name".to_owned(),
            (true, false) => image,
        }
    }

    fn action(&self, name: &str) -> Option<&str> {
        self.body["Actions"][name]["target"].as_str().filter(|path| path.starts_with('/'))
    }
}

impl Boot {
    /// Whether the next boot goes to the CD.
    fn to_cd(&self) -> bool {
        matches!(self.target.as_deref(), Some("Cd" | "UsbCd")) && self.enabled.as_deref() != Some("Disabled")
    }
}

/// Medium in, off, override, on; each step confirmed. What fails leaves no medium and no override behind.
pub async fn power_into_medium(
    bmc: &Bmc<'_>,
    shelf: Option<&Shelf>,
    job: JobId,
    still: &dyn Still,
) -> Result<(), PowerError> {
    let what = "show the recovery system as a CD";
    let session = Session::open(bmc).await?;
    let none =
        "the boot kit holds no CD; make it with `groundstate-bootkit stick` and start the appliance again";
    let address = shelf.ok_or_else(|| none.to_owned()).and_then(|shelf| shelf.address(bmc.url, job));
    let address = address.map_err(|why| session.failed(what, why))?;
    let was_on = session.system().await?.power_state.as_deref() != Some("Off");
    // Before anything of ours is ejected: it may be what the appliance that took over has set.
    still.wanted().await?;
    let drive = session.free_drive().await?;
    still.wanted().await?;
    let (mut told_off, mut is_in) = (false, false);
    let brought = async {
        session.insert(&drive, &address, job).await?;
        is_in = true;
        // It may have fetched for a minute.
        still.wanted().await?;
        told_off = was_on;
        if was_on {
            session.reset("power off", "Off", &["ForceOff"]).await?;
        }
        let found = session.drive(&drive).await?;
        if found.ours() != Some(job) {
            let (host, found) = (bmc.url.to_owned(), found.said());
            return Err(PowerError::Unconfirmed { host, what: "keep the CD while it is off", found });
        }
        session.arm_cd().await?;
        session.reset("power on", "On", &["On", "ForceOn"]).await
    };
    let Err(error) = brought.await else { return Ok(()) };
    if still.may_clean_up().await
        && let Err(error) = session.take_out(Some((&drive, is_in))).await
    {
        tracing::warn!(%error, "a virtual CD that did not do could not be taken out");
    }
    Err(if told_off { error.leaving(Some(session.left().await)) } else { error })
}

/// On, with the override still set and this job's medium in, from this appliance: somebody has just done the above. What another one
/// inserted before this one took over cannot be fetched any more.
pub async fn armed(bmc: &Bmc<'_>, shelf: Option<&Shelf>, job: JobId) -> Result<bool, PowerError> {
    let Some(Ok(address)) = shelf.map(|shelf| shelf.address(bmc.url, job)) else { return Ok(false) };
    let session = Session::open(bmc).await?;
    let system = session.system().await?;
    let set = system.boot.to_cd() && system.power_state.as_deref() == Some("On");
    let drives = session.drives().await?.unwrap_or_default();
    Ok(set && drives.iter().any(|drive| drive.is_taken() && drive.image() == address))
}

/// No override to the CD, and nothing of ours in any drive.
pub async fn clear(bmc: &Bmc<'_>) -> Result<(), PowerError> {
    Session::open(bmc).await?.take_out(None).await
}

impl Session<'_> {
    async fn drive(&self, path: &str) -> Result<Drive, PowerError> {
        let answer = self.wire.get(path).await.map_err(|why| self.failed("read a virtual drive", why))?;
        let etag = answer.etag.or(answer.body["@odata.etag"].as_str().map(str::to_owned));
        Ok(Drive { path: path.to_owned(), body: answer.body, etag })
    }

    /// Its drives for CDs: the system's, or its manager's (before VirtualMedia 1.6 they stood there alone). `None`: that manager has other
    /// systems, too, and does not say whose they are.
    async fn drives(&self) -> Result<Option<Vec<Drive>>, PowerError> {
        let what = "find a virtual drive";
        let read =
            |path: String| async move { self.wire.get(&path).await.map_err(|why| self.failed(what, why)) };
        let system = read(self.system.clone()).await?.body;
        let mut collections: Vec<String> =
            link(&system["VirtualMedia"]).map(str::to_owned).into_iter().collect();
        if collections.is_empty() {
            let managers = system["Links"]["ManagedBy"].as_array().cloned().unwrap_or_default();
            for manager in managers.iter().filter_map(link).take(DRIVES_MAX) {
                let manager = read(manager.to_owned()).await?.body;
                let Some(media) = link(&manager["VirtualMedia"]) else { continue };
                let managed = match manager["Links"]["ManagerForServers"].as_array() {
                    Some(managed) => managed.len(),
                    // It does not say: then all that there are may be its own.
                    None => self.systems().await?,
                };
                if managed > 1 {
                    return Ok(None);
                }
                collections.push(media.to_owned());
            }
        }
        let mut drives = Vec::new();
        for collection in collections {
            let members = read(collection).await?.body["Members"].as_array().cloned().unwrap_or_default();
            for member in members.iter().filter_map(link).take(DRIVES_MAX) {
                drives.push(self.drive(member).await?);
            }
        }
        drives.retain(Drive::is_cd);
        Ok(Some(drives))
    }

    /// How many systems the BMC has.
    async fn systems(&self) -> Result<usize, PowerError> {
        let collection = self.system.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
        let list = self.wire.get(collection).await.map_err(|why| self.failed("count its systems", why))?;
        Ok(list.body["Members"].as_array().map_or(0, Vec::len))
    }

    /// A drive for our medium. What an earlier job left in one is taken out; somebody else's stays, and nothing is done.
    async fn free_drive(&self) -> Result<String, PowerError> {
        let what = "find a virtual drive";
        let shared = "its virtual drives hang on a manager of several systems, so that whose they are cannot be told; nothing was switched. \
                      Choose another way to power this endpoint";
        let drives = self.drives().await?.ok_or_else(|| self.failed(what, shared.to_owned()))?;
        let foreign = drives.iter().find(|drive| drive.is_taken() && drive.ours().is_none());
        if let Some(foreign) = foreign {
            let why = format!(
                "somebody else's CD is in {} ({}); nothing was switched, since it might boot. Have it taken out, then resume the job",
                foreign.path,
                foreign.said()
            );
            return Err(self.failed(what, why));
        }
        for left in drives.iter().filter(|drive| drive.ours().is_some()) {
            self.eject(left).await?;
        }
        let first = drives.into_iter().next().map(|drive| drive.path);
        first.ok_or_else(|| {
            self.failed(what, "it shows no virtual CD drive; it may want a licence for it".to_owned())
        })
    }

    async fn insert(&self, path: &str, address: &str, job: JobId) -> Result<(), PowerError> {
        let full = json!({ "Image": address, "Inserted": true, "WriteProtected": true });
        let mut told = full.clone();
        told["TransferProtocolType"] = json!("HTTP");
        let mut streamed = told.clone();
        streamed["TransferMethod"] = json!("Stream");
        let bare = json!({ "Image": address });
        let spellings = [full, told, streamed, bare];
        let is_in = |drive: &Drive| drive.ours() == Some(job);
        self.tell_drive("insert the CD", path, "#VirtualMedia.InsertMedia", &spellings, is_in).await
    }

    async fn eject(&self, drive: &Drive) -> Result<(), PowerError> {
        let spellings = match drive.action("#VirtualMedia.EjectMedia") {
            Some(_) => vec![json!({})],
            None => vec![
                json!({ "Image": null, "Inserted": false }),
                json!({ "Image": null }),
                json!({ "Inserted": false }),
            ],
        };
        // One that is taken and names nothing may hold ours still.
        let is_out = |drive: &Drive| !drive.may_be_ours();
        self.tell_drive("eject the CD", &drive.path, "#VirtualMedia.EjectMedia", &spellings, is_out).await
    }

    /// Tries each spelling until the drive reads right: by its action, or by a PATCH where it has none.
    async fn tell_drive(
        &self,
        what: &'static str,
        path: &str,
        action: &str,
        spellings: &[Value],
        right: impl Fn(&Drive) -> bool,
    ) -> Result<(), PowerError> {
        let (mut refused, mut found) = (None, String::new());
        for spelling in spellings {
            let drive = self.drive(path).await?;
            let sent = match drive.action(action) {
                Some(target) => self.wire.send(&Method::POST, target, None, spelling).await,
                None => self.wire.send(&Method::PATCH, path, drive.etag.as_deref(), spelling).await,
            };
            // One that was refused is not taken any more; one without an answer may be, and lands late.
            let refusal = matches!(sent, Err(NotSent::Refused(_)));
            let until = Instant::now() + if refusal { Duration::ZERO } else { INSERTED_MAX };
            refused = sent.err().map(NotSent::why);
            loop {
                let drive = self.drive(path).await?;
                if right(&drive) {
                    return Ok(());
                }
                found = drive.said();
                if Instant::now() >= until {
                    break;
                }
                sleep(BETWEEN_READS).await;
            }
            if refused.is_none() {
                // It took the order: another spelling of it would be another order.
                break;
            }
        }
        match refused {
            Some(why) => Err(self.failed(what, why)),
            None => Err(PowerError::Unconfirmed { host: self.bmc.url.to_owned(), what, found }),
        }
    }

    async fn arm_cd(&self) -> Result<(), PowerError> {
        let boot = self.system().await?.boot;
        let knows = |target: &str| boot.targets.iter().any(|known| known == target);
        let target = if knows("UsbCd") && !knows("Cd") { "UsbCd" } else { "Cd" };
        self.arm_to(target, &boot, "boot from the CD", Boot::to_cd).await
    }

    /// The override first: a drive that is empty boots nothing, a medium that stays may. Both are tried. `mine`: the drive that this
    /// conversation filled, and whether its medium was seen there. It is emptied also where the BMC does not say what is in it; where the
    /// medium was not seen it may land late.
    async fn take_out(&self, mine: Option<(&str, bool)>) -> Result<(), PowerError> {
        let disarmed = self.disarm(Boot::to_cd).await;
        let mut ejected = Ok(());
        // Nothing was put into drives that are shared.
        for drive in self.drives().await?.unwrap_or_default() {
            ejected = match mine {
                Some((path, false)) if path == drive.path => self.eject_late(drive).await,
                Some((path, true)) if path == drive.path && drive.may_be_ours() => self.eject(&drive).await,
                _ if drive.ours().is_some() => self.eject(&drive).await,
                _ => Ok(()),
            }
            .and(ejected);
        }
        disarmed.and(ejected)
    }

    /// What was ordered into a drive and did not show there: the order to eject comes after it, and whatever shows up for a while is
    /// ejected, too. Somebody else's is not.
    async fn eject_late(&self, mut drive: Drive) -> Result<(), PowerError> {
        let until = Instant::now() + INSERTED_MAX;
        if !drive.is_taken() {
            let (target, order) = match drive.action("#VirtualMedia.EjectMedia") {
                Some(target) => (target, json!({})),
                None => (drive.path.as_str(), json!({ "Image": null, "Inserted": false })),
            };
            let method = if target == drive.path { &Method::PATCH } else { &Method::POST };
            // Most say that nothing is in.
            if let Err(why) = self.wire.send(method, target, drive.etag.as_deref(), &order).await {
                tracing::debug!(why = why.why(), "an empty virtual drive was told to eject");
            }
        }
        loop {
            drive = self.drive(&drive.path).await?;
            if drive.may_be_ours() {
                self.eject(&drive).await?;
            }
            if Instant::now() >= until {
                return Ok(());
            }
            sleep(BETWEEN_READS).await;
        }
    }
}

#[cfg(test)]
mod tests;
