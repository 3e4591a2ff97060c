//! Images go from a store that is too large, under the command line: on a full disk, and killed at any moment.

use std::process::Command;
use std::time::{Duration, SystemTime};

use super::crash::{Moments, time};
use super::depot::{depot, sites};
use super::s3::Service;
use super::{Desk, all_whole};

/// Two images come to a small file system, the rest of which is then filled to the last block. Nothing else can be written; an eviction
/// can, and then the third image comes.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs -o size=8192k tmpfs room
export GROUNDSTATE_STORE=room/store GROUNDSTATE_CONFIG=groundstate.toml
"$1" image depot pull "$2" "$3" >&2
find room/store/packs room/store/manifests -type f -exec touch -d "$5" {} +
touch -d "$6" "room/store/manifests/$2.gsi"
cat /dev/zero >room/fill 2>/dev/null || true
if echo x 2>/dev/null >room/probe; then echo "there is room left" >&2; exit 9; fi
if "$1" image depot pull "$4" 2>said; then echo "it came" >&2; exit 8; fi
grep -e 'is full' -e 'No space left' said >&2
"$1" image depot evict --store-mib-max 2 --json >evicted
"$1" image depot pull "$4" >&2
"$1" image scrub --plan >&2
env -u GROUNDSTATE_CONFIG "$1" image list --json
"#;

/// Three images that a depot has, of 3, 1 and 2 MiB.
fn in_the_depot(one: &Desk) -> Vec<String> {
    let sizes = [(1, 3), (2, 1), (3, 2)];
    let import = |(number, mib): (u8, usize)| {
        let (disk, version) = (format!("{number}.raw"), number.to_string());
        one.disk(&disk, number, mib << 20);
        let image = one.import(&disk, &version).to_string();
        one.good(&["image", "sign", &image, "--key", "signer.key"]);
        image
    };
    let images = sizes.map(import).to_vec();
    one.good(&depot(&["push"]));
    images
}

#[test]
fn on_a_disk_that_is_full_to_the_last_block_images_go_and_others_come() {
    let service = Service::start();
    let (one, two) = sites(&service);
    let images = in_the_depot(&one);
    std::fs::create_dir(two.path("room")).unwrap();
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-c", SCRIPT, "sh", env!("CARGO_BIN_EXE_groundstate")])
        .args(&images)
        .args(["2001-01-02", "2001-01-01"])
        .env("GROUNDSTATE_TRUST_ROOT", "trust-root.json")
        .current_dir(two.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let evicted: serde_json::Value =
        serde_json::from_slice(&std::fs::read(two.path("evicted")).unwrap()).unwrap();
    assert_eq!(evicted["evicted"]["images"], serde_json::json!([images[0]]), "{evicted}");
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(listed.contains(&images[1]) && listed.contains(&images[2]), "{listed}");
    assert!(!listed.contains(&images[0]));
}

/// All images come, and were not used for long.
fn fill(two: &Desk) {
    two.good(&depot(&["pull"]));
    let old = std::fs::FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH);
    for dir in ["packs", "manifests"] {
        for entry in std::fs::read_dir(two.path("store").join(dir)).unwrap() {
            let file = std::fs::File::open(entry.unwrap().path()).unwrap();
            file.set_times(old.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))).unwrap();
        }
    }
}

#[test]
fn a_version_that_a_blueprint_of_the_configuration_asks_for_stays() {
    let service = Service::start();
    let (one, two) = sites(&service);
    let images = in_the_depot(&one);
    fill(&two);
    let config = two.path("groundstate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let evict = depot(&["evict", "--store-mib-max", "0", "--json"]);
    std::fs::write(&config, format!("{text}[blueprints.a]\nversion = \"1\"\n")).unwrap();
    two.refused(&evict, 2, "which images the blueprints ask for");
    assert_eq!(all_whole(&two.path("store")), 3);
    std::fs::write(&config, format!("{text}[blueprints.a]\nimage = \"hmi\"\nversion = \"1\"\n")).unwrap();
    // Less than nothing may stay, so all goes that may.
    two.refused(&evict, 1, "larger than it may be");
    let store = two.path("store/manifests");
    let stays = |image: &String| store.join(format!("{image}.gsi")).exists();
    assert!(stays(&images[0]), "the blueprint's");
    assert!(images.iter().filter(|image| stays(image)).count() < 3, "and not all");
}

#[test]
fn an_eviction_killed_at_any_moment_loses_no_image() {
    let service = Service::start();
    let (one, two) = sites(&service);
    let images = in_the_depot(&one);
    let store = two.path("store");
    let fill = || fill(&two);
    fill();
    two.good(&depot(&["evict", "--store-mib-max", "2", "--plan"]));
    assert_eq!(all_whole(&store), 3);
    let to_some = depot(&["evict", "--store-mib-max", "1"]);
    let mut moments = Moments::of(time(&mut two.command(&to_some)));
    while moments.left() {
        fill();
        moments.kill_next(&mut two.command(&to_some));
        all_whole(&store);
        fill();
        assert_eq!(all_whole(&store), images.len(), "what is not here comes from the depot");
    }
    two.good(&to_some);
    assert_eq!(std::fs::read_dir(store.join("evicted")).unwrap().count(), 0);
    let listed = two.good(&depot(&["list"]));
    assert!(listed.contains("without a bound (store_gib_max)"), "{listed}");
}
