//! Reduces byte limits to what the account allows. Pure.

use serde_json::Value;

use super::{Asset, Current, ServerFacts};
use crate::stream::StreamInfo;

/// The part of the account's storage, without what others take of it, that byte limits may reserve;
/// the rest is for streams without one.
const RESERVED_SHARE: u64 = 80;
/// The byte limit of a stream that has none, where the account demands one.
const DEMANDED_BYTES: u64 = 1_000_000_000;

/// Makes byte limits fit into what the account has for them, each by the same share.
///
/// The content of the assets themselves counts as free: otherwise a host would find less room after
/// each start, and want its own streams smaller.
pub(super) fn fit(assets: &mut [Asset], facts: &ServerFacts, current: &Current) {
    for asset in assets.iter_mut() {
        if facts.max_bytes_required && asset.max_bytes().is_none() {
            asset.set("max_bytes", DEMANDED_BYTES);
            asset.elastic = true;
        }
        if let (Some(most), Some(bytes)) = (facts.max_stream_bytes, asset.max_bytes())
            && bytes > most
        {
            asset.set("max_bytes", most);
        }
    }
    let Some(storage) = &facts.storage else {
        return;
    };
    let (mut used, mut reserved) = (storage.used, storage.reserved);
    for asset in assets.iter().filter(|asset| asset.max_bytes().is_some()) {
        if let Some(stream) = current.streams.get(&asset.stream) {
            used = used.saturating_sub(on_disks(stream, stream.state.bytes));
            reserved =
                reserved.saturating_sub(on_disks(stream, stream.limit("max_bytes").unwrap_or(0)));
        }
    }
    let free = storage.most.saturating_sub(used.max(reserved));
    let room = free / 100 * RESERVED_SHARE;
    let cost = |asset: &Asset| {
        let bytes = asset.max_bytes().unwrap_or(0);
        bytes.saturating_mul(asset.replicas())
    };
    let sum = |elastic| {
        let of_kind = assets.iter().filter(|asset| asset.elastic == elastic);
        of_kind.map(cost).fold(0, u64::saturating_add)
    };
    let (elastic, room) = (sum(true), room.saturating_sub(sum(false)));
    if elastic <= room || elastic == 0 {
        return;
    }
    for asset in assets.iter_mut().filter(|asset| asset.elastic) {
        if let Some(bytes) = asset.max_bytes() {
            let share = u128::from(bytes) * u128::from(room) / u128::from(elastic);
            asset.set("max_bytes", u64::try_from(share).unwrap_or(bytes).max(1));
        }
    }
}

/// The file storage of the account that so many bytes of a stream take, on all servers.
fn on_disks(stream: &StreamInfo, bytes: u64) -> u64 {
    if stream.config.get("storage").and_then(Value::as_str) == Some("memory") {
        return 0;
    }
    let replicas = stream.config.get("num_replicas").and_then(Value::as_u64);
    bytes.saturating_mul(replicas.unwrap_or(1))
}
