//! The deterministic simulation: the real services on one thread with paused time, over a log, a
//! store and clocks that go wrong as a seed says, with clients that behave and some that don't.
//!
//! A run goes through its plan, then heals, waits until everybody is up to date, and holds what
//! everybody has against what was written, acknowledged and refused. The same plan gives the same
//! run, to the byte.

mod attack;
mod check;
mod client;
mod cluster;
mod counters;
mod history;
mod panics;
mod plan;
mod planted;
mod ports;
mod regions;
mod replica;
mod run;
mod seeds;
mod shrink;
mod smoke;
mod trace;
mod trial;
