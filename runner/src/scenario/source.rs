//! The texts that a scenario is read from.

use serde::{Deserialize, Serialize};

/// One file that a scenario was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceText {
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}
