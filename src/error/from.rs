//! Conversions from the errors of other modules.

use crate::core::access::AccessDenied;
use crate::core::ids::IdError;
use crate::core::lease_table::Denied;
use crate::error::RequestError;

impl From<IdError> for RequestError {
    fn from(error: IdError) -> RequestError {
        RequestError::Invalid { field: error.field(), rule: error.to_string() }
    }
}

impl From<AccessDenied> for RequestError {
    fn from(denied: AccessDenied) -> RequestError {
        RequestError::AccessDenied(denied)
    }
}

impl From<Denied> for RequestError {
    fn from(denied: Denied) -> RequestError {
        match denied {
            Denied::NotFound => RequestError::LeaseNotFound,
            Denied::Busy(view) => {
                RequestError::LeaseBusy { lease_name: view.facts.lease_name.clone() }
            }
            Denied::OtherWay(view) => {
                RequestError::LeaseOnStream { lease_name: view.facts.lease_name.clone() }
            }
            Denied::Ended(tombstone) => RequestError::LeaseEnded(tombstone),
        }
    }
}
