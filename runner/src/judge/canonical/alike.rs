//! Many connections with the same lines: they are shown once.

/// From this number on, similar connections are counted.
const MANY: usize = 32;

/// Lines about one connection. They say the same as those of another one if nothing but the name differs.
#[derive(Debug)]
pub(super) struct Block {
    /// The name of the connection.
    pub(super) name: String,
    /// The lines, with the name in them.
    pub(super) lines: Vec<String>,
}

/// The lines of all blocks. Of many similar ones in a row, those of the first, and the number of the others.
pub(super) fn fold(blocks: Vec<Block>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = blocks.into_iter().map(|block| (nameless(&block), block)).peekable();
    while let Some((said, first)) = rest.next() {
        let mut alike = Vec::new();
        while let Some((_, next)) = rest.next_if(|(other, _)| *other == said) {
            alike.push(next);
        }
        lines.extend(first.lines);
        match (alike.first(), alike.last()) {
            (Some(second), Some(last)) if alike.len() + 1 >= MANY => {
                lines.push(format!("(the same for {} to {}: × {})", second.name, last.name, alike.len()));
            }
            _ => lines.extend(alike.into_iter().flat_map(|block| block.lines)),
        }
    }
    lines
}

/// As [`fold`], for sections: each ends its last line, and so does what is said instead of many.
pub(super) fn fold_sections(blocks: Vec<Block>) -> Vec<String> {
    let mut sections = fold(blocks);
    for section in sections.iter_mut().filter(|section| !section.ends_with('\n')) {
        section.push('\n');
    }
    sections
}

/// What a block says, without the name.
fn nameless(block: &Block) -> Vec<String> {
    block.lines.iter().map(|line| without(line, &block.name)).collect()
}

/// A line without a name, where it stands as a whole word.
fn without(line: &str, name: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut said = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(name).filter(|_| !name.is_empty()) {
        let (before, from) = rest.split_at(at);
        let (found, after) = from.split_at(name.len());
        said.push_str(before);
        let whole = !said.ends_with(is_part) && !after.starts_with(is_part);
        said.push_str(if whole { "\0" } else { found });
        rest = after;
    }
    said.push_str(rest);
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(names: impl Iterator<Item = usize>, say: impl Fn(usize) -> String) -> Vec<Block> {
        names.map(|number| Block { name: format!("c{number}"), lines: vec![say(number)] }).collect()
    }

    #[test]
    fn many_alike_are_counted() {
        let all = blocks(1..=100, |number| format!("created c{number} 10.0.1.2 > 10.0.1.1"));
        assert_eq!(fold(all), ["created c1 10.0.1.2 > 10.0.1.1", "(the same for c2 to c100: × 99)"]);
    }

    #[test]
    fn one_that_differs_is_shown() {
        let all = blocks(1..=100, |number| format!("closed c{number}{}", if number == 50 { " error" } else { "" }));
        let lines = fold(all);
        let shown = [
            "closed c1",
            "(the same for c2 to c49: × 48)",
            "closed c50 error",
            "closed c51",
            "(the same for c52 to c100: × 49)",
        ];
        assert_eq!(lines, shown);
    }

    #[test]
    fn few_are_shown_each() {
        assert_eq!(fold(blocks(1..=31, |number| format!("c{number}"))).len(), 31);
        assert_eq!(fold(blocks(1..=32, |number| format!("c{number}"))).len(), 2);
    }

    #[test]
    fn a_name_is_a_whole_word() {
        assert_eq!(without("c1 c11 c1-a c1, xc1 c1", "c1"), "\0 c11 c1-a \0, xc1 \0");
        assert_eq!(without("c1", ""), "c1");
    }
}
