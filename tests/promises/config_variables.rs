//! Variables of the environment in a configuration file.

use proptest::prelude::*;
use sidestream::config::{self, AccessLogPolicy, effective_yaml};

use crate::kit::configuration::{LISTENER, UPSTREAM, mistake, mistake_with, read, valid, valid_with};

#[test]
fn variables_become_what_their_key_wants() {
    let config = valid(
        "listeners:
  - address: 0.0.0.0:${PORT:-8080}
    http2: ${NO}
upstreams:
  llm:
    servers: ['${URL}']
    via: ${YES}
    connect_timeout: ${NONE:-7s}
    keepalive_idle: ${OFF}
admin: ${OFF}
stream: { first_event_timeout: \"${NO}\", heartbeat: \"${IDLE}\", terminal: \"${MAX}\" }
limits:
  max_connections: ${MAX}
  max_request_body: ${MAX}MiB
access_log:
  path: /var/log/${NONE:-side}stream-${PORT}.log
server:
  threads: ${THREADS:-3}
  drain_delay: ${EMPTY:-5s}
",
    );
    assert_eq!(config.listeners[0].address.to_string(), "0.0.0.0:8123");
    assert!(!config.listeners[0].http2 && config.upstreams[0].via && config.admin.is_none());
    assert_eq!(config.upstreams[0].servers[0].origin.to_string(), "http://10.0.0.7:8000");
    let upstream = &config.upstreams[0];
    assert_eq!((upstream.connect_timeout.as_secs(), upstream.keepalive_idle), (7, None));
    assert_eq!(config.stream.session.first_event_timeout, None);
    assert_eq!(config.stream.session.heartbeat.map(|d| d.as_secs()), Some(90));
    assert_eq!(config.stream.session.terminal.as_ref().map(ToString::to_string).as_deref(), Some("100"));
    assert_eq!(config.limits.max_connections.map(|n| n.get()), Some(100));
    assert_eq!(config.limits.max_request_body, Some(100 << 20));
    assert_eq!(config.access_log.to_string(), "/var/log/sidestream-8123.log");
    assert_eq!(config.server.threads.map(|n| n.get()), Some(3));
    assert_eq!(config.server.drain_delay.as_secs(), 5);
}

#[test]
fn a_dollar_sign_that_is_none_of_a_variable_stays() {
    for (written, meant) in [
        ("/a$$b", "/a$b"),
        ("/$$HOST", "/$HOST"),
        ("/$${PORT}", "/${PORT}"),
        ("/$$${PORT}", "/$8123"),
        ("/$5/$", "/$5/$"),
        ("/${NONE:-a$$b}", "/a$b"),
        ("/${DOLLARS}", "/${PORT} $$ $PORT"),
        ("/${NONE:-}x", "/x"),
        ("/${NONE:-a:-b}", "/a:-b"),
    ] {
        let config = valid_with(&format!("access_log: {{ path: '{written}' }}\n"));
        assert_eq!(config.access_log.to_string(), meant);
        let again = effective_yaml(&config);
        assert_eq!(valid(&again).access_log, config.access_log, "{again}");
    }
}

#[test]
fn a_variable_that_is_empty_is_a_value_that_is_empty() {
    assert_eq!(valid_with("admin: ${EMPTY}\n").admin, valid_with("").admin);
    mistake_with(
        "stream:\n  heartbeat: ${EMPTY}\n",
        "my.yaml:4:14: stream.heartbeat: an empty value is not a duration\n  \
         write a number and a unit, such as `300s` or `5m`, or `off`",
    );
}

#[test]
fn a_variable_that_is_not_set_is_told_with_its_place() {
    mistake_with(
        "limits:\n  # ${COMMENT}\n  max_connections: ${MOST}\n",
        "my.yaml:5:20: limits.max_connections: the environment variable `MOST` is not set\n  \
         set it, or give a default, such as `${MOST:-default}`",
    );
    // Nothing else is said of what depends on it.
    mistake(
        &format!(
            "{LISTENER}upstreams:\n  llm:\n    servers:\n      - http://${{BACKEND}}:80\nroutes: [{{ upstream: llm }}]\n"
        ),
        "my.yaml:5:9: upstreams.llm.servers[0]: the environment variable `BACKEND` is not set\n  \
         set it, or give a default, such as `${BACKEND:-default}`",
    );
    mistake(
        &format!(
            "x-t: &t {{ connect_timeout: '${{SLOW}}' }}\n{LISTENER}upstreams:\n  llm: {{ <<: *t, servers: [http://a.test] }}\n"
        ),
        "my.yaml:1:28: upstreams.llm.connect_timeout: the environment variable `SLOW` is not set\n  \
         set it, or give a default, such as `${SLOW:-default}`",
    );
    for section in ["admin", "stream", "limits", "access_log", "server", "metrics", "routes"] {
        let error = read(&format!("{LISTENER}{UPSTREAM}{section}: ${{MISSING}}\n")).expect_err("a mistake");
        assert_eq!(error.matches("my.yaml:").count(), 1, "{error}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_told() {
    use std::os::unix::ffi::OsStringExt;
    let yaml = format!("{LISTENER}{UPSTREAM}admin: ${{BYTES}}\n");
    let bytes = |_: &str| Some(std::ffi::OsString::from_vec(vec![0xff]));
    let error = config::parse_with(&yaml, "my.yaml", &bytes).expect_err("a mistake").to_string();
    assert_eq!(error, "my.yaml:3:8: admin: the environment variable `BYTES` is not UTF-8\n  set it to text");
}

#[test]
fn what_could_be_a_variable_is_refused_with_what_to_write() {
    let remedy = "write `${NAME}` or `${NAME:-default}`, or `$$` for a dollar sign";
    for (path, problem, remedy) in [
        (
            "/$HOST/x",
            "`$HOST` could be an environment variable, or be meant literally",
            "write `${HOST}` for the variable, or `$$HOST` for these characters",
        ),
        ("/${PORT", "`${PORT` has no `}` at its end", remedy),
        ("/${}", "`${}` is not a variable", remedy),
        ("/${9}", "`${9}` is not a variable", remedy),
        ("/${PORT-80}", "`${PORT-80}` is not a variable", remedy),
        ("/${PORT:?no port}", "`${PORT:?no port}` is not a variable", remedy),
        ("/${ PORT }", "`${ PORT }` is not a variable", remedy),
        (
            "/${PORT:-${OTHER}}",
            "the default `${OTHER` has another variable in it",
            "write plain text as default, with `$$` for a dollar sign",
        ),
    ] {
        mistake_with(
            &format!("access_log:\n  path: '{path}'\n"),
            &format!("my.yaml:4:9: access_log.path: {problem}\n  {remedy}"),
        );
    }
}

#[test]
fn braces_that_yaml_takes_for_its_own_are_told() {
    let error = read(&format!("{LISTENER}upstreams: {{ llm: {{ servers: [http://${{HOST}}:80] }} }}\n"));
    let error = error.expect_err("a mistake");
    assert!(
        error.starts_with("my.yaml:2:") && error.contains("put the value with `${...}` in quotes"),
        "{error}"
    );
}

#[test]
fn variables_are_no_structure_and_are_not_shown() {
    let error = read(&format!("listeners:\n  - ${{STRUCTURE}}\n{UPSTREAM}")).expect_err("a mistake");
    assert!(error.contains("`${STRUCTURE}` (expanded) is not a mapping"), "{error}");
    let secrets = "listeners:
  - address: ${SECRET}
    tls: { certificate: '${SECRET}', key: '${SECRET}' }
    trusted_proxies: ['${SECRET}']
    tcp_keepalive: ${SECRET}
admin: { address: '${SECRET}' }
upstreams: { llm: { servers: ['http://u:${SECRET}@h'], host: '${SECRET}', tls: { ca: '${SECRET}' }, via: '${SECRET}' } }
stream: { heartbeat: '${SECRET}', terminal: 'event:${SECRET}\\n', error_events: '${SECRET}', max_event_size: '${SECRET}' }
limits: { max_connections: '${SECRET}' }
routes: [{ upstream: '${SECRET}', match: { path: '${SECRET}', host: '${SECRET}/', method: '${SECRET}' } }]
server: { log: '=${SECRET}=', threads: '${SECRET}', drain_delay: '${SECRET}' }
";
    let error = read(secrets).expect_err("mistakes");
    assert!(error.matches("my.yaml:").count() > 18, "{error}");
    assert!(!error.contains("BEGIN PRIVATE"), "{error}");
}

#[test]
fn names_of_keys_are_not_expanded() {
    let config = valid(&format!("{LISTENER}upstreams: {{ '${{PORT}}': {{ servers: [http://a.test] }} }}\n"));
    assert_eq!(config.upstreams[0].name, "${PORT}");
    assert_eq!(
        effective_yaml(&valid(&effective_yaml(&config).replace("\"$${PORT}\":", "\"${PORT}\":"))),
        effective_yaml(&config)
    );
}

proptest! {
    /// Whatever a variable holds, it is that text where text is wanted, and reads back from the effective configuration.
    #[test]
    fn a_variable_is_text_and_nothing_else(value in "/[^\\x00]{0,40}") {
        let yaml = format!("{LISTENER}{UPSTREAM}access_log: {{ path: '${{VALUE}}' }}\n");
        let config = config::parse_with(&yaml, "my.yaml", &|_| Some(value.clone().into())).expect("a path");
        prop_assert_eq!(&config.access_log, &AccessLogPolicy::File(value.into()));
        prop_assert_eq!(valid(&effective_yaml(&config)).access_log, config.access_log);
    }

    /// Escaped, any text means itself.
    #[test]
    fn any_text_can_be_written(value in "/[^\\x00]{0,40}") {
        let quoted: String = value.replace('$', "$$").chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
        let config = valid_with(&format!("access_log: {{ path: \"{quoted}\" }}\n"));
        prop_assert_eq!(config.access_log, AccessLogPolicy::File(value.into()));
    }
}
