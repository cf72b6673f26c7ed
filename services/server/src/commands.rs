//! What each sub-command does, one file each.

pub mod dev;
pub mod log_show;
pub mod replay;
