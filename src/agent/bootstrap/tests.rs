//! The conversation with DHIS2, against a server of a few lines that behaves as the real one was seen to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::report::Verb;

const GENERATED: &str = "Generated-9x_y";

/// What the server does.
#[derive(Clone)]
struct Server {
    /// How many more requests are answered 404.
    failed: u32,
    /// How many more loginConfig requests are answered 500, and logins 401, as without a database.
    without_database: u32,
    /// The administrator's password.
    password: String,
    /// The answer to a change of password.
    change: u16,
    /// Whether a change takes effect.
    changes: bool,
    /// Requests, as method and path.
    seen: Vec<String>,
}

impl Server {
    fn with_password(password: &str) -> Self {
        Self { failed: 0, without_database: 0, password: password.to_owned(), change: 202, changes: true, seen: Vec::new() }
    }

    fn answer(&mut self, request: &str, login: &str, body: &str) -> (u16, String) {
        self.seen.push(request.to_owned());
        if self.failed > 0 {
            self.failed -= 1;
            return (404, String::new());
        }
        match request {
            "GET /ctx/api/ping" => (200, String::new()),
            "GET /ctx/api/loginConfig" if self.without_database > 0 => {
                self.without_database -= 1;
                (500, String::new())
            }
            "GET /ctx/api/loginConfig" => (200, r#"{"apiVersion":"2.42.4.1"}"#.to_owned()),
            "GET /ctx/api/me?fields=id" if self.without_database > 0 || login != format!("admin:{}", self.password) => (401, String::new()),
            "GET /ctx/api/me?fields=id" => (200, r#"{"id":"M5zQapPyTZI"}"#.to_owned()),
            "PUT /ctx/api/me/changePassword" => {
                assert_eq!(login, "admin:district");
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                assert_eq!(body["oldPassword"], "district");
                if self.changes && self.change == 202 {
                    body["newPassword"].as_str().unwrap().clone_into(&mut self.password);
                }
                (self.change, r#"{"errorCode":"E1004","message":"no"}"#.to_owned())
            }
            other => panic!("unexpected request {other}"),
        }
    }
}

fn serve(server: &Arc<Mutex<Server>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::clone(server);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            converse(&mut stream.unwrap(), &server);
        }
    });
    format!("http://{address}/ctx/")
}

fn basic(header: &str) -> String {
    let encoded = header.strip_prefix("Basic ").unwrap();
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

fn converse(stream: &mut TcpStream, server: &Mutex<Server>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let (mut login, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => login = basic(value),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request = first.trim().trim_end_matches(" HTTP/1.1");
    let (status, text) = server.lock().unwrap().answer(request, &login, std::str::from_utf8(&body).unwrap());
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len()).unwrap();
}

fn run(server: Server, version: &str) -> (Result<Ended, Error>, Server) {
    let server = Arc::new(Mutex::new(server));
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    std::fs::create_dir_all(paths.of("/secrets/admin")).unwrap();
    std::fs::write(paths.of(layout::ADMIN_USERNAME), "admin").unwrap();
    std::fs::write(paths.of(layout::ADMIN_PASSWORD), GENERATED).unwrap();
    let arguments = Bootstrap { url: serve(&server), version: version.parse().unwrap() };
    let message = Message::new(Some(Path::new("/dev/null")), Verb::Bootstrap);
    let result = bootstrap(&arguments, &paths, Log::new(Verb::Bootstrap), &message);
    let server = server.lock().unwrap().clone();
    (result, server)
}

fn done(result: Result<Ended, Error>) -> AdminPassword {
    match result.unwrap().1 {
        Some(Data::Bootstrap(data)) if data.district_refused => data.admin_password,
        other => panic!("{other:?}"),
    }
}

fn changes(server: &Server) -> usize {
    server.seen.iter().filter(|request| request.starts_with("PUT")).count()
}

#[test]
fn the_default_password_is_replaced() {
    let (result, server) = run(Server::with_password("district"), "2.42.4.1");
    assert_eq!(done(result), AdminPassword::Generated);
    assert_eq!((server.password.as_str(), changes(&server)), (GENERATED, 1));
}

#[test]
fn a_second_run_changes_nothing() {
    let (result, server) = run(Server::with_password(GENERATED), "2.42.4.1");
    assert_eq!(done(result), AdminPassword::Generated);
    assert_eq!(changes(&server), 0);
}

#[test]
fn the_password_of_people_is_theirs() {
    let (result, server) = run(Server::with_password("Their-own-1"), "2.42.4.1");
    assert_eq!(done(result), AdminPassword::Foreign);
    assert_eq!((server.password.as_str(), changes(&server)), ("Their-own-1", 0));
}

#[test]
fn refusals_without_a_database_prove_nothing() {
    let (result, _) = run(Server { without_database: 6, ..Server::with_password("district") }, "2.42.4.1");
    assert_eq!(done(result), AdminPassword::Generated);
}

#[test]
fn a_start_that_fails_is_waited_for_until_one_succeeds() {
    let (result, _) = run(Server { failed: 3, ..Server::with_password("district") }, "2.42.4.1");
    assert_eq!(done(result), AdminPassword::Generated);
}

#[test]
fn another_version_is_not_touched() {
    let (result, server) = run(Server::with_password("district"), "2.42.5");
    assert_eq!(result.unwrap_err().reason(), Some(Refusal::ImageVersionMismatch));
    assert_eq!(changes(&server), 0);
}

#[test]
fn a_refused_change_is_told_with_its_rule() {
    let (result, _) = run(Server { change: 409, ..Server::with_password("district") }, "2.42.4.1");
    let message = result.unwrap_err().to_string();
    assert!(message.contains("409") && message.contains("E1004"), "{message}");
}

#[test]
fn a_change_without_effect_keeps_the_door_closed() {
    let (result, _) = run(Server { changes: false, ..Server::with_password("district") }, "2.42.4.1");
    assert!(matches!(result, Err(Error::Account(account::Error::StillAccepted))));
}
