//! The position of a delivery: its stream, consumer and numbers, read from its reply subject.

/// Delivery information, as the server writes it into the reply subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryInfo {
    /// The stream.
    pub stream: String,
    /// The consumer.
    pub consumer: String,
    /// The number of the message in the stream.
    pub stream_sequence: u64,
    /// How often it was delivered, this time included: 1 at first.
    pub deliveries: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub stored_at_ns: u64,
    /// How many more messages wait for this consumer.
    pub pending: u64,
}

impl DeliveryInfo {
    /// The message id of an output made from this input: the same for every delivery of it, and
    /// different when a stream was deleted and made again, and counts from one again.
    pub fn output_id(&self, output: &str) -> String {
        format!(
            "{}:{}:{}:{output}",
            self.stream, self.stream_sequence, self.stored_at_ns
        )
    }

    /// Reads the reply subject of a delivery: `$JS.ACK.` and 7 tokens, or 9 and more on newer
    /// servers.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let known = match tokens.len() {
            7 => tokens.as_slice(),
            // In front stand the domain and a hash of the account.
            9.. => tokens.get(2..9)?,
            _ => return None,
        };
        let &[
            stream,
            consumer,
            deliveries,
            sequence,
            _,
            stored_at,
            pending,
        ] = known
        else {
            return None;
        };
        Some(Self {
            stream: stream.to_owned(),
            consumer: consumer.to_owned(),
            stream_sequence: sequence.parse().ok()?,
            deliveries: deliveries.parse().ok()?,
            stored_at_ns: stored_at.parse().ok()?,
            pending: pending.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mistersmith_testing::fuzz;

    #[test]
    fn reply_subjects_of_all_servers_are_read() {
        let old = "$JS.ACK.WORK_QUEUE.workers-nlp_high_all.3.100.7.1790230470084404000.42";
        let new =
            "$JS.ACK._.szMpdrwD.WORK_QUEUE.workers-nlp_high_all.3.100.7.1790230470084404000.42";
        let newer = format!("{new}.token");
        for reply in [old, new, &newer] {
            let info = DeliveryInfo::parse(reply).unwrap();
            assert_eq!(info.stream, "WORK_QUEUE", "{reply}");
            assert_eq!(info.consumer, "workers-nlp_high_all");
            assert_eq!(
                (info.deliveries, info.stream_sequence, info.pending),
                (3, 100, 42)
            );
            assert_eq!(
                info.output_id("result"),
                "WORK_QUEUE:100:1790230470084404000:result"
            );
        }
        for bad in [
            "",
            "_INBOX.x",
            "$JS.ACK.a.b.1.2.3.4",
            "$JS.ACK.a.b.x.2.3.4.5",
        ] {
            assert_eq!(DeliveryInfo::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn fuzz_delivery() {
        let words = [
            "$JS.ACK.",
            ".",
            "..",
            "18446744073709551616",
            "-1",
            "hub",
            "\0",
        ];
        fuzz("delivery", &words, |reply| {
            if let Some(info) = DeliveryInfo::parse(&String::from_utf8_lossy(reply)) {
                assert!(info.output_id("out").ends_with(":out"));
            }
        });
    }
}
