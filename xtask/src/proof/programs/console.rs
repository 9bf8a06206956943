//! What the runner writes to the console, read.

use anyhow::{Context, Result, bail};

use super::list::Answer;

/// What was heard of a machine.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Heard {
    /// Programs that have ended, and what they did.
    pub(super) answers: Vec<(String, Answer)>,
    /// The one that has begun and not ended.
    pub(super) running: Option<String>,
}

/// Reads a console, and whether it was heard to its end. Lines that are not the runner's are the
/// kernel's.
pub(super) fn read(text: &str) -> Result<(Heard, bool)> {
    let mut heard = Heard::default();
    let mut status = None;
    let mut output = Vec::new();
    for line in text.lines() {
        let line = line.trim_end_matches('\r');
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("@program"), Some(name), None) => {
                (status, output) = (None, Vec::new());
                heard.running = Some(name.to_owned());
            }
            (Some("@status"), Some(name), Some(number)) => {
                if heard.running.as_deref() != Some(name) {
                    bail!("a status of {name}, which does not run");
                }
                status = Some(number.parse().with_context(|| format!("{name}'s status"))?);
            }
            (Some("@output"), Some(part), None) => {
                decode(part, &mut output).with_context(|| format!("in {:?}", heard.running))?;
            }
            (Some("@end"), Some(name), None) => {
                if heard.running.as_deref() != Some(name) {
                    bail!("the end of {name}, which does not run");
                }
                heard.running = None;
                let status = status.take().with_context(|| format!("{name} has no status"))?;
                let output = std::mem::take(&mut output);
                heard.answers.push((name.to_owned(), Answer { status, output }));
            }
            (Some("@all"), None, _) => return Ok((heard, true)),
            _ => {}
        }
    }
    Ok((heard, false))
}

/// Decodes a line of Base64 (RFC 4648, section 4).
fn decode(text: &str, into: &mut Vec<u8>) -> Result<()> {
    for four in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        let mut pad = 0;
        for &letter in four {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    pad += 1;
                    0
                }
                _ => bail!("{text} is no Base64"),
            };
            bits = bits << 6 | u32::from(value);
        }
        if four.len() != 4 || pad > 2 {
            bail!("{text} ends too early");
        }
        into.extend_from_slice(&bits.to_be_bytes()[1..4 - pad]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "\x02boots\r\n\r\n@program p1_a\r\n@status p1_a 3\r\n@output YQpi\r\n\
                           @output Cg==\r\n@end p1_a\r\n\n@program p2_b\n@status p2_b 0\n@end p2_b\n";

    #[test]
    fn answers_are_read_to_the_end_or_to_the_program_that_lost_the_machine() {
        let answers = vec![
            ("p1_a".to_owned(), Answer { status: 3, output: b"a\nb\n".to_vec() }),
            ("p2_b".to_owned(), Answer { status: 0, output: Vec::new() }),
        ];
        let (heard, whole) = read(&format!("{CONSOLE}@all\n")).unwrap();
        assert_eq!(heard, Heard { answers: answers.clone(), running: None });
        assert!(whole);
        let (heard, whole) = read(&format!("{CONSOLE}@program p3_c\npanic\n")).unwrap();
        assert_eq!(heard, Heard { answers, running: Some("p3_c".to_owned()) });
        assert!(!whole);
    }

    #[test]
    fn what_is_out_of_place_is_an_error_and_no_answer() {
        for text in [
            "@status p1 0",
            "@program p1\n@status p2 0",
            "@program p1\n@end p1",
            "@program p1\n@status p1 x",
            "@program p1\n@status p1 0\n@output YQ",
            "@program p1\n@status p1 0\n@output Y?==",
            "@program p1\n@status p1 0\n@end p2",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
