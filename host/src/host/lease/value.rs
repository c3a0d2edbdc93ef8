//! The value of a host's lease and the recognition of its writer: pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::now;

/// The host that takes a lease.
#[derive(Debug, Clone)]
pub(in crate::host) struct Holder {
    /// The host's id.
    pub(in crate::host) host: String,
    /// Its name.
    pub(in crate::host) name: String,
    /// Distinguishes its data folder from every other one, copies included; `None` if the system
    /// provides nothing for that.
    pub(in crate::host) place: Option<String>,
}

/// The value of a lease.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Value {
    host_id: String,
    #[serde(default)]
    pub(super) name: String,
    /// The revision of the write that took the lease; 0 until the first renewal.
    #[serde(default)]
    term: u64,
    #[serde(default)]
    renewed_at: String,
    /// Distinguishes this process from every other one.
    #[serde(default)]
    run: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

/// The writer of a lease that exists when this process starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A process that had the lock of our data folder, so it has ended.
    Before,
    /// Another host of this name, which may be alive.
    Another(String),
}

/// Makes the values of this process.
#[derive(Debug)]
pub(super) struct Writer {
    holder: Holder,
    run: String,
}

impl Writer {
    pub(super) fn new(holder: Holder) -> Self {
        Self {
            holder,
            run: nuid::next().to_string(),
        }
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The value of a renewal; `term` is the revision of the write that took the lease, or 0.
    pub(super) fn value(&self, term: u64) -> Bytes {
        let value = Value {
            host_id: self.holder.host.clone(),
            name: self.holder.name.clone(),
            term,
            renewed_at: now(),
            run: self.run.clone(),
            place: self.holder.place.clone(),
        };
        Bytes::from(serde_json::to_vec(&value).unwrap_or_default())
    }

    /// The writer of a value that exists when this process starts. Later the place proves nothing:
    /// a machine that was copied while it ran has the same place.
    pub(super) fn owner_at_start(&self, value: &[u8]) -> Owner {
        match read(value) {
            Some(found) if found.place.is_some() && found.place == self.holder.place => {
                Owner::Before
            }
            found => Owner::Another(found.map(|found| found.name).unwrap_or_default()),
        }
    }
}

/// The name of the host that wrote a value.
pub(super) fn name(value: &[u8]) -> String {
    read(value).map(|found| found.name).unwrap_or_default()
}

fn read(value: &[u8]) -> Option<Value> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mistersmith_testing::fuzz;

    fn writer(name: &str, place: Option<&str>) -> Writer {
        Writer::new(Holder {
            host: "h".to_owned(),
            name: name.to_owned(),
            place: place.map(str::to_owned),
        })
    }

    #[test]
    fn a_lease_of_the_same_data_folder_is_taken_over_and_a_copy_is_not() {
        let another = |name: &str| Owner::Another(name.to_owned());
        let before = writer("one", Some("machine-1:folder"));
        let value = before.value(0);
        let cases = [
            (writer("one", Some("machine-1:folder")), Owner::Before),
            (writer("two", Some("machine-1:copy")), another("one")),
            (writer("two", Some("machine-2:folder")), another("one")),
            (writer("two", None), another("one")),
        ];
        for (us, expected) in cases {
            assert_eq!(us.owner_at_start(&value), expected, "{:?}", us.holder);
        }
        // Without a place to distinguish folders, no lease is taken over.
        let value = writer("one", None).value(0);
        assert_eq!(writer("two", None).owner_at_start(&value), another("one"));
        let old = br#"{"host_id":"h","name":"old","term":7,"renewed_at":"x"}"#;
        assert_eq!(writer("two", Some("p")).owner_at_start(old), another("old"));
        assert_eq!(writer("two", Some("p")).owner_at_start(b"?"), another(""));
    }

    #[test]
    fn fuzz_lease() {
        let words = [
            "\"host_id\":",
            "\"name\":",
            "\"term\":",
            "18446744073709551616",
            "null",
        ];
        fuzz("lease", &words, |value| {
            let _ = (read(value), name(value));
        });
    }
}
