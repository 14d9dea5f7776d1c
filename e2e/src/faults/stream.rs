//! What a watch tells, changed on its way: line by line, as the API server writes them.

use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Bytes, Frame, Incoming};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::proxy::{Body, Broken};
use super::weather::{Bend, Choice, Touch};

/// What is done to the lines of a watch.
#[derive(Clone, Default)]
pub struct Course {
    /// It is over then, one way or another.
    end: Option<(Duration, End)>,
    /// Of the next line only half is sent, and then nothing more.
    half: bool,
    swallows: Option<Choice>,
    touch: Option<Touch>,
}

#[derive(Clone, Copy)]
enum End {
    Quiet,
    Broken,
    Expired,
}

impl Course {
    /// What a bend means.
    pub fn of(bend: &Bend) -> Self {
        let none = Self::default();
        match bend {
            Bend::Ends(after) => Self { end: Some((*after, End::Quiet)), ..none },
            Bend::Half(after) => Self { end: Some((*after, End::Broken)), half: true, ..none },
            Bend::Expires(after) => Self { end: Some((*after, End::Expired)), ..none },
            Bend::Without(choice) => Self { swallows: Some(choice.clone()), ..none },
            Bend::Bookmarks => Self { swallows: Some(std::sync::Arc::new(|event| event["type"] != "BOOKMARK")), ..none },
        }
    }

    /// Every object is changed.
    pub fn touched(touch: Touch) -> Self {
        Self { touch: Some(touch), ..Self::default() }
    }

    /// What is sent of a line; whether it is the last.
    fn line(&self, line: &[u8]) -> (Vec<u8>, bool) {
        if self.half {
            return (line.get(..line.len() / 2).unwrap_or_default().to_vec(), true);
        }
        if self.swallows.is_none() && self.touch.is_none() {
            return (line.to_vec(), false);
        }
        let Ok(mut event) = serde_json::from_slice::<Value>(line) else { return (line.to_vec(), false) };
        if self.swallows.as_ref().is_some_and(|swallows| swallows(&event)) {
            return (Vec::new(), false);
        }
        match (&self.touch, event.get_mut("object")) {
            (Some(touch), Some(object)) => {
                touch(object);
                let mut text = event.to_string().into_bytes();
                text.push(b'\n');
                (text, false)
            }
            _ => (line.to_vec(), false),
        }
    }
}

type Sent = Result<Frame<Bytes>, Broken>;

/// The body of a watch whose lines go this way, until it is cut.
pub fn bent(body: Incoming, course: Course, cuts: watch::Receiver<u64>) -> Body {
    let (sender, mut sent) = mpsc::channel::<Sent>(16);
    tokio::spawn(async move {
        // Whoever listens is gone when nothing can be sent.
        let _ = run(body, course, cuts, &sender).await;
    });
    BodyExt::boxed(StreamBody::new(futures::stream::poll_fn(move |context| sent.poll_recv(context))))
}

async fn run(
    mut body: Incoming,
    course: Course,
    mut cuts: watch::Receiver<u64>,
    to: &mpsc::Sender<Sent>,
) -> Result<(), mpsc::error::SendError<Sent>> {
    let mut rest: Vec<u8> = Vec::new();
    let end = course.end.map(|(after, end)| (Instant::now() + after, end));
    cuts.borrow_and_update();
    loop {
        let over = async {
            match end {
                Some((at, end)) => {
                    tokio::time::sleep_until(at).await;
                    end
                }
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            () = to.closed() => return Ok(()),
            Ok(()) = cuts.changed() => return to.send(broken("the watch is cut")).await,
            end = over => return to.send(match end {
                End::Quiet => return Ok(()),
                End::Broken => broken("the watch breaks"),
                End::Expired => Ok(Frame::data(expired())),
            }).await,
            frame = body.frame() => frame,
        };
        let data = match frame {
            None => return Ok(()),
            Some(Err(error)) => return to.send(Err(error.into())).await,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        rest.extend_from_slice(&data);
        while let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=length).collect();
            let (text, last) = course.line(&line);
            if !text.is_empty() {
                to.send(Ok(Frame::data(text.into()))).await?;
            }
            if last {
                return to.send(broken("the watch breaks within a line")).await;
            }
        }
        if body.is_end_stream() {
            return Ok(());
        }
    }
}

fn broken(what: &'static str) -> Sent {
    Err(std::io::Error::other(what).into())
}

/// As the API server says it in a watch.
fn expired() -> Bytes {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410,
    });
    format!("{}\n", json!({ "type": "ERROR", "object": status })).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LINE: &[u8] = b"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\"}}\n";

    #[test]
    fn a_line_is_halved_swallowed_or_changed_and_otherwise_as_it_was() {
        let plain = Course::of(&Bend::Ends(Duration::from_secs(1)));
        assert_eq!(plain.line(LINE), (LINE.to_vec(), false));
        let (half, last) = Course::of(&Bend::Half(Duration::from_secs(1))).line(LINE);
        assert!(last && !half.is_empty() && half.len() < LINE.len() && !half.contains(&b'\n'));
        assert_eq!(Course::of(&Bend::Bookmarks).line(LINE), (Vec::new(), false));
        let bookmark = b"{\"type\":\"BOOKMARK\",\"object\":{}}\n";
        assert_eq!(Course::of(&Bend::Bookmarks).line(bookmark), (bookmark.to_vec(), false));
        let (touched, _) = Course::touched(Arc::new(|object| object["kind"] = json!("Job"))).line(LINE);
        assert_eq!(serde_json::from_slice::<Value>(&touched).unwrap(), json!({ "type": "ADDED", "object": { "kind": "Job" } }));
    }
}
