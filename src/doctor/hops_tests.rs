//! `hops.yaml` is complete and consistent, and looked up as it should be.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::finding_id::FindingId;
use super::hops::{Hops, LimitKind, Message, Recognised};

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
    let products: Vec<_> = advice.iter().map(|advice| advice.product.map(|product| &*product.id)).collect();
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
        advice.iter().filter_map(|advice| advice.remedy.write(measured.map(Duration::from_secs))).collect()
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
