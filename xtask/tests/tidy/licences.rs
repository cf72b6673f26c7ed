//! What `deny.toml` says of licences and bans, checked without cargo-deny.

use std::path::Path;

use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};
use toml::Table;

use crate::workspace::{assert_none, metadata, packages, text};

fn policy() -> Table {
    text(Path::new("deny.toml")).unwrap().parse().unwrap()
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let policy = policy();
    let allowed: Vec<Licensee> = policy["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| Licensee::parse_mode(name.as_str().unwrap(), ParseMode::LAX).unwrap())
        .collect();
    let mut complaints = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let Some(licence) = package["license"].as_str() else {
            complaints.push(format!("{name} names no licence"));
            continue;
        };
        let expression = Expression::parse_mode(licence, ParseMode::LAX).unwrap();
        let is_allowed = |required: &spdx::LicenseReq| {
            allowed.iter().any(|licensee| licensee.satisfies(required))
        };
        if !expression.evaluate(is_allowed) {
            complaints.push(format!("{name} is under {licence}"));
        }
    }
    assert_none(&complaints);
}

#[test]
fn no_banned_crate_is_built_in() {
    let policy = policy();
    let mut complaints = Vec::new();
    for ban in policy["bans"]["deny"].as_array().unwrap() {
        let banned = ban["crate"].as_str().unwrap();
        // Those that may depend on it.
        let wrappers = ban.get("wrappers").map(|names| names.as_array().unwrap());
        let wraps = |name: &str| {
            wrappers.is_some_and(|names| names.iter().any(|each| each.as_str() == Some(name)))
        };
        for package in packages().filter(|package| package["name"] == banned) {
            for dependent in dependents(&package["id"]).filter(|name| !wraps(name)) {
                let reason = &ban["reason"];
                complaints.push(format!("{dependent} depends on {banned}: {reason}"));
            }
        }
    }
    assert_none(&complaints);
}

/// The names of the packages that are built in with the package of this id.
fn dependents(id: &Value) -> impl Iterator<Item = &'static str> {
    let nodes = metadata()["resolve"]["nodes"].as_array().unwrap();
    let depends = |node: &&Value| {
        let on = node["dependencies"].as_array().unwrap();
        on.contains(id)
    };
    let ids: Vec<_> = nodes
        .iter()
        .filter(depends)
        .map(|node| &node["id"])
        .collect();
    packages()
        .filter(move |package| ids.contains(&&package["id"]))
        .map(|package| package["name"].as_str().unwrap())
}
