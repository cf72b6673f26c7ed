//! The deterministic simulation; see `tests/simulation`.
