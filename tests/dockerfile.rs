//! That the Dockerfile gives cargo all of the workspace that it asks for: `make image` and every other test have the whole of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The instructions of the stage that builds the programs, up to the build.
fn instructions(dockerfile: &str) -> Vec<(&str, &str)> {
    let (_, stage) = dockerfile.split_once(" AS programs\n").expect("the stage of the programs");
    let lines = stage.lines().take_while(|line| !line.contains("rustc"));
    lines.filter_map(|line| line.split_once(' ')).filter(|(instruction, _)| *instruction != "#").collect()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// As `COPY` does it: what a folder holds, or files; missing folders are made.
fn copy(arguments: &str, into: &Path) {
    let mut paths: Vec<&str> = arguments.split(' ').collect();
    let target = into.join(paths.pop().unwrap());
    for path in paths {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        output(Command::new("cp").arg("-R").arg(source).arg(&target));
    }
}

#[test]
fn cargo_accepts_what_the_dockerfile_copies() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile")).unwrap();
    let mut copied = 0;
    for (instruction, arguments) in instructions(&text) {
        match instruction {
            "COPY" => {
                copied += 1;
                copy(arguments, folder.path());
            }
            "RUN" => drop(output(Command::new("sh").args(["-euc", arguments]).current_dir(&folder))),
            "WORKDIR" => {}
            other => panic!("{other}: teach this test what it does"),
        }
    }
    assert!(copied >= 3, "{copied} instructions COPY: are they still read?");

    // The lightest command that reads the manifests as a build does; `cargo metadata` overlooks a target without its file.
    let told = output(Command::new("rustc").arg("-vV"));
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    output(Command::new(env!("CARGO")).args(["fetch", "--locked", "--offline", "--target", host]).current_dir(&folder));
}
