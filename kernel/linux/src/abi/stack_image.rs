//! The first contents of a program's stack: arguments, environment, auxiliary vector.
//!
//! ```text
//!   top   0x7fff_ffff_f000   one word of zero
//!                            path of the program, NUL
//!                            environment strings, argument strings
//!                            platform string, 16 random bytes
//!                            padding
//!                            auxiliary vector: pairs, the last one zero
//!                            environment pointers, zero
//!                            argument pointers, zero
//!   SP ->                    argument count; SP is a multiple of 16
//! ```
//!
//! As in the System V ABI's processor supplements ("Initial Process Stack"). Strings are limited as
//! Linux limits them.

/// Keys of the auxiliary vector, under the names of the ABI: AT_PHDR and so on.
#[derive(Debug)]
pub struct Auxiliary;

impl Auxiliary {
    pub const NULL: u64 = 0;
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const BASE: u64 = 7;
    pub const FLAGS: u64 = 8;
    pub const ENTRY: u64 = 9;
    pub const UID: u64 = 11;
    pub const EUID: u64 = 12;
    pub const GID: u64 = 13;
    pub const EGID: u64 = 14;
    pub const PLATFORM: u64 = 15;
    pub const HWCAP: u64 = 16;
    pub const CLKTCK: u64 = 17;
    pub const SECURE: u64 = 23;
    pub const RANDOM: u64 = 25;
    pub const HWCAP2: u64 = 26;
    pub const RSEQ_FEATURE_SIZE: u64 = 27;
    pub const RSEQ_ALIGN: u64 = 28;
    pub const EXECFN: u64 = 31;
    pub const SYSINFO_EHDR: u64 = 33;
    pub const MINSIGSTKSZ: u64 = 51;
}

/// The structure by which a thread learns which CPU it is on (`struct rseq`).
pub mod sequences {
    /// Bytes of it that mean something.
    pub const KNOWN_BYTES: u64 = 28;
    /// How it is aligned.
    pub const ALIGNMENT: u64 = 32;
}

/// Entries of the auxiliary vector that every image has at the end: those that point into it, those
/// of restartable sequences, and the last one.
const LAST_ENTRIES: usize = 7;

/// Longest single string, with its NUL.
pub const MAX_STRING: usize = 32 * 4096;

/// What all strings and pointers together may take, for a stack limit in bytes.
pub const fn string_limit(stack_limit: u64) -> usize {
    let quarter = stack_limit / 4;
    let most = if quarter < 6 << 20 { quarter } else { 6 << 20 };
    if most < 128 << 10 { 128 << 10 } else { most as usize }
}

/// Too many or too long strings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ExecStackError {
    /// One string is longer than [`MAX_STRING`].
    StringTooLong,
    /// All together are more than the limit.
    TooManyBytes,
}

/// Bytes of a pointer and a count in the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WordSize {
    /// 32-bit programs.
    Four,
    /// 64-bit programs.
    Eight,
}

impl WordSize {
    /// How many bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// What the stack gets.
#[derive(Debug)]
pub struct StackImage<'a, S> {
    /// The arguments. If there are none, one empty argument is passed: programs rely on there being
    /// one.
    pub argv: &'a [S],
    /// The environment.
    pub envp: &'a [S],
    /// The auxiliary vector, without the entries that point into the image itself and without the
    /// end.
    pub auxiliary: &'a [(u64, u64)],
    /// What AT_RANDOM points at.
    pub random: [u8; 16],
    /// AT_HWCAP2.
    pub more_hardware: u64,
    /// What AT_PLATFORM points at.
    pub platform: &'a [u8],
    /// The program's path.
    pub path: &'a [u8],
    /// The program's word.
    pub word: WordSize,
}

/// Where everything of an image lies, in bytes from its lowest byte, which is where SP points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StackLayout {
    bytes: usize,
    strings: usize,
}

impl StackLayout {
    /// Bytes of the whole image. SP is the top less this.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<S: AsRef<[u8]>> StackImage<'_, S> {
    /// How large the image is below `top`, a multiple of 16; strings and their pointers may take
    /// `limit` bytes.
    pub fn layout(&self, limit: usize) -> Result<StackLayout, ExecStackError> {
        let word = self.word.bytes();
        let mut strings = 0_usize;
        for string in self.argv.iter().chain(self.envp).map(AsRef::as_ref).chain([self.path]) {
            if string.len() >= MAX_STRING {
                return Err(ExecStackError::StringTooLong);
            }
            // Each also costs the pointer to it.
            strings = strings.saturating_add(string.len() + 1);
        }
        let empty_argument = usize::from(self.argv.is_empty());
        // Each argument and variable also costs the pointer to it.
        let pointers = (self.argv.len().max(1) + self.envp.len()).saturating_mul(word);
        if strings.saturating_add(pointers) > limit {
            return Err(ExecStackError::TooManyBytes);
        }
        strings += empty_argument;
        // High to low: the zero word, strings, platform, random bytes.
        let above = word + strings + self.platform.len() + 1 + self.random.len();
        let auxiliary = (self.auxiliary.len() + LAST_ENTRIES) * 2;
        let words = 1 + self.argv.len() + empty_argument + 1 + self.envp.len() + 1 + auxiliary;
        let bytes = (above + words * word).next_multiple_of(16);
        Ok(StackLayout { bytes, strings: bytes - above })
    }

    /// Where the strings of the arguments and of the environment begin, and where the latter end,
    /// above SP.
    pub fn strings_at(&self, layout: StackLayout) -> [usize; 3] {
        let bytes = |strings: &[S]| strings.iter().map(|one| one.as_ref().len() + 1).sum::<usize>();
        let arguments = layout.strings + self.random.len() + self.platform.len() + 1;
        let environment = arguments + bytes(self.argv) + usize::from(self.argv.is_empty());
        [arguments, environment, environment + bytes(self.envp)]
    }

    /// Writes the image to `into`, which has exactly the layout's size and will lie right below
    /// `top`.
    pub fn write(&self, layout: StackLayout, top: u64, into: &mut [u8]) {
        into.fill(0);
        let sp = top - layout.bytes as u64;
        let mut writer = Writer { into, words: 0, strings: layout.strings, sp, word: self.word };
        let random = writer.string(&self.random, false);
        let platform = writer.string(self.platform, true);
        writer.put(self.argv.len().max(1) as u64);
        for argument in self.argv {
            let at = writer.string(argument.as_ref(), true);
            writer.put(at);
        }
        if self.argv.is_empty() {
            let at = writer.string(b"", true);
            writer.put(at);
        }
        writer.put(0);
        for variable in self.envp {
            let at = writer.string(variable.as_ref(), true);
            writer.put(at);
        }
        writer.put(0);
        let path = writer.string(self.path, true);
        let last: [_; LAST_ENTRIES] = [
            (Auxiliary::RANDOM, random),
            (Auxiliary::HWCAP2, self.more_hardware),
            (Auxiliary::EXECFN, path),
            (Auxiliary::PLATFORM, platform),
            (Auxiliary::RSEQ_FEATURE_SIZE, sequences::KNOWN_BYTES),
            (Auxiliary::RSEQ_ALIGN, sequences::ALIGNMENT),
            (Auxiliary::NULL, 0),
        ];
        for (key, value) in self.auxiliary.iter().copied().chain(last) {
            writer.put(key);
            writer.put(value);
        }
    }
}

/// Fills an image from both ends of its two parts: words from SP up, strings from their own lowest
/// byte up.
struct Writer<'b> {
    into: &'b mut [u8],
    words: usize,
    strings: usize,
    sp: u64,
    word: WordSize,
}

impl Writer<'_> {
    fn put(&mut self, value: u64) {
        let bytes = self.word.bytes();
        self.into[self.words..self.words + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        self.words += bytes;
    }

    fn string(&mut self, string: &[u8], with_end: bool) -> u64 {
        let at = self.strings;
        self.into[at..at + string.len()].copy_from_slice(string);
        // The end is zero already.
        self.strings += string.len() + usize::from(with_end);
        self.sp + at as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const TOP: u64 = 0x7fff_ffff_f000;

    /// Reads an image back as a program's start-up code does.
    struct Program {
        image: Vec<u8>,
        sp: u64,
        word: usize,
    }

    impl Program {
        fn start(image: &StackImage<'_, Vec<u8>>) -> Self {
            let layout = image.layout(string_limit(8 << 20)).expect("within the limits");
            let mut bytes = vec![0xee; layout.bytes()];
            image.write(layout, TOP, &mut bytes);
            Self { image: bytes, sp: TOP - layout.bytes() as u64, word: image.word.bytes() }
        }

        fn word(&self, index: usize) -> u64 {
            let mut bytes = [0; 8];
            bytes[..self.word].copy_from_slice(&self.image[index * self.word..][..self.word]);
            u64::from_le_bytes(bytes)
        }

        fn string(&self, at: u64) -> Vec<u8> {
            let at = if self.word == 4 { at | TOP & !0xffff_ffff } else { at };
            let from = (at - self.sp) as usize;
            self.image[from..].iter().copied().take_while(|&byte| byte != 0).collect()
        }

        /// Strings from a word on, up to the null pointer; and the index behind it.
        fn strings(&self, mut index: usize) -> (Vec<Vec<u8>>, usize) {
            let mut strings = Vec::new();
            while self.word(index) != 0 {
                strings.push(self.string(self.word(index)));
                index += 1;
            }
            (strings, index + 1)
        }
    }

    fn strings(count: usize, seed: usize) -> Vec<Vec<u8>> {
        (0..count).map(|i| vec![b'a' + ((i + seed) % 26) as u8; (i * 7 + seed) % 40]).collect()
    }

    #[test]
    fn p1_a_program_finds_everything_it_was_given() {
        for word in [WordSize::Eight, WordSize::Four] {
            for (arguments, variables) in [(1, 0), (1, 1), (3, 2), (17, 40), (500, 3)] {
                let (argv, envp) = (strings(arguments, 1), strings(variables, 5));
                let image = StackImage {
                    argv: &argv,
                    envp: &envp,
                    auxiliary: &[(Auxiliary::PAGESZ, 4096), (Auxiliary::ENTRY, 0x40_1000)],
                    random: *b"0123456789abcdef",
                    more_hardware: 0,
                    platform: b"x86_64",
                    path: b"/bin/program",
                    word,
                };
                let program = Program::start(&image);
                assert_eq!(program.sp % 16, 0);
                assert_eq!(program.word(0), arguments as u64);
                let (found, next) = program.strings(1);
                assert_eq!(found, argv);
                let (found, mut next) = {
                    let (found, next) = program.strings(next);
                    (found, next)
                };
                assert_eq!(found, envp);
                let mut auxiliary = Vec::new();
                while program.word(next) != Auxiliary::NULL {
                    auxiliary.push((program.word(next), program.word(next + 1)));
                    next += 2;
                }
                let value = |key| auxiliary.iter().find(|entry| entry.0 == key).expect("present").1;
                assert_eq!(value(Auxiliary::PAGESZ), 4096);
                assert_eq!(value(Auxiliary::ENTRY), 0x40_1000);
                assert_eq!(value(Auxiliary::RSEQ_FEATURE_SIZE), 28);
                assert_eq!(value(Auxiliary::RSEQ_ALIGN), 32);
                assert_eq!(program.string(value(Auxiliary::PLATFORM)), b"x86_64");
                assert_eq!(program.string(value(Auxiliary::EXECFN)), b"/bin/program");
                assert_eq!(program.string(value(Auxiliary::RANDOM))[..16], *b"0123456789abcdef");
                // The end word.
                assert_eq!(program.image[program.image.len() - 4..], [0; 4]);
            }
        }
    }

    #[test]
    fn p1_no_arguments_are_one_empty_argument() {
        let image = StackImage::<Vec<u8>> {
            argv: &[],
            envp: &[],
            auxiliary: &[],
            random: [1; 16],
            more_hardware: 0,
            platform: b"x",
            path: b"/p",
            word: WordSize::Eight,
        };
        let program = Program::start(&image);
        assert_eq!(program.word(0), 1);
        assert_eq!(program.strings(1).0, [b""]);
    }

    #[test]
    fn p1_too_much_is_refused_by_name() {
        let image = |argv: &[Vec<u8>], limit| {
            let image = StackImage {
                argv,
                envp: &[],
                auxiliary: &[],
                random: [1; 16],
                more_hardware: 0,
                platform: b"x",
                path: b"/p",
                word: WordSize::Eight,
            };
            image.layout(limit).map(|layout| layout.bytes())
        };
        assert_eq!(
            image(&[vec![b'a'; MAX_STRING]], usize::MAX),
            Err(ExecStackError::StringTooLong)
        );
        assert!(image(&[vec![b'a'; MAX_STRING - 1]], usize::MAX).is_ok());
        let many = vec![vec![b'a'; 1000]; 200];
        assert_eq!(image(&many, string_limit(0)), Err(ExecStackError::TooManyBytes));
        assert!(image(&many, string_limit(8 << 20)).is_ok());
        // Empty strings cost their pointers.
        assert_eq!(
            image(&vec![vec![]; 20_000], string_limit(0)),
            Err(ExecStackError::TooManyBytes)
        );
    }

    #[test]
    fn p1_the_limit_on_strings_is_linuxs() {
        assert_eq!(string_limit(8 << 20), 2 << 20);
        assert_eq!(string_limit(1 << 40), 6 << 20);
        assert_eq!(string_limit(4096), 128 << 10);
    }

    /// Red if the image has a byte too few, which would be another's, or an unneeded one that a
    /// program's limit pays for.
    #[test]
    fn p1_an_image_is_as_large_as_what_is_in_it_up_to_the_next_16_bytes() {
        for word in [WordSize::Four, WordSize::Eight] {
            for (arguments, variables) in [(0, 0), (0, 3), (1, 0), (3, 2), (40, 17)] {
                for path_bytes in 0..40 {
                    let (argv, envp) = (strings(arguments, 1), strings(variables, 5));
                    let path = vec![b'p'; path_bytes];
                    let image = StackImage {
                        argv: &argv,
                        envp: &envp,
                        auxiliary: &[(Auxiliary::PAGESZ, 4096), (Auxiliary::ENTRY, 0x40_1000)],
                        random: [1; 16],
                        more_hardware: 0,
                        platform: b"i686",
                        path: &path,
                        word,
                    };
                    let with_end = |string: &Vec<u8>| string.len() + 1;
                    // Without arguments there is an empty one: its pointer and its end.
                    let (none, no_argument) = (vec![vec![]], arguments == 0);
                    let argv = if no_argument { &none } else { &argv };
                    let texts: usize = argv.iter().chain(&envp).map(with_end).sum();
                    // The count, the pointers, two null pointers; the pairs; the zero word at the
                    // top.
                    let words = 1 + argv.len() + 1 + envp.len() + 1 + 2 * (2 + LAST_ENTRIES) + 1;
                    let all = words * word.bytes() + texts + path_bytes + 1 + 5 + 16;
                    let bytes = image.layout(1 << 20).expect("within the limit").bytes();
                    assert_eq!(
                        bytes,
                        all.div_ceil(16) * 16,
                        "{arguments} {variables} {path_bytes}"
                    );
                }
            }
        }
    }

    #[test]
    fn p1_a_string_may_take_32_pages_and_all_of_them_the_limit_to_the_last_byte() {
        assert_eq!(MAX_STRING, 131_072, "MAX_ARG_STRLEN");
        let argv = [vec![b'a'; 7]];
        let image = StackImage {
            argv: &argv,
            envp: &[],
            auxiliary: &[],
            random: [1; 16],
            more_hardware: 0,
            platform: b"x",
            path: b"/p",
            word: WordSize::Eight,
        };
        // Seven bytes and two, the ends of both, and the pointer to the argument.
        assert!(image.layout(7 + 2 + 2 + 8).is_ok());
        assert_eq!(image.layout(7 + 2 + 2 + 7), Err(ExecStackError::TooManyBytes));
    }
}
