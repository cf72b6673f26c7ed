//! Clients that write into a real server while it is killed, the record of what they were told, and
//! servers that ought to fail.
//!
//! A [`ServerCommand`] says which server is killed: the real binary on this machine's files, or the
//! same node on a disk that forgets at the kill whatever was not synced, on request with a
//! [`PlantedBug`]. [`clients_come_back`], [`clients_die`], [`nodes_come_back`] and
//! [`deployment_comes_back`] do the killing, [`brokers_come_back`] kills [`Brokers`] under servers that
//! stay, [`deployment_and_brokers_come_back`] kills both, [`regions_come_together`] cuts the [`Way`]
//! between servers, and all of them hand back a [`Report`].
//!
//! The tests are short. A long run, whose figures `--nocapture` shows, is
//!
//! ```sh
//! CRASH_KILLS=50 CRASH_OPERATIONS=100000 cargo test -p crash --test kill -- --nocapture
//! ```

mod brokers;
mod clients;
mod deployment;
mod hasty_disk;
mod latencies;
mod load;
mod recorder;
mod report;
mod run;
mod server_command;
mod slow_disk;
mod way;
mod wire;
mod writer;

pub use brokers::Brokers;
pub use deployment::Deployment;
pub use hasty_disk::HastyDisk;
pub use latencies::{Aftermath, Latencies};
pub use load::Load;
pub use report::{Report, assert_kept};
pub use run::{
    brokers_come_back, clients_come_back, clients_die, deployment_and_brokers_come_back,
    deployment_comes_back, nodes_come_back, regions_come_together,
};
pub use server_command::{PlantedBug, ServerCommand};
pub use slow_disk::SlowDisk;
pub use way::Way;
