//! `clerk-sync doctor`: what is wrong with the set-up, and what to do about it.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::{
    clock::Clock,
    config::Config,
    doctor::{self, Finding, Level},
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// As JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let findings = doctor::examine(&config, &Clock::system()).await;
    let failed: Vec<&str> =
        findings.iter().filter(|finding| finding.level == Level::Fail).map(|finding| finding.check).collect();
    match args.json {
        true => findings.iter().for_each(|finding| println!("{}", json!(finding))),
        false => {
            findings.iter().for_each(print);
            match failed.as_slice() {
                [] => println!("\nnothing is wrong"),
                checks => println!("\nwrong: {}", checks.join(", ")),
            }
        }
    }
    Ok(failed.is_empty())
}

fn print(finding: &Finding) {
    println!("{:<4}  {:<14}  {}", finding.level, finding.check, finding.found);
    if let Some(remedy) = &finding.remedy {
        println!("{:22}{}.", "", remedy.trim_end_matches('.'));
    }
}
