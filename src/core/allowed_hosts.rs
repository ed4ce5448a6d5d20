//! Which hosts the DSNs of clients may name.
//!
//! A name says nothing of where it leads, and an address has many spellings. So a host is looked
//! up before it is judged, and what is judged is each address that the lookup returned, in the one
//! form that the system connects to. Whoever connects must use these addresses, and none of a
//! second lookup.

use std::fmt;
use std::net::IpAddr;

/// A list of names, addresses and networks; empty: every host is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<HostRule>);

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostRule {
    /// A name, in lower case. It allows every address that it leads to.
    Name(String),
    /// All addresses with these leading bits.
    Network(IpAddr, u8),
}

/// The most entries.
pub const ALLOWED_HOSTS_MAX: usize = 1000;
/// No name of the DNS is longer.
const NAME_MAX: usize = 253;

/// Why a text is no entry; it continues a sentence that begins with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHost {
    /// It is neither a name nor an address.
    Form,
    /// It has a comma.
    Several,
    /// Its prefix is longer than an address.
    Prefix,
    /// It has bits behind its prefix.
    Bits,
}

impl fmt::Display for BadHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadHost::Form => "must have names, addresses and networks such as 10.0.0.0/8",
            BadHost::Several => "must have each entry by itself: the list is an array in the file",
            BadHost::Prefix => "must have networks of 0 to 32 bits, or to 128 for IPv6",
            BadHost::Bits => "must have networks whose bits behind the prefix are 0",
        })
    }
}

impl AllowedHosts {
    /// Adds an entry.
    ///
    /// # Errors
    /// It is none.
    pub fn add(&mut self, text: &str) -> Result<(), BadHost> {
        self.0.push(rule(text)?);
        Ok(())
    }

    /// True if every host is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if it makes sense to look a name up: some entry may allow what is found.
    pub fn may_look_up(&self, name: &str) -> bool {
        let may = |rule: &HostRule| match rule {
            HostRule::Network(..) => true,
            HostRule::Name(_) => rule.is_name(name),
        };
        self.is_empty() || self.0.iter().any(may)
    }

    /// True if a client may be told whether there is such a name: every host is allowed, or the
    /// name itself.
    pub fn may_be_known(&self, name: &str) -> bool {
        self.is_empty() || self.0.iter().any(|rule| rule.is_name(name))
    }

    /// True if this address may be connected to. `name` is the name that was looked up for it;
    /// `None`: the DSN gave the address itself, whatever name stands beside it.
    pub fn allows(&self, name: Option<&str>, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let allows = |rule: &HostRule| match rule {
            HostRule::Name(_) => name.is_some_and(|name| rule.is_name(name)),
            HostRule::Network(network, prefix) => is_within(address, *network, *prefix),
        };
        self.is_empty() || self.0.iter().any(allows)
    }
}

impl HostRule {
    fn is_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        matches!(self, HostRule::Name(own) if own.eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for AllowedHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, rule) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match rule {
                HostRule::Name(name) => write!(f, "{comma}{name}")?,
                HostRule::Network(address, prefix) if *prefix == bits(*address) => {
                    write!(f, "{comma}{address}")?;
                }
                HostRule::Network(address, prefix) => write!(f, "{comma}{address}/{prefix}")?,
            }
        }
        Ok(())
    }
}

fn rule(text: &str) -> Result<HostRule, BadHost> {
    if text.contains(',') {
        return Err(BadHost::Several);
    }
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = host.parse::<IpAddr>() else {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        return match prefix.is_none() && is_name(&name) {
            true => Ok(HostRule::Name(name)),
            false => Err(BadHost::Form),
        };
    };
    let prefix = prefix.map_or(Ok(bits(address)), |prefix| prefix.parse::<u8>());
    let prefix = prefix.ok().filter(|prefix| *prefix <= bits(address)).ok_or(BadHost::Prefix)?;
    // A network of IPv4-mapped addresses is one of IPv4.
    let canonical = address.to_canonical();
    let shorter = bits(address) - bits(canonical);
    let (address, prefix) = match prefix.checked_sub(shorter) {
        Some(prefix) => (canonical, prefix),
        None => (address, prefix),
    };
    if number(address) & !mask(address, prefix) != 0 {
        return Err(BadHost::Bits);
    }
    Ok(HostRule::Network(address, prefix))
}

/// In lower case: letters, digits, `-` and `_` between dots, the last part not a number: the system would take
/// that for an address.
fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with(|first: char| first.is_ascii_digit())
        && (last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= NAME_MAX && text.split('.').all(is_part) && !is_number
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() {
        32
    } else {
        128
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn mask(address: IpAddr, prefix: u8) -> u128 {
    let (all, free) = match address {
        IpAddr::V4(_) => (u128::from(u32::MAX), 32 - prefix.min(32)),
        IpAddr::V6(_) => (u128::MAX, 128 - prefix.min(128)),
    };
    u128::MAX.checked_shl(free.into()).unwrap_or(0) & all
}

fn is_within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let leading = number(address) & mask(network, prefix);
    address.is_ipv4() == network.is_ipv4() && leading == number(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> AllowedHosts {
        let mut list = AllowedHosts::default();
        texts.iter().for_each(|text| list.add(text).unwrap());
        list
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_empty_list_allows_all_and_any_other_only_what_it_lists() {
        assert!(list(&[]).allows(None, ip("127.0.0.1")) && list(&[]).may_look_up("any"));
        let list = list(&["10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "Db.Example."]);
        for (address, allowed) in [
            ("10.1.255.255", true),
            ("10.2.0.0", false),
            ("10.0.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.6", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::1", false),
            ("0.0.0.0", false),
            // The same addresses in IPv6.
            ("::ffff:10.1.2.3", true),
            ("::ffff:10.2.0.0", false),
            ("::ffff:192.0.2.7", true),
            // These are others, and lead elsewhere.
            ("::10.1.2.3", false),
            ("64:ff9b::10.1.2.3", false),
        ] {
            assert_eq!(list.allows(None, ip(address)), allowed, "{address}");
            assert_eq!(list.allows(Some("other.example"), ip(address)), allowed, "{address}");
            assert!(list.allows(Some("DB.example"), ip(address)), "{address}");
            assert!(list.allows(Some("db.example."), ip(address)), "{address}");
        }
        assert!(!list.allows(Some("x.db.example"), ip("192.0.2.1")));
        assert!(!list.allows(Some("db.example.evil"), ip("192.0.2.1")));
    }

    #[test]
    fn a_name_is_looked_up_only_if_something_might_allow_what_it_leads_to() {
        let names = list(&["db.example"]);
        assert!(names.may_look_up("db.example") && names.may_look_up("DB.EXAMPLE."));
        assert!(!names.may_look_up("other.example"));
        let both = list(&["db.example", "10.0.0.0/8"]);
        assert!(both.may_look_up("other.example") && !both.may_be_known("other.example"));
        assert!(both.may_be_known("DB.example.") && list(&[]).may_be_known("other.example"));
    }

    #[test]
    fn networks_of_all_lengths_hold_what_they_say() {
        for (network, inside, outside) in [
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("::/0", "::1", "1.2.3.4"),
            ("128.0.0.0/1", "128.0.0.0", "127.255.255.255"),
            ("1.2.3.4/32", "1.2.3.4", "1.2.3.5"),
            ("1.2.3.4/31", "1.2.3.5", "1.2.3.6"),
            ("::1/128", "::1", "::2"),
            ("fe80::/10", "febf::1", "fec0::"),
            ("::ffff:1.2.3.4", "1.2.3.4", "1.2.3.5"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
        ] {
            let list = list(&[network]);
            assert!(list.allows(None, ip(inside)), "{network} {inside}");
            assert!(!list.allows(None, ip(outside)), "{network} {outside}");
        }
        // Of IPv4 it holds nothing: such an address is judged in its own form.
        assert!(!list(&["::fffe:0:0/95"]).allows(None, ip("1.2.3.4")));
    }

    #[test]
    fn what_is_no_entry_is_refused_and_what_is_one_is_shown_as_it_is_understood() {
        for (text, why) in [
            ("", BadHost::Form),
            (".", BadHost::Form),
            ("a..b", BadHost::Form),
            ("a b", BadHost::Form),
            ("*.example", BadHost::Form),
            ("/tmp", BadHost::Form),
            ("db/8", BadHost::Form),
            ("127.1", BadHost::Form),
            ("2130706433", BadHost::Form),
            ("0x7f000001", BadHost::Form),
            ("0177.0.0.1", BadHost::Form),
            ("[::1]", BadHost::Form),
            ("10.0.0.0/x", BadHost::Prefix),
            ("10.0.0.0/33", BadHost::Prefix),
            ("::/129", BadHost::Prefix),
            ("10.0.0.1/8", BadHost::Bits),
            ("::1/64", BadHost::Bits),
        ] {
            assert_eq!(AllowedHosts::default().add(text), Err(why), "{text}");
        }
        let shown = list(&["DB-1.example.", "10.0.0.0/8", "1.2.3.4", "::ffff:1.2.3.4", "::/0"]);
        assert_eq!(shown.to_string(), "db-1.example,10.0.0.0/8,1.2.3.4,1.2.3.4,::/0");
    }
}
