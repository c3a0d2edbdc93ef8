//! Versions of nats-server: compared as numbers, and which of them are tested.

/// The file that scripts install servers from too, so that nobody names a version twice.
const SERVERS: &str = include_str!("../nats-servers.txt");

/// Major, minor and patch number of `2.9.10` or `v2.11.0-preview.1`; none for what is no version.
pub(super) fn numbers(text: &str) -> Option<(u64, u64, u64)> {
    let mut parts = text.trim_start_matches('v').splitn(3, '.');
    let mut number = || {
        let part = parts.next()?;
        let digits = part.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    };
    Some((number()?, number()?, number()?))
}

/// Whether a server of the second version comes after one of the first and is older by one of the
/// first two numbers, with which the form of the store changes.
pub fn goes_back(from: &str, to: &str) -> bool {
    let kind = |text: &str| numbers(text).map(|(major, minor, _)| (major, minor));
    kind(from).zip(kind(to)).is_some_and(|(from, to)| to < from)
}

/// The versions of nats-server that the project is tested with, newest first. The first is the one
/// that everything is tested with.
pub fn tested() -> impl Iterator<Item = &'static str> {
    // An entry is `<package>==<version> \`, and its hashes on lines that begin with a blank.
    SERVERS
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()))
        .filter_map(|line| line.rsplit('=').next()?.split_whitespace().next())
}

/// The version that a machine without nats-server is given.
pub fn pinned() -> &'static str {
    tested().next().unwrap_or_default()
}

/// Why an operator should think twice about a server of this version: it is older than all that are
/// tested, or no version with its first two numbers is. None for the others.
pub fn remark(version: &str) -> Option<String> {
    let known: Vec<_> = tested().filter_map(numbers).collect();
    let found = numbers(version);
    let kind = |(major, minor, _): (u64, u64, u64)| (major, minor);
    let what = match (found, known.iter().min()) {
        (Some(found), Some(oldest)) if found < *oldest => "is older than all that are tested",
        (Some(found), _) if known.iter().any(|known| kind(*known) == kind(found)) => return None,
        _ => "belongs to a minor version that is not tested",
    };
    let mut names: Vec<&str> = tested().collect();
    names.reverse();
    Some(format!(
        "nats-server {version} {what}: {}",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn versions_are_read_as_numbers() {
        for (text, read) in [
            ("2.9.10", Some((2, 9, 10))),
            ("v2.9.9", Some((2, 9, 9))),
            ("2.10.0-beta.4", Some((2, 10, 0))),
            ("2.11.0-preview.1", Some((2, 11, 0))),
            ("2.9", None),
            ("next", None),
            ("", None),
        ] {
            assert_eq!(numbers(text), read, "{text}");
        }
    }

    #[test]
    fn the_tested_versions_are_read_newest_first() {
        let versions: Vec<_> = tested().map(|text| numbers(text).unwrap()).collect();
        assert!(versions.len() > 1, "{versions:?}");
        assert!(versions.is_sorted_by(|a, b| a > b), "{versions:?}");
        assert_eq!(numbers(pinned()), versions.first().copied());
    }

    #[test]
    fn only_servers_without_tests_are_remarked_on() {
        for version in tested().chain(["2.10.0", "2.12.99", "v2.15.2-RC.1"]) {
            assert_eq!(remark(version), None, "{version}");
        }
        let list = "2.9.10, 2.10.26, 2.11.11, 2.12.8, 2.14.6, 2.15.1";
        for (version, what) in [
            ("2.9.9", "is older than all that are tested"),
            ("2.8.4", "is older than all that are tested"),
            ("1.4.1", "is older than all that are tested"),
            ("2.13.0", "belongs to a minor version that is not tested"),
            ("2.99.0", "belongs to a minor version that is not tested"),
            ("3.0.0", "belongs to a minor version that is not tested"),
            ("next", "belongs to a minor version that is not tested"),
        ] {
            let said = format!("nats-server {version} {what}: {list}");
            assert_eq!(remark(version), Some(said));
        }
    }
}
