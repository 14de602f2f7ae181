//! The status of a gRPC call (grpc/grpc, doc/statuscodes.md).

use std::fmt;

use super::{Cause, Failure, Fault};

/// The status codes that sidestream itself sends. The names are those of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GrpcStatus {
    Cancelled = 1,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

impl GrpcStatus {
    /// The number, as in `grpc-status`.
    pub fn code(self) -> u8 {
        self as u8
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    /// The status that gRPC clients derive from RST_STREAM with this error code
    /// (grpc/grpc, doc/PROTOCOL-HTTP2.md, "Errors").
    fn of_reset(code: u32) -> Self {
        match h2::Reason::from(code) {
            h2::Reason::REFUSED_STREAM => Self::Unavailable,
            h2::Reason::CANCEL => Self::Cancelled,
            h2::Reason::ENHANCE_YOUR_CALM => Self::ResourceExhausted,
            h2::Reason::INADEQUATE_SECURITY => Self::PermissionDenied,
            _ => Self::Internal,
        }
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.name())
    }
}

impl Fault {
    /// The status of a gRPC call that ends with this fault. A reset of the backend's stream maps to the same status as
    /// without a proxy.
    pub fn grpc_status(self) -> GrpcStatus {
        match self {
            Self { failure: Failure::Reset, cause: Some(Cause::Http2(code)), .. } => {
                GrpcStatus::of_reset(code)
            }
            Self { failure, .. } => failure.facts().grpc_status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_maps_to_the_status_that_a_direct_client_sees() {
        for (code, status) in [
            (0, GrpcStatus::Internal),
            (1, GrpcStatus::Internal),
            (2, GrpcStatus::Internal),
            (7, GrpcStatus::Unavailable),
            (8, GrpcStatus::Cancelled),
            (11, GrpcStatus::ResourceExhausted),
            (12, GrpcStatus::PermissionDenied),
            (99, GrpcStatus::Internal),
        ] {
            assert_eq!(Fault::caused(Failure::Reset, Cause::Http2(code)).grpc_status(), status, "{code}");
        }
        // These end the whole connection, not only the stream.
        for cause in [Cause::Os(104), Cause::GoAway(2)] {
            assert_eq!(Fault::caused(Failure::Reset, cause).grpc_status(), GrpcStatus::Unavailable);
        }
    }
}
