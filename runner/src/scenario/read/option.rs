//! Socket options of a step.

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Key, Kind, Record, Shape, scalar as key};
use super::super::model::{OptionSetting, Place, SocketOptions};
use super::super::record::{List, Scalar, part, record};
use super::super::scalar::{self, Parsed, Problem, Symbol};
use super::super::yaml::Node;
use super::{At, Read, all};
use crate::mptcp::{ANSWER_WORDS, OPTIONS, OptionForm, OptionValue, SocketOption};

/// The options by their words.
static OPTION_KEYS: [Key; OPTIONS.len()] = {
    let mut keys = [Key::NONE; OPTIONS.len()];
    let mut index = 0;
    while index < keys.len() {
        let SocketOption { word, form, doc, .. } = &OPTIONS[index];
        keys[index] = key(word, kind(*form), doc);
        index += 1;
    }
    keys
};

/// The words of the options.
static OPTION_WORDS: [&str; OPTIONS.len()] = {
    let mut words = [""; OPTIONS.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = OPTIONS[index].word;
        index += 1;
    }
    words
};

static OPTION_RECORD: Record =
    Record { name: "options", what: "a set of socket options", keys: &OPTION_KEYS, one_of: &[], never: &[] };

/// What a value may be.
const fn kind(form: OptionForm) -> Kind {
    match form {
        OptionForm::Switch => Kind::Switch,
        OptionForm::Number(least, most) => Kind::Integer(least, most),
        OptionForm::TrafficClass => Kind::Integer(0, 252),
        OptionForm::Linger => Kind::Integer(0, 65535),
        OptionForm::Name | OptionForm::Key => Kind::Line,
        OptionForm::Device => Kind::Device,
        OptionForm::Bytes(_) => Kind::Size,
        OptionForm::Seconds | OptionForm::Milliseconds => Kind::Duration,
    }
}

/// Reads a value of that form.
fn value(form: OptionForm, text: &str) -> Parsed<OptionValue> {
    let number = |number: u64| Ok(OptionValue::Number(number));
    match form {
        OptionForm::Switch => number(scalar::switch(text)?.into()),
        OptionForm::Number(least, most) => number(scalar::integer(least, most)(text)?),
        OptionForm::Linger => number(scalar::integer(0, 65535)(text)?),
        OptionForm::TrafficClass => match scalar::integer(0, 252)(text)? {
            class if class & !3 == class => number(class),
            class => Err(Problem {
                message: format!("{class} has bits of ECN"),
                help: Some(format!("TCP sets the two lowest bits itself: {} or {}", class & !3, (class | 3) + 1)),
            }),
        },
        OptionForm::Name => match scalar::line(text)? {
            name if name.len() < LONGEST_NAME && name.is_ascii() => Ok(OptionValue::Text(name)),
            _ => Err(Problem { message: format!("`{text}` is no name for an algorithm"), help: None }),
        },
        OptionForm::Key => scalar::line(text).map(OptionValue::Text),
        OptionForm::Device => scalar::device(text).map(OptionValue::Text),
        OptionForm::Bytes(least) => match scalar::size(text)? {
            bytes if bytes < least => {
                Err(Problem { message: format!("`{text}` is too small; at least {least} bytes"), help: None })
            }
            bytes => number(bytes),
        },
        OptionForm::Seconds => match scalar::duration(text)? {
            time if time.subsec_nanos() > 0 => {
                Err(Problem { message: format!("`{text}` is not a whole number of seconds"), help: None })
            }
            time => number(time.as_secs()),
        },
        OptionForm::Milliseconds => number(u64::try_from(scalar::duration(text)?.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// `TCP_CA_NAME_MAX` (`include/net/tcp.h`)
const LONGEST_NAME: usize = 16;

part! {
    /// Options with their values.
    Options: Vec<OptionSetting> = Shape::Record(&OPTION_RECORD), |at, node| at.record(node, &OPTION_RECORD, settings)
}

fn settings(at: &At<'_>) -> Read<Vec<OptionSetting>> {
    let entries = at.fields.node.entries().iter();
    let known = entries.filter_map(|entry| {
        let node = at.fields.get(&entry.key)?;
        Some((SocketOption::of_word(&entry.key)?, node, entry.place))
    });
    all(known.map(|(option, node, place)| {
        let value = at.reader.scalar(node, |text| value(option.form, text))?;
        Ok(OptionSetting { option, value, place })
    }))
}

part! {
    /// The same, by the errno that the kernel must answer with.
    RefusedOptions: Vec<(String, OptionSetting)> =
        Shape::Table("the errno of setsockopt()", Kind::Errno, &Shape::Record(&OPTION_RECORD)), refused
}

fn refused(at: &At<'_>, node: &Node) -> Read<Vec<(String, OptionSetting)>> {
    let of_errors = at.table(node, |entry| {
        let error = at.reader.key(entry, <Symbol as Scalar>::parse)?;
        let settings = at.record(&entry.value, &OPTION_RECORD, settings)?;
        Ok(settings.into_iter().map(|setting| (error.clone(), setting)).collect::<Vec<_>>())
    });
    Ok(of_errors?.concat())
}

part! {
    /// An option by its word.
    OptionWord: (&'static SocketOption, Place) = Shape::Scalar(Kind::Word(&OPTION_WORDS)), |at, node| {
        Ok((at.reader.scalar(node, option_word)?, node.place))
    }
}

/// The option of that word.
pub(super) fn option_word(text: &str) -> Parsed<&'static SocketOption> {
    let unknown = || scalar::unknown_word(text, &OPTION_WORDS).of(Some("option"));
    SocketOption::of_word(text).ok_or_else(unknown)
}

/// The word of an option, or of something else that getsockopt() answers.
pub(super) fn answer_word(text: &str) -> Parsed<&'static str> {
    match ANSWER_WORDS.iter().find(|word| **word == text) {
        Some(word) => Ok(word),
        None => option_word(text).map(|option| option.word),
    }
}

record! {
    /// What is said of the options of a socket.
    OptionKeys as "socket_options", "the options of a socket" then judged for SocketOptions {
        set: or(Vec::new()) Options = "options",
            "Socket options to set. Each is read back, on each subflow, too, where the kernel shows it.";
        refused: or(Vec::new()) RefusedOptions = "refused",
            "Socket options that the kernel must refuse, by the errno.";
        not_inherited: or(Vec::new()) List<OptionWord> = "not_inherited",
            "Options that additional subflows must not have; by default, they must have each of them.";
    }
}

/// What is said of subflows must be something that can be seen there.
fn judged(at: &At<'_>, options: SocketOptions) -> Read<SocketOptions> {
    for (option, place) in &options.not_inherited {
        if !options.set.iter().any(|setting| setting.option.word == option.word) {
            return Err(at.reader.error(*place, format!("`{}` is not among the `options`", option.word)));
        }
        if option.on_subflow.is_none() {
            return Err(at.reader.report(
                Diagnostic::new(*place, format!("the kernel does not show {} of subflows", option.symbol))
                    .help("remove it: nothing could tell whether a subflow has it"),
            ));
        }
    }
    Ok(options)
}
