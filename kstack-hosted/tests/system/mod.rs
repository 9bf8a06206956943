//! What the system says of this process.

use kstack_hosted::AddrRange;

const PAGE: usize = 4096;

/// How many pages of a range have memory.
pub(crate) fn pages_with_memory(range: AddrRange) -> usize {
    let mut pages = vec![0_u8; range.size().get() / PAGE];
    let (at, size) = (range.lowest.get() as *mut libc::c_void, range.size().get());
    // SAFETY: (1) asks only, and writes a byte per page.
    assert_eq!(unsafe { libc::mincore(at, size, pages.as_mut_ptr()) }, 0);
    pages.into_iter().filter(|page| page & 1 != 0).count()
}

/// Whether something is mapped at an address.
pub(crate) fn is_mapped(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the system lists them");
    maps.lines().any(|line| {
        let (lowest, rest) = line.split_once('-').expect("a range");
        let (top, _) = rest.split_once(' ').expect("a range");
        let number = |text| usize::from_str_radix(text, 16).expect("a number");
        (number(lowest)..number(top)).contains(&address)
    })
}

/// Runs `body` while the process may have only so many bytes of something. False, without running
/// it, where an emulator of programs keeps the limit from itself and so from them.
pub(crate) fn limited(what: libc::__rlimit_resource_t, bytes: u64, body: impl FnOnce()) -> bool {
    if std::env::var_os("KSTACK_HOSTED_RUNNER").is_some() {
        return false;
    }
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: (1) reads and writes what is passed.
    unsafe {
        assert_eq!(libc::getrlimit(what, &raw mut before), 0);
        let limit = libc::rlimit { rlim_cur: bytes, ..before };
        assert_eq!(libc::setrlimit(what, &raw const limit), 0);
    }
    body();
    // SAFETY: (1) as above.
    assert_eq!(unsafe { libc::setrlimit(what, &raw const before) }, 0);
    true
}
