//! The transaction state of a session.

/// The transaction state a PostgreSQL session reports whenever it is ready for the next query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransactionState {
    /// No transaction block. Exit: BEGIN leads to `Open`.
    #[default]
    None,
    /// Inside a transaction block. Exits: COMMIT or ROLLBACK to `None`, an error to `Failed`.
    Open,
    /// Inside a transaction block that can only be rolled back. Exits: ROLLBACK (and COMMIT, which
    /// then rolls back) to `None`, ROLLBACK TO SAVEPOINT to `Open`.
    Failed,
}

impl TransactionState {
    /// Reads the status byte of the protocol's ReadyForQuery message: `I`, `T` or `E`.
    ///
    /// Any other byte is `None`: the session is then in an unknown state.
    pub fn from_ready_for_query(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(TransactionState::None),
            b'T' => Some(TransactionState::Open),
            b'E' => Some(TransactionState::Failed),
            _ => None,
        }
    }

    /// The name in log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            TransactionState::None => "none",
            TransactionState::Open => "open",
            TransactionState::Failed => "failed",
        }
    }

    /// Whether a transaction block holds its locks and snapshot, failed or not.
    pub fn is_open(self) -> bool {
        match self {
            TransactionState::None => false,
            TransactionState::Open | TransactionState::Failed => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_status_bytes_are_read_and_no_other() {
        for byte in 0..=u8::MAX {
            let expected = match byte {
                b'I' => Some(TransactionState::None),
                b'T' => Some(TransactionState::Open),
                b'E' => Some(TransactionState::Failed),
                _ => None,
            };
            assert_eq!(TransactionState::from_ready_for_query(byte), expected);
        }
    }

    #[test]
    fn a_failed_transaction_is_still_open() {
        assert!(!TransactionState::None.is_open());
        assert!(TransactionState::Open.is_open());
        assert!(TransactionState::Failed.is_open());
    }
}
