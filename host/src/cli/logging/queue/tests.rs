//! Tests of the log queue with writers that block, break, fill up and recover.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};

use super::*;

fn report(lost: u64) -> String {
    format!("lost {lost}\n")
}

/// Follows a script with one entry per write, and then accepts everything.
struct Scripted {
    steps: VecDeque<Result<usize, ErrorKind>>,
    taken: Vec<u8>,
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let most = self.steps.pop_front().unwrap_or(Ok(usize::MAX))?;
        let taken = bytes.get(..most).unwrap_or(bytes);
        self.taken.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn scripted(steps: &[Result<usize, ErrorKind>]) -> Output<Scripted> {
    Output {
        out: Scripted {
            steps: steps.iter().copied().collect(),
            taken: Vec::new(),
        },
        torn: false,
        lost: 0,
    }
}

fn written(output: &Output<Scripted>) -> &str {
    std::str::from_utf8(&output.out.taken).unwrap()
}

#[test]
fn what_passes_for_a_moment_is_tried_again() {
    let mut output = scripted(&[
        Err(ErrorKind::Interrupted),
        Ok(1),
        Err(ErrorKind::WouldBlock),
    ]);
    output.pass(b"one\n", 0, &report);
    assert_eq!(written(&output), "one\n");
    assert_eq!(output.lost, 0);
}

#[test]
fn a_broken_output_loses_lines_and_says_how_many_when_it_works_again() {
    let mut output = scripted(&[Err(ErrorKind::BrokenPipe), Err(ErrorKind::BrokenPipe)]);
    output.pass(b"one\ntwo\n", 0, &report);
    output.pass(b"three\n", 0, &report);
    assert_eq!(written(&output), "");
    output.pass(b"four\n", 0, &report);
    assert_eq!(written(&output), "lost 3\nfour\n");
    assert_eq!(output.lost, 0);
}

#[test]
fn a_line_that_is_torn_does_not_tear_the_next_one() {
    let mut output = scripted(&[Ok(2), Err(ErrorKind::StorageFull)]);
    output.pass(b"one\n", 0, &report);
    output.pass(b"two\n", 0, &report);
    assert_eq!(written(&output), "on\nlost 1\ntwo\n");
}

#[test]
fn the_report_stands_where_the_lines_are_missing() {
    let mut output = scripted(&[]);
    output.pass(b"one\n", 7, &report);
    output.pass(b"nine\n", 0, &report);
    assert_eq!(written(&output), "one\nlost 7\nnine\n");
}

#[test]
fn lines_are_whole_in_every_write() {
    let line = format!("{}\n", "x".repeat(1000));
    let long = format!("{}\n", "y".repeat(3 * WRITE));
    let mut rest = [line.repeat(5), long.clone(), line.clone()].concat();
    let mut writes = Vec::new();
    while !rest.is_empty() {
        let behind = rest.split_off(whole_lines(rest.as_bytes()));
        assert!(rest.ends_with('\n'));
        writes.push(rest.len());
        rest = behind;
    }
    assert_eq!(writes, [4 * line.len(), line.len(), long.len(), line.len()]);
}

/// Blocks each write until it is released.
struct Gated {
    begun: Sender<()>,
    gate: Receiver<()>,
    taken: Sender<Vec<u8>>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.begun.send(());
        let _ = self.gate.recv();
        let _ = self.taken.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn nobody_waits_for_a_reader_that_stands_still_and_memory_is_bounded() {
    let queue = Queue::default();
    let (begun, has_begun) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let (taken, lines) = mpsc::channel();
    let writer = queue.clone();
    std::thread::spawn(move || {
        let gated = Gated { begun, gate, taken };
        writer.write_to(gated, report);
    });
    queue.push(b"first\n");
    has_begun.recv().unwrap();
    // The writer blocks in its first write; nothing else takes lines.
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    let fitting = WAITING / line.len();
    for _ in 0..fitting + 5 {
        queue.push(&line);
    }
    queue.push(b"small, and behind a gap\n");
    assert_eq!(queue.state().waiting.len(), WAITING);
    assert!(!queue.flush(Duration::ZERO), "it says that it is not empty");
    assert!(!queue.flush(Duration::from_millis(1)));
    drop(open);
    assert!(queue.flush(Duration::from_secs(60)), "it goes on");
    let all: Vec<u8> = lines.try_iter().flatten().collect();
    let text = String::from_utf8(all).unwrap();
    assert_eq!(text.lines().count(), 1 + fitting + 1);
    assert!(text.starts_with("first\nx"), "the order is kept");
    assert!(
        text.ends_with("x\nlost 6\n"),
        "the gap is named in its place"
    );
}
