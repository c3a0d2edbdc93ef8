//! Random changes of an input, which a failing one can be made small by: fewer changes, smaller
//! numbers.

use proptest::prelude::*;
use proptest::sample::Index;

/// No input is larger: time goes into other cases instead.
const MOST: usize = 64 * 1024;

/// One change of an input; places are given by a number that is cut to its length.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Word(Index, Index),
    Remove(Index, usize),
    /// A part once more, several times.
    Repeat(Index, usize, usize),
    /// From here on, the end of another entry.
    Splice(Index, Index, Index),
    Cut(Index),
    /// In place of the next number.
    Number(Index, i64),
}

/// Entries of the corpus with some changes, seldom none.
pub(super) fn inputs(entries: Vec<Vec<u8>>, words: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec(change(), 0..8);
    (any::<Index>(), changes).prop_map(move |(entry, changes)| {
        let mut input = entry.get(&entries).clone();
        for change in &changes {
            change.apply(&mut input, &entries, &words);
            input.truncate(MOST);
        }
        input
    })
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let bytes = proptest::collection::vec(any::<u8>(), 1..8);
    let number = prop_oneof![
        any::<i64>(),
        proptest::sample::select(vec![0, -1, 1, i64::MAX, i64::MIN, 1 << 32, 999_999_999_999]),
    ];
    prop_oneof![
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => (at(), 0_u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        1 => (at(), bytes).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        3 => (at(), at()).prop_map(|(at, word)| Change::Word(at, word)),
        2 => (at(), 1_usize..32).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => (at(), 1_usize..64, 1_usize..300)
            .prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        2 => (at(), at(), at()).prop_map(|(at, other, from)| Change::Splice(at, other, from)),
        1 => at().prop_map(Change::Cut),
        2 => (at(), number).prop_map(|(at, number)| Change::Number(at, number)),
    ]
}

impl Change {
    fn apply(&self, input: &mut Vec<u8>, entries: &[Vec<u8>], words: &[Vec<u8>]) {
        let length = input.len();
        let place = |at: &Index| at.index(length + 1);
        match self {
            Self::Set(at, byte) => {
                if let Some(place) = input.get_mut(place(at)) {
                    *place = *byte;
                }
            }
            Self::Flip(at, bit) => {
                if let Some(place) = input.get_mut(place(at)) {
                    *place ^= 1 << bit;
                }
            }
            Self::Insert(at, bytes) => put(input, place(at), 0, bytes),
            Self::Word(at, word) => {
                if !words.is_empty() {
                    put(input, place(at), 0, word.get(words));
                }
            }
            Self::Remove(at, count) => put(input, place(at), *count, &[]),
            Self::Repeat(at, count, times) => {
                let from = place(at);
                let part = input[from..length.min(from + count)].repeat(*times);
                put(input, from, 0, &part);
            }
            Self::Splice(at, other, from) => {
                let other = other.get(entries);
                input.truncate(place(at));
                input.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
            Self::Cut(at) => input.truncate(place(at)),
            Self::Number(at, number) => {
                let rest = &input[place(at)..];
                let Some(from) = rest.iter().position(u8::is_ascii_digit) else {
                    return;
                };
                let digits = rest[from..]
                    .iter()
                    .take_while(|b| b.is_ascii_digit())
                    .count();
                put(
                    input,
                    place(at) + from,
                    digits,
                    number.to_string().as_bytes(),
                );
            }
        }
    }
}

/// Puts bytes in place of `count` others, or of fewer at the end.
fn put(input: &mut Vec<u8>, from: usize, count: usize, bytes: &[u8]) {
    let to = input.len().min(from + count);
    input.splice(from..to, bytes.iter().copied());
}
