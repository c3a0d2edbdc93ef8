//! Much at once, up to and beyond the limits.

use std::collections::BTreeMap;

use mistersmith_sdk::kv::Bucket;
use mistersmith_sdk::{CallError, Value, json, log, messaging};

use crate::command::Flood;

/// Does it all, also after errors, and counts these by kind.
pub(crate) fn run(flood: Flood) -> Value {
    match flood {
        Flood::FloodPublish {
            subject,
            count,
            bytes,
        } => {
            let payload = "x".repeat(bytes);
            counted(count, |_| messaging::publish(&subject, &payload))
        }
        Flood::FloodLog { count, bytes } => {
            let filling = "x".repeat(bytes);
            counted(count, |n| {
                log::info!("line {n} {filling}");
                Ok(())
            })
        }
        Flood::FloodPrint { count, bytes } => {
            let filling = "x".repeat(bytes);
            counted(count, |n| {
                println!("line {n} {filling}");
                Ok(())
            })
        }
        Flood::ManySubscribe { prefix, count } => counted(count, |n| {
            messaging::subscribe(&format!("{prefix}.{n}")).map(|_| ())
        }),
        Flood::ManyPut {
            bucket,
            prefix,
            count,
        } => {
            let bucket = Bucket::named(bucket);
            counted(count, |n| {
                bucket.put(&format!("{prefix}.{n}"), "").map(|_| ())
            })
        }
    }
}

fn counted(count: u32, call: impl Fn(u32) -> Result<(), CallError>) -> Value {
    let mut done = 0;
    let mut errors: BTreeMap<&str, u32> = BTreeMap::new();
    for n in 0..count {
        match call(n) {
            Ok(()) => done += 1,
            Err(error) => *errors.entry(error.kind()).or_default() += 1,
        }
    }
    json!({"done": done, "errors": errors})
}
