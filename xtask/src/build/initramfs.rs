//! The image that the kernel finds its files in: a cpio archive in the "newc" format.
//!
//! ```text
//!   /bin /sbin /lib ... links into /usr
//!   /usr/bin/busybox    Debian's, unmodified
//!   /usr/bin/cat ...    symbolic links to it, by which a shell finds its commands
//!   /etc/passwd ...     what a shell wants to see
//!   /kstack/symbols     the kernel's functions by address (see symbols)
//!   /kstack/frames      where the caller of each instruction is (see crate::rules::unwinding)
//!   /kstack/checked     what the checks of the kernel's image have found (see kernel::checked)
//!   /kstack/bin/*       our own user programs
//!   /kstack/argv        mode=run: NUL-separated arguments, the first one is the program's name
//!   /kstack/program     mode=run: a link to the program, which lies where it was named, if nothing
//!                       else does
//!   /tmp /proc /dev     empty
//! ```
//!
//! The archive of packages that were asked for follows it: what is in that one counts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::{Arch, Board};
use crate::build::applets::APPLETS;
use crate::build::user::Built;
use crate::build::{image, kernel, symbols, user};
use crate::cpio::{Archive, DIRECTORY, FILE, LINK, PROGRAM};
use crate::rules::unwinding;
use crate::setup::{Ready, System};
use crate::workspace;

/// Users and groups that programs look for on every Linux.
const USERS: &[u8] = b"root:x:0:0:root:/:/bin/busybox\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
bin:x:2:2:bin:/bin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
const GROUPS: &[u8] =
    b"root:x:0:\ndaemon:x:1:\nbin:x:2:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n";

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
    /// A program of the image, by its path there.
    Image(String),
    /// The first of these files, which come into the image: place, mode and contents of each.
    Files(Vec<(String, u32, Vec<u8>)>),
}

impl Program {
    /// The first of files that come into the image: place there without the leading slash, whether
    /// it is a program, and contents of each.
    pub(crate) fn of_files(files: Vec<(String, bool, Vec<u8>)>) -> Program {
        let arguments = files.first().map(|(place, ..)| format!("/{place}")).into_iter().collect();
        let files = files.into_iter().map(|(place, is_program, contents)| {
            (place, if is_program { PROGRAM } else { FILE }, contents)
        });
        Program { source: Source::Files(files.collect()), arguments }
    }

    /// Reads a program, so that a wrong path is told before anything boots. A bare name that is not
    /// a file here means the image's own program. Whether a file can be run is for the kernel to
    /// say, as it would be on Linux.
    pub(crate) fn read(arguments: &[String], system: Option<&System>) -> Result<Program> {
        let name = arguments.first().context("no program given")?;
        ensure!(
            arguments.iter().all(|argument| !argument.contains('\0')),
            "an argument contains a NUL byte"
        );
        let path = Path::new(name);
        let arguments = arguments.to_vec();
        if let Some(place) = system.and_then(|system| system.program(name)) {
            return Ok(Program { source: Source::Image(place), arguments });
        }
        if !name.contains('/') && !path.exists() {
            let place = in_image(name).with_context(|| {
                let of_packages = match system {
                    Some(system) => format!("; the packages have {}", system.names().join(", ")),
                    None => "; others are in the distribution's packages: --with PACKAGE".to_owned(),
                };
                format!(
                    "\"{name}\" is neither a file here nor a program of the image, which has {}{of_packages}",
                    offered().join(", ")
                )
            })?;
            return Ok(Program { source: Source::Image(place), arguments });
        }
        let metadata = fs::metadata(path).with_context(|| match base_of_image(path) {
            Some(base) => format!(
                "cannot run \"{name}\" of this machine (the image has one of its own: `cargo xtask run -- {base} ...`)"
            ),
            None => format!("cannot run \"{name}\""),
        })?;
        ensure!(metadata.is_file(), "cannot run \"{name}\": it is not a file");
        let file = fs::read(path).with_context(|| format!("cannot read \"{name}\""))?;
        if system.is_none()
            && let Some(loader) = loader_of(&file)
        {
            bail!(
                "\"{name}\" is linked dynamically: it wants {loader}. `--with libc6` brings the C library and its \
                 loader, and `--with` with more packages the other libraries"
            );
        }
        Ok(Program { source: Source::Here(file), arguments })
    }
}

/// Where a program of this machine lies in the image: where its name says, so that it finds itself
/// there, unless a file of the image might.
fn place_of(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let is_own = parts.first().is_none_or(|first| {
        ["bin", "sbin", "lib", "lib64", "usr", "etc", "kstack", "proc", "sys", "dev"]
            .contains(first)
    });
    if is_own || parts == ["tmp"] {
        return "kstack/run/".to_owned() + parts.last().unwrap_or(&"program");
    }
    parts.join("/")
}

/// The loader that a program names, if it is one for a loader (ELF, `PT_INTERP`).
fn loader_of(file: &[u8]) -> Option<String> {
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = file.get(at..at.checked_add(bytes)?)?;
        let value = field.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        usize::try_from(value).ok()
    };
    if !file.starts_with(b"\x7fELF") {
        return None;
    }
    // Places in the file's header, and of offset and size in a program header.
    let (word, headers, size, count, offset, bytes) = match *file.get(4)? {
        1 => (4, 28, 42, 44, 4, 16),
        _ => (8, 32, 54, 56, 8, 32),
    };
    let (headers, size, count) = (number(headers, word)?, number(size, 2)?, number(count, 2)?);
    for index in 0..count {
        let header = headers.checked_add(index * size)?;
        if number(header, 4)? == 3 {
            let from = number(header + offset, word)?;
            let path = file.get(from..from.checked_add(number(header + bytes, word)?)?)?;
            return Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned());
        }
    }
    None
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
    frames: &'a [u8],
    checked: &'a str,
    /// Our own user programs.
    user: &'a [Built],
    /// The program of mode=run.
    program: Option<&'a Program>,
    /// The packages that were asked for.
    system: Option<&'a System>,
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
    system: Option<&System>,
    name: &str,
) -> Result<Prepared> {
    let kernel = kernel::build(arch, board.features, board.variant, ready)?;
    let symbols = symbols::table(&kernel)?;
    let frames = unwinding::table(&kernel)?;
    let checked = kernel::checked(&kernel)?;
    let user = user::build(arch, ready)?;
    let contents = Contents {
        busybox: &ready.busybox,
        symbols: &symbols,
        frames: &frames,
        checked: &checked,
        user: &user,
        program,
        system,
    };
    let image = write(&contents, workspace::logs()?.join(format!("{arch}-{name}.cpio")))?;
    Ok(Prepared { kernel: image::bootable(arch, kernel)?, image })
}

/// Writes an image and gives its path.
fn write(contents: &Contents<'_>, path: PathBuf) -> Result<PathBuf> {
    let busybox = fs::read(contents.busybox)
        .with_context(|| format!("cannot read {}", contents.busybox.display()))?;
    let mut archive = Archive::default();
    for folder in [
        "usr",
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "etc",
        "kstack",
        "kstack/bin",
        "tmp",
        "proc",
        "dev",
    ] {
        archive.add(folder, DIRECTORY, &[])?;
    }
    // As on the distribution's installed machines.
    for link in ["bin", "sbin", "lib", "lib64"] {
        archive.add(link, LINK, format!("usr/{link}").as_bytes())?;
    }
    archive.add("usr/bin/busybox", PROGRAM, &busybox)?;
    for applet in APPLETS {
        archive.add(&format!("usr/bin/{applet}"), LINK, b"busybox")?;
    }
    archive.add("etc/passwd", FILE, USERS)?;
    archive.add("etc/group", FILE, GROUPS)?;
    archive.add("etc/hostname", FILE, b"kstack\n")?;
    archive.add("kstack/symbols", FILE, contents.symbols.as_bytes())?;
    archive.add("kstack/frames", FILE, contents.frames)?;
    archive.add("kstack/checked", FILE, contents.checked.as_bytes())?;
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
            Source::Here(file) => {
                let place = place_of(&program.arguments[0]);
                archive.add(&place, PROGRAM, file)?;
                archive.add("kstack/program", LINK, format!("/{place}").as_bytes())?;
            }
            Source::Image(place) => archive.add("kstack/program", LINK, place.as_bytes())?,
            Source::Files(files) => {
                let folders = |place: &str| -> Vec<String> {
                    let ends = place.match_indices('/').map(|(at, _)| place[..at].to_owned());
                    ends.collect()
                };
                // Linux makes no folder that the archive does not have before its files.
                let all: std::collections::BTreeSet<String> =
                    files.iter().flat_map(|(place, ..)| folders(place)).collect();
                for folder in all {
                    archive.add(&folder, DIRECTORY, &[])?;
                }
                for (place, mode, contents) in files {
                    archive.add(place, *mode, contents)?;
                }
                archive.add("kstack/program", LINK, program.arguments[0].as_bytes())?;
            }
        }
    }
    let mut bytes = archive.finish()?;
    if let Some(system) = contents.system {
        let more = fs::read(&system.archive)
            .with_context(|| format!("cannot read {}", system.archive.display()))?;
        bytes.extend_from_slice(&more);
    }
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::entries;

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
            frames: b"frames",
            checked: "checked",
            user: &[Built { name: "bench".to_owned(), path: own }],
            program: Some(&program),
            system: None,
        };
        let image = fs::read(write(&contents, folder.join("image")).unwrap()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let entries = entries(&image);
        let find = |name: &str| entries.iter().find(|entry| entry.0 == name).unwrap();
        assert_eq!(find("kstack/argv").2, b"./hello\0\0a b\0");
        assert_eq!(
            find("kstack/program"),
            &("kstack/program".to_owned(), LINK, b"/hello".to_vec())
        );
        assert_eq!(find("hello"), &("hello".to_owned(), PROGRAM, b"\x7fELF!".to_vec()));
        assert_eq!(find("usr/bin/busybox").1, PROGRAM);
        assert_eq!(find("bin"), &("bin".to_owned(), LINK, b"usr/bin".to_vec()));
        assert_eq!(find("kstack/bin/bench").2, b"\x7fELF?");
        assert_eq!(find("usr/bin/cat"), &("usr/bin/cat".to_owned(), LINK, b"busybox".to_vec()));
        assert_eq!(find("proc").1, DIRECTORY);
        assert_eq!(find("kstack/symbols").2, b"0 1 start\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error =
            |path: &str| format!("{:#}", Program::read(&[path.to_owned()], None).err().unwrap());
        assert!(error("/nonexistent/x").contains("/nonexistent/x"));
        assert!(error("/").contains("not a file"));
        assert!(error("nosuchprogram").contains("busybox, "));
        assert!(error("/nonexistent/busybox").contains("run -- busybox"));
    }

    #[test]
    fn a_bare_name_means_the_image_s_own_program() {
        let program = Program::read(&["busybox".to_owned(), "sh".to_owned()], None).unwrap();
        assert!(matches!(&program.source, Source::Image(path) if path == "/bin/busybox"));
        assert_eq!(in_image("cat").as_deref(), Some("/bin/cat"));
        assert_eq!(in_image("family").as_deref(), Some("/kstack/bin/family"));
        assert_eq!(in_image("vi").as_deref(), Some("/bin/vi"));
        assert_eq!(in_image("python3"), None);
    }

    #[test]
    fn a_program_lies_where_it_was_named_unless_the_image_might_have_something_there() {
        for (name, place) in [
            ("./hello", "hello"),
            ("/srv/me/a.out", "srv/me/a.out"),
            ("../x/../y", "y"),
            ("/tmp/t", "tmp/t"),
            ("/usr/bin/env", "kstack/run/env"),
            ("/bin/busybox", "kstack/run/busybox"),
        ] {
            assert_eq!(place_of(name), place);
        }
    }

    #[test]
    fn a_program_for_a_loader_is_told_what_brings_one() {
        let mut file = vec![0; 64 + 56 + 8];
        file[..5].copy_from_slice(b"\x7fELF\x02");
        (file[32], file[54], file[56], file[64]) = (64, 56, 1, 3);
        (file[64 + 8], file[64 + 32]) = (120, 8);
        file[120..].copy_from_slice(b"/ld.so.1");
        assert_eq!(loader_of(&file).as_deref(), Some("/ld.so.1"));
        file[64] = 1;
        assert_eq!(loader_of(&file), None);
        assert_eq!(loader_of(b"\x7fELF"), None);
        assert_eq!(loader_of(b"#!/bin/sh\n"), None);
    }
}
