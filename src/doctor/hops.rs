//! The products that may be hops: `hops.yaml`, parsed, and looked up.
//!
//! Nothing here uses the network. Products are recognised by the fields that came through the chain, remedies are selected by finding,
//! and measured limits are compared with the defaults of products.

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use super::finding_id::FindingId;

/// Everything in `hops.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hops {
    /// Remedies that do not depend on a product.
    pub general: Vec<Remedy>,
    /// The ids of the products whose remedies are given if none was recognised.
    pub common: Vec<String>,
    /// The more specific before the more general.
    pub products: Vec<Product>,
}

/// Software or a service that may be a hop.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    pub id: String,
    /// As people write it.
    pub name: String,
    pub signs: Vec<Sign>,
    pub remedies: Vec<Remedy>,
    pub limits: Vec<DefaultLimit>,
}

/// A field by which a product is recognised.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    pub message: Message,
    /// In lower case.
    pub field: String,
    /// A part of the value, in any case.
    pub contains: Option<String>,
    /// Other products have it too.
    #[serde(default)]
    pub shared: bool,
    pub source: String,
    #[serde(default = "checked")]
    pub checked: bool,
}

/// Where a sign is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// As the backend received it.
    Request,
    /// As the client received it.
    Response,
}

/// What to do about findings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remedy {
    pub findings: Vec<FindingId>,
    /// The lines to write; `None`: the note says what to do instead.
    write: Option<String>,
    /// The section or place for the lines.
    #[serde(rename = "where")]
    pub place: String,
    pub note: Option<String>,
    pub source: String,
    #[serde(default = "checked")]
    pub checked: bool,
}

/// The default of a time limit of a product.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultLimit {
    pub kinds: Vec<LimitKind>,
    pub seconds: u32,
    /// The name of the setting.
    pub setting: String,
    pub source: String,
    #[serde(default = "checked")]
    pub checked: bool,
}

/// The kinds of time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    /// Silence before its header.
    Header,
    /// Silence within it.
    Idle,
    /// The whole duration, even if data is sent.
    Absolute,
}

/// A recognised product.
#[derive(Clone, Debug)]
pub struct Recognised<'a> {
    pub product: &'a Product,
    /// The field by which it was recognised, such as `server: nginx/1.22.1 (response)`.
    pub evidence: String,
    /// Recognised only by signs that other products have too.
    pub is_guess: bool,
}

/// A remedy and its product; `None`: it does not depend on the hop.
#[derive(Clone, Copy, Debug)]
pub struct Advice<'a> {
    pub product: Option<&'a Product>,
    pub remedy: &'a Remedy,
}

fn checked() -> bool {
    true
}

impl Hops {
    /// The table that is compiled in.
    pub fn read() -> &'static Hops {
        // A test parses the same text.
        #[allow(clippy::expect_used)]
        static HOPS: LazyLock<Hops> = LazyLock::new(|| {
            serde_yaml::from_str(include_str!("hops.yaml")).expect("hops.yaml was read by a test")
        });
        &HOPS
    }

    pub fn product(&self, id: &str) -> Option<&Product> {
        self.products.iter().find(|product| product.id == id)
    }

    /// Recognises products by the fields of a request as the backend received it, and of its response as the client received it.
    /// Products with an unambiguous sign come first, the more specific before the more general.
    pub fn recognise<F: AsRef<str>>(&self, request: &[(F, F)], response: &[(F, F)]) -> Vec<Recognised<'_>> {
        let seen = self.products.iter().filter_map(|product| {
            let found = product.signs.iter().filter_map(|sign| {
                let fields = if sign.message == Message::Request { request } else { response };
                let (name, value) =
                    fields.iter().find(|(name, value)| sign.is(name.as_ref(), value.as_ref()))?;
                Some((sign, evidence(sign.message, name.as_ref(), value.as_ref())))
            });
            let (sign, evidence) = found.min_by_key(|(sign, _)| sign.shared)?;
            Some(Recognised { product, evidence, is_guess: sign.shared })
        });
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by_key(|recognised| recognised.is_guess);
        seen
    }

    /// The remedies of a finding for these products, or for the most common ones if none was recognised. Remedies that do not depend on
    /// a product come last.
    pub fn remedies<'a>(&'a self, finding: FindingId, products: &[&'a Product]) -> Vec<Advice<'a>> {
        let mut advice: Vec<_> = products.iter().flat_map(|product| product.advice(finding)).collect();
        if products.is_empty() {
            let common = self.common.iter().filter_map(|id| self.product(id));
            advice.extend(common.flat_map(|product| product.advice(finding)));
        }
        let general = self.general.iter().filter(|remedy| remedy.findings.contains(&finding));
        advice.extend(general.map(|remedy| Advice { product: None, remedy }));
        advice
    }

    /// The default limits close to a measured one: within 2 % or half a second, the nearest first.
    pub fn limits_near(&self, kind: LimitKind, measured: Duration) -> Vec<(&Product, &DefaultLimit)> {
        let distance = |limit: &DefaultLimit| (measured.as_secs_f64() - f64::from(limit.seconds)).abs();
        let limits =
            self.products.iter().flat_map(|product| product.limits.iter().map(move |limit| (product, limit)));
        let mut near: Vec<_> = limits
            .filter(|(_, limit)| limit.kinds.contains(&kind))
            .filter(|(_, limit)| distance(limit) <= (0.02 * f64::from(limit.seconds)).max(0.5))
            .collect();
        near.sort_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
        near
    }
}

impl Product {
    fn advice(&self, finding: FindingId) -> impl Iterator<Item = Advice<'_>> {
        let remedies = self.remedies.iter().filter(move |remedy| remedy.findings.contains(&finding));
        remedies.map(|remedy| Advice { product: Some(self), remedy })
    }
}

impl Sign {
    fn is(&self, name: &str, value: &str) -> bool {
        let has = |part: &String| value.to_ascii_lowercase().contains(&part.to_ascii_lowercase());
        name.eq_ignore_ascii_case(&self.field) && self.contains.as_ref().is_none_or(has)
    }
}

impl Remedy {
    /// Long enough for a model that thinks before it answers. Heartbeats cover longer silences.
    const LONG_ENOUGH: Duration = Duration::from_secs(600);

    /// The default interval of heartbeats.
    const HEARTBEAT: Duration = Duration::from_secs(15);

    /// The lines to write, with values for a measured limit: a raised limit is twice as long and at least ten minutes, and a heartbeat
    /// interval a third of it.
    pub fn write(&self, limit: Option<Duration>) -> Option<String> {
        let long = limit.map_or(Self::LONG_ENOUGH, |limit| (limit * 2).max(Self::LONG_ENOUGH));
        let heartbeat = limit.map_or(Self::HEARTBEAT, |limit| (limit / 3).min(Self::HEARTBEAT));
        let written = self.write.as_deref()?.trim_end();
        let written = written.replace("{seconds}", &long.as_secs().to_string());
        let written = written.replace("{milliseconds}", &(long.as_secs() * 1000).to_string());
        Some(written.replace("{heartbeat}", &heartbeat.as_secs().max(1).to_string()))
    }
}

/// A field as a report shows it: truncated and without control characters, because it came from the network.
fn evidence(message: Message, name: &str, value: &str) -> String {
    const SHOWN: usize = 60;
    let value: String = value.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let message = match message {
        Message::Request => "request",
        Message::Response => "response",
    };
    format!("{}: {value} ({message})", name.to_ascii_lowercase())
}
