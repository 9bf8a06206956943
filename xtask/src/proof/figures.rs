//! What benches count, for the tables of people and programs.

use serde::Serialize;

use crate::arch::Arch;
use crate::proof::against::Measured;

/// A figure, as the JSON file has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) arch: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: String,
    linux: Option<f64>,
}

impl Figure {
    pub(crate) fn new(
        name: String,
        arch: Arch,
        value: f64,
        unit: String,
        linux: &Measured,
    ) -> Figure {
        let linux = linux.median(arch, &name);
        Figure { name, arch: arch.name(), value, unit, linux }
    }

    pub(crate) fn is(&self, arch: Arch, name: &str) -> bool {
        self.arch == arch.name() && self.name == name
    }
}

/// A number, or a dash.
pub(crate) fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// A number with separated thousands, and one decimal only if it has any.
pub(crate) fn number(value: f64) -> String {
    let rounded = format!("{value:.1}");
    let (whole, decimal) = rounded.split_once('.').unwrap_or((&rounded, "0"));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if decimal == "0" { format!("{sign}{text}") } else { format!("{sign}{text}.{decimal}") }
}
