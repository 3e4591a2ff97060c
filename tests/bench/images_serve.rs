//! Chunk frames over HTTP against nginx: the same bytes, at one client, at sixteen and at 64, in one network stack.
//!
//! Ours answers requests for 512 chunks each, checks every frame for bit rot and frames it; nginx sends the packs that hold them
//! as files. CPU is the server's; wall is the clients', who begin together: the slowest by the median of them says how fair a server is.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Figure, NGINX_READY, Programs, Server, median};
use crate::plant::{APPLIANCE, BRIDGE, Plant};
use crate::tool;

const RUNS: usize = 5;
const DISK_LEN: usize = 512 << 20;
pub(super) const PEER_PORT: u16 = 8081;
/// How often a client that is alone fetches everything in a run: its CPU is told in ticks of 10 ms.
const ROUNDS_ALONE: usize = 8;
/// Chunks in one request.
const BATCH: usize = 512;
const FOOTER_ENTRY_LEN: usize = 57;
const TRAILER_LEN: usize = 44;

/// Throughput and CPU per GiB, and how far the slowest client is behind the others.
///
/// # Errors
/// When a server or client cannot be run.
pub fn serve(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let dir = plant.dir().join("images-serve");
    fs::create_dir_all(&dir)?;
    let store = dir.join("store");
    let appliance = &programs.programs.appliance;
    let image = |words: &[&str]| {
        let mut command = Command::new(appliance);
        command.arg("image").args(words).env("GROUNDSTATE_STORE", &store);
        tool::run(&mut command)
    };
    noise(&dir.join("disk.raw"))?;
    image(&["import", &dir.join("disk.raw").display().to_string(), "--name", "hmi", "--version", "1"])?;
    let packs: Vec<PathBuf> =
        fs::read_dir(store.join("packs"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let (requests, chunks) = requests(&dir, &packs)?;
    let pack_bytes: u64 = packs.iter().map(|pack| Ok(fs::metadata(pack)?.len())).sum::<Result<u64>>()?;

    let mut serve = Command::new(appliance);
    serve.arg("serve").arg("--config").arg(config(&dir, &store)?).env("RUST_LOG", "info");
    let ours = Server::start(&mut serve, "\"ready\"", dir.join("ours.log"))?;
    let asks = urls(
        &dir,
        "ours",
        requests.iter().map(|body| {
            format!(
                "url = \"http://{APPLIANCE}/v1/frames\"\ndata-binary = \"@{}\"\noutput = \"/dev/null\"",
                body.display()
            )
        }),
    )?;
    let mut nginx = Command::new("nginx");
    nginx.arg("-c").arg(nginx_config(&dir, &store.join("packs"))?);
    let nginx = Server::start(&mut nginx, NGINX_READY, dir.join("nginx.log"))?;
    let gets = urls(
        &dir,
        "peer",
        packs.iter().map(|pack| {
            let name = pack.file_name().unwrap_or_default().to_string_lossy();
            format!("url = \"http://{APPLIANCE}:{PEER_PORT}/{name}\"\noutput = \"/dev/null\"")
        }),
    )?;
    let mut figures = Vec::new();
    for clients in [1, 16, 64] {
        let rounds = if clients == 1 { ROUNDS_ALONE } else { 1 };
        let [mine, peer] = costs(
            [(&ours, &asks, chunks as u64 * 41), (&nginx, &gets, pack_bytes)]
                .map(|(server, config, least)| Asked { server, config, rounds, clients, least }),
        )?;
        let name = |what: &str| format!("images/serve {clients} {what}");
        let against = "nginx with sendfile, packs";
        figures.push(Figure::at_most(&name("cpu s per GiB"), mine.cpu, peer.cpu, against, 1.1));
        figures.push(Figure::at_most(&name("wall s per GiB"), mine.wall, peer.wall, against, 1.0));
        if clients > 1 {
            let (slowest, middle) = (mine.slowest, mine.middle);
            figures.push(Figure::at_most(
                &name("slowest client s"),
                slowest,
                middle,
                "the median of them",
                1.3,
            ));
            let against = format!("the same of {against}");
            let (ours, theirs) = (slowest / middle, peer.slowest / peer.middle);
            figures.push(Figure::at_most(&name("slowest by median"), ours, theirs, &against, 1.1));
        }
    }
    Ok(figures)
}

/// What a run cost: the server's seconds of CPU and the clients' of wall per GiB; seconds of the slowest client, and of the middle one.
struct Cost {
    cpu: f64,
    wall: f64,
    slowest: f64,
    middle: f64,
}

/// Who is asked for what, how often, by how many at once, and the least bytes that come in a round.
struct Asked<'a> {
    server: &'a Server,
    config: &'a Path,
    rounds: usize,
    clients: usize,
    least: u64,
}

impl Asked<'_> {
    fn once(&self) -> Result<Cost> {
        let (begin, before) = (Instant::now(), self.server.cpu_time()?);
        let came = fetch(self.config, self.rounds, self.clients)?;
        let got: u64 = came.iter().map(|(bytes, _)| bytes).sum();
        let seconds: Vec<f64> = came.iter().map(|(_, seconds)| *seconds).collect();
        if got < self.least * (self.rounds * self.clients) as u64 {
            bail!("{} clients got {got} bytes, at least {} a round were expected", self.clients, self.least);
        }
        let gib = got as f64 / f64::from(1 << 30);
        let wall = begin.elapsed().as_secs_f64() / gib;
        let cpu = self.server.cpu_time()?.saturating_sub(before).as_secs_f64() / gib;
        let slowest = seconds.iter().copied().fold(0.0, f64::max);
        Ok(Cost { cpu, wall, slowest, middle: median(seconds) })
    }
}

/// Medians. The two take turns: which core a server and its client are on changes what a byte costs, and changes slowly.
fn costs(asked: [Asked<'_>; 2]) -> Result<[Cost; 2]> {
    // What is asked for first is read from the disk.
    asked.iter().try_for_each(|asked| fetch(asked.config, 1, 1).map(drop))?;
    let mut all = [vec![], vec![]];
    for _ in 0..RUNS {
        for (asked, all) in asked.iter().zip(&mut all) {
            all.push(asked.once()?);
        }
    }
    Ok(all.map(|all| {
        let middle = |of: fn(&Cost) -> f64| median(all.iter().map(of).collect());
        Cost {
            cpu: middle(|cost| cost.cpu),
            wall: middle(|cost| cost.wall),
            slowest: middle(|cost| cost.slowest),
            middle: middle(|cost| cost.middle),
        }
    }))
}

/// Clients at once; the bytes that came to each, and after how many seconds it had them.
fn fetch(config: &Path, rounds: usize, clients: usize) -> Result<Vec<(u64, f64)>> {
    let begin = Instant::now();
    let one = || -> Result<(u64, f64)> {
        let said = tool::run(
            Command::new("curl")
                .args(["--silent", "--fail", "--write-out", "%{size_download}\n"])
                .args(std::iter::repeat_n([OsStr::new("--config"), config.as_os_str()], rounds).flatten()),
        )?;
        let bytes = said.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum();
        Ok((bytes, begin.elapsed().as_secs_f64()))
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        clients
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow::anyhow!("a client ended badly"))?)
            .collect()
    })
}

/// One curl configuration: all requests over one connection.
fn urls(dir: &Path, name: &str, each: impl Iterator<Item = String>) -> Result<PathBuf> {
    let path = dir.join(format!("{name}.curl"));
    let each: Vec<String> =
        each.map(|one| format!("{one}\nwrite-out = \"%{{size_download}}\\n\"\nsilent\nfail")).collect();
    fs::write(&path, each.join("\nnext\n"))?;
    Ok(path)
}

/// Request bodies for every chunk of the packs (images/DESIGN.md, sections "Pack" and "Frames over HTTP").
fn requests(dir: &Path, packs: &[PathBuf]) -> Result<(Vec<PathBuf>, usize)> {
    let mut ids: Vec<[u8; 32]> = Vec::new();
    for pack in packs {
        let bytes = fs::read(pack)?;
        let trailer = bytes.len().checked_sub(TRAILER_LEN).context("a pack has a trailer")?;
        let footer_len = u32::from_le_bytes(bytes[trailer..trailer + 4].try_into()?) as usize;
        for entry in bytes[trailer - footer_len..trailer].chunks_exact(FOOTER_ENTRY_LEN) {
            ids.push(entry[..32].try_into()?);
        }
    }
    let mut files = Vec::new();
    for (number, batch) in ids.chunks(BATCH).enumerate() {
        let mut body = b"GSFQ\x01\0\0\0".to_vec();
        body.extend(u32::try_from(batch.len())?.to_le_bytes());
        batch.iter().for_each(|id| body.extend(id));
        let path = dir.join(format!("request-{number}"));
        fs::write(&path, body)?;
        files.push(path);
    }
    Ok((files, ids.len()))
}

fn config(dir: &Path, store: &Path) -> Result<PathBuf> {
    let path = dir.join("groundstate.toml");
    let text = format!(
        "site = \"bench\"\ndata_dir = \"{0}/data\"\nimage_store_dir = \"{1}\"\n[[interfaces]]\nname = \"{BRIDGE}\"\n",
        dir.display(),
        store.display()
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// An nginx that serves the files below `root` at [`PEER_PORT`].
pub(super) fn nginx_config(dir: &Path, root: &Path) -> Result<PathBuf> {
    let path = dir.join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log stderr notice;\nevents {{}}\n\
         http {{ access_log off; sendfile on; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0};\n\
         uwsgi_temp_path {0}; scgi_temp_path {0};\nserver {{ listen {APPLIANCE}:{PEER_PORT}; root {1}; }} }}\n",
        dir.display(),
        root.display()
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// A disk of incompressible bytes that all differ.
fn noise(path: &Path) -> Result<()> {
    let mut word = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(DISK_LEN);
    while bytes.len() < DISK_LEN {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    Ok(fs::write(path, bytes)?)
}
