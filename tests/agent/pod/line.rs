//! A thin line to a server: what goes through it is handed on as it is, so many bytes a second each way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::Pod;
use super::bucket::{PORT, Server};

/// How often a part of a second's bytes is let through.
const PARTS: u64 = 10;

/// The line, as long as the test runs.
pub struct Line {
    arguments: Vec<String>,
}

impl Line {
    /// One to this server, beside it.
    pub fn to(server: &Server, pod: &Pod, bytes_a_second: u64) -> Self {
        let near = TcpListener::bind((pod.address.as_str(), 0)).unwrap();
        let arguments = server.arguments_at(near.local_addr().unwrap().port());
        let far = pod.address.clone();
        std::thread::spawn(move || {
            for near in near.incoming().flatten() {
                let Ok(far) = TcpStream::connect((far.as_str(), PORT)) else { continue };
                let (Ok(to_near), Ok(to_far)) = (near.try_clone(), far.try_clone()) else { continue };
                std::thread::spawn(move || hand_on(near, to_far, bytes_a_second));
                std::thread::spawn(move || hand_on(far, to_near, bytes_a_second));
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
fn hand_on(mut from: TcpStream, mut to: TcpStream, bytes_a_second: u64) {
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
