use std::io::Write;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Example {
    /// Where it listens.
    listen: SocketAddr,
    /// Who may connect; empty means its own pages.
    origins: Vec<String>,
    store: Store,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Store {
    /// How many bytes it may cache.
    cache_bytes: u64,
    /// Its name.
    name: Option<String>,
    /// How safe it is.
    durability: Durability,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Durability {
    /// Survives a power cut.
    #[default]
    Synced,
    /// Survives a crash of the process.
    Buffered,
}

impl Default for Example {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 80).into(),
            origins: Vec::new(),
            store: Store {
                cache_bytes: 10,
                ..Store::default()
            },
        }
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load_file(text: &str, sources: Sources) -> Result<Configuration<Example>, ConfigurationError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load(&Sources {
        file: Some(file.path().to_owned()),
        ..sources
    })
}

#[test]
fn without_any_layer_settings_are_the_defaults() {
    let loaded = load::<Example>(&Sources::default()).unwrap();
    assert_eq!(loaded.settings, Example::default());
    assert!(loaded.origins.is_empty());
}

#[test]
fn each_layer_wins_over_those_below_it() {
    let file = "listen = '0.0.0.0:1'\norigins = ['a']\n[store]\ncache_bytes = 1\nname = '1'\n";
    let sources = Sources {
        file: None,
        environment: pairs(&[
            ("COLLABEDIT_LISTEN", "0.0.0.0:2"),
            ("COLLABEDIT_STORE_CACHE_BYTES", "2"),
            ("COLLABEDIT_STORE_DURABILITY", "buffered"),
            ("PATH", "not ours"),
        ]),
        flags: pairs(&[("store.cache_bytes", "3")]),
    };
    let loaded = load_file(file, sources).unwrap();
    let expected = Example {
        listen: "0.0.0.0:2".parse().unwrap(),
        origins: vec!["a".to_owned()],
        store: Store {
            cache_bytes: 3,
            // A text that looks like a number stays a text.
            name: Some("1".to_owned()),
            durability: Durability::Buffered,
        },
    };
    assert_eq!(loaded.settings, expected);
    assert_eq!(
        loaded.origins["listen"],
        Origin::Environment("COLLABEDIT_LISTEN".to_owned())
    );
    assert_eq!(
        loaded.origins["store.cache_bytes"],
        Origin::Flag("store.cache_bytes".to_owned())
    );
    assert!(matches!(loaded.origins["origins"], Origin::File(_)));
}

#[test]
fn lists_are_given_as_toml_in_the_environment() {
    let environment = pairs(&[("COLLABEDIT_ORIGINS", "['a', 'b']")]);
    let loaded = load::<Example>(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap();
    assert_eq!(loaded.settings.origins, ["a", "b"]);
}

#[test]
fn an_unknown_key_fails_in_every_layer_and_the_nearest_one_is_named() {
    let in_file = load_file("[store]\ncache_byte = 1\n", Sources::default()).unwrap_err();
    assert!(
        in_file.to_string().contains("sets `store.cache_byte`"),
        "{in_file}"
    );
    assert!(
        in_file
            .to_string()
            .ends_with("did you mean `store.cache_bytes`?"),
        "{in_file}"
    );

    let environment = pairs(&[("COLLABEDIT_LISTE", "x")]);
    let in_environment = load::<Example>(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap_err();
    assert!(
        in_environment
            .to_string()
            .ends_with("did you mean `COLLABEDIT_LISTEN`?"),
        "{in_environment}"
    );

    let flags = pairs(&[("qqq", "x")]);
    let in_flag = load::<Example>(&Sources {
        flags,
        ..Sources::default()
    })
    .unwrap_err();
    assert_eq!(
        in_flag.to_string(),
        "the flag for qqq sets `qqq`, which is not a setting"
    );

    let section = load_file("[stores]\nname = 'x'\n", Sources::default()).unwrap_err();
    assert!(section.to_string().contains("sets `stores`"), "{section}");
}

#[test]
fn a_bad_value_is_blamed_on_the_layer_that_gave_it() {
    let environment = pairs(&[("COLLABEDIT_STORE_CACHE_BYTES", "many")]);
    let error = load::<Example>(&Sources {
        environment,
        ..Sources::default()
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the environment variable COLLABEDIT_STORE_CACHE_BYTES gives `store.cache_bytes` a value \
         that it can't have"
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("expected u64"), "{source}");
}

#[test]
fn what_is_dumped_can_be_loaded_again_and_says_what_is_not_a_default() {
    let flags = pairs(&[("store.cache_bytes", "3"), ("store.name", "it's")]);
    let loaded = load::<Example>(&Sources {
        flags,
        ..Sources::default()
    })
    .unwrap();
    let dumped = loaded.to_toml();
    assert!(
        dumped.contains("cache_bytes = 3  # from the flag for store.cache_bytes"),
        "{dumped}"
    );
    assert!(dumped.contains("listen = \"127.0.0.1:80\"\n"), "{dumped}");
    assert_eq!(
        load_file(&dumped, Sources::default()).unwrap().settings,
        loaded.settings
    );
}

#[test]
fn the_reference_names_every_key_its_variable_its_default_and_its_meaning() {
    let table = crate::configuration::reference::<Example>();
    for row in [
        "| `listen` | `COLLABEDIT_LISTEN` | `\"127.0.0.1:80\"` | Where it listens. |",
        "| `store.cache_bytes` | `COLLABEDIT_STORE_CACHE_BYTES` | `10` | How many bytes it may cache. |",
        "| `store.name` | `COLLABEDIT_STORE_NAME` | none | Its name. |",
    ] {
        assert!(table.contains(row), "{row} is not in\n{table}");
    }
}
