//! Faults at the boundary of a message: which frames are passed on, dropped, moved, and after
//! which one everything ends.

use super::frame::Frame;
use super::way::Way;

/// The pending edits of frames, for all connections of a proxy together.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// So many answers to stored publishes are dropped.
    pub(crate) lost_acks: u64,
    /// A status is passed on before the message of a stream that precedes it.
    pub(crate) statuses_first: bool,
    /// All connections end after so many messages.
    pub(crate) cut_after: Option<u64>,
    /// The cut is due: nothing passes until it has happened.
    pub(crate) is_cut: bool,
    pub(crate) seen: Seen,
}

/// The events so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Messages that were passed on, in both directions.
    pub messages: u64,
    pub acks_lost: u64,
    pub statuses_moved: u64,
    pub cuts: u64,
    /// Connections that were accepted.
    pub connections: u64,
}

/// The frames passed on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Edited {
    pub(crate) bytes: Vec<u8>,
    /// All connections end after these bytes.
    pub(crate) cut: bool,
}

/// The frames of one connection in one direction.
#[derive(Debug)]
pub(crate) struct Editor {
    way: Way,
    /// A message of a stream that waits for a status that may follow it.
    held: Option<Frame>,
}

impl Editor {
    pub(crate) fn new(way: Way) -> Self {
        Self { way, held: None }
    }

    /// Whether a message waits for a status: [`flush`](Self::flush) passes it on without one.
    pub(crate) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Passes on what waits.
    pub(crate) fn flush(&mut self, plan: &mut Plan, to: &mut Edited) {
        if let Some(held) = self.held.take() {
            pass(held, plan, to);
        }
    }

    pub(crate) fn edit(&mut self, frame: Frame, plan: &mut Plan, to: &mut Edited) {
        if self.way == Way::Up {
            return pass(frame, plan, to);
        }
        if frame.word() == "INFO" {
            return pass(without_other_servers(&frame), plan, to);
        }
        if plan.lost_acks > 0 && frame.is_publish_ack() {
            plan.lost_acks -= 1;
            plan.seen.acks_lost += 1;
            return;
        }
        let status_of_held = frame.status().is_some()
            && self
                .held
                .as_ref()
                .is_some_and(|held| held.subscription() == frame.subscription());
        if status_of_held {
            plan.seen.statuses_moved += 1;
            pass(frame, plan, to);
            return self.flush(plan, to);
        }
        self.flush(plan, to);
        match plan.statuses_first && frame.is_from_a_stream() {
            true => self.held = Some(frame),
            false => pass(frame, plan, to),
        }
    }
}

fn pass(frame: Frame, plan: &mut Plan, to: &mut Edited) {
    if plan.is_cut {
        return;
    }
    to.bytes.extend_from_slice(&frame.bytes);
    if !frame.is_message() {
        return;
    }
    plan.seen.messages += 1;
    if let Some(left) = &mut plan.cut_after {
        *left = left.saturating_sub(1);
        if *left == 0 {
            plan.cut_after = None;
            plan.is_cut = true;
            plan.seen.cuts += 1;
            to.cut = true;
        }
    }
}

/// INFO without the addresses of other servers: a client that learned them would go around the
/// proxy.
fn without_other_servers(frame: &Frame) -> Frame {
    let Ok(mut info) = serde_json::from_str::<serde_json::Value>(frame.rest()) else {
        return frame.clone();
    };
    if let Some(members) = info.as_object_mut() {
        members.retain(|name, _| !name.ends_with("connect_urls"));
    }
    Frame::of_line(&format!("INFO {info}"))
}

#[cfg(test)]
mod tests {
    use super::super::frame::Frames;
    use super::{Edited, Editor, Plan, Seen, Way};

    const ACK: &str = "MSG _INBOX.x 3 23\r\n{\"stream\":\"R\",\"seq\":99}\r\n";
    const ITEM: &str = "MSG work.x 7 $JS.ACK.W.c.1.2.3.4.0 1\r\nx\r\n";
    const STATUS: &str = "HMSG _INBOX.y 7 16 16\r\nNATS/1.0 408\r\n\r\n\r\n";
    const OTHER: &str = "HMSG _INBOX.y 8 16 16\r\nNATS/1.0 408\r\n\r\n\r\n";

    /// Edits frames one after the other; what came out of each.
    fn edited(way: Way, plan: &mut Plan, frames: &[&str]) -> Vec<(String, bool)> {
        let mut editor = Editor::new(way);
        let mut out = Vec::new();
        for text in frames {
            let mut reader = Frames::default();
            reader.push(text.as_bytes());
            let mut to = Edited::default();
            editor.edit(reader.next().unwrap().unwrap(), plan, &mut to);
            out.push((String::from_utf8(to.bytes).unwrap(), to.cut));
        }
        let mut last = Edited::default();
        editor.flush(plan, &mut last);
        if !last.bytes.is_empty() {
            out.push((String::from_utf8(last.bytes).unwrap(), last.cut));
        }
        out
    }

    fn passed(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    #[test]
    fn without_a_fault_every_frame_passes() {
        let frames = [ITEM, STATUS, ACK, "PING\r\n"];
        for way in [Way::Up, Way::Down] {
            let mut plan = Plan::default();
            let out = edited(way, &mut plan, &frames);
            assert_eq!(out, frames.map(passed));
            assert_eq!(
                plan.seen,
                Seen {
                    messages: 3,
                    ..Seen::default()
                }
            );
        }
    }

    #[test]
    fn so_many_answers_of_streams_are_lost() {
        let mut plan = Plan {
            lost_acks: 1,
            ..Plan::default()
        };
        let out = edited(Way::Down, &mut plan, &[ITEM, ACK, ACK]);
        assert_eq!(out, [ITEM, "", ACK].map(passed));
        assert_eq!((plan.seen.acks_lost, plan.seen.messages), (1, 2));
    }

    #[test]
    fn a_status_comes_before_the_message_that_precedes_it() {
        let mut plan = Plan {
            statuses_first: true,
            ..Plan::default()
        };
        let moved = format!("{STATUS}{ITEM}");
        let out = edited(Way::Down, &mut plan, &[ITEM, STATUS, ITEM]);
        assert_eq!(out, ["", &moved, "", ITEM].map(passed));
        assert_eq!(plan.seen.statuses_moved, 1);
        // Frames in between keep their places, as does the status of another pull.
        let after = format!("{ITEM}PING\r\n");
        let out = edited(Way::Down, &mut plan, &[ITEM, "PING\r\n", STATUS]);
        assert_eq!(out, ["", &after, STATUS].map(passed));
        let after = format!("{ITEM}{OTHER}");
        let out = edited(Way::Down, &mut plan, &[ITEM, OTHER]);
        assert_eq!(out, ["", &after].map(passed));
        assert_eq!(plan.seen.statuses_moved, 1);
    }

    #[test]
    fn nothing_passes_after_the_message_at_which_it_is_cut() {
        let mut plan = Plan {
            cut_after: Some(2),
            ..Plan::default()
        };
        let out = edited(Way::Up, &mut plan, &["PUB a 1\r\nx\r\n", "PING\r\n"]);
        assert_eq!(out, ["PUB a 1\r\nx\r\n", "PING\r\n"].map(passed));
        let out = edited(Way::Down, &mut plan, &[ITEM, "PING\r\n", ITEM]);
        assert_eq!(out, [(ITEM.to_owned(), true), passed(""), passed("")]);
        assert_eq!((plan.seen.messages, plan.seen.cuts), (2, 1));
    }

    #[test]
    fn no_address_of_another_server_is_passed_on() {
        let info = "INFO {\"connect_urls\":[\"a:1\"],\"port\":4222,\"ws_connect_urls\":[]}\r\n";
        let out = edited(Way::Down, &mut Plan::default(), &[info]);
        assert_eq!(out, [passed("INFO {\"port\":4222}\r\n")]);
    }
}
