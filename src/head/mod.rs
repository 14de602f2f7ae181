//! Heads of messages: the request as it goes upstream and the response as it comes from there (RFC 9112, 2.1). Sans-IO.
//!
//! Ours and not pingora's, whose two maps of fields for each head took half of what a short stream costs: here they are a few
//! [`Fields`] in a row.

mod fields;
mod request;
mod response;

pub use fields::Fields;
pub use request::RequestHead;
pub use response::ResponseHead;

/// The head, or the body, breaks the rules of its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response's framing is broken")]
pub struct Malformed;
