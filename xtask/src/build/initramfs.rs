//! The image that the kernel finds its files in: a cpio archive in the "newc" format.
//!
//! ```text
//!   /bin/busybox        Debian's, unmodified
//!   /bin/cat ...        symbolic links to it, by which a shell finds its commands
//!   /etc/passwd ...     what a shell wants to see
//!   /kstack/symbols     the kernel's functions by address (see symbols)
//!   /kstack/bin/*       our own user programs
//!   /kstack/argv        mode=run: NUL-separated arguments, the first one is the program's name
//!   /kstack/program     mode=run: the program itself, or a link to one of the above
//!   /tmp /proc /dev     empty
//! ```
//!
//! An entry is a header of 13 eight-digit hexadecimal numbers behind the magic `070701`, the name with
//! its NUL, and the data; name and data are each padded to a multiple of four bytes. The entry
//! `TRAILER!!!` ends the archive. (Format: the kernel documentation's "initramfs buffer format".)

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::arch::{Arch, Board};
use crate::build::user::Built;
use crate::build::{image, kernel, symbols, user};
use crate::setup::Ready;
use crate::workspace;

const DIRECTORY: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// Names under which busybox is called, as links to it: what people type, not all it can do.
const APPLETS: [&str; 40] = [
    "ash", "basename", "cat", "cp", "cut", "date", "dirname", "echo", "env", "expr", "false",
    "grep", "head", "id", "kill", "ln", "ls", "mkdir", "mv", "printenv", "printf", "ps", "pwd",
    "readlink", "rm", "rmdir", "sed", "seq", "sh", "sleep", "sort", "tail", "tee", "test", "touch",
    "tr", "true", "uname", "uniq", "wc",
];

/// A program that is to run in the kernel.
pub(crate) struct Program {
    /// Where it comes from.
    source: Source,
    /// Its arguments, the first one being its name as the user wrote it.
    arguments: Vec<String>,
}

/// Where the program comes from.
enum Source {
    /// A file of this machine, with these contents.
    Here(Vec<u8>),
    /// A program of the image, by its name there.
    Image(String),
}

impl Program {
    /// Reads a program, so that a wrong path is told before anything boots. A bare name that is not a file here
    /// means the image's own program. Whether a file can be run is for the kernel to say, as it would be on Linux.
    pub(crate) fn read(arguments: &[String]) -> Result<Program> {
        let name = arguments.first().context("no program given")?;
        ensure!(
            arguments.iter().all(|argument| !argument.contains('\0')),
            "an argument contains a NUL byte"
        );
        let path = Path::new(name);
        let arguments = arguments.to_vec();
        if !name.contains('/') && !path.exists() {
            ensure!(
                in_image(name).is_some(),
                "\"{name}\" is neither a file here nor a program of the image, which has {}",
                offered().join(", ")
            );
            return Ok(Program { source: Source::Image(name.clone()), arguments });
        }
        let metadata = fs::metadata(path).with_context(|| match base_of_image(path) {
            Some(base) => format!(
                "cannot run \"{name}\" of this machine (the image has one of its own: `cargo xtask run -- {base} ...`)"
            ),
            None => format!("cannot run \"{name}\""),
        })?;
        ensure!(metadata.is_file(), "cannot run \"{name}\": it is not a file");
        let file = fs::read(path).with_context(|| format!("cannot read \"{name}\""))?;
        Ok(Program { source: Source::Here(file), arguments })
    }
}

/// The path in the image of a program that is called by a bare name.
fn in_image(name: &str) -> Option<String> {
    if name == "busybox" || APPLETS.contains(&name) {
        return Some(format!("/bin/{name}"));
    }
    user::names().ok()?.iter().any(|own| own == name).then(|| format!("/kstack/bin/{name}"))
}

/// What can be called by a bare name.
fn offered() -> Vec<String> {
    let own = user::names().unwrap_or_default();
    ["busybox"].iter().chain(&APPLETS).map(|&name| name.to_owned()).chain(own).collect()
}

/// The last part of a path, if the image has a program of that name.
fn base_of_image(path: &Path) -> Option<&str> {
    path.file_name()?.to_str().filter(|name| in_image(name).is_some())
}

/// What goes into an image.
struct Contents<'a> {
    /// The static busybox.
    busybox: &'a Path,
    /// The text of the symbol table.
    symbols: &'a str,
    /// Our own user programs.
    user: &'a [Built],
    /// The program of mode=run.
    program: Option<&'a Program>,
}

/// The kernel, built, and the image to boot it with.
pub(crate) struct Prepared {
    /// The kernel, in the form that the machine wants.
    pub(crate) kernel: PathBuf,
    /// The archive.
    pub(crate) image: PathBuf,
}

/// Builds the kernel for a machine and our user programs, and writes an image of that name.
pub(crate) fn prepare(
    arch: Arch,
    board: &Board,
    ready: &Ready,
    program: Option<&Program>,
    name: &str,
) -> Result<Prepared> {
    let kernel = kernel::build(arch, board.features, ready)?;
    let symbols = symbols::table(&kernel)?;
    let user = user::build(arch, ready)?;
    let contents = Contents { busybox: &ready.busybox, symbols: &symbols, user: &user, program };
    let image = write(&contents, workspace::logs()?.join(format!("{arch}-{name}.cpio")))?;
    Ok(Prepared { kernel: image::bootable(arch, kernel)?, image })
}

/// Writes an image and gives its path.
fn write(contents: &Contents<'_>, path: PathBuf) -> Result<PathBuf> {
    let busybox = fs::read(contents.busybox)
        .with_context(|| format!("cannot read {}", contents.busybox.display()))?;
    let mut archive = Archive::default();
    for folder in ["bin", "etc", "kstack", "kstack/bin", "tmp", "proc", "dev"] {
        archive.add(folder, DIRECTORY, &[])?;
    }
    archive.add("bin/busybox", PROGRAM, &busybox)?;
    for applet in APPLETS {
        archive.add(&format!("bin/{applet}"), LINK, b"busybox")?;
    }
    archive.add("etc/passwd", FILE, b"root:x:0:0:root:/:/bin/busybox\n")?;
    archive.add("etc/group", FILE, b"root:x:0:\n")?;
    archive.add("etc/hostname", FILE, b"kstack\n")?;
    archive.add("kstack/symbols", FILE, contents.symbols.as_bytes())?;
    for Built { name, path } in contents.user {
        let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        archive.add(&format!("kstack/bin/{name}"), PROGRAM, &file)?;
    }
    if let Some(program) = contents.program {
        let arguments: Vec<u8> = program
            .arguments
            .iter()
            .flat_map(|argument| argument.bytes().chain(std::iter::once(0)))
            .collect();
        archive.add("kstack/argv", FILE, &arguments)?;
        match &program.source {
            Source::Here(file) => archive.add("kstack/program", PROGRAM, file)?,
            Source::Image(name) => {
                let path = in_image(name).context("the image has lost a program")?;
                archive.add("kstack/program", LINK, path.as_bytes())?;
            }
        }
    }
    fs::write(&path, archive.finish()?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// A "newc" archive in the making.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an entry.
    fn add(&mut self, name: &str, mode: u32, data: &[u8]) -> Result<()> {
        // An inode number of its own for each entry: equal ones would be taken for hard links.
        self.entries += 1;
        let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
        self.entry(self.entries, name, mode, links, data)
    }

    /// Ends the archive and gives its bytes.
    fn finish(mut self) -> Result<Vec<u8>> {
        self.entry(0, "TRAILER!!!", 0, 1, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, inode: u32, name: &str, mode: u32, links: u32, data: &[u8]) -> Result<()> {
        let size = u32::try_from(data.len())
            .with_context(|| format!("{name} is too large for the image (4 GiB)"))?;
        let name_size = u32::try_from(name.len() + 1).context("a name is too long")?;
        // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, check
        let numbers = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode and data of an entry.
    type Entry = (String, u32, Vec<u8>);

    /// Reads an archive as the format's description has it, independently of the writer.
    fn entries(bytes: &[u8]) -> Vec<Entry> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701", "magic at {at}");
            let number = |index: usize| {
                let from = at + 6 + index * 8;
                u32::from_str_radix(std::str::from_utf8(&bytes[from..from + 8]).unwrap(), 16)
                    .unwrap()
            };
            let name_from = at + 110;
            let name_size = number(11) as usize;
            let name = std::str::from_utf8(&bytes[name_from..name_from + name_size - 1]).unwrap();
            assert_eq!(bytes[name_from + name_size - 1], 0);
            let data_from = (name_from + name_size).next_multiple_of(4);
            let data_end = data_from + number(6) as usize;
            if name == "TRAILER!!!" {
                assert_eq!(data_end.next_multiple_of(4), bytes.len());
                return found;
            }
            found.push((name.to_owned(), number(1), bytes[data_from..data_end].to_vec()));
            at = data_end.next_multiple_of(4);
        }
    }

    #[test]
    fn an_archive_reads_back_whatever_the_lengths() {
        let mut archive = Archive::default();
        let mut expected = Vec::new();
        for length in 0..9 {
            let name = "n".repeat(length + 1);
            let data = vec![b'd'; length];
            archive.add(&name, FILE, &data).unwrap();
            expected.push((name, FILE, data));
        }
        archive.add("tmp", DIRECTORY, &[]).unwrap();
        expected.push(("tmp".to_owned(), DIRECTORY, Vec::new()));
        assert_eq!(entries(&archive.finish().unwrap()), expected);
    }

    #[test]
    fn the_image_holds_the_program_and_its_arguments() {
        let folder = std::env::temp_dir().join(format!("kstack-image-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let busybox = folder.join("busybox");
        fs::write(&busybox, b"\x7fELF...").unwrap();
        let program = Program {
            source: Source::Here(b"\x7fELF!".to_vec()),
            arguments: vec!["./hello".to_owned(), String::new(), "a b".to_owned()],
        };
        let own = folder.join("own");
        fs::write(&own, b"\x7fELF?").unwrap();
        let contents = Contents {
            busybox: &busybox,
            symbols: "0 1 start\n",
            user: &[Built { name: "bench".to_owned(), path: own }],
            program: Some(&program),
        };
        let image = fs::read(write(&contents, folder.join("image")).unwrap()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let entries = entries(&image);
        let find = |name: &str| entries.iter().find(|entry| entry.0 == name).unwrap();
        assert_eq!(find("kstack/argv").2, b"./hello\0\0a b\0");
        assert_eq!(
            find("kstack/program"),
            &("kstack/program".to_owned(), PROGRAM, b"\x7fELF!".to_vec())
        );
        assert_eq!(find("bin/busybox").1, PROGRAM);
        assert_eq!(find("kstack/bin/bench").2, b"\x7fELF?");
        assert_eq!(find("bin/cat"), &("bin/cat".to_owned(), LINK, b"busybox".to_vec()));
        assert_eq!(find("proc").1, DIRECTORY);
        assert_eq!(find("kstack/symbols").2, b"0 1 start\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = |path: &str| format!("{:#}", Program::read(&[path.to_owned()]).err().unwrap());
        assert!(error("/nonexistent/x").contains("/nonexistent/x"));
        assert!(error("/").contains("not a file"));
        assert!(error("nosuchprogram").contains("busybox, ash"));
        assert!(error("/nonexistent/busybox").contains("run -- busybox"));
    }

    #[test]
    fn a_bare_name_means_the_image_s_own_program() {
        let program = Program::read(&["busybox".to_owned(), "sh".to_owned()]).unwrap();
        assert!(matches!(&program.source, Source::Image(name) if name == "busybox"));
        assert_eq!(in_image("cat").as_deref(), Some("/bin/cat"));
        assert_eq!(in_image("family").as_deref(), Some("/kstack/bin/family"));
        assert_eq!(in_image("vi"), None);
    }
}
