//! Two real sockets: what one process sends the other hears, and nothing that goes wrong ends the thread.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use openbourse_heartbeat::{Heard, Heartbeats, Key, LinkId};

const INTERVAL: Duration = Duration::from_millis(10);
const LINK: LinkId = [1; 16];
const KEY: Key = [2; 32];

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn start() -> Heartbeats {
    Heartbeats::start(any_port(), INTERVAL).unwrap()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn last(heartbeats: &Heartbeats) -> Option<Heard> {
    heartbeats.heard().first().map(|(_, heard)| *heard)
}

#[test]
fn two_members_hear_each_other_and_see_the_loop_go_on() {
    let (one, two) = (start(), start());
    assert!(one.watch(LINK, &KEY, two.address()));
    assert!(two.watch(LINK, &KEY, one.address()));
    until("both are heard", || last(&one).zip(last(&two)));
    for turns in 1..=3 {
        two.progress();
        until("the stamp moves", || {
            last(&one).filter(|heard| heard.stamp == turns)
        });
    }
    assert_eq!(last(&two).unwrap().stamp, 0);
}

#[test]
fn a_loop_that_stands_still_is_heard_with_the_same_stamp() {
    let (one, two) = (start(), start());
    assert!(one.watch(LINK, &KEY, two.address()));
    assert!(two.watch(LINK, &KEY, one.address()));
    let first = until("it is heard", || last(&one));
    let later = until("it is heard again", || {
        last(&one).filter(|heard| heard.at > first.at + 5 * INTERVAL)
    });
    assert_eq!(later.stamp, first.stamp);
}

#[test]
fn a_peer_that_is_away_is_heard_once_it_comes() {
    let one = start();
    let free = UdpSocket::bind(any_port()).unwrap().local_addr().unwrap();
    assert!(one.watch(LINK, &KEY, free));
    until("some were sent to nobody", || {
        (one.counts().sent >= 3).then_some(())
    });
    let two = Heartbeats::start(free, INTERVAL).unwrap();
    assert!(two.watch(LINK, &KEY, one.address()));
    until("both are heard", || last(&one).zip(last(&two)));
}

#[test]
fn errors_of_the_socket_are_counted_and_end_nothing() {
    let (one, two) = (start(), start());
    // A socket of 127.0.0.1 cannot send to the outside, nor to the other kind of address.
    assert!(one.watch([8; 16], &KEY, SocketAddr::from(([192, 0, 2, 1], 9))));
    assert!(one.watch([9; 16], &KEY, "[2001:db8::1]:9".parse().unwrap()));
    assert!(one.watch(LINK, &KEY, two.address()));
    assert!(two.watch(LINK, &KEY, one.address()));
    until("both fail", || {
        (one.counts().send_errors >= 6).then_some(())
    });
    until("the third is heard", || last(&two));
}

#[test]
fn a_flood_of_anything_stops_no_heartbeat() {
    let (one, two) = (start(), start());
    assert!(one.watch(LINK, &KEY, two.address()));
    assert!(two.watch(LINK, &KEY, one.address()));
    let noise = UdpSocket::bind(any_port()).unwrap();
    for round in 0..20_000usize {
        let bytes = vec![round as u8; round % 1_400];
        let _ = noise.send_to(&bytes, one.address());
    }
    until("it is ignored", || {
        (one.counts().malformed > 0).then_some(())
    });
    let now = Instant::now();
    until("heard after it", || {
        last(&two).filter(|heard| heard.at > now)
    });
    until("hears after it", || {
        last(&one).filter(|heard| heard.at > now)
    });
}

#[test]
fn a_closed_one_is_silent_at_once_and_its_port_is_free() {
    let one = start();
    let address = one.address();
    let began = Instant::now();
    one.close();
    assert!(
        began.elapsed() < Duration::from_millis(100),
        "{:?}",
        began.elapsed()
    );
    one.close();
    let again = Heartbeats::start(address, Duration::from_secs(60)).unwrap();
    assert!(again.watch(LINK, &KEY, address));
    std::thread::sleep(Duration::from_millis(20));
    let began = Instant::now();
    drop(again);
    assert!(
        began.elapsed() < Duration::from_millis(100),
        "{:?}",
        began.elapsed()
    );
}
