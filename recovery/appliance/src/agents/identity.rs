//! Is this hello from the endpoint on record? A MAC address selects, and docks, USB adapters and replaced boards carry it elsewhere: what is
//! stronger is weighed before anything that an endpoint says is kept.
//!
//! ```text
//! TPM's EK  >  board: serial number and UUID, without junk  >  WWNs of its disks  >  MAC address
//! ```
//!
//! The strongest that both have decides. An EK on record is decided by a proof ([`super::proof`]), not here. Where what is stronger
//! says "another one", or it is another endpoint's, the hello is refused and the contradiction stands with the endpoint until a person
//! resolves it: nothing is merged, and no recovery begins (`identity_conflict`).
//!
//! The address of a dock or USB adapter identifies nobody: it selects last, and where nothing stronger says the same it is a conflict, too.
//! Where neither side has anything stronger, that would be so for ever; then a person tells ([`only_a_person_can_tell`]).
//!
//! A hello is a claim: anybody on the boot network can start a conflict, as anybody there can pull a cable. It stops recoveries of one
//! endpoint, visibly, and writes nothing.

use std::collections::BTreeSet;

use recovery_protocol::{
    EndpointId, MacAddr, Problem,
    agent::{Hello, Inventory},
    operator::{ClaimView, EndpointState},
};
use serde_json::json;

use super::proof::ISOLATE;
use crate::{
    attest,
    db::{
        self,
        endpoint::{Conflict, Endpoint},
    },
    evidence::Fact,
    jobs::journal::JournalTx,
};

/// The name of a conflict about one TPM that seems to be two ([`super::copied`]).
pub const COPIED: &str = "tpm-copied";
/// Claims that a person dismissed and that are remembered, at most.
const DISMISSED_MOST: usize = 16;

/// What makers write where a serial number or UUID belongs.
const JUNK: [&str; 24] = [
    "to be filled by o.e.m.",
    "to be filled by o.e.m",
    "o.e.m.",
    "oem",
    "default string",
    "system serial number",
    "chassis serial number",
    "serial number",
    "not specified",
    "not applicable",
    "not available",
    "none",
    "n/a",
    "unknown",
    "undefined",
    "invalid",
    "empty",
    "standard",
    "123456789",
    "0123456789",
    "1234567890",
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
];

/// A serial number or UUID that tells one board from another, in one spelling.
fn telling(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let letters: BTreeSet<char> = text.chars().filter(char::is_ascii_alphanumeric).collect();
    // All zeros, all F, and other runs of one or two characters.
    let fits = text.len() >= 4 && letters.len() > 2 && !JUNK.contains(&text.as_str());
    fits.then_some(text)
}

/// What two computers have of one kind: the same, something else, or nothing that tells.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Weighed {
    Same,
    Other(String),
    Unknown,
}

/// What both boards tell: what it is, as on record, as said now.
fn boards(known: &Inventory, said: &Inventory) -> Vec<(&'static str, String, String)> {
    let pairs = [("serial number", &known.serial, &said.serial), ("UUID", &known.uuid, &said.uuid)];
    let told =
        pairs.into_iter().filter_map(|(what, known, said)| Some((what, telling(known)?, telling(said)?)));
    told.collect()
}

/// The strongest thing that both tell decides.
fn weigh(known: &Inventory, said: &Inventory) -> Weighed {
    let told = boards(known, said);
    if let Some((what, known, said)) = told.iter().find(|(_, known, said)| known != said) {
        return Weighed::Other(format!("the {what} of its board is {said}, on record is {known}"));
    }
    if !told.is_empty() {
        return Weighed::Same;
    }
    let wwns = |inventory: &Inventory| -> BTreeSet<String> {
        inventory
            .disks
            .iter()
            .filter(|disk| !disk.removable)
            .filter_map(|disk| telling(disk.wwn.as_deref()?))
            .collect()
    };
    let (known, said) = (wwns(known), wwns(said));
    if known.is_empty() || said.is_empty() {
        Weighed::Unknown
    } else if known.is_disjoint(&said) {
        let list = said.into_iter().collect::<Vec<_>>().join(", ");
        Weighed::Other(format!("its board tells nothing, and it has none of the disks on record but {list}"))
    } else {
        Weighed::Same
    }
}

/// Neither board nor disks tell who it is.
fn is_nameless(said: &Inventory) -> bool {
    let disks = said.disks.iter().filter(|disk| !disk.removable);
    [&said.serial, &said.uuid].into_iter().all(|text| telling(text).is_none())
        && disks.filter_map(|disk| disk.wwn.as_deref()).all(|wwn| telling(wwn).is_none())
}

/// Whether it has the disk that its record names, where it names one: another computer has not.
fn has_the_disk(endpoint: &Endpoint, said: &Inventory) -> bool {
    let mut disks = said.disks.iter().filter(|disk| !disk.removable);
    endpoint
        .record
        .disk_serial
        .as_ref()
        .is_none_or(|serial| disks.any(|disk| disk.serial.as_ref() == Some(serial)))
}

/// It came by the address of a dock, and neither it nor the record has anything that tells one computer from another. That is no
/// contradiction, and no identity: nothing of it is kept, it is given nothing, and in a job it shows a pairing code, which a person at the
/// endpoint's own screen matches.
#[must_use]
pub fn only_a_person_can_tell(endpoint: &Endpoint, hello: &Hello, by_dock: bool) -> bool {
    let conflict = endpoint.conflict.as_ref();
    let dismissed =
        || conflict.is_some_and(|conflict| conflict.dismissed.contains(&fingerprint("", &hello.inventory)));
    by_dock
        && hello.tpm.is_none()
        && endpoint.ek_sha256.is_none()
        && conflict.is_none_or(|conflict| conflict.open.is_none())
        && is_nameless(&hello.inventory)
        && endpoint.inventory.as_ref().is_none_or(is_nameless)
        && has_the_disk(endpoint, &hello.inventory)
        && !dismissed()
}

/// What names a claim, so that a dismissed one is known again.
fn fingerprint(ek: &str, said: &Inventory) -> String {
    let board = [&said.serial, &said.uuid].map(|text| telling(text).unwrap_or_default());
    let wwns: Vec<&str> = said.disks.iter().filter_map(|disk| disk.wwn.as_deref()).collect();
    crate::keys::spki_sha256(format!("{ek}\n{}\n{}\n{}", board[0], board[1], wwns.join(",")).as_bytes())
}

/// Whose strong identity this is, other than the endpoint's.
async fn other_owner(
    tx: &mut JournalTx<'_>,
    endpoint: &Endpoint,
    ek: &str,
    said: &Inventory,
) -> Result<Option<(EndpointId, &'static str)>, Problem> {
    if !ek.is_empty()
        && let Some(other) = db::endpoint::by_ek(tx.conn(), ek).await?.filter(|other| other.id != endpoint.id)
    {
        return Ok(Some((other.id, "TPM")));
    }
    if telling(&said.serial).is_none() && telling(&said.uuid).is_none() {
        return Ok(None);
    }
    let all = db::endpoint::all(tx.conn()).await?;
    let owner = all.into_iter().find(|other| {
        let known = other.inventory.as_ref().filter(|_| other.state != EndpointState::Discovered);
        // Its disks may have been moved: only the board speaks here.
        other.id != endpoint.id && known.is_some_and(|known| same_board(known, said))
    });
    Ok(owner.map(|owner| (owner.id, "board")))
}

fn same_board(known: &Inventory, said: &Inventory) -> bool {
    let told = boards(known, said);
    !told.is_empty() && told.iter().all(|(_, known, said)| known == said)
}

/// The endpoint that an inventory's addresses select, by one that is built in where any is, and whether only the address of a dock or USB
/// adapter does.
///
/// # Errors
/// The database's.
pub async fn selected(tx: &mut JournalTx<'_>, said: &Inventory) -> Result<Option<(Endpoint, bool)>, Problem> {
    let (docks, own): (Vec<MacAddr>, Vec<MacAddr>) =
        said.macs.iter().partition(|mac| said.dock_macs.contains(mac));
    if let Some(endpoint) = db::endpoint::by_mac(tx.conn(), &own).await? {
        return Ok(Some((endpoint, false)));
    }
    Ok(db::endpoint::by_mac(tx.conn(), &docks).await?.map(|endpoint| (endpoint, true)))
}

/// Weigh a hello that was found by its address; `by_dock`: by one that anybody could have plugged in. `Some`: it is refused, and the endpoint's conflict is written in this transaction.
///
/// # Errors
/// The database's.
pub async fn contradicts(
    tx: &mut JournalTx<'_>,
    endpoint: &Endpoint,
    hello: &Hello,
    by_dock: bool,
) -> Result<Option<Problem>, Problem> {
    let said = &hello.inventory;
    let ek = hello.tpm.as_ref().and_then(|tpm| attest::EkPublic::parse(&tpm.ek_public.0).ok());
    let ek = ek.map(|ek| ek.hash().to_string()).unwrap_or_default();
    // With a TPM on record its proof decides, and says so by its own names.
    if endpoint.ek_sha256.is_some() && !ek.is_empty() {
        return Ok(None);
    }
    let mut conflict = endpoint.conflict.clone().unwrap_or_default();
    let name = fingerprint(&ek, said);
    let weighed = match &endpoint.inventory {
        Some(known) => weigh(known, said),
        None => Weighed::Unknown,
    };
    let why = match weighed {
        // Which of two it is cannot be told while a person has not said so.
        Weighed::Same if conflict.open.is_some() => {
            "another one came with its address, and nobody has resolved that yet".to_owned()
        }
        Weighed::Same => return Ok(None),
        Weighed::Other(why) => why,
        Weighed::Unknown => match other_owner(tx, endpoint, &ek, said).await? {
            Some((owner, what)) => format!("it has the {what} of {owner}, and an address of {}", endpoint.id),
            None if conflict.open.is_some() => {
                "another one came with its address, and nobody has resolved that yet".to_owned()
            }
            None if by_dock => {
                "the address is that of a dock or USB adapter, which comes with any computer, and nothing else tells that it is this one"
                    .to_owned()
            }
            None => return Ok(None),
        },
    };
    let at = tx.at;
    if conflict.dismissed.contains(&name) {
        return Ok(Some(problem(&endpoint.id, &why)));
    }
    match &mut conflict.open {
        Some(claim) => {
            claim.last_unix_ms = at;
            claim.count += 1;
        }
        None => {
            let claim = ClaimView {
                since_unix_ms: at,
                last_unix_ms: at,
                count: 1,
                why: why.clone(),
                ek_sha256: ek,
                inventory: said.clone(),
            };
            let facts = json!({ "why": why, "said": said, "ek_sha256": claim.ek_sha256, "on_record": endpoint.inventory });
            tx.note(Fact::new("identity.conflict", "agent", facts).about(&endpoint.id)).await?;
            conflict.open = Some(claim);
            conflict.name = name;
        }
    }
    let endpoint = Endpoint { conflict: Some(conflict), ..endpoint.clone() };
    db::endpoint::put(tx.conn(), &endpoint).await?;
    Ok(Some(problem(&endpoint.id, &why)))
}

fn problem(id: &EndpointId, why: &str) -> Problem {
    let detail = format!("it came with an address of {id}, but {why}");
    let remedy = format!("{ISOLATE}; a person resolves it with `groundstate endpoint resolve {id}`");
    Problem::new(403, "identity-conflict", "This may be another endpoint", detail, remedy)
}

/// A person says which it is: the one on record stays and the claim is remembered as dismissed, or the claim is the endpoint from now on.
pub fn resolved(endpoint: &Endpoint, replace: bool) -> Option<Endpoint> {
    let mut conflict = endpoint.conflict.clone()?;
    let claim = conflict.open.take()?;
    let mut endpoint = endpoint.clone();
    if replace {
        let serials = claim.inventory.disks.iter().filter_map(|disk| disk.serial.as_ref());
        let same_disk = endpoint
            .record
            .disk_serial
            .as_ref()
            .is_some_and(|on_record| serials.into_iter().any(|s| s == on_record));
        if !same_disk && endpoint.record.disk_serial.take().is_some() {
            endpoint.revision += 1;
        }
        endpoint.inventory = Some(claim.inventory);
        // Of another board nothing that was measured or proven counts.
        (endpoint.ek_sha256, endpoint.ek_certificate, endpoint.baseline, endpoint.proven) =
            (None, None, None, None);
        endpoint.tpm_counted = None;
    } else if conflict.name == COPIED {
        // Whichever of them proves itself next is the one.
        endpoint.tpm_counted = None;
    } else {
        conflict.dismissed.push(std::mem::take(&mut conflict.name));
        let more = conflict.dismissed.len().saturating_sub(DISMISSED_MOST);
        conflict.dismissed.drain(..more);
    }
    endpoint.refusal = None;
    endpoint.conflict = Some(Conflict { name: String::new(), ..conflict });
    Some(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(serial: &str, uuid: &str, wwns: &[&str]) -> Inventory {
        let disks: Vec<_> = wwns
            .iter()
            .map(|wwn| json!({ "wwn": wwn, "serial": null, "model": "", "size_bytes": 1, "sector_bytes": 512, "transport": "ata", "rotational": false, "removable": false }))
            .collect();
        let inventory = json!({
            "macs": [], "vendor": "v", "product": "p", "serial": serial, "uuid": uuid, "firmware": "uefi", "memory_bytes": 1,
            "disks": disks,
        });
        serde_json::from_value(inventory).unwrap()
    }

    #[test]
    fn what_makers_left_unfilled_tells_nothing() {
        for junk in JUNK.into_iter().chain([
            "",
            "  ",
            "0",
            "abc",
            "00000000",
            "................",
            "ZZZZZZZZ",
            "To Be Filled By O.E.M.",
            "Default string",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "0000-ffff",
        ]) {
            assert_eq!(telling(junk), None, "{junk}");
        }
        assert_eq!(telling(" CZC1234XYZ ").as_deref(), Some("czc1234xyz"));
        assert!(telling("4c4c4544-0042-3510-8053-b4c04f4e3132").is_some());
    }

    #[test]
    fn the_strongest_that_both_tell_decides() {
        let (a, b) = ("SN-A123", "SN-B456");
        let (u, v) = ("4c4c4544-0042-3510-8053-b4c04f4e3132", "4c4c4544-0042-3510-8053-b4c04f4e9999");
        let (w, x) = ("naa.5000c500a1b2c3d4", "naa.5000c500a1b2ffff");
        let zero = "00000000-0000-0000-0000-000000000000";
        let other = |weighed: Weighed| matches!(weighed, Weighed::Other(_));
        let known = board(a, u, &[w]);
        assert_eq!(
            weigh(&known, &board("sn-a123", &u.to_uppercase(), &[x])),
            Weighed::Same,
            "a new disk is no new board"
        );
        assert_eq!(weigh(&known, &board("Default string", u, &[])), Weighed::Same);
        assert!(other(weigh(&known, &board(b, u, &[w]))) && other(weigh(&known, &board(a, v, &[w]))));
        assert!(
            other(weigh(&known, &board(b, zero, &[w]))),
            "a disk that was carried over does not make it the same"
        );
        let junk = board("To be filled by O.E.M.", zero, &[w]);
        assert_eq!(weigh(&junk, &junk), Weighed::Same, "by its disk");
        assert!(other(weigh(&junk, &board("", zero, &[x]))));
        assert_eq!(weigh(&junk, &board("", zero, &[])), Weighed::Unknown);
        assert_eq!(weigh(&board("", "", &[]), &known), Weighed::Unknown);
        assert!(same_board(&known, &board(a, zero, &[])) && !same_board(&junk, &junk));
    }
}
