//! Records that are written and synced together, encoded once: the same bytes go to the disk and to the standbys.

use std::ops::Range;

use crate::record::{Chain, Found, Record, encode, find, record_bytes};

/// Where a log ends, as its next record sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub next_seq: u64,
    /// Of the record before.
    pub chain: Chain,
}

impl Default for Head {
    /// Of an empty log.
    fn default() -> Head {
        Head {
            next_seq: 1,
            chain: Chain::default(),
        }
    }
}

/// Made by [`Head::batch`] and [`Head::received`], so its records are whole and follow from `before`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    before: Head,
    after: Head,
    bytes: Vec<u8>,
}

impl Batch {
    /// The head that it goes on from.
    pub fn before(&self) -> Head {
        self.before
    }

    pub fn after(&self) -> Head {
        self.after
    }

    pub fn seqs(&self) -> Range<u64> {
        self.before.next_seq..self.after.next_seq
    }

    /// As they lie in a segment.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || match find(&self.bytes, self.bytes.len(), at) {
            Found::Whole(record) => {
                at += record_bytes(record.payload.len());
                Some(record)
            }
            _ => None,
        })
    }
}

/// Why bytes are not what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotNext {
    pub seq: u64,
    pub why: String,
}

impl Head {
    /// The batch that goes on from here, and the head behind it. There is at least one command.
    pub fn batch(
        self,
        epoch: u64,
        time_us: i64,
        commands: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Batch {
        let mut after = self;
        let mut bytes = Vec::new();
        for command in commands {
            let facts = (epoch, after.next_seq, time_us, self.next_seq);
            after.chain = encode(&mut bytes, &after.chain, facts, command.as_ref());
            after.next_seq += 1;
        }
        assert!(!bytes.is_empty(), "a batch has commands");
        Batch {
            before: self,
            after,
            bytes,
        }
    }

    /// The batches of records that another log has from here on, each to be synced by itself. Records before the head
    /// are passed over: whoever sends does not always know what is here already.
    ///
    /// A batch whose begin is in the log already goes on with its rest.
    pub fn received(self, bytes: &[u8]) -> Result<Vec<Batch>, NotNext> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut head = self;
        let mut last_epoch = 0;
        let mut begun = None;
        let mut at = 0;
        while at < bytes.len() {
            let not_next = |why: String| NotNext {
                seq: head.next_seq,
                why,
            };
            let record = match find(bytes, bytes.len(), at) {
                Found::Whole(record) => record,
                other => return Err(not_next(format!("a record is not whole: {other:?}"))),
            };
            let here = at..at + record_bytes(record.payload.len());
            at = here.end;
            if record.seq < head.next_seq {
                continue;
            }
            if record.seq > head.next_seq {
                return Err(not_next(format!("seq {} came instead", record.seq)));
            }
            if record.epoch < last_epoch {
                return Err(not_next(format!(
                    "its epoch {} is older than {last_epoch} before it",
                    record.epoch
                )));
            }
            if !record.follows(&head.chain) {
                return Err(not_next(
                    "its chain does not follow from the record before it: the logs differ".into(),
                ));
            }
            let after = Head {
                next_seq: record.seq + 1,
                chain: record.chain,
            };
            match batches.last_mut() {
                Some(batch) if begun == Some(record.batch_first_seq) => {
                    batch.bytes.extend_from_slice(&bytes[here]);
                    batch.after = after;
                }
                _ => batches.push(Batch {
                    before: head,
                    after,
                    bytes: bytes[here].to_vec(),
                }),
            }
            (begun, last_epoch, head) = (Some(record.batch_first_seq), record.epoch, after);
        }
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: [&[u8]; 3] = [b"one", b"two", b""];

    #[test]
    fn what_is_received_is_what_was_sent_from_wherever_the_log_ends() {
        let first = Head::default().batch(1, 5, COMMANDS);
        let second = first.after().batch(2, 6, COMMANDS);
        let sent = [first.bytes(), second.bytes()].concat();
        assert_eq!(
            Head::default().received(&sent).unwrap(),
            [first.clone(), second.clone()]
        );
        assert_eq!(
            first.after().received(&sent).unwrap(),
            std::slice::from_ref(&second),
            "what is here already is passed over"
        );
        assert_eq!(second.after().received(&sent).unwrap(), []);
        let begin = Head::default().batch(1, 5, COMMANDS).bytes()[..96].to_vec();
        let begun = Head::default().received(&begin).unwrap().remove(0);
        let rest = begun.after().received(&sent).unwrap();
        assert_eq!([begun.bytes(), rest[0].bytes()].concat(), first.bytes());
        assert_eq!(rest[0].after(), first.after());
    }

    #[test]
    fn what_does_not_follow_is_refused_with_its_seq() {
        let first = Head::default().batch(2, 5, COMMANDS);
        let second = first.after().batch(2, 6, COMMANDS);
        let other = Head::default().batch(2, 7, COMMANDS);
        let older = first.after().batch(1, 6, COMMANDS);
        let cut = &second.bytes()[..second.bytes().len() - 8];
        let mut flipped = second.bytes().to_vec();
        flipped[85] ^= 1;
        for (bytes, seq) in [
            (cut.to_vec(), 6),
            (flipped, 4),
            (second.after().batch(2, 8, COMMANDS).bytes().to_vec(), 4),
            ([first.bytes(), older.bytes()].concat(), 4),
        ] {
            let head = match seq {
                _ if bytes.starts_with(first.bytes()) => Head::default(),
                _ => first.after(),
            };
            assert_eq!(head.received(&bytes).unwrap_err().seq, seq);
        }
        assert_eq!(
            other.after().received(second.bytes()).unwrap_err().seq,
            4,
            "the logs differ before it"
        );
    }
}
