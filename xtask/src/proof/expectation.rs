//! Whether the report of a death says what the test expected.
//!
//! A death test announces what the report must contain, then dies. Three forms:
//!
//! | form | holds if |
//! |---|---|
//! | `key=value` | the report has the key with exactly this value |
//! | `backtrace~=name` | some element of the report's comma list contains the name |
//! | `frames>=3` | the backtrace has at least so many elements (other keys: the number is at least that) |
//!
//! A key that the report lacks is a mismatch: silence confirms nothing. An announcement that nothing could contradict is none:
//! it names at least the stack and the cause, and no field of it holds of every report.

use crate::boot::control::{self, Fields};

/// What does not match, in words; empty if all matches.
pub(crate) fn mismatches(expected: &[String], report: &Fields) -> Vec<String> {
    expected.iter().filter_map(|field| mismatch(field, report)).collect()
}

/// Why these fields announce nothing, if so.
pub(crate) fn is_no_announcement(expected: &[String]) -> Option<String> {
    let exact = |key: &str| {
        expected.iter().any(|field| field.split_once('=').is_some_and(|(name, _)| name == key))
    };
    if let Some(missing) = ["stack", "cause"].iter().find(|key| !exact(key)) {
        return Some(format!("it does not say {missing}=..."));
    }
    let idle = expected.iter().find(|field| field.ends_with("~=") || field.ends_with(">=0"));
    idle.map(|field| format!("{field} always holds"))
}

fn mismatch(expected: &str, report: &Fields) -> Option<String> {
    let value =
        |key: &str| report.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    if let Some((key, wanted)) = expected.split_once("~=") {
        let wanted = control::decode(wanted);
        let Some(list) = value(key) else {
            return Some(format!("the report has no {key}"));
        };
        let found = list.split(',').any(|element| element.contains(&wanted));
        return (!found).then(|| format!("{key} has no element with \"{wanted}\": {list}"));
    }
    if let Some((key, wanted)) = expected.split_once(">=") {
        let Ok(wanted) = wanted.parse::<u64>() else {
            return Some(format!("unreadable expectation \"{expected}\""));
        };
        let actual = match (key, value(key)) {
            ("frames", None) => value("backtrace")
                .map(|list| list.split(',').filter(|element| !element.is_empty()).count() as u64),
            (_, text) => text.and_then(|text| text.parse().ok()),
        };
        return match actual {
            Some(actual) if actual >= wanted => None,
            Some(actual) => Some(format!("{key} is {actual}, expected at least {wanted}")),
            None => Some(format!("the report has no number {key}")),
        };
    }
    let Some((key, wanted)) = expected.split_once('=') else {
        return Some(format!("unreadable expectation \"{expected}\""));
    };
    let wanted = control::decode(wanted);
    match value(key) {
        Some(actual) if actual == wanted => None,
        Some(actual) => Some(format!("{key} is \"{actual}\", expected \"{wanted}\"")),
        None => Some(format!("the report has no {key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Fields {
        [
            ("stack", "irq"),
            ("side", "below"),
            ("victim", "the one"),
            ("depth", "16384"),
            ("backtrace", "kernel::dig,kernel::dig,kernel::irq_entry"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn check(expected: &[&str]) -> Vec<String> {
        mismatches(&expected.iter().map(|&field| field.to_owned()).collect::<Vec<_>>(), &report())
    }

    #[test]
    fn matching_fields_leave_nothing_to_say() {
        assert!(
            check(&[
                "stack=irq",
                "victim=the%20one",
                "backtrace~=dig",
                "frames>=3",
                "depth>=16384"
            ])
            .is_empty()
        );
    }

    #[test]
    fn every_wrong_field_is_named() {
        assert_eq!(
            check(&["stack=thread", "side=below", "cpu=2"]),
            ["stack is \"irq\", expected \"thread\"", "the report has no cpu"]
        );
        assert_eq!(check(&["frames>=4"]), ["frames is 3, expected at least 4"]);
        assert_eq!(check(&["depth>=16385"]).len(), 1);
        assert!(check(&["backtrace~=softirq"])[0].contains("no element with \"softirq\""));
    }

    #[test]
    fn an_announcement_names_stack_and_cause_and_nothing_that_always_holds() {
        let no_announcement = |expected: &[&str]| {
            let fields: Vec<String> = expected.iter().map(|&field| field.to_owned()).collect();
            is_no_announcement(&fields)
        };
        assert_eq!(no_announcement(&["stack=irq", "frames>=3", "cause=guard-hit"]), None);
        for (weak, why) in [
            (&[][..], "it does not say stack=..."),
            (&["cause=guard-hit"], "it does not say stack=..."),
            (&["stack~=irq", "cause=guard-hit"], "it does not say stack=..."),
            (&["stack=irq", "cause>=1"], "it does not say cause=..."),
            (&["stack=irq", "cause=x", "frames>=0"], "frames>=0 always holds"),
            (&["backtrace~=", "stack=irq", "cause=x"], "backtrace~= always holds"),
        ] {
            assert_eq!(no_announcement(weak).as_deref(), Some(why), "{weak:?}");
        }
    }

    #[test]
    fn values_are_compared_exactly() {
        assert_eq!(check(&["stack=ir"]).len(), 1);
        assert_eq!(check(&["stack=irqs"]).len(), 1);
        assert_eq!(check(&["stack="]).len(), 1);
    }

    #[test]
    fn an_expectation_that_cannot_be_read_never_holds() {
        assert_eq!(check(&["stack"]).len(), 1);
        assert_eq!(check(&["frames>=many"]).len(), 1);
        assert_eq!(check(&["victim>=1"]).len(), 1);
    }
}
