//! Which addresses a connector may connect to, whatever name led there.
//!
//! It resolves no names and opens no connection: who does asks before it connects.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Addresses that rules of the API do not reach unless they are listed: the networks, and what they
/// are. A cloud tells its machines secrets at the last ones.
const SPECIAL: [(Special, &[&str]); 4] = [
    (Special::Loopback, &["127.0.0.0/8", "::1/128"]),
    (Special::ThisHost, &["0.0.0.0/8", "::/128"]),
    (Special::LinkLocal, &["169.254.0.0/16", "fe80::/10"]),
    (
        Special::Metadata,
        &["100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128"],
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    Loopback,
    ThisHost,
    LinkLocal,
    Metadata,
}

/// The addresses that may be reached; all of them by default.
#[derive(Debug, Clone, Default)]
pub struct Network {
    allow: Arc<[IpNet]>,
    deny: Arc<[IpNet]>,
    /// For who may make rules and not change the configuration.
    guest: bool,
}

/// Why an address may not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` leads to {address}, {why}")]
pub struct Unreachable {
    host: String,
    address: IpAddr,
    why: &'static str,
}

impl Network {
    /// With networks (`10.0.0.0/8`) and addresses. With `allow` only those are reached, and never those
    /// of `deny`.
    ///
    /// # Errors
    /// Which entry of which list is wrong, and how it is written.
    pub fn new(allow: &[String], deny: &[String]) -> Result<Self, (&'static str, String)> {
        let read = |list, texts: &[String]| -> Result<Arc<[IpNet]>, _> {
            let one = |text: &String| {
                parse(text).ok_or_else(|| {
                    let example = "an address or a network, such as `10.1.2.3` or `10.0.0.0/8`";
                    (list, format!("`{text}` is none; expected {example}"))
                })
            };
            texts.iter().map(one).collect()
        };
        Ok(Self { allow: read("allow", allow)?, deny: read("deny", deny)?, guest: false })
    }

    /// The same for rules of the API: without loopback, link-local addresses and those where clouds
    /// keep secrets, unless an entry of `allow` lies within one of these networks. Loopback stays
    /// where the host says so itself, as `127.0.0.1` or `localhost`: hosts are the configuration's.
    #[must_use]
    pub fn for_api(&self) -> Self {
        Self { guest: true, ..self.clone() }
    }

    /// True when there is a list.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.allow.is_empty() || !self.deny.is_empty()
    }

    /// Whether an address that a host is, or that its name leads to, may be reached.
    ///
    /// # Errors
    /// Why not, and which setting says so.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Unreachable> {
        let forms = [Some(address), inner(address)];
        let within = |nets: &[IpNet]| {
            nets.iter().any(|net| forms.iter().flatten().any(|form| net.contains(form)))
        };
        let refuse = |why| Err(Unreachable { host: host.to_owned(), address, why });
        if within(&self.deny) {
            return refuse("which `network.deny` of the configuration holds");
        }
        if self.guest
            && let Some(special) = forms.iter().flatten().find_map(|form| self.special(*form))
            && !(special == Special::Loopback && says_loopback(host))
        {
            return refuse(special.why());
        }
        if !self.allow.is_empty() && !within(&self.allow) {
            return refuse("which is not within `network.allow` of the configuration");
        }
        Ok(())
    }

    /// What an address is, unless it is allowed as such.
    fn special(&self, address: IpAddr) -> Option<Special> {
        SPECIAL.iter().find_map(|(special, nets)| {
            let net = nets.iter().filter_map(|text| parse(text)).find(|n| n.contains(&address))?;
            let allowed = |entry: &IpNet| net.contains(entry) && entry.contains(&address);
            (!self.allow.iter().any(allowed)).then_some(*special)
        })
    }
}

impl Special {
    fn why(self) -> &'static str {
        match self {
            Self::Loopback => {
                "which is loopback and not for rules of the API, unless `network.allow` lists it"
            }
            Self::ThisHost => "which means this machine and is not for rules of the API",
            Self::LinkLocal => {
                "which is link-local and not for rules of the API, unless `network.allow` lists it"
            }
            Self::Metadata => {
                "where a cloud keeps secrets of its machines; it is not for rules of the API, unless `network.allow` lists it"
            }
        }
    }
}

fn parse(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The IPv4 address within an IPv6 address that leads to it: mapped, compatible, translated (RFC 6052)
/// or 6to4.
fn inner(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let segments = address.segments();
    let [.., high, low] = segments;
    let of =
        |high: u16, low: u16| IpAddr::from((u32::from(high) << 16 | u32::from(low)).to_be_bytes());
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => Some(of(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(of(high, low)),
        [0x2002, first, second, ..] => Some(of(first, second)),
        _ => None,
    }
}

/// True when a host is loopback by what it is called.
fn says_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
        || name == "localhost"
        || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(allow: &[&str], deny: &[&str]) -> Network {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Network::new(&owned(allow), &owned(deny)).expect("good lists")
    }

    /// Whether a name that leads to an address is refused.
    fn refused(network: &Network, address: &str) -> bool {
        network.check("a.example", address.parse().expect("an address")).is_err()
    }

    #[test]
    fn rules_of_the_api_do_not_reach_special_addresses() {
        let (free, api) = (network(&[], &[]), network(&[], &[]).for_api());
        for special in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::ffff:127.0.0.1",
            "::ffff:100.100.100.200",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::ffff:0:169.254.169.254",
        ] {
            assert!(refused(&api, special), "{special}");
            assert!(!refused(&free, special), "{special}");
        }
        for good in [
            "10.0.0.1",
            "192.168.1.1",
            "100.100.100.201",
            "8.8.8.8",
            "169.253.1.1",
            "fd00:ec2::253",
            "2001:db8::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ] {
            assert!(!refused(&api, good), "{good}");
        }
        let loopback = "127.0.0.1".parse().expect("an address");
        for host in ["127.0.0.1", "localhost", "LOCALHOST.", "f.localhost"] {
            assert_eq!(api.check(host, loopback), Ok(()), "{host} is the configuration's");
        }
        for host in ["localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"] {
            assert!(api.check(host, loopback).is_err(), "{host}");
        }
        assert!(api.check("localhost", "169.254.169.254".parse().expect("an address")).is_err());
    }

    #[test]
    fn lists_bind_all_rules() {
        let inside = network(&["10.0.0.0/8", "2001:db8::/32"], &["10.0.0.5"]);
        for network in [&inside, &inside.for_api()] {
            for (address, is_refused) in [
                ("10.0.0.1", false),
                ("::ffff:10.0.0.1", false),
                ("2001:db8::7", false),
                ("10.0.0.5", true),
                ("::ffff:10.0.0.5", true),
                ("11.0.0.1", true),
                ("2001:db9::7", true),
                ("127.0.0.1", true),
            ] {
                assert_eq!(refused(network, address), is_refused, "{address}");
            }
        }
        assert!(inside.check("localhost", "127.0.0.1".parse().expect("an address")).is_err());
        // All addresses are not these ones: who wants them names them.
        let all = ["0.0.0.0/0", "::/0"];
        assert!(refused(&network(&all, &[]).for_api(), "169.254.169.254"));
        let with = network(&["0.0.0.0/0", "169.254.169.254"], &[]).for_api();
        assert!(!refused(&with, "169.254.169.254") && refused(&with, "169.254.169.253"));
        assert!(!refused(&network(&["127.0.0.0/8"], &[]).for_api(), "127.0.0.1"));
        assert!(refused(&network(&[], &["169.254.0.0/16"]), "169.254.169.254"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for bad in ["10.0.0.0/33", "a.example", "10.0.0", "", "10.0.0.1:80"] {
            let list = vec![bad.to_owned()];
            assert_eq!(Network::new(&list, &[]).map_err(|(list, _)| list).err(), Some("allow"));
            assert_eq!(Network::new(&[], &list).map_err(|(list, _)| list).err(), Some("deny"));
        }
        let api = network(&[], &[]).for_api();
        let error =
            api.check("meta.example", "::ffff:169.254.169.254".parse().expect("an address"));
        assert_eq!(
            error.expect_err("refused").to_string(),
            "`meta.example` leads to ::ffff:169.254.169.254, which is link-local and not for rules of the API, unless `network.allow` lists it"
        );
    }
}
