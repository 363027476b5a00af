//! After a restart: lanes for what the log has for versions of rules that do not run any more.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::delivery::{Lane, LaneLimits, LaneParts};
use crate::spool::Cursor;
use crate::storage::Storage;
use crate::storage::journal::Version;
use rule::{ActionPlace, CompiledRule, Compiler, Rule};

/// What was left of earlier versions.
#[derive(Default)]
pub(super) struct Restored {
    pub(super) lanes: Vec<Arc<Lane>>,
    /// What cannot be delivered, and why.
    pub(super) stuck: Vec<String>,
}

/// An earlier version, and the lane of its error action.
type Earlier = (CompiledRule, Option<Arc<Lane>>);

/// Makes the lanes of all cursors that no rule has claimed. They end where their version did, or at
/// the end of the log.
pub(super) fn restore(
    storage: &Arc<Storage>,
    compiler: &Compiler,
    limits: LaneLimits,
    runtime: &Handle,
) -> Restored {
    let mut restored = Restored::default();
    let mut compiled: HashMap<*const Rule, Option<Earlier>> = HashMap::new();
    let mut left = storage.take_unclaimed();
    // Error actions first: the others of their version give up to them.
    left.sort_by_key(|(_, version)| {
        version.as_ref().is_none_or(|version| version.place != ActionPlace::Error)
    });
    let end = storage.status().end;
    for (cursor, version) in left {
        let Some(Version { rule, place, end: ended }) = version else {
            let (name, position) = (cursor.name(), cursor.position());
            tracing::error!(
                cursor = name,
                "the journal does not know what {} records of the log wait for; they are not delivered",
                end.saturating_sub(position)
            );
            storage.let_go(&[name]);
            continue;
        };
        let one = compiled.entry(Arc::as_ptr(&rule)).or_insert_with(|| {
            let result = compiler.compile(Arc::clone(&rule));
            result.map(|compiled| (compiled, None)).map_err(|faults| {
                let faults: Vec<String> =
                    faults.iter().map(|fault| format!("{}: {}", fault.path, fault.problem)).collect();
                restored.stuck.push(format!(
                    "rule `{}`, earlier version: what waits for it cannot be delivered: {}; mend that and restart the daemon",
                    rule.name, faults.join("; ")
                ));
            }).ok()
        });
        let Some((compiled, errors)) = one else { continue };
        let sink = match place {
            ActionPlace::Nth(place) => compiled.sinks.get(place),
            ActionPlace::Error => compiled.error_sink.as_ref(),
        };
        let Some(sink) = sink else { continue };
        let parts = LaneParts {
            rule: Arc::clone(&rule),
            query: compiled.query.clone(),
            place,
            sink: Arc::clone(sink),
            limits,
            runtime: runtime.clone(),
        };
        let lane = Lane::new(parts, errors.clone());
        lane.leave();
        if place == ActionPlace::Error {
            *errors = Some(Arc::clone(&lane));
        } else {
            lane.retire(ended.unwrap_or(end));
        }
        begin(storage, &lane, cursor, end);
        restored.lanes.push(lane);
    }
    restored
}

fn begin(storage: &Arc<Storage>, lane: &Arc<Lane>, cursor: Cursor, end: u64) {
    let (rule, action) = (&lane.rule().name, lane.name());
    let records = end.saturating_sub(cursor.position());
    tracing::info!(
        rule,
        action = &**action,
        "an earlier version goes on; {records} messages of the log are ahead of it"
    );
    lane.begin(storage, cursor, end);
}
