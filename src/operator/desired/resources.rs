//! Memory and CPU, written as the API server writes them.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use crate::operator::quantity::canonical;

/// An amount of memory or storage.
pub fn mebibytes(amount: i64) -> Quantity {
    let text = format!("{amount}Mi");
    Quantity(canonical(&text).unwrap_or(text))
}

/// An amount of CPU: whole ones as a number, others in thousandths.
pub fn cpu(amount: &str) -> Quantity {
    let thousandths = match amount.strip_suffix('m') {
        Some(number) => number.parse::<i64>().ok(),
        None => thousandths(amount),
    };
    Quantity(match thousandths {
        Some(number) if number % 1000 == 0 => (number / 1000).to_string(),
        Some(number) => format!("{number}m"),
        None => amount.to_owned(),
    })
}

/// `1.5` as 1500.
fn thousandths(amount: &str) -> Option<i64> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = format!("{fraction:0<3}");
    if digits.len() > 3 {
        return None;
    }
    Some(whole.parse::<i64>().ok()? * 1000 + digits.parse::<i64>().ok()?)
}

/// Resources of a server: memory is request and limit, so that the node never has to take it back.
pub fn server(memory_mib: i64, cpu_request: &str, cpu_limit: Option<&str>) -> ResourceRequirements {
    let memory = [("memory".to_owned(), mebibytes(memory_mib))];
    let limit = cpu_limit.map(|limit| ("cpu".to_owned(), cpu(limit)));
    ResourceRequirements {
        requests: Some(memory.clone().into_iter().chain([("cpu".to_owned(), cpu(cpu_request))]).collect()),
        limits: Some(memory.into_iter().chain(limit).collect()),
        claims: None,
    }
}

/// Resources of a step of the agent: little is asked for, more may be used.
pub fn step(memory_mib: i64, limit_mib: i64) -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(BTreeMap::from([("memory".to_owned(), mebibytes(memory_mib)), ("cpu".to_owned(), cpu("10m"))])),
        limits: Some(BTreeMap::from([("memory".to_owned(), mebibytes(limit_mib))])),
        claims: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_the_api_server_writes() {
        for (given, canonical) in [("0.5", "500m"), ("1.5", "1500m"), ("1000m", "1"), ("2", "2"), ("100m", "100m"), ("1.25", "1250m"), ("2.0", "2")] {
            assert_eq!(cpu(given), Quantity(canonical.into()));
        }
        assert_eq!(mebibytes(3072), Quantity("3Gi".into()));
        assert_eq!(mebibytes(1536), Quantity("1536Mi".into()));
    }

    #[test]
    fn memory_is_request_and_limit() {
        let server = server(1024, "100m", None);
        assert_eq!(server.requests.unwrap()["memory"], server.limits.clone().unwrap()["memory"]);
        assert!(!server.limits.unwrap().contains_key("cpu"));
    }
}
