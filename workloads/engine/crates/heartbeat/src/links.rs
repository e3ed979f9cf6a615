//! Who is watched and what was heard of it: datagrams and times in, datagrams out. No socket, clock or thread.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use crate::datagram::{BYTES, Heartbeat, Key, LinkId, Signer, is_signed};

/// The last heartbeat that counted. `stamp` is the other process's count of its loop's progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub at: Instant,
    pub stamp: u64,
    counter: u64,
}

/// Since the start. A datagram that is ignored is counted under the first reason that holds, from the top.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub sent: u64,
    pub heard: u64,
    /// Not a heartbeat, or of another version.
    pub malformed: u64,
    /// Of a link that is not watched, or not any more.
    pub unknown: u64,
    /// Not made with the link's key.
    pub forged: u64,
    /// Our own, sent back.
    pub reflected: u64,
    /// Its counter is not above the last one's: sent again, or overtaken on the way.
    pub replayed: u64,
    pub send_errors: u64,
    pub receive_errors: u64,
}

struct Link {
    peer: SocketAddr,
    signer: Signer,
    sent: u64,
    heard: Option<Heard>,
}

/// `sender` is this process's, chosen at random.
pub struct Links {
    sender: u64,
    links: BTreeMap<LinkId, Link>,
    pub counts: Counts,
}

impl Links {
    pub fn new(sender: u64) -> Links {
        Links {
            sender,
            links: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Whether it was new. A link that is watched already stays as it is: its counters must never begin again.
    pub fn watch(&mut self, id: LinkId, key: &Key, peer: SocketAddr) -> bool {
        if self.links.contains_key(&id) {
            return false;
        }
        let link = Link {
            peer,
            signer: Signer::new(key),
            sent: 0,
            heard: None,
        };
        self.links.insert(id, link);
        true
    }

    pub fn forget(&mut self, id: &LinkId) {
        self.links.remove(id);
    }

    /// One heartbeat to everybody who is watched.
    pub fn beat(&mut self, stamp: u64) -> Vec<(SocketAddr, [u8; BYTES])> {
        let sender = self.sender;
        let signed = |(id, link): (&LinkId, &mut Link)| {
            link.sent += 1;
            let heartbeat = Heartbeat {
                link: *id,
                sender,
                counter: link.sent,
                stamp,
            };
            (link.peer, heartbeat.signed(&link.signer))
        };
        self.links.iter_mut().map(signed).collect()
    }

    /// From wherever it came: the key says whose it is, and an address may change on the way.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        let Some(heartbeat) = Heartbeat::read(bytes) else {
            self.counts.malformed += 1;
            return;
        };
        let Some(link) = self.links.get_mut(&heartbeat.link) else {
            self.counts.unknown += 1;
            return;
        };
        if !is_signed(bytes, &link.signer) {
            self.counts.forged += 1;
        } else if heartbeat.sender == self.sender {
            self.counts.reflected += 1;
        } else if link
            .heard
            .is_some_and(|last| heartbeat.counter <= last.counter)
        {
            self.counts.replayed += 1;
        } else {
            self.counts.heard += 1;
            link.heard = Some(Heard {
                at: now,
                stamp: heartbeat.stamp,
                counter: heartbeat.counter,
            });
        }
    }

    /// Of those that were heard at all.
    pub fn heard(&self) -> impl Iterator<Item = (LinkId, Heard)> {
        let heard = |(id, link): (&LinkId, &Link)| link.heard.map(|heard| (*id, heard));
        self.links.iter().filter_map(heard)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LINK: LinkId = [7; 16];
    const KEY: Key = [9; 32];

    fn peer() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9))
    }

    fn watching(sender: u64, key: &Key) -> Links {
        let mut links = Links::new(sender);
        assert!(links.watch(LINK, key, peer()));
        links
    }

    fn one(links: &mut Links, stamp: u64) -> [u8; BYTES] {
        let beats = links.beat(stamp);
        assert_eq!(beats.len(), 1);
        assert_eq!(beats[0].0, peer());
        beats[0].1
    }

    fn stamps(links: &Links) -> Vec<u64> {
        links.heard().map(|(_, heard)| heard.stamp).collect()
    }

    #[test]
    fn a_heartbeat_says_when_it_was_heard_and_the_stamp() {
        let (mut ours, mut theirs) = (watching(1, &KEY), watching(2, &KEY));
        let now = Instant::now();
        assert_eq!(ours.heard().count(), 0);
        for beat in 1..=3 {
            let at = now + Duration::from_secs(beat);
            ours.receive(&one(&mut theirs, 40 + beat), at);
            let (link, heard) = ours.heard().next().unwrap();
            assert_eq!((link, heard.at, heard.stamp), (LINK, at, 40 + beat));
        }
        let counts = Counts {
            heard: 3,
            ..Counts::default()
        };
        assert_eq!(ours.counts, counts);
    }

    #[test]
    fn a_heartbeat_counts_once_and_never_after_a_later_one() {
        let (mut ours, mut theirs) = (watching(1, &KEY), watching(2, &KEY));
        let now = Instant::now();
        let beats: Vec<_> = (0..3).map(|stamp| one(&mut theirs, stamp)).collect();
        for index in [1, 1, 0, 2, 2, 1, 0] {
            ours.receive(&beats[index], now);
        }
        assert_eq!(stamps(&ours), [2]);
        assert_eq!((ours.counts.heard, ours.counts.replayed), (2, 5));
    }

    #[test]
    fn a_change_of_any_bit_is_found() {
        let (mut ours, mut theirs) = (watching(1, &KEY), watching(2, &KEY));
        let good = one(&mut theirs, 5);
        for bit in 0..BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            ours.receive(&bad, Instant::now());
        }
        assert_eq!(stamps(&ours), []);
        let counts = Counts {
            malformed: 64,
            unknown: 128,
            forged: 320,
            ..Counts::default()
        };
        assert_eq!(ours.counts, counts);
        ours.receive(&good, Instant::now());
        assert_eq!(stamps(&ours), [5]);
    }

    #[test]
    fn a_heartbeat_of_another_length_is_none() {
        let (mut ours, mut theirs) = (watching(1, &KEY), watching(2, &KEY));
        let good = one(&mut theirs, 5);
        for length in 0..BYTES {
            ours.receive(&good[..length], Instant::now());
        }
        ours.receive(&[&good[..], &[0]].concat(), Instant::now());
        assert_eq!(ours.counts.malformed, BYTES as u64 + 1);
        assert_eq!(stamps(&ours), []);
    }

    #[test]
    fn one_of_another_key_or_sent_back_to_where_it_came_from_is_ignored() {
        let mut ours = watching(1, &KEY);
        ours.receive(&one(&mut watching(2, &[8; 32]), 5), Instant::now());
        let own = one(&mut ours, 6);
        ours.receive(&own, Instant::now());
        assert_eq!(stamps(&ours), []);
        assert_eq!((ours.counts.forged, ours.counts.reflected), (1, 1));
    }

    #[test]
    fn a_link_that_is_forgotten_is_neither_heard_nor_told() {
        let (mut ours, mut theirs) = (watching(1, &KEY), watching(2, &KEY));
        ours.receive(&one(&mut theirs, 5), Instant::now());
        ours.forget(&LINK);
        ours.forget(&LINK);
        ours.receive(&one(&mut theirs, 6), Instant::now());
        assert_eq!(stamps(&ours), []);
        assert_eq!(ours.counts.unknown, 1);
        assert!(ours.beat(1).is_empty());
    }

    #[test]
    fn to_watch_a_link_again_does_not_let_old_heartbeats_count_again() {
        let (mut ours, mut theirs) = (watching(1, &KEY), watching(2, &KEY));
        let old = one(&mut theirs, 5);
        ours.receive(&old, Instant::now());
        assert!(!ours.watch(LINK, &KEY, peer()));
        ours.receive(&old, Instant::now());
        assert_eq!(ours.counts.replayed, 1);
    }

    #[test]
    fn the_layout_is_what_it_says() {
        // The code as Python's hmac makes it.
        let bytes = one(&mut watching(0x0102, &KEY), 0x0304);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "4f42484201000000070707070707070707070707070707070201000000000000\
                        01000000000000000403000000000000aa561f34f09d15fa501e1afd8fd5cb5c";
        assert_eq!(hex, expected);
    }
}
