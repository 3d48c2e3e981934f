//! What can come up: a tree, a command, and the conditions it runs under, as numbers that shrink.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::Index;

use super::option_strategy::{OptionChoice, recursive, word};

/// A random case. `scene` makes names and words of it.
#[derive(Debug, Clone)]
pub(super) struct RandomCase {
    /// How `s` and `d` look, if not open to all.
    pub(super) bases: [Option<AttributeChoice>; 2],
    pub(super) nodes: Vec<EntryChoice>,
    pub(super) words: Vec<OptionChoice>,
    pub(super) sources: Vec<Operand>,
    pub(super) destination: Destination,
    /// Where `--` stands, if it does.
    pub(super) dashes: Option<Index>,
    pub(super) conditions: Conditions,
}

/// One name in the tree.
#[derive(Debug, Clone)]
pub(super) struct EntryChoice {
    pub(super) parent: Index,
    pub(super) name: Index,
    pub(super) kind: KindChoice,
    pub(super) looks: AttributeChoice,
    /// What is in the way of its copy.
    pub(super) obstacle: Option<Obstacle>,
}

#[derive(Debug, Clone)]
pub(super) struct Obstacle {
    pub(super) place: ObstaclePlace,
    /// If not the same as the node's.
    pub(super) kind: Option<KindChoice>,
    pub(super) looks: AttributeChoice,
}

/// Where a copy of `s/x/y` would come to lie in `d`.
#[derive(Debug, Clone, Copy)]
pub(super) enum ObstaclePlace {
    /// `y`
    Base,
    /// `x/y`
    Contents,
    /// `s/x/y`
    Whole,
}

#[derive(Debug, Clone)]
pub(super) enum KindChoice {
    File(FileContent),
    Directory,
    Symlink(LinkTarget),
    HardLink(Index),
    Fifo,
    Socket,
    Device,
}

#[derive(Debug, Clone)]
pub(super) struct FileContent {
    pub(super) pages: Vec<Page>,
    pub(super) tail: u16,
    pub(super) seed: u8,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Page {
    Noise,
    Zeros,
    Hole,
}

#[derive(Debug, Clone)]
pub(super) enum LinkTarget {
    Node {
        node: Index,
        absolute: bool,
        slash: bool,
    },
    Word(Index),
}

/// Indices into the tables of `scene`.
#[derive(Debug, Clone)]
pub(super) struct AttributeChoice {
    pub(super) mode: Index,
    pub(super) owner: Index,
    pub(super) time: Index,
    pub(super) xattrs: Option<Index>,
}

#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) what: OperandChoice,
    pub(super) form: NameForm,
}

#[derive(Debug, Clone)]
pub(super) enum OperandChoice {
    /// Anything that is there.
    Node(Index),
    /// A directory that is there.
    Directory(Index),
    /// Anything else, where sources are.
    Leaf(Index),
    /// Whatever it says.
    Word(Index),
    /// The same as the first one.
    Again,
    /// `d`, where the twins are.
    Obstacles,
}

/// How a name is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum NameForm {
    Plain,
    Slash,
    Slashes,
    Dot,
    DotDot,
    FromDot,
    Detour,
    Absolute,
}

#[derive(Debug, Clone)]
pub(super) enum Destination {
    Last(Operand),
    New { parent: Index, slash: bool },
    Option(Operand, bool),
}

#[derive(Debug, Clone)]
pub(super) struct Conditions {
    pub(super) nobody: bool,
    pub(super) umask: Index,
    pub(super) version_control: Option<Index>,
    pub(super) suffix: Option<Index>,
    pub(super) posix: bool,
    pub(super) answers: Vec<Index>,
}

pub(super) fn case() -> impl Strategy<Value = RandomCase> {
    let walks = weighted(0.65, recursive());
    let words = (walks, vec(word(), 0..5)).prop_map(|(walk, words)| {
        let all: Vec<OptionChoice> = walk.into_iter().chain(words).collect();
        all
    });
    (
        [weighted(0.2, looks()), weighted(0.2, looks())],
        vec(node(), 0..12),
        words,
        prop_oneof![3 => vec(source(), 1..=1), 2 => vec(source(), 2..4)],
        destination(),
        weighted(0.08, any::<Index>()),
        conditions(),
    )
        .prop_map(
            |(bases, nodes, words, sources, destination, dashes, conditions)| RandomCase {
                bases,
                nodes,
                words,
                sources,
                destination,
                dashes,
                conditions,
            },
        )
}

fn node() -> impl Strategy<Value = EntryChoice> {
    (
        any::<Index>(),
        any::<Index>(),
        kind(),
        looks(),
        weighted(0.4, twin()),
    )
        .prop_map(|(parent, name, kind, looks, twin)| EntryChoice {
            parent,
            name,
            kind,
            looks,
            obstacle: twin,
        })
}

fn twin() -> impl Strategy<Value = Obstacle> {
    let place = prop_oneof![
        3 => Just(ObstaclePlace::Base),
        2 => Just(ObstaclePlace::Contents),
        4 => Just(ObstaclePlace::Whole),
    ];
    (place, weighted(0.5, kind()), looks()).prop_map(|(place, kind, looks)| Obstacle {
        place,
        kind,
        looks,
    })
}

fn kind() -> impl Strategy<Value = KindChoice> {
    prop_oneof![
        8 => body().prop_map(KindChoice::File),
        5 => Just(KindChoice::Directory),
        4 => aim().prop_map(KindChoice::Symlink),
        3 => any::<Index>().prop_map(KindChoice::HardLink),
        1 => Just(KindChoice::Fifo),
        1 => Just(KindChoice::Socket),
        1 => Just(KindChoice::Device),
    ]
}

fn body() -> impl Strategy<Value = FileContent> {
    let page = prop_oneof![2 => Just(Page::Noise), 1 => Just(Page::Zeros), 1 => Just(Page::Hole)];
    let pages = prop_oneof![2 => vec(page.clone(), 0..=0), 1 => vec(page, 1..5)];
    (pages, 0u16..4096, any::<u8>()).prop_map(|(pages, tail, seed)| FileContent {
        pages,
        tail,
        seed,
    })
}

fn aim() -> impl Strategy<Value = LinkTarget> {
    let node = (any::<Index>(), any::<bool>(), weighted(0.2, Just(())));
    prop_oneof![
        3 => node.prop_map(|(node, absolute, slash)| LinkTarget::Node { node, absolute, slash: slash.is_some() }),
        2 => any::<Index>().prop_map(LinkTarget::Word),
    ]
}

fn looks() -> impl Strategy<Value = AttributeChoice> {
    (
        any::<Index>(),
        any::<Index>(),
        any::<Index>(),
        weighted(0.25, any::<Index>()),
    )
        .prop_map(|(mode, owner, time, xattrs)| AttributeChoice {
            mode,
            owner,
            time,
            xattrs,
        })
}

/// A source: where nothing walks, mostly no directory.
fn source() -> impl Strategy<Value = Operand> {
    let what = prop_oneof![
        20 => any::<Index>().prop_map(OperandChoice::Node),
        20 => any::<Index>().prop_map(OperandChoice::Leaf),
        3 => any::<Index>().prop_map(OperandChoice::Word),
        4 => Just(OperandChoice::Again),
    ];
    operand(what)
}

/// A destination: mostly a directory.
fn target() -> impl Strategy<Value = Operand> {
    let what = prop_oneof![
        12 => Just(OperandChoice::Obstacles),
        8 => any::<Index>().prop_map(OperandChoice::Directory),
        3 => any::<Index>().prop_map(OperandChoice::Node),
        1 => any::<Index>().prop_map(OperandChoice::Word),
    ];
    operand(what)
}

fn operand(what: impl Strategy<Value = OperandChoice>) -> impl Strategy<Value = Operand> {
    let form = prop_oneof![
        30 => Just(NameForm::Plain),
        2 => Just(NameForm::Slash),
        1 => Just(NameForm::Slashes),
        2 => Just(NameForm::Dot),
        1 => Just(NameForm::DotDot),
        2 => Just(NameForm::FromDot),
        2 => Just(NameForm::Detour),
        2 => Just(NameForm::Absolute),
    ];
    (what, form).prop_map(|(what, form)| Operand { what, form })
}

fn destination() -> impl Strategy<Value = Destination> {
    let new = (any::<Index>(), weighted(0.1, Just(())));
    let option = (target(), any::<bool>());
    prop_oneof![
        6 => target().prop_map(Destination::Last),
        3 => new.prop_map(|(parent, slash)| Destination::New { parent, slash: slash.is_some() }),
        2 => option.prop_map(|(operand, long)| Destination::Option(operand, long)),
    ]
}

fn conditions() -> impl Strategy<Value = Conditions> {
    (
        weighted(0.3, Just(())),
        any::<Index>(),
        weighted(0.15, any::<Index>()),
        weighted(0.1, any::<Index>()),
        weighted(0.08, Just(())),
        vec(any::<Index>(), 0..4),
    )
        .prop_map(
            |(nobody, umask, version_control, suffix, posix, answers)| Conditions {
                nobody: nobody.is_some(),
                umask,
                version_control,
                suffix,
                posix: posix.is_some(),
                answers,
            },
        )
}
