use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;
use crate::report::{Report, Verb};

/// A server that answers in turn, the last answer for ever: status and body.
fn server(answers: &'static [(u16, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/ctx", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            let (status, body) = answers.get(number).or(answers.last()).unwrap();
            let length = body.len();
            write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
        }
    });
    url
}

/// What came of a DHIS2 that answers so, and has written this into its log.
fn rehearsed(answers: &'static [(u16, &'static str)], timeout: u64, written: &str) -> Result<Ended, Error> {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(root.path());
    let file = paths.of(layout::DHIS2_LOG);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, written).unwrap();
    let arguments = Rehearse { url: server(answers), version: "2.43.0".parse().unwrap(), timeout };
    let reports = Message::new(Some(&root.path().join("report")), Verb::Rehearse);
    rehearse(&arguments, &paths, Log::new(Verb::Rehearse), &reports)
}

#[test]
fn a_dhis2_that_serves_after_a_moment_of_404_is_told_with_its_time() {
    let (message, data) = rehearsed(&[(404, ""), (200, "pong"), (200, r#"{"apiVersion":"2.43.0"}"#)], 60, "").unwrap();
    assert!(message.contains("2.43.0 serves"), "{message}");
    assert!(matches!(data, Some(Data::Rehearse(Rehearsed { seconds: 1.., .. }))), "{data:?}");
}

#[test]
fn one_whose_start_has_failed_is_told_with_its_cause() {
    let error = rehearsed(&[(404, "")], 60, "Message : ERROR: relation \"x\" already exists\n").unwrap_err();
    assert_eq!(error.to_string(), "DHIS2 2.43.0 does not start on a copy of the database: ERROR: relation \"x\" already exists");
    assert_eq!(error.reason(), Some(Refusal::RehearsalFailed));
}

#[test]
fn one_that_does_not_end_is_not_waited_for_for_ever() {
    let error = rehearsed(&[(503, "")], 2, "").unwrap_err();
    assert!(matches!(error, Error::Late { minutes: 1, .. }), "{error}");
}

#[test]
fn another_version_is_none() {
    let error = rehearsed(&[(200, r#"{"apiVersion":"2.42.9"}"#)], 60, "").unwrap_err();
    assert!(error.to_string().contains("2.42.9, not 2.43.0"), "{error}");
}

#[test]
fn a_report_fits() {
    let data = Some(Data::Rehearse(Rehearsed { version: "2.43.0".parse().unwrap(), seconds: 7 }));
    let report = Report { verb: Verb::Rehearse, outcome: crate::report::Outcome::Done, reason: None, message: String::new(), data };
    assert_eq!(Report::parse(&report.to_json()), Some(report));
}
