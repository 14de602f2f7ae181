//! Groups of servers in the configuration: who is in them, which one gets a request, and what `check` prints of it.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sidestream::config::{
    Balance, ClientKey, FailoverPolicy, HashKey, OutlierPolicy, PerClientLimit, QueuePolicy, RoutePerClient,
};

use crate::kit::configuration::{
    LISTENER, TWO, group, group_mistake, mistake, mistake_with, read, reread, upstream, upstream_mistake,
    valid,
};

#[test]
fn a_url_with_no_address_in_its_brackets_is_told() {
    for url in [
        "http://[zz]:80",
        "http://[1.2.3.4]",
        "http://[::1%eth0]",
        "http://[::1%25eth0]:80",
        "http://[]",
        "http://[::1",
        "http://a%20b",
        "http://a:+80",
    ] {
        upstream_mistake(
            &format!("servers: ['{url}']"),
            &format!(".servers[0]: `{url}` is not the URL of a server"),
        );
    }
    for (url, one_spelling) in
        [("http://[::0001]:80", "http://[::1]:80"), ("https://A_b.Test", "https://a_b.test:443")]
    {
        let config = valid(&group(&format!("servers: ['{url}']")));
        assert_eq!(config.upstreams[0].servers[0].origin.to_string(), one_spelling);
    }
}

#[test]
fn names_of_upstreams_stand_on_one_line() {
    for (name, shown) in [("", "\"\""), ("a\\nb", "a\\nb"), ("\\e", "\\u{1b}"), ("\\u2028", "\\u{2028}")] {
        mistake(
            &format!("{LISTENER}upstreams: {{ \"{name}\": {{ servers: [http://a.test] }} }}\n"),
            &format!(
                "my.yaml:2:14: upstreams.{shown}: this cannot be the name of an upstream\n  \
                 write a name on one line, such as `llm`"
            ),
        );
    }
}

#[test]
fn numbers_that_versions_of_yaml_read_differently_are_told() {
    for number in ["010", "'010'", "0b11", "0o10", "0x10", "+010"] {
        let shown = number.trim_matches('\'');
        for (key, kind) in [
            ("max_streams", "a number from 1"),
            ("failover: { attempts", "a number from 1"),
            ("failover: { budget", "a percentage"),
            ("failover: { max_body", "a size"),
        ] {
            let end = if key.contains('{') { " }" } else { "" };
            group_mistake(
                &format!("{key}: {number}{end}"),
                &format!(
                    ".{}: `{shown}` is not {kind}\n  write decimal digits without a leading zero: versions of YAML \
                     disagree about others",
                    key.replace(": { ", ".")
                ),
            );
        }
    }
}

#[test]
fn a_group_is_by_default_what_the_sample_file_says() {
    let llm = upstream("");
    assert_eq!((llm.balance, llm.servers.len()), (Balance::LeastStreams, 2));
    assert_eq!(llm.queue, QueuePolicy::default());
    assert_eq!(llm.outlier_detection, Some(OutlierPolicy::default()));
    assert_eq!(llm.failover, FailoverPolicy::default());
    assert_eq!((llm.health, llm.slow_start), (None, None));
    for nothing in ["max_streams: null", "queue:", "health:", "outlier_detection:", "failover:"] {
        assert_eq!(upstream(nothing), upstream(""), "{nothing}");
    }
    for off in ["max_streams: off", "queue: off", "health: off", "slow_start: off", "queue: { size: off }"] {
        assert_eq!(upstream(off), upstream(""), "{off}");
    }
}

#[test]
fn a_server_has_a_weight_a_limit_and_a_part_to_play() {
    let llm = &reread(&group(
        "max_streams: 8, servers: [http://a.test, { url: h2s://b.test, weight: 3, max_streams: 64 }, \
         { url: http://c.test, max_streams: off, backup: true }, { url: http://d.test, max_streams: null, resolve: 1s }, \
         unix:/run/e.sock]",
    ))
    .upstreams[0];
    let servers: Vec<_> = llm
        .servers
        .iter()
        .map(|s| (s.weight.get(), s.max_streams.map(|n| n.get()), s.is_backup, s.is_each_address))
        .collect();
    let all = [
        (1, Some(8), false, false),
        (3, Some(64), false, false),
        (1, None, true, false),
        (1, Some(8), false, true),
        (1, Some(8), false, false),
    ];
    assert_eq!(servers, all);
    assert_eq!(llm.servers[0].resolve, Duration::from_secs(10));
    assert_eq!(llm.servers[3].resolve, Duration::from_secs(1));
}

#[test]
fn a_server_that_cannot_be_is_told() {
    for (server, message) in [
        ("weight: 0", "weight: `0` is not a number from 1\n  write a number from 1"),
        ("max_streams: 0", "max_streams: `0` is not a number from 1\n  write a number from 1, or `off`"),
        ("max_streams: 4294967296", "max_streams: `4294967296` is too large\n  write at most `4294967295`"),
        ("backup: perhaps", "backup: `perhaps` is not a boolean"),
        ("wieght: 1", "wieght: this key is not known here\n  did you mean `weight`?"),
    ] {
        let servers = format!("servers: [http://b.test, {{ url: http://a.test, {server} }}]");
        upstream_mistake(
            &format!("{servers}, queue: {{ size: 1 }}, max_streams: 1"),
            &format!(".servers[1].{message}"),
        );
    }
    upstream_mistake(
        "servers: [{ url: http://a.test, backup: true }, { url: http://b.test, backup: true }]",
        ".servers: every server is a backup\n  leave `backup` out of at least one server",
    );
}

#[test]
fn a_server_is_the_same_however_its_url_is_spelt() {
    let server = |url: &str| valid(&group(&format!("servers: ['{url}']"))).upstreams[0].servers[0].clone();
    for (one, other) in [
        ("http://llm.test", "http://LLM.test:80/"),
        ("h2s://llm.test:443", "h2s://Llm.Test"),
        ("http://[::1]:80", "http://[0:0::1]"),
    ] {
        assert_eq!(server(one), server(other));
        assert_eq!(server(one).origin.to_string(), server(other).origin.to_string());
    }
}

#[test]
fn a_server_that_is_named_twice_is_told() {
    for (one, other) in [
        ("http://a.test", "http://a.test:80"),
        ("http://a.test", "http://A.test/"),
        ("https://a.test", "{ url: https://a.test:443, weight: 2 }"),
        ("'http://[::1]:80'", "'http://[::1]'"),
        ("'http://[2001:db8::a]'", "'http://[2001:0DB8:0:0::A]/'"),
        ("HTTP://a.test", "http://a.test"),
        ("unix:/a", "unix:/a"),
    ] {
        upstream_mistake(
            &format!("servers: [{one}, http://other.test, {other}]"),
            ".servers[2]: this is the same server as `servers[0]`\n  name it once; `weight: 2` gives it twice",
        );
    }
    let others = "[http://a.test, http://a.test:81, h2://a.test, https://a.test, unix:/a, unix:/A]";
    assert_eq!(reread(&group(&format!("servers: {others}"))).upstreams[0].servers.len(), 6);
    // The place is right where a server before it cannot be read.
    let error = read(&group("servers: [nowhere, http://a.test, http://a.test]")).expect_err("mistakes");
    assert!(error.contains("servers[2]: this is the same server as `servers[1]`"), "{error}");
}

#[test]
fn tls_holds_for_the_servers_that_are_spoken_to_over_it() {
    let tls = "tls: { verify: false }";
    let config = reread(&group(&format!("servers: [http://a.test, https://a.test], {tls}")));
    assert!(!config.upstreams[0].tls.verify);
    group_mistake(tls, ".tls: no server is reached over TLS\n  write an `https://` or `h2s://` server");
}

#[test]
fn balance_is_a_word_and_hash_says_what_it_goes_by() {
    for (word, meant) in [
        ("least_streams", Balance::LeastStreams),
        ("round_robin", Balance::RoundRobin),
        ("p2c", Balance::PowerOfTwo),
    ] {
        assert_eq!(upstream(&format!("balance: {word}")).balance, meant);
    }
    let llm = upstream("balance: hash, hash: { key: header:X-Session-Id }");
    assert_eq!(llm.balance, Balance::Hash);
    assert_eq!(
        (llm.hash.keys, llm.hash.balance_percent),
        (vec![HashKey::Header("x-session-id".into())], 150)
    );
    let llm = upstream(
        "balance: hash, hash: { balance_factor: 2, key: [cookie:Session, address, body:prompt_cache_key, 'body:a:$$b'] }",
    );
    let (cookie, body) = (HashKey::Cookie("Session".into()), HashKey::Body("prompt_cache_key".into()));
    assert_eq!(llm.hash.keys, [cookie, HashKey::Address, body, HashKey::Body("a:$b".into())]);
    for (written, percent) in [("1.01", 101), ("1.25", 125), ("'2.5'", 250), ("100", 10_000)] {
        let keys = format!("balance: hash, hash: {{ key: address, balance_factor: {written} }}");
        assert_eq!(upstream(&keys).hash.balance_percent, percent);
    }
}

#[test]
fn a_balance_that_cannot_be_is_told() {
    group_mistake(
        "balance: fastest",
        ".balance: `fastest` is not a word that is known here\n  write `least_",
    );
    group_mistake("balance: fastest, hash: { key: address }", ".balance: `fastest` is not a word");
    group_mistake(
        "balance: hash",
        ": `hash` is missing\n  add the key that `balance` uses: `hash: { key: header:x-",
    );
    for empty in ["balance: hash, hash: null", "hash: null", "hash: '${EMPTY}'"] {
        group_mistake(empty, ".hash: `hash` is empty\n  write `key`, or remove it");
    }
    group_mistake("balance: hash, hash: { balance_factor: 2 }", ".hash: `key` is missing\n  add `key:` here");
    for other in ["hash: { key: address }", "balance: p2c, hash: {}"] {
        let message = ".hash: this is for `balance: hash` only\n  write that too, or leave this out";
        group_mistake(other, message);
    }
    for (key, message) in [
        ("session", "`session` is not a key that is known here\n  write `header:NAME`, `cookie:NAME`, `body"),
        ("query:id", "`query:id` is not a key that is known here"),
        ("address:1", "`address:1` is not a key that is known here"),
        ("'header:'", "`header:` names no header\n  write the name of a header after the colon"),
        ("'header:a b'", "`header:a b` names no header"),
        ("header:ä", "`header:ä` names no header"),
        ("'cookie:a=b'", "`cookie:a=b` names no cookie"),
        ("'body:'", "`body:` names no member"),
        ("7", "`7` is not a key that is known here"),
        ("{}", "a mapping is not a key that is known here"),
    ] {
        let (single, list) = (format!("{{ key: {key} }}"), format!("{{ key: [address, {key}] }}"));
        group_mistake(&format!("balance: hash, hash: {single}"), &format!(".hash.key: {message}"));
        group_mistake(&format!("balance: hash, hash: {list}"), &format!(".hash.key[1]: {message}"));
    }
    group_mistake(
        "balance: hash, hash: { key: [] }",
        ".hash.key: this list is empty\n  write at least one item",
    );
    for factor in ["1", "1.004", "0.99", "0", "-1", "101", "much", "'1e1'", ".nan", ".inf"] {
        let message = "is not a factor above 1\n  write how much more than the mean";
        let keys = format!("balance: hash, hash: {{ key: address, balance_factor: {factor} }}");
        let error = read(&group(&format!("{TWO}, {keys}"))).expect_err(factor);
        assert!(error.contains(message) && error.matches("my.yaml:").count() == 1, "{error}");
    }
}

#[test]
fn a_route_can_limit_its_clients_in_its_own_way() {
    let limit = |key, max: u32| PerClientLimit { key, max_streams: max.try_into().expect("not zero") };
    let config = reread(&format!(
        "{LISTENER}upstreams: {{ llm: {{ {TWO} }} }}
limits: {{ per_client: {{ key: header:Authorization, max_streams: 8 }} }}
routes:
  - {{ match: {{ path: /a }}, upstream: llm }}
  - {{ match: {{ path: /b }}, upstream: llm, limits: {{ per_client: off }} }}
  - {{ match: {{ path: /c }}, upstream: llm, limits: {{ per_client: {{ key: address, max_streams: 1 }} }} }}
  - {{ upstream: llm, limits: {{ per_client: null }} }}
"
    ));
    let all = limit(ClientKey::Header("authorization".into()), 8);
    let own = limit(ClientKey::Address, 1);
    assert_eq!(config.limits.per_client.as_ref(), Some(&all));
    let routes: Vec<_> = config.routes.iter().map(|route| route.per_client.clone()).collect();
    let [inherits, own_limit] = [RoutePerClient::Inherit, RoutePerClient::Limit(own.clone())];
    assert_eq!(routes, [inherits.clone(), RoutePerClient::Off, own_limit, inherits]);
    let effective: Vec<_> = routes.iter().map(|route| route.or(Some(&all))).collect();
    assert_eq!(effective, [Some(&all), None, Some(&own), Some(&all)]);
    for nothing in ["off", "null", "false"] {
        let config = reread(&format!("{}limits: {{ per_client: {nothing} }}\n", group(TWO)));
        assert_eq!(config.limits.per_client, None);
    }
    for (policy, message) in [
        (
            "{ key: cookie:a, max_streams: 1 }",
            ".key: `cookie:a` is not a key that is known here\n  write the name of a header, such as `header:authorization`, or `address`",
        ),
        (
            "{ key: 'header:', max_streams: 1 }",
            ".key: `header:` names no header\n  write the name of a header after the colon",
        ),
        (
            "{ key: address, max_streams: 0 }",
            ".max_streams: `0` is not a number from 1\n  write a number from 1",
        ),
        (
            "{ key: address }",
            ": `max_streams` is missing\n  add `max_streams:` here, such as `max_streams: 8`",
        ),
        ("none", ": `none` is not a mapping\n  did you mean `off`?"),
        ("8", ": `8` is not a mapping\n  write `per_client: { key: header:authorization, max_streams: 8 }`"),
    ] {
        let error = read(&format!("{}limits: {{ per_client: {policy} }}\n", group(TWO))).expect_err(policy);
        assert!(error.ends_with(&format!(": limits.per_client{message}")), "{error}");
        assert_eq!(error.matches("my.yaml:").count(), 1, "{error}");
    }
    mistake_with(
        "routes: [{ upstream: llm, limits: { max_header_size: 1KiB } }]\n",
        "my.yaml:3:37: routes[0].limits.max_header_size: this key is not known here\n  known here: per_client",
    );
}

#[test]
fn a_variable_that_is_missing_is_the_one_mistake_of_its_section() {
    for key in
        ["max_streams", "balance", "hash", "queue", "health", "outlier_detection", "failover", "slow_start"]
    {
        let message = format!(".{key}: the environment variable `NONE` is not set");
        group_mistake(&format!("{key}: '${{NONE}}'"), &message);
    }
    for key in ["url", "weight", "max_streams", "backup"] {
        let url = if key == "url" { "" } else { "url: http://a.test, " };
        let message = format!(".servers[0].{key}: the environment variable `NONE` is not set");
        upstream_mistake(
            &format!("servers: [{{ {url}{key}: '${{NONE}}' }}], queue: {{ size: 1 }}, max_streams: 1"),
            &message,
        );
    }
}

#[test]
fn names_with_dollar_signs_are_printed_as_they_are() {
    let config = reread(&format!("{LISTENER}upstreams: {{ 'a$b': {{ {TWO} }} }}\n"));
    assert_eq!(config.upstreams[0].name, "a$b");
}

/// Any of the values that a key takes, or none.
fn key(name: &'static str, values: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    proptest::option::of(select(values)).prop_map(move |value| value.map(|value| format!("{name}: {value}")))
}

/// The first key if there is one, and some of the others, in braces.
fn section(
    name: &'static str,
    first: &'static str,
    keys: &'static [&'static str],
) -> impl Strategy<Value = Option<String>> {
    let some = subsequence(keys, 0..=keys.len());
    let keys = some.prop_map(move |keys| [&[first], keys.as_slice()].concat().join(", "));
    let keys = keys.prop_map(|keys| keys.trim_start_matches(", ").to_owned());
    proptest::option::of(keys).prop_map(move |keys| keys.map(|keys| format!("{name}: {{ {keys} }}")))
}

const SERVERS: [&str; 6] = [
    "http://a.test",
    "{ url: https://b.test, weight: 7, resolve: 1500ms }",
    "{ url: h2://10.0.0.1:9, max_streams: off }",
    "{ url: h2s://c.test, max_streams: 3, backup: false }",
    "'http://[2001:db8::1]:8000'",
    "{ url: 'unix:/run/$$ {x}', weight: 4294967295 }",
];

proptest! {
    #[test]
    fn what_check_prints_of_a_group_is_the_same_group(
        servers in subsequence(&SERVERS[..], 1..=SERVERS.len()),
        keys in (
            select(&["", "balance: p2c", "balance: round_robin", "balance: hash, hash: { key: [body:'\"a', cookie:b, header:C] }",
                "balance: hash, hash: { key: address, balance_factor: 3.07 }"][..]).prop_map(|keys| Some(keys.to_owned()).filter(|keys| !keys.is_empty())),
            section("queue", "size: 9", &["timeout: 90s", "fairness: header:a"]),
            section("outlier_detection", "", &["consecutive_failures: 9", "base_ejection_time: 20s", "max_ejection_time: 1h", "max_ejection_percent: 0"]),
            section("failover", "", &["on: [reset, 429]", "attempts: 9", "first_event_timeout: 1500ms", "max_body: 7", "budget: 100"]),
            key("health", &["off", "{ path: /a }", "{ path: '/?a=$$b', interval: 1s, timeout: 100ms, fails: 9, passes: 9, headers: { Host: a, 'X-$': 'a: \"$$b\"' } }"]),
            key("slow_start", &["off", "30s"]),
            key("tls", &["{ verify: true }"]),
        ),
    ) {
        let (balance, queue, outliers, failover, health, slow_start, tls) = keys;
        let backup = "{ url: http://backup.test, max_streams: 1, backup: true }".to_owned();
        let servers: Vec<String> = servers.into_iter().map(str::to_owned).chain([backup]).collect();
        let keys = [Some(format!("servers: [{}]", servers.join(", "))), balance, queue, outliers, failover, health, slow_start, tls];
        reread(&group(&keys.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    }
}
