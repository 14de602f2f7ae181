//! How a server is chosen: `balance` and `hash`.

use super::group::{Balance, HashKey, HashPolicy};
use super::issue::{At, ConfigIssue};
use super::key::Entry::Value as Scalar;
use super::key::{Key, Many, Section, key, required};
use super::keys::{Keys, Node};
use super::request_key::HASH_KEY;
use super::tree::Value;
use super::values::{FACTOR, Word, word};

impl Word for Balance {
    fn words() -> Vec<(&'static str, Self)> {
        vec![
            ("least_streams", Self::LeastStreams),
            ("round_robin", Self::RoundRobin),
            ("p2c", Self::PowerOfTwo),
            ("hash", Self::Hash),
        ]
    }
}

pub static BALANCE: Key<Balance> = key(
    "balance",
    "0.1.0",
    word::<Balance>(),
    "least_streams",
    "How a server is chosen. `least_streams`: the one with the fewest streams for its weight. `round_robin`: in turn. `p2c`: the \
     better of two random ones, for many sidecars before the same servers. `hash`: the one that the same key always gets.",
);

pub static HASH: Section = Section {
    example: "{ key: header:x-session-id }",
    ..Section::new(
        "hash",
        "0.1.0",
        "The key by which `balance: hash` chooses. It is allowed with that only.",
        &[Scalar(&HASH_KEYS.row), Scalar(&BALANCE_FACTOR.row)],
    )
};

pub static HASH_KEYS: Key<HashKey> = required(
    "key",
    "0.1.0",
    HASH_KEY,
    "header:x-session-id",
    "`header:NAME`, `cookie:NAME`, `body:MEMBER` or `address`, or a list of them. The first one that a request has counts. \
     Requests with none of them go to the server with the fewest streams.",
)
.many(Many::OneOrList);

pub static BALANCE_FACTOR: Key<u32> = key(
    "balance_factor",
    "0.1.0",
    FACTOR,
    "1.5",
    "A server with more than this many times the mean number of streams is passed over. Below 1.25 keys change servers all the \
     time.",
);

/// Reads `balance` and `hash`.
pub fn balance(keys: &mut Keys) -> (Balance, HashPolicy) {
    let balance = keys.checked(&BALANCE);
    let is_hash = balance == Some(Balance::Hash);
    let hash = match keys.take(HASH.name) {
        Some(node) if node.value.is_null() => {
            node.report_empty(&HASH);
            None
        }
        Some(node) if is_hash || balance.is_none() || *node.value == Value::Unusable => {
            Some(self::hash(node.keys(&HASH)))
        }
        Some(Node { path, mistakes, .. }) => {
            let remedy = "write that too, or leave this out";
            mistakes.push(ConfigIssue::new(path, "this is for `balance: hash` only", remedy).at(At::Key));
            None
        }
        None => {
            if is_hash {
                let remedy = format!("add the key that `balance` uses: `hash: {}`", HASH.example);
                keys.missing(HASH.name, &remedy);
            }
            None
        }
    };
    (balance.unwrap_or_else(|| BALANCE.default()), hash.unwrap_or_default())
}

fn hash(mut keys: Keys) -> HashPolicy {
    let hash_keys = keys.list(&HASH_KEYS);
    if hash_keys.is_none() {
        keys.missing_key(&HASH_KEYS);
    }
    let balance_percent = keys.get(&BALANCE_FACTOR);
    keys.finish();
    HashPolicy { keys: hash_keys.unwrap_or_default(), balance_percent }
}

impl Default for HashPolicy {
    fn default() -> Self {
        Self { keys: Vec::new(), balance_percent: BALANCE_FACTOR.default() }
    }
}
