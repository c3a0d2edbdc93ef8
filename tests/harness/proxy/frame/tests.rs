//! Where frames end and what they carry, by tables and by chance.

use proptest::prelude::*;

use super::{Frame, Frames, LINE, Malformed};

fn all(bytes: &[u8]) -> Result<Vec<Frame>, Malformed> {
    let mut frames = Frames::default();
    frames.push(bytes);
    let mut found = Vec::new();
    while let Some(frame) = frames.next()? {
        found.push(frame);
    }
    Ok(found)
}

fn one(text: &str) -> Frame {
    let mut found = all(text.as_bytes()).unwrap();
    assert_eq!(found.len(), 1, "{text:?}");
    found.remove(0)
}

#[test]
fn frames_end_where_the_protocol_says() {
    for (text, wanted) in [
        ("PING\r\nPONG\r\n", vec!["PING\r\n", "PONG\r\n"]),
        (
            "INFO {\"a\": 1}\r\n+OK\r\n",
            vec!["INFO {\"a\": 1}\r\n", "+OK\r\n"],
        ),
        // A payload may look like frames.
        (
            "PUB a 6\r\nPING\r\n\r\nPING\r\n",
            vec!["PUB a 6\r\nPING\r\n\r\n", "PING\r\n"],
        ),
        ("MSG a 9 0\r\n\r\n", vec!["MSG a 9 0\r\n\r\n"]),
        ("pub a r 1\r\nx\r\n", vec!["pub a r 1\r\nx\r\n"]),
        (
            "HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\nPING\r\n",
            vec!["HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n", "PING\r\n"],
        ),
        // Not whole yet.
        ("PING\r\nMSG a 1 5\r\nabc", vec!["PING\r\n"]),
        ("PING\r\nMSG a 1 5\r\nabcde\r", vec!["PING\r\n"]),
        ("SUB a", vec![]),
    ] {
        let found = all(text.as_bytes()).unwrap();
        let found: Vec<&[u8]> = found.iter().map(|frame| &*frame.bytes).collect();
        let wanted: Vec<&[u8]> = wanted.iter().map(|text| text.as_bytes()).collect();
        assert_eq!(found, wanted, "{text:?}");
    }
}

#[test]
fn bytes_that_are_no_frames_are_noticed() {
    for text in [
        "MSG a 1 x\r\n",
        "MSG 5\r\n",
        "HMSG a 1 9 5\r\nNATS/1.0\r\n\r\n",
        "PUB a 18446744073709551615\r\n",
        "PUB a 1\r\nxyz",
        "PUB \u{fffd} -1\r\n",
        &"x".repeat(LINE + 1),
    ] {
        assert_eq!(all(text.as_bytes()), Err(Malformed), "{text:.40}");
    }
}

#[test]
fn what_a_frame_carries_is_read() {
    let delivery = one("MSG work.lab.x 7 $JS.ACK.WORK_QUEUE.c.1.2.3.4.0 2\r\nhi\r\n");
    assert!(delivery.is_message() && delivery.is_from_a_stream());
    assert_eq!(delivery.subscription(), Some("7"));
    assert_eq!(delivery.payload(), b"hi");
    assert_eq!(
        (delivery.status(), delivery.is_publish_ack()),
        (None, false)
    );

    let headers = "NATS/1.0 409 Batch Completed\r\n\r\n";
    let length = headers.len();
    let status = one(&format!(
        "HMSG _INBOX.x 7 {length} {length}\r\n{headers}\r\n"
    ));
    assert_eq!(
        (status.status(), status.subscription()),
        (Some(409), Some("7"))
    );
    assert_eq!(status.payload(), b"");

    let plain = one("HMSG a 7 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    assert_eq!((plain.status(), plain.payload()), (None, &b"hi"[..]));

    let info = one("INFO {\"port\": 1}\r\n");
    assert_eq!(
        (info.word().as_str(), info.rest()),
        ("INFO", "{\"port\": 1}")
    );
    assert_eq!(info.payload(), b"");
    assert!(!info.is_message());
}

#[test]
fn the_answer_to_a_stored_publish_is_recognised() {
    let delivered = |payload: &str| format!("MSG _INBOX.x 3 {}\r\n{payload}\r\n", payload.len());
    for (text, wanted) in [
        (delivered(r#"{"stream":"RESULTS", "seq":1}"#), true),
        (
            delivered(r#"{"stream":"R","domain":"d","seq":1,"duplicate":true}"#),
            true,
        ),
        (
            delivered(r#"{"type":"io.nats.x","stream":"R","seq":1}"#),
            false,
        ),
        (delivered(r#"{"error":{"code":503},"seq":0}"#), false),
        (delivered("x"), false),
        (
            "PUB a 25\r\n{\"stream\":\"R\",\"seq\":1234}\r\n".to_owned(),
            false,
        ),
    ] {
        assert_eq!(one(&text).is_publish_ack(), wanted, "{text}");
    }
}

/// Frames of all kinds, with payloads of any bytes.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b"PING\r\n".to_vec()),
        Just(b"+OK\r\n".to_vec()),
        "[A-Z ]{0,20}".prop_map(|text| format!("INFO {{{text}}}\r\n").into_bytes()),
    ];
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    let message = (payload, 0..4_usize, 0..200_usize).prop_map(|(payload, kind, headers)| {
        let (total, headers) = (payload.len(), headers.min(payload.len()));
        let line = match kind {
            0 => format!("MSG a.b 1 {total}\r\n"),
            1 => format!("HMSG a.b 1 reply {headers} {total}\r\n"),
            2 => format!("PUB a.b {total}\r\n"),
            _ => format!("HPUB a.b reply {headers} {total}\r\n"),
        };
        [line.as_bytes(), &payload, b"\r\n"].concat()
    });
    prop_oneof![line, message]
}

proptest! {
    #[test]
    fn frames_are_the_same_however_their_bytes_arrive(
        frames in prop::collection::vec(frame(), 0..12),
        pieces in prop::collection::vec(1..64_usize, 1..50),
    ) {
        let bytes = frames.concat();
        let mut reader = Frames::default();
        let (mut found, mut rest) = (Vec::new(), &bytes[..]);
        for length in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(*length));
            rest = after;
            reader.push(piece);
            while let Some(frame) = reader.next().unwrap() {
                found.push(frame.bytes.to_vec());
            }
        }
        prop_assert_eq!(found, frames);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = all(&bytes);
        let mut text = b"HMSG a 1 ".to_vec();
        text.extend(&bytes);
        let _ = all(&text);
    }
}
