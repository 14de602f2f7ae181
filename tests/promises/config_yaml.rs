//! YAML as people write it: anchors, merge keys, repeated keys, and `off` in all its spellings.

use crate::kit::configuration::{LISTENER, UPSTREAM, mistake, mistake_with, read, valid, valid_with};

#[test]
fn a_byte_order_mark_means_nothing() {
    valid(&format!("\u{feff}{LISTENER}{UPSTREAM}"));
    mistake(
        &format!("\u{feff}listeners: [{{ adress: 127.0.0.1:0, address: 127.0.0.1:0 }}]\n{UPSTREAM}"),
        "my.yaml:1:15: listeners[0].adress: this key is not known here\n  did you mean `address`?",
    );
}

#[test]
fn what_is_merged_gives_way_to_what_is_written() {
    let config = valid(&format!(
        "x-slow: &slow {{ connect_timeout: 20s, keepalive_idle: off }}
x-fast: &fast
  connect_timeout: 1s
  via: true
{LISTENER}upstreams:
  one: {{ <<: *slow, servers: [http://127.0.0.1:1], connect_timeout: 3s }}
  two:
    servers: [http://127.0.0.1:2]
    <<: *slow
  three:
    <<: [*fast, *slow]
    servers: [http://127.0.0.1:3]
  four: &four
    <<: *fast
    servers: [http://127.0.0.1:4]
  five: {{ <<: *four, via: false }}
routes: [{{ upstream: one }}]
"
    ));
    let of = |index: usize| {
        let upstream = &config.upstreams[index];
        (upstream.connect_timeout.as_secs(), upstream.keepalive_idle.is_some(), upstream.via)
    };
    assert_eq!(of(0), (3, false, false), "what is written comes first, wherever the merge key stands");
    assert_eq!(of(1), (20, false, false));
    assert_eq!(of(2), (1, false, true), "of a list, what comes first comes first");
    assert_eq!(of(3), (1, true, true));
    assert_eq!(of(4), (1, true, false), "what merges can be merged");
    assert_eq!(config.upstreams[4].servers[0].origin.to_string(), "http://127.0.0.1:4");
}

#[test]
fn merging_replaces_sections_and_does_not_mix_them() {
    let config = valid(&format!(
        "x-stream: &s {{ websocket: {{ idle_timeout: 7s }}, heartbeat: 3s }}\n{LISTENER}{UPSTREAM}\
         stream: {{ <<: *s, websocket: {{}} }}\n"
    ));
    assert_eq!(config.stream.websocket_idle_timeout, None);
    assert_eq!(config.stream.session.heartbeat.map(|d| d.as_secs()), Some(3));
}

#[test]
fn a_mistake_behind_an_anchor_is_told_where_it_is_written() {
    mistake(
        &format!(
            "x-common: &common\n  connect_timeout: soon\n{LISTENER}upstreams:\n  \
             a: {{ <<: [*common], servers: [http://a.test] }}\n  b: {{ <<: *common, servers: [http://b.test] }}\n\
             routes: [{{ upstream: a }}]\n"
        ),
        "my.yaml:2:20: upstreams.a.connect_timeout: `soon` is not a duration\n  \
         write a number and a unit, such as `500ms`, `300s` or `5m`",
    );
    mistake(
        &format!(
            "x-common: &common\n  conect_timeout: 1s\n{LISTENER}upstreams:\n  a:\n    <<: *common\n    servers: [http://a.test]\n"
        ),
        "my.yaml:2:3: upstreams.a.conect_timeout: this key is not known here\n  did you mean `connect_timeout`?",
    );
    mistake(
        &format!("x-time: &time soon\n{LISTENER}{UPSTREAM}stream:\n  heartbeat: *time\n"),
        "my.yaml:1:9: stream.heartbeat: `soon` is not a duration\n  \
         write a number and a unit, such as `300s` or `5m`, or `off`",
    );
}

#[test]
fn what_cannot_be_merged_is_told() {
    let remedy = "name the anchor of a mapping, or a list of anchors: `<<: *anchor`";
    for (what, is) in [("5", "`5`"), ("[1]", "a list"), ("~", "an empty value"), ("\"${PORT}\"", "`${PORT}`")]
    {
        mistake_with(
            &format!("stream:\n  <<: {what}\n"),
            &format!("my.yaml:4:7: stream.<<: {is} cannot be merged\n  {remedy}"),
        );
    }
}

#[test]
fn keys_of_ones_own_are_ignored_at_the_top_and_nowhere_else() {
    valid_with("x-anything: [{ '${MISSING}': $HOST }]\nx-: 1\n");
    mistake_with(
        "stream:\n  x-mine: 1\n",
        "my.yaml:4:3: stream.x-mine: this key is not known here\n  \
         move it to the top of the file: only there, `x-` keys are yours",
    );
}

#[test]
fn a_key_that_is_given_twice_is_told_with_both_places() {
    mistake_with(
        "stream:\n  heartbeat: 1s\n  idle_timeout: 1s\n  heartbeat: 2s\n",
        "my.yaml:6:3: stream.heartbeat: this key is given twice, first in line 4\n  keep one of them",
    );
    mistake_with(
        "limits: {}\nlimits: {}\n",
        "my.yaml:4:1: limits: this key is given twice, first in line 3\n  keep one of them",
    );
    mistake_with(
        "x-a: &a {}\nstream:\n  <<: *a\n  <<: *a\n",
        "my.yaml:6:3: stream.<<: this key is given twice, first in line 5\n  merge a list: `<<: [*one, *other]`",
    );
    mistake_with(
        "x-a: &a\n  heartbeat: 1s\n  heartbeat: 2s\nstream:\n  <<: *a\n",
        "my.yaml:5:3: stream.<<.heartbeat: this key is given twice, first in line 4\n  keep one of them",
    );
}

#[test]
fn off_in_another_spelling_is_told_with_the_right_one() {
    for (section, key) in [
        ("stream", "heartbeat"),
        ("stream", "idle_timeout"),
        ("stream", "error_events"),
        ("stream", "detect_truncation"),
        ("stream", "coalesce"),
        ("limits", "max_connections"),
        ("limits", "max_request_body"),
        ("server", "drain_delay"),
        ("admin", "address"),
        ("access_log", "path"),
    ] {
        for word in ["Off", "OFF", "no", "No", "NO", "none"] {
            let error = read(&format!("{LISTENER}{UPSTREAM}{section}: {{ {key}: {word} }}\n"));
            let error = error.expect_err("a mistake");
            let is_told =
                error.contains(&format!("`{word}` is not")) && error.contains("did you mean `off`?");
            assert!(is_told && error.starts_with("my.yaml:3:"), "{error}");
        }
        for word in ["off", "'off'", "false", "False"] {
            valid_with(&format!("{section}: {{ {key}: {word} }}\n"));
        }
    }
    for section in ["admin", "access_log"] {
        mistake_with(
            &format!("{section}: No\n"),
            &format!(
                "my.yaml:3:{}: {section}: `No` is not a mapping\n  did you mean `off`?",
                section.len() + 3
            ),
        );
        valid_with(&format!("{section}: off\n"));
    }
    let error = read(&format!("{LISTENER}upstreams: {{ a: {{ servers: [http://a.test], health: No }} }}\n"));
    assert!(error.expect_err("a mistake").contains("did you mean `off`?"));
}

#[test]
fn what_cannot_be_off_says_so() {
    let remedy = "this cannot be `off`: write a number and a unit, such as";
    for word in ["off", "Off", "no", "false"] {
        let error = read(&format!("{LISTENER}{UPSTREAM}server: {{ drain_timeout: {word} }}\n"));
        assert!(error.expect_err("a mistake").contains(remedy));
        let error = read(&format!("{LISTENER}{UPSTREAM}stream: {{ max_event_size: {word} }}\n"));
        assert!(error.expect_err("a mistake").contains(remedy));
    }
}

#[test]
fn booleans_of_yaml_1_1_are_told_with_the_right_ones() {
    for (word, meant) in [("yes", "true"), ("On", "true"), ("no", "false"), ("OFF", "false")] {
        mistake(
            &format!("listeners: [{{ address: 127.0.0.1:0, http2: {word} }}]\n{UPSTREAM}"),
            &format!(
                "my.yaml:1:44: listeners[0].http2: `{word}` is not a boolean\n  did you mean `{meant}`?"
            ),
        );
    }
    assert!(
        !valid(&format!("listeners: [{{ address: 127.0.0.1:0, http2: 'false' }}]\n{UPSTREAM}")).listeners[0]
            .http2
    );
}

#[test]
fn unquoted_numbers_and_booleans_keep_their_spelling() {
    let config = valid(&format!(
        "x-two: &two 2.10
{LISTENER}upstreams:
  1.50:
    servers: [http://a.test]
    health:
      path: /
      headers: {{ a: *two, b: 0x1F, c: 1e3, d: 0o10, e: +5, f: True, g: 010, h: 100000000000000000000000.0 }}
  0x10: {{ servers: [http://b.test] }}
routes: [{{ upstream: '1.50' }}]
metrics: {{ models: [1.50, 0b11, -0, .5, true] }}
"
    ));
    let health = config.upstreams[0].health.as_ref().expect("probes");
    let values: Vec<&str> = health.headers.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["2.10", "0x1F", "1e3", "0o10", "+5", "True", "010", "100000000000000000000000.0"]);
    assert_eq!(config.upstreams[0].name, "1.50");
    assert_eq!(config.upstreams[1].name, "0x10");
    assert_eq!(config.metrics.models, ["1.50", "0b11", "-0", ".5", "true"]);
}

#[test]
fn a_token_needs_quotes_if_it_looks_like_a_number() {
    for number in ["0x1234567890123456", "1234567890123456", "12345678901234.50"] {
        mistake(
            &format!("listeners: [{{ address: 127.0.0.1:0, doctor_token: {number} }}]\n{UPSTREAM}"),
            "my.yaml:1:51: listeners[0].doctor_token: a token without quotes is read as a number here\n  \
             put it in quotes",
        );
        valid(&format!("listeners: [{{ address: 127.0.0.1:0, doctor_token: '{number}' }}]\n{UPSTREAM}"));
    }
}

#[test]
fn yaml_that_means_nothing_here_is_told() {
    for (yaml, problem) in [
        ("stream: !reset {}\n", "a tag, such as `!this`, means nothing here"),
        ("stream: { ? [a] : 1 }\n", "expected a single word"),
        ("stream: *nowhere\n", "unknown anchor"),
        ("stream: &s { a: *s }\n", "this is not valid YAML"),
        ("---\nstream: {}\n", "a second document begins here"),
        (
            "stream: { heartbeat: 1s }\u{1}\n",
            "my.yaml:3:26: this is not valid YAML: control characters are not allowed\n",
        ),
    ] {
        let error = read(&format!("{LISTENER}{UPSTREAM}{yaml}")).expect_err("a mistake");
        assert!(error.starts_with("my.yaml") && error.contains(problem), "{error}");
    }
}
