//! A member of a consumer group: where it starts in the partitions that it is given, and since when it
//! has them. Reading and committing belong to the source.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::connection::Context;

/// How long a question to the cluster may take while partitions are being given out.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// What a consumer is told by its group.
#[derive(Default)]
pub(super) struct Member {
    context: Context,
    /// Whether partitions of which the group has read nothing are read from their end.
    from_end: bool,
    tenures: Mutex<Tenures>,
}

/// A moment in the order of a member's assignments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Moment(u64);

/// When each partition was last given or taken away. There are as many entries as partitions that
/// the member has ever had.
#[derive(Debug, Default)]
struct Tenures {
    now: Moment,
    changed: BTreeMap<String, BTreeMap<i32, Moment>>,
}

impl Tenures {
    fn change<'a>(&mut self, partitions: impl Iterator<Item = (&'a str, i32)>) {
        self.now.0 += 1;
        for (topic, partition) in partitions {
            self.changed.entry(topic.to_owned()).or_default().insert(partition, self.now);
        }
    }

    /// True when a partition has been the member's without a break since a moment.
    fn held_since(&self, topic: &str, partition: i32, moment: Moment) -> bool {
        let changed = self.changed.get(topic).and_then(|partitions| partitions.get(&partition));
        changed.is_none_or(|changed| *changed <= moment)
    }
}

impl Member {
    pub(super) fn new(from_end: bool) -> Self {
        Self { from_end, ..Self::default() }
    }

    /// The connection's part: logs and errors.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The present moment, to be kept with what is read now.
    pub(super) fn now(&self) -> Moment {
        self.tenures.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    /// True when a partition has been the member's without a break since a moment: what was read
    /// then may be committed now. Otherwise somebody reads it again, from the offset that the group
    /// has, and committing could skip or go back.
    pub(super) fn held_since(&self, topic: &str, partition: i32, moment: Moment) -> bool {
        let tenures = self.tenures.lock().unwrap_or_else(PoisonError::into_inner);
        tenures.held_since(topic, partition, moment)
    }

    fn change(&self, partitions: &TopicPartitionList) {
        let elements = partitions.elements();
        let names = elements.iter().map(|element| (element.topic(), element.partition()));
        self.tenures.lock().unwrap_or_else(PoisonError::into_inner).change(names);
    }

    /// Lets partitions of which the group has read nothing start at their present end, and commits
    /// that: what comes from then on is not skipped when the first of it is refused.
    fn start_at_end(
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
    ) -> KafkaResult<TopicPartitionList> {
        let committed = consumer.committed_offsets(partitions.clone(), ASK_TIMEOUT)?;
        let mut started = TopicPartitionList::new();
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            element.error()?;
            if element.offset() == Offset::Invalid {
                let (_, end) = consumer.fetch_watermarks(topic, partition, ASK_TIMEOUT)?;
                partitions.set_partition_offset(topic, partition, Offset::Offset(end))?;
                started.add_partition_offset(topic, partition, Offset::Offset(end))?;
            }
        }
        Ok(started)
    }

    fn given(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
    ) -> KafkaResult<()> {
        let started = match self.from_end {
            true => Self::start_at_end(consumer, partitions).unwrap_or_else(|error| {
                // Too much is read rather than too little.
                tracing::warn!("partitions without an offset are read from their start: {error}");
                TopicPartitionList::new()
            }),
            false => TopicPartitionList::new(),
        };
        self.change(partitions);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions)?,
            _ => consumer.assign(partitions)?,
        }
        if started.count() > 0 {
            consumer.commit(&started, CommitMode::Async)?;
        }
        Ok(())
    }

    fn taken(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> KafkaResult<()> {
        self.change(partitions);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.context.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.given(consumer, partitions)
            }
            // Also what the group calls an error: partitions are given up, and given out anew.
            _ => self.taken(consumer, partitions),
        };
        if let Err(error) = done {
            tracing::warn!("the group's partitions could not be taken over: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r29_offsets_belong_to_one_tenure() {
        let mut tenures = Tenures::default();
        tenures.change([("a", 0), ("a", 1)].into_iter());
        let first = tenures.now;
        assert!(tenures.held_since("a", 0, first) && tenures.held_since("a", 1, first));
        // One is taken away, the other stays.
        tenures.change([("a", 0)].into_iter());
        assert!(!tenures.held_since("a", 0, first) && tenures.held_since("a", 1, first));
        // It comes back: what was read before is read again.
        tenures.change([("a", 0)].into_iter());
        assert!(!tenures.held_since("a", 0, first) && tenures.held_since("a", 0, tenures.now));
        // Given once more without having been taken away.
        tenures.change([("a", 1)].into_iter());
        assert!(!tenures.held_since("a", 1, first) && tenures.held_since("a", 1, tenures.now));
    }
}
