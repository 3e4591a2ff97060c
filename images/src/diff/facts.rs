//! What two headers say differently, in words.

use std::collections::BTreeMap;

use super::{Fact, range};
use crate::Header;
use crate::disk::guid_text;
use crate::manifest::header::{Measurement, Need, Partition};

/// Add a fact unless both say the same.
pub(super) fn differ<T: ToString>(facts: &mut Vec<Fact>, what: &str, before: T, after: T) {
    let (before, after) = (before.to_string(), after.to_string());
    if before != after {
        facts.push(Fact { what: what.to_owned(), before, after });
    }
}

/// All but the partitions.
pub(super) fn of_headers(before: &Header, after: &Header) -> Vec<Fact> {
    let mut facts = Vec::new();
    let (a, b) = (&before.identity, &after.identity);
    differ(&mut facts, "name", &a.name, &b.name);
    differ(&mut facts, "version", &a.version, &b.version);
    differ(&mut facts, "epoch", a.epoch, b.epoch);
    differ(&mut facts, "architecture", &a.arch, &b.arch);
    differ(&mut facts, "hardware class", &a.hardware_class, &b.hardware_class);
    differ(&mut facts, "note", &a.note, &b.note);
    let previous = |header: &Header| header.identity.previous.map(|id| id.to_string()).unwrap_or_default();
    differ(&mut facts, "previous", previous(before), previous(after));
    differ(&mut facts, "oldest agent", a.agent_min, b.agent_min);
    let (a, b) = (&before.disk, &after.disk);
    differ(&mut facts, "disk bytes", a.size, b.size);
    differ(&mut facts, "sector bytes", a.sector_size, b.sector_size);
    differ(&mut facts, "boot region head bytes", a.head_len, b.head_len);
    differ(&mut facts, "boot region tail bytes", a.tail_len, b.tail_len);
    let (a, b) = (&before.boot, &after.boot);
    differ(&mut facts, "boots by UEFI", a.uefi, b.uefi);
    differ(&mut facts, "boots by BIOS", a.bios, b.bios);
    differ(&mut facts, "boots with Secure Boot", a.secure_boot, b.secure_boot);
    differ(&mut facts, "loader", &a.loader, &b.loader);
    let (a, b) = (&before.table, &after.table);
    differ(&mut facts, "partition table", a.scheme, b.scheme);
    differ(&mut facts, "disk GUID", guid_text(&a.disk_guid), guid_text(&b.disk_guid));
    differ(&mut facts, "first usable sector", a.usable.0, b.usable.0);
    differ(&mut facts, "last usable sector", a.usable.1, b.usable.1);
    let regions = |header: &Header| {
        let region =
            |r: &crate::manifest::header::HostRegion| format!("{} at {}+{}", r.purpose, r.offset, r.len);
        header.host_regions.iter().map(region).collect::<Vec<_>>().join(", ")
    };
    differ(&mut facts, "host regions", regions(before), regions(after));
    of_measurements(&mut facts, &before.measurements, &after.measurements);
    facts
}

/// By PCR and what is measured, as a verifier looks for them.
fn of_measurements(facts: &mut Vec<Fact>, before: &[Measurement], after: &[Measurement]) {
    let mut all: BTreeMap<(u8, &str), [Vec<String>; 2]> = BTreeMap::new();
    for (side, measurements) in [before, after].into_iter().enumerate() {
        for m in measurements {
            let need = match m.need {
                Need::Always => "",
                Need::SecureBoot => " with Secure Boot",
                Need::Optional => " optional",
            };
            let [old, new] = all.entry((m.pcr, &m.what)).or_default();
            let list = if side == 0 { old } else { new };
            list.push(hex::encode(m.digest) + need);
        }
    }
    for ((pcr, what), [old, new]) in all {
        differ(facts, &format!("PCR {pcr} {what}"), old.join(", "), new.join(", "));
    }
}

/// What the tables say of a partition.
pub(super) fn of_partitions(
    before: &Header,
    a: Option<&Partition>,
    after: &Header,
    b: Option<&Partition>,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut say = |what: &str, value: &dyn Fn(&Header, &Partition) -> String| {
        let of =
            |header, partition: Option<&Partition>| partition.map(|p| value(header, p)).unwrap_or_default();
        differ(&mut facts, what, of(before, a), of(after, b));
    };
    say("number", &|_, p| (p.index + 1).to_string());
    say("name", &|_, p| p.name.clone());
    say("first byte", &|header, p| range(header, p).start.to_string());
    say("bytes", &|header, p| {
        let range = range(header, p);
        (range.end - range.start).to_string()
    });
    say("filesystem", &|_, p| p.filesystem.clone());
    say("policy", &|_, p| p.policy.to_string());
    say("type", &|_, p| guid_text(&p.type_guid));
    say("GUID", &|_, p| guid_text(&p.unique_guid));
    say("attributes", &|_, p| format!("{:#x}", p.attributes));
    facts
}
