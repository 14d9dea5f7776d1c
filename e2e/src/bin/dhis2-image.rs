//! The images of this checkout: `all` makes those of the test cluster, `operator` the one that is shipped.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dhis2_e2e::cluster::cache::Cache;
use dhis2_e2e::product::image;

/// Makes images without a container engine.
#[derive(Debug, Parser)]
#[command(version)]
enum Verb {
    /// Make the images that the test cluster runs, the stand-in's included, and print archive and name of each.
    All,
    /// Write the image of operator, agent and restic as an OCI archive, the same byte for byte each time.
    Operator {
        /// The archive.
        archive: PathBuf,
        /// The image's name with tag.
        reference: String,
    },
}

fn main() -> ExitCode {
    match carry_out(Verb::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dhis2-image: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(verb: Verb) -> Result<(), Box<dyn Error>> {
    let cache = Cache::locate()?;
    match verb {
        Verb::All => {
            let operator = image::operator(&cache)?;
            for image in std::iter::once(operator).chain(image::standins(&cache)?) {
                println!("{} {}", image.archive.display(), image.reference);
            }
        }
        Verb::Operator { archive, reference } => {
            image::ship(&cache, &archive, &reference)?;
            println!("{} {reference}", archive.display());
        }
    }
    Ok(())
}
