//! How errors say what is wrong: one sentence per variant, in one place per type.

/// Implements `Display` with these sentences, and `Error`.
macro_rules! sentences {
    ($type:ident { $($variant:ident => $sentence:literal,)* }) => {
        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $sentence,)*
                })
            }
        }

        impl core::error::Error for $type {}
    };
}
pub(crate) use sentences;
