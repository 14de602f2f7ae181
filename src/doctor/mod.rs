//! `sidestream doctor`: finds the hop of a chain that breaks streams, and the lines to write there.
//!
//! A probe [origin] takes the place of the backend and sends streams to [order]. The probe requests them through one or more points of
//! the chain, and compares what arrived, and when, with what was sent.

pub mod finding_id;
pub mod hops;
#[cfg(test)]
mod hops_tests;
pub mod judge;
pub mod order;
pub mod origin;
pub mod probe;
mod query;
pub mod report;
pub mod sample;
