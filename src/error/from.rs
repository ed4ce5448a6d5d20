//! Conversions from the errors of other modules.

use crate::core::access::AccessDenied;
use crate::core::ids::IdError;
use crate::core::lease_table::Denied;
use crate::error::Error;

impl From<IdError> for Error {
    fn from(error: IdError) -> Error {
        Error::Invalid { field: error.field(), rule: error.to_string() }
    }
}

impl From<AccessDenied> for Error {
    fn from(denied: AccessDenied) -> Error {
        Error::AccessDenied(denied)
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Error {
        match denied {
            Denied::NotFound => Error::LeaseNotFound,
            Denied::Busy(view) => Error::LeaseBusy { lease_name: view.facts.lease_name.clone() },
            Denied::OtherWay(view) => {
                Error::LeaseOnStream { lease_name: view.facts.lease_name.clone() }
            }
            Denied::Ended(tombstone) => Error::LeaseEnded(tombstone),
        }
    }
}
