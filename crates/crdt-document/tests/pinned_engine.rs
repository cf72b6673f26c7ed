//! The engine is pinned with its internals. `loro` alone lets them float to versions whose imports
//! slow down with every concurrent change in a document's history.

#[test]
fn the_lock_file_has_the_measured_versions() {
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap();
    for (name, version) in [
        ("loro", "1.13.6"),
        ("loro-internal", "1.13.6"),
        ("loro-kv-store", "1.13.1"),
    ] {
        let versions: Vec<&str> = lock
            .split("[[package]]")
            .filter(|package| package.contains(&format!("name = \"{name}\"\n")))
            .filter_map(|package| package.split("version = \"").nth(1)?.split('"').next())
            .collect();
        assert_eq!(
            versions,
            [version],
            "{name}: an upgrade has to pass the limits programs first"
        );
    }
}
