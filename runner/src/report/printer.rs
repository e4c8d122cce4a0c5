//! The only place that writes to standard output and standard error.

use std::io::{self, ErrorKind, IsTerminal as _, Write};

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
    status: Option<Status>,
}

/// A line at the bottom of a terminal that is replaced again and again. Whatever else is written goes above it.
struct Status {
    stream: Box<dyn Write>,
    shown: bool,
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
            // Not through the stream for colours: this needs escape sequences, with colours or without.
            status: terminal_is_able().then(|| Status { stream: Box::new(io::stderr()), shown: false }),
        }
    }

    /// On any two streams.
    pub fn new(out: Box<dyn Write>, err: Box<dyn Write>, style: Style) -> Self {
        Self { out: Channel::new(out, style), err: Channel::new(err, style), status: None }
    }

    /// The same, with a terminal for the status line.
    #[cfg(test)]
    fn with_status(mut self, stream: Box<dyn Write>) -> Self {
        self.status = Some(Status { stream, shown: false });
        self
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
        self.clear_status();
        self.out.write(text);
    }

    /// A result, with a line feed.
    pub fn line(&mut self, text: &str) {
        self.clear_status();
        self.out.write(text);
        self.out.write("\n");
    }

    /// Anything that isn't a result: errors, hints, totals beside JSON.
    pub fn note(&mut self, text: &str) {
        self.clear_status();
        self.err.write(text);
        self.err.write("\n");
    }

    /// Shows how far it is, if standard error is a terminal, until something else is written.
    pub fn status(&mut self, line: &str) {
        let Some(status) = &mut self.status else { return };
        self.out.flush();
        self.err.flush();
        // To the start of the line; no wrapping, so that it stays one line; the text; erase to the end; wrap again.
        status.shown =
            write!(status.stream, "\r\x1b[?7l{line}\x1b[K\x1b[?7h").and_then(|()| status.stream.flush()).is_ok();
    }

    /// Takes the status line away.
    pub fn clear_status(&mut self) {
        if let Some(status) = &mut self.status
            && status.shown
        {
            status.shown = false;
            // A terminal that is gone shows nothing any more.
            let _ = status.stream.write_all(b"\r\x1b[K").and_then(|()| status.stream.flush());
        }
    }

    /// Shows what was written so far. An error: nobody reads any more, or a result could not be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.err.flush();
        self.out.flush();
        if self.out.closed { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Flushes, and tells whether each result was written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.clear_status();
        self.err.flush();
        self.out.flush();
        self.out.failure.take().map_or(Ok(()), Err)
    }
}

/// Whether standard error is a terminal that can replace a line.
fn terminal_is_able() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb")
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

    #[derive(Clone, Default)]
    struct Screen(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn results_go_above_the_status_line() {
        let screen = Screen::default();
        let mut printer = Printer::new(Box::new(screen.clone()), Box::new(screen.clone()), Style::default())
            .with_status(Box::new(screen.clone()));
        printer.status("1/2");
        printer.line("PASS a");
        printer.note("error: b");
        printer.status("2/2");
        printer.finish().unwrap();
        let text = String::from_utf8(screen.0.borrow().clone()).unwrap().replace('\u{1b}', "ESC");
        assert_eq!(text, "\rESC[?7l1/2ESC[KESC[?7h\rESC[KPASS a\nerror: b\n\rESC[?7l2/2ESC[KESC[?7h\rESC[K");
    }

    #[test]
    fn without_a_terminal_there_is_no_status_line() {
        let screen = Screen::default();
        let mut printer = Printer::new(Box::new(screen.clone()), Box::new(screen.clone()), Style::default());
        printer.status("1/2");
        printer.finish().unwrap();
        assert!(screen.0.borrow().is_empty());
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
