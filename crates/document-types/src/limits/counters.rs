//! What counters may be incremented by.

use super::{DRY_RUN_FRAME_BYTES_MAX, DRY_RUN_WORKER_MEMORY_BYTES_MAX};

/// A counter is incremented or decremented by a whole number of at most this.
///
/// It takes 2^33 such increments to reach 2^53, up to which whole numbers are exact. In the engine's
/// encoding each takes three bytes, so those are 24 GiB; smaller ones take fewer bytes, but get less far
/// with as many. A document that can still be written to has less: it is loaded from 64 MiB, which are 16
/// GiB at most once they are unpacked, and what was added since lies in a worker's 1 GiB.
pub const COUNTER_INCREMENT_MAX: u32 = 1 << 20;

/// Every whole number up to this, and its negative, is a floating-point number of 64 bits.
const SUM_EXACT_MAX: u64 = 1 << 53;
/// What an increment of [`COUNTER_INCREMENT_MAX`] takes at least: seven bits a byte, one of them the sign.
const INCREMENT_BYTES_MIN: u64 = 3;
/// How many times as large as its packed form data can be in LZ4, in which the engine packs history.
const UNPACKED_PER_PACKED_MAX: u64 = 255;

const _: () = {
    let unpacked = DRY_RUN_FRAME_BYTES_MAX as u64 * UNPACKED_PER_PACKED_MAX;
    let increments = (unpacked + DRY_RUN_WORKER_MEMORY_BYTES_MAX) / INCREMENT_BYTES_MIN;
    assert!(increments * (COUNTER_INCREMENT_MAX as u64) < SUM_EXACT_MAX);
};
