//! The permissions that a server denies, by user.
//!
//! The protocol uses the same words in all server versions, and the server logs do not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::frame::Frame;

/// The denials to each user who has come in.
#[derive(Debug, Default, Clone)]
pub(crate) struct Denials(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Denials {
    /// The denials to this user.
    ///
    /// # Panics
    /// When the user has not come in.
    pub(crate) fn of(&self, user: &str) -> Vec<String> {
        let all = self.0.lock().unwrap();
        let denied = all.get(user);
        denied
            .unwrap_or_else(|| panic!("{user} did not come in here"))
            .clone()
    }
}

/// The user of one connection.
#[derive(Debug)]
pub(crate) struct Login {
    denials: Denials,
    user: Mutex<String>,
}

impl Login {
    pub(crate) fn new(denials: Denials) -> Self {
        Self {
            denials,
            user: Mutex::default(),
        }
    }

    /// Reads a frame, of either direction.
    pub(crate) fn read(&self, frame: &Frame) {
        match frame.word().as_str() {
            "CONNECT" => {
                let login: serde_json::Value =
                    serde_json::from_str(frame.rest()).unwrap_or_default();
                let name = login["user"].as_str().unwrap_or_default().to_owned();
                let mut all = self.denials.0.lock().unwrap();
                all.entry(name.clone()).or_default();
                *self.user.lock().unwrap() = name;
            }
            "-ERR" => {
                let user = self.user.lock().unwrap().clone();
                let mut all = self.denials.0.lock().unwrap();
                all.entry(user).or_default().push(frame.rest().to_owned());
            }
            _ => {}
        }
    }
}
