//! What stands here for a LoRaWAN network: `lora:` of the configuration.

use schemars::JsonSchema;
use serde::Deserialize;

/// A permission to join a LoRaWAN network, as the vendor's management of networks would keep it. No
/// network server stands behind it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinPermission {
    /// What `JoinPermissionId` says, such as `8001`.
    pub id: String,
    /// For people.
    pub name: String,
    /// How its nodes listen: `A`, `B` or `C`.
    #[serde(default)]
    pub class: ClassMode,
    /// `LOCAL` or `ROAMING`.
    #[serde(default, rename = "type")]
    pub kind: JoinType,
    /// The JoinEUI that its nodes send, told to who registers them.
    #[serde(default)]
    pub join_eui: Option<String>,
    /// Products can be made for it; true by default.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn enabled() -> bool {
    true
}

/// How nodes listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum ClassMode {
    /// After they have sent.
    #[default]
    A,
    /// Also at set times.
    B,
    /// Whenever they do not send.
    C,
}

impl ClassMode {
    /// The vendor's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

/// Where a permission holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum JoinType {
    /// In networks of the owner.
    #[default]
    Local,
    /// In those of others, too.
    Roaming,
}

impl JoinType {
    /// The vendor's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "LOCAL",
            Self::Roaming => "ROAMING",
        }
    }
}
