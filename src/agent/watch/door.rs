//! The port that a probe knocks at: open while all is well.

use std::net::{Ipv4Addr, TcpListener};

use super::Error;

/// The port.
pub struct Door {
    port: u16,
    open: Option<TcpListener>,
}

impl Door {
    /// Closed.
    pub fn at(port: u16) -> Self {
        Self { port, open: None }
    }

    /// Opens it, or lets in who has knocked since: a full queue would look closed.
    pub fn open(&mut self) -> Result<(), Error> {
        if let Some(listener) = &self.open {
            while listener.accept().is_ok() {}
            return Ok(());
        }
        let opened = TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        self.open = Some(opened.map_err(|error| Error::Listen(self.port, error))?);
        Ok(())
    }

    /// Is it open?
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Closes it. Says whether it was open.
    pub fn close(&mut self) -> bool {
        self.open.take().is_some()
    }
}
