//! Names of which a recording has very many, but few different ones. Main type: [`Name`].

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name, shared by all entries that have it: a transfer has hundreds of thousands of segments, and each of them says
/// where it was captured.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<String>);

/// Maximum number of names that are remembered, for the next entry that has one of them.
const REMEMBERED: usize = 64;

thread_local! {
    /// The last ones.
    static LAST: RefCell<Vec<Name>> = const { RefCell::new(Vec::new()) };
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that is remembered, if there is one, or a new one.
    fn shared(name: &str) -> Self {
        LAST.with_borrow_mut(|last| {
            if let Some(known) = last.iter().find(|known| known.as_str() == name) {
                return known.clone();
            }
            if last.len() == REMEMBERED {
                last.clear();
            }
            let new = Self(Arc::new(name.to_owned()));
            last.push(new.clone());
            new
        })
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self::shared(name)
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self::shared(&name)
    }
}

impl From<&String> for Name {
    fn from(name: &String) -> Self {
        Self::shared(name)
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<String> for Name {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let [one, other] = ["client", "client"].map(Name::from);
        assert!(Arc::ptr_eq(&one.0, &other.0));
        let read: Name = serde_json::from_str("\"client\"").unwrap();
        assert!(Arc::ptr_eq(&one.0, &read.0));
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"client\"");
    }

    #[test]
    fn names_beyond_those_that_are_remembered_are_names_too() {
        let names: Vec<Name> = (0..3 * REMEMBERED).map(|number| Name::from(number.to_string())).collect();
        assert!(names.iter().enumerate().all(|(number, name)| *name == number.to_string()));
        LAST.with_borrow(|last| assert!(last.len() <= REMEMBERED));
    }
}
