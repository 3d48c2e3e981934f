//! Sorts operands by --first and --order.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::fstatat;

use super::operands::{OperandJob, OperandJobs};
use super::options::{CopyOptions, Dereference};
use super::order::{OrderBy, SizeKey, size_key};
use super::path_parts::last_component;

/// The place of an operand among the others: the smallest is copied first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct OperandPlace<'a> {
    rank: usize,
    size: SizeKey,
    name: &'a [u8],
    given: usize,
}

/// Sorts the jobs of operands. Operands that lead to one name stay together in their order, at the place of the one that
/// comes first: cp copies the first and warns about the others.
pub(super) fn sort_operands(jobs: &mut OperandJobs, options: &CopyOptions) {
    let (order, list) = (&options.order, &mut jobs.list);
    if !order.is_changed() || list.len() < 2 {
        return;
    }
    let places: Vec<OperandPlace<'_>> = list
        .iter()
        .enumerate()
        .map(|(given, job)| operand_place(&job.source, given, options))
        .collect();
    let mut groups: HashMap<&OsStr, &OperandPlace<'_>> = HashMap::new();
    for (job, place) in list.iter().zip(&places) {
        let group = groups.entry(job.dest.as_os_str()).or_insert(place);
        *group = (*group).min(place);
    }
    let group_of = |job: &OperandJob| groups[job.dest.as_os_str()];
    let ranks = list.iter().map(|job| group_of(job).rank);
    jobs.first = ranks.filter(|rank| *rank < order.first.len()).count();
    let mut sorted: Vec<usize> = (0..list.len()).collect();
    sorted.sort_by_key(|index| (group_of(&list[*index]), *index));
    let mut left: Vec<Option<OperandJob>> = list.drain(..).map(Some).collect();
    list.extend(sorted.into_iter().filter_map(|index| left[index].take()));
}

fn operand_place<'a>(source: &'a Path, given: usize, options: &CopyOptions) -> OperandPlace<'a> {
    let order = &options.order;
    let mut flags = AtFlags::empty();
    flags.set(
        AtFlags::AT_SYMLINK_NOFOLLOW,
        options.dereference == Dereference::Never,
    );
    OperandPlace {
        rank: order.rank(source),
        size: match order.by {
            Some(OrderBy::Size) => size_key(fstatat(AT_FDCWD, source, flags)),
            _ => SizeKey::default(),
        },
        name: match order.by {
            Some(OrderBy::Name) => last_component(source).as_bytes(),
            _ => &[],
        },
        given,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;
    use crate::cp::operands::DestKnowledge;
    use crate::cp::order::CopyOrder;

    fn order(first: &[&str], by: Option<OrderBy>) -> CopyOrder {
        CopyOrder {
            first: first.iter().map(|p| CString::new(*p).unwrap()).collect(),
            by,
        }
    }

    /// Returns the sources in their order, and how many of them are first.
    fn sorted(sources: &[&str], order: CopyOrder) -> (Vec<String>, usize) {
        let job = |source: &&str| OperandJob {
            source: source.into(),
            dest: Path::new("d").join(source.rsplit('/').next().unwrap()),
            below: 0,
            parents_at: None,
            known: DestKnowledge::Unknown,
            to_own_backup: false,
        };
        let mut jobs = OperandJobs {
            list: sources.iter().map(job).collect(),
            first: 0,
            directory: None,
        };
        let options = CopyOptions {
            order,
            ..CopyOptions::default()
        };
        sort_operands(&mut jobs, &options);
        let shown = |job: OperandJob| job.source.into_os_string().into_string().unwrap();
        (jobs.list.into_iter().map(shown).collect(), jobs.first)
    }

    #[test]
    fn patterns_go_before_names_and_names_before_the_order_given() {
        let given = ["z/b", "z/c", "y/a", "x/b2"];
        let plain = sorted(&given, order(&[], None));
        assert_eq!(plain, (given.map(String::from).to_vec(), 0));
        let (by_name, first) = sorted(&given, order(&[], Some(OrderBy::Name)));
        assert_eq!((&*by_name.join(" "), first), ("y/a z/b x/b2 z/c", 0));
        let both = order(&["c", "b*"], Some(OrderBy::Name));
        let (named, first) = sorted(&given, both);
        assert_eq!((&*named.join(" "), first), ("z/c z/b x/b2 y/a", 3));
    }

    #[test]
    fn operands_that_lead_to_one_name_keep_their_order() {
        let given = ["z/same", "y/other", "x/same"];
        let (named, first) = sorted(&given, order(&["x/*"], None));
        assert_eq!((&*named.join(" "), first), ("z/same x/same y/other", 2));
    }
}
