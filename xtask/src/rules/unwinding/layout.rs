//! Where the fields of a structure of registers lie, read from its declaration.
//!
//! All words of such a structure have one size, so its layout is their order (`repr(C)`).

use anyhow::{Context, Result, bail, ensure};

/// The fields of one structure.
#[derive(Debug)]
pub(super) struct Layout {
    word: i64,
    /// Name, and words before it.
    fields: Vec<(String, i64)>,
    /// Bytes of the whole.
    pub(super) size: i64,
}

impl Layout {
    /// Reads the declaration of `name` from a source file.
    pub(super) fn read(source: &str, name: &str) -> Result<Self> {
        let head = format!("pub struct {name} {{");
        let (before, after) =
            source.split_once(&head).with_context(|| format!("no `{head}` in the source"))?;
        let attributes = before.rsplit_once("\n\n").map_or(before, |(_, last)| last);
        ensure!(attributes.contains("#[repr(C"), "{name} is laid out as the compiler likes");
        let body = after.split("\n}").next().unwrap_or_default();
        let (mut word, mut words, mut fields) = (0, 0, Vec::new());
        for line in body.lines().map(str::trim) {
            let Some((field, kind)) = line
                .strip_prefix("pub ")
                .and_then(|line| line.trim_end_matches(',').split_once(": "))
            else {
                ensure!(line.is_empty() || line.starts_with("//"), "what is `{line}` in {name}?");
                continue;
            };
            let array = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']'));
            let (kind, number) = match array.and_then(|array| array.split_once("; ")) {
                Some((kind, number)) => (kind, number.parse()?),
                None => (kind, 1),
            };
            let size = match kind {
                "u64" => 8,
                "u32" => 4,
                _ => bail!("{name}::{field} is no word: {kind}"),
            };
            ensure!(word == 0 || word == size, "{name} has words of two sizes");
            word = size;
            fields.push((field.to_owned(), words));
            words += number;
        }
        // Aligned structures are padded at their end.
        let align = match attributes.split_once("align(").and_then(|(_, rest)| rest.split_once(')'))
        {
            Some((align, _)) => align.parse()?,
            None => 1,
        };
        let bytes: i64 = word * words;
        ensure!(bytes > 0, "{name} has no fields");
        Ok(Self { word, fields, size: (bytes + align - 1) / align * align })
    }

    /// Where the `number`th word of a field lies.
    pub(super) fn offset(&self, field: &str, number: usize) -> Result<i64> {
        let found = self.fields.iter().find(|(name, _)| name == field);
        let (_, before) = found.with_context(|| format!("there is no field {field}"))?;
        Ok((before + number as i64) * self.word)
    }
}
