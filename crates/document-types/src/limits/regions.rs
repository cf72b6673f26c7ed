//! Bounds between regions.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How often a region's open documents are compared with what another region has of them. What is there
/// at one comparison and still lacks elsewhere at the next was lost on the way, or is very late; it is
/// offered again either way, since what arrives twice counts once.
pub const ANTI_ENTROPY_INTERVAL: Duration = Duration::from_secs(60);
/// How long another region may take to let a session in, or to answer what it was offered, before a
/// document is left for the next comparison.
pub const ANTI_ENTROPY_ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Lives of nodes whose numbers are watched for gaps in one partition of one log, the last heard of first.
pub const SEQUENCES_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not 0");
/// How late a record may be before it counts as missing: longer than a node takes to fill a number whose
/// append failed.
pub const LATE_RECORDS_TIME_MAX: Duration = Duration::from_secs(60);
/// Records of one partition that are waited for.
pub const LATE_RECORDS_COUNT_MAX: usize = 1_024;
