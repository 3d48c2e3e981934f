//! What each tool is charged in a memory control group of 8 MiB, as in a small container, and how often it meets the limit.

use std::process::Command;

use anyhow::{Context, Error, Result};

use super::Settings;
use super::engine_run::{EngineTool, compare};
use super::memory_group::{Charge, GROUP_LIMIT, MemoryGroup};
use super::tables::users_tools;
use super::tmpfs_dump::TmpfsDump;

/// Prints the table: one run of each tool in a group of its own. The dump belongs to this process, so that nothing of it is
/// charged to the group.
pub(crate) fn table(settings: &Settings) -> Result<()> {
    let mib = settings.size >> 20;
    println!(
        "\nmemory charged, {mib} MiB, in a limit of {} MiB\n",
        GROUP_LIMIT >> 20
    );
    if let Err(why) = MemoryGroup::new("mmapcp-bench") {
        println!("not run: no memory control group: {why}");
        return Ok(());
    }
    let dump = TmpfsDump::small_pages(settings.size)?;
    println!("| tool | memory charged MiB | limit hit |");
    println!("|---|---:|---:|");
    for tool in users_tools() {
        match run(&tool, &dump, settings) {
            Ok(Charge { peak, limit_hits }) => {
                let peak = peak as f64 / f64::from(1 << 20);
                println!("| {} | {peak:.1} | {limit_hits} |", tool.name);
            }
            // Such as dd, whose buffer of 8 MiB does not fit into the limit, so that the kernel kills it.
            Err(why) => println!("| {} | failed: {why:#} | |", tool.name),
        }
    }
    Ok(())
}

fn run(tool: &EngineTool, dump: &TmpfsDump, settings: &Settings) -> Result<Charge> {
    let fresh = tempfile::tempdir_in(&settings.on)?;
    let dest = fresh.path().join("copy");
    let words = tool.words(&dump.path(), &dest);
    let (program, arguments) = words.split_first().context("an empty command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    let group = MemoryGroup::new("mmapcp-bench").map_err(Error::msg)?;
    let charge = group.charge(&command).map_err(Error::msg)?;
    compare(&dump.path(), &dest)?;
    Ok(charge)
}
