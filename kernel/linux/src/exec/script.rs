//! Scripts: files whose first line names the program that runs them.
//!
//! ```text
//!   #! /usr/bin/program  one argument, blanks included  \n
//! ```
//!
//! As Linux reads it (fs/binfmt_script.c): the first 256 bytes count, blanks are spaces and tabs,
//! and a line that does not end within them may be cut in its argument but not in the program's
//! path.

/// Bytes of a file that are looked at.
const LOOKED_AT: usize = 256;

/// What a first line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'f> {
    /// The path of the program.
    pub program: &'f [u8],
    /// Its argument.
    pub argument: Option<&'f [u8]>,
}

const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// What the beginning of a script says that nothing can be made of (`ENOEXEC`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The first line of a script; `None`: the file is no script.
pub(super) fn first_line(file: &[u8]) -> Option<Result<Line<'_>, Unreadable>> {
    let rest = file.strip_prefix(b"#!")?;
    Some(read(rest, file.len() >= LOOKED_AT).ok_or(Unreadable))
}

/// `rest`: what is behind the two marks. `is_long`: the file has more than is looked at.
fn read(rest: &[u8], is_long: bool) -> Option<Line<'_>> {
    // A byte is left for the end, as there.
    let rest = &rest[..rest.len().min(LOOKED_AT - 2)];
    let is_end = |&byte: &u8| is_blank(byte) || byte == 0;
    let line = match rest.iter().position(|&byte| byte == b'\n') {
        Some(end) => &rest[..end],
        None => {
            let rest = &rest[..rest.len().min(LOOKED_AT - 3)];
            let start = rest.iter().position(|&byte| !is_blank(byte))?;
            // Cut within the path: another program might be run. A short file ends with zeros.
            if is_long && !rest[start..].iter().any(is_end) {
                return None;
            }
            rest
        }
    };
    let line = &line[..line.iter().rposition(|&byte| !is_blank(byte))? + 1];
    let line = &line[line.iter().position(|&byte| !is_blank(byte))?..];
    let end = line.iter().position(is_end).unwrap_or(line.len());
    let (program, rest) = line.split_at(end);
    if program.is_empty() {
        return None;
    }
    let argument = match rest.first() {
        // Strings end at a zero.
        None | Some(0) => None,
        Some(_) => rest.iter().position(|&byte| !is_blank(byte)).map(|at| {
            let argument = &rest[at..];
            let end = argument.iter().position(|&byte| byte == 0).unwrap_or(argument.len());
            &argument[..end]
        }),
    };
    Some(Line { program, argument })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    type Words<'l> = (&'l [u8], Option<&'l [u8]>);

    fn line(text: &[u8]) -> Option<Result<Words<'_>, Unreadable>> {
        first_line(text).map(|line| line.map(|line| (line.program, line.argument)))
    }

    #[test]
    fn p1_the_first_line_of_a_script_is_read_as_linux_reads_it() {
        for (text, program, argument) in [
            (&b"#!/bin/sh\necho"[..], &b"/bin/sh"[..], None),
            (b"#!/bin/sh", b"/bin/sh", None),
            (b"#! \t /bin/sh \t\n", b"/bin/sh", None),
            (b"#!/bin/sh -e\n", b"/bin/sh", Some(&b"-e"[..])),
            (b"#!/bin/sh  -e  -x \t\n", b"/bin/sh", Some(b"-e  -x")),
            (b"#!/bin/sh\r\n", b"/bin/sh\r", None),
            (b"#!a\0b c\n", b"a", None),
            (b"#!a b\0c\n", b"a", Some(b"b")),
        ] {
            assert_eq!(line(text), Some(Ok((program, argument))), "{text:?}");
        }
        for text in [&b"#!"[..], b"#!\n", b"#! \t \n/bin/sh\n", b"#!\0\n"] {
            assert_eq!(line(text), Some(Err(Unreadable)), "{text:?}");
        }
        for text in [&b""[..], b"#", b"# !/bin/sh\n", b" #!/bin/sh\n"] {
            assert_eq!(line(text), None, "{text:?}");
        }
    }

    #[test]
    fn p1_a_first_line_may_be_cut_in_its_argument_but_not_in_its_path() {
        let long = |start: &[u8]| -> Vec<u8> {
            start.iter().copied().chain(std::iter::repeat_n(b'x', 400)).collect()
        };
        let text = long(b"#!/bin/sh ");
        let (program, argument) = line(&text).unwrap().unwrap();
        assert_eq!((program, argument.map(<[u8]>::len)), (&b"/bin/sh"[..], Some(255 - 10)));
        assert_eq!(line(&long(b"#!/bin/sh")), Some(Err(Unreadable)));
        let blanks: Vec<u8> = b"#!".iter().copied().chain([b' '; 400]).collect();
        assert_eq!(line(&blanks), Some(Err(Unreadable)));
        // The line's end is the last byte that is looked at.
        for (path, fits) in [(253, true), (254, false)] {
            let mut text = b"#!".to_vec();
            text.resize(2 + path, b'x');
            text.extend_from_slice(b"\nmore of the script");
            assert_eq!(line(&text).unwrap().is_ok(), fits, "{path}");
        }
    }
}
