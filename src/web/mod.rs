//! What web pages may do: `Host` and `Origin` of HTTP requests and WebSocket upgrades.
//!
//! A browser sends both truthfully, whatever a page wants. A page of another site is told from one of
//! the daemon's own by its origin; a page whose name was made to lead to the daemon's address (DNS
//! rebinding) by the host that its browser asks for. Programs that are no browsers send what they like,
//! so neither proves who somebody is.

use std::net::IpAddr;

/// The entry that allows all.
const ANY: &str = "*";

/// Which hosts and origins are good. By default: hosts that nobody can make lead here from elsewhere,
/// and pages of the daemon's own origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pages {
    hosts: Vec<String>,
    origins: Vec<String>,
    any_host: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// The host is none of the daemon's.
    #[error(
        "`{0}` is no host of this daemon; use its IP address or localhost, or add the name to `listen.allow_hosts`"
    )]
    Host(String),
    /// The page is of another site.
    #[error(
        "pages of `{0}` may not speak to this daemon; add the origin to `listen.allow_origins`"
    )]
    Origin(String),
}

impl Pages {
    /// With further hosts (names without port) and origins (`https://host:port`, as browsers send
    /// them); `*` is any.
    ///
    /// # Errors
    /// Which entry of which list is wrong, and how it is written.
    pub fn new(hosts: &[String], origins: &[String]) -> Result<Self, (&'static str, String)> {
        for host in hosts.iter().filter(|host| *host != ANY) {
            if host.is_empty() || host.contains(['/', ':', '*', ' ']) {
                let text = format!("`{host}` is no name; expected one such as `iot.plant.example`");
                return Err(("allow_hosts", text));
            }
        }
        for origin in origins.iter().filter(|origin| *origin != ANY) {
            if authority(origin).is_none_or(|rest| rest.is_empty() || rest.contains(['/', '*'])) {
                let text =
                    format!("`{origin}` is no origin; expected one such as `https://desk.example`");
                return Err(("allow_origins", text));
            }
        }
        let lower = |list: &[String]| list.iter().map(|text| text.to_ascii_lowercase()).collect();
        Ok(Self { hosts: lower(hosts), origins: lower(origins), any_host: false })
    }

    /// The same for a listener where everybody has to prove who he is: what a page is not told, it can
    /// not use. Then every host is good, unless hosts are listed.
    #[must_use]
    pub fn behind_proof(mut self, proof: bool) -> Self {
        self.any_host = proof && self.hosts.is_empty();
        self
    }

    /// Looks at a request. One without a host is of no browser.
    ///
    /// # Errors
    /// What is foreign, and what to do if it should not be.
    pub fn check(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), Foreign> {
        let host = host.unwrap_or("");
        if !host.is_empty() && !self.is_own(host) {
            return Err(Foreign::Host(host.to_owned()));
        }
        match origin {
            Some(origin) if !self.lists(origin) && !is_same(origin, host) => {
                Err(Foreign::Origin(origin.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// True when pages of an origin may speak to the daemon though they are not its own.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        self.origins.iter().any(|one| one == ANY || one.eq_ignore_ascii_case(origin))
    }

    /// An IP address, `localhost` and a name without dots lead here because somebody in this network
    /// says so; any other name may be anybody's.
    fn is_own(&self, host: &str) -> bool {
        let name = name_of(host).trim_end_matches('.');
        self.any_host
            || !name.contains('.') && !name.contains(':')
            || name.to_ascii_lowercase().ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|one| one == ANY || one.eq_ignore_ascii_case(name))
    }
}

/// The host without its port, an IPv6 address without its brackets.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// Host and port of an origin.
fn authority(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, rest)| rest)
}

/// True when an origin has the host and port of the request. The scheme does not count: a proxy may
/// end TLS, and clients that are no browsers send any.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let port = match scheme.to_ascii_lowercase().as_str() {
        "https" | "wss" => ":443",
        _ => ":80",
    };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    !host.is_empty() && bare(rest) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(hosts: &[&str], origins: &[&str]) -> Pages {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Pages::new(&owned(hosts), &owned(origins)).expect("good lists")
    }

    #[test]
    fn hosts_that_anybody_could_own_are_foreign() {
        let some = pages(&["IoT.plant.example"], &[]);
        for own in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "192.168.0.7:80",
            "[::1]:8080",
            "[fe80::1]",
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "a.localhost",
            "tidegate:8080",
            "x",
            "iot.plant.example",
            "iot.PLANT.example:8080",
            "iot.plant.example.",
        ] {
            assert_eq!(some.check(Some(own), None), Ok(()), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "iot.plant.example.evil.example",
            "xiot.plant.example",
            "1.2.3",
            "[::1",
            "evil.example:80:80",
            "a:b:c",
        ] {
            let refused = Err(Foreign::Host(foreign.to_owned()));
            assert_eq!(some.check(Some(foreign), None), refused, "{foreign}");
            assert_eq!(pages(&["*"], &[]).check(Some(foreign), None), Ok(()));
            let listed = some.clone().behind_proof(true);
            assert_eq!(listed.check(Some(foreign), None), refused, "a list counts everywhere");
            assert_eq!(Pages::default().behind_proof(true).check(Some(foreign), None), Ok(()));
        }
        assert_eq!(some.check(None, None), Ok(()), "HTTP/1.0 has no host");
    }

    #[test]
    fn origins_are_the_hosts_own_or_listed() {
        let desk = pages(&[], &["https://desk.example", "https://desk.example:8443"]);
        for (host, origin) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("127.0.0.1:8083", "https://127.0.0.1:8083"),
            ("localhost", "http://localhost"),
            ("localhost", "http://localhost:80"),
            ("localhost:443", "https://localhost"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("127.0.0.1:8080", "https://desk.example"),
            ("127.0.0.1:8080", "HTTPS://desk.example:8443"),
        ] {
            assert_eq!(desk.check(Some(host), Some(origin)), Ok(()), "{host} {origin}");
        }
        for (host, origin) in [
            ("127.0.0.1:8080", "http://evil.example"),
            ("127.0.0.1:8080", "http://127.0.0.1:3000"),
            ("127.0.0.1:8080", "http://localhost:8080"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080.evil.example"),
            ("127.0.0.1:8080", "http://desk.example"),
            ("127.0.0.1:8080", "https://desk.example.evil.example"),
            ("127.0.0.1:8080", "null"),
            ("127.0.0.1:8080", ""),
            ("127.0.0.1:80", "https://127.0.0.1"),
        ] {
            let refused = Err(Foreign::Origin(origin.to_owned()));
            assert_eq!(desk.check(Some(host), Some(origin)), refused, "{host} {origin}");
        }
        assert!(desk.check(None, Some("http://")).is_err());
        assert_eq!(pages(&[], &["*"]).check(Some("x"), Some("null")), Ok(()));
    }

    #[test]
    fn wrong_entries_are_named() {
        let of = |hosts: &str, origins: &str| {
            let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            Pages::new(&list(hosts), &list(origins)).map_err(|(list, _)| list)
        };
        for bad in ["http://a.example", "a.example:80", "*.example", "a/b"] {
            assert_eq!(of(bad, ""), Err("allow_hosts"), "{bad}");
        }
        for bad in ["desk.example", "https://", "https://desk.example/", "https://*.example"] {
            assert_eq!(of("", bad), Err("allow_origins"), "{bad}");
        }
        assert!(of("* a.example", "* https://a.example:1").is_ok());
    }
}
