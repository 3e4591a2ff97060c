//! The CD against OpenStack's `sushy-emulator`, where the lab has it in its cache. It fetches the medium when it is inserted.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use axum::routing::get;

use super::*;

const UUID: &str = "27946b59-9e44-4fa7-8e91-f3527a1ef094";

/// Ends with the test.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// The Python of the lab's environment; `None`: this computer never ran a story with it.
fn python() -> Option<PathBuf> {
    let cache = PathBuf::from(std::env::var_os("HOME")?).join(".cache/groundstate");
    let homes = std::fs::read_dir(cache).ok()?.flatten().map(|entry| entry.path());
    let mut homes = homes
        .filter(|home| home.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sushy-")));
    homes.find_map(|home| Some(home.join("bin/python")).filter(|python| python.exists()))
}

fn start(dir: &std::path::Path, python: &std::path::Path) -> (Emulator, String) {
    let config = dir.join("sushy.conf");
    // Power changes come at once: the waiting is tested elsewhere. The file is Python.
    let text = format!(
        "import random\nrandom.randint = lambda least, most: 0\nSUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = 0\nSUSHY_EMULATOR_FAKE_DRIVER = True\n\
         SUSHY_EMULATOR_STATE_DIR = '{}'\n\
         SUSHY_EMULATOR_FAKE_SYSTEMS = [{{'uuid': '{UUID}', 'name': 'press', 'power_state': 'On', 'nics': []}}]\n",
        dir.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut emulator = Command::new(python);
    emulator.args(["-m", "sushy_tools.emulator.main", "--config"]).arg(&config).env("TMPDIR", dir);
    let mut child =
        emulator.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // Flask says where it listens.
    let at = lines.find_map(|line| {
        let line = line.unwrap();
        Some(line.split_once("Running on ")?.1.split_whitespace().next()?.to_owned())
    });
    std::thread::spawn(move || lines.for_each(drop));
    (Emulator(child), at.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_emulator_fetches_the_cd_boots_from_it_and_gives_it_back() {
    let Some(python) = python() else {
        return crate::testing::not_looked_at(
            "sushy-emulator (from the lab's cache)",
            "python3-venv; cargo lab",
        );
    };
    let dir = tempfile::tempdir().unwrap();
    let (_emulator, url) = start(dir.path(), &python);
    let fetched = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&fetched);
    let medium = get(move |uri: Uri| async move {
        seen.lock().unwrap().push(uri.path().to_owned());
        "a medium"
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(medium)).await });
    let password_file = tempfile::NamedTempFile::new().unwrap();
    let bmc = Bmc { url: &url, user: "gs", password_file: password_file.path().to_str().unwrap(), pin: None };

    let shelf = Shelf { addresses: vec![Ipv4Addr::LOCALHOST], port };
    power_into_medium(&bmc, Some(&shelf), job(), &Always).await.unwrap();
    assert_eq!(*fetched.lock().unwrap(), [format!("/media/groundstate-{}.iso", job())]);
    assert!(armed(&bmc, Some(&shelf), job()).await.unwrap());
    let session = Session::open(&bmc).await.unwrap();
    let drives = session.drives().await.unwrap().unwrap();
    assert_eq!(drives.iter().map(Drive::ours).collect::<Vec<_>>(), [Some(job())], "one drive for CDs");

    // It makes a lasting override of a one-time one: that must be taken back, too. Its own word for none is the disk.
    clear(&bmc).await.unwrap();
    assert!(!armed(&bmc, Some(&shelf), job()).await.unwrap());
    assert!(!session.drives().await.unwrap().unwrap()[0].is_taken());
    // Somebody else's medium, by the emulator's own interface.
    let theirs = json!({ "Image": format!("http://127.0.0.1:{port}/theirs.iso"), "Inserted": true });
    let drive = &session.drives().await.unwrap().unwrap()[0];
    let insert = drive.action("#VirtualMedia.InsertMedia").unwrap();
    session.wire.send(&Method::POST, insert, None, &theirs).await.unwrap();
    let error = power_into_medium(&bmc, Some(&shelf), job(), &Always).await.unwrap_err().to_string();
    assert!(error.contains("somebody else's CD"), "{error}");
    clear(&bmc).await.unwrap();
    assert!(session.drives().await.unwrap().unwrap()[0].is_taken(), "theirs stays");
}
