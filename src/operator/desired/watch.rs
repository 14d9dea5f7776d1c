//! The container beside a server that sees what no probe can, and tells it by its end.

use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    pod::{self, Step, agent},
    resources,
    volume::Attached,
};
use crate::layout;

const PORT_NAME: &str = "watch";

/// Watches `subject` with the agent, in the server's own image: its pod is ready while the port of this container is open.
pub fn watch(subject: &str, image: &str, pull_policy: &str, attached: Vec<Attached>) -> Step {
    let port = ContainerPort { name: Some(PORT_NAME.into()), container_port: layout::WATCH_PORT.into(), ..ContainerPort::default() };
    let container = Container {
        ports: Some(vec![port]),
        resources: Some(resources::step(16, 64)),
        // However long it lasts: until the port was open once, what the last end told still holds.
        startup_probe: Some(Probe { failure_threshold: Some(i32::MAX), ..knock(2) }),
        readiness_probe: Some(Probe { failure_threshold: Some(1), ..knock(5) }),
        ..pod::container(PORT_NAME, image, pull_policy, agent(&["watch", subject]))
    };
    Step { container, attached }
}

fn knock(period: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::String(PORT_NAME.into()), host: None }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}
