//! mmapcp
