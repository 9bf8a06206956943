//! The catalogue's rows: what there is to show, and where each row applies.
//!
//! A test says which rows it shows by beginning its name with their ids:
//! `t4_t11_a_failed_refill_leaks_nothing` shows T4 and T11.

/// The rows, one per line: id, places (architectures, `all`, `host`), title.
const ROWS: &str = include_str!("catalogue.tsv");

/// Every architecture that `all` means, in the order of the catalogue.
const ALL: [&str; 5] = ["x86_64", "i386", "arm64", "arm32", "riscv64"];

/// One row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    /// Its id, such as `T4`.
    pub(crate) id: &'static str,
    /// What it is about.
    pub(crate) title: &'static str,
    places: &'static str,
}

impl Row {
    /// Whether the row is to be shown on a column: an architecture, or `host`.
    pub(crate) fn applies_to(&self, column: &str) -> bool {
        self.places
            .split(' ')
            .any(|place| place == column || (place == "all" && ALL.contains(&column)))
    }
}

/// Every row, in the catalogue's order.
pub(crate) fn rows() -> impl Iterator<Item = Row> {
    ROWS.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        Some(Row { id: fields.next()?, places: fields.next()?, title: fields.next()? })
    })
}

/// The ids with which a test's name begins, in capitals.
///
/// Only the last segment of a path counts, and an id is one letter and one or two digits.
pub(crate) fn ids_of(test: &str) -> Vec<String> {
    let name = test.rsplit("::").next().unwrap_or(test);
    name.split('_').take_while(|token| is_id(token)).map(str::to_ascii_uppercase).collect()
}

/// The ids with which a test's name begins and which are no rows.
pub(crate) fn unknown_ids_of(test: &str) -> Vec<String> {
    ids_of(test).into_iter().filter(|id| rows().all(|row| row.id != id)).collect()
}

fn is_id(token: &str) -> bool {
    let mut bytes = token.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && matches!(bytes.len(), 1 | 2)
        && bytes.all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_are_the_leading_tokens_of_the_last_segment() {
        assert_eq!(ids_of("t4_a_full_cache_flushes"), ["T4"]);
        assert_eq!(ids_of("cache::tests::t4_t11_nothing_leaks"), ["T4", "T11"]);
        assert_eq!(ids_of("t4::x_y"), [""; 0]);
        assert_eq!(ids_of("a_t4_late"), [""; 0]);
        assert_eq!(ids_of("t123_x"), [""; 0]);
        assert_eq!(ids_of("t_x"), [""; 0]);
        assert_eq!(ids_of("T4_x"), [""; 0]);
        assert_eq!(ids_of("t4"), ["T4"]);
    }

    #[test]
    fn a_mistyped_id_is_told() {
        assert_eq!(unknown_ids_of("t4_t19_x"), ["T19"]);
        assert_eq!(unknown_ids_of("t4_n10_x"), [""; 0]);
    }

    #[test]
    fn every_row_is_complete_and_no_id_occurs_twice() {
        let mut ids: Vec<&str> = rows().map(|row| row.id).collect();
        assert_eq!(ids.len(), ROWS.lines().count());
        assert_eq!(ids.len(), 79);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 79);
        for row in rows() {
            assert!(is_id(&row.id.to_ascii_lowercase()), "{}", row.id);
            assert!(!row.title.is_empty() && row.title.len() <= 60, "{}: {}", row.id, row.title);
            let known = |place: &str| ALL.contains(&place) || ["all", "host"].contains(&place);
            assert!(row.places.split(' ').all(known), "{}: {}", row.id, row.places);
        }
    }

    #[test]
    fn rows_apply_where_the_catalogue_says() {
        let row = |id| rows().find(|row| row.id == id).unwrap();
        assert!(row("T11").applies_to("host") && row("T11").applies_to("riscv64"));
        assert!(!row("T4").applies_to("host") && row("T4").applies_to("x86_64"));
        assert!(row("N5").applies_to("host") && !row("N5").applies_to("x86_64"));
        assert!(!row("I9").applies_to("x86_64") && row("I9").applies_to("arm64"));
    }
}
