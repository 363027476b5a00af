//! What is kept of what devices post: `history:`.
//!
//! What is written and read is the matter of `history`.

use connectors::contract::Period;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::history::{self, Settings};

/// The history of what devices post and are asked, for `QueryDevicePropertyData` and the like: in
/// `data_dir/device_history.db`, or in the store when that is PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryForm {
    /// Without it nothing is kept, and those operations say so.
    pub enabled: bool,
    /// How long values are kept after their time, `30d` by default.
    pub keep: Period,
    /// Bytes that they may take in the file, 16 GiB by default; then the oldest make room. PostgreSQL
    /// gives no space back, so there only `keep` counts.
    pub max_bytes: u64,
}

/// Less would hold nothing worth asking for.
const LEAST_BYTES: u64 = 1 << 20;

impl Default for HistoryForm {
    fn default() -> Self {
        let keep = Period::new(history::Settings::default().keep);
        Self { enabled: true, keep, max_bytes: 16 << 30 }
    }
}

impl HistoryForm {
    /// What is kept; `None` when nothing is.
    #[must_use]
    pub fn settings(&self) -> Option<Settings> {
        let settings = Settings { keep: self.keep.get(), max_bytes: Some(self.max_bytes) };
        Some(settings).filter(|_| self.enabled)
    }

    /// The first setting with which nothing could be kept, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.keep.get().is_zero() {
            let text = "nothing would be kept; write `enabled: false` if that is meant";
            return Err(("history.keep", text.to_owned()));
        }
        if self.max_bytes < LEAST_BYTES {
            return Err(("history.max_bytes", format!("expected {LEAST_BYTES} bytes or more")));
        }
        Ok(())
    }
}
