//! Files as the embedded adapters see them: real ones, and ones that lose what was not synced.
//!
//! The embedded log and the embedded store write through [`Disk`] and [`DiskFile`] only, so that the
//! same code runs over [`RealDisk`] in production and over [`FaultyDisk`] where a test wants to know
//! what a crash leaves behind. Everything here blocks; asynchronous callers bring their own thread.

mod disk;
mod faulty;
mod real;

pub use crate::disk::{Disk, DiskFile, DiskLock};
pub use crate::faulty::{FaultyDisk, FaultyDiskOptions};
pub use crate::real::RealDisk;
