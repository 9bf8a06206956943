//! Bochs, the second emulator of PCs: fetched only when a command needs it.
//!
//! It finds its devices and screens as plug-ins in a folder that was chosen when it was built; the launcher names the unpacked one.
//! Without that it takes the machine's own, or aborts. The screen is the one without libraries of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::cache::{self, Lock, State};
use super::packages::{Launcher, Packages};
use super::tools::own_architecture;
use crate::progress;

const NAME: &str = "bochs";

fn packages() -> Result<Packages> {
    let set = ["bochs", "bochs-term", "bochsbios", "vgabios"].map(str::to_owned);
    Ok(Packages {
        name: NAME.to_owned(),
        architecture: own_architecture()?,
        sets: vec![set.to_vec()],
        with_needs: true,
        programs: vec![Launcher {
            name: NAME.to_owned(),
            program: "usr/bin/bochs-bin",
            libraries: &[],
            variables: &[
                ("LTDL_LIBRARY_PATH", "@lib/bochs/plugins"),
                ("BXSHARE", "usr/share/bochs"),
            ],
            arguments: &[],
        }],
    })
}

/// The program, fetched if it is not there.
pub(crate) fn bochs() -> Result<PathBuf> {
    let packages = packages()?;
    if packages.state()? != State::Whole {
        let lock = Lock::take()?;
        // Another command may have made it meanwhile.
        let state = packages.state()?;
        if state != State::Whole {
            eprintln!("This needs Bochs: about 55 MB to download, 200 MB unpacked");
            cache::say_if_damaged(&packages.folder()?, &state);
            packages.make(&lock, check)?;
        }
    }
    Ok(packages.folder()?.join(Launcher::place(NAME)))
}

/// Whether it starts, with its plug-ins, and has the models that are used.
fn check(root: &Path) -> Result<()> {
    let program = root.join(Launcher::place(NAME));
    let output = Command::new(&program).args(["--help", "cpu"]).output();
    let output = output.with_context(|| format!("{} does not start", program.display()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    for part in ["Bochs x86 Emulator", "ryzen", "corei7_skylake_x"] {
        ensure!(said.contains(part), "Bochs does not say \"{part}\" but:\n{said}");
    }
    progress::detail(|| {
        said.lines().find(|line| line.contains("Emulator")).unwrap_or_default().trim().to_owned()
    });
    Ok(())
}
