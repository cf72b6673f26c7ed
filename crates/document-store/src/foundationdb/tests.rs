//! What needs no cluster. It links the client's library, as it is asked for its errors' texts.

use foundationdb::FdbError;

use super::errors::{Doing, Unexpected, kv_error};
use super::prefix::Prefix;
use crate::ordered_kv::{KeyRange, KvError};

fn read(code: i32) -> KvError {
    kv_error(FdbError::from_code(code), Doing::Reading)
}

fn committed(code: i32) -> KvError {
    kv_error(FdbError::from_code(code), Doing::Committing)
}

#[test]
fn a_commit_that_may_have_happened_is_unknown() {
    // commit_unknown_result, transaction_timed_out, cluster_version_changed.
    for code in [1021, 1031, 1039] {
        let error = committed(code);
        assert!(matches!(error, KvError::CommitUnknownResult), "{code}");
        assert!(error.maybe_committed() && error.is_retryable(), "{code}");
    }
    // operation_failed, broken_promise, operation_cancelled, internal_error: nothing says that it did not.
    for code in [1000, 1100, 1101, 4100] {
        let error = committed(code);
        assert!(error.maybe_committed() && !error.is_retryable(), "{code}");
    }
}

#[test]
fn a_commit_that_did_not_happen_is_known() {
    // not_committed, transaction_too_old, future_version, and what asks for patience.
    let retryable = [1007, 1009, 1020, 1037, 1038, 1042, 1051, 1078, 1213, 1223];
    for code in retryable {
        let error = committed(code);
        assert!(!error.maybe_committed() && error.is_retryable(), "{code}");
    }
    // client_invalid_operation, key_outside_legal_range, used_during_commit, key_too_large.
    for code in [2000, 2004, 2017, 2102] {
        let error = committed(code);
        assert!(!error.maybe_committed() && !error.is_retryable(), "{code}");
    }
}

#[test]
fn a_read_never_committed_anything() {
    for code in 1000..5000 {
        assert!(!read(code).maybe_committed(), "{code}");
    }
    assert!(matches!(read(1020), KvError::NotCommitted));
    assert!(matches!(read(1007), KvError::TransactionTooOld));
    assert!(matches!(read(1031), KvError::TransactionTooOld));
    assert!(matches!(read(1009), KvError::FutureVersion));
    assert!(matches!(read(1039), KvError::Overloaded));
}

#[test]
fn what_the_client_calls_retryable_is() {
    for code in 0..5000 {
        let error = FdbError::from_code(code);
        if error.is_retryable() {
            assert!(committed(code).is_retryable(), "{code}");
        }
        if error.is_maybe_committed() {
            assert!(committed(code).maybe_committed(), "{code}");
        }
        if error.is_retryable_not_committed() {
            assert!(!committed(code).maybe_committed(), "{code}");
        }
    }
}

#[test]
fn a_failure_names_the_code_and_what_it_means() {
    let KvError::Failed { source, .. } = read(2004) else {
        panic!("it has no meaning of its own");
    };
    let text = source.to_string();
    assert!(text.starts_with("FoundationDB error 2004: "), "{text}");
    assert!(text.contains("outside legal range"), "{text}");
}

#[test]
fn keys_keep_their_order_behind_a_prefix() {
    let prefix = Prefix::new("store".into()).unwrap();
    let keys = [
        &b""[..],
        b"\x00",
        b"a",
        b"a\x00",
        b"b",
        b"\xff",
        b"\xff\xff",
    ];
    let moved: Vec<_> = keys.iter().map(|key| prefix.key(key)).collect();
    assert!(moved.is_sorted());
    for (key, moved) in keys.iter().zip(&moved) {
        assert_eq!(prefix.strip(moved).unwrap(), key);
    }
    let (begin, end) = prefix.range(&KeyRange::of_key(b"a"));
    assert_eq!((&begin[..], &end[..]), (&b"storea"[..], &b"storea\x00"[..]));
    assert_eq!(prefix.strip(b"stora"), Err(Unexpected::ForeignKey));
}

#[test]
fn a_prefix_is_short_and_not_the_clusters_own() {
    for good in [&b"s"[..], b"\x00", b"\xfe\xff", b"12345678"] {
        assert!(Prefix::new(good.into()).is_ok());
    }
    for bad in [&b""[..], b"\xff", b"\xff\x02", b"123456789"] {
        assert!(Prefix::new(bad.into()).is_err());
    }
}
