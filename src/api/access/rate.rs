//! How many requests one access key may send: a bucket of tokens for each.
//!
//! It is asked once a signature is good, so that nobody can use up what belongs to another.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Refused;

/// Keys whose buckets are kept; beyond, those that are full again are dropped, which changes nothing.
const KEYS_MAX: usize = 10_000;

/// One request, in the unit that buckets are counted in.
const TOKEN: u64 = 1000;

/// The buckets of all keys.
#[derive(Debug)]
pub struct Rates {
    /// Requests per second; 0 is any number.
    per_second: u64,
    /// Requests at once.
    burst: u64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of a request.
    left: u64,
    at_ms: u64,
}

impl Rates {
    /// Lets each key send that many requests per second, and a number of them at once. With 0 per
    /// second nothing is refused.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let (per_second, burst) = (u64::from(per_second), u64::from(burst.max(1)));
        Self { per_second, burst, buckets: Mutex::default() }
    }

    /// Takes one request out of a key's bucket.
    ///
    /// # Errors
    /// [`Refused::Throttled`] when there is none.
    pub fn take(&self, key_id: &str, now_ms: u64) -> Result<(), Refused> {
        if self.per_second == 0 {
            return Ok(());
        }
        let full = self.burst * TOKEN;
        // A thread that panicked while it held the lock left what it protects usable.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(key_id) {
            if buckets.len() >= KEYS_MAX {
                buckets.retain(|_, bucket| self.filled(*bucket, now_ms) < full);
            }
            if buckets.len() >= KEYS_MAX {
                buckets.clear();
            }
            buckets.insert(key_id.to_owned(), Bucket { left: full, at_ms: now_ms });
        }
        let Some(bucket) = buckets.get_mut(key_id) else { return Ok(()) };
        let left = self.filled(*bucket, now_ms);
        let taken = left.checked_sub(TOKEN);
        *bucket = Bucket { left: taken.unwrap_or(left), at_ms: now_ms };
        match taken {
            Some(_) => Ok(()),
            None => Err(Refused::Throttled(format!(
                "more than {} requests per second of one key (`limits.api.requests_per_second`)",
                self.per_second
            ))),
        }
    }

    /// What a bucket has at a time: a thousandth of the rate for each millisecond.
    fn filled(&self, bucket: Bucket, now_ms: u64) -> u64 {
        let more = now_ms.saturating_sub(bucket.at_ms).saturating_mul(self.per_second);
        bucket.left.saturating_add(more).min(self.burst * TOKEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_with_time() {
        let rates = Rates::new(10, 3);
        let ok = |key: &str, now| rates.take(key, now).is_ok();
        assert!(ok("a", 0) && ok("a", 0) && ok("a", 0));
        assert!(matches!(rates.take("a", 99), Err(Refused::Throttled(_))));
        assert!(ok("a", 100) && !ok("a", 100));
        assert!(ok("b", 100), "each key has its own");
        // It holds no more than the burst, however long nobody takes.
        assert!(ok("a", 90_000) && ok("a", 90_000) && ok("a", 90_000) && !ok("a", 90_000));
        // A clock that goes back gives nothing and takes nothing.
        assert!(!ok("a", 50_000));
        assert!(ok("a", 50_100));
        assert!((0..1000).all(|_| Rates::new(0, 1).take("a", 0).is_ok()));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let rates = Rates::new(1, 1);
        for n in 0..KEYS_MAX + 1 {
            rates.take(&n.to_string(), 0).expect("the first");
        }
        assert!(rates.buckets.lock().expect("free").len() <= KEYS_MAX);
    }
}
