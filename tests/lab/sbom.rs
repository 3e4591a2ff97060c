//! What the package is made of, for whoever must know it: a bill of materials as CycloneDX 1.5 (JSON), from cargo's own graph and `Cargo.lock`.
//!
//! In it is what the shipped programs link: normal dependencies of the appliance and of the agent, for the system that they are built for.
//! What only builds or tests them is not. It has no time and no serial number, so the same lock gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::tool;

/// The programs that ship.
const SHIPPED: [&str; 2] = ["recovery-appliance", "recovery-agent"];

/// The bill of the workspace at `root`. Cargo asks no network for it.
///
/// # Errors
/// When cargo fails, or says something else than it should.
pub fn bill(cargo: &OsStr, root: &Path) -> Result<String> {
    let words = [
        "metadata",
        "--format-version=1",
        "--locked",
        "--offline",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ];
    let metadata: Value =
        serde_json::from_str(&tool::run(Command::new(cargo).current_dir(root).args(words))?)?;
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("the versions are in Cargo.lock")?;
    let text = serde_json::to_string_pretty(&of(&metadata, &checksums(&lock))?)?;
    Ok(text + "\n")
}

fn of(metadata: &Value, checksums: &BTreeMap<(String, String), String>) -> Result<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
    let nodes: BTreeMap<String, Vec<String>> =
        list(&metadata["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), links(node))).collect();
    let mut open: Vec<String> = packages
        .iter()
        .filter(|(_, package)| SHIPPED.contains(&text(&package["name"]).as_str()))
        .map(|(id, _)| id.clone())
        .collect();
    anyhow::ensure!(open.len() == SHIPPED.len(), "cargo does not know {SHIPPED:?}");
    let version = packages.get(&open[0]).map(|package| text(&package["version"])).unwrap_or_default();
    let shipped: Vec<String> = open.iter().filter_map(|id| Some(reference(packages.get(id)?))).collect();
    let mut linked = BTreeSet::new();
    while let Some(id) = open.pop() {
        if linked.insert(id.clone()) {
            open.extend(nodes.get(&id).into_iter().flatten().cloned());
        }
    }
    let mut components = Vec::new();
    let product = format!("groundstate@{version}");
    let mut dependencies = vec![json!({ "ref": product, "dependsOn": shipped })];
    for id in &linked {
        let package = packages.get(id).with_context(|| format!("cargo says nothing of {id}"))?;
        components.push(component(package, checksums));
        let named = |id: &String| packages.get(id).map(reference);
        let of: Vec<String> = nodes.get(id).into_iter().flatten().filter_map(named).collect();
        dependencies.push(json!({ "ref": reference(package), "dependsOn": of }));
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": { "type": "application", "bom-ref": product, "name": "groundstate", "version": version } },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// What a node links: its normal dependencies.
fn links(node: &Value) -> Vec<String> {
    let normal = |dep: &&Value| {
        dep["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
    };
    let deps = node["deps"].as_array();
    let mut links: Vec<String> =
        deps.into_iter().flatten().filter(normal).map(|dep| text(&dep["pkg"])).collect();
    links.sort();
    links.dedup();
    links
}

fn component(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Value {
    let (name, version) = (text(&package["name"]), text(&package["version"]));
    let mut component =
        json!({ "type": "library", "bom-ref": reference(package), "name": name, "version": version });
    // Ours have no place in a registry.
    if !package["source"].is_null() {
        component["purl"] = reference(package).into();
    }
    if let Some(licence) = package["license"].as_str() {
        // Some still write `MIT/Apache-2.0`, which is no expression of SPDX.
        component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
    }
    if let Some(checksum) = checksums.get(&(name, version)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// How a package is named within the bill: its package URL, for ours without a registry.
fn reference(package: &Value) -> String {
    let (name, version) = (text(&package["name"]), text(&package["version"]));
    if package["source"].is_null() {
        format!("{name}@{version}")
    } else {
        format!("pkg:cargo/{name}@{version}")
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The checksums of `Cargo.lock`, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.map(|value| value.trim_end_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(checksum)) =
            (value("name"), value("version"), value("checksum"))
        {
            all.insert((name, version), checksum);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::{cargo, root};

    #[test]
    fn the_bill_is_whole_and_names_what_is_linked_and_nothing_else() {
        let text = bill(&cargo(), &root()).unwrap();
        assert_eq!(text, bill(&cargo(), &root()).unwrap(), "the same lock gives the same bytes");
        let bill: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&bill["bomFormat"], &bill["specVersion"], &bill["version"]),
            (&json!("CycloneDX"), &json!("1.5"), &json!(1))
        );
        let components = bill["components"].as_array().unwrap();
        let mut references = BTreeSet::from([text_of(&bill["metadata"]["component"], "bom-ref")]);
        for one in components {
            // What the schema wants of each (CycloneDX 1.5: type and name; a reference once; a hash of 64 hex digits).
            assert_eq!(one["type"], "library", "{one}");
            assert!(!text_of(one, "name").is_empty() && !text_of(one, "version").is_empty(), "{one}");
            assert!(references.insert(text_of(one, "bom-ref")), "{one} stands twice");
            assert!(!text_of(&one["licenses"][0], "expression").is_empty(), "{one}");
            if let Some(purl) = one["purl"].as_str() {
                assert!(purl.starts_with("pkg:cargo/"), "{one}");
                let hash = text_of(&one["hashes"][0], "content");
                assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
            }
        }
        for dependency in bill["dependencies"].as_array().unwrap() {
            let named = dependency["dependsOn"].as_array().unwrap().iter().map(|of| of.as_str().unwrap());
            for reference in named.chain([dependency["ref"].as_str().unwrap()]) {
                assert!(references.contains(reference), "{reference} is no component");
            }
        }
        let has = |name: &str| components.iter().any(|one| one["name"] == name);
        assert!(["rustls", "ring", "recovery-agent", "images"].into_iter().all(has));
        // Test peers and build tools are not shipped; a second crypto provider would be news.
        assert!(!["s3s", "proptest", "tests", "aws-lc-rs", "native-tls"].into_iter().any(has));
    }

    fn text_of(value: &Value, key: &str) -> String {
        text(&value[key])
    }
}
