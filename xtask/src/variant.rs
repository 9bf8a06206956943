//! Variants of the reference kernel: what the compiler adds to every function of it.
//!
//! The usual kernel is built by the plain stable compiler. A variant is built by the same compiler
//! with unstable options (`RUSTC_BOOTSTRAP`), and so are its own `core` and `alloc`: an option that
//! changes frames must hold for all of them. Where LLVM knows what is wanted only under another
//! target's name, the variant has a target of its own: the usual one's description, as the compiler
//! prints it, with that name in it.
//!
//! | variant | what is added | on |
//! | --- | --- | --- |
//! | `protector` | a canary in each frame with an array; `kstack::protector` says where it is | all but arm32 |
//! | `sanitizer` | a question before each load and store; `kstack::sanitizer` answers it | 64 bits |

/// How a kernel is built.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Variant {
    /// As the compiler does it.
    Usual,
    /// With the stack protector.
    Protector,
    /// With the kernel address sanitizer.
    Sanitizer,
}

/// What a variant's target has otherwise than the usual one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The name that LLVM goes by.
    pub(crate) llvm: &'static str,
    /// What is added to the list of features.
    pub(crate) features: &'static str,
}

impl Variant {
    /// All but the usual one.
    pub(crate) const ALL: [Variant; 2] = [Variant::Protector, Variant::Sanitizer];

    /// Its name on the command line and in paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Variant::Usual => "usual",
            Variant::Protector => "protector",
            Variant::Sanitizer => "sanitizer",
        }
    }

    /// Reads a name from the command line.
    pub(crate) fn parse(name: &str) -> Result<Variant, String> {
        let known = Variant::ALL.into_iter().find(|variant| variant.name() == name);
        let names = || Variant::ALL.map(Variant::name).join(", ");
        known.ok_or_else(|| format!("there is no such variant; there is {}", names()))
    }

    /// The feature of the kernel that goes with it.
    pub(crate) fn feature(self) -> Option<&'static str> {
        match self {
            Variant::Usual => None,
            Variant::Protector => Some("stack-protector"),
            Variant::Sanitizer => Some("address-sanitizer"),
        }
    }

    /// Flags for everything compiled for the kernel's target, `core` included.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Variant::Usual => &[],
            Variant::Protector => &["-Zunstable-options", "-Zstack-protector=strong"],
            Variant::Sanitizer => &[
                "-Zunstable-options",
                "-Zsanitizer=kernel-address",
                // Tell, and go on: the kernel decides.
                "-Zsanitizer-recover=kernel-address",
                // Calls for everything: no code but the library's touches shadow.
                "-Cllvm-args=-asan-instrumentation-with-call-threshold=0",
                "-Cllvm-args=-asan-max-inline-poisoning-size=0",
                "-Cllvm-args=-asan-stack=1",
                // No frame whose size is known only when it runs.
                "-Cllvm-args=-asan-stack-dynamic-alloca=0",
                "-Cllvm-args=-asan-globals=0",
                // `kstack::sanitizer::OFFSET`.
                "-Cllvm-args=-asan-mapping-offset=0xdffffc0000000000",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_known_by_its_name_and_nothing_else() {
        for variant in Variant::ALL {
            assert_eq!(Variant::parse(variant.name()), Ok(variant));
            assert!(variant.feature().is_some() && !variant.flags().is_empty());
        }
        assert!(Variant::parse("usual").unwrap_err().contains("protector"));
    }
}
