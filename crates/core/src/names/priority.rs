//! The priority of a work item.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{NameError, text_traits};

/// The priority of a work item; the order of the variants is the order of urgency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Taken eight times as often as `low`.
    Critical,
    /// Taken four times as often as `low`.
    High,
    /// Taken twice as often as `low`; what a subject without a priority has.
    #[default]
    Normal,
    /// Taken least often, never starved.
    Low,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// Its share of the turns when every priority has work waiting: 8, 4, 2, 1.
    pub fn weight(self) -> u32 {
        match self {
            Self::Critical => 8,
            Self::High => 4,
            Self::Normal => 2,
            Self::Low => 1,
        }
    }

    /// Its name in subjects and headers.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl FromStr for Priority {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|p| p.as_str() == text);
        found.ok_or_else(|| {
            NameError::new(text, "a priority", "write critical, high, normal or low")
        })
    }
}

text_traits!(Priority);
