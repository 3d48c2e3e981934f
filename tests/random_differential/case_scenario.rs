//! The numbers of a case made into names, words and attributes: a tree that can be built and a command that can be run.

use std::collections::BTreeMap;

use proptest::sample::Index;

use super::case_strategy::{
    AttributeChoice, Conditions, Destination, EntryChoice, FileContent, KindChoice, LinkTarget,
    NameForm, ObstaclePlace, Operand, OperandChoice, Page, RandomCase,
};
use super::option_strategy::{OptionChoice, OptionPosition, WrittenOption};
use super::tree_entry::{
    DataRun, EntryAttributes as Attributes, EntryKind, HERE_PLACEHOLDER, PAGE, TreeEntry,
};

/// Few, so that they meet; some that a backup would take, some that have to be quoted.
const NAMES: [&str; 9] = [
    "a",
    "b",
    "c",
    "a~",
    "a.~1~",
    "x y",
    "-n",
    "b.bak",
    "line\nfeed",
];

/// FIFOs have names of their own, which no other file is copied to: a copy would wait for a reader.
const FIFO_NAMES: [&str; 2] = ["p0", "p1"];

/// Where a symbolic link points to if at no node.
const LINK_TARGETS: [&str; 8] = [
    "nowhere",
    "a",
    "..",
    ".",
    "../d",
    "../s/",
    "../nowhere",
    "/nonexistent/name",
];

/// Operands that are no nodes.
const OPERANDS: [&str; 9] = [
    "d", "s", ".", "..", "nofile", "s/nofile", "", "s/a/b", "new",
];

const FILE_MODES: [u32; 10] = [
    0o644, 0o600, 0o666, 0o755, 0o444, 0o4755, 0o2750, 0o6777, 0, 0o1644,
];
const DIRECTORY_MODES: [u32; 9] = [
    0o755, 0o777, 0o777, 0o700, 0o1777, 0o2775, 0o555, 0o500, 0o000,
];
const OWNERS: [(u32, u32); 5] = [(0, 0), (65534, 65534), (1234, 2345), (65534, 0), (0, 0)];
const UMASKS: [u32; 7] = [0o022, 0o022, 0, 0o077, 0o027, 0o137, 0o777];

/// A moment, the same, older and newer by a nanosecond and by years, and before the epoch.
const TIMES: [(i64, i64); 7] = [
    (1_321_000_000, 123_456_789),
    (1_321_000_000, 123_456_789),
    (1_321_000_000, 123_456_788),
    (1_321_000_000, 123_000_000),
    (1_100_000_000, 5),
    (1_500_000_000, 999_999_999),
    (-1_000_000, 7),
];

const VERSION_CONTROL: [&str; 8] = [
    "numbered", "existing", "simple", "none", "t", "never", "bogus", "",
];
const SUFFIXES: [&str; 4] = [".env", "~", "", "/x"];
const ANSWERS: [&str; 8] = ["y\n", "n\n", "yes\n", "\n", "Yes\n", " y\n", "no\n", "y"];

/// How deep a directory may lie: each link climbs no further, and the place has more levels above it.
const MAX_DEPTH: usize = 4;

/// A tree and a command in it.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) things: Vec<TreeEntry>,
    /// What follows the name of the program.
    pub(super) words: Vec<String>,
    pub(super) environment: Vec<(&'static str, &'static str)>,
    pub(super) umask: u32,
    pub(super) nobody: bool,
    pub(super) answers: String,
    /// Whether there are words that cp 9.1 does not know.
    pub(super) has_newer_options: bool,
}

impl Scenario {
    /// Whether no word asks for other holes than those of the source.
    pub(super) fn keeps_holes(&self) -> bool {
        let words = self.words.iter();
        words
            .clone()
            .zip(words.skip(1))
            .all(|(word, next)| match word.strip_prefix("--sp") {
                Some(rest) if rest.contains('=') => rest.contains("=au"),
                Some(_) => next.starts_with("au"),
                None => true,
            })
    }

    /// Whether backups are made.
    pub(super) fn may_back_up(&self) -> bool {
        self.words.iter().any(|word| asks_for_backups(word))
    }

    /// Whether backups are made that may have no number.
    pub(super) fn may_back_up_simply(&self) -> bool {
        let numbered = |word: &&String| {
            word.starts_with("--b") && (word.ends_with("=t") || word.contains("=nu"))
        };
        let controls: Vec<&String> = self
            .words
            .iter()
            .filter(|word| asks_for_backups(word))
            .collect();
        !controls.is_empty() && !controls.iter().all(numbered)
    }

    /// Whether a path leads through the destination.
    pub(super) fn has_detour(&self) -> bool {
        let through = |word: &String| word.starts_with("d/") || word.contains("/d/");
        self.words.iter().any(through)
    }

    /// Whether a path begins at the root.
    pub(super) fn has_absolute(&self) -> bool {
        self.words
            .iter()
            .any(|word| word.starts_with('/') || word.starts_with(HERE_PLACEHOLDER))
    }

    pub(super) fn has_parents(&self) -> bool {
        self.words.iter().any(|word| word.starts_with("--pa"))
    }

    pub(super) fn of(case: &RandomCase) -> Scenario {
        let mut tree = TreeBuilder::new(case);
        for node in &case.nodes {
            tree.node(node);
        }
        let conditions = &case.conditions;
        Scenario {
            words: words(case, &tree),
            things: tree.things,
            environment: environment(conditions),
            umask: *conditions.umask.get(&UMASKS),
            nobody: conditions.nobody,
            has_newer_options: case.words.iter().any(OptionChoice::is_newer_than_system_cp),
            answers: conditions
                .answers
                .iter()
                .map(|at| *at.get(&ANSWERS))
                .collect(),
        }
    }
}

fn asks_for_backups(word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(long) => long.starts_with('b') || long.starts_with("su"),
        None => word.starts_with('-') && word.contains(['b', 'S']),
    }
}

fn environment(conditions: &Conditions) -> Vec<(&'static str, &'static str)> {
    let mut all = vec![("LC_ALL", "C")];
    if let Some(at) = conditions.version_control {
        all.push(("VERSION_CONTROL", *at.get(&VERSION_CONTROL)));
    }
    if let Some(at) = conditions.suffix {
        all.push(("SIMPLE_BACKUP_SUFFIX", *at.get(&SUFFIXES)));
    }
    if conditions.posix {
        all.push(("POSIXLY_CORRECT", "1"));
    }
    all
}

// ---------------------------------------------------------------- the tree

/// The tree as it grows.
struct TreeBuilder {
    things: Vec<TreeEntry>,
    /// By path: where it is among the things.
    taken: BTreeMap<String, usize>,
    /// Whether a FIFO meets a command that does not open it.
    fifos: bool,
}

impl TreeBuilder {
    /// `s` and `d`, in the directory that the command runs in.
    fn new(case: &RandomCase) -> TreeBuilder {
        // A word that is no option after all could be the one that walks.
        let certain = !case.conditions.posix && case.dashes.is_none();
        let mut tree = TreeBuilder {
            things: Vec::new(),
            taken: BTreeMap::new(),
            fifos: certain
                && case.words.iter().any(OptionChoice::is_recursive)
                && !case.words.iter().any(OptionChoice::copies_contents),
        };
        for (path, looks) in ["s", "d"].into_iter().zip(&case.bases) {
            let looks = looks
                .as_ref()
                .map_or(open_to_all(), |looks| attributes(looks, true));
            tree.add(path.into(), EntryKind::Directory, looks);
        }
        tree
    }

    /// Adds a thing, unless its name is taken.
    fn add(&mut self, path: String, what: EntryKind, looks: Attributes) {
        if !self.taken.contains_key(&path) {
            self.taken.insert(path.clone(), self.things.len());
            self.things.push(TreeEntry {
                path,
                kind: what,
                looks,
            });
        }
    }

    fn is_directory(&self, path: &str) -> bool {
        self.taken
            .get(path)
            .is_some_and(|at| matches!(self.things[*at].kind, EntryKind::Directory))
    }

    /// The names of the things that are wanted.
    fn names(&self, wanted: impl Fn(&EntryKind) -> bool) -> Vec<&str> {
        self.things
            .iter()
            .filter(|thing| wanted(&thing.kind))
            .map(|thing| thing.path.as_str())
            .collect()
    }

    /// What can be copied without `-r`.
    fn leaves(&self) -> Vec<&str> {
        let mut names = self.names(|what| !matches!(what, EntryKind::Directory));
        names.retain(|name| !name.starts_with("d/"));
        names
    }

    /// A node below `s` or beside it, and its twin below `d`.
    fn node(&mut self, node: &EntryChoice) {
        let mut parents: Vec<&str> = self
            .names(|what| matches!(what, EntryKind::Directory))
            .into_iter()
            .filter(|path| path.starts_with('s') && path.matches('/').count() < MAX_DEPTH)
            .collect();
        parents.push("");
        // Without a shrunk index this is `s`.
        let parent = (*node.parent.get(&parents)).to_owned();
        let path = self.place(&parent, &node.kind, node.name);
        let what = self.what(&node.kind, &path);
        let looks = attributes(&node.looks, matches!(what, EntryKind::Directory));
        self.add(path.clone(), what, looks);
        if let Some(twin) = &node.obstacle {
            let path = twin_path(&path, twin.place);
            // Names of FIFOs are for FIFOs only, here too.
            let is_fifo = |path: &str| FIFO_NAMES.iter().any(|name| path.ends_with(name));
            let kind = match twin.kind.as_ref().unwrap_or(&node.kind) {
                KindChoice::Fifo => &KindChoice::Directory,
                kind => kind,
            };
            if is_fifo(&path) {
                return;
            }
            if self.make_parents(&path) {
                let what = self.what(kind, &path);
                let looks = attributes(&twin.looks, matches!(what, EntryKind::Directory));
                self.add(path, what, looks);
            }
        }
    }

    fn place(&self, parent: &str, kind: &KindChoice, name: Index) -> String {
        let name = if matches!(kind, KindChoice::Fifo) && self.fifos {
            name.get(&FIFO_NAMES)
        } else {
            name.get(&NAMES)
        };
        join(parent, name)
    }

    /// Makes the directories above `path`; false where something else is in their place.
    fn make_parents(&mut self, path: &str) -> bool {
        for (at, _) in path.match_indices('/') {
            self.add(path[..at].to_owned(), EntryKind::Directory, open_to_all());
            if !self.is_directory(&path[..at]) {
                return false;
            }
        }
        true
    }

    fn what(&self, kind: &KindChoice, path: &str) -> EntryKind {
        match kind {
            KindChoice::File(body) => file(body),
            KindChoice::Directory => EntryKind::Directory,
            KindChoice::Symlink(aim) => EntryKind::Symlink(self.aim(aim, path)),
            KindChoice::HardLink(to) => {
                let others =
                    self.names(|what| !matches!(what, EntryKind::Directory | EntryKind::Fifo));
                match others[..] {
                    [] => EntryKind::File(Vec::new(), 0),
                    _ => EntryKind::HardLink(self.end_of((*to.get(&others)).to_owned())),
                }
            }
            KindChoice::Fifo if self.fifos => EntryKind::Fifo,
            KindChoice::Fifo => EntryKind::File(Vec::new(), 0),
            KindChoice::Socket => EntryKind::Socket,
            KindChoice::Device => EntryKind::Device,
        }
    }

    /// The first name of a hard link: which of them it is made from makes no difference.
    fn end_of(&self, name: String) -> String {
        match &self.things[self.taken[&name]].kind {
            EntryKind::HardLink(first) => first.clone(),
            _ => name,
        }
    }

    fn aim(&self, aim: &LinkTarget, path: &str) -> String {
        match aim {
            LinkTarget::Word(at) => (*at.get(&LINK_TARGETS)).to_owned(),
            LinkTarget::Node {
                node,
                absolute,
                slash,
            } => {
                let names = self.names(|what| !matches!(what, EntryKind::Fifo));
                let name = *node.get(&names);
                let up = "../".repeat(path.matches('/').count());
                let here = format!("{HERE_PLACEHOLDER}/");
                format!(
                    "{}{name}{}",
                    if *absolute { here } else { up },
                    if *slash { "/" } else { "" }
                )
            }
        }
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    }
}

fn twin_path(path: &str, place: ObstaclePlace) -> String {
    let below = match place {
        ObstaclePlace::Base => path.rsplit('/').next().unwrap(),
        ObstaclePlace::Contents => path.split_once('/').map_or(path, |(_, rest)| rest),
        ObstaclePlace::Whole => path,
    };
    join("d", below)
}

fn file(body: &FileContent) -> EntryKind {
    let byte = |at: usize| b'a' + ((usize::from(body.seed) + at) % 26) as u8;
    let mut pieces = Vec::new();
    for (at, page) in body.pages.iter().enumerate() {
        if *page != Page::Hole {
            pieces.push(DataRun {
                offset: at as u64 * PAGE,
                len: PAGE,
                byte: if *page == Page::Zeros { 0 } else { byte(at) },
            });
        }
    }
    let (end, tail) = (body.pages.len() as u64 * PAGE, u64::from(body.tail));
    if tail > 0 {
        pieces.push(DataRun {
            offset: end,
            len: tail,
            byte: byte(body.pages.len()),
        });
    }
    EntryKind::File(pieces, end + tail)
}

fn open_to_all() -> Attributes {
    Attributes {
        mode: 0o777,
        owner: (0, 0),
        modified: TIMES[0],
        xattrs: Vec::new(),
    }
}

fn attributes(looks: &AttributeChoice, directory: bool) -> Attributes {
    Attributes {
        mode: if directory {
            *looks.mode.get(&DIRECTORY_MODES)
        } else {
            *looks.mode.get(&FILE_MODES)
        },
        owner: *looks.owner.get(&OWNERS),
        modified: *looks.time.get(&TIMES),
        xattrs: looks.xattrs.map_or(Vec::new(), |at| {
            let all = xattrs();
            vec![all[at.index(all.len())].clone()]
        }),
    }
}

/// Attributes of all classes, ACLs, and a capability.
fn xattrs() -> Vec<(&'static str, Vec<u8>)> {
    let capability = [1, 0, 0, 2, 0, 4].into_iter().chain([0; 14]).collect();
    vec![
        ("user.one", b"1".to_vec()),
        ("user.two", Vec::new()),
        ("trusted.three", b"3".to_vec()),
        ("system.posix_acl_access", acl(6, 7)),
        ("system.posix_acl_access", acl(4, 0)),
        ("system.posix_acl_default", acl(7, 5)),
        ("security.capability", capability),
    ]
}

/// An ACL as the kernel keeps it: user daemon may do `other`, and what the group may do is `mask`.
fn acl(other: u8, mask: u8) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01u16, 6, NO_ID),
        (0x02, other, 1),
        (0x04, 4, NO_ID),
        (0x10, mask, NO_ID),
        (0x20, 4, NO_ID),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(u16::from(permissions).to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

// ---------------------------------------------------------------- the command

/// The words that follow the program's name.
fn words(case: &RandomCase, tree: &TreeBuilder) -> Vec<String> {
    let mut operands: Vec<Vec<String>> = Vec::new();
    let first = case.sources[0].clone();
    for source in &case.sources {
        let source = match source.what {
            OperandChoice::Again => &first,
            _ => source,
        };
        operands.push(vec![operand(source, tree, true)]);
    }
    match &case.destination {
        Destination::Last(last) => operands.push(vec![operand(last, tree, false)]),
        Destination::New { slash: false, .. } if case.sources.len() > 1 => {
            operands.push(vec!["d".into()]);
        }
        Destination::New { parent, slash } => {
            let parents = tree.names(|what| matches!(what, EntryKind::Directory));
            let name = if *slash { "new/" } else { "new" };
            // One past the directories stands for where the command runs.
            let parent = parents.get(parent.index(parents.len() + 1)).unwrap_or(&"");
            operands.push(vec![join(parent, name)]);
        }
        Destination::Option(directory, long) => {
            let directory = operand(directory, tree, false);
            operands.insert(
                0,
                if *long {
                    vec![format!("--target-directory={directory}")]
                } else {
                    vec!["-t".into(), directory]
                },
            );
        }
    }
    let dashes = case.dashes.map(|at| at.index(operands.len()));
    let mut all = Vec::new();
    for (at, operand) in operands.iter().enumerate() {
        all.extend(options(case, at, operands.len()));
        if dashes == Some(at) {
            all.push("--".into());
        }
        all.extend(operand.clone());
    }
    all.extend(options(case, operands.len(), operands.len()));
    all
}

/// The options before the operand at `place`, the short ones joined that want it.
fn options(case: &RandomCase, place: usize, count: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut open = false;
    for word in &case.words {
        let wanted = match &word.place {
            OptionPosition::First => 0,
            OptionPosition::Before(at) => at.index(count),
            OptionPosition::Last => count,
        };
        if wanted != place {
            continue;
        }
        let WrittenOption {
            mut words,
            open: opens,
            short,
        } = word.write();
        if open && short && word.joined {
            let letter = words.remove(0);
            all.last_mut().unwrap().push_str(&letter[1..]);
        }
        all.extend(words);
        open = opens;
    }
    all
}

/// An operand as it is written. No command opens a FIFO for writing, so a FIFO is no destination.
fn operand(operand: &Operand, tree: &TreeBuilder, source: bool) -> String {
    let opened = |what: &EntryKind| source || !matches!(what, EntryKind::Fifo);
    let directory = |what: &EntryKind| matches!(what, EntryKind::Directory);
    let name = match operand.what {
        OperandChoice::Node(at) => at.get(&tree.names(opened)),
        OperandChoice::Directory(at) => at.get(&tree.names(directory)),
        OperandChoice::Leaf(at) => match &tree.leaves()[..] {
            [] => "s",
            names => at.get(names),
        },
        OperandChoice::Word(at) => at.get(&OPERANDS),
        OperandChoice::Again => "s",
        OperandChoice::Obstacles => "d",
    };
    match operand.form {
        _ if name.is_empty() => String::new(),
        NameForm::Plain => name.to_owned(),
        NameForm::Slash => format!("{name}/"),
        NameForm::Slashes => format!("{name}//"),
        NameForm::Dot => format!("{name}/."),
        NameForm::DotDot => format!("{name}/.."),
        NameForm::FromDot => format!("./{name}"),
        NameForm::Detour => format!("s/../{name}"),
        NameForm::Absolute => format!("{HERE_PLACEHOLDER}/{name}"),
    }
}
