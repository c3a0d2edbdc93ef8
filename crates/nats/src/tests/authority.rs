//! The permissions of agents beside those of a real nats-server: users with the same lists, asked
//! the same, must be answered the same, but for the differences that [`differences`] names.
//!
//! Grants and subjects are random, by a seed that is printed and can be given again
//! (`MISTERSMITH_SEED`); most subjects nearly fit a grant. Requests have a list of their own, which
//! a server does not know: there each set has a second user, who may publish what an agent may ask.

mod cases;
mod differences;
mod user;

use std::collections::BTreeMap;

use cases::{Case, Generator};
use differences::{DIFFERENCES, Question, Use};
use user::{User, configuration};

use crate::testing::TestServer;

/// Sets of permissions, each with subjects and patterns.
const SETS: usize = 60;

/// How the answers to all questions compared.
#[derive(Default)]
struct Comparison {
    /// The version of the server.
    version: String,
    asked: usize,
    both_allowed: usize,
    /// How often each named difference was met.
    met: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Comparison {
    fn compare(&mut self, question: &Question<'_>, server_allows: bool) {
        self.asked += 1;
        let host_allows = question.host_allows();
        if host_allows == server_allows {
            self.both_allowed += usize::from(host_allows);
            return;
        }
        let difference = DIFFERENCES.iter().find(|difference| {
            let mut versions = difference.only_of.iter();
            let of_this = versions.any(|version| self.version.starts_with(version));
            (difference.only_of.is_empty() || of_this)
                && difference.server_allows == server_allows
                && (difference.explains)(question)
        });
        match difference {
            Some(difference) => *self.met.entry(difference.name).or_default() += 1,
            None => self.unexplained.push(format!(
                "the host {}, the server {}: {question:?}",
                verb(host_allows),
                verb(server_allows)
            )),
        }
    }
}

fn verb(allows: bool) -> &'static str {
    if allows { "allows" } else { "refuses" }
}

#[tokio::test]
async fn the_host_decides_as_a_server_does_but_for_what_is_named() {
    let seed = std::env::var("MISTERSMITH_SEED").ok();
    let seed = seed.map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("MISTERSMITH_SEED={seed}");
    let mut generator = Generator::new(seed);
    let mut sets = cases::fixed();
    sets.extend((0..SETS).map(|_| generator.case()));
    let server = TestServer::start_with(&configuration(&sets)).await;
    let port = server.port;
    let compared = tokio::task::spawn_blocking(move || {
        let mut comparison = Comparison {
            version: User::connect(port, "admin").version,
            ..Comparison::default()
        };
        for (number, case) in sets.iter().enumerate() {
            compare(&mut comparison, port, number, case);
        }
        comparison
    });
    let compared = compared.await.unwrap();
    let unexplained = compared.unexplained.join("\n");
    assert_eq!(unexplained, "", "with MISTERSMITH_SEED={seed}");
    for difference in DIFFERENCES.iter().filter(|one| one.only_of.is_empty()) {
        let name = difference.name;
        assert!(compared.met.contains_key(name), "never met: {name}");
    }
    // Else the generators make nothing but nonsense, on which everybody agrees.
    let allowed = compared.both_allowed * 100 / compared.asked;
    assert!(
        allowed >= 10,
        "only {allowed} % were allowed: {:?}",
        compared.met
    );
}

fn compare(comparison: &mut Comparison, port: u16, number: usize, case: &Case) {
    let permissions = case.permissions();
    let question = |used: Use, on: &'_ str| Question::new(case, &permissions, used, on.to_owned());
    let mut publisher = User::connect(port, &format!("p{number}"));
    let allowed = publisher.publish(&case.subjects);
    for (subject, allowed) in case.subjects.iter().zip(allowed) {
        comparison.compare(&question(Use::Publish, subject), allowed);
    }
    let mut asking = User::connect(port, &format!("r{number}"));
    let allowed = asking.publish(&case.subjects);
    for (subject, allowed) in case.subjects.iter().zip(allowed) {
        comparison.compare(&question(Use::Request, subject), allowed);
    }
    let allowed = publisher.subscribe(&case.patterns);
    let mut both = Vec::new();
    for ((pattern, queue), allowed) in case.patterns.iter().zip(allowed) {
        let asked = question(Use::Subscribe(queue.clone()), pattern);
        comparison.compare(&asked, allowed);
        if allowed && queue.is_none() && asked.host_allows() {
            both.push(pattern.as_str());
        }
    }
    // Deliveries of subscriptions that both allow.
    let heard: Vec<&String> = case
        .subjects
        .iter()
        .filter(|subject| user::is_sendable(subject))
        .collect();
    let mut admin = User::connect(port, "admin");
    let mut listener = User::connect(port, &format!("p{number}"));
    assert!(listener.subscribe_to(&both).iter().all(|allowed| *allowed));
    for subject in heard {
        admin.publish(std::slice::from_ref(subject));
        let came = listener.heard();
        for (sid, pattern) in both.iter().enumerate() {
            if mistersmith_core::names::subject::matches(pattern, subject) {
                let used = Use::Hear((*pattern).to_owned());
                comparison.compare(&question(used, subject), came.contains(&sid));
            }
        }
    }
}
