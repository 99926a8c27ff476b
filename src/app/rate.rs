//! How often one client may ask an app: a bucket of tokens for each, filled at the app's rate. A client is an address of
//! IPv4, or a /64 of IPv6, since within that hosts change theirs as they like.
//!
//! Shared by all workers, in shards whose locks are held for a lookup; an app without a bound has none of this.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::spec::RateSpec;
use crate::sync::{AtomicU64, Ordering};

/// Requests after which buckets that are full again are forgotten: so many clients are remembered in vain at most.
const ROUND: u64 = 8192;

/// The buckets of one app's clients.
#[derive(Debug)]
pub struct Rate {
    spec: RateSpec,
    buckets: DefaultKeyedRateLimiter<IpAddr>,
    asked: AtomicU64,
}

impl Rate {
    /// Full buckets for everybody.
    #[must_use]
    pub fn new(spec: RateSpec) -> Self {
        let burst = NonZeroU32::new(spec.burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_secs_f64(1.0 / spec.rps));
        // None for a period of nothing: the file names no rate above a million, and none below a thousandth.
        let quota = quota.map_or(Quota::per_second(burst), |quota| quota.allow_burst(burst));
        Self { spec, buckets: RateLimiter::keyed(quota), asked: AtomicU64::new(0) }
    }

    /// What it was made of.
    #[must_use]
    pub fn spec(&self) -> RateSpec {
        self.spec
    }

    /// Takes a token of this client's.
    ///
    /// # Errors
    /// In how long there is one, where there is none.
    pub fn take(&self, client: IpAddr) -> Result<(), Duration> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % ROUND == ROUND - 1 {
            self.buckets.retain_recent();
            self.buckets.shrink_to_fit();
        }
        let taken = self.buckets.check_key(&network(client));
        taken.map_err(|denied| denied.wait_time_from(DefaultClock::default().now()))
    }
}

fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        IpAddr::V4(_) => client,
    }
}
