//! Addresses inside the cluster.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    Policy, Wanted,
    metadata::{Part, owned, pods},
};
use crate::{
    layout,
    operator::{instance::Instance, kind::Kind},
};

/// Port of DHIS2 (dhis2-core, `server.xml` of the images).
pub const HTTP: i32 = 8080;
/// Name of that port.
pub const HTTP_NAME: &str = "http";
/// Port of PostgreSQL.
pub const POSTGRESQL: i32 = layout::POSTGRES_PORT as i32;
/// Name of that port.
pub const POSTGRESQL_NAME: &str = "postgresql";

/// Name of the Service that leads to DHIS2's pods whether they are ready or not.
pub fn pods_of_application(instance: &Instance) -> String {
    instance.child("pods")
}

/// The Services of an instance.
pub fn services(instance: &Instance) -> Vec<Wanted> {
    vec![
        service(instance, &instance.name, Part::Application, ServiceSpec::default()),
        // The bootstrap must see a DHIS2 that never becomes ready: it is how a failed start is told from a long one.
        service(
            instance,
            &pods_of_application(instance),
            Part::Application,
            ServiceSpec { cluster_ip: Some("None".into()), publish_not_ready_addresses: Some(true), ..ServiceSpec::default() },
        ),
        // A database that is not as it should be, such as one without room, still serves as far as it can.
        service(
            instance,
            &instance.child("database"),
            Part::Database,
            ServiceSpec { publish_not_ready_addresses: Some(true), ..ServiceSpec::default() },
        ),
    ]
}

fn service(instance: &Instance, name: &str, part: Part, spec: ServiceSpec) -> Wanted {
    let (number, title) = if part == Part::Database { (POSTGRESQL, POSTGRESQL_NAME) } else { (HTTP, HTTP_NAME) };
    let object = Service {
        metadata: owned(instance, name, part),
        spec: Some(ServiceSpec {
            selector: pods(instance, part).match_labels,
            ports: Some(vec![ServicePort {
                name: Some(title.into()),
                port: number,
                target_port: Some(IntOrString::String(title.into())),
                ..ServicePort::default()
            }]),
            ..spec
        }),
        status: None,
    };
    Wanted::new(Kind::Service, name, &object, Policy::Keep)
}
