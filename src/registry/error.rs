//! Why the registry does not do what it is asked for.
//!
//! It knows no protocol's codes; who asks puts them on.

use rule::store::StoreError;

/// Why a change is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is no product of that key.
    #[error("there is no product `{0}`")]
    NoProduct(String),
    /// There is no such device.
    #[error("there is no device {0}")]
    NoDevice(String),
    /// Another product or device has the name.
    #[error("the name `{0}` is taken")]
    NameTaken(String),
    /// The limit of something is reached.
    #[error("there are {0} already, which is the limit")]
    Full(u64),
    /// There is no group of that id.
    #[error("there is no group `{0}`")]
    NoGroup(String),
    /// The group is of the last level: none can be in it.
    #[error("the group is of the last level, and no group can be in it")]
    GroupDepth,
    /// So many groups are in the group.
    #[error("{0} groups are in the group; delete them first")]
    SubGroups(u64),
    /// A device that is no gateway was to have sub-devices, or one that is a gateway was to be one.
    #[error("device `{0}` is {1} (NodeType of its product)")]
    NodeType(String, &'static str),
    /// There is no topic class of that id.
    #[error("there is no topic class {0}")]
    NoTopicClass(u64),
    /// There is no application of that id.
    #[error("there is no application {0}")]
    NoApply(u64),
    /// The application is not in a state in which devices can be made of it.
    #[error("application {0} can't be carried out: {1}")]
    ApplyState(u64, &'static str),
    /// The application is being carried out.
    #[error("application {0} is being carried out")]
    ApplyRunning(u64),
    /// The database does not work.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
