//! The only place that writes to standard output and standard error.

use std::io::{self, ErrorKind, Write};

use anstream::{AutoStream, ColorChoice};

use super::Style;
use super::style::locale_is_utf8;

/// Writes results to one stream and everything else to another.
///
/// A reader that goes away (`| head`) is no failure: what follows is dropped, and the run goes on to its exit code. Any
/// other failure to write a result is remembered, and [`Printer::finish`] returns it.
pub struct Printer {
    out: Channel,
    err: Channel,
}

struct Channel {
    stream: Box<dyn Write>,
    style: Style,
    closed: bool,
    failure: Option<io::Error>,
}

impl Printer {
    /// On the standard streams of the process, in colour where `NO_COLOR`, `CLICOLOR_FORCE` and the terminal allow it.
    pub fn standard() -> Self {
        let unicode = {
            let value = |name| std::env::var(name).ok();
            let (all, ctype, lang) = (value("LC_ALL"), value("LC_CTYPE"), value("LANG"));
            locale_is_utf8(all.as_deref(), ctype.as_deref(), lang.as_deref())
        };
        let out_choice = AutoStream::choice(&io::stdout());
        let err_choice = AutoStream::choice(&io::stderr());
        let style = |choice| Style { colour: choice != ColorChoice::Never, unicode };
        Self {
            out: Channel::new(Box::new(AutoStream::new(io::stdout(), out_choice)), style(out_choice)),
            err: Channel::new(Box::new(AutoStream::new(io::stderr(), err_choice)), style(err_choice)),
        }
    }

    /// On any two streams.
    pub fn new(out: Box<dyn Write>, err: Box<dyn Write>, style: Style) -> Self {
        Self { out: Channel::new(out, style), err: Channel::new(err, style) }
    }

    /// What standard output can show.
    pub fn style(&self) -> Style {
        self.out.style
    }

    /// What standard error can show.
    pub fn error_style(&self) -> Style {
        self.err.style
    }

    /// A result, as it is.
    pub fn out(&mut self, text: &str) {
        self.out.write(text);
    }

    /// A result, with a line feed.
    pub fn line(&mut self, text: &str) {
        self.out.write(text);
        self.out.write("\n");
    }

    /// Anything that isn't a result: errors, hints, totals beside JSON.
    pub fn note(&mut self, text: &str) {
        self.err.write(text);
        self.err.write("\n");
    }

    /// Flushes, and tells whether each result was written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.err.flush();
        self.out.flush();
        self.out.failure.take().map_or(Ok(()), Err)
    }
}

impl Channel {
    fn new(stream: Box<dyn Write>, style: Style) -> Self {
        Self { stream, style, closed: false, failure: None }
    }

    fn write(&mut self, text: &str) {
        if !self.closed {
            let result = self.stream.write_all(text.as_bytes());
            self.settle(result);
        }
    }

    fn flush(&mut self) {
        if !self.closed {
            let result = self.stream.flush();
            self.settle(result);
        }
    }

    fn settle(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.closed = true;
            if error.kind() != ErrorKind::BrokenPipe {
                self.failure = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        let mut printer = Printer::new(Box::new(Broken(ErrorKind::BrokenPipe)), Box::new(io::sink()), Style::default());
        printer.line("first");
        printer.line("second");
        assert!(printer.finish().is_ok());
    }

    #[test]
    fn a_full_disk_is_a_failure() {
        let mut printer =
            Printer::new(Box::new(Broken(ErrorKind::StorageFull)), Box::new(io::sink()), Style::default());
        printer.line("first");
        assert_eq!(printer.finish().unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
