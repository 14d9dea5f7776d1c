//! `dhis2-operator`: `run` (default), `crd`, `render -f FILE`, `ready HOST:PORT`.

use std::{error::Error, io::Read, path::Path, process::ExitCode};

use dhis2_operator::{
    api::Dhis2Instance,
    operator::{
        args::{Args, Command, Render},
        ask, crd, render, run,
        settings::Settings,
        telemetry,
    },
    yaml,
};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dhis2-operator: {}", telemetry::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Box<dyn Error>> {
    let (args, command) = Args::from_process();
    match command {
        Command::Crd => {
            for definition in crd::all() {
                print!("---\n{}", yaml::write(&definition)?);
            }
        }
        Command::Render(render) => print(&render)?,
        Command::Ready(ready) => print!("{}", ask::ready(&ready.address)?),
        Command::Run(flags) => {
            telemetry::init(args.log_format, &args.log_filter)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(run::run(*flags))?;
        }
    }
    Ok(())
}

fn print(arguments: &Render) -> Result<(), Box<dyn Error>> {
    let settings = Settings::from(&arguments.defaults);
    for resource in yaml::read::<Dhis2Instance>(&text(&arguments.file)?)? {
        let name = resource.metadata.name.clone().unwrap_or_default();
        let objects =
            render::render(resource, &settings).map_err(|refusal| format!("{name}: {}: {}", refusal.reason.as_str(), refusal.message))?;
        for object in objects {
            print!("---\n{}", yaml::write(&object)?);
        }
    }
    Ok(())
}

fn text(file: &Path) -> Result<String, Box<dyn Error>> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(|error| format!("read {}: {error}", file.display()).into())
}
