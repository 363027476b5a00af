//! What the broker counts. Nothing is lost without a counter that goes up.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Numbers since the start, and a few present amounts. All are plain atomics.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// [`Counters`] at one moment (each number for itself).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Reads all numbers.
            #[must_use]
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Snapshot {
            /// All numbers with their names, for metrics.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Connections now, those before CONNECT included.
    connections,
    /// Clients that are connected now.
    clients,
    /// Devices that are logged in over a gateway's connection now.
    sub_devices,
    /// Sessions now, those of absent clients included.
    sessions,
    /// Subscriptions now.
    subscriptions,
    /// Retained messages now.
    retained,
    /// Bytes that wait for clients now.
    queued_bytes,
    /// Sessions with changes that are not on disk yet; the retained messages count as one.
    unsaved,
    /// Groups of changes of sessions that were written.
    commits,
    /// Attempts to write one that failed.
    commit_errors,
    /// Connections accepted from the listener.
    connections_accepted,
    /// Connections closed because there were too many.
    connections_refused,
    /// CONNECT packets that were read.
    connects,
    /// Connections closed because there were too many of their address.
    connections_crowded,
    /// CONNECT packets refused because user name or password was wrong.
    logins_failed,
    /// CONNECT packets refused: credentials, client identifier, version, limits.
    connects_refused,
    /// Connections that sent no complete CONNECT in time.
    connect_timeouts,
    /// Connections whose TLS or WebSocket handshake failed or took too long.
    handshakes_failed,
    /// Connections closed because of what the client sent.
    protocol_errors,
    /// Connections closed because nothing was heard from the client.
    keep_alive_timeouts,
    /// Sessions that another connection took over.
    takeovers,
    /// Sessions that would have been one too many.
    sessions_refused,
    /// Sessions that have ended because their clients were absent for too long.
    sessions_expired,
    /// Bytes read from clients.
    bytes_received,
    /// Bytes written to clients.
    bytes_sent,
    /// Packets of any kind from clients.
    packets_received,
    /// Packets of any kind sent to clients.
    packets_sent,
    /// PUBLISH packets from clients that were handed to the engine.
    messages_received,
    /// Bytes of their payloads.
    payload_bytes_received,
    /// PUBLISH packets sent to clients, repeated ones included.
    messages_sent,
    /// Bytes of their payloads.
    payload_bytes_sent,
    /// Times that a connection stopped reading because the engine's queue was full.
    backpressure,
    /// Batches that the engine refused; their connections were closed.
    batches_refused,
    /// PUBLISH packets with a topic name that is not acceptable.
    refused_topic,
    /// PUBLISH packets, and wills, to a topic that the client may not publish to, `$SYS/…` for all.
    refused_acl,
    /// PUBLISH packets whose payload is larger than the daemon takes.
    refused_payload,
    /// Retained messages not kept because there are too many.
    refused_retained,
    /// QoS 0 messages dropped because a client's queue was full.
    dropped_qos0,
    /// QoS 1 and 2 messages dropped because a client's queue was full.
    dropped_qos1,
    /// QoS 0 messages dropped because the client of a kept session was or became absent.
    dropped_offline,
    /// QoS 1 and 2 messages dropped with the session that they waited in.
    dropped_session,
    /// Messages dropped because their message expiry interval ended.
    dropped_expired,
    /// Messages dropped because they are larger than the client accepts.
    dropped_too_large,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

/// Takes from a present amount.
pub(super) fn sub(counter: &AtomicU64, count: usize) {
    counter.fetch_sub(count as u64, Ordering::Relaxed);
}

/// Adds to a present amount unless it would pass the limit.
pub(super) fn reserve(amount: &AtomicU64, size: usize, most: usize) -> bool {
    let size = size as u64;
    let before = amount.fetch_add(size, Ordering::Relaxed);
    let fits = before + size <= most as u64;
    if !fits {
        amount.fetch_sub(size, Ordering::Relaxed);
    }
    fits
}
