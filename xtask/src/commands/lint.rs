//! `cargo xtask lint`: formatting, clippy, documentation and [`tidy`], all told before it fails.
//!
//! Host crates are checked with the user's own toolchain, the kernel with the one that builds it,
//! for its own target: only there does its code exist.

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use crate::arch::Arch;
use crate::boot::bochs;
use crate::build::{kernel, user};
use crate::proof::examples::{self, Place};
use crate::rules::tidy;
use crate::setup::Ready;
use crate::workspace::{self, cargo};
use crate::{jobs, progress, setup};

/// Each set of `kstack`'s layers that may be taken alone; `entry` brings all of them.
pub(crate) const LAYERS: [&str; 9] = [
    "",
    "stacks",
    "unwind",
    "switch",
    "stacks,unwind",
    "stacks,switch",
    "unwind,switch",
    "stacks,unwind,switch",
    "entry",
];

/// `cargo xtask lint`
pub(crate) fn command(archs: &[Arch]) -> Result<ExitCode> {
    let failures = AtomicUsize::new(0);
    let check = |name: &str, command: &mut Command| match progress::command(name, command) {
        Ok(_) => println!("ok      {name}"),
        Err(error) => {
            failures.fetch_add(1, Ordering::Relaxed);
            println!("FAILED  {error:#}");
        }
    };

    check("rustfmt", cargo("fmt").args(["--all", "--", "--check"]));
    for folder in setup::library::examples()? {
        let name = format!("rustfmt in {}", workspace::shown(&folder));
        check(&name, cargo("fmt").args(["--", "--check"]).current_dir(folder));
    }
    check(
        "clippy on the host",
        cargo("clippy").args(["--all-targets", "--quiet"]).args(["--", "-D", "warnings"]),
    );
    check(
        "documentation of the library",
        cargo("doc")
            .args([
                "-p",
                "kstack-core",
                "-p",
                "kstack",
                "-p",
                "kstack-hosted",
                "--no-deps",
                "--quiet",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );
    check(
        "documentation of xtask",
        cargo("doc")
            .args(["-p", "xtask", "--no-deps", "--document-private-items", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );
    let fresh = setup::library::forget_packages()?;
    check(
        "packages of the library",
        // Unpacked and built as they would be published, the second one on the first.
        cargo("package")
            .args(["-p", "kstack-core", "-p", "kstack", "-p", "kstack-hosted"])
            .args(["--allow-dirty", "--offline", "--quiet"])
            .arg("--target-dir")
            .arg(&fresh),
    );
    // The examples are built from the packages, at the place where these are unpacked.
    setup::library::pack()?;
    for (name, mut clippy) in examples::clippy(Place::Host, None)? {
        check(&name, &mut clippy);
    }
    for features in LAYERS {
        check(
            &format!("kstack with the layers [{features}]"),
            cargo("check")
                .args(["-p", "kstack", "--quiet", "--no-default-features", "--features", features])
                .env("RUSTFLAGS", "-D warnings")
                .arg("--target-dir")
                .arg(workspace::root().join("target/layers")),
        );
    }
    // First, one after another: each may fetch something.
    let ready = setup::ensure_all(archs)?;
    let jobs = archs.iter().copied().zip(&ready).collect();
    let checked = jobs::each(jobs, |(arch, ready)| check_for(arch, ready, &check));
    checked.into_iter().collect::<Result<()>>()?;

    let mut failed = failures.into_inner();
    let root = workspace::root();
    let breaches = [tidy::missing(&root), tidy::breaches(&root)?].concat();
    if breaches.is_empty() {
        println!("ok      tidy");
    } else {
        failed += 1;
        println!("FAILED  tidy:\n  {}", breaches.join("\n  "));
    }
    println!("{}", if failed == 0 { "all clean" } else { "not clean" });
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What only a target's compiler can check.
fn check_for(arch: Arch, ready: &Ready, check: &impl Fn(&str, &mut Command)) -> Result<()> {
    let clippy = setup::clippy(&ready.toolchain)?;
    let features = arch.board().features;
    // On 32-bit Arm the switch is part of the entry code.
    let alone = |layers: &&str| arch != Arch::Arm32 || !layers.contains("switch");
    for layers in LAYERS.into_iter().filter(alone) {
        check(
            &format!("kstack with the layers [{layers}] for {arch}"),
            &mut kernel::layers(ready.toolchain.cargo(), arch, layers, ready)?,
        );
    }
    check(
        &format!("clippy on the kernel for {arch}"),
        kernel::target(ready.toolchain.tool(&clippy), arch, features, ready, "clippy")?
            .args(["--quiet", "--", "-D", "warnings"]),
    );
    check(
        &format!("clippy on the user programs for {arch}"),
        user::target(ready.toolchain.tool(&clippy), arch, ready, "clippy")?
            .args(["--quiet", "--", "-D", "warnings"]),
    );
    for (name, mut clippy) in examples::clippy(Place::Emulated(arch), Some(ready))? {
        check(&name, &mut clippy);
    }
    if Arch::is_pc(arch) {
        check(
            &format!("clippy on the option ROM for {arch}"),
            bochs::rom_target(ready.toolchain.tool(&clippy), arch, ready, "clippy")?
                .args(["--quiet", "--", "-D", "warnings"]),
        );
    }
    let mut flags = kernel::flags(arch, ready);
    flags.retain(|flag| !flag.starts_with("-Clink"));
    // These pages have the private items too.
    flags.extend(["-Dwarnings", "-Arustdoc::private_intra_doc_links"].map(str::to_owned));
    check(
        &format!("documentation of the kernel for {arch}"),
        kernel::target(ready.toolchain.cargo(), arch, features, ready, "doc")?
            .args(["-p", "machine", "-p", "threads", "-p", "linux"])
            .args(["--no-deps", "--document-private-items", "--quiet"])
            .env("RUSTDOC", ready.toolchain.rustc.with_file_name("rustdoc"))
            .env("CARGO_ENCODED_RUSTDOCFLAGS", flags.join("\u{1f}")),
    );
    Ok(())
}
