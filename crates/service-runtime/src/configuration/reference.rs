use std::fmt::Write;

use serde_json::Value;

use super::keys::keys;
use super::{Configuration, Settings};

/// The settings of `T` as a Markdown table: key, environment variable, default, meaning.
pub fn reference<T: Settings>() -> String {
    let mut table = String::from("| key | environment | default | meaning |\n|---|---|---|---|\n");
    for key in keys::<T>() {
        let default = match &key.default {
            Value::Null => "none".to_owned(),
            value => format!("`{value}`"),
        };
        let (path, variable) = (&key.path, key.environment_variable());
        let meaning = key.description.replace('|', "\\|");
        let _ = writeln!(table, "| `{path}` | `{variable}` | {default} | {meaning} |");
    }
    table
}

impl<T: Settings> Configuration<T> {
    /// The settings in force as a settings file; what is not a default says where it came from.
    pub fn to_toml(&self) -> String {
        let values = serde_json::to_value(&self.settings).expect("settings are plain data");
        let (mut text, mut section) = (String::new(), "");
        let keys = keys::<T>();
        // A key after a section's header would belong to the section, so plain keys come first.
        let (plain, in_sections): (Vec<_>, Vec<_>) =
            keys.iter().partition(|key| !key.path.contains('.'));
        for key in plain.into_iter().chain(in_sections) {
            let (key_section, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
            if key_section != section {
                section = key_section;
                let _ = writeln!(text, "\n[{section}]");
            }
            let value = key
                .path
                .split('.')
                .fold(&values, |value, name| &value[name]);
            let origin = self
                .origins
                .get(&key.path)
                .map_or_else(String::new, |origin| format!("  # from {origin}"));
            let _ = match value {
                Value::Null => writeln!(text, "# {name} is not set"),
                // JSON's texts, numbers, booleans and lists are TOML's too.
                value => writeln!(text, "{name} = {value}{origin}"),
            };
        }
        text
    }
}
