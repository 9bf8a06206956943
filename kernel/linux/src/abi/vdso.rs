//! The vDSO: a small shared object that the kernel maps into every program, made at compile time.
//!
//! ```text
//!   file header, two program headers (all of it to be loaded; the dynamic section)
//!   hash table, symbols, names, versions of symbols, versions, dynamic section
//!   code: what goes back from signal handlers first, then each function
//! ```
//!
//! C libraries and language runtimes look functions up by name and version, as in any shared object
//! (System V ABI, "Dynamic Linking"; symbol versions as the GNU tools have them). Each function
//! here makes the system call.
//!
//! Nothing of the kernel is needed here: the tests run on the host.

/// Bytes of the image: a page.
pub const BYTES: usize = 4096;

/// A function: its name and its code.
pub type Function = (&'static str, &'static [u8]);

/// What an image is made from.
#[derive(Debug, Clone, Copy)]
pub struct Contents {
    /// `e_machine`.
    pub machine: u16,
    /// Bytes of a word: 4 or 8.
    pub word: usize,
    /// `DT_SONAME`.
    pub name: &'static str,
    /// The version that all symbols have.
    pub version: &'static str,
    /// What goes back from a signal handler: code that need not have a name.
    pub trampoline: &'static [u8],
    /// The name of the trampoline's beginning; empty: none.
    pub trampoline_name: &'static str,
    pub functions: &'static [Function],
}

/// An image, and where the trampoline is in it.
#[derive(Debug)]
pub struct Image {
    pub bytes: [u8; BYTES],
    pub trampoline: usize,
}

const HASH: u64 = 4;
const STRING_TABLE: u64 = 5;
const SYMBOL_TABLE: u64 = 6;
const STRING_BYTES: u64 = 10;
const SYMBOL_BYTES: u64 = 11;
const SHARED_NAME: u64 = 14;
const SYMBOL_VERSIONS: u64 = 0x6fff_fff0;
const VERSIONS: u64 = 0x6fff_fffc;
const VERSION_COUNT: u64 = 0x6fff_fffd;
/// Entries of the dynamic section, with the end.
const ENTRIES: usize = 10;
/// Bytes of a version with its one name.
const VERSION_BYTES: usize = 28;

struct Writer {
    bytes: [u8; BYTES],
    at: usize,
    word: usize,
}

impl Writer {
    const fn put(&mut self, value: u64, bytes: usize) {
        let value = value.to_le_bytes();
        let mut i = 0;
        while i < bytes {
            self.bytes[self.at] = value[i];
            self.at += 1;
            i += 1;
        }
    }

    const fn word(&mut self, value: u64) {
        self.put(value, self.word);
    }

    /// A word as large as the format's class.
    const fn half(&mut self, value: u64) {
        self.put(value, 2);
    }

    const fn quad(&mut self, value: u64) {
        self.put(value, 4);
    }

    const fn all(&mut self, bytes: &[u8]) {
        let mut i = 0;
        while i < bytes.len() {
            self.bytes[self.at] = bytes[i];
            self.at += 1;
            i += 1;
        }
    }

    /// A string of the table that begins at `from`; gives out its place there.
    const fn string(&mut self, from: usize, text: &str) -> u64 {
        let place = self.at - from;
        self.all(text.as_bytes());
        self.at += 1;
        place as u64
    }

    const fn symbol(&mut self, name: u64, value: usize, bytes: usize) {
        /// Global, a function.
        const INFO: u64 = 0x12;
        /// Any section but none: the image has no table of sections.
        const SECTION: u64 = 1;
        self.quad(name);
        if self.word == 4 {
            self.quad(value as u64);
            self.quad(bytes as u64);
        }
        self.put(INFO, 1);
        self.put(0, 1);
        self.half(SECTION);
        if self.word == 8 {
            self.word(value as u64);
            self.word(bytes as u64);
        }
    }

    /// A version, its name being the one at `name` in the strings.
    const fn version(&mut self, index: u64, text: &str, name: u64, is_last: bool) {
        let is_base = index == 1;
        self.half(1);
        self.half(if is_base { 1 } else { 0 });
        self.half(index);
        self.half(1);
        self.quad(hash(text) as u64);
        self.quad(20);
        self.quad(if is_last { 0 } else { VERSION_BYTES as u64 });
        self.quad(name);
        self.quad(0);
    }
}

/// The ABI's hash of a name.
const fn hash(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut hash = 0_u32;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash << 4).wrapping_add(bytes[i] as u32);
        let high = hash & 0xf000_0000;
        hash = (hash ^ (high >> 24)) & !high;
        i += 1;
    }
    hash
}

const fn up(value: usize, to: usize) -> usize {
    value.next_multiple_of(to)
}

/// Makes an image. Does not compile where it would not fit.
pub const fn image(contents: &Contents) -> Image {
    let word = contents.word;
    let mut writer = Writer { bytes: [0; BYTES], at: 0, word };
    let has_name = if contents.trampoline_name.is_empty() { 0 } else { 1 };
    let symbols = 1 + has_name + contents.functions.len();
    let (header_bytes, one_header, symbol_bytes) =
        if word == 8 { (64, 56, 24) } else { (52, 32, 16) };
    let hash_at = up(header_bytes + 2 * one_header, 8);
    let symbols_at = up(hash_at + 4 * (3 + symbols), 8);
    let strings_at = symbols_at + symbol_bytes * symbols;

    // Names first: they decide where the rest is.
    writer.at = strings_at + 1;
    let own_name = writer.string(strings_at, contents.name);
    let version_name = writer.string(strings_at, contents.version);
    let names_at = writer.at;
    if has_name == 1 {
        writer.string(strings_at, contents.trampoline_name);
    }
    let mut i = 0;
    while i < contents.functions.len() {
        writer.string(strings_at, contents.functions[i].0);
        i += 1;
    }
    let string_bytes = writer.at - strings_at;
    let symbol_versions_at = up(writer.at, 2);
    writer.at = symbol_versions_at + 2;
    i = 1;
    while i < symbols {
        writer.half(2);
        i += 1;
    }
    let versions_at = up(writer.at, 8);
    writer.at = versions_at;
    writer.version(1, contents.name, own_name, false);
    writer.version(2, contents.version, version_name, true);
    let dynamic_at = up(writer.at, 8);
    writer.at = dynamic_at;
    let entries = [
        (SHARED_NAME, own_name),
        (HASH, hash_at as u64),
        (STRING_TABLE, strings_at as u64),
        (SYMBOL_TABLE, symbols_at as u64),
        (STRING_BYTES, string_bytes as u64),
        (SYMBOL_BYTES, symbol_bytes as u64),
        (VERSIONS, versions_at as u64),
        (VERSION_COUNT, 2),
        (SYMBOL_VERSIONS, symbol_versions_at as u64),
        (0, 0),
    ];
    i = 0;
    while i < ENTRIES {
        writer.word(entries[i].0);
        writer.word(entries[i].1);
        i += 1;
    }

    // Code, and the symbols that lead to it.
    let trampoline = up(writer.at, 16);
    writer.at = trampoline;
    writer.all(contents.trampoline);
    let mut code = up(writer.at, 16);
    let mut symbol_at = symbols_at + symbol_bytes;
    let mut name = names_at - strings_at;
    if has_name == 1 {
        writer.at = symbol_at;
        writer.symbol(name as u64, trampoline, contents.trampoline.len());
        symbol_at += symbol_bytes;
        name += contents.trampoline_name.len() + 1;
    }
    i = 0;
    while i < contents.functions.len() {
        let (text, bytes) = contents.functions[i];
        writer.at = code;
        writer.all(bytes);
        let next = up(writer.at, 16);
        writer.at = symbol_at;
        writer.symbol(name as u64, code, bytes.len());
        symbol_at += symbol_bytes;
        name += text.len() + 1;
        code = next;
        i += 1;
    }

    // One bucket, with all symbols.
    writer.at = hash_at;
    writer.quad(1);
    writer.quad(symbols as u64);
    writer.quad(1);
    i = 0;
    while i < symbols {
        writer.quad(if i == 0 || i + 1 == symbols { 0 } else { i as u64 + 1 });
        i += 1;
    }

    writer.at = 0;
    writer.all(&[0x7f, b'E', b'L', b'F', if word == 8 { 2 } else { 1 }, 1, 1]);
    writer.at = 16;
    writer.half(3);
    writer.half(contents.machine as u64);
    writer.quad(1);
    writer.word(0);
    writer.word(header_bytes as u64);
    writer.word(0);
    // ARM: the fifth version of its ABI.
    writer.quad(if contents.machine == 40 { 0x500_0000 } else { 0 });
    writer.half(header_bytes as u64);
    writer.half(one_header as u64);
    writer.half(2);
    // One entry of a table of sections would have 64 bytes, or 40; there is none.
    writer.half(if word == 8 { 64 } else { 40 });
    writer.at = header_bytes;
    header(&mut writer, 1, 5, 0, code, BYTES);
    header(&mut writer, 2, 4, dynamic_at, ENTRIES * 2 * word, word);
    Image { bytes: writer.bytes, trampoline }
}

/// A program header.
const fn header(
    writer: &mut Writer,
    kind: u64,
    flags: u64,
    at: usize,
    bytes: usize,
    alignment: usize,
) {
    writer.quad(kind);
    if writer.word == 8 {
        writer.quad(flags);
    }
    writer.word(at as u64);
    writer.word(at as u64);
    writer.word(at as u64);
    writer.word(bytes as u64);
    writer.word(bytes as u64);
    if writer.word == 4 {
        writer.quad(flags);
    }
    writer.word(alignment as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn number(bytes: &[u8], at: usize, size: usize) -> usize {
        bytes[at..at + size].iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte))
    }

    /// Looks a function up as a C library does: its code.
    fn look_up(image: &Image, word: usize, wanted: &str, version: &str) -> Option<Vec<u8>> {
        let bytes = &image.bytes;
        let text = |at: usize| {
            let end = bytes[at..].iter().position(|&byte| byte == 0).unwrap();
            std::str::from_utf8(&bytes[at..at + end]).unwrap()
        };
        let (headers, one) = if word == 8 { (64, 56) } else { (52, 32) };
        assert_eq!(number(bytes, headers, 4), 1);
        assert_eq!(number(bytes, headers + one, 4), 2);
        let mut at = number(bytes, headers + one + if word == 8 { 8 } else { 4 }, word);
        let mut entries = Vec::new();
        while number(bytes, at, word) != 0 {
            entries.push((number(bytes, at, word), number(bytes, at + word, word)));
            at += 2 * word;
        }
        let entry = |key: u64| entries.iter().find(|entry| entry.0 == key as usize).unwrap().1;
        let (strings, symbols) = (entry(STRING_TABLE), entry(SYMBOL_TABLE));
        // The version's number, by its hash and its name.
        let mut at = entry(VERSIONS);
        let mut index = None;
        for _ in 0..entry(VERSION_COUNT) {
            let name = text(strings + number(bytes, at + number(bytes, at + 12, 4), 4));
            assert_eq!(number(bytes, at + 8, 4), hash(name) as usize);
            if name == version {
                index = Some(number(bytes, at + 4, 2));
            }
            at += number(bytes, at + 16, 4);
        }
        let chains = entry(HASH);
        assert_eq!(number(bytes, chains, 4), 1);
        let mut symbol = number(bytes, chains + 8, 4);
        while symbol != 0 {
            let at = symbols + symbol * entry(SYMBOL_BYTES);
            let same_version = index == Some(number(bytes, entry(SYMBOL_VERSIONS) + 2 * symbol, 2));
            if text(strings + number(bytes, at, 4)) == wanted && same_version {
                let (value, size) = if word == 8 { (at + 8, at + 16) } else { (at + 4, at + 8) };
                let from = number(bytes, value, word);
                return Some(bytes[from..from + number(bytes, size, word)].to_vec());
            }
            symbol = number(bytes, chains + 12 + 4 * symbol, 4);
        }
        None
    }

    #[test]
    fn p1_functions_of_the_vdso_are_found_by_name_and_version() {
        for word in [4, 8] {
            let mut contents = Contents {
                machine: 40,
                word,
                name: "linux-vdso.so.1",
                version: "LINUX_2.6",
                trampoline: &[1, 2, 3],
                trampoline_name: "back",
                functions: &[("first", &[4; 17]), ("second", &[5])],
            };
            let made = image(&contents);
            let found = |name| look_up(&made, word, name, "LINUX_2.6");
            assert_eq!(found("first"), Some([4; 17].to_vec()));
            assert_eq!(found("second"), Some([5].to_vec()));
            assert_eq!(found("back"), Some([1, 2, 3].to_vec()));
            assert_eq!(found("third"), None);
            assert_eq!(look_up(&made, word, "first", "LINUX_2.7"), None);
            assert_eq!(made.bytes[made.trampoline..][..3], [1, 2, 3]);
            contents.trampoline_name = "";
            let made = image(&contents);
            assert_eq!(look_up(&made, word, "back", "LINUX_2.6"), None);
            assert_eq!(look_up(&made, word, "second", "LINUX_2.6"), Some([5].to_vec()));
        }
    }

    #[test]
    fn p1_names_are_hashed_as_the_abi_has_it() {
        assert_eq!(hash(""), 0);
        assert_eq!(hash("LINUX_2.6"), 0x03ae_75f6);
        assert_eq!(hash("LINUX_2.6.39"), 0x075f_cb89);
    }
}
