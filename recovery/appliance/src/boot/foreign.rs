//! Other DHCP and boot servers on the boot network: heard of, shown, and an alarm where they are in the way.
//!
//! ```text
//!   overheard offer, answer to a probe, a client's choice ─► one line for each server ─► `net doctor`, status, console
//!                                                                 └─ in the way ─► evidence: alarm.foreign-server
//! ```
//!
//! A site's own DHCP beside an interface in proxy mode is as it should be, and no alarm. In the way are: any other boot server,
//! since firmware keeps only the first offer; a second DHCP server; any DHCP server where we give the addresses.
//!
//! Anybody can send offers, and name any server in them. So the lines are few, each server is one entry in evidence a day at most,
//! and all of them together are [`ALARMS_MOST`]. It must never: answer to another server's packets.

use std::{
    collections::{BTreeMap, VecDeque},
    net::Ipv4Addr,
    sync::{MutexGuard, PoisonError},
};

use recovery_protocol::net::ForeignView;

use super::BootDesk;

/// Servers remembered; the one heard of longest ago makes room.
const SERVERS_MOST: usize = 32;
/// A server that was silent so long is not held against an endpoint's boot any more.
const RECENT_MS: u64 = 24 * 3_600_000;
/// Between two entries in evidence about one server.
const AGAIN_MS: u64 = 24 * 3_600_000;
/// Entries in evidence within [`AGAIN_MS`], whatever is heard: made-up servers shall not fill the log. What is not written is shown.
const ALARMS_MOST: usize = 32;

/// The other servers, by interface (our address) and address.
#[derive(Debug, Default)]
pub struct Foreign {
    servers: BTreeMap<(Ipv4Addr, Ipv4Addr), Heard>,
    alarms: VecDeque<u64>,
}

#[derive(Debug, Default)]
struct Heard {
    gives: bool,
    boots: bool,
    first: u64,
    last: u64,
    count: u64,
    written: Option<u64>,
}

impl Foreign {
    /// A server was heard of on an interface at a time.
    pub fn note(&mut self, interface: Ipv4Addr, server: Ipv4Addr, (gives, boots): (bool, bool), at: u64) {
        let key = (interface, server);
        if self.servers.len() >= SERVERS_MOST && !self.servers.contains_key(&key) {
            let oldest = self.servers.iter().min_by_key(|(_, heard)| heard.last).map(|(key, _)| *key);
            oldest.and_then(|key| self.servers.remove(&key));
        }
        let heard = self.servers.entry(key).or_insert_with(|| Heard { first: at, ..Heard::default() });
        // A new side of it is news.
        if (gives && !heard.gives) || (boots && !heard.boots) {
            heard.written = None;
        }
        heard.gives |= gives;
        heard.boots |= boots;
        heard.last = at;
        heard.count += 1;
    }

    /// The servers heard of lately on an interface: who gives addresses, who boots.
    pub fn on(&self, interface: Ipv4Addr, at: u64) -> (Vec<Ipv4Addr>, Vec<Ipv4Addr>) {
        let here = self
            .servers
            .iter()
            .filter(|((on, _), heard)| *on == interface && at.saturating_sub(heard.last) < RECENT_MS);
        let (mut dhcp, mut boot) = (Vec::new(), Vec::new());
        for ((_, server), heard) in here {
            dhcp.extend(heard.gives.then_some(*server));
            boot.extend(heard.boots.then_some(*server));
        }
        (dhcp, boot)
    }

    /// All of them; `full` says on which interfaces we give the addresses.
    pub fn views(&self, full: impl Fn(Ipv4Addr) -> bool) -> Vec<ForeignView> {
        self.servers.iter().map(|(key, heard)| self.view(*key, heard, &full)).collect()
    }

    /// What is due to be written into evidence; it counts as written.
    pub fn take_due(&mut self, full: impl Fn(Ipv4Addr) -> bool, at: u64) -> Vec<ForeignView> {
        let due = |heard: &Heard| heard.written.is_none_or(|written| heard.last >= written + AGAIN_MS);
        while self.alarms.front().is_some_and(|written| at >= written.saturating_add(AGAIN_MS)) {
            self.alarms.pop_front();
        }
        let room = ALARMS_MOST.saturating_sub(self.alarms.len());
        let views: Vec<_> = self
            .servers
            .iter()
            .filter(|(_, heard)| due(heard))
            .map(|(key, heard)| (*key, self.view(*key, heard, &full)))
            .filter(|(_, view)| view.alarm)
            .take(room)
            .collect();
        self.alarms.extend(views.iter().map(|_| at));
        for (key, _) in &views {
            if let Some(heard) = self.servers.get_mut(key) {
                heard.written = Some(at);
            }
        }
        views.into_iter().map(|(_, view)| view).collect()
    }

    fn view(
        &self,
        (interface, server): (Ipv4Addr, Ipv4Addr),
        heard: &Heard,
        full: impl Fn(Ipv4Addr) -> bool,
    ) -> ForeignView {
        let others = self.servers.iter().filter(|((on, who), other)| {
            *on == interface && *who != server && other.gives && heard.last.abs_diff(other.last) < RECENT_MS
        });
        let second = heard.gives && others.count() > 0;
        let (alarm, code, what) = if heard.boots {
            (
                true,
                "other-boot-server",
                "another boot server answers here: firmware keeps only the first offer",
            )
        } else if full(interface) {
            (
                true,
                "dhcp-in-full-mode",
                "another DHCP server answers on a network where the appliance gives the addresses",
            )
        } else if second {
            (true, "second-dhcp-server", "more than one DHCP server answers here")
        } else {
            (false, "site-dhcp", "the site's DHCP")
        };
        ForeignView {
            interface: interface.to_string(),
            server: server.to_string(),
            gives_addresses: heard.gives,
            boots: heard.boots,
            first_unix_ms: heard.first,
            last_unix_ms: heard.last,
            count: heard.count,
            alarm,
            code: code.to_owned(),
            what: what.to_owned(),
        }
    }
}

impl BootDesk {
    /// The other DHCP and boot servers heard of since the start.
    pub fn foreign(&self) -> Vec<ForeignView> {
        self.foreign_now().views(|at| self.is_full(at))
    }

    /// The ones that are in the way and not yet written into evidence; they count as written.
    pub(super) fn foreign_due(&self, at: u64) -> Vec<ForeignView> {
        self.foreign_now().take_due(|at| self.is_full(at), at)
    }

    pub(super) fn foreign_now(&self) -> MutexGuard<'_, Foreign> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const THIRD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

    fn alarms(foreign: &Foreign, full: bool) -> Vec<bool> {
        foreign.views(|_| full).iter().map(|view| view.alarm).collect()
    }

    #[test]
    fn b3_b20_who_is_in_the_way_is_an_alarm_and_the_sites_own_dhcp_is_none() {
        let mut foreign = Foreign::default();
        foreign.note(US, OTHER, (true, false), 1);
        assert_eq!((alarms(&foreign, false), alarms(&foreign, true)), (vec![false], vec![true]));
        foreign.note(US, THIRD, (true, false), 2);
        assert_eq!(alarms(&foreign, false), [true, true], "two that give addresses");
        let mut foreign = Foreign::default();
        foreign.note(US, OTHER, (false, true), 1);
        assert_eq!(alarms(&foreign, false), [true]);
        assert_eq!(foreign.on(US, 2), (vec![], vec![OTHER]));
        assert_eq!(foreign.on(OTHER, 2), (vec![], vec![]), "another interface");
        assert_eq!(foreign.on(US, 1 + RECENT_MS), (vec![], vec![]), "long ago");
    }

    #[test]
    fn a_server_is_written_once_a_day_and_again_when_it_turns_out_to_be_more() {
        let mut foreign = Foreign::default();
        foreign.note(US, OTHER, (true, false), 1);
        assert_eq!(foreign.take_due(|_| false, 1), [], "the site's own");
        assert_eq!(foreign.take_due(|_| true, 1).len(), 1);
        foreign.note(US, OTHER, (true, false), 2);
        assert_eq!(foreign.take_due(|_| true, 2), []);
        foreign.note(US, OTHER, (false, true), 3);
        assert_eq!(foreign.take_due(|_| true, 3).len(), 1, "it boots, too");
        foreign.note(US, OTHER, (false, true), 3 + AGAIN_MS);
        assert_eq!(foreign.take_due(|_| true, 3 + AGAIN_MS).len(), 1);
    }

    #[test]
    fn made_up_servers_fill_no_memory() {
        let mut foreign = Foreign::default();
        for n in 0..5_000 {
            foreign.note(US, Ipv4Addr::from(n), (false, true), u64::from(n));
        }
        assert_eq!(foreign.servers.len(), SERVERS_MOST);
        assert!(foreign.servers.contains_key(&(US, Ipv4Addr::from(4_999))), "the newest stay");
    }

    #[test]
    fn made_up_servers_fill_no_log_and_the_next_day_is_told_again() {
        let mut foreign = Foreign::default();
        let mut written = 0;
        for n in 0..5_000 {
            foreign.note(US, Ipv4Addr::from(n), (false, true), u64::from(n));
            written += foreign.take_due(|_| false, u64::from(n)).len();
        }
        assert_eq!((written, foreign.alarms.len()), (ALARMS_MOST, ALARMS_MOST));
        foreign.note(US, OTHER, (false, true), 5_000 + AGAIN_MS);
        let later = foreign.take_due(|_| false, 5_000 + AGAIN_MS);
        assert!(later.iter().any(|view| view.server == OTHER.to_string()));
    }
}
