//! A real Prometheus reads the metrics, the alert rules and every query of the dashboard.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::kit::{Backend, Client, LAST_CHUNK, STREAM_HEAD, Sidestream, Within, chunk, until};

const MISSING: &str = "Prometheus is missing: run `make test`, which installs it";

fn conf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

/// A backend that gives an answer, after a while that the client decides, or breaks, or falls silent, as the path says.
async fn backend() -> Backend {
    Backend::script(|mut exchange| async move {
        while let Some(head) = exchange.whole_request().await {
            let token = chunk("data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n");
            exchange.send([STREAM_HEAD.as_bytes(), &token].concat()).await;
            if head.contains(" /breaks") {
                return;
            }
            if head.contains(" /leaves") {
                return exchange.closed().await;
            }
            exchange.wait().await;
            let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}\n\n";
            let end =
                [&token[..], &chunk(format!("{usage}data: [DONE]\n\n")), LAST_CHUNK.as_bytes()].concat();
            exchange.send(end).await;
        }
    })
    .await
}

const BODY: &str = r#"{"model":"m","stream":true}"#;

/// Requests of every kind, until it is dropped.
async fn traffic(address: SocketAddr, backend: Arc<Backend>) {
    loop {
        for (path, stays) in [("/ends", true), ("/breaks", true), ("/leaves", false)] {
            let mut client = Client::connect(address).await;
            let length = BODY.len();
            client
                .send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{BODY}"))
                .await;
            client.response().await;
            client.chunk().await;
            if stays && path == "/ends" {
                // A heartbeat.
                client.chunk().await;
                backend.go_on();
            }
            if stays {
                client.text().await;
            }
        }
    }
}

/// A Prometheus that scrapes every second.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("prometheus.yml");
        let rules = conf("prometheus/alerts.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}']\nscrape_configs:\n\
             - job_name: sidestream\n  static_configs: [{{ targets: ['{target}'] }}]\n",
            rules.display()
        );
        std::fs::write(&file, config).expect("a file");
        let mut process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .expect(MISSING);
        let mut log = BufReader::new(process.stderr.take().expect("a pipe"));
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).expect("a line"), 0, "it ended");
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                break address.trim().parse().expect("an address");
            }
        };
        // What else it says must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, address, _folder: folder }
    }

    /// What its API answers; null while it is not ready.
    async fn get(&self, path: &str) -> Value {
        let mut client = Client::connect(self.address).await;
        let response = client.get(path).await;
        let body = match response.length() {
            Some(length) => client.exactly(length).await,
            None => client.chunks().await.concat(),
        };
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// Whether a query has a result that is a number.
    async fn answers(&self, query: &str) -> bool {
        let mut path = "/api/v1/query?query=".to_owned();
        for byte in query.bytes() {
            path += &format!("%{byte:02X}");
        }
        let answer = self.get(&path).await;
        assert_ne!(answer["status"], "error", "{query}: {answer}");
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        series.iter().any(|series| series["value"][1].as_str().is_some_and(|value| value != "NaN"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The queries of the dashboard, with what Grafana would put into them.
fn dashboard_queries() -> Vec<String> {
    let text = std::fs::read_to_string(conf("grafana/sidestream.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let query = |target: &Value| {
        let query = target["expr"].as_str().expect("a query").replace("$__rate_interval", "20s");
        query.replace("$instance", ".*").replace("$route", ".*").replace("$model", ".*")
    };
    targets.map(query).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_has_data_and_the_metrics_are_well_formed() {
    let backend = backend().await;
    let group = "max_streams: 1, queue: { size: 8 }";
    let setup = Sidestream::before(&backend.url).upstream(group).stream("heartbeat: 20ms");
    let proxy = setup.more("metrics: { models: [m] }").start().await;
    // More than one at once, so that some wait for the server.
    let (address, backend) = (proxy.address, Arc::new(backend));
    let traffic = tokio::spawn(async move {
        tokio::join!(traffic(address, backend.clone()), traffic(address, backend));
    });
    let prometheus = Prometheus::start(proxy.admin);
    let queries = dashboard_queries();
    assert!(queries.len() > 50, "{}", queries.len());
    for query in queries {
        let answered = until(async || {
            assert!(!traffic.is_finished(), "there is traffic");
            prometheus.answers(&query).await.then_some(())
        });
        if tokio::time::timeout(Duration::from_secs(60), answered).await.is_err() {
            panic!("no data for {query}");
        }
    }
    let rules = prometheus.get("/api/v1/rules").soon().await;
    let groups = rules["data"]["groups"].as_array().expect("rules");
    let rules: Vec<&Value> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
    assert_eq!(rules.len(), 13);
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:?}");
    traffic.abort();

    let text = proxy.scrape().await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(MISSING);
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a reader");
    let output = promtool.wait_with_output().expect("an end");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_alert_rules_are_valid_and_fire_when_they_should() {
    for arguments in [
        &["check", "rules", "alerts.yml"][..],
        &["check", "config", "prometheus.yml"],
        &["test", "rules", "alerts_test.yml"],
    ] {
        let mut promtool = Command::new("promtool");
        let output = promtool.args(arguments).current_dir(conf("prometheus")).output().expect(MISSING);
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}
