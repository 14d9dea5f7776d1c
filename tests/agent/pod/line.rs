//! A bad line to a server: thin, so that so many bytes a second go through it each way, or one on which connections fall silent.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::Pod;
use super::bucket::{PORT, Server};

/// How often a part of a second's bytes is let through.
const PARTS: u64 = 10;

/// How it is bad.
#[derive(Clone)]
enum Way {
    Thin(u64),
    Silent(Arc<AtomicI64>),
}

/// The line, as long as the test runs.
pub struct Line {
    arguments: Vec<String>,
}

impl Line {
    /// A thin one to this server, beside it.
    pub fn thin(server: &Server, pod: &Pod, bytes_a_second: u64) -> Self {
        Self::to(server, pod, Way::Thin(bytes_a_second))
    }

    /// One on which all connections fall silent, once, when so many bytes went through: nobody is told that they are gone, as when a router
    /// forgets them. New ones work.
    pub fn silent_after(server: &Server, pod: &Pod, bytes: i64) -> Self {
        Self::to(server, pod, Way::Silent(Arc::new(AtomicI64::new(bytes))))
    }

    fn to(server: &Server, pod: &Pod, way: Way) -> Self {
        let near = TcpListener::bind((pod.address.as_str(), 0)).unwrap();
        let arguments = server.arguments_at(near.local_addr().unwrap().port());
        let far = pod.address.clone();
        std::thread::spawn(move || {
            for near in near.incoming().flatten() {
                let Ok(far) = TcpStream::connect((far.as_str(), PORT)) else { continue };
                let (Ok(to_near), Ok(to_far)) = (near.try_clone(), far.try_clone()) else { continue };
                for (from, to) in [(near, to_far), (far, to_near)] {
                    let way = way.clone();
                    std::thread::spawn(move || match way {
                        Way::Thin(bytes_a_second) => thinly(from, to, bytes_a_second),
                        Way::Silent(left) => until_silent(from, to, &left),
                    });
                }
            }
        });
        Self { arguments }
    }

    /// What the agent is told of the bucket at its end.
    pub fn arguments(&self) -> Vec<String> {
        self.arguments.clone()
    }
}

/// Each connection has a share of the line: as many as restic opens at once.
fn thinly(mut from: TcpStream, mut to: TcpStream, bytes_a_second: u64) {
    const CONNECTIONS: u64 = 5;
    let mut buffer = vec![0; usize::try_from(bytes_a_second / PARTS / CONNECTIONS).unwrap()];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1000 / PARTS));
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// A connection of before stays open when it is silent; one of afterwards is handed on.
fn until_silent(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
    let begun_before = left.load(Ordering::Relaxed) > 0;
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        left.fetch_sub(i64::try_from(length).unwrap(), Ordering::Relaxed);
        while begun_before && left.load(Ordering::Relaxed) <= 0 {
            std::thread::park();
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
