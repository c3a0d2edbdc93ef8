//! Limits of the running host: waits, queues, and how much runs at once.

use std::time::Duration;

/// The ack wait of a delivered message. Fixed, because two hosts that create one consumer with
/// different settings overwrite each other.
pub const ACK_WAIT: Duration = Duration::from_secs(30);

/// How far ahead work is fetched, in time of the plugin's own calls: hides the round trip of a pull
/// and keeps from other hosts no more than this.
pub const PREFETCH_SPAN: Duration = Duration::from_millis(50);

/// Most work items that are fetched ahead for one plugin.
pub const PREFETCH_MAX: usize = 256;

/// How long a poll on an empty consumer stands before it is renewed. What it brings when its agents
/// have become busy waits here while another host may be idle: so it is short. And it costs a
/// message to the server and one back: so it is no shorter.
pub const STANDING_POLL: Duration = Duration::from_secs(2);

/// The pause after a pull that failed: the consumer may have no leader for a few seconds.
pub const PULL_RETRY_DELAY: Duration = Duration::from_millis(500);

/// How long no pull from a consumer succeeds before that is reported: a server that restarts, or a
/// consumer that changes its leader, takes less.
pub const PULLS_FAIL_AFTER: Duration = Duration::from_secs(10);

/// How long items wait for agents that are all paused or failing before they go to another host.
pub const DESERTED: Duration = Duration::from_secs(2);

/// Most messages of one host that are being settled (result stored, ack confirmed) at once; beyond,
/// agents wait. What is in flight is what is redelivered when the host dies.
pub const MAX_SETTLING: usize = 1024;

/// The delay with which an item is returned that no agent has started.
pub const GIVE_BACK_DELAY: Duration = Duration::from_millis(100);

/// The delay with which an item is returned that cannot be begun, or whose dead letter cannot be
/// stored.
pub const STORE_RETRY_DELAY: Duration = Duration::from_secs(30);

/// The first pause before an output is stored again that the server did not take; doubled with each
/// further one.
pub const STORE_PAUSE_FIRST: Duration = Duration::from_millis(250);

/// The longest such pause.
pub const STORE_PAUSE_MOST: Duration = Duration::from_secs(5);

/// Bytes of the outputs that one host keeps until they are stored, those of less than 16 KiB not
/// counted; at least one of any size. Beyond, agents wait.
pub const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;

/// How long an acknowledgement is repeated that nobody confirms; its consumer may be gone.
pub const ACK_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long storing a dead letter is repeated before its item is sealed and given back.
pub const LETTER_PATIENCE: Duration = Duration::from_secs(60);

/// How often the same trouble with the server is logged again while it lasts.
pub const COMPLAINT: Duration = Duration::from_secs(15);

/// Most attempts that the record of an item, and its dead letter, list: the newest.
pub const MAX_ATTEMPTS_LISTED: usize = 10;

/// Longest text of an error in a list of attempts, in characters.
pub const MAX_ATTEMPT_ERROR: usize = 160;

/// Agents of one plugin that share a register of what they have begun.
pub const ATTEMPT_SHARE: u32 = 16;

/// How long an attempt is open before its register is written: most end before.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(1);

/// The least time between two writes of one register.
pub const ATTEMPT_GAP: Duration = Duration::from_millis(5);

/// The pause after a register could not be written.
pub const ATTEMPT_RETRY: Duration = Duration::from_millis(250);

/// After this time an open attempt stands in the record of its item, and no longer in a register.
pub const ATTEMPT_OLD: Duration = Duration::from_secs(10);

/// How often such attempts are searched for.
pub const ATTEMPT_SWEEP: Duration = Duration::from_secs(5);

/// How long an agent waits until the server has stored that an attempt begins.
pub const ATTEMPT_WAIT: Duration = Duration::from_secs(20);

/// How long the host asks for the attempts of an item before it gives the item back.
pub const ATTEMPT_PATIENCE: Duration = Duration::from_secs(10);

/// How much longer than the ack wait the host that made the last attempt has to record its outcome.
pub const ATTEMPT_GRACE: Duration = Duration::from_secs(15);

/// Most registers that are looked through for attempts that nobody has recorded; one request each.
pub const MAX_REGISTERS: usize = 100_000;

/// Longest text of an error in a header, in characters.
pub const MAX_ERROR_CHARS: usize = 512;

/// Most lifecycle events, and most audit entries, that wait for the connection.
pub const MAX_EVENTS_WAITING: usize = 65_536;

/// Most commands, and most health checks, that are answered at once.
pub const MAX_ANSWERING: usize = 256;

/// Time over which the agents of a host spread their answers to a question that all of them answer.
pub const SPREAD: Duration = Duration::from_millis(300);

/// Number of answers from which they are spread.
pub const SPREAD_FROM: usize = 64;

/// Questions to several agents that wait for their turn; more are dropped.
pub const MAX_BROADCASTS: usize = 16;

/// So many agents that end together make the host return their memory to the system.
pub const TRIM_AFTER: usize = 100;

/// Most overrides of `cmd.config` for one agent, all commands together, in bytes of JSON; also the
/// longest payload of one such command.
pub const MAX_OVERRIDES: usize = 64 * 1024;

/// Most values that `cmd.config` may override for one agent.
pub const MAX_OVERRIDDEN: usize = 256;

/// Cores for which a host opens one connection to carry the messages of plugins.
pub const CORES_PER_BULK: usize = 4;

/// Most connections that carry the messages of plugins.
pub const MAX_BULK: usize = 4;

/// Most notices that wait for an agent while it handles one message.
pub const CONTROLS: usize = 16;

/// Bytes of messages that may wait for the agents of one plugin from subscriptions, and for one
/// agent from commands: subject, headers, payload and overhead. With 64 bytes of payload more than
/// 200,000 fit.
pub const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// The cost of a message of a subscription that waits, beyond its own bytes: its structure, and
/// what the allocator adds for subject, headers and payload. A test compares it with their sizes.
/// With more, fewer messages than [`MAX_WAITING_BYTES`] promises would fit.
pub const WAITING_OVERHEAD: usize = 192;

/// The approximate cost of a call that waits, and of an answer in a batch, beyond their bytes. A
/// call holds its message, its trace and its context in boxes of their own, so that it costs more
/// than a message alone ([`WAITING_OVERHEAD`]).
pub const MESSAGE_OVERHEAD: usize = 512;

/// Behind so many bytes of others a message waits as a copy: else it would hold what was read from
/// the connection together with it.
pub const COPIED_BEHIND: usize = 256 * 1024;

/// How long `cmd.shutdown` waits for the agent to finish its message before it answers.
pub const SHUTDOWN_WAIT: Duration = Duration::from_secs(4);

/// The wait before an instance is started again after its first exit; doubled with each further
/// one.
pub const RESTART_FIRST: Duration = Duration::from_millis(100);

/// The longest wait before an instance is started again.
pub const RESTART_MOST: Duration = Duration::from_secs(30);

/// How often the host renews its lease, which lasts 15 seconds (the ttl of AGENT_LEASES).
pub const LEASE_RENEWAL: Duration = Duration::from_secs(5);

/// How soon a renewal that failed is tried again.
pub const LEASE_RETRY: Duration = Duration::from_millis(500);

/// How long after the beginning of the last good renewal the host still counts its lease as held:
/// what is left of the 15 seconds is for ending the agents.
pub const LEASE_SAFE: Duration = Duration::from_secs(10);

/// How often a lease that another host may hold is read, while a host with the same id starts.
pub const LEASE_LOOK: Duration = Duration::from_millis(500);

/// How long such a lease is watched: when it does not change in this time nobody renews it, whatever
/// the ttl of the bucket is.
pub const LEASE_WATCH: Duration = Duration::from_secs(20);

/// The longest time that agents get to end when the lease is not renewed; less when less of it is
/// left.
pub const SUSPEND_MOST: Duration = Duration::from_secs(2);

/// The shortest: even after the lease is lost, tasks need a moment to be aborted.
pub const SUSPEND_LEAST: Duration = Duration::from_millis(100);

/// How long after the beginning of the last good renewal agents may act under their ids at most:
/// the rest of the 15 seconds is for messages that were sent before.
pub const LEASE_TERM: Duration = Duration::from_secs(12);

/// How often the host checks that the ids of its agents are still its own.
pub const HOLD_LOOK: Duration = Duration::from_secs(5);

/// Most claims that were written since the last look, and are read to find those of our agents.
pub const MAX_CLAIMS_READ: usize = 64;

/// How often a candidate tries while there is no leader, and looks whether there is one; between
/// half of it and one and a half.
pub const ELECTION_RETRY: Duration = Duration::from_secs(2);

/// How often the host looks for an agent that can be a candidate, while it has none.
pub const ELECTION_LOOK: Duration = Duration::from_millis(250);

/// How long the end of a plugin's part in an election may take: one write.
pub const RESIGN: Duration = Duration::from_secs(2);

/// Most votes that one candidate answers in a second: a flood of requests must not become a flood
/// of answers.
pub const VOTES_ANSWERED: u32 = 100;

/// Longest id of a candidate that others name, in bytes: it becomes a token of a subject.
pub const MAX_ELECTOR: usize = 96;

/// How soon the state of a circuit is looked at again while hosts do not agree, or it is half-open.
pub const CIRCUIT_RETRY: Duration = Duration::from_millis(500);

/// How often it is read although no change was received.
pub const CIRCUIT_LOOK: Duration = Duration::from_secs(5);

/// How long after it was given the right to a probe can be used that was not renewed.
pub const PROBE_SAFE: Duration = Duration::from_secs(4);

/// How long another host waits before it takes that right over.
pub const PROBE_GRANT: Duration = Duration::from_secs(6);

/// How long its last holder waits before it takes the right again.
pub const PROBE_AGAIN: Duration = Duration::from_secs(8);

/// How often the right is renewed while the probe runs.
pub const PROBE_RENEWAL: Duration = Duration::from_secs(2);

/// How often the plugins folder is looked at.
pub const SCAN: Duration = Duration::from_millis(500);

/// How soon a plugin is tried again whose files are good and which could not be started.
pub const LOAD_RETRY: Duration = Duration::from_secs(5);

/// What each of the last steps of a drain gets when the grace period is used up.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// Most values of AGENT_STATE that are written at once.
pub const STATE_WRITES: usize = 64;

/// Most hosts on one NATS system: each is a key that is read when work is claimed.
pub const MAX_HOSTS: usize = 10_000;

/// Most claimed agent ids on one NATS system that are looked through for strays.
pub const MAX_CLAIMS: usize = 100_000;

/// Most consumers of work on one NATS system; a cluster has a Raft group for each.
pub const MAX_CONSUMERS: usize = 10_000;

/// How often the host checks for unused consumers, streams that fill up, and work without a
/// consumer.
pub const UPKEEP: Duration = Duration::from_secs(30);

/// How often the host checks that JetStream has the streams and buckets that it needs.
pub const HEAL_LOOK: Duration = Duration::from_secs(2);

/// How often it checks while one of them is missing.
pub const HEAL_LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long a stream or bucket must be missing, over connections that do not break, before it is
/// made again: a cluster that has just restarted may not know yet what it has.
pub const HEAL_CONFIRM: Duration = Duration::from_secs(3);

/// Most streams of an account among which those of the host are looked for.
pub const MAX_STREAMS_LOOKED_AT: usize = 100_000;

/// Most acknowledged items that still stand in the queue which are looked at in one look, and most
/// results or dead letters of one subject that are looked through for theirs.
pub const MAX_LEFTOVERS: usize = 256;

/// Most subjects of waiting work that are looked at for work that nobody takes.
pub const MAX_SUBJECTS_LOOKED_AT: usize = 100_000;

/// How long the input or the output of a stage waits until it can be told whether its workflow is
/// cancelled; then it is given back.
pub const CANCEL_WAIT: Duration = Duration::from_secs(20);

/// Most open joins of one stage whose deadline a host watches; some hundred bytes each.
pub const MAX_OPEN_JOINS: usize = 100_000;

/// How often the deadlines of open joins are looked at.
pub const JOIN_LOOK: Duration = Duration::from_millis(500);

/// How often a record that several hosts write at once is read again before its message is given
/// back.
pub const JOIN_TRIES: usize = 64;

/// The least that a server may take in one message, headers and payload, in bytes: records of
/// attempts and the headers of dead letters must fit.
pub const LEAST_MAX_PAYLOAD: usize = 16 * 1024;

/// Bytes of messages that may wait in all run-time subscriptions of one agent together; at least
/// two of its largest messages.
pub const MAX_HEARD_BYTES: usize = 16 * 1024 * 1024;

/// How long a failed pull is remembered: an item that breaks the connection without ending the
/// client does so again after its ack wait of 30 seconds, and is looked for the second time.
pub const SUSPICION: Duration = Duration::from_secs(5 * 60);

/// Open items that are looked through when pulls fail again and again; one request each.
pub const MAX_LOOK: usize = 256;

/// Commands `pause` that wait so at once; more are answered without the wait.
pub const MAX_PAUSING: usize = 4096;

/// How long `cmd.pause` waits for the polls of its plugin to be taken back before it answers.
pub const PAUSE_WAIT: Duration = Duration::from_secs(2);

/// How often it checks.
pub const PAUSE_LOOK: Duration = Duration::from_millis(2);

/// What a drain keeps of its grace period for storing results, at most; a quarter of a short one.
pub const SETTLE: Duration = Duration::from_secs(2);

/// Bytes of claimed payloads that one host holds at the same time, from before they are fetched
/// until their messages are settled; at least one of any size that a plugin takes.
pub const MAX_CLAIMED_BYTES: usize = 256 * 1024 * 1024;

/// How often the host looks for stored payloads that no message needs any longer.
pub const CLAIM_SWEEP: Duration = Duration::from_secs(60 * 60);

/// Most stored payloads that are looked at in one sweep.
pub const MAX_OBJECTS_SWEPT: usize = 10_000;

/// Most gatherings of one host at once, those included whose report is being stored; beyond, agents
/// that ask wait.
pub const MAX_GATHERINGS: usize = 1024;

/// Most answers to one question that are kept.
pub const MAX_ANSWERS: usize = 10_000;

/// Most bytes of all answers to one question.
pub const MAX_GATHERED_BYTES: u64 = 16 * 1024 * 1024;

/// Of its memory, the part that the answers to a question of an agent may fill: more would end it.
pub const GATHERED_PART: u64 = 4;

/// Most agents whose answers to a question can be expected by name.
pub const MAX_EXPECTED: usize = 1000;

/// Most workflows that one instance remembers to have started.
pub const MAX_STARTED: usize = 1000;
