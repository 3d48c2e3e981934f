//! The plan of a comparison: its columns, and the order in which they run in each round.

use fastrand::Rng;

use super::IDLE;
use super::free_memory::MemoryState;
use super::tools::Tool;
use crate::forklat::model::CopyResult;
use crate::forklat::report_builder::{RunRecord, SubjectSpec};

/// A column of the table: the idle machine, or a tool.
#[derive(Debug)]
pub(super) struct Column {
    /// The name of the column.
    pub(super) name: String,
    /// The index of the tool that runs, or `None` for the idle machine.
    pub(super) tool: Option<usize>,
    /// The state of the free memory before each run, or `None` if it is left as it is.
    pub(super) memory: Option<MemoryState>,
    /// The tool that the column repeats.
    repeats: Option<String>,
    /// The copies, in the order of the runs.
    pub(super) copies: Vec<CopyResult>,
    /// The facts about the runs, in their order.
    pub(super) runs: Vec<RunRecord>,
}

/// The columns of a comparison, and the seed of their order.
#[derive(Debug)]
pub(super) struct RoundPlan {
    pub(super) columns: Vec<Column>,
    seed: u64,
}

impl RoundPlan {
    /// Makes the plan: the idle machine if `idle` is set, the first tool, the first tool again if `repeat` is set, and the
    /// other tools. With several states of memory, each tool has a column for each, and the first tool is repeated in the
    /// first of them.
    pub(super) fn new(
        tools: &[Tool],
        idle: bool,
        repeat: bool,
        seed: u64,
        states: &[MemoryState],
    ) -> Self {
        let column = |name: String, tool, memory, repeats| Column {
            name,
            tool,
            memory,
            repeats,
            copies: Vec::new(),
            runs: Vec::new(),
        };
        let mut columns = Vec::new();
        if idle {
            columns.push(column(IDLE.to_owned(), None, None, None));
        }
        let all: Vec<Option<MemoryState>> = match states {
            [] => vec![None],
            states => states.iter().copied().map(Some).collect(),
        };
        for (number, state) in all.iter().enumerate() {
            for (index, tool) in tools.iter().enumerate() {
                let name = match state {
                    Some(state) if all.len() > 1 => format!("{} {}", tool.name, state.name()),
                    _ => tool.name.clone(),
                };
                columns.push(column(name.clone(), Some(index), *state, None));
                if number == 0 && index == 0 && repeat {
                    let again = Tool::repeated_name(&name);
                    columns.push(column(again, Some(index), *state, Some(name)));
                }
            }
        }
        Self { columns, seed }
    }

    /// Returns the columns in the order in which they run in a round, each exactly once. It depends on the seed and the
    /// number of the round alone.
    pub(super) fn order(&self, round: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        Rng::with_seed(self.seed.wrapping_add(u64::from(round))).shuffle(&mut order);
        order
    }

    /// Returns the columns of the report.
    pub(super) fn specs(&self, tools: &[Tool]) -> Vec<SubjectSpec> {
        let spec = |column: &Column| SubjectSpec {
            name: column.name.clone(),
            excluded_from_ratios: column.tool.is_none(),
            repeats: column.repeats.clone(),
            memory: column.memory.map(|state| state.name().to_owned()),
            command: column
                .tool
                .map(|tool| tools[tool].words().to_vec())
                .unwrap_or_default(),
            copies: column.copies.clone(),
            runs: column.runs.clone(),
        };
        self.columns.iter().map(spec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_each_column_once_in_an_order_of_the_seed() {
        let tools = Tool::all(&[
            "a=true {source} {dest}".into(),
            "b=true {source} {dest}".into(),
        ]);
        let tools = tools.unwrap();
        let plan = RoundPlan::new(&tools, true, true, 7, &[]);
        let names: Vec<&str> = plan.columns.iter().map(|c| &*c.name).collect();
        assert_eq!(names, ["idle", "a", "a (again)", "b"]);
        let orders: Vec<_> = (1..=50).map(|round| plan.order(round)).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
        }
        let again = RoundPlan::new(&tools, true, true, 7, &[]);
        assert!((1..=50).all(|round| again.order(round) == orders[round as usize - 1]));
        for column in 0..4 {
            assert!(orders.iter().any(|order| order[0] == column));
        }
        let plain = RoundPlan::new(&tools, false, false, 7, &[MemoryState::Cold]);
        assert_eq!(plain.columns.len(), 2);
        let both = [MemoryState::Warm, MemoryState::Cold];
        let both = RoundPlan::new(&tools, true, true, 7, &both);
        let names: Vec<&str> = both.columns.iter().map(|c| &*c.name).collect();
        assert_eq!(
            names,
            [
                "idle",
                "a warm",
                "a warm (again)",
                "b warm",
                "a cold",
                "b cold"
            ]
        );
    }
}
