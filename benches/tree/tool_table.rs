//! The table of tools: each on each tree, by turns, as medians and as ratios to `cp -r`.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::Settings;
use crate::sample_tree::TreeShape;
use crate::tree_run::{self, TreeCost, median};

/// Prints a table for each tree.
pub(crate) fn table(settings: &Settings) -> Result<()> {
    let tools = tools();
    let scratch = tempfile::tempdir_in(&settings.on)?;
    for shape in TreeShape::ALL {
        let source = shape.make(settings.files)?;
        let source = source.path().join("tree");
        println!("\n{}\n", shape.title(settings.files));
        println!(
            "| tool | wall s | ratio | until durable s | ratio | CPU s | ratio | peak MB | cached MB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        let mut costs: Vec<Vec<TreeCost>> = vec![Vec::new(); tools.len()];
        let mut left = vec![0; tools.len()];
        for round in 0..settings.rounds {
            for n in 0..tools.len() {
                // Each round begins with another tool, so that none has the same before it always.
                let n = (n + round) % tools.len();
                let dest = scratch.path().join(format!("{shape:?}-{round}-{n}"));
                costs[n].push(tree_run::run(&tools[n], &source, &dest)?);
                if round == 0 {
                    left[n] = tree_run::cached(&dest)?;
                    tree_run::compare(&source, &dest)?;
                }
            }
        }
        for (n, tool) in tools.iter().enumerate() {
            println!("{}", line(tool, &costs[n], &costs[0], left[n]));
        }
    }
    Ok(())
}

fn line(tool: &[String], costs: &[TreeCost], cp: &[TreeCost], cached: u64) -> String {
    let name = tool.join(" ");
    let name = name.rsplit('/').next().unwrap_or_default();
    let pair = |of: fn(&TreeCost) -> f64| {
        let (own, theirs) = (median(costs.iter().map(of)), median(cp.iter().map(of)));
        format!("{own:.2} | {:.2}", own / theirs)
    };
    format!(
        "| `{name}` | {} | {} | {} | {:.1} | {:.0} |",
        pair(|c| c.wall),
        pair(|c| c.durable),
        pair(|c| c.cpu),
        median(costs.iter().map(|c| c.max_rss as f64)) / 1e6,
        cached as f64 / 1e6
    )
}

/// `cp -r` first: the others are measured by it.
fn tools() -> Vec<Vec<String>> {
    let ours = env!("CARGO_BIN_EXE_mmapcp");
    let mut tools = vec![
        "cp -r".into(),
        "cp -a".into(),
        format!("{ours} -r"),
        "cpz".into(),
        "xcp -r".into(),
        "rsync -a".into(),
    ];
    for more in ["-a", "-r --jobs=1", "-r --jobs=2"] {
        tools.push(format!("{ours} {more}"));
    }
    tools
        .iter()
        .map(|tool| tool.split(' ').map(str::to_owned).collect())
        .filter(|tool: &Vec<String>| {
            let there = knows(tool);
            if !there {
                println!("left out: {}", tool.join(" "));
            }
            there
        })
        .collect()
}

/// Whether the program is there, and takes these options.
fn knows(tool: &[String]) -> bool {
    Command::new(&tool[0])
        .args(&tool[1..])
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
