//! Nothing to build. A script must be there for `links`, by which cargo refuses two versions of
//! this library in one kernel: its entry code has symbols of its own, and one per-CPU block is all
//! that a CPU can have.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
