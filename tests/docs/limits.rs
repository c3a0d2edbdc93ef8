//! `docs/reference/limits.md` against `limits.rs` and the constants of modules.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use mistersmith_core::config::{show_duration, show_rate, show_size};
use mistersmith_core::limits::{self as l, Bounded, PluginLimits};

use crate::check;
use crate::code::{constant, product, sources};
use crate::markdown::{names, page};

const PAGE: &str = "docs/reference/limits.md";

/// Default, least and most, as the table writes them.
fn bounds<T: Copy, S: Display>(of: Bounded<T>, show: impl Fn(T) -> S) -> [String; 3] {
    [of.default, of.min, of.max].map(|value| show(value).to_string())
}

fn bounded() -> BTreeMap<&'static str, [String; 3]> {
    let bytes = |n: usize| show_size(n as u64);
    let plain = |n: u32| n;
    // Whoever adds a limit is led here by the compiler.
    let PluginLimits {
        memory: _,
        timeout: _,
        cpu: _,
        payload: _,
        publish_rate: _,
        publish_bytes: _,
        requests: _,
        subscriptions: _,
        log_rate: _,
        handles: _,
        start_timeout: _,
        stop_timeout: _,
        keys: _,
    } = PluginLimits::default();
    BTreeMap::from([
        ("limits.memory", bounds(l::MEMORY, show_size)),
        ("limits.timeout", bounds(l::TIMEOUT, show_duration)),
        ("limits.cpu", bounds(l::CPU, show_duration)),
        ("limits.payload", bounds(l::PAYLOAD, bytes)),
        ("limits.publish_rate", bounds(l::PUBLISH_RATE, show_rate)),
        ("limits.publish_bytes", bounds(l::PUBLISH_BYTES, show_size)),
        ("limits.requests", bounds(l::REQUESTS, plain)),
        ("limits.subscriptions", bounds(l::SUBSCRIPTIONS, plain)),
        ("limits.log_rate", bounds(l::LOG_RATE, show_rate)),
        ("limits.handles", bounds(l::HANDLES, plain)),
        (
            "limits.start_timeout",
            bounds(l::START_TIMEOUT, show_duration),
        ),
        (
            "limits.stop_timeout",
            bounds(l::STOP_TIMEOUT, show_duration),
        ),
        ("limits.keys", bounds(l::KEYS, plain)),
        ("plugin.instances", bounds(l::INSTANCES, plain)),
        ("work.max_deliver", bounds(l::MAX_DELIVER, plain)),
        ("work.backoff", bounds(l::BACKOFF, show_duration)),
        ("pipeline.max_deliver", bounds(l::MAX_DELIVER, plain)),
        ("pipeline.backoff", bounds(l::BACKOFF, show_duration)),
        (
            "pipeline.join_timeout",
            bounds(l::JOIN_TIMEOUT, show_duration),
        ),
        ("subscribe.batch", bounds(l::BATCH, plain)),
        ("subscribe.batch_wait", bounds(l::BATCH_WAIT, show_duration)),
        ("circuit.failures", bounds(l::CIRCUIT_FAILURES, plain)),
        ("circuit.reset", bounds(l::CIRCUIT_RESET, show_duration)),
        ("host.agents", bounds(l::AGENTS, plain)),
        ("host.heartbeat", bounds(l::HEARTBEAT, show_duration)),
        ("idempotence.window", bounds(l::WINDOW, show_duration)),
        ("host.metrics", bounds(l::METRICS, show_duration)),
        ("host.grace", bounds(l::GRACE, show_duration)),
    ])
}

#[test]
fn what_a_manifest_may_ask_for_is_as_the_page_says() {
    let page = page(PAGE);
    let mut rows = page.rows("Plugins");
    rows.extend(page.rows("Other numbers of the files"));
    let said: BTreeMap<String, [String; 3]> = rows
        .iter()
        .map(|row| {
            (
                names(&row[0]).remove(0),
                [1, 2, 3].map(|at| row[at].clone()),
            )
        })
        .collect();
    let real = bounded();
    let mut found = Vec::new();
    for (key, bounds) in &real {
        if said.get(*key) != Some(bounds) {
            found.push(format!(
                "{key}: the page says {:?}, the code {bounds:?}",
                said.get(*key)
            ));
        }
    }
    found.extend(
        said.keys()
            .filter(|key| !real.contains_key(key.as_str()))
            .map(|key| format!("{key}: unknown")),
    );
    check(found);
}

/// A constant as a table may write it.
trait Shown {
    fn shown(&self) -> Vec<String>;
}

impl Shown for Duration {
    fn shown(&self) -> Vec<String> {
        vec![show_duration(*self)]
    }
}

impl Shown for usize {
    fn shown(&self) -> Vec<String> {
        vec![self.to_string(), show_size(*self as u64)]
    }
}

impl Shown for u64 {
    fn shown(&self) -> Vec<String> {
        vec![self.to_string(), show_size(*self)]
    }
}

impl Shown for u8 {
    fn shown(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl Shown for u32 {
    fn shown(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

/// The fixed bounds, by the names they have in the code.
fn fixed() -> BTreeMap<&'static str, Vec<String>> {
    macro_rules! list {
        ($($name:ident),* $(,)?) => { BTreeMap::from([$((stringify!($name), l::$name.shown())),*]) };
    }
    list![
        MAX_SUBJECT,
        MAX_QUEUE,
        MAX_PLUGIN_NAME,
        MAX_TOKEN,
        MAX_FOREIGN_ID,
        MAX_BUCKET,
        MAX_KEY,
        MAX_COMPONENT,
        MAX_MANIFEST,
        MAX_SCHEMA,
        MAX_SMALL_FILE,
        MAX_FINDINGS,
        MAX_LABEL,
        MAX_DESCRIPTION,
        MAX_GRANTS,
        MAX_ENTRIES,
        MAX_WORKFLOW_ID,
        MAX_STAGES,
        MAX_PLUGINS,
        MAX_INSTANCES,
        BYTES_AT_ONCE,
        BYTES_WAIT,
        KEYS_PER_MESSAGE,
        RATE_PAUSE,
        REFUSALS,
        MAX_HEADER_COUNT,
        MAX_HEADER_BYTES,
        MAX_LOG_LINE,
        MAX_LOG_FIELDS,
        HOSTCALL_FUEL_EXTRA,
        MAX_RANDOM,
        EPOCH_TICK,
        NICE,
        MAX_BATCH_BYTES,
        MAX_RETRY_DELAY,
        ACK_WAIT,
        PREFETCH_SPAN,
        PREFETCH_MAX,
        STANDING_POLL,
        PULLS_FAIL_AFTER,
        LEASE_TERM,
        LEASE_LOOK,
        LEASE_WATCH,
        SUSPEND_MOST,
        SUSPEND_LEAST,
        HOLD_LOOK,
        MAX_CLAIMS_READ,
        HEAL_LOOK,
        HEAL_LOOK_AGAIN,
        HEAL_CONFIRM,
        MAX_STREAMS_LOOKED_AT,
        MAX_LEFTOVERS,
        PULL_RETRY_DELAY,
        DESERTED,
        MAX_SETTLING,
        GIVE_BACK_DELAY,
        STORE_RETRY_DELAY,
        STORE_PAUSE_FIRST,
        STORE_PAUSE_MOST,
        MAX_KEPT_BYTES,
        ACK_PATIENCE,
        LETTER_PATIENCE,
        COMPLAINT,
        MAX_ATTEMPTS_LISTED,
        MAX_ATTEMPT_ERROR,
        ATTEMPT_SHARE,
        ATTEMPT_DELAY,
        ATTEMPT_GAP,
        ATTEMPT_RETRY,
        ATTEMPT_OLD,
        ATTEMPT_SWEEP,
        ATTEMPT_WAIT,
        ATTEMPT_PATIENCE,
        ATTEMPT_GRACE,
        MAX_REGISTERS,
        MAX_ERROR_CHARS,
        MAX_EVENTS_WAITING,
        MAX_ANSWERING,
        SPREAD,
        SPREAD_FROM,
        MAX_BROADCASTS,
        TRIM_AFTER,
        MAX_OVERRIDES,
        MAX_OVERRIDDEN,
        CORES_PER_BULK,
        MAX_BULK,
        CONTROLS,
        MAX_WAITING_BYTES,
        WAITING_OVERHEAD,
        MESSAGE_OVERHEAD,
        COPIED_BEHIND,
        SHUTDOWN_WAIT,
        RESTART_FIRST,
        RESTART_MOST,
        LEASE_RENEWAL,
        LEASE_RETRY,
        LEASE_SAFE,
        ELECTION_RETRY,
        ELECTION_LOOK,
        RESIGN,
        VOTES_ANSWERED,
        MAX_ELECTOR,
        CIRCUIT_RETRY,
        CIRCUIT_LOOK,
        PROBE_SAFE,
        PROBE_GRANT,
        PROBE_AGAIN,
        PROBE_RENEWAL,
        SCAN,
        LOAD_RETRY,
        LAST_WORDS,
        STATE_WRITES,
        LEAST_MAX_PAYLOAD,
        MAX_HEARD_BYTES,
        SUSPICION,
        MAX_LOOK,
        MAX_PAUSING,
        PAUSE_WAIT,
        PAUSE_LOOK,
        SETTLE,
        MAX_GATHERINGS,
        MAX_ANSWERS,
        MAX_GATHERED_BYTES,
        GATHERED_PART,
        MAX_EXPECTED,
        MAX_STARTED,
        MAX_CLAIMS,
        MAX_HOSTS,
        MAX_CONSUMERS,
        UPKEEP,
        MAX_SUBJECTS_LOOKED_AT,
        CANCEL_WAIT,
        MAX_OPEN_JOINS,
        JOIN_LOOK,
        JOIN_TRIES,
        MAX_CLAIMED_BYTES,
        CLAIM_SWEEP,
        MAX_OBJECTS_SWEPT,
        MAX_FUNCTIONS,
        MAX_LOOP_DEPTH,
        COMPILE_CPU,
        COMPILE_TIMEOUT,
        COMPILE_MEMORY,
        COMPILE_BASE,
        COMPILE_PER_BYTE,
        COMPILE_PARALLEL,
        COMPILE_PATIENCE,
        COMPILE_SILENCE,
        COMPILE_RETRY_FIRST,
        COMPILE_RETRY_MOST,
        CODE_BASE,
        CODE_PER_BYTE,
        MAX_MACHINE_CODE,
        COMPILED_FOLDER,
    ]
}

/// The public constants of `limits.rs` and below, but for those with a default, a least and a most.
fn declared() -> Vec<String> {
    let mut declared = Vec::new();
    for (name, text) in sources("crates/core/src") {
        if name.contains("/src/limits") {
            for line in text
                .lines()
                .filter_map(|line| line.strip_prefix("pub const "))
            {
                let (name, rest) = line.split_once(':').unwrap();
                if !rest.trim_start().starts_with("Bounded<") && !rest.trim_start().starts_with('[')
                {
                    declared.push(name.to_owned());
                }
            }
        }
    }
    declared
}

#[test]
fn fixed_bounds_are_as_the_page_says() {
    let rows = page(PAGE).rows("Fixed bounds");
    let said: BTreeMap<String, String> = rows
        .iter()
        .filter(|row| row.len() == 3)
        .map(|row| (names(&row[0]).remove(0), row[1].clone()))
        .collect();
    let real = fixed();
    let mut found = Vec::new();
    for (name, values) in &real {
        match said.get(*name) {
            Some(value) if values.contains(value) => {}
            value => found.push(format!(
                "{name}: the page says {value:?}, the code {values:?}"
            )),
        }
    }
    let known = |name: &&String| real.contains_key(name.as_str());
    found.extend(
        said.keys()
            .filter(|name| !known(name))
            .map(|name| format!("{name}: not in the code")),
    );
    let declared = declared();
    found.extend(
        declared
            .iter()
            .filter(|name| !known(name))
            .map(|name| format!("{name}: add it to list! of tests/docs/limits.rs and to {PAGE}")),
    );
    check(found);
}

#[test]
fn bounds_inside_of_modules_are_as_the_page_says() {
    let sources = product();
    let mut found = Vec::new();
    let rows = page(PAGE).rows("Fixed bounds");
    for row in rows.iter().filter(|row| row.len() == 4) {
        let (file, name) = (names(&row[0]).remove(0), names(&row[1]).remove(0));
        let values = sources.get(&file).and_then(|text| constant(text, &name));
        if !values
            .as_ref()
            .is_some_and(|values| values.contains(&row[2]))
        {
            found.push(format!(
                "{file} {name}: the page says {}, the code {values:?}",
                row[2]
            ));
        }
    }
    check(found);
}
