//! The layers of the source tree: no file uses a layer above its own, and no files use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, the lowest first. A module may use its own layer and those before it. `forklat` and `cp` are two programs
/// over the same layers: `cp` may not use `forklat`, and `forklat` uses what `cp` offers to both.
pub(crate) const LAYERS: [&str; 6] = ["sys", "transfer", "report", "observe", "cp", "forklat"];

/// A module by its path below the crate, such as `["transfer", "engine", "mmap"]`.
type Module = Vec<String>;

pub(crate) fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub(crate) fn find_sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// The module that a file of `src` is, or `None` for the roots of the crate and of its programs.
fn module_of(file: &Path, root: &Path) -> Option<Module> {
    let below = file.strip_prefix(root).ok()?.with_extension("");
    let mut parts: Module = below
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    LAYERS.contains(&parts.first()?.as_str()).then_some(parts)
}

/// The text of a file without comments and without its unit tests, whose imports bind nobody else.
fn code_of(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let lines = text[..tests].lines();
    let code = lines.map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.collect::<Vec<_>>().join("\n")
}

/// Each path that a `use` tree stands for: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        return vec![path.trim().to_owned()];
    };
    let (prefix, rest) = tree.split_at(open);
    let inner = rest[1..].rsplit_once('}').map_or("", |(inner, _)| inner);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| expand(part))
        .map(|path| format!("{prefix}{path}"))
        .collect()
}

/// All paths of this crate that a piece of code names, in `use` items and in expressions.
fn paths_in(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    for item in code.split_inclusive(';') {
        match item.rfind("use ").filter(|at| is_item_start(item, *at)) {
            Some(at) => {
                rest.push_str(&item[..at]);
                paths.extend(expand(item[at + 4..].trim_end_matches(';')));
            }
            None => rest.push_str(item),
        }
    }
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = rest.split(|c| !is_path(c)).map(str::to_owned);
    paths.extend(words.filter(|word| word.contains("::")));
    paths
}

fn is_item_start(item: &str, at: usize) -> bool {
    let before = item[..at].chars().next_back();
    before.is_none_or(|c| c.is_whitespace())
}

/// The module that a path leads to, where `all` are the modules there are; `None` for other crates.
fn resolve(path: &str, from: &Module, all: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let mut parts = path.split("::").map(str::trim).peekable();
    let mut full = match *parts.peek()? {
        "crate" => {
            parts.next();
            Vec::new()
        }
        "self" => {
            parts.next();
            from.clone()
        }
        "super" => {
            let mut base = from.clone();
            while parts.next_if_eq(&"super").is_some() {
                base.pop();
            }
            base
        }
        // A name without a root is a child of this module, or another crate.
        _ => from.clone(),
    };
    let roots = full.len();
    full.extend(parts.map(str::to_owned));
    while full.len() > roots || !full.is_empty() {
        if all.contains_key(&full) {
            return Some(full);
        }
        full.pop();
    }
    None
}

fn modules() -> BTreeMap<Module, PathBuf> {
    let root = source_root();
    let mut files = Vec::new();
    find_sources(&root, &mut files);
    let modules = files
        .into_iter()
        .filter_map(|file| Some((module_of(&file, &root)?, file)));
    modules.collect()
}

/// Which modules each module uses.
fn uses() -> BTreeMap<Module, BTreeSet<Module>> {
    let all = modules();
    assert!(
        all.len() > 100,
        "only {} source files were found",
        all.len()
    );
    let used = |module: &Module, file: &PathBuf| {
        let code = code_of(&fs::read_to_string(file).unwrap());
        let paths = paths_in(&code);
        let targets = paths.iter().filter_map(|path| resolve(path, module, &all));
        targets.filter(|target| target != module).collect()
    };
    all.iter()
        .map(|(module, file)| (module.clone(), used(module, file)))
        .collect()
}

fn layer(module: &Module) -> usize {
    let position = LAYERS.iter().position(|layer| *layer == module[0]);
    position.expect("each module lies in a layer")
}

#[test]
fn no_file_uses_a_layer_above_its_own() {
    let mut wrong = Vec::new();
    for (module, targets) in uses() {
        for target in targets {
            if layer(&target) > layer(&module) {
                wrong.push(format!("{} uses {}", module.join("::"), target.join("::")));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that run up:\n{}",
        wrong.join("\n")
    );
}

/// A folder is one unit to those outside: its parts may use what its own head declares, and the head uses its parts. All
/// other circles are counted.
#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut uses = uses();
    for (module, targets) in &mut uses {
        targets.retain(|target| !module.starts_with(target));
    }
    // A module that uses nothing of the rest, or that nothing of the rest uses, is in no circle.
    while let Some(module) = find_outside_circles(&uses) {
        uses.remove(&module);
    }
    let left = uses.iter().map(|(module, targets)| {
        let targets = targets.iter().filter(|target| uses.contains_key(*target));
        let targets: Vec<_> = targets.map(|target| target.join("::")).collect();
        format!("{} uses {}", module.join("::"), targets.join(", "))
    });
    let left: Vec<_> = left.collect();
    assert!(left.is_empty(), "circles:\n{}", left.join("\n"));
}

fn find_outside_circles(uses: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Module> {
    let used: BTreeSet<&Module> = uses.values().flatten().collect();
    let mut all = uses.iter();
    let outside = all.find(|(module, targets)| {
        !used.contains(module) || targets.iter().all(|target| !uses.contains_key(target))
    });
    outside.map(|(module, _)| module.clone())
}

#[test]
fn use_trees_are_read_to_their_leaves() {
    let paths = paths_in("use super::{a, b::{c, d as e}};\nfn f() { crate::x::y(); }");
    for path in ["super::a", "super::b::c", "super::b::d", "crate::x::y"] {
        assert!(
            paths.iter().any(|found| found == path),
            "{path} in {paths:?}"
        );
    }
}
