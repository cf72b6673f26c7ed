//! Bounds between regions.

use std::time::Duration;

/// How often a region's open documents are compared with what another region has of them. What is there
/// at one comparison and still lacks elsewhere at the next was lost on the way, or is very late; it is
/// offered again either way, since what arrives twice counts once.
pub const ANTI_ENTROPY_INTERVAL: Duration = Duration::from_secs(60);
/// How long another region may take to let a session in, or to answer what it was offered, before a
/// document is left for the next comparison.
pub const ANTI_ENTROPY_ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
