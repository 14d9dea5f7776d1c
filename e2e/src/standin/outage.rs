//! A server without its database is loud: some 37 lines a second (2.42.4.1, observed).

use std::sync::Arc;
use std::time::Duration;

use super::dhis2::Dhis2;

/// DHIS2's job scheduler looks at the database this often.
const LOOK: Duration = Duration::from_secs(20);
const LINES: usize = 37;

/// Logs while the database can't be asked; ends with the process.
pub async fn tell(dhis2: Arc<Dhis2>) {
    loop {
        let asked = async { dhis2.client().await?.batch_execute("select 1").await };
        match asked.await {
            Ok(()) => tokio::time::sleep(LOOK).await,
            Err(error) => {
                for _ in 0..LINES {
                    dhis2.log.warn("JobScheduler", &format!("Acquisition Attempt Failed!!! Clearing pending acquires. {error}"));
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
