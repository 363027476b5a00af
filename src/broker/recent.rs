//! What is remembered for a while, in bounded room: of attempts, whoever makes them.
//!
//! Nothing is kept as it was sent: keys are prints of it that mean nothing outside of this process.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ring::hmac;
use tokio::time::Instant;

/// Bytes of a print.
const PRINT_BYTES: usize = 16;

/// What stands for texts or bytes: nobody can make one, or look for what it was made of, without the
/// key of this process.
pub(super) type Print = [u8; PRINT_BYTES];

/// Makes prints.
#[derive(Clone)]
pub(super) struct Prints(hmac::Key);

impl Prints {
    /// With a key of its own.
    pub(super) fn new() -> Self {
        let [one, two] = [(); 2].map(|()| uuid::Uuid::new_v4().into_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, &[one, two].concat()))
    }

    /// The print of parts, each with its length: what was one part is never two.
    pub(super) fn of(&self, parts: &[&[u8]]) -> Print {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut print = Print::default();
        print.copy_from_slice(&context.sign().as_ref()[..PRINT_BYTES]);
        print
    }
}

/// A map that forgets what nobody has looked at for one to two periods. It has two generations of at
/// most `max` entries; a full one makes the older go.
pub(super) struct Recent<V> {
    young: HashMap<Print, V>,
    old: HashMap<Print, V>,
    max: usize,
    period: Duration,
    since: Instant,
}

impl<V: Clone> Recent<V> {
    pub(super) fn new(max: usize, period: Duration) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { young, old, max, period, since: Instant::now() }
    }

    /// What is remembered; it is remembered for longer now.
    pub(super) fn get(&mut self, print: &Print) -> Option<V> {
        self.turn();
        if let Some(value) = self.young.get(print) {
            return Some(value.clone());
        }
        let value = self.old.remove(print)?;
        self.put(*print, value.clone());
        Some(value)
    }

    pub(super) fn put(&mut self, print: Print, value: V) {
        self.turn();
        self.young.insert(print, value);
        if self.young.len() >= self.max {
            self.age();
        }
    }

    pub(super) fn remove(&mut self, print: &Print) {
        self.young.remove(print);
        self.old.remove(print);
    }

    fn turn(&mut self) {
        let passed = self.since.elapsed();
        if passed >= self.period {
            self.age();
        }
        if passed >= 2 * self.period {
            self.old.clear();
        }
    }

    fn age(&mut self) {
        self.old = std::mem::take(&mut self.young);
        self.since = Instant::now();
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, which one machine has whole.
pub(super) fn one_address(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(from) => IpAddr::V6(Ipv6Addr::from_bits(from.to_bits() >> 64 << 64)),
        from => from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_tell_parts_apart() {
        let prints = Prints::new();
        assert_eq!(prints.of(&[b"ab", b"c"]), prints.of(&[b"ab", b"c"]));
        assert_ne!(prints.of(&[b"ab", b"c"]), prints.of(&[b"a", b"bc"]));
        assert_ne!(prints.of(&[b"ab"]), Prints::new().of(&[b"ab"]), "each process has its own key");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_looks_at_is_forgotten_and_the_room_is_bounded() {
        let prints = Prints::new();
        let print = |n: usize| prints.of(&[&n.to_be_bytes()]);
        let mut recent = Recent::new(10, Duration::from_secs(60));
        recent.put(print(0), 'a');
        recent.put(print(1), 'b');
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(59)).await;
            assert_eq!(recent.get(&print(0)), Some('a'), "it is looked at");
        }
        assert_eq!(recent.get(&print(1)), None);
        tokio::time::advance(Duration::from_secs(200)).await;
        assert_eq!(recent.get(&print(0)), None);
        for n in 0..1000 {
            recent.put(print(n), 'x');
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.get(&print(999)), Some('x'));
        recent.remove(&print(999));
        assert_eq!(recent.get(&print(999)), None);
    }

    #[test]
    fn an_address_of_ipv6_is_a_network() {
        let one = |text: &str| one_address(text.parse().expect("an address")).to_string();
        assert_eq!(one("2001:db8:1:2:aaaa::1"), "2001:db8:1:2::");
        assert_eq!(one("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(one("192.0.2.7"), "192.0.2.7");
    }
}
