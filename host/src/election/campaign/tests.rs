//! Tests of campaigns: paused time, buckets in memory.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;

use parking_lot::Mutex;
use serde_json::Value as Json;

use mistersmith_runtime::{Fence, LeaseTerm};

use super::*;
use crate::agents::{AgentState, Directory, PluginQueue, Target};
use crate::kv_key::memory::{Bucket, Call, Fault, MemoryKey};

mod random;

const TTL: Duration = Duration::from_secs(15);
const KEY: &str = "election.lab";
const TERM: &str = "term.lab";

/// The milliseconds since 1970 when the first test begins.
const EPOCH: u64 = 1_700_000_000_000;

/// The clock of all hosts, which follows paused time.
fn epoch() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(now);
    let since = now().saturating_duration_since(*BEGUN);
    EPOCH + u64::try_from(since.as_millis()).unwrap()
}

/// The announcements of all hosts.
type Events = Arc<Mutex<Vec<(String, Json)>>>;

impl Publish for Events {
    async fn publish(&self, subject: &str, _agent: &AgentId, body: &Json) -> bool {
        self.lock().push((subject.to_owned(), body.clone()));
        true
    }
}

struct Bed {
    leases: Bucket,
    claims: Bucket,
    events: Events,
}

/// One host with one candidate.
struct Host {
    agent: AgentHandle,
    lease: MemoryKey,
    term: MemoryKey,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Bed {
    fn new() -> Self {
        Self {
            leases: Bucket::new(TTL),
            claims: Bucket::new(Duration::MAX),
            events: Events::default(),
        }
    }

    fn host(&self, id: &str) -> Host {
        self.host_with(id, |_, _| ())
    }

    fn host_with(&self, id: &str, faults: impl FnOnce(&MemoryKey, &MemoryKey)) -> Host {
        let id: AgentId = id.parse().unwrap();
        let plugin: mistersmith_core::names::PluginName = id.plugin().parse().unwrap();
        let fence = Fence::new(LeaseTerm::unlimited(), id.clone());
        let state = Arc::new(AgentState::new("h", "h", &plugin, fence));
        state.set_takes(true);
        let (agent, _) = crate::agents::handle(id, plugin, state, Arc::new(PluginQueue::default()));
        let directory = Directory::default();
        directory.add(agent.clone());
        let (lease, term) = (self.leases.key(KEY), self.claims.key(TERM));
        faults(&lease, &term);
        let domain = "lab".parse().unwrap();
        let place = Place {
            lease: lease.clone(),
            term: TermRecord::new(term.clone(), epoch),
            announcements: Announcements::new(domain, agent.id.to_string(), self.events.clone()),
        };
        let candidates = Candidates {
            directory,
            plugin: Target::Named(agent.plugin.as_str().to_owned()),
        };
        let (view, cancel) = (Arc::<LeaderView>::default(), CancellationToken::new());
        view.open("lab".parse().ok());
        let campaign = Campaign::new(place, candidates, view, cancel.clone());
        let task = tokio::spawn(campaign.run());
        Host {
            agent,
            lease,
            term,
            cancel,
            task,
        }
    }

    /// The number of times an event was published.
    fn count(&self, event: &str) -> usize {
        let subject = format!("election.lab.{event}");
        let events = self.events.lock();
        events.iter().filter(|(on, _)| *on == subject).count()
    }
}

impl Host {
    /// The term in which its agent leads now.
    fn leads(&self) -> Option<u64> {
        let leads = self.agent.state.candidate.leadership(now());
        leads.map(|leads| leads.term)
    }

    /// Its next term after this one, and the time until then.
    async fn leads_after(&self, term: u64) -> (u64, Duration) {
        let begun = now();
        loop {
            if let Some(leads) = self.leads().filter(|leads| *leads > term) {
                return (leads, now() - begun);
            }
            assert!(now() - begun < Duration::from_secs(90), "nobody leads");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The time until its agent stops leading.
    async fn ends(&self) -> Duration {
        let begun = now();
        while self.leads().is_some() {
            assert!(now() - begun < Duration::from_secs(90), "it leads on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        now() - begun
    }

    async fn resigns(self) {
        self.cancel.cancel();
        self.agent.state.candidate.step_down();
        self.task.await.unwrap();
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_elected_and_renews_every_five_seconds() {
    let bed = Bed::new();
    let one = bed.host("one-001");
    let (term, after) = one.leads_after(0).await;
    assert!(term > EPOCH && after < Duration::from_secs(1), "{after:?}");
    let two = bed.host("two-001");
    seconds(120).await;
    assert_eq!((one.leads(), two.leads()), (Some(term), None));
    assert_eq!((bed.count("vote"), bed.count("leader")), (1, 1));
    assert_eq!(bed.count("heartbeat"), 24);
    let renewed = one.lease.calls(Call::Update);
    let pauses = renewed.iter().skip(1).zip(renewed.iter().skip(2));
    for pause in pauses.map(|(before, after)| *after - *before) {
        let late = pause.saturating_sub(limits::LEASE_RENEWAL);
        assert!(late < Duration::from_millis(5), "{pause:?}");
    }
    // A resignation deletes the key, so the other host need not wait for it to expire.
    one.resigns().await;
    let (next, after) = two.leads_after(term).await;
    assert!(next > term);
    assert!(after <= limits::ELECTION_RETRY * 2, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_leader_gives_the_key_up() {
    let bed = Bed::new();
    let (one, two) = (bed.host("one-001"), bed.host("two-001"));
    seconds(10).await;
    let (first, second) = match one.leads() {
        Some(_) => (&one, &two),
        None => (&two, &one),
    };
    let term = first.leads().unwrap();
    first.agent.state.pause(true);
    assert_eq!(first.leads(), None, "at once");
    let (next, after) = second.leads_after(term).await;
    assert!(
        next > term && after <= limits::ELECTION_RETRY * 2,
        "{after:?}"
    );
    seconds(60).await;
    assert_eq!((first.leads(), second.leads()), (None, Some(next)));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_ends_a_leadership_and_leaves_the_other_alone() {
    let bed = Bed::new();
    let one = bed.host("one-001");
    let (term, _) = one.leads_after(0).await;
    let theirs = bed.leases.put(KEY, r#"{"agent_id":"outside","term":99}"#);
    assert!(one.ends().await <= limits::LEASE_RENEWAL + Duration::from_millis(50));
    assert_eq!(bed.leases.newest(KEY).unwrap().revision, theirs);
    let (next, after) = one.leads_after(term).await;
    assert!(
        after >= Duration::from_secs(9),
        "theirs has expired: {after:?}"
    );
    assert!(next > 99, "a term that was seen is not used again");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_recognised() {
    let bed = Bed::new();
    // The read, the creation and the first renewal, in this order.
    let one = bed.host_with("one-001", |lease, _| {
        lease.next(None);
        lease.next(Fault::AnswerLost(Duration::from_secs(1)));
    });
    let (term, after) = one.leads_after(0).await;
    assert!(
        after < TTL,
        "it does not wait until its own key expires: {after:?}"
    );
    seconds(1).await;
    one.lease.next(Fault::AnswerLost(Duration::from_secs(1)));
    seconds(60).await;
    assert_eq!(one.leads(), Some(term), "its own renewal is not another's");
    // The answer to the write of a term is lost.
    let bed = Bed::new();
    let two = bed.host_with("two-001", |lease, _| {
        lease.next(None);
        lease.next(None);
        lease.next(Fault::AnswerLost(Duration::from_secs(1)));
    });
    two.leads_after(0).await;
    assert_eq!(bed.count("leader"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_a_leadership_before_another_may_begin() {
    for fault in [Fault::Silence, Fault::DoneInSilence] {
        let bed = Bed::new();
        let one = bed.host("one-001");
        let (term, _) = one.leads_after(0).await;
        let two = bed.host("two-001");
        // The host is cut off during a term, right after a renewal.
        seconds(11).await;
        one.lease.always(fault);
        let ended = one.ends().await;
        assert!(ended <= limits::LEASE_SAFE, "{fault:?}: {ended:?}");
        assert_eq!(two.leads(), None, "{fault:?}: the key lives longer");
        let (next, _) = two.leads_after(term).await;
        assert_eq!((one.leads(), two.leads()), (None, Some(next)));
    }
}

#[tokio::test(start_paused = true)]
async fn terms_go_on_when_buckets_are_lost() {
    let bed = Bed::new();
    let one = bed.host("one-001");
    let (term, _) = one.leads_after(0).await;
    bed.leases.remake();
    let ended = one.ends().await;
    assert!(
        ended <= limits::LEASE_RENEWAL + Duration::from_millis(50),
        "{ended:?}"
    );
    let (next, _) = one.leads_after(term).await;
    assert_eq!(
        bed.claims.newest(TERM).unwrap().value,
        format!(r#"{{"term":{next}}}"#)
    );
    // The record is lost too, and another host follows that has seen no term.
    let two = bed.host("two-001");
    one.resigns().await;
    bed.leases.remake();
    bed.claims.remake();
    two.leads_after(next).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_is_behind_goes_by_the_terms_it_has_seen() {
    let bed = Bed::new();
    bed.claims.put(TERM, r#"{"term":4000000000000}"#);
    let (one, two) = (bed.host("one-001"), bed.host("two-001"));
    seconds(10).await;
    let (first, second) = match one.leads() {
        Some(_) => (one, two),
        None => (two, one),
    };
    let term = first.leads().unwrap();
    assert!(term > 4_000_000_000_000);
    first.resigns().await;
    bed.leases.remake();
    bed.claims.remake();
    second.leads_after(term).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_leads_without_a_record_of_the_term() {
    let bed = Bed::new();
    let one = bed.host_with("one-001", |_, term| {
        term.always(Fault::Lost(Duration::from_secs(1)));
    });
    seconds(120).await;
    assert_eq!(one.leads(), None);
    one.term.always(None);
    one.leads_after(0).await;
}
