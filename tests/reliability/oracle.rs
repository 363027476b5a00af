//! The oracle: which messages were sent, and which of them the daemon has acknowledged. Those are its
//! obligations.
//!
//! A message is sent once: what was not acknowledged is followed by a new one, so that everything that
//! arrives twice was repeated by the daemon. What arrived is the recorder's business.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// What became of a message at its source.
#[derive(Clone, Copy)]
pub(super) struct Duty {
    /// When it was sent, in microseconds of the oracle's clock.
    pub(super) sent_us: u64,
    pub(super) acknowledged: bool,
}

/// All messages of a test, by device and number.
pub(super) struct Oracle {
    began: Instant,
    /// Bytes of a payload.
    bytes: usize,
    devices: Box<[Mutex<Vec<Duty>>]>,
    acknowledged: AtomicU64,
    /// When the last acknowledgement came, in microseconds.
    last_us: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

impl Oracle {
    /// For so many devices and payloads of about so many bytes.
    pub(super) fn new(devices: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            bytes,
            devices: (0..devices).map(|_| Mutex::default()).collect(),
            acknowledged: AtomicU64::new(0),
            last_us: AtomicU64::new(0),
            complaints: Mutex::default(),
        })
    }

    /// Microseconds since the oracle was made.
    pub(super) fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// How many devices there are.
    pub(super) fn devices(&self) -> usize {
        self.devices.len()
    }

    /// The next message of a device, from now on sent: its number and its payload.
    pub(super) fn send(&self, device: usize) -> (u64, Vec<u8>) {
        let sent_us = self.now_us();
        let mut duties = self.duties(device);
        duties.push(Duty { sent_us, acknowledged: false });
        let n = duties.len() as u64 - 1;
        drop(duties);
        (n, payload(device, n, self.bytes))
    }

    /// The daemon has acknowledged a message.
    pub(super) fn acknowledge(&self, device: usize, n: u64) {
        self.duties(device)[n as usize].acknowledged = true;
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        self.last_us.store(self.now_us(), Ordering::Relaxed);
    }

    /// How many messages were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// When the last acknowledgement came, in microseconds.
    pub(super) fn last_us(&self) -> u64 {
        self.last_us.load(Ordering::Relaxed)
    }

    /// The messages of a device.
    pub(super) fn duties(&self, device: usize) -> MutexGuard<'_, Vec<Duty>> {
        self.devices[device].lock().expect("lock")
    }

    /// Something that the daemon may never do.
    pub(super) fn complain(&self, what: String) {
        self.complaints.lock().expect("lock").push(what);
    }

    /// Fails when the daemon did what it may never do.
    pub(super) fn check(&self) {
        let complaints = self.complaints.lock().expect("lock");
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

/// The topic of a device.
pub(super) fn topic(device: usize) -> String {
    format!("/pk/dev{device}/user/data")
}

/// The payload of a message, to the byte; `SELECT *` leaves it as it is.
pub(super) fn payload(device: usize, n: u64, bytes: usize) -> Vec<u8> {
    let mut text = format!(r#"{{"d":{device},"n":{n},"s":""#).into_bytes();
    let mut state = (device as u64) << 40 ^ n ^ 0x9e37_79b9_7f4a_7c15;
    while text.len() + 2 < bytes {
        // Knuth's MMIX generator: other letters for every message.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(b'a' + (state >> 59) as u8 % 26);
    }
    text.extend_from_slice(br#""}"#);
    text
}

/// Which message a payload is; `None` when a single byte of it is not as it was sent.
pub(super) fn identify(body: &[u8]) -> Option<(usize, u64)> {
    let text = std::str::from_utf8(body).ok()?;
    let (device, rest) = text.strip_prefix(r#"{"d":"#)?.split_once(r#","n":"#)?;
    let (n, _) = rest.split_once(',')?;
    let (device, n) = (device.parse().ok()?, n.parse().ok()?);
    (payload(device, n, body.len()) == body).then_some((device, n))
}

#[test]
fn a_payload_tells_which_message_it_is_and_whether_it_is_whole() {
    let whole = payload(3, 17, 128);
    assert_eq!((whole.len(), identify(&whole)), (128, Some((3, 17))));
    let mut broken = whole.clone();
    broken[60] ^= 1;
    assert_eq!(identify(&broken), None);
    assert_eq!(identify(&whole[..100]), None);
}
