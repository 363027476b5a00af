//! Pages of lists: which one a request asks for.

use super::call::Call;
use super::error::{self, ApiError};

/// Which page of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) number: u32,
    pub(crate) size: u32,
}

impl Page {
    /// `CurrentPage` from 1 and `PageSize` from 1 to `most`; without them the first page of 10.
    pub(crate) fn of(call: &Call, most: u32) -> Result<Self, ApiError> {
        Self::up_to(u32::MAX, call, most)
    }

    /// The same, with `last` as the last page that can be asked for.
    pub(crate) fn up_to(last: u32, call: &Call, most: u32) -> Result<Self, ApiError> {
        let read = |name, default: u32, most: u32| {
            let number = call.number(name, 1..=u64::from(most), error::PAGE)?;
            Ok(number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default))
        };
        Ok(Self { number: read("CurrentPage", 1, last)?, size: read("PageSize", 10, most)? })
    }

    /// Entries before the page.
    pub(crate) fn offset(self) -> u64 {
        u64::from(self.number - 1) * u64::from(self.size)
    }

    /// How many pages so many entries fill.
    pub(crate) fn count(self, total: u64) -> u64 {
        total.div_ceil(u64::from(self.size))
    }
}
