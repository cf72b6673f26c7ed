//! Clients that write into a real server while it is killed, and the record of what they were told.

mod load;
mod recorder;
mod server_process;
mod writer;

pub use load::Load;
pub use recorder::Recorder;
pub use server_process::ServerProcess;
pub use writer::{Writer, everybody_has};
