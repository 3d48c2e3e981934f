//! A man page: what clap makes of the command line definition, joined with the sections that are written by hand in
//! `man/sections`.

use std::fs;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use mmapcp::observe::probe::PROBE_SPECS;
use mmapcp::report::units::format_milliseconds;
use mmapcp::transfer::engine::ENGINES;

use super::repository;

/// The date in the footer of all pages: that of the last change that a reader would notice.
const DATE: &str = "2026-12-01";

/// The first line makes man(1) call tbl(1). The others define the apostrophe that clap_mangen writes.
const PREAMBLE: &str = "'\\\" t\n.ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Text is not stretched to the margin, and words are not hyphenated: an option that is split over two lines is not found.
const LAYOUT: &str = ".nh\n.ad l\n";

/// One page of section 1.
pub(super) struct ManPage {
    /// `mmapcp`, `forklat` or `forklat-run`, as in `man forklat-run`.
    pub(super) name: String,
    /// The definition that its options come from.
    pub(super) command: clap::Command,
}

/// Returns the page of a program, and one page for each of its subcommands, as git has them.
pub(super) fn pages(mut program: clap::Command) -> Vec<ManPage> {
    program.build();
    let subcommands = program.get_subcommands().filter(|c| !c.is_hide_set());
    std::iter::once(&program)
        .chain(subcommands)
        .map(ManPage::of)
        .collect()
}

impl ManPage {
    fn of(command: &clap::Command) -> Self {
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        Self {
            name: name.to_owned(),
            command: command.clone(),
        }
    }

    /// Returns where the page is committed, relative to the repository.
    pub(super) fn path(&self) -> String {
        format!("man/{}.1", self.name)
    }

    /// Returns the whole page. What the file of `man/sections` has before its first section continues the description.
    pub(super) fn roff(&self) -> String {
        let by_hand = self.sections_by_hand();
        let first_section = by_hand.find(".SH ").unwrap_or(by_hand.len());
        let (description, sections) = by_hand.split_at(first_section);
        let man = Man::new(self.command.clone())
            .title(self.name.to_uppercase())
            .date(DATE)
            .source(concat!("mmapcp ", env!("CARGO_PKG_VERSION")))
            .manual("User Commands");
        let mut page = PREAMBLE.to_owned();
        page += &format!(
            ".\\\" Generated from the option table and man/sections/{}.roff: UPDATE_DOCS=1 cargo test\n",
            self.name
        );
        page += &rendered(|out| man.render_title(out)).replace("\" \n", "\"\n");
        page += LAYOUT;
        page += &rendered(|out| man.render_name_section(out));
        page += &rendered(|out| man.render_synopsis_section(out));
        page += &rendered(|out| man.render_description_section(out));
        page += description;
        page += &self.options_section(&man);
        if self.command.has_subcommands() {
            page += &rendered(|out| man.render_subcommands_section(out));
        }
        page += sections;
        page
    }

    /// Reads the sections that are written by hand, with the lists that come from the tables of the program filled in.
    fn sections_by_hand(&self) -> String {
        let path = format!("man/sections/{}.roff", self.name);
        fs::read_to_string(repository(&path))
            .unwrap_or_else(|e| panic!("reading {path}: {e}"))
            .replace(".\\\" LIST OF ENGINES\n", &engine_list())
            .replace(".\\\" LIST OF PROBES\n", &probe_list())
    }

    /// Returns the options as one section. clap_mangen makes each group of options a section of its own; here groups are
    /// subsections, since "PROBES" and the like are sections that explain.
    fn options_section(&self, man: &Man) -> String {
        let mut section = String::from(".SH OPTIONS\n");
        let groups: Vec<&str> = self
            .command
            .get_arguments()
            .filter_map(clap::Arg::get_help_heading)
            .collect();
        for line in rendered(|out| man.render_options_section(out)).lines() {
            let heading = line.strip_prefix(".SH ").map(|text| text.trim_matches('"'));
            match heading {
                Some("OPTIONS") => {}
                Some(heading) => {
                    let is_same = |group: &&&str| group.to_uppercase() == heading;
                    let group = groups.iter().find(is_same).expect("a group of options");
                    section += &format!(".SS \"{group}\"\n");
                }
                // clap_mangen sets the possible values apart by an empty line, which mandoc rejects.
                None if line.is_empty() => {}
                None => section += &format!("{line}\n"),
            }
        }
        section
            .replace(".br\n.br\n", ".br\n")
            // A list of possible values is dense.
            .replace(".RS 14\n", ".RS 14\n.PD 0\n")
            .replace(".RE\n", ".PD\n.RE\n")
    }
}

/// Returns what clap_mangen writes, without the preamble that it repeats before each part.
fn rendered(write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    write(&mut text).expect("a man page is written to memory");
    let text = String::from_utf8(text).expect("a man page is UTF-8");
    let preamble = PREAMBLE.split_once('\n').expect("the preamble has lines").1;
    text.replacen(preamble, "", 1)
}

/// Returns the table of engines as a list.
fn engine_list() -> String {
    let mut list = Roff::new();
    for engine in ENGINES {
        list.control("TP", []);
        list.text([bold(engine.name)]);
        list.text([roman(format!("{}.", capitalized(engine.description)))]);
        list.control("br", []);
        list.text([roman(format!("When: {}.", engine.applies_to))]);
    }
    list.to_roff()
}

/// Returns the table of probes as a list.
fn probe_list() -> String {
    let mut list = Roff::new();
    for probe in &PROBE_SPECS {
        list.control("TP", []);
        list.text([bold(probe.name)]);
        let period = format_milliseconds(probe.period);
        let description = capitalized(probe.description);
        list.text([roman(format!("{description}. Every {period}."))]);
    }
    list.to_roff()
}

fn capitalized(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}
