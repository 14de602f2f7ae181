//! HTTP/1.1 on the wire (RFC 9112), sans-IO: the heads of requests and responses, and the framing of their bodies.
//!
//! Requests are parsed strictly. Input that two implementations could interpret differently is rejected: a proxy in front
//! or a server behind could see a second request in it (request smuggling). [`Fields`] keeps the fields of a head in a
//! list; hash maps accounted for half of the cost of a short stream.

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

/// The head of a response or the framing of a body is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the framing of the message is invalid")]
pub struct Malformed;
