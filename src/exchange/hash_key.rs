//! The key of a request under `balance: hash`. Requests with the same key go to the same server.

use std::borrow::Cow;

use tokio::time::Instant;

use super::Exchange;
use super::attempt::until;
use super::upload::ClientEvent;
use crate::config::HashKey;
use crate::downstream::{Client, ClientLost};
use crate::headers::forwarded::Hop;
use crate::http1::Fields;
use crate::outcome::{Outcome, Phase};
use crate::upstream::hash;

/// The hash of the first configured key that the request has. Reads only as much of the body as needed.
pub async fn find(client: &mut Client, exchange: &mut Exchange) -> Result<Option<u64>, Outcome> {
    let route = exchange.route.config.clone();
    let keys = &route.upstream.hash.keys;
    let hop = Hop { peer: client.peer(), listener: &exchange.listener };
    let fields = &client.request().fields;
    let in_head = keys.iter().enumerate().find_map(|(at, key)| Some((at, value_in_head(key, fields, hop)?)));
    let (end, of_head) = match in_head {
        Some((at, value)) => (at, Some(hash_of(&keys[at], &value))),
        None => (keys.len(), None),
    };
    let members: Vec<_> = keys[..end].iter().filter_map(|key| Some((key, member(key)?))).collect();
    // gRPC calls contain no JSON. A client that sent `Expect` does not send its body before it gets an
    // answer.
    if members.is_empty() || exchange.is_grpc || fields.contains("Expect") {
        return Ok(of_head);
    }
    exchange.upload.watch_keys(members.iter().map(|(_, name)| *name));
    read_on(client, exchange).await?;
    let in_body = exchange.upload.take_key();
    Ok(in_body.map_or(of_head, |(index, value)| Some(hash_of(members[index].0, &value))))
}

/// Reads the request body until the key is found or can no longer occur.
async fn read_on(client: &mut Client, exchange: &mut Exchange) -> Result<(), Outcome> {
    while exchange.upload.seeks_key() {
        let end = exchange.max_duration_end().map(Instant::into_std);
        let (end, late) = exchange.waiting.end(&exchange.policy().session, end, true);
        let event = tokio::select! {
            event = exchange.upload.read_on(client) => event,
            () = until(end) => return Err(late.into()),
        };
        match event {
            ClientEvent::Uploaded => exchange.waiting.handle_received(Instant::now().into_std()),
            ClientEvent::Gone => return Err(exchange.cancel((), ClientLost::Gone, Phase::Connecting).await),
            ClientEvent::BadBody(bad) => return Err(bad.into()),
        }
    }
    Ok(())
}

/// The name of the key is part of the hash, because several keys may have the same value.
fn hash_of(key: &HashKey, value: &[u8]) -> u64 {
    hash(&[key.to_string().as_bytes(), b"=", value].concat())
}

fn member(key: &HashKey) -> Option<&str> {
    match key {
        HashKey::Body(member) => Some(member),
        HashKey::Header(_) | HashKey::Cookie(_) | HashKey::Address => None,
    }
}

/// The value of a key outside the body. An empty value counts as none: clients without a session have nothing
/// in common.
fn value_in_head<'a>(key: &HashKey, fields: &'a Fields, hop: Hop) -> Option<Cow<'a, [u8]>> {
    let value = match key {
        HashKey::Header(name) => fields.value(name)?.into(),
        HashKey::Cookie(name) => cookie(fields, name)?.into(),
        HashKey::Address => hop.client(fields)?.to_string().into_bytes().into(),
        HashKey::Body(_) => return None,
    };
    Some(value).filter(|value: &Cow<[u8]>| !value.is_empty())
}

/// The value of a cookie (RFC 6265, 5.4). Over HTTP/2, each cookie may be in a separate field (RFC 9113,
/// 8.2.3).
fn cookie<'a>(fields: &'a Fields, name: &str) -> Option<&'a [u8]> {
    let pairs = fields.values("Cookie").flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_in_one_field_or_several() {
        for (value, lines) in [
            (Some("1"), &["session=1"][..]),
            (Some("1"), &["a=b; session=1; c=d"]),
            (Some("1"), &["a=session=2;session=1"]),
            (Some("1=\"2\""), &["a=b", "xsession=3; session=1=\"2\""]),
            (Some("1"), &["session=1; session=2", "session=3"]),
            (None, &["Session=1; session; sessions=2; =session"]),
            (None, &["session=", "session"]),
            (None, &[]),
        ] {
            let mut fields = Fields::default();
            lines.iter().for_each(|line| fields.append("cookie", line));
            let found = cookie(&fields, "session").filter(|value| !value.is_empty());
            assert_eq!(found.map(String::from_utf8_lossy).as_deref(), value, "{lines:?}");
        }
    }

    #[test]
    fn the_hash_of_a_key_never_changes() {
        let [header, cookie] = [HashKey::Header("a".into()), HashKey::Cookie("a".into())];
        assert_eq!(hash_of(&header, b"1"), 0xf2ef_f527_8426_954a);
        assert_ne!(hash_of(&header, b"1"), hash_of(&cookie, b"1"));
        assert_ne!(hash_of(&header, b"1"), hash_of(&header, b"2"));
    }
}
