//! Every metric of the presence service, with its meaning.

use metrics::{Unit, describe_counter, describe_gauge};

/// Sessions that joined a document's presence on this node.
pub(crate) const SESSIONS: &str = "collabedit_presence_sessions";
/// What sessions showed, by `outcome`: `taken`, or why it was not.
pub(crate) const UPDATES: &str = "collabedit_presence_updates_total";
/// Entries that a newer one overtook while they waited to be shown or told.
pub(crate) const OVERTAKEN: &str = "collabedit_presence_overtaken_total";
/// Messages that a session had no room for; their entries wait and merge.
pub(crate) const SLOW_SESSIONS: &str = "collabedit_presence_slow_sessions_total";
/// Calls to the store that failed.
pub(crate) const STORE_FAILURES: &str = "collabedit_presence_store_failures_total";

/// Tells the installed recorder what each metric means. Call it once, after installing one.
pub fn describe_metrics() {
    describe_gauge!(
        SESSIONS,
        Unit::Count,
        "Sessions that joined a document's presence here"
    );
    describe_counter!(
        UPDATES,
        Unit::Count,
        "Updates of presence from sessions, by outcome"
    );
    describe_counter!(
        OVERTAKEN,
        Unit::Count,
        "Entries overtaken by newer ones while they waited"
    );
    describe_counter!(
        SLOW_SESSIONS,
        Unit::Count,
        "Messages that a slow session had no room for"
    );
    describe_counter!(
        STORE_FAILURES,
        Unit::Count,
        "Calls to the presence store that failed"
    );
}
