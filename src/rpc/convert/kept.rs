//! Answers that say whether what was done outlives the service.

use protobuf::Message;

use crate::proto::admin as wire;

/// Such an answer.
pub(in crate::rpc) trait MayBeLost: Message {
    /// Why it is not kept.
    fn not_kept(&mut self) -> &mut String;

    /// It was done to a tenant that a client has registered.
    fn is_of_client(&self) -> bool {
        false
    }
}

macro_rules! may_be_lost {
    ($($answer:ident $(of $tenant:ident)?),*) => {
        $(impl MayBeLost for wire::$answer {
            fn not_kept(&mut self) -> &mut String {
                &mut self.not_kept
            }

            $(fn is_of_client(&self) -> bool {
                self.$tenant.source == wire::TenantSource::TENANT_SOURCE_CLIENT.into()
            })?
        })*
    };
}

may_be_lost!(
    PauseTenantResponse of tenant,
    PutTenantResponse of tenant,
    RemoveTenantResponse,
    ResizeTenantResponse of tenant,
    ResumeTenantResponse of tenant,
    SetLogLevelResponse
);
