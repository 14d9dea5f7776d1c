//! The last plugin in a pod's network setup: the pod starts only when the policies hold for its address.
//!
//! Without it a pod is open from its start until the kubelet has told its address, a second later.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Where the enforcer listens.
pub const SOCKET: &str = "/run/network-policy.sock";

/// What the plugin is called in the network's configuration.
pub const PLUGIN: &str = "await-network-policy";

const LIMIT: Duration = Duration::from_secs(10);

/// A pod's new address, as a line of the socket.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Announcement {
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// Why a pod may not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime did not say which pod, or no plugin before gave it an address.
    #[error("no {0} in what the runtime told")]
    Untold(&'static str),
    /// The runtime's configuration.
    #[error("read the configuration")]
    Configuration(#[from] serde_json::Error),
    /// The enforcer.
    #[error("wait for the network policies")]
    Enforcer(#[from] io::Error),
}

/// Acts on the verb of the container network interface and returns what to answer.
pub fn act(verb: &str, arguments: &str, configuration: impl Read) -> Result<String, Error> {
    if verb == "VERSION" {
        let versions = json!({"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]});
        return Ok(versions.to_string());
    }
    if verb != "ADD" {
        return Ok(String::new());
    }
    let configuration: Value = serde_json::from_reader(configuration)?;
    let (pod, result) = read(arguments, &configuration)?;
    announce(&pod)?;
    Ok(result.to_string())
}

fn read<'a>(arguments: &str, configuration: &'a Value) -> Result<(Announcement, &'a Value), Error> {
    let argument = |name: &'static str| {
        let mut pairs = arguments.split(';').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| *key == name);
        found.map(|(_, value)| value.to_owned()).ok_or(Error::Untold(name))
    };
    let result = configuration.get("prevResult").ok_or(Error::Untold("prevResult"))?;
    let address = result.pointer("/ips/0/address").and_then(Value::as_str);
    let address = address.and_then(|a| a.split('/').next()).ok_or(Error::Untold("address"))?;
    let pod = Announcement { namespace: argument("K8S_POD_NAMESPACE")?, name: argument("K8S_POD_NAME")?, address: address.to_owned() };
    Ok((pod, result))
}

fn announce(pod: &Announcement) -> Result<(), Error> {
    let begun = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(SOCKET) {
            Ok(stream) => break stream,
            Err(e) if begun.elapsed() > LIMIT => return Err(e.into()),
            // The enforcer has just started, or is started again.
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    };
    stream.set_read_timeout(Some(LIMIT))?;
    writeln!(stream, "{}", serde_json::to_string(pod)?)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_and_its_address_are_read_from_what_the_runtime_tells() {
        let configuration = json!({"prevResult": {"ips": [{"address": "10.244.0.7/24"}]}});
        let arguments = "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=web-0";
        let (pod, result) = read(arguments, &configuration).unwrap();
        assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("a", "web-0"));
        assert_eq!(pod.address, "10.244.0.7");
        assert_eq!(result, &configuration["prevResult"]);
        assert!(matches!(read("", &configuration), Err(Error::Untold("K8S_POD_NAMESPACE"))));
    }
}
