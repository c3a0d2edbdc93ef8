//! A cache of the last subject decision, for a subscription that asks for each message.

use super::Permissions;
use super::reserved::may_answer;

/// Longest subject that is remembered, in bytes.
const LONGEST: usize = 256;

/// [`Permissions::may_receive`] and [`may_answer`] for the last subject: most messages come on the
/// subject of the one before. It owns the permissions, so no decision outlives those it came from.
#[derive(Debug)]
pub struct SubjectFilterCache {
    permissions: Permissions,
    last: String,
    allowed: bool,
    may_answer: Option<bool>,
}

impl SubjectFilterCache {
    /// A cache of the decisions of these permissions.
    pub fn new(permissions: Permissions) -> Self {
        Self {
            permissions,
            // The empty subject is never allowed.
            last: String::new(),
            allowed: false,
            may_answer: None,
        }
    }

    /// May a message that arrived on this subject be handed over?
    pub fn may_receive(&mut self, subject: &str) -> bool {
        if self.last == subject {
            return self.allowed;
        }
        let allowed = self.permissions.may_receive(subject);
        if subject.len() <= LONGEST {
            subject.clone_into(&mut self.last);
            self.allowed = allowed;
            self.may_answer = None;
        }
        allowed
    }

    /// May an answer to a message on this subject be sent to its sender?
    pub fn may_answer(&mut self, subject: &str) -> bool {
        if self.last != subject {
            return may_answer(subject);
        }
        *self.may_answer.get_or_insert_with(|| may_answer(subject))
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
        let mut cache = SubjectFilterCache::new(permissions.clone());
        let long = format!("a.{}", "b".repeat(LONGEST));
        let subjects = [
            "", "a.b", "a.b", "a.secret", "a.secret", "a.b", &long, "a.b", &long, "$SYS.a",
            "$SYS.a", "a..b", "a..b", "",
        ];
        for subject in subjects {
            assert_eq!(
                cache.may_receive(subject),
                permissions.may_receive(subject),
                "{subject:?}"
            );
            for _again in 0..2 {
                assert_eq!(
                    cache.may_answer(subject),
                    may_answer(subject),
                    "{subject:?}"
                );
            }
        }
    }
}
