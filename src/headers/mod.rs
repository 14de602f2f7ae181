//! The changes that a proxy makes to the fields of a message (RFC 9110, 7).

pub mod forwarded;
pub mod grpc;
pub mod hop_by_hop;
mod stream_response;
mod trace_context;
pub mod trailers;

pub use stream_response::stream_response;
pub use trace_context::TraceContext;

/// All values of a list field, joined by commas.
pub fn joined<'a>(values: impl Iterator<Item = &'a [u8]>) -> String {
    values.map(String::from_utf8_lossy).collect::<Vec<_>>().join(", ")
}
