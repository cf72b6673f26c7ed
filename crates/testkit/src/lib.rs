//! What tests share: plans of edits and faults, the history of a run, and its one checker.
//!
//! A [`Plan`] is drawn from a seed, saved, replayed and shrunk. While it runs, in simulation or on
//! real processes, clients write down in a [`History`] what they ask for and what they are told. In
//! the end [`check`] compares the history with every replica.

mod checker;
mod history;
mod plan;
mod token;

pub use checker::{Replica, Violation, check};
pub use history::{
    History, HistoryError, HistoryEvent, HistoryLine, HistoryWriter, LogPlace, Span,
    read as read_history,
};
pub use plan::{Plan, PlanError, PlanEvent, PlanOptions};
pub use token::{TextPart, Token, parts};
