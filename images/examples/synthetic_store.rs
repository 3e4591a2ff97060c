//! A store as large as you like that takes no space: sparse packs, half of which one image needs, and half an image that was deleted.
//!
//! `cargo run --release -p images --example synthetic_store -- DIR GIB`. The frames were never written, so nothing of it can be
//! restored; it shows what a collection costs, which reads manifests and footers only.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use images::manifest::header::{
    AgentVersion, Boot, ContentTable, Disk, Header, Identity, PartitionTable, Scheme,
};
use images::{ChunkId, Content, Digest, Extent, Manifest, PackId, SignedManifest, Store};

const CHUNK_LEN: u32 = 128 << 10;
const CHUNKS_A_PACK: u64 = 512;
const PACKS_A_GIB: u64 = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(dir), Some(gib)) = (words.next(), words.next()) else {
        return Err("give a directory and a number of GiB".into());
    };
    let (dir, packs) = (Path::new(&dir), gib.parse::<u64>()? * PACKS_A_GIB);
    Store::open(dir)?;
    for pack in 0..packs {
        write_pack(&dir.join("packs"), pack)?;
    }
    let store = Store::open(dir)?;
    let half = packs / 2 * CHUNKS_A_PACK;
    store.put_manifest(&SignedManifest::unsigned(&manifest("kept", 0..half)?))?;
    let gone = store.put_manifest(&SignedManifest::unsigned(&manifest("gone", half..2 * half)?))?;
    store.delete(&gone, 0)?;
    Ok(())
}

fn chunk(number: u64) -> ChunkId {
    ChunkId(Digest::of(&number.to_le_bytes()))
}

/// A pack as images/DESIGN.md describes it, with a hole where its frames would be.
fn write_pack(dir: &Path, pack: u64) -> std::io::Result<()> {
    let name = PackId(Digest::of(&[&b"pack"[..], &pack.to_le_bytes()].concat()));
    let mut file = File::create(dir.join(format!("{name}.pack")))?;
    file.write_all(b"GSPACK\x01\n")?;
    let mut footer = Vec::new();
    for number in pack * CHUNKS_A_PACK..(pack + 1) * CHUNKS_A_PACK {
        footer.extend(chunk(number).as_bytes());
        footer.extend([0; 16]);
        footer.push(0);
        footer.extend(CHUNK_LEN.to_le_bytes());
        footer.extend(CHUNK_LEN.to_le_bytes());
    }
    let digest = Digest::derived("groundstate 2026-11-22 chunk pack footer", &footer);
    let len = footer.len() as u32;
    footer.extend(len.to_le_bytes());
    footer.extend(digest.as_bytes());
    footer.extend(b"GSPKEND\n");
    file.seek(SeekFrom::Current((u64::from(CHUNK_LEN) * CHUNKS_A_PACK) as i64))?;
    file.write_all(&footer)?;
    // As old as a store that wants collecting.
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
}

fn manifest(name: &str, chunks: std::ops::Range<u64>) -> Result<Manifest, Box<dyn std::error::Error>> {
    let edge = 1 << 20;
    let data = (chunks.end - chunks.start) * u64::from(CHUNK_LEN);
    let size = data + 2 * edge;
    let zero = |offset| Extent { offset, len: edge, content: Content::Zero };
    let data_at = |(index, number): (usize, u64)| Extent {
        offset: edge + index as u64 * u64::from(CHUNK_LEN),
        len: u64::from(CHUNK_LEN),
        content: Content::Data(chunk(number)),
    };
    let extents: Vec<Extent> = std::iter::once(zero(0))
        .chain(chunks.enumerate().map(data_at))
        .chain(std::iter::once(zero(size - edge)))
        .collect();
    let header = Header {
        features_optional: 0,
        identity: Identity {
            name: name.into(),
            version: "1".into(),
            epoch: 1,
            arch: "x86_64".into(),
            hardware_class: String::new(),
            created_unix_ms: 0,
            note: String::new(),
            previous: None,
            agent_min: AgentVersion(0, 1, 0),
        },
        disk: Disk { size, sector_size: 512, head_len: edge, tail_len: edge },
        boot: Boot { uefi: false, bios: false, secure_boot: false, loader: String::new() },
        table: PartitionTable {
            scheme: Scheme::None,
            disk_guid: [0; 16],
            usable: (0, 0),
            partitions: Vec::new(),
        },
        host_regions: Vec::new(),
        content: ContentTable {
            root: Digest::of(b""),
            chunker: 1,
            chunk_len: [32 << 10, 128 << 10, 512 << 10],
            codec: 1,
            pages: Vec::new(),
        },
        measurements: Vec::new(),
        extra: Vec::new(),
    };
    Ok(Manifest::build(header, extents)?)
}
