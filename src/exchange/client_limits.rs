//! `limits.per_client`: the number of open requests per client.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Exchange;
use crate::config::{ClientKey, Matcher, PerClientLimit, RouteConfig, RoutePerClient};
use crate::downstream::Client;
use crate::headers::forwarded::Hop;
use crate::http1::Fields;
use crate::outcome::Failure;

/// The counts of all limited clients. A client has an entry only while it has open requests.
#[derive(Debug, Default)]
pub struct ClientLimits {
    /// Randomly keyed: the values are secrets, and collisions must not be predictable.
    hasher: RandomState,
    open: Mutex<HashMap<u64, u32>>,
}

/// Counts a request until it is dropped.
pub struct ClientSlot {
    limits: Arc<ClientLimits>,
    client: u64,
}

impl ClientLimits {
    /// Counts a request. `route` is set if the route has a limit of its own; the other routes share one.
    /// Returns `None` if the client cannot be identified.
    pub fn admit(
        self: &Arc<Self>,
        limit: &PerClientLimit,
        route: Option<&Matcher>,
        fields: &Fields,
        address: impl FnOnce() -> Option<IpAddr>,
    ) -> Result<Option<ClientSlot>, Failure> {
        let client = match &limit.key {
            ClientKey::Header(name) => {
                fields.value(name).map(|value| self.hasher.hash_one((route, name, value)))
            }
            ClientKey::Address => address().map(|address| self.hasher.hash_one((route, address))),
        };
        let Some(client) = client else { return Ok(None) };
        let mut open = self.open();
        let count = open.entry(client).or_default();
        if *count >= limit.max_streams.get() {
            return Err(Failure::TooManyStreams);
        }
        *count += 1;
        Ok(Some(ClientSlot { limits: self.clone(), client }))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.limits.open().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Exchange {
    /// Counts the request against the limit of its client. Fails if the limit is reached.
    pub fn count_for_client(&mut self, client: &Client) -> Result<(), Failure> {
        let Some(limit) = &self.route.per_client else { return Ok(()) };
        let RouteConfig { matcher, per_client, .. } = &*self.route.config;
        let route = matches!(per_client, RoutePerClient::Limit(_)).then_some(matcher);
        let fields = &client.request().fields;
        let address = || Hop { peer: client.peer(), listener: &self.listener }.client(fields);
        self.client_slot = self.proxy.client_limits.admit(limit, route, fields, address)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn clients_are_counted_separately_and_removed_when_idle() {
        let limits = Arc::new(ClientLimits::default());
        let max_streams = NonZeroU32::MIN.saturating_add(1);
        let limit = PerClientLimit { key: ClientKey::Header("authorization".into()), max_streams };
        let admit = |route, value: Option<&str>| {
            let mut fields = Fields::default();
            value.into_iter().for_each(|value| fields.append("Authorization", value));
            limits.admit(&limit, route, &fields, || None)
        };
        let is_counted = |route, value| admit(route, value).map(|slot| slot.is_some());
        let one = admit(None, Some("a"));
        let two = admit(None, Some("a"));
        assert!(matches!((&one, &two), (Ok(Some(_)), Ok(Some(_)))));
        let route = Matcher { path: Some("/v1".into()), ..Matcher::default() };
        for _ in 0..3 {
            assert_eq!(is_counted(None, Some("a")), Err(Failure::TooManyStreams));
            assert_eq!(is_counted(None, Some("b")), Ok(true));
            assert_eq!(is_counted(Some(&route), Some("a")), Ok(true));
            assert_eq!(is_counted(None, None), Ok(false));
        }
        assert_eq!(limits.open().values().collect::<Vec<_>>(), [&2]);
        drop(one);
        assert_eq!(is_counted(None, Some("a")), Ok(true));
        drop(two);
        assert!(limits.open().is_empty());
    }
}
