//! The binary `collabedit` as a library, so that tests and tools start the same node that it does.
//!
//! [`start`] takes [`Settings`], which are data, and [`Components`], which are objects: the disks, the
//! clock, the randomness and the dry run that the node works with. A node on faulty disks is the same
//! node.

pub mod arguments;
pub mod commands;
mod components;
mod data_directory;
mod host_guard;
mod node;
mod plan;
mod roles;
mod settings;
mod shared_store;
mod web;

pub use components::{Components, ComponentsError, Disks};
pub use data_directory::DataDirectoryError;
pub use node::{RunningNode, StartError, start};
pub use plan::{PlanError, Role};
pub use settings::{
    DryRunSettings, FoundationDbSettings, KafkaSettings, LogSettings, OtlpSettings, RegionSettings,
    ServicesSettings, Settings, StoreSettings, TelemetrySettings, WebSettings,
};
pub use shared_store::{SharedStoreError, SharedStores};
