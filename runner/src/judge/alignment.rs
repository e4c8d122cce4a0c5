//! Two sequences side by side, what belongs together on one line, the first difference marked.

/// One line: what was expected, what was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// `None`: nothing was expected here.
    pub(super) expected: Option<String>,
    /// `None`: nothing came.
    pub(super) observed: Option<String>,
    /// Both belong together, or the observed one may come in between.
    pub(super) fine: bool,
}

/// Longer sequences are cut before they are aligned: the work grows with the product of both lengths.
const LONGEST: usize = 300;

/// Align what was expected with what was observed: the longest sequence of pairs for which `alike` holds.
pub(super) fn align<E, O>(
    expected: &[E],
    observed: &[O],
    alike: impl Fn(&E, &O) -> bool,
    expected_text: impl Fn(&E) -> String,
    observed_text: impl Fn(&O) -> String,
) -> Vec<Row> {
    let expected = expected.get(..LONGEST).unwrap_or(expected);
    let observed = observed.get(..LONGEST).unwrap_or(observed);
    let lengths = common_lengths(expected, observed, &alike);
    let length = |i: usize, j: usize| lengths.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    let (mut i, mut j) = (0, 0);
    let mut rows = Vec::new();
    loop {
        let row = match (expected.get(i), observed.get(j)) {
            (Some(e), Some(o)) if alike(e, o) && length(i, j) == length(i + 1, j + 1) + 1 => {
                (i, j) = (i + 1, j + 1);
                Row { expected: Some(expected_text(e)), observed: Some(observed_text(o)), fine: true }
            }
            (Some(e), o) if o.is_none() || length(i + 1, j) >= length(i, j + 1) => {
                i += 1;
                Row { expected: Some(expected_text(e)), observed: None, fine: false }
            }
            (_, Some(o)) => {
                j += 1;
                Row { expected: None, observed: Some(observed_text(o)), fine: false }
            }
            (_, None) => break,
        };
        rows.push(row);
    }
    rows
}

/// For each pair of positions, how many pairs the best alignment of what follows has.
fn common_lengths<E, O>(expected: &[E], observed: &[O], alike: &impl Fn(&E, &O) -> bool) -> Vec<Vec<usize>> {
    let mut lengths = vec![vec![0; observed.len() + 1]; expected.len() + 1];
    for (i, e) in expected.iter().enumerate().rev() {
        let below = lengths.get(i + 1).cloned().unwrap_or_default();
        let Some(row) = lengths.get_mut(i) else { continue };
        for (j, o) in observed.iter().enumerate().rev() {
            let at = |values: &[usize], index: usize| values.get(index).copied().unwrap_or(0);
            let best = if alike(e, o) { at(&below, j + 1) + 1 } else { at(&below, j).max(at(row, j + 1)) };
            if let Some(cell) = row.get_mut(j) {
                *cell = best;
            }
        }
    }
    lengths
}

/// The rows as text in two columns. `>` marks the first difference, `-` what is missing, `+` what is too much.
pub(super) fn side_by_side(rows: &[Row]) -> String {
    /// Rows that are fine before the first difference.
    const LEAD: usize = 15;
    /// Rows from the first difference on.
    const TAIL: usize = 45;
    let first = rows.iter().position(|row| !row.fine).unwrap_or(rows.len());
    let skipped = first.saturating_sub(LEAD);
    let shown = rows.iter().enumerate().skip(skipped).take(LEAD + TAIL);
    let width = shown.clone().filter_map(|(_, row)| row.expected.as_ref()).map(|text| text.chars().count()).max();
    let width = width.unwrap_or(0).max("expected".len());
    let mut lines = vec![format!("    {:width$}   observed", "expected")];
    if skipped > 0 {
        lines.push(format!("    … {skipped} more, as expected"));
    }
    for (index, row) in shown {
        let mark = if index == first { '>' } else { ' ' };
        let sign = match row {
            Row { fine: true, .. } => ' ',
            Row { observed: None, .. } => '-',
            Row { .. } => '+',
        };
        let expected = row.expected.as_deref().unwrap_or("");
        let observed = row.observed.as_deref().unwrap_or(if row.fine { "" } else { "(missing)" });
        lines.push(format!("{mark} {sign} {expected:width$}   {observed}"));
    }
    let rest = rows.len().saturating_sub(skipped + LEAD + TAIL);
    if rest > 0 {
        lines.push(format!("    … {rest} more"));
    }
    lines.push(String::new());
    lines.join("\n")
}
