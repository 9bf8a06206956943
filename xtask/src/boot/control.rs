//! The control channel: what the kernel tells the host on its second serial line.
//!
//! Every message is one line that begins with `@`; anything else there is the kernel's log.
//!
//! ```text
//!   @list NAME boot=shared|own          a test that exists
//!   @test start NAME                    and how it went
//!   @test pass NAME
//!   @test fail NAME: message
//!   @alive                              a long test has got on: the watchdog waits anew
//!   @expect NAME key=value ...          what the report must say, before a death that stops the machine
//!   @report key=value ...               the overflow report, as the dying kernel has it
//!   @bench NAME VALUE UNIT              one figure
//!   @ask WHAT key=value ...             a piece of an answer: text, memory, a place in it, a figure
//!   @took BYTES                         so many more of the program's input were taken
//!   @exit STATUS                        the program's exit status
//!   @end                                all that was asked has been done
//! ```
//!
//! Values are percent-encoded, so that they hold no spaces. A line that begins with `@` and is none
//! of these is an error, never skipped: a skipped line could hide a failed test. For the same
//! reason a message must not begin in the middle of a line, behind words of the log that two CPUs
//! wrote at the same time.

use std::fmt;

/// One message of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// A test that exists.
    List {
        /// Its name.
        name: String,
        /// The boot it wants.
        boot: Boot,
    },
    /// A test begins.
    Start(String),
    /// A test passed.
    Pass(String),
    /// A test failed.
    Fail {
        /// Its name.
        name: String,
        /// What went wrong.
        message: String,
    },
    /// The running test has got on.
    Alive,
    /// What the report of a coming death must say.
    Expect {
        /// The test's name.
        name: String,
        /// Key, operator and value, as written.
        fields: Vec<String>,
    },
    /// An overflow report.
    Report(Fields),
    /// One figure.
    Bench {
        /// The bench's name.
        name: String,
        /// The value.
        value: f64,
        /// Its unit.
        unit: String,
    },
    /// A piece of an answer to a question.
    Ask {
        /// What it is.
        what: String,
        /// Its values.
        fields: Fields,
    },
    /// So many more bytes of the program's input were taken.
    Took(usize),
    /// The exit status of the program that was to be run.
    Exit(u8),
    /// The orderly end.
    End,
}

/// The boot that a test wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Boot {
    /// It can share a boot with others.
    Shared,
    /// It needs one of its own, for instance since it stops the machine.
    Own,
    /// One of its own, with one CPU, whose time counts instructions.
    Counted,
}

/// Keys and decoded values, in the order in which they came.
pub(crate) type Fields = Vec<(String, String)>;

/// A line that begins with `@` and means nothing.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unreadable control line: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Reads one line; a line of the kernel's log gives nothing.
pub(crate) fn parse(line: &str) -> Result<Option<Message>, Unreadable> {
    let line = line.trim_end();
    let begun = line.strip_prefix('@');
    if begun.unwrap_or(line).split('@').skip(1).any(begins_a_message) {
        return Err(Unreadable(line.to_owned()));
    }
    let Some(message) = begun else {
        return Ok(None);
    };
    message_of(message).map(Some).ok_or_else(|| Unreadable(line.to_owned()))
}

/// Whether text that came after an `@` reads like a message.
fn begins_a_message(text: &str) -> bool {
    let verb = text.split_ascii_whitespace().next();
    verb.is_some_and(|verb| VERBS.contains(&verb) && text.starts_with(verb))
}

/// What a message begins with.
const VERBS: [&str; 10] =
    ["list", "test", "alive", "expect", "report", "bench", "ask", "took", "exit", "end"];

fn message_of(text: &str) -> Option<Message> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    match verb {
        "list" => {
            let (name, boot) = rest.split_once(' ')?;
            let boot = match boot.trim() {
                "boot=shared" => Boot::Shared,
                "boot=own" => Boot::Own,
                "boot=counted" => Boot::Counted,
                _ => return None,
            };
            Some(Message::List { name: word(name)?, boot })
        }
        "test" => {
            let (verdict, rest) = rest.split_once(' ')?;
            match verdict {
                "start" => Some(Message::Start(word(rest)?)),
                "pass" => Some(Message::Pass(word(rest)?)),
                "fail" => {
                    let (name, message) = rest.split_once(':').unwrap_or((rest, "no message"));
                    Some(Message::Fail { name: word(name)?, message: message.trim().to_owned() })
                }
                _ => None,
            }
        }
        "alive" => rest.is_empty().then_some(Message::Alive),
        "expect" => {
            let mut words = rest.split_ascii_whitespace().map(str::to_owned);
            let (name, fields) = (words.next()?, words.collect::<Vec<_>>());
            (!fields.is_empty()).then_some(Message::Expect { name, fields })
        }
        "report" => Some(Message::Report(fields_of(rest)?)),
        "ask" => {
            let (what, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            (!what.is_empty())
                .then_some(Message::Ask { what: what.to_owned(), fields: fields_of(rest)? })
        }
        "bench" => {
            let mut words = rest.split_ascii_whitespace();
            let name = words.next()?.to_owned();
            let value: f64 = words.next()?.parse().ok()?;
            let unit = words.collect::<Vec<_>>().join(" ");
            (value.is_finite() && !unit.is_empty()).then_some(Message::Bench { name, value, unit })
        }
        "took" => Some(Message::Took(rest.parse().ok()?)),
        "exit" => Some(Message::Exit(rest.parse().ok()?)),
        "end" => rest.is_empty().then_some(Message::End),
        _ => None,
    }
}

/// One word, or nothing if there are several or none.
fn word(text: &str) -> Option<String> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    words.next().is_none().then(|| first.to_owned())
}

/// Keys and values; nothing if a key is there twice: of two values the reader would choose one.
fn fields_of(text: &str) -> Option<Fields> {
    let fields: Option<Fields> = text.split_ascii_whitespace().map(field).collect();
    let fields = fields?;
    let mut keys = fields.iter().enumerate();
    let twice = keys.any(|(at, (key, _))| fields[..at].iter().any(|(other, _)| other == key));
    (!twice).then_some(fields)
}

fn field(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.to_owned(), decode(value)))
}

/// Undoes percent-encoding; a stray percent sign stands for itself.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(byte)) if bytes[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Message {
        parse(line).unwrap().unwrap()
    }

    #[test]
    fn every_kind_of_line_is_read() {
        assert_eq!(
            read("@list t4_reuse boot=own\r\n"),
            Message::List { name: "t4_reuse".into(), boot: Boot::Own }
        );
        for (word, boot) in [("shared", Boot::Shared), ("counted", Boot::Counted)] {
            let line = format!("@list a boot={word}");
            assert_eq!(read(&line), Message::List { name: "a".into(), boot });
        }
        assert_eq!(read("@test start a"), Message::Start("a".into()));
        assert_eq!(read("@test pass a"), Message::Pass("a".into()));
        assert_eq!(
            read("@test fail a: left: 1, right: 2"),
            Message::Fail { name: "a".into(), message: "left: 1, right: 2".into() }
        );
        assert_eq!(
            read("@expect o2_x stack=irq frames>=3"),
            Message::Expect {
                name: "o2_x".into(),
                fields: vec!["stack=irq".into(), "frames>=3".into()]
            }
        );
        assert_eq!(
            read("@report stack=irq victim=the%20one"),
            Message::Report(vec![
                ("stack".into(), "irq".into()),
                ("victim".into(), "the one".into())
            ])
        );
        assert_eq!(
            read("@bench switch_bare 52.5 instructions"),
            Message::Bench { name: "switch_bare".into(), value: 52.5, unit: "instructions".into() }
        );
        assert_eq!(
            read("@ask step at=4096 text=a%20place"),
            Message::Ask {
                what: "step".into(),
                fields: vec![("at".into(), "4096".into()), ("text".into(), "a place".into())]
            }
        );
        assert_eq!(read("@took 1024"), Message::Took(1024));
        assert_eq!(read("@exit 139"), Message::Exit(139));
        assert_eq!(read("@alive"), Message::Alive);
        assert_eq!(read("@end"), Message::End);
    }

    #[test]
    fn log_lines_are_not_messages() {
        assert_eq!(parse("cpu 3 is up"), Ok(None));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("mail to a@example.org, or a@tester, or 100 @ 5"), Ok(None));
    }

    #[test]
    fn a_garbled_message_is_an_error_and_not_skipped() {
        for line in [
            "@tset pass a",
            "@test pass",
            "@test pass a b",
            "@test maybe a",
            "@list a boot=none",
            "@report stack",
            "@bench x y z",
            "@bench x NaN insn",
            "@bench x 1",
            "@exit 256",
            "@exit",
            "@end x",
            "@alive x",
            "@",
            "@expect a",
            "@expect",
            "@report stack=irq cpu=1 stack=thread",
            "@ask",
            "@ask step at",
            "@ask step at=1 at=2",
            " @end",
            "cpu 3 is@test fail a: no",
            "@test pass a@test fail a: no",
            "@test start a@end",
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert_eq!(error, format!("unreadable control line: {line}"));
        }
    }

    #[test]
    fn percent_signs_are_decoded_or_kept() {
        assert_eq!(decode("a%20b%2C%e2%82%ac"), "a b,€");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode("%€"), "%€");
    }
}
