//! `sidestream doctor`: which hop of a chain breaks streams, and what to write there.
//!
//! A probe [origin] stands where the backend is and sends streams to [order]. The probe asks for them through one or more
//! points of the chain, and what arrived, and when, is compared with what was sent.

pub mod finding_id;
pub mod hops;
pub mod judge;
pub mod order;
pub mod origin;
pub mod probe;
mod query;
pub mod report;
pub mod sample;
