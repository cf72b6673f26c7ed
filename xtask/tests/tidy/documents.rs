//! Documents that name what is there.

use std::path::{Path, PathBuf};

use crate::workspace::{assert_none, files, root, text};

fn documents() -> impl Iterator<Item = PathBuf> {
    files()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
}

/// The targets of the inline links of a Markdown text, outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut in_fence = false;
    let mut links = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        // Between backticks, every second part is code.
        for part in line.split('`').step_by(2) {
            links.extend(
                part.split("](")
                    .skip(1)
                    .filter_map(|rest| rest.split_once(')'))
                    .map(|(to, _)| to),
            );
        }
    }
    links
}

#[test]
fn links_are_read_outside_of_code_only() {
    let text = "see [a](b.md), [`c`](d.md#e) and `[f](g)`\n```\n[h](i)\n```\n[j](k)";
    assert_eq!(links(text), ["b.md", "d.md#e", "k"]);
}

#[test]
fn every_link_leads_somewhere() {
    let mut complaints = Vec::new();
    for document in documents() {
        let text = text(&document).unwrap();
        for link in links(&text) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = document.parent().unwrap_or(Path::new(""));
            if !root().join(folder).join(target).exists() {
                complaints.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn every_decision_is_listed() {
    let folder = Path::new("docs/adr");
    let index = text(&folder.join("README.md")).unwrap();
    let mut complaints = Vec::new();
    for document in documents().filter(|document| document.parent() == Some(folder)) {
        let name = document.file_name().unwrap().to_str().unwrap();
        if name != "README.md" && !links(&index).contains(&name) {
            complaints.push(format!("docs/adr/README.md does not list {name}"));
        }
    }
    assert_none(&complaints);
}

/// The names of metrics in a source: texts that begin with the program's name and an underscore.
fn metrics(source: &str) -> impl Iterator<Item = &str> {
    let prefix = concat!("\"collab", "edit_");
    source
        .match_indices(prefix)
        .filter_map(|(start, _)| source[start + 1..].split('"').next())
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

#[test]
fn every_metric_is_explained() {
    let explained = text(Path::new("docs/operations.md")).unwrap();
    let mut complaints = Vec::new();
    let sources = files().into_iter().filter(|file| {
        (file.starts_with("services") || file.starts_with("crates"))
            && file.extension().is_some_and(|extension| extension == "rs")
    });
    for source in sources {
        let text = text(&source).unwrap_or_default();
        for metric in metrics(&text) {
            if !explained.contains(&format!("`{metric}`")) {
                complaints.push(format!(
                    "{}: docs/operations.md does not explain {metric}",
                    source.display()
                ));
            }
        }
    }
    assert_none(&complaints);
}
