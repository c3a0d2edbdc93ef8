//! Sets of permissions, with subjects and patterns that fit them, or nearly do.

use mistersmith_core::permissions::{PermissionSpec, Permissions};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// One set, and what is asked of it.
pub(super) struct Case {
    pub(super) spec: PermissionSpec,
    /// To publish on, to ask, to hear.
    pub(super) subjects: Vec<String>,
    /// To subscribe to, some in a queue group.
    pub(super) patterns: Vec<(String, Option<String>)>,
}

impl Case {
    pub(super) fn permissions(&self) -> Permissions {
        let (plugin, agent) = ("probe".parse().unwrap(), "probe-001".parse().unwrap());
        Permissions::compile(&self.spec, &plugin, &agent)
    }
}

/// The patterns as they are for the agent of the cases.
pub(super) fn filled(patterns: &[String]) -> Vec<String> {
    let fill = |p: &String| {
        p.replace("{agent}", "probe-001")
            .replace("{plugin}", "probe")
    };
    patterns.iter().map(fill).collect()
}

/// Sets that meet every difference, so that none depends on the seed.
pub(super) fn fixed() -> Vec<Case> {
    let everything = Case {
        spec: spec(&[">"], &[">"], &[]),
        subjects: list(&[
            "a",
            "agent.x-001.ready",
            "$KV.A.b",
            "_INBOX.a",
            "a.*",
            "a..b",
            "a.",
            "a\u{a0}b",
            &"a".repeat(256),
            "work.a.b",
            "*",
            ">",
            "dlq.x",
        ]),
        patterns: plain(&[
            "a",
            "a.>",
            ">",
            "*.a",
            "work.>",
            "$JS.>",
            &"a".repeat(256),
            "a\u{a0}b",
        ]),
    };
    let narrow = Case {
        spec: spec(&["a.*"], &["a.*", "b.>", "c.>"], &["b.*", "c.*.x"]),
        subjects: list(&["a.b", "a", "b.x", "b.x.y", "c.y.x", "c.y.z"]),
        patterns: plain(&[
            "a.b", "a.*", "a.>", "b.>", "b.*", "b.x", "c.y.*", "c.>", "c.*.x",
        ]),
    };
    let nothing = Case {
        spec: spec(&[], &[], &[]),
        subjects: list(&["a", "a.b"]),
        patterns: plain(&["a", ">"]),
    };
    vec![everything, narrow, nothing]
}

fn spec(publish: &[&str], subscribe: &[&str], deny: &[&str]) -> PermissionSpec {
    PermissionSpec {
        publish: list(publish),
        request: list(publish),
        subscribe: list(subscribe),
        deny: list(deny),
        ..PermissionSpec::default()
    }
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn plain(patterns: &[&str]) -> Vec<(String, Option<String>)> {
    let alone = patterns.iter().map(|p| ((*p).to_owned(), None));
    let shared = ["broadcast.x", "a.b"].map(|p| (p.to_owned(), Some("q".to_owned())));
    alone.chain(shared).collect()
}

/// Short tokens, so that random ones meet, and the first tokens of what is reserved.
const TOKENS: &[&str] = &[
    "a",
    "b",
    "c",
    "A",
    "aa",
    "a-b",
    "0",
    "\u{e9}",
    "probe",
    "probe-001",
    "x-002",
    "agent",
    "cmd",
    "execute",
    "ready",
    "resp",
    "work",
    "pipeline",
    "coord",
    "metrics",
    "system",
    "broadcast",
    "emergency",
    "dlq",
    "audit",
    "gather",
    "health",
    "circuit",
    "election",
    "$JS",
    "$KV",
    "_INBOX",
];

/// Tokens that most names are made of.
const COMMON: usize = 10;

pub(super) struct Generator(SmallRng);

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub(super) fn case(&mut self) -> Case {
        let spec = PermissionSpec {
            publish: self.grants(),
            request: self.grants(),
            subscribe: self.grants(),
            deny: if self.chance(0.6) {
                self.grants()
            } else {
                Vec::new()
            },
            ..PermissionSpec::default()
        };
        let lists = [&spec.publish, &spec.request, &spec.subscribe, &spec.deny];
        let known = filled(&lists.map(Clone::clone).concat());
        let mut subjects: Vec<String> = (0..50).map(|_| self.subject(&known)).collect();
        let mut patterns: Vec<_> = (0..50).map(|_| self.asked(&known)).collect();
        subjects.sort();
        subjects.dedup();
        patterns.sort();
        patterns.dedup();
        Case {
            spec,
            subjects,
            patterns,
        }
    }

    fn grants(&mut self) -> Vec<String> {
        let count = self.0.random_range(0..5);
        (0..count).map(|_| self.grant()).collect()
    }

    fn grant(&mut self) -> String {
        let mut tokens: Vec<String> = (0..self.0.random_range(1..5))
            .map(|_| match self.0.random_range(0..12) {
                0..3 => "*".to_owned(),
                3 => "{agent}".to_owned(),
                4 => "{plugin}".to_owned(),
                _ => self.token(),
            })
            .collect();
        if self.chance(0.3) {
            tokens.push(">".to_owned());
        }
        tokens.join(".")
    }

    fn token(&mut self) -> String {
        let common = TOKENS.split_at(COMMON).0;
        let from = if self.chance(0.75) { common } else { TOKENS };
        from.choose(&mut self.0).copied().unwrap_or("a").to_owned()
    }

    /// A subject that one of the patterns matches, or one that differs in one place.
    fn subject(&mut self, known: &[String]) -> String {
        let pattern = self.known(known);
        let mut tokens = Vec::new();
        for token in pattern.split('.') {
            match token {
                "*" => tokens.push(self.token()),
                ">" => tokens.extend((0..self.0.random_range(1..3)).map(|_| self.token())),
                _ => tokens.push(token.to_owned()),
            }
        }
        self.changed(tokens)
    }

    /// A pattern within one of these, as wide, or wider; some in a queue group.
    fn asked(&mut self, known: &[String]) -> (String, Option<String>) {
        let pattern = self.known(known);
        let mut tokens: Vec<String> = pattern.split('.').map(str::to_owned).collect();
        for token in &mut tokens {
            if self.chance(0.2) {
                *token = if token == "*" || token == ">" {
                    self.token()
                } else {
                    "*".to_owned()
                };
            }
        }
        if self.chance(0.2) {
            tokens.pop();
            tokens.push(">".to_owned());
        }
        let queue = self.chance(0.15).then(|| "q".to_owned());
        (self.changed(tokens), queue)
    }

    fn known(&mut self, known: &[String]) -> String {
        match known.choose(&mut self.0) {
            Some(pattern) if self.chance(0.9) => pattern.clone(),
            _ => self.grant().replace(['{', '}'], ""),
        }
    }

    /// The tokens as they are, or with one change that a sloppy comparison would not see.
    fn changed(&mut self, mut tokens: Vec<String>) -> String {
        if self.chance(0.5) {
            return tokens.join(".");
        }
        let at = self.0.random_range(0..tokens.len().max(1));
        let other = self.token();
        let Some(token) = tokens.get_mut(at) else {
            return other;
        };
        match self.0.random_range(0..13) {
            0 => *token = other,
            1 => *token = token.to_uppercase(),
            2 => token.push_str(&other),
            3 => "*".clone_into(token),
            4 => ">".clone_into(token),
            5 => token.clear(),
            6 => token.push('\u{a0}'),
            7 => token.push('\u{200b}'),
            8 => token.push(' '),
            9 => *token = token.repeat(128),
            10 => drop(tokens.remove(at)),
            11 => tokens.insert(at, other),
            _ => tokens.push(String::new()),
        }
        tokens.join(".")
    }

    fn chance(&mut self, of: f64) -> bool {
        self.0.random_bool(of)
    }
}
