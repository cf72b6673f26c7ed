use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Settings;

/// What the name of every environment variable that is a setting begins with.
pub const ENVIRONMENT_PREFIX: &str = "COLLABEDIT_";

/// One setting, as the settings struct describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key with its sections, as in `store.path`.
    pub path: String,
    /// The field's documentation, one paragraph.
    pub description: String,
    /// The default as JSON, null where there is none.
    pub default: Value,
    /// Whether the value is a text, so that the environment and flags give it without quotes.
    pub is_text: bool,
}

impl Key {
    /// The environment variable that sets this key.
    pub fn environment_variable(&self) -> String {
        format!(
            "{ENVIRONMENT_PREFIX}{}",
            self.path.replace('.', "_").to_uppercase()
        )
    }
}

/// Every key of `T`, by name.
pub(super) fn keys<T: Settings>() -> Vec<Key> {
    let schema = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>();
    let defaults = serde_json::to_value(T::default()).expect("settings are plain data");
    let mut keys = Vec::new();
    collect("", schema.as_value(), &defaults, &mut keys);
    // A schema's own order depends on which features of serde_json are compiled in.
    keys.sort_unstable_by(|one: &Key, other| one.path.cmp(&other.path));
    keys
}

fn collect(section: &str, schema: &Value, defaults: &Value, keys: &mut Vec<Key>) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, property) in properties {
        let path = if section.is_empty() {
            name.clone()
        } else {
            format!("{section}.{name}")
        };
        let default = defaults[name.as_str()].clone();
        if property["properties"].is_object() {
            collect(&path, property, &default, keys);
        } else {
            let description = property["description"].as_str().unwrap_or_default();
            keys.push(Key {
                path,
                description: description.split_whitespace().collect::<Vec<_>>().join(" "),
                is_text: is_text(property),
                default,
            });
        }
    }
}

fn is_text(schema: &Value) -> bool {
    let string = |kind: &Value| kind == "string";
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(string),
        Value::Null => {
            // An enum of documented names is a choice of constants.
            let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
            choices.is_some_and(|choices| {
                choices
                    .iter()
                    .any(|choice| string(&choice["type"]) || choice["const"].is_string())
            })
        }
        kind => string(kind),
    }
}

/// The key of `known` that `unknown` most likely meant, if there is one near it.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this similarity a suggestion confuses more than it helps.
    const SIMILARITY_MIN: f64 = 0.75;
    known
        .map(|key| (strsim::jaro_winkler(unknown, key), key))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, key)| key)
}
