//! Images into a depot and out of it, and from store to store, next to programs that move the same bytes and look at none of them.
//!
//! The depot is a real S3 service (`s3s-fs`) on this computer. A push reads back what it has put, so its peer puts and fetches; a pull
//! hashes every chunk and flushes, its peer fetches. rclone is no peer: it signs each byte, and reads this service at 1.5 MB/s. The peer, curl,
//! asks a second one of these services on the same directory, without signatures: what curl 7.88 signs with is refused (403).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::images_growth::programs_disk;
use super::{Cost, Figure, Programs, Server, costs};
use crate::tool;

const RUNS: usize = 5;
const KEY: &str = "depot-key-id";
const SECRET: &str = "depot-secret-word";
const BUCKET: &str = "golden";

/// Push, pull and replicate.
///
/// # Errors
/// When a program fails.
pub fn depot(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let bench = Bench::new(programs, dir)?;
    let push = costs(RUNS, || {
        bench.empty_depot()?;
        Ok(bench.image(&bench.store, &["depot", "push"]))
    })?;
    let again = costs(RUNS, || Ok(bench.image(&bench.store, &["depot", "push"])))?;
    let pull = costs(RUNS, || {
        let site = bench.fresh("site")?;
        Ok(bench.image(&site, &["depot", "pull", "--untrusted"]))
    })?;
    let put = costs(RUNS, || {
        bench.fresh("fetched")?;
        Ok(bench.curl(Way::Put))
    })?;
    let fetch = costs(RUNS, || {
        bench.fresh("fetched")?;
        Ok(bench.curl(Way::Fetch))
    })?;
    let replicate = costs(RUNS, || {
        let other = bench.fresh("other")?;
        let (from, to) = (bench.store.display().to_string(), other.display().to_string());
        Ok(bench.image(&bench.store, &["replicate", &from, &to]))
    })?;
    let copy = costs(RUNS, || {
        let other = bench.fresh("copied")?;
        let mut shell = Command::new("sh");
        let script = "cp -r --sparse=never \"$1\" \"$2\" && sync -f \"$2\"";
        shell.args(["-c", script, "sh"]).arg(&bench.store).arg(other);
        Ok(shell)
    })?;
    let both = Cost { wall: put.wall + fetch.wall, cpu: put.cpu + fetch.cpu };
    let mut figures = Vec::new();
    for (name, ours, peer, against, bound) in [
        ("depot push", push, both, "curl, put and fetched", 1.5),
        ("depot pull", pull, fetch, "curl, fetched", 1.5),
        ("replicate", replicate, copy, "cp and sync", 1.5),
        ("depot push of nothing new", again, push, "the first push", 0.2),
    ] {
        figures.push(Figure::at_most(
            &format!("images/{name}, wall s"),
            ours.wall,
            peer.wall,
            against,
            bound,
        ));
    }
    Ok(figures)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Put,
    Fetch,
}

struct Bench<'a> {
    programs: &'a Programs,
    dir: &'a Path,
    store: PathBuf,
    config: PathBuf,
    packs: Vec<PathBuf>,
    peers_address: String,
    _servers: [Server; 2],
}

impl<'a> Bench<'a> {
    fn new(programs: &'a Programs, dir: &'a Path) -> Result<Self> {
        let (disk, store, root) = (dir.join("small.raw"), dir.join("store"), dir.join("s3"));
        let config = dir.join("groundstate.toml");
        programs_disk(&disk)?;
        fs::create_dir_all(root.join(BUCKET))?;
        let serve = |name: &str, word: Option<&str>| -> Result<(Server, String)> {
            let (mut serve, file) = (Command::new(&programs.s3_server), dir.join(name));
            serve.arg(&root).arg(&file).args(word);
            let server = Server::start(&mut serve, "ready", dir.join(format!("{name}.log")))?;
            Ok((server, fs::read_to_string(&file).context("the S3 service has no address")?))
        };
        let ((ours, address), (peers, peers_address)) =
            (serve("signed", None)?, serve("open", Some("open"))?);
        let secret = dir.join("depot.credentials");
        fs::write(
            &secret,
            format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"),
        )?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        let table = format!(
            "[images]\ndepot = {{ endpoint = \"http://{address}\", bucket = \"{BUCKET}\", plain_http = true, credentials_file = \"depot.credentials\" }}\n"
        );
        fs::write(&config, table)?;
        let mut bench =
            Self { programs, dir, store, config, packs: Vec::new(), peers_address, _servers: [ours, peers] };
        let words = ["import", &disk.display().to_string(), "--name", "hmi", "--version", "1"];
        tool::run(&mut bench.image(&bench.store, &words))?;
        let packs = fs::read_dir(bench.store.join("packs"))?;
        bench.packs = packs.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        fs::create_dir_all(root.join(BUCKET).join("peer"))?;
        Ok(bench)
    }

    fn image(&self, store: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.programs.appliance);
        command.arg("image").args(words).env("GROUNDSTATE_STORE", store);
        command.env("GROUNDSTATE_CONFIG", &self.config);
        command
    }

    /// A directory that is not there.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        Ok(path)
    }

    /// What was pushed goes; what the peer has put stays.
    fn empty_depot(&self) -> Result<()> {
        for entry in fs::read_dir(self.dir.join("s3").join(BUCKET))? {
            let path = entry?.path();
            if path.ends_with("peer") {
                continue;
            }
            match path.is_dir() {
                true => fs::remove_dir_all(&path)?,
                false => fs::remove_file(&path)?,
            }
        }
        Ok(())
    }

    /// The packs, each by one request, on one connection after the other as curl likes it.
    fn curl(&self, way: Way) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail"]);
        curl.args(["--header", "Expect:", "--create-dirs"]);
        for pack in &self.packs {
            let name = pack.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match way {
                Way::Put => curl.arg("--upload-file").arg(pack),
                Way::Fetch => curl.arg("--output").arg(self.dir.join("fetched").join(&name)),
            };
            curl.arg(format!("http://{}/{BUCKET}/peer/{name}", self.peers_address));
        }
        curl
    }
}
