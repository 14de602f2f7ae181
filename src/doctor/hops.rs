//! What is known of the products that stand in front of backends: `hops.yaml`, read, and looked up.
//!
//! Nothing here asks the network. Who stands in a chain is told by the fields that came through it, what to write there
//! by the findings, and whose a measured limit may be by its length.

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use super::finding_id::FindingId;

/// Everything in `hops.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hops {
    /// What needs no product.
    pub general: Vec<Remedy>,
    /// The products that are spoken of where none gave itself away, by id.
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

/// A field by which a product gives itself away.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    pub message: Message,
    /// In lower case.
    pub field: String,
    /// In the value, in any case of its letters.
    pub contains: Option<String>,
    /// Others have it too.
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
    /// The line or lines to write; `None` where there is nothing to write, and the note says what to do.
    write: Option<String>,
    /// The section or place that they go to.
    #[serde(rename = "where")]
    pub place: String,
    pub note: Option<String>,
    pub source: String,
    #[serde(default = "checked")]
    pub checked: bool,
}

/// A limit as a product comes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultLimit {
    pub kinds: Vec<LimitKind>,
    pub seconds: u32,
    /// What it is called there.
    pub setting: String,
    pub source: String,
    #[serde(default = "checked")]
    pub checked: bool,
}

/// What ends a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    /// Silence before its header.
    Header,
    /// Silence within it.
    Idle,
    /// Its length, whatever is sent.
    Absolute,
}

/// A product that gave itself away.
#[derive(Clone, Debug)]
pub struct Recognised<'a> {
    pub product: &'a Product,
    /// The field that told, such as `server: nginx/1.22.1 (response)`.
    pub evidence: String,
    /// Only by signs that others have too.
    pub is_guess: bool,
}

/// A remedy, and for what; `None`: for the backend or a sidestream.
#[derive(Clone, Copy, Debug)]
pub struct Advice<'a> {
    pub product: Option<&'a Product>,
    pub remedy: &'a Remedy,
}

fn checked() -> bool {
    true
}

impl Hops {
    /// What was compiled in.
    pub fn read() -> &'static Hops {
        // A test reads the same text; it cannot have changed since.
        #[allow(clippy::expect_used)]
        static HOPS: LazyLock<Hops> = LazyLock::new(|| {
            serde_yaml::from_str(include_str!("hops.yaml")).expect("hops.yaml was read by a test")
        });
        &HOPS
    }

    pub fn product(&self, id: &str) -> Option<&Product> {
        self.products.iter().find(|product| product.id == id)
    }

    /// Who gave itself away by the fields of a request, as the backend received it, and of its response, as the client
    /// received it. Those with a sign of their own come first, and among them the more specific.
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

    /// What to do about a finding where these products were recognised; of the most common ones, where none was. What
    /// needs no product comes last.
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

    /// The limits that a measured one may be: within 2 % or half a second. The nearest come first.
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
    /// Long enough for a model that thinks before it answers; what is silent for longer has heartbeats.
    const LONG_ENOUGH: Duration = Duration::from_secs(600);

    /// What heartbeats are sent at by default.
    const HEARTBEAT: Duration = Duration::from_secs(15);

    /// The lines to write, with the figures that a limit of this length asks for: twice as long, and at least ten
    /// minutes, for limits that are to be raised, and a third of it for heartbeats that are to stay under it.
    pub fn write(&self, limit: Option<Duration>) -> Option<String> {
        let long = limit.map_or(Self::LONG_ENOUGH, |limit| (limit * 2).max(Self::LONG_ENOUGH));
        let heartbeat = limit.map_or(Self::HEARTBEAT, |limit| (limit / 3).min(Self::HEARTBEAT));
        let written = self.write.as_deref()?.trim_end();
        let written = written.replace("{seconds}", &long.as_secs().to_string());
        let written = written.replace("{milliseconds}", &(long.as_secs() * 1000).to_string());
        Some(written.replace("{heartbeat}", &heartbeat.as_secs().max(1).to_string()))
    }
}

/// A field as a report shows it. It came from the network, so it is cut, and nothing in it steers a terminal.
fn evidence(message: Message, name: &str, value: &str) -> String {
    const SHOWN: usize = 60;
    let value: String = value.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let message = match message {
        Message::Request => "request",
        Message::Response => "response",
    };
    format!("{}: {value} ({message})", name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    const NONE: [(&str, &str); 0] = [];

    fn ids(recognised: &[Recognised]) -> Vec<String> {
        recognised.iter().map(|recognised| recognised.product.id.clone()).collect()
    }

    /// The address of a page, a thread, or a file of this repository.
    fn is_source(source: &str) -> bool {
        let is_thread = source.split_once('#').is_some_and(|(repository, number)| {
            repository.split('/').count() == 2 && number.parse::<u32>().is_ok()
        });
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        source.starts_with("https://") || is_thread || file.is_file()
    }

    #[test]
    fn what_is_compiled_in_can_be_read() {
        assert!(!Hops::read().products.is_empty());
    }

    #[test]
    fn every_product_has_an_id_of_its_own() {
        let hops = Hops::read();
        let all: BTreeSet<_> = hops.products.iter().map(|product| &product.id).collect();
        assert_eq!(all.len(), hops.products.len());
        assert!(hops.common.iter().all(|id| all.contains(id)), "{:?}", hops.common);
        for id in all {
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{id}");
        }
    }

    #[test]
    fn every_fact_has_a_source() {
        let hops = Hops::read();
        let general = hops.general.iter().map(|remedy| &remedy.source);
        let of_products = hops.products.iter().flat_map(|product| {
            let signs = product.signs.iter().map(|sign| &sign.source);
            let remedies = product.remedies.iter().map(|remedy| &remedy.source);
            signs.chain(remedies).chain(product.limits.iter().map(|limit| &limit.source))
        });
        for source in general.chain(of_products) {
            assert!(is_source(source), "{source}");
        }
    }

    #[test]
    fn signs_are_the_names_of_fields() {
        for product in &Hops::read().products {
            for sign in &product.signs {
                let is_name =
                    sign.field.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
                assert!(is_name && !sign.field.is_empty(), "{}: {}", product.id, sign.field);
            }
        }
    }

    #[test]
    fn no_two_products_have_a_sign_that_is_not_said_to_be_shared() {
        let mut seen = BTreeSet::new();
        for product in &Hops::read().products {
            for sign in product.signs.iter().filter(|sign| !sign.shared) {
                let key = (sign.message == Message::Request, &sign.field, &sign.contains);
                assert!(seen.insert(key), "{}: {sign:?}", product.id);
            }
        }
    }

    #[test]
    fn remedies_have_something_to_write_or_a_note_that_says_what_to_do() {
        let hops = Hops::read();
        let of_products = hops.products.iter().flat_map(|product| &product.remedies);
        for remedy in hops.general.iter().chain(of_products) {
            assert!(!remedy.findings.is_empty() && !remedy.place.is_empty(), "{remedy:?}");
            let written = remedy.write(None);
            assert!(written.is_some() || remedy.note.is_some(), "{remedy:?}");
            for name in ["{seconds}", "{milliseconds}", "{heartbeat}"] {
                assert!(!written.as_deref().unwrap_or_default().contains(name), "{remedy:?}");
            }
        }
    }

    #[test]
    fn limits_are_of_some_kind_and_length() {
        for product in &Hops::read().products {
            for limit in &product.limits {
                assert!(!limit.kinds.is_empty() && limit.seconds > 0, "{}: {limit:?}", product.id);
                assert!(!limit.setting.is_empty(), "{}: {limit:?}", product.id);
            }
        }
    }

    #[test]
    fn whatever_a_hop_can_be_at_fault_for_has_a_remedy() {
        for &finding in FindingId::ALL {
            let has_remedy = !Hops::read().remedies(finding, &[]).is_empty();
            let is_about_a_hop = !matches!(finding, FindingId::FieldAdded | FindingId::Unreachable);
            assert_eq!(has_remedy, is_about_a_hop, "{finding:?}");
        }
    }

    #[test]
    fn products_are_recognised_by_their_fields_in_any_case() {
        let response = [("Server", "NGINX/1.22.1"), ("Content-Type", "text/event-stream")];
        let recognised = Hops::read().recognise(&NONE, &response);
        assert_eq!(ids(&recognised), ["nginx"]);
        assert_eq!(recognised[0].evidence, "server: NGINX/1.22.1 (response)");
        assert!(!recognised[0].is_guess);
    }

    #[test]
    fn a_request_tells_of_other_products_than_its_response() {
        let hops = Hops::read();
        let fields = [("Via", "1.1 Azure"), ("X-Envoy-Expected-Rq-Timeout-Ms", "15000")];
        assert_eq!(ids(&hops.recognise(&fields, &NONE)), ["envoy", "azure-front-door"]);
        assert!(hops.recognise(&NONE, &fields).is_empty());
    }

    #[test]
    fn signs_that_others_have_too_come_last() {
        let request = [("X-Amzn-Trace-Id", "Root=1-67891233-abcdef012345678912345678")];
        let response = [("server", "uvicorn"), ("cf-ray", "230b030023ae2822-SJC")];
        let recognised = Hops::read().recognise(&request, &response);
        assert_eq!(ids(&recognised), ["cloudflare", "aws-alb", "starlette", "python-proxy"]);
        assert_eq!(recognised.iter().map(|r| r.is_guess).collect::<Vec<_>>(), [false, true, true, true]);
    }

    #[test]
    fn evidence_is_cut_and_steers_no_terminal() {
        let response = [("cf-ray".to_owned(), format!("\u{1b}[31m{}", "a".repeat(500)))];
        let recognised = Hops::read().recognise(&[], &response);
        assert!(recognised[0].evidence.starts_with("cf-ray: [31maaa"));
        assert!(recognised[0].evidence.len() < 100);
    }

    #[test]
    fn remedies_are_those_of_the_products_that_were_recognised() {
        let hops = Hops::read();
        let caddy = hops.product("caddy").unwrap();
        let advice = hops.remedies(FindingId::Compressed, &[caddy]);
        let products: Vec<_> =
            advice.iter().map(|advice| advice.product.map(|product| &*product.id)).collect();
        assert_eq!(products, [Some("caddy"), None]);
    }

    #[test]
    fn the_most_common_products_stand_in_where_none_was_recognised() {
        let hops = Hops::read();
        let advice = hops.remedies(FindingId::Downgraded, &[]);
        assert_eq!(advice[0].product.unwrap().id, "nginx");
        let written = advice[0].remedy.write(None).unwrap();
        assert_eq!(written, "proxy_http_version 1.1;\nproxy_set_header Connection \"\";");
        assert!(advice.last().unwrap().product.is_none());
        // What helps at nginx is of no use at a hop that is known to be another one.
        let advice = hops.remedies(FindingId::Downgraded, &[hops.product("mitmproxy").unwrap()]);
        assert!(advice.iter().all(|advice| advice.product.is_none()));
    }

    #[test]
    fn limits_are_raised_well_beyond_what_was_measured_and_heartbeats_stay_under_it() {
        let hops = Hops::read();
        let nginx = hops.product("nginx").unwrap();
        let advice = hops.remedies(FindingId::IdleLimit, &[nginx]);
        let written = |measured: Option<u64>| -> Vec<String> {
            advice
                .iter()
                .filter_map(|advice| advice.remedy.write(measured.map(Duration::from_secs)))
                .collect()
        };
        assert_eq!(written(Some(60)), ["proxy_read_timeout 600s;", "heartbeat: 15s"]);
        assert_eq!(written(Some(5)), ["proxy_read_timeout 600s;", "heartbeat: 1s"]);
        assert_eq!(written(Some(900)), ["proxy_read_timeout 1800s;", "heartbeat: 15s"]);
        assert_eq!(written(None), ["proxy_read_timeout 600s;", "heartbeat: 15s"]);
    }

    #[test]
    fn a_measured_limit_is_named() {
        let hops = Hops::read();
        let near = |kind, seconds| -> Vec<&str> {
            let near = hops.limits_near(kind, Duration::from_secs_f64(seconds));
            near.iter().map(|(product, _)| &*product.id).collect()
        };
        assert!(near(LimitKind::Idle, 60.02).contains(&"nginx"));
        assert!(near(LimitKind::Absolute, 15.004).contains(&"envoy"));
        assert!(!near(LimitKind::Idle, 15.004).contains(&"envoy"));
        assert_eq!(near(LimitKind::Absolute, 29.0)[0], "aws-api-gateway");
        assert!(near(LimitKind::Idle, 47.0).is_empty());
        // 2 % of 60 s are more than half a second, and of 5 s they are less.
        assert!(
            near(LimitKind::Idle, 61.1).contains(&"nginx") && !near(LimitKind::Idle, 61.3).contains(&"nginx")
        );
        assert!(
            near(LimitKind::Idle, 5.5).contains(&"python-proxy")
                && !near(LimitKind::Idle, 5.6).contains(&"python-proxy")
        );
    }
}
