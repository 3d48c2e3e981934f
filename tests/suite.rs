//! All integration tests in one binary: a module a subject.

#[macro_use]
extern crate mmapcp_test_attribute;

mod harness;
mod support;
mod syscall_cpu_tracer;
mod tested_programs;

mod atomic;
mod attributes;
mod backups;
mod checksums;
mod chunk_sizes;
mod combined_options;
mod command_lines;
mod compare_fixtures;
mod cp_differential;
mod cp_since_9_2;
mod deadline;
mod destination_races;
mod directories;
mod docs;
mod drain;
mod engine_boundaries;
mod engine_equivalence;
mod event_schema;
mod failures;
mod forklat;
mod forklat_compare;
mod forklat_scale;
mod governed_copies;
mod governor;
mod in_flight;
mod lab;
mod language;
mod latency_histogram;
mod layers;
mod limit_arguments;
mod limit_reporting;
mod links;
mod notify_socket;
mod open_semantics;
mod openmetrics;
mod order;
mod overwriting;
mod pipe_sources;
mod progress;
mod queue;
mod quiescent_source;
mod random_differential;
mod rate_limit;
mod report_exports;
mod report_page;
mod required_lab;
mod resource_bounds;
mod resume;
mod room;
mod scripts;
mod seccomp_filter;
mod seeded_rng;
mod signals;
mod small_file_batches;
mod small_files;
mod source_edge_cases;
mod special_files;
mod startup;
mod syscall_fallbacks;
mod terminal;
mod toctou_attacks;
mod transient_permissions;
mod unusual_names;
mod unusual_trees;
mod verify;

fn main() -> std::process::ExitCode {
    harness::run()
}
