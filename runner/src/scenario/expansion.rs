//! How much a scenario becomes when its matrix, its repetitions and its forms for different kernels are written out: it is
//! counted before anything is. A small file could fill the memory otherwise. Main type: [`Room`].

use super::diagnostic::Diagnostic;
use super::scalar;
use super::yaml::{Node, Value};

/// The most values, keys not counted, of all variants of a scenario in all their forms. Each takes some 400 bytes.
const MOST: usize = 500_000;

/// How many values the variants that are still to come may have.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    left: Option<usize>,
}

impl Room {
    /// For a file with so many bytes of text. What it has as it is written always has room: each value takes two bytes.
    pub fn new(text: usize) -> Self {
        Self { left: Some(MOST.max(text / 2)) }
    }

    /// Room for one variant, in so many forms.
    pub fn take(&mut self, root: &Node, forms: usize) -> Result<(), Diagnostic> {
        let values = written_out(root).saturating_mul(forms);
        self.left = self.left.and_then(|left| left.checked_sub(values));
        if self.left.is_some() {
            return Ok(());
        }
        let message = format!("the scenario expands to more than {MOST} values");
        Err(Diagnostic::of_file(message)
            .help("variants of the matrix, rounds of `repeat` and features in `when:` multiply; split the scenario"))
    }

    /// There is none left.
    pub fn is_used_up(self) -> bool {
        self.left.is_none()
    }
}

/// The values of a tree with its repetitions written out.
fn written_out(node: &Node) -> usize {
    let below = match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(items) => items.iter().map(written_out).fold(0, usize::saturating_add),
        Value::Map(entries) => entries.iter().map(|entry| written_out(&entry.value)).fold(0, usize::saturating_add),
    };
    let own = below.saturating_add(1);
    match rounds(node) {
        Some(rounds) => own.saturating_mul(rounds),
        None => own,
    }
}

/// How often the steps of a `repeat` are taken. What can't be read has errors, and is not written out.
fn rounds(node: &Node) -> Option<usize> {
    let number = |key: &str| scalar::integer::<u64>(0, u64::from(u32::MAX))(node.get(key)?.text()?).ok();
    node.get("steps")?;
    let (from, to) = (number("from")?, number("to")?);
    usize::try_from(to.checked_sub(from)?).ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        super::super::yaml::parse(0, text, &mut Vec::new()).unwrap()
    }

    #[test]
    fn repetitions_are_multiplied() {
        assert_eq!(written_out(&tree("a: [1, 2]")), 4);
        assert_eq!(written_out(&tree("{ from: 1, to: 3, steps: [1] }")), 3 * 5);
        let nested = "{ from: 0, to: 65535, steps: [{ from: 0, to: 65535, steps: [1] }] }";
        assert!(written_out(&tree(nested)) > 1 << 32);
        assert_eq!(written_out(&tree("{ from: 3, to: 1, steps: [1] }")), 5);
    }

    #[test]
    fn variants_share_the_room() {
        let root = tree("{ from: 1, to: 10000, steps: [1, 2] }");
        let mut left = Room::new(0);
        assert!((0..8).all(|_| left.take(&root, 1).is_ok()));
        assert!(left.take(&root, 1).is_err() && left.is_used_up());
        assert!(Room::new(0).take(&root, 9).is_err());
    }
}
