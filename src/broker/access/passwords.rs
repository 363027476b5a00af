//! Checking passwords when many ask at once: what was proven is known, and who guesses waits behind
//! himself.
//!
//! A check takes a core for a good part of a second, before anything is known of the client. So
//! - a password that was right is right for as long as clients use it, without a check, and one that
//!   was wrong is wrong; both are kept as prints, which hold the stored hash, too: a changed one makes
//!   them worthless;
//! - of one name at one address one check runs at a time, and after a few wrong passwords there is a
//!   pause before the next, twice as long each time;
//! - of one address one check runs at a time, so that each gets its turn;
//! - a name that nobody has waits for the same turns, and costs no core.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, OwnedMutexGuard, Semaphore};
use tokio::time::Instant;

use super::password_hash::PasswordHash;
use crate::recent::{Print, Prints, Recent, one_address};

/// Passwords that are remembered as right, and as wrong.
const VERDICTS_MAX: usize = 4096;

/// How long a right password is known after it was last used; at most twice that.
const RIGHT_KEPT: Duration = Duration::from_secs(3600);

/// How long a wrong one is.
const WRONG_KEPT: Duration = Duration::from_secs(300);

/// Addresses and names whose turns are remembered, and how long at least.
const TURNS_MAX: usize = 8192;
const TURNS_KEPT: Duration = Duration::from_secs(600);

/// Wrong passwords of one name at one address before there is a pause, the first pause, and how often
/// it is doubled.
const FREE: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
const DOUBLED_MAX: u32 = 5;

/// Checks passwords.
pub(super) struct Passwords {
    prints: Prints,
    right: Mutex<Recent<()>>,
    wrong: Mutex<Recent<()>>,
    turns: Mutex<Recent<Arc<Turn<Pace>>>>,
    /// Half of the cores: the other half is for those who are in.
    cores: Arc<Semaphore>,
    /// How long the last check took, in microseconds; 0 before the first.
    usual_us: Arc<AtomicU64>,
}

/// A name and a password that somebody has sent.
pub(super) struct Asked<'a> {
    pub name: &'a str,
    /// The name is somebody's, and `hash` is his; otherwise `hash` is only to take as long.
    pub known: bool,
    pub hash: &'a PasswordHash,
    pub password: &'a [u8],
    pub from: IpAddr,
}

/// How soon who has a turn may be checked.
#[derive(Debug)]
struct Pace {
    failures: u32,
    next: Instant,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            prints: Prints::new(),
            right: Mutex::new(Recent::new(VERDICTS_MAX, RIGHT_KEPT)),
            wrong: Mutex::new(Recent::new(VERDICTS_MAX, WRONG_KEPT)),
            turns: Mutex::new(Recent::new(TURNS_MAX, TURNS_KEPT)),
            cores: Arc::new(Semaphore::new((cores / 2).max(1))),
            usual_us: Arc::default(),
        }
    }
}

impl Passwords {
    /// True when the name is known and the password is the one that was hashed.
    pub(super) async fn check(&self, asked: Asked<'_>) -> bool {
        let Asked { name, known, hash, password, from } = asked;
        let stored = if known { hash.to_string() } else { String::new() };
        let print = self.prints.of(&[name.as_bytes(), stored.as_bytes(), password]);
        if let Some(verdict) = self.verdict(&print) {
            return verdict;
        }
        let (address, name) = (one_address(from).to_string(), name.as_bytes());
        let mut pace = self.turn(&[b"both", address.as_bytes(), name]).await;
        // Others may have asked the same while this one waited.
        if let Some(verdict) = self.verdict(&print) {
            return verdict;
        }
        tokio::time::sleep_until(pace.next).await;
        // Not one of the name as well: who guesses it elsewhere would be waited for here, and by others.
        let turn = self.turn(&[b"address", address.as_bytes()]).await;
        let right = match known {
            true => match self.work(hash, password).await {
                Some(right) => right,
                None => return false,
            },
            false => {
                drop(turn);
                self.pretend(hash, password).await;
                false
            }
        };
        let verdicts = if right { &self.right } else { &self.wrong };
        verdicts.lock().unwrap_or_else(PoisonError::into_inner).put(print, ());
        pace.failures = if right { 0 } else { pace.failures.saturating_add(1) };
        if let Some(more) = pace.failures.checked_sub(FREE) {
            pace.next = Instant::now() + PAUSE * 2_u32.pow(more.min(DOUBLED_MAX));
        }
        right
    }

    fn verdict(&self, print: &Print) -> Option<bool> {
        let knows = |verdicts: &Mutex<Recent<()>>| {
            verdicts.lock().unwrap_or_else(PoisonError::into_inner).get(print).is_some()
        };
        if knows(&self.right) {
            return Some(true);
        }
        knows(&self.wrong).then_some(false)
    }

    /// Waits for a turn; those who wait for the same get it in the order of their coming.
    async fn turn(&self, of: &[&[u8]]) -> OwnedMutexGuard<Pace> {
        let print = self.prints.of(of);
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.get(&print).unwrap_or_else(|| {
                let fresh = Arc::new(Turn::new(Pace { failures: 0, next: Instant::now() }));
                turns.put(print, Arc::clone(&fresh));
                fresh
            })
        };
        turn.lock_owned().await
    }

    /// Takes as long as a check, for nothing; the first shows how long that is.
    async fn pretend(&self, hash: &PasswordHash, password: &[u8]) {
        // One of many that come at once is enough.
        let first = self.usual_us.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
        match first {
            Ok(_) => {
                self.work(hash, password).await;
            }
            Err(usual) => tokio::time::sleep(Duration::from_micros(usual)).await,
        }
    }

    /// Checks on a thread of its own; nothing when the daemon ends meanwhile. A client that goes leaves
    /// its core occupied to the end.
    async fn work(&self, hash: &PasswordHash, password: &[u8]) -> Option<bool> {
        let core = Arc::clone(&self.cores).acquire_owned().await.ok()?;
        let (hash, password) = (hash.clone(), password.to_vec());
        let usual_us = Arc::clone(&self.usual_us);
        let work = move || {
            let start = std::time::Instant::now();
            let right = hash.verify(&password);
            let took = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            usual_us.store(took, Ordering::Relaxed);
            drop(core);
            right
        };
        tokio::task::spawn_blocking(work).await.ok()
    }
}
