//! Configuration by layers: defaults, then a TOML file, then the environment, then flags.
//!
//! Settings are one plain struct per program, with `serde` for its values and `schemars` for what is
//! known about its keys. Everything else follows from that struct: which keys exist, what the
//! environment variables are called, how their text is read, and the reference for people. A layer
//! that names an unknown key is an error, since a misspelt limit would otherwise be no limit.
//!
//! The merge is ours because it is one loop over a table; what the ready-made libraries add (other
//! formats, profiles, remote sources) is not wanted, and none of them knows where a key came from and
//! which key was meant.

mod keys;
mod layers;
mod reference;

pub use keys::{ENVIRONMENT_PREFIX, Key};
pub use layers::{Configuration, ConfigurationError, Origin, Sources, load};
pub use reference::reference;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A program's settings: plain data with a documented default for each key.
///
/// Mark the struct and its sections with `#[serde(default, deny_unknown_fields)]`, and write each
/// field's documentation for the person who sets it.
pub trait Settings: Default + Serialize + DeserializeOwned + JsonSchema {}

impl<T: Default + Serialize + DeserializeOwned + JsonSchema> Settings for T {}
