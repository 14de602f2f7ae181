//! What a group of servers goes by in the configuration: queue, health, outlier detection and failover.

use std::time::Duration;

use sidestream::config::{FailoverOn, QueuePolicy};

use crate::kit::configuration::{group, group_mistake, reread, upstream};

#[test]
fn requests_queue_for_servers_that_have_a_limit() {
    let llm = upstream("max_streams: 4, queue: { size: 100, timeout: 5s, fairness: header:X-Tenant }");
    let fairness = Some("x-tenant".to_owned());
    assert_eq!(llm.queue, QueuePolicy { size: 100, timeout: Duration::from_secs(5), fairness });
    reread(&group("servers: [http://a.test, { url: http://b.test, max_streams: 1 }], queue: { size: 1 }"));
    let llm = upstream("queue: { size: off, timeout: 5s, fairness: off }");
    assert_eq!((llm.queue.size, llm.queue.timeout.as_secs(), llm.queue.fairness), (0, 5, None));
    assert_eq!(upstream("queue: {}").queue, QueuePolicy::default());
    for (keys, message) in [
        (
            "queue: { size: 1 }",
            ".queue.size: there is nothing to wait for: no server has `max_streams`\n  add `max_streams:`",
        ),
        ("max_streams: 0, queue: { size: 1 }", ".max_streams: `0` is not a number from 1"),
        ("queue: { size: -1 }", ".queue.size: `-1` is not a number\n  write a number from 0"),
        ("queue: { size: 1000001 }", ".queue.size: `1000001` is too large\n  write at most `1000000`"),
        ("queue: { timeout: 5s }", ".queue: `size` is missing\n  add `size:` here, such as `size: 100`"),
        ("queue: { fairness: header:a }", ".queue: `size` is missing\n  add `size:` here"),
        (
            "queue: { size: 0, timeout: 0s }",
            ".queue.timeout: `0s` is too short\n  write a duration longer than",
        ),
        (
            "queue: { size: 0, timeout: off }",
            ".queue.timeout: `off` is not a duration\n  this cannot be `off`",
        ),
        ("queue: Off", ".queue: `Off` is not a mapping\n  did you mean `off`?"),
        (
            "queue: { size: 0, fairness: address }",
            ".queue.fairness: `address` is not a key that is known here\n  write",
        ),
        (
            "queue: { size: 0, fairness: None }",
            ".queue.fairness: `None` is not a key that is known here\n  did you mean",
        ),
        (
            "queue: { size: 0, fairness: body:user }",
            ".queue.fairness: `body:user` is not a key that is known here",
        ),
    ] {
        group_mistake(keys, message);
    }
}

#[test]
fn health_is_asked_for_at_a_path() {
    let health = upstream("health: { path: '/v1/health?$$x' }").health.expect("a policy");
    assert_eq!(health.path, "/v1/health?$x");
    assert_eq!((health.interval.as_secs(), health.timeout.as_secs()), (10, 5));
    assert_eq!((health.fails.get(), health.passes.get(), health.headers), (3, 1, Vec::new()));
    let health = upstream(
        "health: { path: /, interval: 100ms, timeout: 100ms, fails: 1, passes: 2, \
         headers: { Host: llm.test, X-Number: 1, x$y: '$$a \"b\"' } }",
    );
    let fields = [("Host", "llm.test"), ("X-Number", "1"), ("x$y", "$a \"b\"")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(health.health.expect("a policy").headers, fields);
    for (keys, message) in [
        ("{}", ": `path` is missing\n  add `path:` here, such as `path: /health`"),
        ("/health", ": `/health` is not a mapping\n  write `health: { path: /health }`"),
        ("{ path: health }", ".path: `health` is not a path\n  write one that begins with `/`"),
        ("{ path: '/a b' }", ".path: `/a b` is not a path"),
        ("{ path: '/a#b' }", ".path: `/a#b` is not a path"),
        ("{ path: \"/a\\r\\nb\" }", ".path: `/a\\r\\nb` is not a path"),
        ("{ path: / , interval: 99ms }", ".interval: `99ms` is too short\n  write at least `100ms`"),
        ("{ path: / , timeout: 1ms }", ".timeout: `1ms` is too short"),
        ("{ path: / , fails: 0 }", ".fails: `0` is not a number from 1"),
        ("{ path: / , passes: off }", ".passes: `off` is not a number from 1\n  this cannot be `off`"),
        ("{ path: / , headers: { 'a b': c } }", ".headers.a b: this is not the name of a header"),
        ("{ path: / , headers: { a: \"b\\nc\" } }", ".headers.a: `b\\nc` is not the value of a header"),
        ("{ path: / , headers: { a: [] } }", ".headers.a: an empty list is not the value of a header"),
        (
            "{ path: / , headers: { connection: close } }",
            ".headers.connection: probes set this header themselves",
        ),
        ("{ path: / , headers: { Content-Length: 0 } }", ".headers.Content-Length: probes set this header"),
        ("{ path: / , headers: { A: b, a: b } }", ".headers.a: this header is given twice\n  keep one"),
    ] {
        group_mistake(&format!("health: {keys}"), &format!(".health{message}"));
    }
}

#[test]
fn outliers_are_ejected_unless_that_is_off() {
    assert_eq!(upstream("outlier_detection: off").outlier_detection, None);
    for (percent, meant) in [("100%", 100), ("'0'", 0), ("7", 7)] {
        let keys = format!("outlier_detection: {{ max_ejection_percent: {percent} }}");
        assert_eq!(upstream(&keys).outlier_detection.map(|o| o.max_ejection_percent), Some(meant));
    }
    for (keys, message) in [
        ("{ consecutive_failures: 0 }", ".consecutive_failures: `0` is not a number from 1"),
        (
            "{ max_ejection_percent: 101 }",
            ".max_ejection_percent: `101` is not a percentage\n  write one from `0%`",
        ),
        ("{ max_ejection_percent: 1.5 }", ".max_ejection_percent: `1.5` is not a percentage"),
        (
            "{ max_ejection_time: 9s }",
            ": `base_ejection_time` is longer than `max_ejection_time`\n  set both",
        ),
        ("{ base_ejection_time: 6m }", ": `base_ejection_time` is longer than `max_ejection_time`"),
        ("{ base_ejection_time: 9, max_ejection_time: 1s }", ".base_ejection_time: `9` is not a duration"),
    ] {
        group_mistake(&format!("outlier_detection: {keys}"), &format!(".outlier_detection{message}"));
    }
}

#[test]
fn failover_has_its_causes_and_its_bounds() {
    let all = upstream(
        "failover: { on: [connect, 429, '503', 5xx, reset], attempts: 3, first_event_timeout: 2s, max_body: 64KiB, budget: 5 }",
    )
    .failover;
    let causes = [
        FailoverOn::Connect,
        FailoverOn::TooManyRequests,
        FailoverOn::Unavailable,
        FailoverOn::ServerError,
        FailoverOn::Reset,
    ];
    assert_eq!(all.on, causes);
    assert_eq!((all.attempts.get(), all.max_body, all.budget_percent), (3, 64 << 10, 5));
    assert_eq!(all.first_event_timeout, Some(Duration::from_secs(2)));
    assert_eq!(upstream("failover: { on: 503 }").failover.on, [FailoverOn::Unavailable]);
    for none in ["failover: { on: [] }", "failover: { on: off }"] {
        assert_eq!((upstream(none).failover.on.len(), upstream(none).failover.attempts.get()), (0, 2));
    }
    let off = upstream("failover: off").failover;
    assert_eq!((off.on.len(), off.attempts.get()), (0, 1));
    for (keys, message) in [
        ("{ on: [conect] }", ".on[0]: `conect` is not a word that is known here\n  did you mean `connect`?"),
        ("{ on: [5XX] }", ".on[0]: `5XX` is not a word that is known here\n  did you mean `5xx`?"),
        ("{ on: [connect, 502] }", ".on[1]: `502` is not a word that is known here\n  did you mean `5xx`?"),
        ("{ on: 403 }", ".on: `403` is not a word that is known here\n  write `connect` or `429` or `503`"),
        ("{ on: timeout }", ".on: `timeout` is not a word that is known here\n  write `connect` or"),
        ("{ true: connect }", ".true: this key is not known here\n  write `\"on\"` in quotes: in YAML 1.1"),
        (
            "{ first_event_timeout: 0s }",
            ".first_event_timeout: `0s` is too short\n  write a duration longer than zero, such as `500ms`, or `off`",
        ),
        ("{ attempts: 0 }", ".attempts: `0` is not a number from 1"),
        ("{ budget: 120% }", ".budget: `120%` is not a percentage\n  write one from `0%` to `100%`"),
        ("{ budget: off }", ".budget: `off` is not a percentage\n  this cannot be `off`"),
        ("{ max_body: off }", ".max_body: `off` is not a size"),
        (
            "{ attempts: 1, first_event_timeout: 1s }",
            ".first_event_timeout: there is no further attempt: `attempts` is 1\n  write `attempts: 2`",
        ),
    ] {
        group_mistake(&format!("failover: {keys}"), &format!(".failover{message}"));
    }
}
