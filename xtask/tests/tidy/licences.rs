//! What `deny.toml` says of licences and bans, checked without cargo-deny.

use std::path::Path;

use spdx::{Expression, Licensee, ParseMode};
use toml::Table;

use crate::workspace::{assert_none, packages, text};

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
        if packages().any(|package| package["name"] == banned) {
            complaints.push(format!("{banned}: {}", ban["reason"]));
        }
    }
    assert_none(&complaints);
}
