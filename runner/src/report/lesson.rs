//! The introduction of a scenario: its title and the text about it, to be read before the story.

use crate::scenario::model::Scenario;
use crate::text;

use super::Style;
use super::style::Role;

/// The longest line, in characters.
const WIDTH: usize = 100;

/// The title and which variant it is, the text about it, and where to read on.
pub fn lesson(scenario: &Scenario, style: Style) -> String {
    let variant = scenario.variant.as_ref().map(|variant| format!("\nvariant {}", text::one_line(variant)));
    let title = style.paint(Role::Heading, text::one_line(&scenario.title));
    let mut blocks = vec![title + &style.paint(Role::Faint, variant.unwrap_or_default())];
    let about = text::printable(&scenario.about);
    blocks.extend(about.split("\n\n").map(paragraph).filter(|text| !text.is_empty()));
    if !scenario.see.is_empty() {
        let see = format!("See {}", scenario.see.join(", "));
        blocks.push(style.paint(Role::Faint, wrap(&text::one_line(&see))));
    }
    style.finish(blocks.join("\n\n") + "\n")
}

/// Wraps a paragraph anew, unless it has lines whose shape means something: a list, or an indented block.
fn paragraph(text: &str) -> String {
    let shaped = |line: &str| line.starts_with([' ', '-', '*', '|']);
    if text.lines().any(shaped) { text.trim_end().to_owned() } else { wrap(text) }
}

fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let fits = |line: &String| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= WIDTH;
        match lines.last_mut().filter(|line| fits(line)) {
            Some(line) if line.is_empty() => word.clone_into(line),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example;

    #[test]
    fn title_text_and_references() {
        let about = "The first paragraph has a line that is so long that it has to be cut into two lines, because nobody\n\
                     reads lines longer than a page is wide.\n\nA list:\n- one\n- two\n";
        let see = vec!["ip-mptcp(8)".to_owned(), "RFC 8684 section 3.2".to_owned()];
        let scenario = Scenario { about: about.to_owned(), see, ..example::scenario() };
        insta::assert_snapshot!(lesson(&scenario, Style::default()), @r"
        fullmesh opens a subflow from each endpoint
        variant ipv4

        The first paragraph has a line that is so long that it has to be cut into two lines, because nobody
        reads lines longer than a page is wide.

        A list:
        - one
        - two

        See ip-mptcp(8), RFC 8684 section 3.2
        ");
    }

    #[test]
    fn lines_are_wrapped_and_words_are_not() {
        let text = wrap(&"word ".repeat(50));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.split_whitespace().count(), 50);
        let word = "x".repeat(WIDTH + 1);
        assert_eq!(wrap(&format!("a {word} b")), format!("a\n{word}\nb"));
    }
}
