//! Writes the files that are generated from the product's types: `crds/` and `docs/reference.md`.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use dhis2_e2e::generate;

/// Writes the files that are generated from the product's types.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Write nothing: list the files that differ from what would be written, and fail if there are any.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match carry_out(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("dhis2-generate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut differ = false;
    for file in generate::files()? {
        let path = root.join(&file.path);
        let there = read(&path)?;
        let Some(line) = generate::first_difference(&file.text, &there) else {
            continue;
        };
        differ = true;
        if arguments.check {
            println!("{}, line {line}: not what the types in src/api say; run make generate", file.path);
        } else {
            fs::write(&path, &file.text).map_err(|error| format!("write {}: {error}", file.path))?;
            println!("wrote {}", file.path);
        }
    }
    Ok(if arguments.check && differ { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The text of a file; empty when there is none yet.
fn read(path: &Path) -> Result<String, String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("read {}: {error}", path.display())),
        Ok(text) => Ok(text),
    }
}
