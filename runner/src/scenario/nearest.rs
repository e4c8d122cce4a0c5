//! "Did you mean": the known word that is nearest to an unknown one.

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
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
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
        [only] => Some(format!("there is only {only}")),
        [first @ .., last] => Some(format!("expected {} or {last}", first.join(", "))),
    }
}

/// The edit distance with swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (row[j] + usize::from(x != y)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("clinet", "client"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
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
