//! HTTP/1.1 on the wire (RFC 9112), sans-IO: the heads of requests and responses, and where their bodies end.
//!
//! One grammar for both directions, in its strictest reading: what two implementations could read in two ways is refused, because
//! what is forgiven here could be a second request to a proxy in front or a server behind. Heads are [`Fields`] in a row and not
//! maps, which took half of what a short stream costs.

mod body;
mod chunk;
mod chunked;
mod fields;
mod framing;
mod parser;
mod request;
mod response;
mod trailer_lines;
mod validate;

pub use body::{BodyDecoder, has_body};
pub use chunk::{Chunk, LAST_CHUNK, last_chunk};
pub use fields::Fields;
pub use framing::BodyFraming;
pub use parser::{BadHead, RequestParser};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use trailer_lines::TrailerLines;
pub use validate::{is_one_of, is_token, list};

/// The head of a response, or a body, breaks the rules of its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message's framing is broken")]
pub struct Malformed;
