//! The first bytes of a payload: [`Head`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hex::{from_hex, to_hex};

/// The first bytes of a payload, at most eight. Captures cut off the rest, and a recording has very many segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Head {
    bytes: [u8; 8],
    length: u8,
}

impl Head {
    /// The first ones of these bytes.
    pub fn of(payload: &[u8]) -> Self {
        let mut bytes = [0; 8];
        let length = bytes.iter_mut().zip(payload).map(|(to, from)| *to = *from).count();
        Self { bytes, length: u8::try_from(length).unwrap_or(0) }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// There is no payload, or the recording doesn't show it: older ones have no first bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Serialize for Head {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_hex(self.bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = from_hex(&text).filter(|bytes| bytes.len() <= 8);
        bytes
            .map(|bytes| Self::of(&bytes))
            .ok_or_else(|| serde::de::Error::custom("expected up to 8 octets in hexadecimal"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_to_json_and_back() {
        for payload in [&[][..], &[1, 0xff], &[7; 8], &[9; 20]] {
            let head = Head::of(payload);
            assert_eq!(head.bytes(), &payload[..payload.len().min(8)]);
            let text = serde_json::to_string(&head).unwrap();
            assert_eq!(serde_json::from_str::<Head>(&text).unwrap(), head);
        }
        assert!(serde_json::from_str::<Head>("\"001122334455667788\"").is_err());
    }
}
