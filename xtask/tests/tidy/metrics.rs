//! Metrics, as the code has them and as `docs/operations.md` lists them.

use std::collections::BTreeSet;

use crate::workspace::{assert_none, files, text};

/// What metrics may be told apart by: each has a handful of values. No document, user or session is
/// among them, of which there are as many as there are.
const LABELS: &[&str] = &[
    "call",
    "code",
    "direction",
    "error",
    "from",
    "kind",
    "level",
    "outcome",
    "place",
    "reason",
    "region",
    "version",
];
/// Where metrics are listed.
const LIST: &str = "docs/operations.md";
/// What all names begin with.
const PREFIX: &str = "collabedit_";

/// The sources of what runs in production.
fn sources() -> impl Iterator<Item = (String, String)> {
    files()
        .into_iter()
        .filter(|file| {
            let shown = file.to_str().unwrap();
            let ships = shown.starts_with("crates/") || shown.starts_with("services/");
            ships && shown.contains("/src/") && shown.ends_with(".rs")
        })
        .map(|file| (file.display().to_string(), text(&file).unwrap()))
}

/// The names in `text` that `before` and `after` stand around.
fn names(text: &str, (before, after): (char, char)) -> BTreeSet<String> {
    let is_of_name = |character: char| character.is_ascii_lowercase() || character == '_';
    let begins = format!("{before}{PREFIX}");
    text.match_indices(&begins)
        .filter_map(|(at, _)| {
            let name = &text[at + before.len_utf8()..];
            let (name, rest) = name.split_at(name.find(|c| !is_of_name(c))?);
            rest.starts_with(after).then(|| name.to_owned())
        })
        .collect()
}

/// The labels that the calls of `metrics`' macros in `text` give.
fn labels(text: &str) -> Vec<&str> {
    let mut labels = Vec::new();
    for macro_name in ["counter!(", "gauge!(", "histogram!("] {
        for (at, _) in text.match_indices(macro_name) {
            let call = text[at..].split(';').next().unwrap();
            labels.extend(
                call.split("\" =>")
                    .filter_map(|before| before.rsplit_once('"'))
                    .map(|(_, label)| label)
                    .take(call.matches("\" =>").count()),
            );
        }
    }
    labels
}

#[test]
fn labels_are_read_from_the_macros_calls() {
    let text = r#"counter!(A, "code" => code).increment(1); match b { "c" => {} }
        metrics::gauge!("d",
            "kind" => "e", "place" => f).set(1.0);"#;
    assert_eq!(labels(text), ["code", "kind", "place"]);
}

#[test]
fn the_list_names_all_metrics_and_no_others() {
    let listed = names(&text(LIST.as_ref()).unwrap(), ('`', '`'));
    let named: BTreeSet<_> = sources()
        .flat_map(|(_, text)| names(&text, ('"', '"')))
        .collect();
    assert!(named.len() > 50, "{named:?}");
    let complaints: Vec<_> = named
        .difference(&listed)
        .map(|name| format!("{name} is not in {LIST}"))
        .chain(
            listed
                .difference(&named)
                .map(|name| format!("{LIST} lists {name}, which is not in the code")),
        )
        .collect();
    assert_none(&complaints);
}

#[test]
fn no_metric_is_told_apart_by_what_there_are_many_of() {
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, text) in sources() {
        for label in labels(&text) {
            seen.insert(label.to_owned());
            if !LABELS.contains(&label) {
                complaints.push(format!("{file}: the label {label:?}; may be {LABELS:?}"));
            }
        }
    }
    assert_none(&complaints);
    assert!(seen.len() > LABELS.len() / 2, "{seen:?}");
}
