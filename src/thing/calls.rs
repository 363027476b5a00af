//! Calls of devices that somebody waits for: which answers are due, until when, and on what topic.
//!
//! It knows no vendor's protocol and no payload: who calls says what is sent and where the answer
//! will come. Calls that nobody waits for leave nothing here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use contract::{Ack, Message, Topic};
use tokio::sync::oneshot;

use super::Downlink;

/// Calls that may be waited for at the same time.
pub const CALLS_MAX: usize = 10_000;

/// Ids of device messages stay below this: devices read them into 32 bits.
const SHORT_IDS: u64 = 1 << 31;

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The device is not connected.
    #[error("the device is offline")]
    Offline,
    /// The connection ended while the call waited.
    #[error("the connection of the device ended before it answered")]
    HalfOpen,
    /// The device did not answer in time.
    #[error("the device did not answer in time")]
    Timeout,
    /// The device's queue is full, or too many calls wait.
    #[error("the call could not be queued; try again")]
    Busy,
}

/// The calls that wait.
#[derive(Debug)]
pub struct Calls {
    waiting: Mutex<HashMap<u64, Waiting>>,
    most: usize,
    short: AtomicU64,
    long: AtomicU64,
    counts: Counts,
}

#[derive(Debug)]
struct Waiting {
    answered_on: Topic,
    answer: oneshot::Sender<Bytes>,
}

#[derive(Debug, Default)]
struct Counts {
    made: AtomicU64,
    answered: AtomicU64,
    timed_out: AtomicU64,
    late: AtomicU64,
}

/// What became of calls since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallCounts {
    /// Calls that somebody waited for.
    pub made: u64,
    /// Those that a device answered in time.
    pub answered: u64,
    /// Those that it did not.
    pub timed_out: u64,
    /// Answers that nobody waited for any more, or ever.
    pub late: u64,
}

/// A call of a device.
pub struct Request<'a> {
    /// From [`Calls::short_id`] or [`Calls::long_id`].
    pub id: u64,
    /// What the device gets.
    pub message: Message,
    /// Where its answer will come.
    pub answered_on: Topic,
    /// Whose device it is.
    pub product_key: &'a str,
    /// Its name.
    pub device_name: &'a str,
    /// The longest that is waited.
    pub patience: Duration,
}

impl Calls {
    /// No calls; ids go on from that time, in milliseconds since 1970.
    #[must_use]
    pub fn new(now_ms: u64, most: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            most,
            short: AtomicU64::new(now_ms % SHORT_IDS),
            // Seconds, shifted: below 2^53 until the year 2242, so that every JSON parser keeps them.
            long: AtomicU64::new((now_ms / 1000) << 20),
            counts: Counts::default(),
        }
    }

    /// An id of at most ten digits, as devices expect it within a message.
    pub fn short_id(&self) -> u64 {
        // Never 0, which some devices take for none.
        self.short.fetch_add(1, Ordering::Relaxed) % (SHORT_IDS - 1) + 1
    }

    /// An id of 16 digits, below 2^53.
    pub fn long_id(&self) -> u64 {
        self.long.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request and waits for its answer. Who gives up waiting earlier leaves nothing behind.
    ///
    /// # Errors
    /// A [`CallError`].
    pub async fn call(&self, to: &dyn Downlink, request: Request<'_>) -> Result<Bytes, CallError> {
        let Request { id, message, answered_on, product_key, device_name, patience } = request;
        if to.connection(product_key, device_name).is_none() {
            return Err(CallError::Offline);
        }
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.len() >= self.most || waiting.contains_key(&id) {
                return Err(CallError::Busy);
            }
            waiting.insert(id, Waiting { answered_on, answer });
        }
        let _due = Due { calls: self, id };
        add(&self.counts.made);
        // Who waits for the answer needs no promise that the request survives.
        if !to.publish(&message, &mut Ack::none()) {
            return Err(CallError::Busy);
        }
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(payload)) => {
                add(&self.counts.answered);
                Ok(payload)
            }
            _ => {
                add(&self.counts.timed_out);
                match to.connection(product_key, device_name) {
                    Some(_) => Err(CallError::Timeout),
                    None => Err(CallError::HalfOpen),
                }
            }
        }
    }

    /// Hands an answer to who waits for it; false when nobody does. An answer on another topic than
    /// the one it is due on is none.
    pub fn answer(&self, id: u64, on: &Topic, payload: &Bytes) -> bool {
        let found = {
            let mut waiting = self.lock();
            match waiting.get(&id) {
                Some(due) if due.answered_on == *on => waiting.remove(&id),
                _ => None,
            }
        };
        let taken = found.is_some_and(|due| due.answer.send(payload.clone()).is_ok());
        if !taken {
            add(&self.counts.late);
        }
        taken
    }

    /// True when somebody waits for an answer with that id on that topic.
    #[must_use]
    pub fn is_due(&self, id: u64, on: &Topic) -> bool {
        self.lock().get(&id).is_some_and(|due| due.answered_on == *on)
    }

    /// How many calls wait at present.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    /// What became of calls so far.
    #[must_use]
    pub fn counts(&self) -> CallCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CallCounts {
            made: read(&self.counts.made),
            answered: read(&self.counts.answered),
            timed_out: read(&self.counts.timed_out),
            late: read(&self.counts.late),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a call out of the table when nobody waits for it any more, however that ended.
struct Due<'a> {
    calls: &'a Calls,
    id: u64,
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.id);
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use contract::TopicLimits;

    use super::*;
    use crate::Connection;

    /// A device that takes what it is sent, and does nothing.
    struct Line {
        online: Mutex<bool>,
        takes: bool,
    }

    impl Downlink for Line {
        fn publish(&self, _: &Message, _: &mut Ack) -> bool {
            self.takes
        }

        fn connection(&self, _: &str, _: &str) -> Option<Connection> {
            self.online.lock().expect("lock").then(Connection::default)
        }
    }

    fn topic(text: &str) -> Topic {
        Topic::parse(text, TopicLimits::default()).expect("topic")
    }

    fn request(id: u64) -> Request<'static> {
        Request {
            id,
            message: Message::new(topic("/down"), "{}", 0),
            answered_on: topic("/up"),
            product_key: "pk",
            device_name: "dn",
            patience: Duration::from_secs(5),
        }
    }

    fn line(takes: bool) -> Line {
        Line { online: Mutex::new(true), takes }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_finds_who_waits_for_it() {
        let calls = Arc::new(Calls::new(0, 2));
        let waiting = Arc::clone(&calls);
        let call = tokio::spawn(async move { waiting.call(&line(true), request(7)).await });
        tokio::task::yield_now().await;
        let payload = Bytes::from("yes");
        assert!(!calls.answer(7, &topic("/elsewhere"), &payload));
        assert!(!calls.answer(8, &topic("/up"), &payload));
        assert!(calls.answer(7, &topic("/up"), &payload));
        assert!(!calls.answer(7, &topic("/up"), &payload), "only once");
        assert_eq!(call.await.expect("task"), Ok(payload));
        let counts = CallCounts { made: 1, answered: 1, timed_out: 0, late: 3 };
        assert_eq!((calls.counts(), calls.waiting()), (counts, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_in_time_and_leaves_nothing() {
        let calls = Calls::new(0, 2);
        let to = line(true);
        assert_eq!(calls.call(&to, request(1)).await, Err(CallError::Timeout));
        assert_eq!(calls.call(&line(false), request(1)).await, Err(CallError::Busy));
        let gone = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            *to.online.lock().expect("lock") = false;
        };
        let (answer, ()) = tokio::join!(calls.call(&to, request(2)), gone);
        assert_eq!(answer, Err(CallError::HalfOpen));
        assert_eq!(calls.call(&to, request(3)).await, Err(CallError::Offline));
        assert_eq!(calls.waiting(), 0);
        assert_eq!(calls.counts().timed_out, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_wait_than_may() {
        let calls = Calls::new(0, 2);
        let to = line(true);
        let all = tokio::join!(
            calls.call(&to, request(1)),
            calls.call(&to, request(1)),
            calls.call(&to, request(2)),
            calls.call(&to, request(3)),
        );
        let (busy, late) = (Err(CallError::Busy), Err(CallError::Timeout));
        assert_eq!(all, (late.clone(), busy.clone(), late, busy));
    }

    #[test]
    fn ids_fit_devices_and_parsers() {
        let calls = Calls::new(1_763_755_200_000, 2);
        assert!(calls.long_id() < 1 << 53 && calls.long_id() > 1 << 50);
        for _ in 0..3 {
            assert!((1..SHORT_IDS).contains(&calls.short_id()));
        }
        let end = Calls::new(SHORT_IDS - 2, 2);
        assert_eq!((end.short_id(), end.short_id()), (SHORT_IDS - 1, 1));
    }
}
