//! Octets as lower-case hexadecimal text, the form in which options keep what is too long for a number.

/// `[0x1e, 0x04]` becomes `1e04`.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The way back; `None` unless the text is pairs of hexadecimal digits throughout.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
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
