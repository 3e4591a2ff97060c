//! A store that is full at any point of an import: a small file system in a namespace of its own, sizes one after the other.

use std::process::Command;

use super::Desk;

/// Import into a file system of so many KiB; then give it room and import again.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs -o size="$1"k tmpfs room
export GROUNDSTATE_STORE=room/store
code=0
"$2" image import disk.raw --name hmi --version 1 2>said || code=$?
if [ "$code" -ne 0 ]; then
    cat said >&2
    grep -q -e 'is full' -e 'No space left' said
    if [ -d room/store/manifests ]; then test -z "$(ls room/store/manifests)"; fi
    if [ -d room/store/temp ]; then test -z "$(ls room/store/temp)"; fi
fi
mount -o remount,size=65536k room
if [ "$code" -ne 0 ]; then "$2" image import disk.raw --name hmi --version 1 2>again; fi
"$2" image scrub --plan
"$2" image list --json
exit $((code == 0 ? 100 : 50))
"#;

#[test]
fn an_import_into_a_store_without_room_says_so_and_succeeds_when_there_is_room() {
    let desk = Desk::new();
    desk.disk("disk.raw", 1, 6 << 20);
    std::fs::create_dir(desk.path("room")).unwrap();
    let program = env!("CARGO_BIN_EXE_groundstate");
    let (mut full, mut fitted) = (0, 0);
    // From no room for the directories to room for everything.
    for kib in [4, 16, 24, 28, 32, 36, 40, 64, 512, 2048, 5000, 6100, 6140, 6160, 6200, 6250, 7000] {
        let output = Command::new("unshare")
            .args(["-Urm", "sh", "-c", SCRIPT, "sh", &kib.to_string(), program])
            .current_dir(desk.path("."))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(50) => full += 1,
            Some(100) => fitted += 1,
            other => panic!("{kib} KiB: {other:?}: {said}"),
        }
        let listed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(listed.matches("\"image\":").count(), 1, "{kib} KiB: {listed}");
    }
    assert!(full > 8 && fitted > 0, "{full} were full, {fitted} fitted: other sizes are wanted");
}
