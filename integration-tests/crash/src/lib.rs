//! Clients that write into a real server while it is killed, the record of what they were told, and
//! servers that ought to fail.
//!
//! A [`ServerCommand`] says which server is killed: the real binary on this machine's files, or the
//! same node on a disk that forgets at the kill whatever was not synced, on request with a
//! [`PlantedBug`]. [`clients_come_back`], [`clients_die`], [`nodes_come_back`] and
//! [`deployment_comes_back`] do the killing, the latter also of each [`Dependency`], [`brokers_come_back`]
//! kills brokers under servers that stay, [`mergers_come_and_go`] makes mergers do things twice,
//! [`regions_come_together`] cuts the [`Way`] between servers, and all of them hand back a [`Report`].
//!
//! The tests are short. A long run, whose figures `--nocapture` shows, is
//!
//! ```sh
//! CRASH_KILLS=50 CRASH_OPERATIONS=100000 cargo test -p crash --test kill -- --nocapture
//! ```

mod clients;
mod dependency;
mod deployment;
mod hasty_disk;
mod latencies;
mod load;
mod recorder;
mod report;
mod run;
mod scenarios;
mod server_command;
mod slow_disk;
mod way;
mod wire;
mod writer;

pub use dependency::Dependency;
pub use deployment::Deployment;
pub use hasty_disk::HastyDisk;
pub use latencies::{Aftermath, Latencies};
pub use load::Load;
pub use report::{Report, assert_kept};
pub use scenarios::{
    brokers_come_back, clients_come_back, clients_die, deployment_comes_back, mergers_come_and_go,
    nodes_come_back, regions_come_together,
};
pub use server_command::{PlantedBug, ServerCommand};
pub use slow_disk::SlowDisk;
pub use way::Way;
