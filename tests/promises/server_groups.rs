//! Several servers: which of them gets a request, which is left out, and where a request goes when one fails.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::{
    Backend, Client, Process, STREAM_HEAD, Sidestream, Within, chunk, log_lines, stream_begun, stream_of,
    until,
};

/// Answers each request at once, with its name.
async fn that_says(name: &'static str) -> Backend {
    Backend::that_answers(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())).await
}

/// Reads a request with its body, and answers it with this.
async fn that_answers(response: &'static str) -> Backend {
    Backend::script(move |mut exchange| async move {
        while exchange.whole_request().await.is_some() {
            exchange.send(response).await;
        }
    })
    .await
}

const UNAVAILABLE: &str =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy";

fn of_server(name: &str, backend: &Backend, more: &str) -> String {
    format!("sidestream_server_{name}{{{more}server=\"{}\",upstream=\"llm\"}}", backend.url)
}

fn is_up(backend: &Backend) -> String {
    of_server("up", backend, "")
}

async fn get(proxy: &Sidestream) -> (u16, String) {
    let mut client = proxy.client().await;
    answer(&mut client, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").await
}

async fn answer(client: &mut Client, request: &str) -> (u16, String) {
    client.send(request).await;
    let response = client.response().await;
    (response.status, String::from_utf8(client.body_of(&response).await).expect("UTF-8"))
}

#[tokio::test]
async fn each_new_stream_goes_to_the_server_with_the_fewest() {
    let backends = [Backend::that_begins(STREAM_HEAD).await, Backend::that_begins(STREAM_HEAD).await];
    let proxy = Sidestream::before_all(&backends).start().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = proxy.client().await;
        client.get("/").await;
        clients.push(client);
    }
    for backend in &backends {
        assert_eq!(proxy.metric(&of_server("streams_active", backend, "")).await, 5.0);
    }
    clients.clear();
    for backend in &backends {
        proxy.reaches(&of_server("streams_active", backend, ""), 0.0).await;
    }
}

#[tokio::test]
async fn a_request_that_one_server_does_not_take_goes_to_the_next() {
    let (mut dead, alive) = (that_says("dead").await, that_says("alive").await);
    dead.dies().await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let log = folder.path().join("access.log");
    let setup = Sidestream::before_all([&dead, &alive]).access_log(&log);
    let proxy = setup.upstream("balance: round_robin").start().await;
    for _ in 0..8 {
        let mut client = proxy.client().await;
        let request = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(answer(&mut client, request).await, (200, "alive".to_owned()));
    }
    let lines = log_lines(&log, 8).await;
    let attempts: Vec<_> = lines.iter().map(|line| line["upstream.attempts"].as_u64()).collect();
    assert_eq!(
        attempts.iter().filter(|attempts| **attempts == Some(2)).count(),
        3,
        "then it is out: {attempts:?}"
    );
    assert!(lines.iter().all(|line| line["upstream.server"] == alive.url), "the last one is told");
    assert_eq!(proxy.metric(&of_server("ejections_total", &dead, "reason=\"outlier\",")).await, 1.0);
    assert_eq!(proxy.metric(&is_up(&dead)).await, 0.0);
    let switched = r#"sidestream_failovers_total{cause="connect",result="switched",upstream="llm"}"#;
    assert_eq!(proxy.metric(switched).await, 3.0);
}

#[tokio::test]
async fn an_ejected_server_comes_back_by_one_request() {
    let (mut dies, alive) = (that_says("back").await, that_says("alive").await);
    dies.dies().await;
    let keys = "balance: round_robin, outlier_detection: { base_ejection_time: 100ms }";
    let proxy = Sidestream::before_all([&dies, &alive]).upstream(keys).start().await;
    until(async || {
        get(&proxy).await;
        (proxy.metric(&is_up(&dies)).await < 1.0).then_some(())
    })
    .soon()
    .await;
    dies.comes_back().await;
    let back = async || (get(&proxy).await == (200, "back".to_owned())).then_some(());
    until(back).soon().await;
    assert_eq!(proxy.metric(&is_up(&dies)).await, 1.0);
}

#[tokio::test]
async fn a_server_that_answers_its_trial_with_a_503_is_met_by_one_request_only() {
    let (mut loads, alive) = (that_answers(UNAVAILABLE).await, that_says("alive").await);
    loads.dies().await;
    let keys = "balance: round_robin, outlier_detection: { base_ejection_time: 100ms }";
    let proxy = Sidestream::before_all([&loads, &alive]).upstream(keys).start().await;
    proxy_ejects(&proxy, &loads).await;
    loads.comes_back().await;
    let mut refused = 0;
    // It asks for 7 s.
    let tried = async || {
        refused += u32::from(get(&proxy).await.0 == 503);
        (refused > 0).then_some(())
    };
    until(tried).soon().await;
    for _ in 0..20 {
        assert_eq!(get(&proxy).await, (200, "alive".to_owned()));
    }
}

#[tokio::test]
async fn clients_that_leave_a_trial_do_not_keep_the_others_from_servers_that_are_well() {
    let (mut hangs, alive) = (Backend::that_never_answers().await, that_says("alive").await);
    hangs.dies().await;
    let keys = "balance: round_robin, outlier_detection: { base_ejection_time: 300ms }";
    let proxy = Sidestream::before_all([&hangs, &alive]).upstream(keys).start().await;
    proxy_ejects(&proxy, &hangs).await;
    hangs.comes_back().await;
    let mut client = proxy.client().await;
    // One of the requests to come is the trial, and its client leaves.
    let tried = async || {
        client = proxy.client().await;
        client.send_get("/").await;
        tokio::time::timeout(Duration::from_millis(50), client.response()).await.is_err().then_some(())
    };
    until(tried).soon().await;
    drop(client);
    proxy.reaches(&of_server("streams_active", &hangs, ""), 0.0).await;
    assert_eq!(get(&proxy).await, (200, "alive".to_owned()));
}

#[tokio::test]
async fn clients_that_stall_their_uploads_eject_nobody() {
    let gives_up = Backend::script(|mut exchange| async move {
        exchange.request().await;
    })
    .await;
    let other = that_says("other").await;
    let setup = Sidestream::before_all([&gives_up, &other]).upstream("balance: round_robin");
    let proxy = setup.start().await;
    for _ in 0..20 {
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{}").await;
        client.response().await;
    }
    assert_eq!(proxy.metric(&is_up(&gives_up)).await, 1.0);
}

/// Asks until this server, which is down, is ejected.
async fn proxy_ejects(proxy: &Sidestream, server: &Backend) {
    let ejected = async || {
        get(proxy).await;
        (proxy.metric(&is_up(server)).await < 1.0).then_some(())
    };
    until(ejected).soon().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_out_after_three_timeouts() {
    let (silent, alive) = (Backend::that_never_answers().await, that_says("alive").await);
    let setup = Sidestream::before_all([&silent, &alive]).upstream("balance: round_robin");
    let proxy = setup.stream("first_event_timeout: 100ms").start().await;
    let mut timeouts = 0;
    for _ in 0..20 {
        timeouts += u32::from(get(&proxy).await.0 == 504);
    }
    assert_eq!(timeouts, 3);
    let failures = of_server("failures_total", &silent, "kind=\"first_event_timeout\",");
    assert_eq!(proxy.metric(&failures).await, 3.0);
}

#[tokio::test]
async fn clients_that_ask_badly_or_leave_eject_nobody() {
    let backends = [
        that_answers("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await,
        that_answers("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n").await,
        Backend::that_never_answers().await,
    ];
    for backend in &backends {
        let other = that_says("other").await;
        let setup = Sidestream::before_all([backend, &other]).upstream("balance: round_robin");
        let proxy = setup.start().await;
        for _ in 0..20 {
            let mut client = proxy.client().await;
            client.send_get("/").await;
            if backend.url != backends[2].url {
                client.response().await;
            }
        }
        for backend in [backend, &other] {
            for reason in ["outlier", "health"] {
                let ejections = of_server("ejections_total", backend, &format!("reason=\"{reason}\","));
                assert_eq!(proxy.metric(&ejections).await, 0.0);
            }
            proxy.reaches(&of_server("streams_active", backend, ""), 0.0).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_one() {
    let (busy, alive) = (that_answers(UNAVAILABLE).await, that_says("alive").await);
    let setup = Sidestream::before_all([&busy, &alive]).upstream("balance: round_robin");
    let proxy = setup.start().await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(get(&proxy).await.0);
    }
    assert_eq!(answers.iter().filter(|status| **status == 503).count(), 1, "{answers:?}");
    assert_eq!(proxy.metric(&is_up(&busy)).await, 0.0);
}

#[tokio::test]
async fn a_cooldown_is_counted_and_logged_when_it_begins() {
    let busy = that_answers(UNAVAILABLE).await;
    let mut process = Process::in_front_of(&busy, "").await;
    for _ in 0..3 {
        // It is the only server, so it is asked all the same.
        process.client().await.get("/").await;
    }
    let line = process.logs("asks for a pause").await;
    assert!(line.contains(&busy.url) && line.contains("pause=7s") && line.contains("503"), "{line}");
    let mut admin = Client::connect(process.addresses[1]).await;
    let response = admin.get("/metrics").await;
    let metrics = String::from_utf8(admin.body_of(&response).await).expect("UTF-8");
    let labels = format!(r#"server="{}",status="503",upstream="llm""#, busy.url);
    let cooldowns = format!("sidestream_server_cooldowns_total{{{labels}}} 1\n");
    assert!(metrics.contains(&cooldowns), "{cooldowns} in {metrics}");
}

#[tokio::test]
async fn an_answer_is_another_servers_only_where_that_is_asked_for() {
    const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops";
    for (response, status, on) in [(UNAVAILABLE, 503, "'503'"), (FAILED, 500, "5xx")] {
        for (keys, expected) in [(String::new(), status), (format!("failover: {{ on: [{on}] }},"), 200)] {
            let (bad, good) = (
                that_answers(response).await,
                that_answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await,
            );
            let servers = format!("{}', '{}", bad.url, good.url);
            let keys = format!("{keys} balance: round_robin");
            let proxy = Sidestream::before(servers).upstream(keys).start().await;
            let mut client = proxy.client().await;
            let request =
                format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(9000));
            assert_eq!(answer(&mut client, &request).await.0, expected, "{on}");
        }
    }
}

#[tokio::test]
async fn the_first_answer_stands_where_no_other_server_takes_the_request() {
    let (busy, full) = (that_answers(UNAVAILABLE).await, Backend::that_begins(STREAM_HEAD).await);
    let proxy = Sidestream::configured(&format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\naccess_log: off\nupstreams: {{ llm: {{ servers: \
         [{{ url: '{}', max_streams: 1 }}, '{}'], failover: {{ on: ['503'] }}, outlier_detection: off }} }}\n",
        full.url, busy.url
    ))
    .await;
    let mut running = Vec::new();
    // One of them holds the only slot of the other server.
    while proxy.metric(&of_server("streams_active", &full, "")).await < 1.0 {
        let mut client = proxy.client().await;
        client.send_get("/").await;
        client.response().await;
        running.push(client);
    }
    assert_eq!(get(&proxy).await, (503, "busy".to_owned()));
}

#[tokio::test]
async fn a_server_that_takes_too_long_is_left_for_another_one() {
    let (mut slow, fast) =
        (Backend::that_never_answers().await, that_answers("HTTP/1.1 204 No Content\r\n\r\n").await);
    let keys = "failover: { first_event_timeout: 100ms }, balance: round_robin";
    let proxy = Sidestream::before_all([&slow, &fast]).upstream(keys).start().await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(client.response().await.status, 204);
    slow.saw_close().await;
    let switched =
        r#"sidestream_failovers_total{cause="first_event_timeout",result="switched",upstream="llm"}"#;
    assert_eq!(proxy.metric(switched).await, 1.0);

    // The last one is waited for.
    let slow = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.wait().await;
        exchange.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    })
    .await;
    let proxy =
        Sidestream::before(&slow.url).upstream("failover: { first_event_timeout: 100ms }").start().await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    slow.go_on();
    assert_eq!(client.response().await.status, 204);
}

#[tokio::test]
async fn nothing_is_sent_again_once_something_was_delivered() {
    let breaks = Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.send(stream_begun("data: 1\n\n")).await;
        exchange.wait().await;
        exchange.reset();
    })
    .await;
    let other = that_answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let keys = "failover: { on: [connect, reset, 5xx] }, balance: round_robin";
    let proxy = Sidestream::before_all([&breaks, &other]).upstream(keys).start().await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    breaks.go_on();
    assert!(client.broken_text().await.contains("upstream_reset"));
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_reset_before_an_answer_is_another_servers_where_that_is_asked_for() {
    for (keys, expected) in [("", 502), ("failover: { on: [reset] },", 200)] {
        let resets = Backend::script(|mut exchange| async move {
            exchange.whole_request().await;
            exchange.reset();
        })
        .await;
        let other = that_answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let keys = format!("{keys} balance: round_robin");
        let proxy = Sidestream::before_all([&resets, &other]).upstream(keys).start().await;
        let mut client = proxy.client().await;
        let request = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(answer(&mut client, request).await.0, expected);
    }
}

/// A server whose health check says what the test wants.
async fn that_is_asked_for_its_health(name: &'static str) -> Backend {
    Backend::script(move |mut exchange| async move {
        while let Some(head) = exchange.request().await {
            let answer = match (head.starts_with("GET /health "), name) {
                (true, "ill") => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(),
                (true, _) => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                (false, _) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()),
            };
            exchange.send(answer).await;
        }
    })
    .await
}

const HEALTH: &str = "health: { path: /health, interval: 100ms, fails: 2, headers: { x-probe: '1' } }";

#[tokio::test]
async fn a_server_whose_probes_fail_gets_no_requests() {
    let (mut ill, well) =
        (that_is_asked_for_its_health("ill").await, that_is_asked_for_its_health("well").await);
    let proxy = Sidestream::before_all([&ill, &well]).upstream(HEALTH).start().await;
    proxy.reaches(&is_up(&ill), 0.0).await;
    for _ in 0..10 {
        assert_eq!(get(&proxy).await.1, "well");
    }
    let probe = ill.saw_request().await.to_ascii_lowercase();
    assert!(probe.contains("x-probe: 1\r\n") && probe.contains("host: 127.0.0.1:"), "{probe}");
    assert_eq!(proxy.ask_admin("/readyz").await.0, 200);
    assert_eq!(proxy.metric(&of_server("ejections_total", &ill, "reason=\"health\",")).await, 1.0);
}

#[tokio::test]
async fn a_server_that_is_down_by_its_probes_comes_back_by_them() {
    let (mut server, keys) =
        (that_is_asked_for_its_health("well").await, format!("{HEALTH}, connect_timeout: 1s"));
    let proxy = Sidestream::before(&server.url).upstream(keys).start().await;
    assert_eq!(get(&proxy).await.0, 200);
    server.dies().await;
    proxy.reaches(&is_up(&server), 0.0).await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    assert_eq!(client.refusal().await, (503, "no_server".to_owned()));
    assert_eq!(proxy.ask_admin("/readyz").await.0, 503);
    server.comes_back().await;
    proxy.reaches(&is_up(&server), 1.0).await;
    assert_eq!(get(&proxy).await.0, 200);
}

#[tokio::test]
async fn who_waits_in_vain_for_a_server_that_is_down_is_told_so() {
    let mut server = that_is_asked_for_its_health("well").await;
    let keys = format!("{HEALTH}, connect_timeout: 1s, max_streams: 9, queue: {{ size: 9, timeout: 200ms }}");
    let proxy = Sidestream::before(&server.url).upstream(keys).start().await;
    server.dies().await;
    proxy.reaches(&is_up(&server), 0.0).await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    assert_eq!(client.refusal().await, (503, "no_server".to_owned()));
    let rejected = r#"sidestream_queue_rejected_total{reason="no_server",upstream="llm"}"#;
    assert_eq!(proxy.metric(rejected).await, 1.0);
}

#[tokio::test]
async fn servers_that_all_cool_down_are_ready() {
    let busy = that_answers(UNAVAILABLE).await;
    let proxy = Sidestream::before_all([&busy]).start().await;
    assert_eq!(get(&proxy).await.0, 503);
    assert_eq!(proxy.metric(&is_up(&busy)).await, 0.0);
    assert_eq!(proxy.ask_admin("/readyz").await.0, 200);
}

#[tokio::test]
async fn an_ejected_server_is_tried_out_as_soon_as_its_probes_pass() {
    let (mut dies, alive) =
        (that_is_asked_for_its_health("back").await, that_is_asked_for_its_health("alive").await);
    dies.dies().await;
    let keys = "health: { path: /health, interval: 100ms, fails: 1000 }, outlier_detection: { base_ejection_time: 5m }";
    let proxy = Sidestream::before_all([&dies, &alive]).upstream(keys).start().await;
    proxy_ejects(&proxy, &dies).await;
    dies.comes_back().await;
    until(async || (get(&proxy).await.1 == "back").then_some(())).soon().await;
    assert_eq!(proxy.metric(&is_up(&dies)).await, 1.0);
}

#[tokio::test]
async fn a_death_that_answers_and_probes_find_is_counted_once() {
    let (mut dies, alive) =
        (that_is_asked_for_its_health("back").await, that_is_asked_for_its_health("alive").await);
    dies.dies().await;
    let keys = format!("{HEALTH}, outlier_detection: {{ consecutive_failures: 1 }}");
    let proxy = Sidestream::before_all([&dies, &alive]).upstream(keys).start().await;
    let is_unhealthy = async || {
        get(&proxy).await;
        let (_, text) = proxy.ask_admin("/streams").await;
        text.contains(r#""state":"unhealthy""#).then_some(())
    };
    until(is_unhealthy).soon().await;
    let mut ejections = 0.0;
    for reason in ["outlier", "health"] {
        ejections +=
            proxy.metric(&of_server("ejections_total", &dies, &format!("reason=\"{reason}\","))).await;
    }
    assert_eq!(ejections, 1.0);
}

#[tokio::test]
async fn a_server_that_delivers_events_is_not_taken_out_by_its_probes() {
    let server = Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.request().await {
            if head.starts_with("GET /health ") {
                exchange.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await;
                continue;
            }
            exchange.send(STREAM_HEAD).await;
            while exchange.try_send(chunk("data: x\n\n")).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    })
    .await;
    let proxy = Sidestream::before(&server.url).upstream(HEALTH).start().await;
    let mut client = proxy.client().await;
    client.get("/").await;
    let until_now = tokio::time::Instant::now() + Duration::from_secs(1);
    while tokio::time::Instant::now() < until_now {
        client.chunk().await;
    }
    assert_eq!(proxy.metric(&is_up(&server)).await, 1.0);
    drop(client);
    proxy.reaches(&is_up(&server), 0.0).await;
}

#[tokio::test]
async fn a_reload_lets_the_streams_of_a_removed_server_end() {
    let backends = [Backend::that_begins(stream_begun("data: 1\n\n")).await, that_says("stays").await];
    let setup = Sidestream::before_all(&backends).upstream("balance: round_robin");
    let proxy = setup.start().await;
    let mut client = proxy.client().await;
    client.get("/").await;
    client.chunk().await;
    let without = proxy.yaml.replace(&format!("'{}', ", backends[0].url), "");
    proxy.reload(&without).expect("valid");
    for _ in 0..5 {
        assert_eq!(get(&proxy).await.1, "stays");
    }
    let active = of_server("streams_active", &backends[0], "");
    assert_eq!(proxy.metric(&active).await, 1.0);
    let (_, streams) = proxy.ask_admin("/streams").await;
    let streams: Value = serde_json::from_str(&streams).expect("JSON");
    assert_eq!(streams["streams"][0]["server"], backends[0].url);
    drop(client);
    proxy.reaches(&active, 0.0).await;
}

#[tokio::test]
async fn a_reload_says_which_servers_join_and_leave_and_when_the_last_stream_of_one_has_ended() {
    let (old, new) = (Backend::that_begins(stream_begun("data: 1\n\n")).await, that_says("new").await);
    let mut process = Process::in_front_of(&old, "").await;
    let mut client = process.client().await;
    client.get("/").await;
    client.chunk().await;
    process.configure(&new, "");
    process.signal(Signal::HUP);
    let line = process.logs("the servers of the upstream have changed").await;
    let moves = format!("upstream=\"llm\" joined=\"{}\" leaving=\"{}\"", new.url, old.url);
    assert!(line.contains(&moves), "{line}");
    process.logs("was read again").await;
    assert!(!process.has_logged("has left"));
    drop(client);
    let line = process.logs("the server has left").await;
    assert!(line.contains(&old.url), "{line}");
    // One without streams is gone at once.
    process.configure(&old, "");
    process.signal(Signal::HUP);
    assert!(process.logs("the server has left").await.contains(&new.url));
}

#[tokio::test]
async fn an_upstream_that_is_removed_is_shown_until_it_is_empty_and_taken_up_when_it_comes_back() {
    let old = Backend::that_begins(stream_begun("data: 1\n\n")).await;
    let keys = "max_streams: 1, queue: { size: 9, timeout: 1h }";
    let proxy = Sidestream::before(&old.url).upstream(keys).start().await;
    let mut running = proxy.client().await;
    running.get("/").await;
    running.chunk().await;
    let mut waiting = proxy.client().await;
    waiting.send_get("/").await;
    let queued = r#"sidestream_queue_length{upstream="llm"}"#;
    proxy.reaches(queued, 1.0).await;
    let other = proxy.yaml.replace("llm:", "other:").replace("upstream: llm", "upstream: other");
    let llm = async || {
        let (_, streams) = proxy.ask_admin("/streams").await;
        let streams: Value = serde_json::from_str(&streams).expect("JSON");
        streams["upstreams"].as_array().expect("a list").iter().find(|u| u["name"] == "llm").cloned()
    };
    let active = of_server("streams_active", &old, "");
    proxy.reload(&other).expect("valid");
    let left = llm().await.expect("it carries a stream");
    let server = &left["servers"][0];
    assert_eq!((&server["state"], &server["streams"]), (&"leaving".into(), &1.into()), "{left}");
    assert_eq!(left["queue"]["length"], 1, "{left}");
    assert_eq!((proxy.metric(queued).await, proxy.metric(&active).await), (1.0, 1.0));
    assert_eq!(proxy.metric(&is_up(&old)).await, 0.0);

    proxy.reload(&proxy.yaml).expect("valid");
    let back = llm().await.expect("it is configured");
    let server = &back["servers"][0];
    assert_eq!((&server["state"], &server["streams"]), (&"up".into(), &1.into()), "{back}");
    let mut next = proxy.client().await;
    next.send_get("/").await;
    proxy.reaches(queued, 2.0).await;
    assert_eq!(old.connections(), 1, "the server has no room for another stream");

    proxy.reload(&other).expect("valid");
    drop(running);
    assert_eq!(waiting.response().await.status, 200, "who waits is still served");
    drop((waiting, next));
    until(async || llm().await.is_none().then_some(())).soon().await;
    assert!(!proxy.scrape().await.contains(&is_up(&old)), "its gauges are gone too");
}

#[tokio::test]
async fn a_stream_that_completes_says_that_its_server_is_well() {
    let (breaks, alive) = (
        Backend::script(|mut exchange| async move {
            let number = exchange.number;
            while exchange.request().await.is_some() {
                match number % 3 {
                    0 => exchange.send(stream_of("data: 1\n\n")).await,
                    _ => return,
                }
            }
        })
        .await,
        that_says("alive").await,
    );
    let keys = "balance: round_robin, keepalive_idle: off";
    let proxy = Sidestream::before_all([&breaks, &alive]).upstream(keys).start().await;
    for _ in 0..20 {
        let mut client = proxy.client().await;
        client.send_get("/").await;
        client.response().await;
    }
    assert_eq!(proxy.metric(&is_up(&breaks)).await, 1.0, "two failures in a row are no three");
}

#[tokio::test]
async fn no_request_goes_to_another_server_once_the_budget_is_used_up() {
    let (busy, well) = (that_answers(UNAVAILABLE).await, that_says("well").await);
    let keys = "failover: { on: ['503'], budget: 0% }, balance: round_robin, outlier_detection: off";
    let proxy = Sidestream::before_all([&busy, &well]).upstream(keys).start().await;
    let mut statuses = [get(&proxy).await.0, get(&proxy).await.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    let exhausted = r#"sidestream_failover_budget_exhausted_total{upstream="llm"}"#;
    assert_eq!(proxy.metric(exhausted).await, 1.0);
}

#[tokio::test]
async fn no_other_server_is_tried_for_a_client_that_left() {
    let backends = [that_is_slow_and_busy().await, that_is_slow_and_busy().await];
    let setup = Sidestream::before_all(&backends).upstream("failover: { on: ['503'] }");
    let proxy = setup.stream("on_disconnect: drain").start().await;
    let mut client = proxy.client().await;
    client.send_get("/").await;
    let asked = async || backends.iter().position(|backend| backend.connections() > 0);
    let asked = until(asked).soon().await;
    proxy.catches_up().await;
    drop(client);
    proxy.catches_up().await;
    backends[asked].go_on();
    proxy.reaches("sidestream_streams_waiting{route=\"default\"}", 0.0).await;
    assert_eq!(backends[1 - asked].connections(), 0);
}

/// A server that answers 503 when it is told to.
async fn that_is_slow_and_busy() -> Backend {
    Backend::script(|mut exchange| async move {
        exchange.request().await;
        exchange.wait().await;
        exchange.send(UNAVAILABLE).await;
        exchange.rest().await;
    })
    .await
}

#[tokio::test]
async fn a_server_that_does_not_answer_its_probes_gets_no_requests() {
    let (mut silent, well) =
        (Backend::that_never_answers().await, that_is_asked_for_its_health("well").await);
    let keys = "health: { path: /health, interval: 100ms, timeout: 100ms, fails: 2 }, host: model.internal";
    let proxy = Sidestream::before_all([&silent, &well]).upstream(keys).start().await;
    proxy.reaches(&is_up(&silent), 0.0).await;
    for _ in 0..10 {
        assert_eq!(get(&proxy).await.1, "well");
    }
    assert!(silent.saw_request().await.contains("\r\nHost: model.internal\r\n"), "as requests do");
}

#[tokio::test]
async fn a_reload_keeps_what_probes_have_found_and_probes_what_is_new() {
    let (ill, mut new) =
        (that_is_asked_for_its_health("ill").await, that_is_asked_for_its_health("new").await);
    let proxy = Sidestream::before(&ill.url).upstream(HEALTH).start().await;
    proxy.reaches(&is_up(&ill), 0.0).await;
    let both = proxy.yaml.replace(&format!("'{}'", ill.url), &format!("'{}', '{}'", ill.url, new.url));
    proxy.reload(&both).expect("valid");
    assert_eq!(proxy.metric(&is_up(&ill)).await, 0.0);
    assert!(new.saw_request().await.starts_with("GET /health "));
    assert_eq!(get(&proxy).await.1, "new");
}

#[tokio::test]
async fn a_reload_that_turns_outlier_detection_off_readmits_ejected_servers() {
    let (mut dies, alive) = (that_says("back").await, that_says("alive").await);
    dies.dies().await;
    let keys = "balance: round_robin, outlier_detection: { base_ejection_time: 5m }";
    let proxy = Sidestream::before_all([&dies, &alive]).upstream(keys).start().await;
    proxy_ejects(&proxy, &dies).await;
    dies.comes_back().await;
    let off = proxy.yaml.replace("{ base_ejection_time: 5m }", "off");
    proxy.reload(&off).expect("valid");
    assert_eq!(proxy.metric(&is_up(&dies)).await, 1.0);
    let names = [get(&proxy).await.1, get(&proxy).await.1];
    assert!(names.contains(&"back".to_owned()), "{names:?}");
}
