//! One call of a sink: under a deadline, safe from panics, always one outcome per record.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use contract::{DeliveryError, FailureKind, Outcome, Record, Sink};
use futures_util::FutureExt as _;

/// What came of a call.
pub(super) struct Tried {
    /// One for each record.
    pub(super) outcomes: Vec<Outcome>,
    /// The deadline passed: fewer records may get through.
    pub(super) late: bool,
}

/// Calls the sink. A sink that panics over several records is called again with each by itself, so
/// that one record can't hold up the others for ever.
pub(super) async fn attempt(sink: &dyn Sink, records: &[Record], deadline: Duration) -> Tried {
    let first = call(sink, records, deadline).await;
    if let (Err(Panicked), true) = (&first, records.len() > 1) {
        let mut outcomes = Vec::with_capacity(records.len());
        let mut late = false;
        for record in records {
            // Order: nothing of the batch may overtake what is tried again.
            if let Some(again @ (Outcome::Retry(_) | Outcome::Misconfigured(_))) = outcomes.last() {
                let again = again.clone();
                outcomes.push(again);
                continue;
            }
            let tried = settled(call(sink, std::slice::from_ref(record), deadline).await, 1);
            late |= tried.late;
            outcomes.extend(tried.outcomes);
        }
        return Tried { outcomes, late };
    }
    settled(first, records.len())
}

/// The sink has panicked.
struct Panicked;

fn settled(result: Result<Tried, Panicked>, count: usize) -> Tried {
    result.unwrap_or_else(|Panicked| {
        let error = DeliveryError::new(
            FailureKind::Rejected,
            "the sink failed unexpectedly; this is a defect of the sink",
        );
        Tried { outcomes: Outcome::all(&error, count), late: false }
    })
}

async fn call(sink: &dyn Sink, records: &[Record], deadline: Duration) -> Result<Tried, Panicked> {
    let call = AssertUnwindSafe(sink.deliver(records)).catch_unwind();
    let error = match tokio::time::timeout(deadline, call).await {
        Ok(Ok(outcomes)) if outcomes.len() == records.len() => {
            return Ok(Tried { outcomes, late: false });
        }
        Ok(Err(_panic)) => return Err(Panicked),
        Ok(Ok(outcomes)) => DeliveryError::new(
            FailureKind::Misconfigured,
            format!(
                "the sink answered {} outcomes for {} records; this is a defect of the sink",
                outcomes.len(),
                records.len()
            ),
        ),
        // What the sink has sent may have been taken: nobody knows.
        Err(_elapsed) => DeliveryError::new(
            FailureKind::Unknown,
            format!("no answer within the deadline of {deadline:?}"),
        ),
    };
    let late = error.kind == FailureKind::Unknown;
    Ok(Tried { outcomes: Outcome::all(&error, records.len()), late })
}
