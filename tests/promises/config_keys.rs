//! Keys of listeners, upstreams and the process: what they take, what they are by default, what they refuse.

use sidestream::config::{self, Config, HostHeader, effective_yaml};

fn listener(keys: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:0, {keys} }}]\nupstreams: {{ llm: {{ servers: [http://127.0.0.1:8000] }} }}\n"
    )
}

fn upstream(keys: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nupstreams: {{ llm: {{ servers: [http://127.0.0.1:8000], {keys} }} }}\n"
    )
}

fn server(server: &str) -> String {
    format!("listeners: [{{ address: 127.0.0.1:0 }}]\nupstreams: {{ llm: {{ servers: [{server}] }} }}\n")
}

fn process(keys: &str) -> String {
    format!("{}server: {{ {keys} }}\n", upstream(""))
}

/// Reads a file, and the effective configuration that results from it, which must be the same.
#[track_caller]
fn valid(yaml: &str) -> Config {
    let config = config::parse(yaml, "my.yaml").unwrap_or_else(|error| panic!("{error}\nin\n{yaml}"));
    let once = effective_yaml(&config);
    let again = config::parse(&once, "again.yaml").unwrap_or_else(|error| panic!("{error}\nin\n{once}"));
    assert_eq!(once, effective_yaml(&again));
    assert_eq!(config.upstreams, again.upstreams);
    config
}

#[track_caller]
fn mistake(yaml: &str, message: &str) {
    let error = config::parse(yaml, "my.yaml").expect_err("a mistake").to_string();
    assert!(error.contains(message) && error.matches("my.yaml:").count() == 1, "{error}\nis not\n{message}");
}

#[test]
fn defaults_are_those_of_the_sample_file() {
    let config = valid(&server("http://llm.test:8000"));
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.host, HostHeader::Client);
    assert!(!upstream.via);
    assert_eq!(upstream.keepalive_idle.map(|d| d.as_millis()), Some(1500));
    assert_eq!(upstream.tcp_keepalive.map(|d| d.as_secs()), Some(15));
    assert_eq!(upstream.servers[0].resolve.as_secs(), 10);
    assert_eq!(config.listeners[0].tcp_keepalive.map(|d| d.as_secs()), Some(15));
    assert!(config.server.drain_delay.is_zero());
}

#[test]
fn the_host_that_servers_see_is_the_clients_or_theirs_or_a_name() {
    for (written, meant) in [("client", HostHeader::Client), ("upstream", HostHeader::Upstream)] {
        assert_eq!(valid(&upstream(&format!("host: {written}"))).upstreams[0].host, meant);
    }
    for name in ["llm.example.org", "llm_1:8080", "'10.0.0.1:80'", "'[::1]'", "'[2001:db8::1]:443'", "a"] {
        let host = &valid(&upstream(&format!("host: {name}"))).upstreams[0].host;
        assert_eq!(*host, HostHeader::Name(name.trim_matches('\'').to_owned()));
    }
    for word in ["Client", "UPSTREAM"] {
        let message = format!("did you mean `{}`?", word.to_lowercase());
        mistake(&upstream(&format!("host: {word}")), &message);
    }
    for name in [
        "''",
        "'a b'",
        "http://a",
        "a/b",
        "'a:'",
        "'a:0'",
        "'a:65536'",
        "'a:+1'",
        "'::1'",
        "'[a]:80'",
        "'[::1'",
        "'u@a'",
        "'*.a'",
        "-a",
        "42",
        "[a]",
        "'a\\r\\nX: y'",
        "\"a\\r\\nX: y\"",
        "ä.test",
    ] {
        mistake(
            &upstream(&format!("host: {name}")),
            "is not a host\n  write `client`, `upstream`, or a host with or",
        );
    }
}

#[test]
fn via_is_a_boolean() {
    assert!(valid(&upstream("via: true")).upstreams[0].via);
    mistake(&upstream("via: 2"), "upstreams.llm.via: `2` is not a boolean\n  write `true` or `false`");
}

#[test]
fn tcp_keepalive_takes_what_the_kernel_takes() {
    for (written, meant) in [("1s", Some(1)), ("2m", Some(120)), ("32767s", Some(32767)), ("off", None)] {
        let keys = format!("tcp_keepalive: {written}");
        assert_eq!(valid(&upstream(&keys)).upstreams[0].tcp_keepalive.map(|d| d.as_secs()), meant);
        assert_eq!(valid(&listener(&keys)).listeners[0].tcp_keepalive.map(|d| d.as_secs()), meant);
    }
    for written in ["500ms", "1500ms", "0s", "10h", "soon", "15"] {
        let message = "is not a duration in whole seconds\n  write seconds from `1s` to `32767s`, or `off`";
        mistake(&upstream(&format!("tcp_keepalive: {written}")), message);
        mistake(&listener(&format!("tcp_keepalive: {written}")), message);
    }
}

#[test]
fn a_server_with_a_name_says_how_often_it_is_looked_up() {
    for (written, seconds) in
        [("{ url: http://llm.test }", 10.0), ("{ url: https://llm.test, resolve: 100ms }", 0.1)]
    {
        let config = valid(&server(written));
        assert_eq!(config.upstreams[0].servers[0].resolve.as_secs_f64(), seconds);
        assert_eq!(config.upstreams[0].servers[0].origin.host(), "llm.test");
    }
    valid(&server("{ url: http://127.0.0.1:8000 }"));
    mistake(
        &server("{ url: http://llm.test, resolve: 99ms }"),
        "resolve: `99ms` is too short\n  write at least `100ms`",
    );
    mistake(
        &server("{ url: http://llm.test, resolve: off }"),
        "resolve: `off` is not a duration\n  this cannot be `off`",
    );
    for url in ["http://127.0.0.1:80", "'http://[::1]:80'", "unix:/run/llm.sock"] {
        mistake(&server(&format!("{{ url: {url}, resolve: 10s }}")), "my.yaml:2:".to_owned().as_str());
        mistake(
            &server(&format!("{{ url: {url}, resolve: 10s }}")),
            "servers[0].resolve: there is nothing to look up: the server's URL has an IP address or a path\n  \
             leave this out, or give the server by its name",
        );
    }
    mistake(&server("{ resolve: 10s }"), "upstreams.llm.servers[0]: `url` is missing");
    mistake(
        &server("{ url: nowhere, resolve: 10s }"),
        "servers[0].url: `nowhere` is not the URL of a server",
    );
    mistake(&server("{ url: http://a.test, wieght: 1 }"), "did you mean `weight`?");
}

#[test]
fn a_drain_can_begin_with_a_delay() {
    for (written, millis) in [("0s", 0), ("0", 0), ("off", 0), ("5s", 5000), ("1500ms", 1500)] {
        let config = valid(&process(&format!("drain_delay: {written}")));
        assert_eq!(config.server.drain_delay.as_millis(), millis);
    }
    mistake(
        &process("drain_delay: 5"),
        "`5` is not a duration\n  write a number and a unit, such as `500ms` or `5s`, or `0s`",
    );
}

#[test]
fn a_probe_origin_has_a_path_and_may_have_a_token() {
    let point = |keys: &str| valid(&listener(keys)).listeners[0].doctor.clone();
    for off in ["doctor_path: off", "doctor_path: null", "doctor_token: 0123456789abcdef"] {
        assert_eq!(point(off), None, "{off}");
    }
    for (written, path, covers) in [
        ("/doctor", "/doctor", ["/doctor", "/doctor/a"]),
        ("/a/b/", "/a/b", ["/a/b/", "/a/b"]),
        ("/", "/", ["/", "/x"]),
    ] {
        let point =
            point(&format!("doctor_path: {written}, doctor_token: 0123456789abcdef")).expect("a point");
        assert_eq!(point.path(), path);
        assert!(covers.iter().all(|path| point.covers(path)) && !point.covers("*"), "{written}");
        assert!(point.token.is_some_and(|token| token.is("0123456789abcdef")));
    }
    let point = point("doctor_path: /doctor").expect("a point");
    assert!(point.token.is_none() && !point.covers("/doctors") && !point.covers("/"));
    for (keys, message) in [
        ("doctor_path: doctor", "doctor_path: `doctor` is not a path\n  write a path that begins with `/`"),
        ("doctor_path: '/a?b'", "doctor_path: `/a?b` is not a path"),
        ("doctor_path: None", "did you mean `off`?"),
        ("doctor_token: short-secret", "doctor_token: a token has at least 16 characters"),
        (
            "doctor_token: 'such spaces in a token'",
            "doctor_token: a token consists of letters, digits and `-._~`",
        ),
    ] {
        mistake(&listener(keys), message);
        let error = config::parse(&listener(keys), "my.yaml").expect_err("a mistake").to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_word_that_is_no_log_level_is_refused_instead_of_silencing_the_log() {
    for filter in ["info", "WARN", "off", "'info,h2=error'", "'sidestream::exchange=debug'", "'h2=off,info'"]
    {
        valid(&process(&format!("log: {filter}")));
    }
    for filter in ["verbose", "sidestream", "'h2,hyper'", "''"] {
        mistake(&process(&format!("log: {filter}")), "is not a log level\n  write a level, such as `warn`");
    }
}

#[test]
fn mistakes_are_listed_in_the_order_of_the_file() {
    let yaml = "upstreams:\n  llm: { servers: [], x: 1 }\nlisteners: []\nstream: { heartbeat: soon }\nz: 1\n";
    let error = config::parse(yaml, "my.yaml").expect_err("mistakes").to_string();
    let lines: Vec<usize> =
        error.split("my.yaml:").skip(1).filter_map(|rest| rest.split(':').next()?.parse().ok()).collect();
    assert_eq!(lines, [2, 2, 3, 4, 5], "{error}");
}
