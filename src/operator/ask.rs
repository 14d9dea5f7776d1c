//! Asks a running operator whether it is ready, as the chart's test does: its image holds no other program that could.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Why it is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer.
    #[error("ask {address}: no operator answers there; is one ready, and may this pod connect to it?")]
    Silent {
        /// Who was asked.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// An answer, but not that it is ready.
    #[error("{address} is not ready: {said}")]
    NotReady {
        /// Who was asked.
        address: String,
        /// Its answer.
        said: String,
    },
}

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Returns what the operator at `address` (host and port) says at `/readyz`, if it says that it is ready.
///
/// # Errors
/// When it does not.
pub fn ready(address: &str) -> Result<String, Error> {
    let said = get(address).map_err(|source| Error::Silent { address: address.to_owned(), source })?;
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
    let granted = head.split(' ').nth(1) == Some("200");
    if granted { Ok(body.to_owned()) } else { Err(Error::NotReady { address: address.to_owned(), said: body.to_owned() }) }
}

fn get(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    // Of this version a server answers in one piece, and closes.
    write!(stream, "GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::operator::{
        metrics::Metrics,
        serve::{self, Readiness},
    };

    #[tokio::test]
    async fn it_tells_a_ready_operator_from_one_that_waits_and_from_none() {
        let listener = serve::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (readiness, stop) = (Readiness::new(["some.definition"], []), CancellationToken::new());
        let server = tokio::spawn(serve::serve(listener, readiness.clone(), Arc::new(Metrics::new()), stop.clone()));
        let ask = || {
            let address = address.clone();
            async { tokio::task::spawn_blocking(move || ready(&address)).await.unwrap() }
        };
        let waiting = ask().await.unwrap_err();
        assert!(matches!(&waiting, Error::NotReady { said, .. } if said.contains("some.definition")), "{waiting}");
        readiness.served("some.definition");
        assert_eq!(ask().await.unwrap(), "ready: standing by\n");
        stop.cancel();
        server.await.unwrap().unwrap();
        assert!(matches!(ask().await.unwrap_err(), Error::Silent { .. }));
    }
}
