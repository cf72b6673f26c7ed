//! What every package's manifest says, and the engine's pins.

use std::path::Path;

use toml::Table;

use crate::workspace::{assert_none, folder, members, packages, text};

/// The engine's crates and the one version of each that may be built in (`docs/adr/0003`).
const ENGINE: [(&str, &str); 2] = [("loro", "1.13.6"), ("loro-internal", "1.13.6")];

/// Published names that differ from their folder's.
const NAMED_OTHERWISE: [(&str, &str); 1] = [("clients/rust-sdk", "collabedit-sdk")];

#[test]
fn every_package_describes_itself_and_obeys_the_workspaces_lints() {
    let mut complaints = Vec::new();
    for package in members() {
        let folder = folder(package);
        let path = folder.display();
        if package["description"].as_str().is_none_or(str::is_empty) {
            complaints.push(format!("{path} has no description"));
        }
        let manifest: Table = text(&folder.join("Cargo.toml")).unwrap().parse().unwrap();
        let inherits = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"));
        if inherits.and_then(toml::Value::as_bool) != Some(true) {
            complaints.push(format!("{path} does not take the workspace's lints"));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            let value = manifest["package"]
                .get(key)
                .and_then(|value| value.get("workspace"));
            if value.and_then(toml::Value::as_bool) != Some(true) {
                complaints.push(format!("{path} does not take `{key}` from the workspace"));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn a_folder_is_called_like_its_package() {
    let mut complaints = Vec::new();
    for package in members() {
        let (folder, name) = (folder(package), package["name"].as_str().unwrap());
        let otherwise = NAMED_OTHERWISE
            .iter()
            .any(|(at, called)| folder == Path::new(at) && name == *called);
        if !folder.ends_with(name) && !otherwise {
            complaints.push(format!("{} holds the package {name}", folder.display()));
        }
    }
    assert_none(&complaints);
}

#[test]
fn the_engine_is_the_version_that_was_measured() {
    for (name, version) in ENGINE {
        let locked: Vec<_> = packages()
            .filter(|package| package["name"] == name)
            .map(|package| package["version"].as_str().unwrap())
            .collect();
        assert_eq!(locked, [version], "{name}");
    }
}
