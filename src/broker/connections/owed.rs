//! What a client is to be told about its messages once the engine has decided about them.
//!
//! It asks nobody: the connection polls the decisions and writes the answers.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use contract::Nacked;

use super::core::Core;
use crate::codec::Reason;
use crate::sessions::{Session, Shared};

/// Something that the engine will say.
pub(super) type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the engine, or the journal, will say about a batch.
pub(super) type Decision = Waiting<Result<(), Nacked>>;

/// How a message of a client is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerKind {
    /// QoS 1: PUBACK.
    Once,
    /// QoS 2: PUBREC, and the session remembers the identifier when the engine has accepted the message.
    ExactlyOnce,
    /// QoS 2: PUBREC, but an earlier packet has brought the message, or it was refused.
    Again,
}

/// What a client is to be told about a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub kind: AnswerKind,
    pub packet_id: u16,
    pub reason: Reason,
}

/// Acknowledgements that wait for the engine's decision about one batch.
pub(super) struct Owed {
    /// `None` when nothing of the batch went to the engine, and when it has decided.
    pub decision: Option<Decision>,
    /// Until what sessions keep of the batch is on disk.
    pub stored: Option<Decision>,
    /// Messages of QoS 2 that an earlier connection has brought and that are repeated here; the engine
    /// has to decide about them as well before the answers are due.
    pub repeated: Vec<u16>,
    pub answers: Vec<Answer>,
    /// Other packets that are due then.
    pub packets: Vec<u8>,
    /// One of them is SUBACK.
    pub is_sub_ack: bool,
}

impl Owed {
    /// The messages of QoS 2 that the engine is asked about here.
    fn undecided(&self) -> impl Iterator<Item = u16> {
        let mine = |answer: &&Answer| answer.kind == AnswerKind::ExactlyOnce;
        self.answers.iter().filter(mine).map(|answer| answer.packet_id)
    }

    /// Waits for the engine; the session learns at once what it has decided, so that nobody who waits for
    /// that waits for what is repeated here.
    pub(super) fn poll(
        &mut self,
        session: &Session,
        shared: &Shared,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Nacked>> {
        if let Some(decision) = &mut self.decision {
            let decided = ready!(decision.as_mut().poll(cx));
            self.decision = None;
            self.settle(session, decided.is_ok(), shared);
            decided?;
        }
        while let Some(&id) = self.repeated.last() {
            ready!(session.decided(id, cx))?;
            self.repeated.pop();
        }
        if let Some(stored) = &mut self.stored {
            ready!(stored.as_mut().poll(cx))?;
            self.stored = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Packets that wait until what they confirm is on disk.
    pub(super) fn packets(packets: Vec<u8>, is_sub_ack: bool, stored: Decision) -> Self {
        let (repeated, answers) = (Vec::new(), Vec::new());
        let (decision, stored) = (None, Some(stored));
        Self { decision, stored, repeated, answers, packets, is_sub_ack }
    }

    /// Tells the session what the engine has decided about messages of QoS 2.
    fn settle(&self, session: &Session, accepted: bool, shared: &Shared) {
        if self.undecided().next().is_none() {
            return;
        }
        if accepted {
            // After PUBREC with an error the identifier is free at once.
            let failed = |answer: &&Answer| {
                answer.kind == AnswerKind::ExactlyOnce && answer.reason.is_error()
            };
            let failed = self.answers.iter().filter(failed).map(|answer| answer.packet_id);
            session.forget(failed, shared);
        }
        session.decide(self.undecided(), accepted, shared);
    }
}

/// Tells a session what the engine decides about messages of QoS 2 whose connection has ended: over its
/// next connection the client asks for them. As many may wait as the engine's queue has room for.
pub(super) fn follow(mut owed: VecDeque<Owed>, session: &Arc<Session>, core: &Arc<Core>) {
    owed.retain(|owed| owed.decision.is_some() && owed.undecided().next().is_some());
    if owed.is_empty() {
        return;
    }
    let (session, core) = (Arc::clone(session), Arc::clone(core));
    tokio::spawn(async move {
        for mut owed in owed {
            if let Some(decision) = owed.decision.take() {
                let accepted = decision.await.is_ok();
                owed.settle(&session, accepted, core.shared());
            }
        }
    });
}
