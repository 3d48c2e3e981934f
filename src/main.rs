//! mmapcp: parse, copy, exit status.
#![no_main]

mmapcp::define_c_main!(mmapcp::cp::main);
