//! Files of devices: `files:`.
//!
//! How they are kept is told where that is done: in `thing`.

use connectors::contract::Period;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::thing::FileLimits;

/// Files that devices send; they are kept in `data_dir/files`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilesForm {
    /// Bytes of all files together, 1 GiB by default.
    pub max_bytes: u64,
    /// Bytes of one file, 16 MiB by default.
    pub max_file_bytes: u64,
    /// All files, 1000000 by default.
    pub max_files: u64,
    /// Files of one device, 1000 by default.
    pub per_device: u64,
    /// Their bytes, 1 GiB by default.
    pub per_device_bytes: u64,
    /// How long a link to a file is good, `1h` by default.
    pub link_age: Period,
    /// Scheme and host that links start with, such as `https://files.example`, when clients do not reach
    /// the HTTP listener under the name that they use for the API.
    pub url: Option<String>,
}

impl Default for FilesForm {
    fn default() -> Self {
        let limits = FileLimits::default();
        Self {
            max_bytes: limits.total_bytes,
            max_file_bytes: limits.bytes,
            max_files: limits.total,
            per_device: limits.per_device,
            per_device_bytes: limits.device_bytes,
            link_age: Period::new(std::time::Duration::from_secs(60 * 60)),
            url: None,
        }
    }
}

impl FilesForm {
    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> FileLimits {
        FileLimits {
            bytes: self.max_file_bytes,
            per_device: self.per_device,
            device_bytes: self.per_device_bytes,
            total: self.max_files,
            total_bytes: self.max_bytes,
        }
    }

    /// What is wrong with the links, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.url.as_deref() {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Err(format!("`{url}` is no URL; expected one such as `https://files.example`"))
            }
            _ => Ok(()),
        }
    }
}
