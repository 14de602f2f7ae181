//! `balance: hash`: maps each key to the same server while that server is not overloaded. Sans-IO.

use std::time::Instant;

use super::balance::{BalancePolicy, GroupMember, Selection};

/// Streams above its share that a server may always carry, whatever `balance_percent` allows. With few
/// streams, the random deviation from the mean is large.
const MIN_OVERFLOW: f64 = 8.0;

/// Weighted rendezvous hashing. Each server has a score for the key; the highest score that is not overloaded
/// wins. When a server joins or leaves, only its own keys move.
pub fn by_key<S>(
    members: &[GroupMember<S>],
    policy: &BalancePolicy,
    key: u64,
    now: Instant,
    is_up: impl Fn(&GroupMember<S>) -> bool,
) -> Option<(usize, Selection)> {
    let up = || members.iter().enumerate().filter(|(_, member)| is_up(member));
    let (streams, weights) = up().fold((1.0, 0.0), |(streams, weights), (_, member)| {
        (streams + f64::from(member.standing.slots), weights + member.weight(policy, now))
    });
    let factor = f64::from(policy.balance_percent) / 100.0;
    // The best (score, index) of three sets: the configured servers, those below the load limit, and those with a free
    // slot.
    let (mut own, mut balanced, mut roomy) = (None, None, None);
    for (index, member) in members.iter().enumerate().filter(|(_, member)| !member.is_leaving) {
        let weight = member.weight(policy, now);
        let score = score(key, member.hash, weight);
        let raise = |best: &mut Option<(f64, usize)>| {
            if best.is_none_or(|(highest, _)| score > highest) {
                *best = Some((score, index));
            }
        };
        if !member.config.is_backup {
            // Counted even while it is down: a request that goes elsewhere is then an overflow.
            raise(&mut own);
        }
        if !is_up(member) || !member.has_room() {
            continue;
        }
        raise(&mut roomy);
        let (carries, mean) = (f64::from(member.standing.slots + 1), streams * weight / weights);
        if carries <= mean * factor || carries <= mean + MIN_OVERFLOW {
            raise(&mut balanced);
        }
    }
    let (_, index) = balanced.or(roomy)?;
    let is_own = own.is_some_and(|(_, own)| own == index);
    Some((index, if is_own { Selection::Affinity } else { Selection::Overflow }))
}

/// The share of keys that a server wins equals its share of the weights.
fn score(key: u64, server: u64, weight: f64) -> f64 {
    // A double holds 53 bits. The 0.5 keeps the value above 0, where the logarithm is undefined.
    #[allow(clippy::cast_precision_loss)]
    let uniform = ((mix(key ^ server) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -weight / uniform.ln()
}

/// A hash that is the same in every process and version, because several sidecars must agree (FNV-1a, then
/// mixed).
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// Spreads differences in a few bits over all bits (the finalizer of SplitMix64).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
