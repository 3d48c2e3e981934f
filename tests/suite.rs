//! All integration tests in one binary: a module a subject.

mod support;

mod atomic;
mod attack;
mod attributes;
mod backups;
mod beside_cp;
mod boundaries;
mod compare;
mod comparing;
mod cp_words;
mod directories;
mod docs;
mod equal;
mod exports;
mod failures;
mod forklat;
mod lab;
mod latency;
mod links;
mod names;
mod overwriting;
mod permissions;
mod progress;
mod random;
mod refusal;
mod refused;
mod replacing;
mod scale;
mod scripts;
mod signals;
mod size;
mod small;
mod sources;
mod specials;
mod trees;
