//! What each sub-command does, one file each.

pub mod check;
pub mod log_show;
pub mod replay;
pub mod run;
