//! The network inside a cluster's namespaces. Every cluster has the same addresses, since none sees another.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::state::Ports;
use super::{files, run};

/// The node's name.
pub const NODE: &str = "node1";

/// The node's address.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Addresses of Services.
pub const SERVICES: &str = "10.96.0.0/16";

/// The address of the Service `kubernetes`.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The address of the Service `kube-dns`.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// Addresses of pods.
pub const PODS: &str = "10.244.0.0/24";

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The `ip` command.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// A setting of the kernel.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A port of the machine.
    #[error("listen on port {port} of 127.0.0.1")]
    Listen {
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
}

/// Makes the node's interface and routes, in a network namespace that is new.
pub fn make() -> Result<(), Error> {
    let address = format!("{NODE_ADDRESS}/32");
    for arguments in [
        &["link", "set", "lo", "up"][..],
        &["link", "add", "node0", "type", "bridge"],
        &["address", "add", &address, "dev", "node0"],
        &["link", "set", "node0", "up"],
        // Service addresses need a route to be sent at all; kube-proxy turns them into pods'.
        &["route", "add", SERVICES, "dev", "node0"],
    ] {
        run::output(Command::new("ip").args(arguments))?;
    }
    for setting in ["ipv4/ip_forward", "bridge/bridge-nf-call-iptables", "ipv4/conf/all/route_localnet"] {
        files::write(&Path::new("/proc/sys/net").join(setting), "1")?;
    }
    Ok(())
}

/// Sockets on the machine's loopback address. A socket stays in the namespace that it was made in.
#[derive(Debug)]
pub struct Doors {
    listeners: [TcpListener; 3],
}

impl Doors {
    /// Listens, on the same ports as before where they are free.
    pub fn open(wanted: Ports) -> Result<Self, Error> {
        let [api, http, https] = [wanted.api, wanted.http, wanted.https].map(listen);
        Ok(Self { listeners: [api?, http?, https?] })
    }

    /// The ports.
    pub fn ports(&self) -> Result<Ports, Error> {
        let [api, http, https] = self.listeners.each_ref().map(|listener| {
            let address = listener.local_addr();
            address.map_err(|source| Error::Listen { port: 0, source })
        });
        Ok(Ports { api: api?.port(), http: http?.port(), https: https?.port() })
    }

    /// Passes connections on into the namespace that this process is in now, until it ends.
    pub fn serve(self) {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let node = IpAddr::V4(NODE_ADDRESS);
        let targets = [(loopback, 6443), (node, 80), (node, 443)].map(SocketAddr::from);
        for (listener, target) in self.listeners.into_iter().zip(targets) {
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    // A client sees that its connection ends: nobody else need be told.
                    thread::spawn(move || drop(pass(client, target)));
                }
            });
        }
    }
}

fn listen(port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .map_err(|source| Error::Listen { port, source })
}

fn pass(client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&target, Duration::from_secs(3))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let upward = thread::spawn(move || pump(from, to));
    pump(server, client);
    // The other direction ends when its side closes; both ends are dropped then.
    let _ = upward.join();
    Ok(())
}

/// Either side may vanish at any time, which ends the direction.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
