//! Something that is wrong at a point.

use std::time::Duration;

use serde_json::{Value, json};

use crate::doctor::finding_id::{FindingId, Severity};

/// Something that is wrong at a point, whichever hop before it does it.
#[derive(Clone, Debug)]
pub struct Flaw {
    pub id: FindingId,
    pub severity: Severity,
    /// A sentence with the figures.
    pub summary: String,
    pub evidence: Value,
    /// The limit of time that was met.
    pub limit: Option<Duration>,
    /// A field of the backend's response that was tried against it, and whether it helps.
    pub tried: Option<(&'static str, bool)>,
}

impl Flaw {
    pub fn new(id: FindingId, summary: impl Into<String>, evidence: Value) -> Self {
        Self { id, severity: id.severity(), summary: summary.into(), evidence, limit: None, tried: None }
    }

    /// Less, or more, than what a flaw of its kind usually is.
    pub fn of_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Nothing answers, or something else than what was asked for.
    pub fn unreachable(summary: &str, why: &str) -> Self {
        Self::new(FindingId::Unreachable, summary, json!({ "why": why }))
    }
}
