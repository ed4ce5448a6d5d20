//! Data on its way between gRPC's threads and workers: bounded.

pub(super) mod batch;
pub(super) mod intake;
pub(super) mod pipe;
pub(super) mod result;
