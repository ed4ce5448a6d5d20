//! Network addresses and log positions as PostgreSQL spells them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::DecodeError;

/// PostgreSQL's own numbers for address families.
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

/// `inet` and `cidr`: family, bits of the network, whether it is a `cidr`, length
/// of the address, address. The bits are always shown, as a cast to text does;
/// psql leaves those of a single host out.
pub(super) fn address(type_name: &'static str, bytes: &[u8]) -> Result<String, DecodeError> {
    let wrong = |why| Err(DecodeError::new(type_name, why));
    let [family, bits, _is_cidr, length, address @ ..] = bytes else {
        return wrong("wrong length");
    };
    if usize::from(*length) != address.len() {
        return wrong("wrong length");
    }
    let (text, whole) = match (*family, <[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address))
    {
        (FAMILY_V4, Ok(v4), _) => (Ipv4Addr::from(v4).to_string(), 32),
        (FAMILY_V6, _, Ok(v6)) => (v6_text(v6), 128),
        _ => return wrong("unknown address family"),
    };
    if *bits > whole {
        return wrong("too many bits");
    }
    Ok(format!("{text}/{bits}"))
}

/// As Rust spells it, but for addresses that embed one of IPv4: PostgreSQL shows
/// that also in the old form without ffff.
fn v6_text(bytes: [u8; 16]) -> String {
    let address = Ipv6Addr::from(bytes);
    let [.., a, b, c, d] = bytes;
    let words = address.segments();
    if words.iter().take(6).all(|word| *word == 0) && words.get(6) != Some(&0) {
        return format!("::{}", Ipv4Addr::new(a, b, c, d));
    }
    address.to_string()
}

/// `macaddr` and `macaddr8`.
pub(super) fn mac(
    type_name: &'static str,
    size: usize,
    bytes: &[u8],
) -> Result<String, DecodeError> {
    if bytes.len() != size {
        return Err(DecodeError::new(type_name, "wrong length"));
    }
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(parts.join(":"))
}

/// `pg_lsn`.
pub(super) fn log_position(bytes: [u8; 8]) -> String {
    let position = u64::from_be_bytes(bytes);
    format!("{:X}/{:X}", position >> 32, position & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_its_network() {
        assert_eq!(address("inet", &[2, 32, 0, 4, 10, 0, 0, 1]).as_deref(), Ok("10.0.0.1/32"));
        assert_eq!(address("inet", &[2, 8, 0, 4, 10, 0, 0, 1]).as_deref(), Ok("10.0.0.1/8"));
        assert_eq!(address("cidr", &[2, 32, 1, 4, 10, 0, 0, 1]).as_deref(), Ok("10.0.0.1/32"));
        assert!(address("inet", &[2, 33, 0, 4, 10, 0, 0, 1]).is_err());
        assert!(address("inet", &[2, 32, 0, 4, 10]).is_err());
        assert!(address("inet", &[]).is_err());
    }

    #[test]
    fn the_rest_is_spelled_as_by_postgresql() {
        assert_eq!(
            mac("macaddr", 6, &[8, 0, 0x2b, 1, 2, 0xff]).as_deref(),
            Ok("08:00:2b:01:02:ff")
        );
        assert!(mac("macaddr", 6, &[1]).is_err());
        assert_eq!(log_position([0, 0, 0, 0x16, 0xb3, 0x74, 0xd8, 0x48]), "16/B374D848");
    }
}
