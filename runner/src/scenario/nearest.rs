//! "Did you mean": the known word that is nearest to an unknown one.

use strsim::osa_distance;

/// The candidate that is so near that it is likely meant: at most a third of the letters differ, a swap of two
/// neighbours counts as one difference. Looks at the first 256 candidates only.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > 64 {
        return None;
    }
    let allowed = |candidate: &str| (candidate.chars().count().max(word.chars().count()) / 3).max(1);
    candidates
        .into_iter()
        .take(256)
        .filter(|candidate| candidate.chars().count() <= 64)
        .map(|candidate| (osa_distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What to say about an unknown word: the nearest one, or all of them if they are few.
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<String> = candidates.into_iter().take(33).map(|candidate| format!("`{candidate}`")).collect();
    match all.as_slice() {
        [] => None,
        _ if all.len() > 32 => None,
        [only] => Some(format!("expected {only}")),
        [first @ .., last] => Some(format!("expected {} or {last}", first.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        // At most a third of the letters, and a swap is one of them.
        assert_eq!(nearest("abc", ["abcdef"]), None);
        assert_eq!(nearest("clinet", ["client"]), Some("client"));
        assert_eq!(nearest("kitten", ["sitting"]), None);
        assert_eq!(nearest("kitten", ["mitter"]), Some("mitter"));
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let words = ["client", "server", "router"];
        assert_eq!(nearest("clinet", words), Some("client"));
        assert_eq!(nearest("Client", words), Some("client"));
        assert_eq!(nearest("laptop", words), None);
        assert_eq!(suggestion("laptop", words).as_deref(), Some("expected `client`, `server` or `router`"));
    }
}
