use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Settings;
use super::keys::{ENVIRONMENT_PREFIX, Key, keys, nearest};

/// Where settings come from, the weakest first. Defaults lie below all of these.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file, if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables; those without [`ENVIRONMENT_PREFIX`] are passed over.
    pub environment: Vec<(String, String)>,
    /// Keys and values that were given as flags.
    pub flags: Vec<(String, String)>,
}

/// Where one value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The settings file at this path.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// A flag for the key of this name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(key) => write!(f, "the flag for {key}"),
        }
    }
}

/// Why no settings came out of the layers.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file can't be read.
    #[error("the settings file {path} can't be read", path = path.display())]
    FileUnreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the settings file {path} is not TOML", path = path.display())]
    FileMalformed {
        /// Which file.
        path: PathBuf,
        /// Where it breaks the rules.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// No setting has this name.
    #[error("{origin} sets `{key}`, which is not a setting{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The name.
        key: String,
        /// Who sets it.
        origin: Origin,
        /// The setting that was probably meant.
        nearest: Option<String>,
    },
    /// The value does not fit its setting.
    #[error("{} gives `{key}` a value that it can't have", origin_or_default(origin.as_ref()))]
    BadValue {
        /// The setting.
        key: String,
        /// Who sets it.
        origin: Option<Origin>,
        /// What is wrong with it.
        #[source]
        source: Box<toml::de::Error>,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean `{key}`?"))
}

fn origin_or_default(origin: Option<&Origin>) -> String {
    origin.map_or_else(|| "a default".to_owned(), ToString::to_string)
}

/// Settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Configuration<T> {
    /// The settings.
    pub settings: T,
    /// The origin of each key that is not a default.
    pub origins: BTreeMap<String, Origin>,
}

/// Merges the layers into settings.
///
/// # Errors
/// [`ConfigurationError`] names the layer and the key that is wrong.
pub fn load<T: Settings>(sources: &Sources) -> Result<Configuration<T>, ConfigurationError> {
    let mut layers = Layers {
        keys: keys::<T>(),
        merged: Table::new(),
        origins: BTreeMap::new(),
    };
    if let Some(path) = &sources.file {
        layers.add_file(path)?;
    }
    layers.add_environment(&sources.environment)?;
    for (key, value) in &sources.flags {
        layers.add_text(key, value, Origin::Flag(key.clone()))?;
    }
    let Layers {
        merged, origins, ..
    } = layers;
    // What no layer names is filled in by serde from the struct's own defaults.
    let settings = serde_path_to_error::deserialize(merged).map_err(|error| {
        let key = error.path().to_string();
        let origin = origins.get(&key).cloned();
        ConfigurationError::BadValue {
            key,
            origin,
            source: Box::new(error.into_inner()),
        }
    })?;
    Ok(Configuration { settings, origins })
}

struct Layers {
    keys: Vec<Key>,
    merged: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    fn add_file(&mut self, path: &Path) -> Result<(), ConfigurationError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigurationError::FileUnreadable {
                path: path.to_owned(),
                source,
            })?;
        let table: Table = text
            .parse()
            .map_err(|source| ConfigurationError::FileMalformed {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
        let mut leaves = Vec::new();
        self.leaves("", &table, &mut leaves);
        for (key, value) in leaves {
            self.set(&key, value, Origin::File(path.to_owned()))?;
        }
        Ok(())
    }

    /// The keys below `section`. A table that is not a section is a leaf, so that it is refused by
    /// its own name.
    fn leaves(&self, section: &str, table: &Table, leaves: &mut Vec<(String, Value)>) {
        for (name, value) in table {
            let path = if section.is_empty() {
                name.clone()
            } else {
                format!("{section}.{name}")
            };
            let prefix = format!("{path}.");
            match value {
                Value::Table(inner)
                    if self.keys.iter().any(|key| key.path.starts_with(&prefix)) =>
                {
                    self.leaves(&path, inner, leaves);
                }
                _ => leaves.push((path, value.clone())),
            }
        }
    }

    fn add_environment(
        &mut self,
        variables: &[(String, String)],
    ) -> Result<(), ConfigurationError> {
        for (name, text) in variables
            .iter()
            .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
        {
            let origin = Origin::Environment(name.clone());
            let named = self
                .keys
                .iter()
                .find(|key| key.environment_variable() == *name);
            let Some(key) = named.map(|key| key.path.clone()) else {
                let known: Vec<_> = self.keys.iter().map(Key::environment_variable).collect();
                let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
                return Err(ConfigurationError::UnknownKey {
                    key: name.clone(),
                    origin,
                    nearest,
                });
            };
            self.add_text(&key, text, origin)?;
        }
        Ok(())
    }

    /// A value that was given as text: taken as it is where the setting is a text, and read as TOML
    /// otherwise.
    fn add_text(
        &mut self,
        path: &str,
        text: &str,
        origin: Origin,
    ) -> Result<(), ConfigurationError> {
        let is_text = self.keys.iter().any(|key| key.path == path && key.is_text);
        // What is not TOML stays a text, so that the setting's own type says what it wants instead.
        let value = match text.parse::<Value>() {
            Ok(value) if !is_text => value,
            _ => Value::String(text.to_owned()),
        };
        self.set(path, value, origin)
    }

    fn set(&mut self, path: &str, value: Value, origin: Origin) -> Result<(), ConfigurationError> {
        if !self.keys.iter().any(|key| key.path == path) {
            let nearest = nearest(path, self.keys.iter().map(|key| key.path.as_str()));
            return Err(ConfigurationError::UnknownKey {
                key: path.to_owned(),
                origin,
                nearest: nearest.map(str::to_owned),
            });
        }
        let (sections, name) = path
            .rsplit_once('.')
            .map_or(("", path), |(head, tail)| (head, tail));
        let mut table = &mut self.merged;
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            table = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()))
                .as_table_mut()
                .expect("a section of a known key holds keys and is no key itself");
        }
        table.insert(name.to_owned(), value);
        self.origins.insert(path.to_owned(), origin);
        Ok(())
    }
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
