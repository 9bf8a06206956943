//! The tree as it begins: what the archive brought, and what every Linux has.

use super::attributes::Moment;
use super::file_bytes::FileBytes;
use super::pty;
use super::tree::{Content, Node, Special, add, find, link_to, remove};
use machine::initramfs;
use machine::spin::SpinLock;

/// Unpacks the archive, which stays where it is, and adds /dev, /proc and /tmp.
pub fn unpack(archive: &'static [u8]) {
    for entry in initramfs::entries(archive) {
        let path = entry.name.trim_start_matches("./");
        if path.is_empty() || path == "." {
            continue;
        }
        make_directories(path);
        let node = match entry.mode & 0o170000 {
            0o040000 => Node::directory(),
            0o120000 => match core::str::from_utf8(entry.contents) {
                Ok(target) => link_to(target),
                Err(_) => continue,
            },
            _ => {
                let bytes = Content::File(SpinLock::new(FileBytes::of_archive(entry.contents)));
                Node::new(bytes, entry.mode & 0o7777)
            }
        };
        let node = node.expect("memory for the archive's files");
        node.attributes.set_from_archive(entry.user, entry.group, Moment::of_seconds(entry.time));
        // As Linux unpacks: a later file takes the place of an earlier one. A directory stays,
        // whatever leads to it.
        if !node.is_directory() && find("/", path, false).is_ok_and(|there| !there.is_directory()) {
            let _there_already = remove("/", path, false);
        }
        let _there_already = add("/", path, node);
    }
    let specials = [
        ("dev/null", Special::Null),
        ("dev/zero", Special::Zero),
        ("dev/full", Special::Full),
        ("dev/random", Special::Random),
        ("dev/urandom", Special::Urandom),
        ("dev/console", Special::Console),
        ("dev/tty", Special::Terminal),
        ("dev/ptmx", Special::Ptmx),
        ("proc", Special::Proc),
        ("sys", Special::Proc),
    ];
    make_directories("tmp/x");
    make_directories("dev/shm/x");
    make_directories("dev/pts/x");
    let slaves = find("/", "dev/pts", true).expect("made above");
    pty::add_directory(&slaves, pty::Rules::USUAL).expect("memory at boot");
    let ptmx = Node::new(Content::Special(Special::Ptmx), 0).expect("memory at boot");
    let _there_already = add("/", "dev/pts/ptmx", ptmx);
    for path in ["tmp", "dev/shm"] {
        // Everybody's, and each file its maker's.
        find("/", path, true).expect("made above").attributes.set_permissions(0o1777);
    }
    let links = [
        ("dev/fd", "/proc/self/fd"),
        ("dev/stdin", "/proc/self/fd/0"),
        ("dev/stdout", "/proc/self/fd/1"),
        ("dev/stderr", "/proc/self/fd/2"),
    ];
    for (path, target) in links {
        let _there_already = add("/", path, link_to(target).expect("memory at boot"));
    }
    let _there_already = remove("/", "proc", true);
    for (path, special) in specials {
        make_directories(path);
        let node = Node::new(Content::Special(special), 0o666).expect("memory at boot");
        let _there_already = add("/", path, node);
    }
}

fn make_directories(path: &str) {
    for (at, _) in path.match_indices('/') {
        let node = Node::directory().expect("memory at boot");
        let _there_already = add("/", &path[..at], node);
    }
}
