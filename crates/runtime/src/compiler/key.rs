//! The key of machine code: a digest of the component and of everything about the compiler.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

/// This build with its settings, on a processor of this kind: two that have the same make the same
/// machine code, and can run each other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(pub(super) [u8; 32]);

impl Identity {
    /// Of an engine that compiles: its version and settings, the target, the features of the
    /// processor. And of this program, in case that it uses the engine in another way.
    pub(super) fn of(engine: &Engine) -> Self {
        let mut hasher = Sha(Sha256::new_with_prefix(env!("CARGO_PKG_VERSION")));
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(hasher.0.finalize().into())
    }

    /// The name under which the code of a component is kept.
    pub(super) fn name(&self, component: &[u8]) -> String {
        let (environment, _) = self.0.split_at(16);
        let component = hex(&Sha256::digest(component));
        format!("{component}-{}.cwasm", hex(environment))
    }
}

/// Collects what is hashed into a digest that is the same in each process.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Not used: the whole digest is taken.
        0
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::engine::{Layout, code, compiler};
    use wasmtime::Config;

    #[test]
    fn equal_engines_have_one_identity_and_others_another() {
        let ours = Identity::of(&compiler(Layout::Reserved).unwrap());
        assert_eq!(Identity::of(&compiler(Layout::Reserved).unwrap()), ours);
        let changes: [fn(&mut Config); 4] = [
            |_| (),
            |config| _ = config.epoch_interruption(false),
            |config| _ = config.memory_guard_size(64 << 10),
            |config| _ = config.wasm_multi_value(false),
        ];
        let identities = changes.map(|change| {
            let mut config = code(Layout::Reserved);
            change(&mut config);
            Identity::of(&Engine::new(&config).unwrap())
        });
        let [same, others @ ..] = identities;
        assert_eq!(same, ours);
        assert!(others.iter().all(|other| *other != ours), "{others:?}");
        let checked = Identity::of(&compiler(Layout::OnDemand).unwrap());
        assert_ne!(checked, ours, "code that checks is no code for a pool");
    }

    /// What a processor lacks makes other code.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn another_processor_is_another_identity() {
        let mut plain = code(Layout::Reserved);
        plain.target("x86_64-unknown-linux-gnu").unwrap();
        let plain = Identity::of(&Engine::new(&plain).unwrap());
        assert_ne!(plain, Identity::of(&compiler(Layout::Reserved).unwrap()));
    }

    #[test]
    fn a_name_is_of_one_component_and_one_identity() {
        let (one, other) = (Identity([1; 32]), Identity([2; 32]));
        let name = one.name(b"component");
        assert_eq!(name, one.name(b"component"));
        assert_ne!(name, one.name(b"another"));
        assert_ne!(name, other.name(b"component"));
        assert_eq!(name.len(), 64 + 1 + 32 + ".cwasm".len());
    }
}
