//! Heartbeats between the members of a shard: one UDP socket, one thread that sends and receives. It never decides who
//! is dead, and what it hears is a hint: detection may be wrong at any moment without harm.
//!
//! A thread of its own, so that a pause of the interpreter delays no heartbeat and is not taken for death. What a
//! heartbeat carries, the stamp, is moved by the interpreter's loop alone, so that a loop that stands still is seen.
#![forbid(unsafe_code)]

mod datagram;
mod links;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use datagram::{Key, LinkId};
use links::Links;
pub use links::{Counts, Heard};

/// How long the thread may go on after `close`, at the most.
const LOOK_UP: Duration = Duration::from_millis(25);
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// A socket whose buffer is full loses a heartbeat rather than hold up the others.
const SEND_TIMEOUT: Duration = Duration::from_millis(10);

pub struct Heartbeats {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    links: Mutex<Links>,
    stamp: AtomicU64,
    closing: AtomicBool,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links
            .lock()
            .expect("nothing panics while it has the links")
    }
}

impl Heartbeats {
    pub fn start(address: SocketAddr, interval: Duration) -> io::Result<Heartbeats> {
        let socket = UdpSocket::bind(address)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            links: Mutex::new(Links::new(RandomState::new().hash_one(address))),
            stamp: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        });
        let thread = thread::Builder::new().name("heartbeats".into()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, &socket, interval)
        })?;
        Ok(Heartbeats {
            shared,
            address,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it was new; a link that is watched already stays as it is.
    pub fn watch(&self, link: LinkId, key: &Key, peer: SocketAddr) -> bool {
        self.shared.links().watch(link, key, peer)
    }

    pub fn forget(&self, link: &LinkId) {
        self.shared.links().forget(link);
    }

    /// The caller's loop has gone round once more.
    pub fn progress(&self) {
        self.shared.stamp.fetch_add(1, Ordering::Relaxed);
    }

    /// Of the links that were heard at all.
    pub fn heard(&self) -> Vec<(LinkId, Heard)> {
        self.shared.links().heard().collect()
    }

    pub fn counts(&self) -> Counts {
        self.shared.links().counts
    }

    /// Ends the thread and waits for it; the socket is closed then. Again is fine.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().expect("only close has it").take();
        if let Some(thread) = thread {
            // Whoever stops waits for this: the thread is woken, and looks up by itself where that cannot be.
            let any: IpAddr = match self.address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let _ = UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(&[], self.address));
            thread.join().expect("the thread of heartbeats panicked");
        }
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(shared: &Shared, socket: &UdpSocket, interval: Duration) {
    let mut buffer = [0; datagram::BYTES + 1];
    let mut due = Instant::now();
    while !shared.closing.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= due {
            send(shared, socket);
            // Those that a stopped process has missed are not made up for.
            due = (due + interval).max(now + interval / 2);
        }
        let wait = due.duration_since(now).clamp(SHORTEST_WAIT, LOOK_UP);
        let received = socket
            .set_read_timeout(Some(wait))
            .and_then(|()| socket.recv(&mut buffer));
        match received {
            Ok(length) => shared.links().receive(&buffer[..length], Instant::now()),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => {
                    shared.links().counts.receive_errors += 1;
                    thread::sleep(wait);
                }
            },
        }
    }
}

fn send(shared: &Shared, socket: &UdpSocket) {
    let heartbeats = shared.links().beat(shared.stamp.load(Ordering::Relaxed));
    let mut sent = 0;
    let mut errors = 0;
    for (peer, bytes) in heartbeats {
        match socket.send_to(&bytes, peer) {
            Ok(_) => sent += 1,
            Err(_) => errors += 1,
        }
    }
    if sent + errors > 0 {
        let counts = &mut shared.links().counts;
        counts.sent += sent;
        counts.send_errors += errors;
    }
}
