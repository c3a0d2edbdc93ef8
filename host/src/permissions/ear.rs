//! What may be heard and answered, for one listener that is asked for every message.

use super::Permissions;
use super::reserved::may_answer;

/// Longest subject that is remembered, in bytes.
const LONGEST: usize = 256;

/// [`Permissions::hears`] and [`may_answer`], which remembers what they said last: most messages come on the
/// subject of the one before. The permissions are its own, so that no answer outlives those that it was
/// given by.
#[derive(Debug)]
pub struct Ear {
    permissions: Permissions,
    last: String,
    heard: bool,
    answered: Option<bool>,
}

impl Ear {
    /// Hears what these permissions let be heard.
    pub fn new(permissions: Permissions) -> Self {
        Self {
            permissions,
            // Nothing is heard on no subject.
            last: String::new(),
            heard: false,
            answered: None,
        }
    }

    /// May a message that arrived on this subject be handed over?
    pub fn hears(&mut self, subject: &str) -> bool {
        if self.last == subject {
            return self.heard;
        }
        let heard = self.permissions.hears(subject);
        if subject.len() <= LONGEST {
            subject.clone_into(&mut self.last);
            self.heard = heard;
            self.answered = None;
        }
        heard
    }

    /// May an answer to a message on this subject be sent to its sender?
    pub fn answers(&mut self, subject: &str) -> bool {
        if self.last != subject {
            return may_answer(subject);
        }
        *self.answered.get_or_insert_with(|| may_answer(subject))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::permissions::{PermissionSpec, PluginPermissions};

    #[test]
    fn what_is_remembered_is_what_was_decided() {
        let deny = vec!["a.secret".to_owned()];
        let spec = PermissionSpec {
            deny,
            ..PermissionSpec::default()
        };
        let permissions = PluginPermissions::compile(&spec, &"probe".parse().unwrap()).common();
        let mut ear = Ear::new(permissions.clone());
        let long = format!("a.{}", "b".repeat(LONGEST));
        let subjects = [
            "", "a.b", "a.b", "a.secret", "a.secret", "a.b", &long, "a.b", &long, "$SYS.a",
            "$SYS.a", "a..b", "a..b", "",
        ];
        for subject in subjects {
            assert_eq!(
                ear.hears(subject),
                permissions.hears(subject),
                "{subject:?}"
            );
            for _again in 0..2 {
                assert_eq!(ear.answers(subject), may_answer(subject), "{subject:?}");
            }
        }
    }
}
