//! Functions of network addresses.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::expr::Const;
use crate::functions::{
    Depends, Example, Fault, Function, Kind, NO_PREPARE, Nulls, Param, Prepared, Problem,
};
use crate::functions::{example, missing, required};
use crate::lex::shorten;
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions of addresses share.
const NETWORK: Function = Function {
    name: "",
    aliases: &[],
    family: "network",
    signature: "",
    price: Price::new(2_000, 60),
    params: &[],
    rest: None,
    result: Kind::Boolean,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

const fn of_ip(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
) -> Function {
    const PARAMS: &[Param] = &[required("ip", Kind::Text)];
    Function { name, signature, params: PARAMS, summary, examples, eval, ..NETWORK }
}

fn text<'v>(arguments: &'v [Value<'_>], index: usize) -> &'v str {
    match arguments.get(index) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

/// Reads an address; an IPv4 address written as IPv6 is an IPv4 address.
fn address(text: &str) -> Result<IpAddr, Fault> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_canonical()),
        Err(_) => Err(Fault::new("domain", format!("`{}` is no IP address", shorten(text)))),
    }
}

/// Addresses that start with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads `192.168.0.0/16` or `fd00::/8`; an address alone is itself.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no range of addresses", shorten(text));
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = ip.parse().map_err(|_| wrong())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits: u32 = match bits {
            None => most,
            Some(bits) if bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().ok().filter(|&bits| bits <= most).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        // As in `address`: IPv4 written as IPv6 is IPv4.
        match (first.to_canonical(), bits.checked_sub(96)) {
            (canonical @ IpAddr::V4(_), Some(bits)) if first.is_ipv6() => {
                Ok(Self { first: canonical, bits })
            }
            _ => Ok(Self { first, bits }),
        }
    }

    fn contains(self, ip: IpAddr) -> bool {
        match (self.first, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

pub(in crate::functions) const IP_IN_CIDR: Function = Function {
    name: "ip_in_cidr",
    signature: "ip_in_cidr(ip, cidr)",
    params: &[required("ip", Kind::Text), required("cidr", Kind::Text)],
    summary: "Whether an IPv4 or IPv6 address is in a range such as '192.168.0.0/16'.",
    examples: &[
        example("ip_in_cidr(ip, '192.168.0.0/16')", r#"{"ip":"192.168.7.9"}"#, "true"),
        example("ip_in_cidr('fe80::1', 'fd00::/8')", "{}", "false"),
        example("ip_in_cidr('::ffff:10.1.2.3', '10.0.0.0/8')", "{}", "true"),
        example("ip_in_cidr('10.1.2.3', '::ffff:10.0.0.0/104')", "{}", "true"),
        missing("ip_in_cidr(ip, '10.0.0.0/8')", r#"{"ip":"10.0.0"}"#),
    ],
    prepare: |arguments| {
        let Some(Some(Const::String(cidr))) = arguments.get(1) else {
            return Ok(Prepared::Nothing);
        };
        Network::parse(cidr).map(Box::new).map(Prepared::Network).map_err(|message| Problem {
            message,
            expected: "a range such as '192.168.0.0/16' or 'fd00::/8'".into(),
        })
    },
    eval: |arguments, site| {
        let network = match site.prepared() {
            Prepared::Network(network) => **network,
            _ => Network::parse(text(arguments, 1))
                .map_err(|message| Fault::new("domain", message))?,
        };
        Ok(Value::Bool(network.contains(address(text(arguments, 0))?)))
    },
    ..NETWORK
};

pub(in crate::functions) const IS_IPV4: Function = of_ip(
    "is_ipv4",
    "is_ipv4(ip)",
    "Whether a text is an IPv4 address.",
    &[
        example("is_ipv4('192.168.7.9')", "{}", "true"),
        example("is_ipv4(a)", r#"{"a":"192.168.7.256"}"#, "false"),
    ],
    |arguments, _| Ok(Value::Bool(text(arguments, 0).parse::<Ipv4Addr>().is_ok())),
);

pub(in crate::functions) const IS_IPV6: Function = of_ip(
    "is_ipv6",
    "is_ipv6(ip)",
    "Whether a text is an IPv6 address.",
    &[
        example("is_ipv6('fe80::1')", "{}", "true"),
        example("is_ipv6('192.168.7.9')", "{}", "false"),
    ],
    |arguments, _| Ok(Value::Bool(text(arguments, 0).parse::<Ipv6Addr>().is_ok())),
);

pub(in crate::functions) const IS_PRIVATE_IP: Function = of_ip(
    "is_private_ip",
    "is_private_ip(ip)",
    "Whether an address is one of a local network or of the machine itself: 10/8, 172.16/12, \
     192.168/16, fc00::/7, link-local or loopback.",
    &[
        example("is_private_ip('192.168.7.9')", "{}", "true"),
        example("is_private_ip('8.8.8.8')", "{}", "false"),
        missing("is_private_ip(a)", r#"{"a":"localhost"}"#),
    ],
    |arguments, _| {
        Ok(Value::Bool(match address(text(arguments, 0))? {
            IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        }))
    },
);

pub(in crate::functions) const IP_TO_INT: Function =
    Function {
        result: Kind::Number,
        ..of_ip(
            "ip_to_int",
            "ip_to_int(ip)",
            "An IPv4 address as a number from 0 to 4294967295.",
            &[
                example("ip_to_int('192.168.7.9')", "{}", "3232237321"),
                example("ip_to_int('255.255.255.255')", "{}", "4294967295"),
                missing("ip_to_int(a)", r#"{"a":"fe80::1"}"#),
            ],
            |arguments, _| match address(text(arguments, 0))? {
                IpAddr::V4(ip) => Ok(Value::number(Num::Int(ip.to_bits().into()))),
                IpAddr::V6(ip) => Err(Fault::new("domain", format!("`{ip}` is an IPv6 address"))
                    .because("it takes IPv4")),
            },
        )
    };

pub(in crate::functions) const INT_TO_IP: Function = Function {
    name: "int_to_ip",
    signature: "int_to_ip(n)",
    params: &[required("n", Kind::Integer)],
    result: Kind::Text,
    summary: "The IPv4 address of a number from 0 to 4294967295.",
    examples: &[
        example("int_to_ip(3232237321)", "{}", r#""192.168.7.9""#),
        example("int_to_ip(0)", "{}", r#""0.0.0.0""#),
        missing("int_to_ip(n)", r#"{"n":-1}"#),
    ],
    eval: |arguments, _| {
        let number = arguments.first().and_then(Value::as_num).map_or(0, Num::truncate);
        let bits = u32::try_from(number).map_err(|_| {
            Fault::new("domain", format!("an IPv4 address is 0 to 4294967295, not {number}"))
        })?;
        let mut text = String::with_capacity(15);
        // Writing to a String cannot fail.
        write!(text, "{}", Ipv4Addr::from_bits(bits)).ok();
        Ok(Value::text(text))
    },
    ..NETWORK
};
