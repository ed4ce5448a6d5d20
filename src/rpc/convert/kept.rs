//! Answers that say whether what was done outlives the service.

use protobuf::Message;

use crate::proto::admin as wire;

/// Such an answer.
pub(in crate::rpc) trait MayBeLost: Message {
    /// Why it is not kept.
    fn not_kept(&mut self) -> &mut String;
}

macro_rules! may_be_lost {
    ($($answer:ident),*) => {
        $(impl MayBeLost for wire::$answer {
            fn not_kept(&mut self) -> &mut String {
                &mut self.not_kept
            }
        })*
    };
}

may_be_lost!(
    PauseTenantResponse,
    PutTenantResponse,
    RemoveTenantResponse,
    ResizeTenantResponse,
    ResumeTenantResponse,
    SetLogLevelResponse
);
