//! `groundstate image show|verify|diff`: what an image is, whether it is whole, how two differ. Nothing here changes a store.

use std::path::Path;

use images::{
    Header, ImageId, KeyRing, Manifest, SignedManifest, Store,
    diff::{Change, Difference, Fact, FileChange, PartitionChange, diff},
    disk::guid_text,
    manifest::header::{Measurement, Need, Partition},
};
use serde_json::{Value, json};

use super::{Place, bar, find, open, ring, store_fault};
use crate::chain::chain;
use crate::cli::{Output, say};
use crate::cli::{
    fault::{Code, Fault},
    show,
};

/// So many files of a partition are shown unless all are asked for.
const FILES_SHOWN: usize = 40;

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// Id, name or name:version
    pub before: String,
    /// Id, name or name:version
    pub after: String,
    /// Show every file
    #[arg(long)]
    pub all: bool,
}

/// Show one image: its header, and whether it is trusted.
pub fn show(place: &Place, data_dir: &Path, image: &str, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let id = find(&store, image)?;
    let signed = store.get_manifest(&id).map_err(|error| store_fault(&error))?;
    let manifest = signed.parse().map_err(|error| store_fault(&error.into()))?;
    let why_not = match ring(&place.trust_root(data_dir)) {
        Ok(ring) => ring.verify(signed.clone()).err().map(|error| chain(&error)),
        Err(_) => Some("there is no image trust root here to judge it by".to_owned()),
    };
    match output.is_data() {
        true => say(output, &header_json(&signed, &manifest, why_not.as_deref())),
        false => {
            println!("{}", header_page(&signed, &manifest, why_not.as_deref()));
            Ok(())
        }
    }
}

fn signers(signed: &SignedManifest) -> Vec<String> {
    signed.signatures.iter().map(|signature| hex::encode(signature.key)).collect()
}

fn need(need: Need) -> &'static str {
    match need {
        Need::Always => "always",
        Need::SecureBoot => "with Secure Boot",
        Need::Optional => "optional",
    }
}

/// First byte and length of a partition.
fn place_of(header: &Header, p: &Partition) -> (u64, u64) {
    let sector = u64::from(header.disk.sector_size);
    (p.first_lba * sector, (p.last_lba + 1 - p.first_lba) * sector)
}

fn header_json(signed: &SignedManifest, manifest: &Manifest, why_not: Option<&str>) -> Value {
    let header = manifest.header();
    let (identity, disk, boot) = (&header.identity, &header.disk, &header.boot);
    let partition = |p: &Partition| {
        let (start, bytes) = place_of(header, p);
        json!({
            "number": p.index + 1, "name": p.name, "filesystem": p.filesystem, "start": start, "bytes": bytes,
            "policy": p.policy.to_string(), "type": guid_text(&p.type_guid), "guid": guid_text(&p.unique_guid),
            "attributes": p.attributes,
        })
    };
    let measurement = |m: &Measurement| json!({ "pcr": m.pcr, "sha256": hex::encode(m.digest), "need": need(m.need), "what": m.what });
    let region = |r: &images::manifest::header::HostRegion| json!({ "start": r.offset, "bytes": r.len, "purpose": r.purpose });
    json!({
        "image": manifest.id(),
        "name": identity.name,
        "version": identity.version,
        "epoch": identity.epoch,
        "note": identity.note,
        "created_unix_ms": identity.created_unix_ms,
        "previous": identity.previous,
        "arch": identity.arch,
        "hardware_class": identity.hardware_class,
        "agent_min": identity.agent_min.to_string(),
        "disk": {
            "bytes": disk.size, "sector_bytes": disk.sector_size,
            "head_bytes": disk.head_len, "tail_bytes": disk.tail_len,
        },
        "boot": {
            "uefi": boot.uefi, "bios": boot.bios, "secure_boot": boot.secure_boot, "loader": boot.loader,
        },
        "partition_table": header.table.scheme.to_string(),
        "disk_guid": guid_text(&header.table.disk_guid),
        "partitions": header.table.partitions.iter().map(partition).collect::<Vec<_>>(),
        "host_regions": header.host_regions.iter().map(region).collect::<Vec<_>>(),
        "content_root": header.content.root,
        "pages": header.content.pages.len(),
        "measurements": header.measurements.iter().map(measurement).collect::<Vec<_>>(),
        "signers": signers(signed),
        "trusted": why_not.is_none(),
        "why_not": why_not.unwrap_or_default(),
    })
}

fn header_page(signed: &SignedManifest, manifest: &Manifest, why_not: Option<&str>) -> String {
    let header = manifest.header();
    let (identity, disk, boot) = (&header.identity, &header.disk, &header.boot);
    let or = |text: &str, instead: &str| if text.is_empty() { instead.to_owned() } else { text.to_owned() };
    let boots = [(boot.uefi, "UEFI"), (boot.secure_boot, "Secure Boot"), (boot.bios, "BIOS")];
    let boots: Vec<&str> = boots.iter().filter(|(yes, _)| *yes).map(|(_, word)| *word).collect();
    let mut lines = vec![
        ("image", manifest.id().to_string()),
        ("name", format!("{} {} (epoch {})", identity.name, identity.version, identity.epoch)),
        ("created", show::moment(identity.created_unix_ms)),
        ("for", {
            let class = or(&identity.hardware_class, "any");
            format!("{}, hardware class {class}, agent {} or newer", identity.arch, identity.agent_min)
        }),
        ("disk", format!("{}, sectors of {} bytes", show::bytes(disk.size), disk.sector_size)),
        ("boots by", or(&boots.join(", "), "nothing")),
        ("content", format!("b3sum {}", header.content.root)),
        ("signed by", or(&signers(signed).join(", "), "nobody")),
        ("trusted", why_not.map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"))),
    ];
    let mut optional = |at: usize, name, value: String| {
        if !value.is_empty() {
            lines.insert(at, (name, value));
        }
    };
    optional(6, "loader", boot.loader.clone());
    optional(3, "follows", identity.previous.map(|id| id.to_string()).unwrap_or_default());
    optional(3, "note", identity.note.clone());
    let mut page: Vec<String> = lines.iter().map(|(name, value)| format!("{name:<11} {value}")).collect();
    let row = |p: &Partition| {
        let (start, bytes) = place_of(header, p);
        let (name, filesystem) = (or(&p.name, "-"), or(&p.filesystem, "-"));
        let number = (p.index + 1).to_string();
        vec![number, name, filesystem, show::bytes(start), show::bytes(bytes), p.policy.to_string()]
    };
    let rows: Vec<_> = header.table.partitions.iter().map(row).collect();
    if !rows.is_empty() {
        page.push(format!(
            "\n{}",
            show::table(&["PARTITION", "NAME", "FILESYSTEM", "START", "SIZE", "POLICY"], &rows)
        ));
    }
    let row = |m: &Measurement| {
        vec![m.pcr.to_string(), need(m.need).to_owned(), hex::encode(m.digest), m.what.clone()]
    };
    let rows: Vec<_> = header.measurements.iter().map(row).collect();
    if !rows.is_empty() {
        page.push(format!("\n{}", show::table(&["PCR", "NEEDED", "SHA-256", "MEASURED"], &rows)));
    }
    page.join("\n")
}

/// Verify signatures and every chunk of one image, or of all.
pub fn verify(place: &Place, data_dir: &Path, image: Option<&str>, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let ring = ring(&place.trust_root(data_dir))?;
    let ids = match image {
        Some(image) => vec![find(&store, image)?],
        None => store.list().map_err(|error| store_fault(&error))?,
    };
    let (mut bad, mut said) = (Vec::new(), Vec::new());
    for id in ids {
        let verdict = verify_one(&store, &ring, id);
        match (&verdict, output.is_data()) {
            (Ok((signatures, read)), false) => {
                let bytes = show::bytes(read.raw_bytes);
                println!("good  {id}  {signatures} signature(s), {} chunks, {bytes}", read.chunks);
            }
            (Err(why), false) => println!("bad   {id}  {why}"),
            (Ok((signatures, read)), true) => said.push(json!({
                "image": id, "good": true, "signatures": signatures, "chunks": read.chunks,
                "bytes": read.raw_bytes, "stored_bytes": read.stored_bytes,
            })),
            (Err(why), true) => said.push(json!({ "image": id, "good": false, "why": why })),
        }
        if verdict.is_err() {
            bad.push(id.to_string());
        }
    }
    if output.is_data() {
        say(output, &said)?;
    }
    if bad.is_empty() {
        return Ok(());
    }
    let now = "do not restore from it: import or fetch the image again, and sign it";
    Err(Fault::new(Code::Integrity, format!("{} image(s) did not verify", bad.len()), bad.join(", "), now))
}

fn verify_one(
    store: &Store,
    ring: &KeyRing,
    id: ImageId,
) -> Result<(usize, images::store::Verification), String> {
    let signed = store.get_manifest(&id).map_err(|error| chain(&error))?;
    let verified = ring.verify(signed).map_err(|error| chain(&error))?;
    let bar = bar("reading");
    let read = store.verify_image(&verified, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok((verified.signers().len(), read.map_err(|error| chain(&error))?))
}

/// Compare two images.
pub fn compare(place: &Place, data_dir: &Path, order: &Diff, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let manifest = |image: &str| -> Result<Manifest, Fault> {
        let signed = store.get_manifest(&find(&store, image)?).map_err(|error| store_fault(&error))?;
        signed.parse().map_err(|error| store_fault(&error.into()))
    };
    let (before, after) = (manifest(&order.before)?, manifest(&order.after)?);
    let bar = bar("comparing");
    let difference = diff(&store, &before, &after, &mut |what| bar.set_message(format!("comparing {what}")));
    bar.finish_and_clear();
    let difference = difference
        .map_err(|error| Fault::of("the images were not compared", &error, "mend the cause and try again"))?;
    if output.is_data() {
        return say(output, &difference);
    }
    let shown = if order.all { usize::MAX } else { FILES_SHOWN };
    println!("{}", difference_page(&before, &after, &difference, shown));
    Ok(())
}

fn difference_page(before: &Manifest, after: &Manifest, difference: &Difference, shown: usize) -> String {
    let name = |manifest: &Manifest| {
        let identity = &manifest.header().identity;
        format!("{} {} (epoch {})  {}", identity.name, identity.version, identity.epoch, manifest.id())
    };
    let mut page = vec![format!("before  {}", name(before)), format!("after   {}", name(after))];
    if !difference.header.is_empty() {
        page.push(format!("\n{}", facts_table("HEADER", &difference.header)));
    }
    for partition in &difference.partitions {
        page.push(format!("\n{}", partition_page(partition, shown)));
    }
    if difference.partitions.is_empty() {
        page.push("\nthe partitions are the same".to_owned());
    }
    let cost = difference.cost;
    page.push("\nan endpoint that holds the first".to_owned());
    for (word, bytes, more) in [
        ("fetches", cost.wire_bytes, format!(" in {} chunks", cost.fetch_chunks)),
        ("copies", cost.copy_bytes, " from elsewhere on its disk".to_owned()),
        ("moves", cost.move_bytes, " on its disk".to_owned()),
        ("writes", cost.write_bytes, String::new()),
        ("zeroes", cost.zero_bytes, String::new()),
        ("keeps", cost.keep_bytes, String::new()),
    ] {
        page.push(format!("  {word:<8} {:>12}{more}", show::bytes(bytes)));
    }
    page.join("\n")
}

fn facts_table(head: &str, facts: &[Fact]) -> String {
    let or = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let rows: Vec<_> =
        facts.iter().map(|fact| vec![fact.what.clone(), or(&fact.before), or(&fact.after)]).collect();
    show::table(&[head, "BEFORE", "AFTER"], &rows)
}

fn partition_page(partition: &PartitionChange, shown: usize) -> String {
    use images::diff::Fate;
    let fate = match (partition.fate, partition.bytes_differ) {
        (Fate::Added, _) => "added",
        (Fate::Removed, _) => "removed",
        (Fate::Changed, true) => "changed",
        (Fate::Changed, false) => "changed, its bytes are the same",
    };
    let name = if partition.name.is_empty() { String::new() } else { format!(" {}", partition.name) };
    let mut lines = vec![format!("partition {}{name}: {fate}", partition.number)];
    if partition.fate == Fate::Changed && !partition.facts.is_empty() {
        lines.push(facts_table("TABLE", &partition.facts));
    }
    if let Some(why) = &partition.not_compared {
        lines.push(format!("its files were not compared: {why}"));
    }
    let count = |change| partition.files.iter().filter(|file| file.change == change).count();
    if !partition.files.is_empty() {
        lines.push(format!(
            "{} added, {} removed, {} with other content, {} with another owner or mode",
            count(Change::Added),
            count(Change::Removed),
            count(Change::Content),
            count(Change::Owner)
        ));
    } else if partition.bytes_differ && partition.fate == Fate::Changed && partition.not_compared.is_none() {
        lines.push("its files are the same".to_owned());
    }
    lines.extend(partition.files.iter().take(shown).map(file_line));
    if partition.files.len() > shown {
        lines.push(format!("  and {} more; `--all` shows them", partition.files.len() - shown));
    }
    let unread =
        |unread: &images::diff::Unread| format!("  ? {} ({}): {}", unread.path, unread.image, unread.why);
    lines.extend(partition.unread.iter().take(shown).map(unread));
    if partition.unread.len() > shown {
        lines.push(format!("  and {} more that cannot be read", partition.unread.len() - shown));
    }
    lines.join("\n")
}

fn file_line(file: &FileChange) -> String {
    let len = |len: Option<u64>| len.map(show::bytes).unwrap_or_default();
    let (sign, what) = match file.change {
        Change::Added => ('+', len(file.len_after)),
        Change::Removed => ('-', len(file.len_before)),
        Change::Content if file.len_before == file.len_after => ('~', len(file.len_after)),
        Change::Content => ('~', format!("{} -> {}", len(file.len_before), len(file.len_after))),
        Change::Owner => ('!', String::new()),
    };
    let what = if file.kind == "file" { what } else { file.kind.to_owned() };
    let facts: Vec<String> =
        file.facts.iter().map(|fact| format!("{} {} -> {}", fact.what, fact.before, fact.after)).collect();
    let said: Vec<String> = [what].into_iter().chain(facts).filter(|text| !text.is_empty()).collect();
    format!("  {sign} {}  {}", file.path, said.join(", ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_became_of_a_file() {
        let file = |change, kind, before, after, facts: &[(&str, &str, &str)]| {
            let fact = |(what, before, after): &(&str, &str, &str)| Fact {
                what: (*what).to_owned(),
                before: (*before).to_owned(),
                after: (*after).to_owned(),
            };
            file_line(&FileChange {
                path: "/a".into(),
                change,
                kind,
                len_before: before,
                len_after: after,
                facts: facts.iter().map(fact).collect(),
            })
        };
        assert_eq!(file(Change::Added, "file", None, Some(5), &[]), "  + /a  5 B");
        assert_eq!(file(Change::Removed, "directory", Some(4096), None, &[]), "  - /a  directory");
        assert_eq!(file(Change::Content, "file", Some(1), Some(2), &[]), "  ~ /a  1 B -> 2 B");
        let mode = [("mode", "0644", "0600")];
        assert_eq!(file(Change::Owner, "file", Some(1), Some(1), &mode), "  ! /a  mode 0644 -> 0600");
        let target = [("target", "x", "y")];
        assert_eq!(file(Change::Content, "link", Some(1), Some(1), &target), "  ~ /a  link, target x -> y");
    }
}
