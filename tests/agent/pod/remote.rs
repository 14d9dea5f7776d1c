//! The verbs of an instance whose sets are in a bucket.

use dhis2_operator::report::{Outcome, Refusal};

use super::bucket::Server;
use super::sets::SCHEMA;
use super::{Ended, Pod, Running};

pub fn words(verb: &str, server: &[String]) -> Vec<String> {
    verb.split(' ').map(str::to_owned).chain(server.iter().cloned()).collect()
}

pub fn run(pod: &Pod, verb: &str, server: &[String]) -> Ended {
    let all = words(verb, server);
    pod.agent(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn backup_of(pod: &Pod, set: &str, instance: &str, name: &str) -> String {
    format!("backup --set {set} --host {} --instance {instance} --name {name} --version 2.42.4.1", pod.address)
}

pub fn backup(pod: &Pod, set: &str, server: &Server) -> Ended {
    run(pod, &backup_of(pod, set, "uid-1", "demo/play"), &server.arguments())
}

pub fn verify(pod: &Pod, more: &str, server: &Server) -> Ended {
    run(pod, &format!("verify --instance uid-1 --name demo/play{more}"), &server.arguments())
}

pub fn reason(ended: Ended) -> (Option<Refusal>, Outcome, String) {
    let report = ended.report.unwrap_or_else(|| panic!("no report: {}", ended.log));
    (report.reason, report.outcome, report.message)
}

/// An instance that serves, and a server with an empty bucket.
pub fn serving(pod: &Pod) -> (Running<'_>, Server) {
    serving_with(pod, Server::start)
}

/// Likewise, with such a server.
pub fn serving_with(pod: &Pod, server: impl FnOnce(&Pod) -> Server) -> (Running<'_>, Server) {
    let running = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    (running, server(pod))
}

/// Bytes that nothing makes smaller.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..length / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect()
}
