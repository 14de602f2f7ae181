//! Tests of server groups without a network, with a virtual time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::balance::{MemberId, Needs, Selection};
use super::group::{Assignment, Before, Change, Grant, Group, Moves, Refusal, ServerVerdict, Spec};
use crate::config::{self, UpstreamConfig};

type TestGroup = Group<String, u32>;

/// Parses an upstream with these servers, such as `a, { url: http://b, weight: 2 }`, and these keys.
fn config(servers: &str, keys: &str) -> Arc<UpstreamConfig> {
    let yaml = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nupstreams: {{ llm: {{ servers: [{servers}], {keys} }} }}\n"
    );
    let config = config::parse(&yaml, "test.yaml").unwrap_or_else(|error| panic!("{yaml}\n{error}"));
    config.upstreams[0].clone()
}

fn group(servers: &str, keys: &str, now: Instant) -> TestGroup {
    let config = config(servers, keys);
    let mut group = Group::new(config.clone(), fastrand::Rng::with_seed(7));
    configure(&mut group, config, now);
    group
}

fn configure(group: &mut TestGroup, config: Arc<UpstreamConfig>, now: Instant) -> Moves {
    let spec = |server: &config::ServerConfig| {
        let name = server.origin.to_string().trim_end_matches(":80").to_owned();
        Spec { config: server.clone(), server: name.clone(), name }
    };
    let specs = config.servers.iter().map(spec).collect();
    group.configure(config, specs, now)
}

fn ask(group: &mut TestGroup, needs: &Needs, now: Instant) -> Assignment<String> {
    group.admit(needs, true, now, || 0)
}

/// Takes a slot for a request without constraints.
fn take(group: &mut TestGroup, now: Instant) -> Grant<String> {
    grant(ask(group, &Needs::default(), now))
}

fn grant(assignment: Assignment<String>) -> Grant<String> {
    match assignment {
        Assignment::Granted(grant) => grant,
        other => panic!("{other:?}"),
    }
}

fn free(group: &mut TestGroup, grant: &Grant<String>) {
    let now = Instant::now();
    group.release(grant.id, grant.is_trial, now, || now);
}

fn slots(group: &TestGroup) -> HashMap<&str, u32> {
    group.members().iter().map(|member| (member.name(), member.standing.slots)).collect()
}

fn fail(group: &mut TestGroup, id: MemberId, now: Instant) -> Option<Change> {
    group.judge(id, ServerVerdict::Failed, false, || now)
}

fn eject(group: &mut TestGroup, server: &str, now: Instant) -> MemberId {
    let id = group.members().iter().find(|member| member.name() == server).map(|member| member.id);
    let id = id.unwrap_or_else(|| panic!("{server} is there"));
    let changes = [(); 3].map(|()| fail(group, id, now));
    assert_eq!(changes, [None, None, Some(Change::Ejected(Before::In))]);
    id
}

const THREE: &str = "http://a, http://b, http://c";

#[test]
fn streams_are_spread_by_load_relative_to_weight() {
    let now = Instant::now();
    let mut group = group("http://a, { url: http://b, weight: 2 }, http://c", "", now);
    for _ in 0..40 {
        take(&mut group, now);
    }
    assert_eq!(slots(&group), HashMap::from([("http://a", 10), ("http://b", 20), ("http://c", 10)]));
}

#[test]
fn ties_are_broken_at_random() {
    let now = Instant::now();
    let mut group = group(THREE, "", now);
    let mut drawn: HashMap<String, u32> = HashMap::new();
    for _ in 0..300 {
        let grant = take(&mut group, now);
        free(&mut group, &grant);
        *drawn.entry(grant.server).or_default() += 1;
    }
    assert!(drawn.len() == 3 && drawn.values().all(|count| *count > 70), "{drawn:?}");
}

#[test]
fn round_robin_follows_the_weights_without_bursts() {
    let now = Instant::now();
    let mut group = group("{ url: http://a, weight: 3 }, http://b, http://c", "balance: round_robin", now);
    let turns: String =
        (0..10).map(|_| take(&mut group, now).server.trim_start_matches("http://").to_owned()).collect();
    assert_eq!(turns, "abacaabaca");
}

#[test]
fn power_of_two_choices_spreads_streams() {
    let now = Instant::now();
    let mut group = group(THREE, "balance: p2c", now);
    for _ in 0..90 {
        take(&mut group, now);
    }
    assert!(slots(&group).values().all(|slots| (25..=35).contains(slots)), "{:?}", slots(&group));
}

#[test]
fn the_better_of_two_is_the_only_one_that_is_up() {
    let now = Instant::now();
    let mut group = group("http://a, http://b", "balance: p2c", now);
    eject(&mut group, "http://a", now);
    assert!((0..20).all(|_| take(&mut group, now).server == "http://b"));
}

fn key(value: u64) -> Needs {
    Needs { key: Some(super::affinity::hash(&value.to_le_bytes())), ..Needs::default() }
}

const BY_KEY: &str = "balance: hash, hash: { key: header:x-session }";

#[test]
fn only_the_keys_of_a_server_that_leaves_move() {
    let now = Instant::now();
    let mut group = group("http://a, http://b, http://c, http://d", BY_KEY, now);
    let mut homes = || -> Vec<String> {
        let mut home = |value| {
            let grant = grant(ask(&mut group, &key(value), now));
            free(&mut group, &grant);
            grant.server
        };
        (0..400).map(&mut home).collect()
    };
    let before = homes();
    assert_eq!(before, homes(), "the same key must get the same server");
    for server in ["http://a", "http://b", "http://c", "http://d"] {
        let share = before.iter().filter(|home| *home == server).count();
        assert!((60..140).contains(&share), "{server}: {share} of 400");
    }
    configure(&mut group, config("http://a, http://b, http://d", BY_KEY), now);
    for (value, before) in before.iter().enumerate().filter(|(_, before)| *before != "http://c") {
        let grant = grant(ask(&mut group, &key(value as u64), now));
        free(&mut group, &grant);
        assert_eq!(grant.server, *before);
    }
}

#[test]
fn a_key_with_too_many_streams_overflows_to_its_next_server() {
    let now = Instant::now();
    let mut group = group("http://a, http://b, http://c, http://d", BY_KEY, now);
    let mut selections = HashMap::new();
    for value in 0..400 {
        // 30 % of the streams have the same key.
        let needs = key(if value % 10 < 3 { 7 } else { value });
        *selections.entry(grant(ask(&mut group, &needs, now)).selection).or_insert(0) += 1;
    }
    assert!(slots(&group).values().all(|slots| *slots <= 150), "{:?}", slots(&group));
    assert!(selections[&Selection::Overflow] > 0 && selections[&Selection::Affinity] > 300, "{selections:?}");
}

#[test]
fn a_key_whose_server_is_out_overflows() {
    let now = Instant::now();
    let mut group = group(THREE, BY_KEY, now);
    let home = grant(ask(&mut group, &key(1), now)).server;
    eject(&mut group, &home, now);
    let elsewhere = grant(ask(&mut group, &key(1), now));
    assert_ne!(elsewhere.server, home);
    assert_eq!(elsewhere.selection, Selection::Overflow);
}

#[test]
fn a_full_server_is_skipped_for_its_keys() {
    let now = Instant::now();
    let mut group = group("http://a, http://b", &format!("max_streams: 1, {BY_KEY}"), now);
    let first = grant(ask(&mut group, &key(1), now));
    let second = grant(ask(&mut group, &key(1), now));
    assert_ne!(first.server, second.server);
    assert!(matches!(ask(&mut group, &key(1), now), Assignment::Refused(Refusal::Full(_))));
}

#[test]
fn backups_serve_when_no_other_is_up_and_not_when_others_are_full() {
    let now = Instant::now();
    let servers = "{ url: http://a, max_streams: 1 }, http://c, { url: http://b, backup: true }";
    let mut group = group(servers, "max_streams: 2, outlier_detection: { max_ejection_percent: 100 }", now);
    for _ in 0..3 {
        assert_ne!(take(&mut group, now).server, "http://b");
    }
    assert!(matches!(ask(&mut group, &Needs::default(), now), Assignment::Refused(Refusal::Full(_))));
    eject(&mut group, "http://a", now);
    eject(&mut group, "http://c", now);
    assert_eq!(take(&mut group, now).server, "http://b");
}

#[test]
fn the_queue_is_first_come_first_served() {
    let now = Instant::now();
    let mut group = group("http://a", "max_streams: 1, queue: { size: 3 }", now);
    let mut running = take(&mut group, now);
    for waiter in 1..=3 {
        let queued = group.admit(&Needs::default(), true, now, || waiter);
        assert!(matches!(queued, Assignment::Queued(_)), "{queued:?}");
    }
    let Assignment::Refused(Refusal::Full(after)) = ask(&mut group, &Needs::default(), now) else {
        panic!("the queue is full, so the request must be refused");
    };
    assert!((Duration::from_secs(1)..=Duration::from_secs(60)).contains(&after), "{after:?}");
    assert!(group.dispatch(now).is_empty());
    for waiter in 1..=3 {
        free(&mut group, &running);
        let refused = group.admit(&Needs::default(), false, now, || 9);
        assert!(
            matches!(refused, Assignment::Refused(Refusal::Full(_))),
            "the slot belongs to a queued request"
        );
        let [(granted, grant)] = &group.dispatch(now)[..] else {
            panic!("exactly one request must be granted")
        };
        assert_eq!(*granted, waiter);
        running = Grant { server: grant.server.clone(), ..*grant };
    }
}

#[test]
fn retry_after_is_estimated_from_the_requests_ahead() {
    let now = Instant::now();
    let mut group = group("http://a", "max_streams: 2, queue: { size: 9 }", now);
    for _ in 0..50 {
        let grant = take(&mut group, now);
        group.release(grant.id, false, now, || now + Duration::from_secs(4));
    }
    let _running = [take(&mut group, now), take(&mut group, now)];
    for _ in 0..9 {
        ask(&mut group, &Needs::default(), now);
    }
    // 10 requests of 4 s each, 2 at a time: 20 s, with 20 % of jitter.
    let after = group.retry_after().as_secs_f64();
    assert!((16.0..=24.0).contains(&after), "{after}");
}

#[test]
fn ejections_are_limited_and_spare_the_last_server() {
    let now = Instant::now();
    let mut one = group("http://a", "", now);
    let id = one.members()[0].id;
    assert_eq!([(); 9].map(|()| fail(&mut one, id, now)), [None; 9]);
    let mut five = group("http://a, http://b, http://c, http://d, http://e", "", now);
    for server in ["http://a", "http://b", "http://c"] {
        eject(&mut five, server, now);
    }
    let id = five.members().iter().find(|m| m.name() == "http://d").map(|m| m.id).unwrap_or(MemberId(0));
    assert_eq!(
        [(); 9].map(|()| fail(&mut five, id, now)),
        [None; 9],
        "50 % of five servers, rounded up, is three"
    );
}

#[test]
fn an_ejected_server_is_readmitted_by_a_trial() {
    let now = Instant::now();
    let mut group = group("http://a, http://b", "", now);
    let id = eject(&mut group, "http://a", now);
    assert!((0..20).all(|_| take(&mut group, now).server == "http://b"));
    let later = now + Duration::from_secs(10);
    let trial = take(&mut group, later);
    assert!(trial.is_trial && trial.id == id);
    assert!((0..20).all(|_| take(&mut group, later).server == "http://b"), "only one trial at a time");
    assert_eq!(group.judge(id, ServerVerdict::Good, true, || later), Some(Change::Readmitted));
    assert_eq!(take(&mut group, later).server, "http://a");
}

#[test]
fn the_server_that_returns_first_is_used_when_all_are_out() {
    let now = Instant::now();
    let mut group = group("http://a, http://b", "max_streams: 9, queue: { size: 9 }", now);
    eject(&mut group, "http://a", now);
    let other = group.members().iter().find(|m| m.name() == "http://b").map(|m| m.id);
    let busy = ServerVerdict::Busy(Duration::from_secs(60));
    group.judge(other.unwrap_or(MemberId(0)), busy, false, || now);
    let grant = take(&mut group, now);
    assert_eq!((grant.server.as_str(), grant.selection), ("http://a", Selection::Panic));
}

#[test]
fn servers_that_all_cool_down_still_get_requests() {
    let now = Instant::now();
    for queue in ["max_streams: 9, queue: { size: 9 }", ""] {
        let mut group = group("http://a, http://b", queue, now);
        for index in 0..2 {
            let (id, pause) = (group.members()[index].id, Duration::from_secs(5 + index as u64));
            group.judge(id, ServerVerdict::Busy(pause), false, || now);
        }
        let grant = take(&mut group, now);
        assert_eq!(
            (grant.server.as_str(), grant.selection),
            ("http://a", Selection::Panic),
            "its cooldown ends first"
        );
    }
}

#[test]
fn the_queue_is_served_when_a_cooldown_ends() {
    let now = Instant::now();
    let mut group = group("http://a, http://b", "max_streams: 1, queue: { size: 9 }", now);
    let _running = take(&mut group, now);
    let idle = group.members().iter().find(|member| member.standing.slots == 0).map(|member| member.id);
    let busy = ServerVerdict::Busy(Duration::from_secs(5));
    group.judge(idle.unwrap_or(MemberId(0)), busy, false, || now);
    assert!(matches!(ask(&mut group, &Needs::default(), now), Assignment::Queued(_)));
    assert!(group.dispatch(now).is_empty());
    let due = now + Duration::from_secs(5);
    assert_eq!(group.next_dispatch(now), Some(due));
    assert_eq!(group.dispatch(due).len(), 1);
}

#[test]
fn the_queue_is_served_when_the_cooldown_of_an_ejected_server_ends() {
    let now = Instant::now();
    let mut group = group("http://a, http://b", "max_streams: 1, queue: { size: 9 }", now);
    let id = eject(&mut group, "http://a", now);
    let later = now + Duration::from_secs(10);
    let _running = take(&mut group, now);
    let trial = take(&mut group, later);
    assert!(trial.is_trial);
    let busy = ServerVerdict::Busy(Duration::from_secs(30));
    group.judge(id, busy, true, || later);
    group.release(id, true, later, || later);
    assert!(matches!(ask(&mut group, &Needs::default(), later), Assignment::Queued(_)));
    let due = later + Duration::from_secs(30);
    assert_eq!(group.next_dispatch(later), Some(due));
    assert!(group.dispatch(due).iter().all(|(_, grant)| grant.is_trial));
    assert_eq!(group.queued(), 0);
}

#[test]
fn the_last_server_that_is_up_is_not_ejected() {
    let now = Instant::now();
    let keys = "health: { path: /, fails: 1 }, outlier_detection: { max_ejection_percent: 100 }";
    let mut group = group(THREE, keys, now);
    for index in 0..2 {
        let id = group.members()[index].id;
        assert_eq!(group.probed(id, false, false, now), Some(Change::WentDown(Before::In)));
    }
    let id = group.members()[2].id;
    assert_eq!([(); 9].map(|()| fail(&mut group, id, now)), [None; 9]);
}

#[test]
fn a_failure_found_by_answers_and_probes_counts_once() {
    let now = Instant::now();
    let keys = "health: { path: /, fails: 1 }, outlier_detection: { consecutive_failures: 1 }";
    let mut answers_first = group(THREE, keys, now);
    let id = answers_first.members()[0].id;
    assert_eq!(fail(&mut answers_first, id, now), Some(Change::Ejected(Before::In)));
    assert_eq!(answers_first.probed(id, false, false, now), Some(Change::WentDown(Before::Out)));

    let mut probes_first = group(THREE, keys, now);
    let id = probes_first.members()[0].id;
    assert_eq!(probes_first.probed(id, false, false, now), Some(Change::WentDown(Before::In)));
    assert_eq!(fail(&mut probes_first, id, now), Some(Change::Ejected(Before::Out)));
}

#[test]
fn a_server_that_has_failed_a_request_does_not_get_it_again() {
    let now = Instant::now();
    let mut group = group("http://a, http://b", "", now);
    let first = take(&mut group, now);
    let needs = Needs { tried: vec![first.id], ..Needs::default() };
    let second = grant(ask(&mut group, &needs, now));
    assert_ne!(first.server, second.server);
    assert_eq!(second.selection, Selection::Failover);
    let needs = Needs { tried: vec![first.id, second.id], ..Needs::default() };
    assert!(matches!(ask(&mut group, &needs, now), Assignment::Refused(Refusal::Exhausted)));
}

#[test]
fn a_reload_keeps_state_and_lets_removed_servers_finish_streams() {
    let now = Instant::now();
    let mut group = group(THREE, "", now);
    eject(&mut group, "http://a", now);
    let grants: Vec<_> = (0..4).map(|_| take(&mut group, now)).collect();
    let moves = configure(&mut group, config("http://a, http://b, http://d", ""), now);
    let (joined, leaving) = (vec!["http://d".to_owned()], vec!["http://c".to_owned()]);
    assert_eq!(moves, Moves { joined, leaving, gone: Vec::new() });
    assert_eq!(slots(&group)["http://b"], 2);
    assert_eq!(slots(&group)["http://c"], 2, "a removed server keeps its streams");
    let ejected = group.members().iter().find(|member| member.name() == "http://a");
    assert!(ejected.is_some_and(|member| member.standing.is_ejected()));
    assert!((0..20).all(|_| take(&mut group, now).server != "http://c"));
    grants.iter().for_each(|grant| free(&mut group, grant));
    assert!(!slots(&group).contains_key("http://c"), "a removed server goes with its last stream");
}

#[test]
fn grpc_goes_to_http2_servers_only() {
    let now = Instant::now();
    let mut mixed = group("http://a, h2://b", "", now);
    let needs = Needs { needs_http2: true, ..Needs::default() };
    assert!((0..9).all(|_| grant(ask(&mut mixed, &needs, now)).server == "h2://b"));
    let mut none = group("http://a", "", now);
    assert!(matches!(ask(&mut none, &needs, now), Assignment::Refused(Refusal::NoHttp2)));
}

#[derive(Clone, Copy, Debug)]
enum GroupStep {
    Ask,
    Free(usize),
    FailOver(usize),
    LeaveQueue(usize),
    Fail(usize),
    Pass(u64),
    Reload(bool),
}

fn steps() -> impl Strategy<Value = Vec<GroupStep>> {
    let step = prop_oneof![
        4 => Just(GroupStep::Ask),
        3 => any::<usize>().prop_map(GroupStep::Free),
        1 => any::<usize>().prop_map(GroupStep::FailOver),
        1 => any::<usize>().prop_map(GroupStep::LeaveQueue),
        1 => any::<usize>().prop_map(GroupStep::Fail),
        1 => (0u64..20).prop_map(GroupStep::Pass),
        1 => any::<bool>().prop_map(GroupStep::Reload),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// For any sequence of steps: no server exceeds `max_streams`, no request waits while a slot is free or while it
    /// holds one, and all counters return to zero.
    #[test]
    fn slots_and_queue_places_are_accounted_for(steps in steps()) {
        let keys = "max_streams: 3, queue: { size: 5 }";
        let mut now = Instant::now();
        let mut group = group(THREE, keys, now);
        let (mut running, mut waiting): (Vec<Grant<String>>, Vec<_>) = Default::default();
        for step in steps {
            match step {
                GroupStep::Ask => match ask(&mut group, &Needs::default(), now) {
                    Assignment::Granted(grant) => running.push(grant),
                    Assignment::Queued(ticket) => waiting.push(ticket),
                    Assignment::Refused(_) => {}
                },
                GroupStep::Free(any) if !running.is_empty() => {
                    let grant = running.swap_remove(any % running.len());
                    free(&mut group, &grant);
                }
                GroupStep::FailOver(any) if !running.is_empty() => {
                    let held = running[any % running.len()].id;
                    let needs = Needs { tried: vec![held], ..Needs::default() };
                    let has_other = group.has_other(&needs, now);
                    match group.admit(&needs, false, now, || 0) {
                        Assignment::Granted(grant) => {
                            prop_assert!(has_other && grant.id != held);
                            running.push(grant);
                        }
                        Assignment::Queued(_) => prop_assert!(false, "a request that holds a slot must not be queued"),
                        Assignment::Refused(_) => prop_assert!(!has_other),
                    }
                }
                GroupStep::LeaveQueue(any) if !waiting.is_empty() => {
                    let ticket = waiting.swap_remove(any % waiting.len());
                    group.leave(ticket);
                }
                GroupStep::Fail(any) if !running.is_empty() => {
                    let Grant { id, is_trial, .. } = running[any % running.len()];
                    group.judge(id, ServerVerdict::Failed, is_trial, || now);
                }
                GroupStep::Pass(seconds) => now += Duration::from_secs(seconds),
                GroupStep::Reload(all) => {
                    configure(&mut group, config(if all { THREE } else { "http://a, http://b" }, keys), now);
                }
                GroupStep::Free(_) | GroupStep::FailOver(_) | GroupStep::LeaveQueue(_) | GroupStep::Fail(_) => {}
            }
            running.extend(group.dispatch(now).into_iter().map(|(_, grant)| grant));
            let carried: u32 = group.members().iter().map(|member| member.standing.slots).sum();
            prop_assert_eq!(carried as usize, running.len());
            prop_assert!(group.members().iter().all(|member| member.standing.slots <= 3));
            let has_room = group.members().iter().any(|m| !m.is_leaving && m.has_room() && m.standing.is_up(now));
            prop_assert!(group.queued() == 0 || !has_room, "{} requests wait although a slot is free", group.queued());
        }
        running.iter().for_each(|grant| free(&mut group, grant));
        while let Some((_, grant)) = group.dispatch(now).pop() {
            free(&mut group, &grant);
        }
        waiting.into_iter().for_each(|ticket| { group.leave(ticket); });
        prop_assert_eq!(group.queued(), 0);
    }
}
