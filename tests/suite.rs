//! All integration tests in one binary: a module a subject.

mod support;

mod atomic;
mod attack;
mod attributes;
mod beside_cp;
mod boundaries;
mod compare;
mod comparing;
mod cp_words;
mod docs;
mod equal;
mod exports;
mod failures;
mod forklat;
mod lab;
mod latency;
mod names;
mod permissions;
mod progress;
mod refusal;
mod refused;
mod scale;
mod signals;
mod size;
mod small;
mod sources;
mod trees;
