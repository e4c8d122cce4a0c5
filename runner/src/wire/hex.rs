//! Octets as lower-case hexadecimal text, the form in which options keep what is too long for a number.

use std::fmt::Write;

/// `[0x1e, 0x04]` becomes `1e04`.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The way back; `None` unless the text is pairs of hexadecimal digits throughout.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back() {
        assert_eq!(to_hex(&[0x1e, 0x04, 0xff]), "1e04ff");
        assert_eq!(from_hex("1e04FF"), Some(vec![0x1e, 0x04, 0xff]));
    }

    #[test]
    fn refuses_half_octets_and_other_characters() {
        assert_eq!(from_hex("1e0"), None);
        assert_eq!(from_hex("+e"), None);
        assert_eq!(from_hex("ä"), None);
    }
}
