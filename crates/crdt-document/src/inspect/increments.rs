//! What a counter may be incremented by, so that all replicas come to the same sum.
//!
//! The engine adds increments up as floating-point numbers, in the order in which a replica gets them,
//! and such a sum is rounded: 0.1, 0.2 and 0.3 make 0.6 in one order and 0.6000000000000001 in another.
//! Sums of whole numbers are exact, and so the same in every order, as long as none of them, whichever
//! increments it is of, is beyond 2^53 (see [`COUNTER_INCREMENT_MAX`]).

use document_types::limits::COUNTER_INCREMENT_MAX;

/// Whether sums of such increments are the same in every order.
pub(super) fn integer_is_exact(increment: i64) -> bool {
    increment.unsigned_abs() <= u64::from(COUNTER_INCREMENT_MAX)
}

/// As [`integer_is_exact`], for the other encoding. The engine uses it for fractions and from 2^27 on, and
/// reads any number in it.
pub(super) fn float_is_exact(increment: f64) -> bool {
    increment.fract() == 0.0 && increment.abs() <= f64::from(COUNTER_INCREMENT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_have_the_same_bounds() {
        let max = i64::from(COUNTER_INCREMENT_MAX);
        for increment in [0, 1, -1, max, -max, max + 1, -max - 1, i64::MAX, i64::MIN] {
            let is_exact = (-max..=max).contains(&increment);
            assert_eq!(integer_is_exact(increment), is_exact, "{increment}");
            assert_eq!(float_is_exact(increment as f64), is_exact, "{increment}");
        }
    }

    #[test]
    fn only_whole_numbers_are_exact() {
        assert!(float_is_exact(-0.0));
        let max = f64::from(COUNTER_INCREMENT_MAX);
        for increment in [
            0.1,
            -0.5,
            max - 0.5,
            1.0 + f64::EPSILON,
            f64::MIN_POSITIVE,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ] {
            assert!(!float_is_exact(increment), "{increment}");
        }
    }
}
