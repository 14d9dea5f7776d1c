//! The stand-in for DHIS2. In its image it is `catalina.sh`, and its one argument is `run`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dhis2_e2e::standin::version::Version;
use dhis2_e2e::standin::{image, log, process};

/// Behaves as DHIS2 wherever an operator can tell. It is not DHIS2.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve, as `catalina.sh run` does.
    Run,
    /// Write the content of the image, with this program in it, into a folder.
    LayOut {
        /// 2.41.8.1, 2.42.4.1 or 2.43.1.0, for example.
        version: String,
        /// Where to.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().verb {
        Verb::Run => run(),
        Verb::LayOut { version, folder } => lay_out(&version, &folder).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("dhis2-standin: {}", log::chain(&*error));
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let code = runtime.block_on(process::run())?;
    // What still waits for a database that hangs is not waited for.
    runtime.shutdown_background();
    Ok(code)
}

fn lay_out(version: &str, folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let version: Version = version.parse()?;
    image::lay_out(version, &std::env::current_exe()?, folder)?;
    Ok(())
}
