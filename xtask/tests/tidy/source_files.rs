//! What may not stand in a file.

use std::path::Path;

use crate::workspace::{assert_none, files, text};

/// A longer file holds more than one idea.
const LINES_MAX: usize = 600;

const SOURCE_EXTENSIONS: [&str; 6] = ["rs", "ts", "tsx", "svelte", "mjs", "proto"];

/// Texts that may not stand in a source, and why. Written in halves, so that they don't stand here.
const FORBIDDEN_IN_SOURCES: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it, or write an issue"),
    (concat!("FIX", "ME"), "finish it, or write an issue"),
    (concat!("XX", "X"), "finish it, or write an issue"),
    (concat!("unbounded_", "channel"), "every queue has a limit"),
    (concat!("mpsc::", "unbounded"), "every queue has a limit"),
    (
        concat!("#[ig", "nore"),
        "a test that does not run is no test",
    ),
    (
        concat!("test.", "skip"),
        "a test that does not run is no test",
    ),
    (
        concat!("it.", "skip"),
        "a test that does not run is no test",
    ),
    (
        concat!("describe.", "skip"),
        "a test that does not run is no test",
    ),
    (concat!("test.", "only"), "the other tests don't run"),
    (concat!("it.", "only("), "the other tests don't run"),
    (concat!("describe.", "only"), "the other tests don't run"),
];

/// A test that needs a real part is left out where there is none, and says which step runs it.
const RUN_BY_A_STEP: [&str; 3] = [
    concat!(
        "#[ig",
        "nore = \"needs Kafka: cargo xtask test --only kafka\"]"
    ),
    concat!("#[ig", "nore = \"needs S3: cargo xtask test --only s3\"]"),
    concat!(
        "#[ig",
        "nore = \"needs Redis: cargo xtask test --only redis\"]"
    ),
];

/// The lint that keeps unsafe code out,
const UNSAFE_LINT: &str = concat!("unsafe", "_code");
/// and the only file that may ask for an exception: FoundationDB's client has no safe way to start.
const MAY_BE_UNSAFE: &str = "crates/document-store/src/foundationdb/network.rs";

/// Paths of one machine.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tm", "p/"),
    concat!("/ho", "me/"),
];

fn is_source(file: &Path) -> bool {
    file.extension().is_some_and(|extension| {
        SOURCE_EXTENSIONS
            .iter()
            .any(|source| extension.to_str() == Some(source))
    })
}

fn is_lock(file: &Path) -> bool {
    file.file_name()
        .is_some_and(|name| name == "package-lock.json" || name == "Cargo.lock")
}

#[test]
fn a_file_holds_one_idea() {
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| is_source(file)) {
        let line_count = text(file).map_or(0, |text| text.lines().count());
        if line_count > LINES_MAX {
            complaints.push(format!("{} has {line_count} lines", file.display()));
        }
    }
    assert_none(&complaints);
}

#[test]
fn one_file_may_be_unsafe_and_no_other() {
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| is_source(file)) {
        let forbids = format!("forbid({UNSAFE_LINT})");
        let asks = |line: &str| line.contains(UNSAFE_LINT) && !line.contains(&forbids);
        let text = text(file).unwrap_or_default();
        if text.lines().any(asks) && !file.ends_with(MAY_BE_UNSAFE) {
            complaints.push(format!("{} asks for unsafe code", file.display()));
        }
    }
    assert_none(&complaints);
}

#[test]
fn nothing_is_unfinished_unbounded_or_switched_off() {
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| is_source(file)) {
        let text = text(file).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            for (forbidden, reason) in FORBIDDEN_IN_SOURCES {
                let by_a_step = || RUN_BY_A_STEP.iter().any(|step| line.contains(step));
                if line.contains(forbidden) && !by_a_step() {
                    let at = format!("{}:{}", file.display(), number + 1);
                    complaints.push(format!("{at}: `{forbidden}`: {reason}"));
                }
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| !is_lock(file)) {
        let text = text(file).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            for path in MACHINE_PATHS {
                // A path begins there; it is not the middle of an address or of a longer path.
                let begins = line.match_indices(path).any(|(at, _)| {
                    !line[..at].ends_with(|before: char| {
                        before.is_alphanumeric() || "_-.}".contains(before)
                    })
                });
                if begins {
                    complaints.push(format!("{}:{}: `{path}`", file.display(), number + 1));
                }
            }
        }
    }
    assert_none(&complaints);
}
