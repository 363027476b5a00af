//! Which topics and topic filters are a device's own (development guide, device topics; the documents
//! of the other vendors whose devices connect).
//!
//! It knows no registry: what a device may do on its custom topics is decided beside.

use contract::Device;

/// A topic or filter that is all within what belongs to one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own<'a> {
    /// A topic of the platform.
    System {
        /// The device may publish there.
        publish: bool,
        /// The device may subscribe to it.
        subscribe: bool,
    },
    /// A custom topic: what follows the device name.
    Custom(&'a str),
}

const BOTH: Own<'static> = Own::System { publish: true, subscribe: true };
const PUBLISH: Own<'static> = Own::System { publish: true, subscribe: false };
const SUBSCRIBE: Own<'static> = Own::System { publish: false, subscribe: true };

/// The most levels that decide whose a topic is.
const LEVELS: usize = 7;

/// What a topic or a topic filter is to a device; `None` when it is not the device's own. The levels
/// with product key and device name must be just these: a wildcard there would match others.
pub(super) fn own<'a>(text: &'a str, device: &Device) -> Option<Own<'a>> {
    let (key, name) = (&*device.product_key, &*device.device_name);
    let mut levels = [""; LEVELS];
    let count = split(text, &mut levels);
    let is = |p: &str, d: &str| p == key && d == name;
    match levels.get(..count)? {
        ["", "sys", p, d, _, ..] if is(p, d) => Some(BOTH),
        // The topic of the call follows the id of the call, with or without its own first slash.
        ["", "ext", "rrpc", _, "sys", p, d, ..] | ["", "ext", "rrpc", _, "", p, d, ..]
            if is(p, d) =>
        {
            Some(BOTH)
        }
        ["", "ext", "rrpc", _, p, d, _, ..] if is(p, d) => Some(BOTH),
        ["", "ext", kind, p, d, ..] if *kind != "rrpc" && is(p, d) => Some(BOTH),
        ["", "shadow", "update", p, d] if is(p, d) => Some(PUBLISH),
        ["", "shadow", "get", p, d] if is(p, d) => Some(SUBSCRIBE),
        ["", "ota", "device", _, p, d, ..] if is(p, d) => Some(BOTH),
        ["", "broadcast", p, _, ..] if *p == key => Some(SUBSCRIBE),
        ["$sys", p, d, _, ..] if is(p, d) => Some(BOTH),
        ["$sys" | "$gateway" | "$shadow" | "$template" | "$log", "operation", p, d] if is(p, d) => {
            Some(PUBLISH)
        }
        ["$sys" | "$gateway" | "$shadow" | "$template" | "$log", "operation", "result", p, d]
            if is(p, d) =>
        {
            Some(SUBSCRIBE)
        }
        ["$ota", "report", p, d] | ["$rrpc", "txd", p, d, _] if is(p, d) => Some(PUBLISH),
        ["$ota", "update", p, d] | ["$rrpc", "rxd", p, d, _] | ["$broadcast", "rxd", p, d]
            if is(p, d) =>
        {
            Some(SUBSCRIBE)
        }
        ["$thing", "up", _, p, d] if is(p, d) => Some(PUBLISH),
        ["$thing", "down", _, p, d] if is(p, d) => Some(SUBSCRIBE),
        ["", p, d, _, ..] if is(p, d) => {
            let rest = text.get(key.len() + name.len() + 3..)?;
            Some(Own::Custom(rest))
        }
        _ => None,
    }
}

/// The device that a topic or filter is one of, as product key and device name, if it is any's: on each of
/// them [`own`] finds at most that device's.
pub(super) fn subject(text: &str) -> Option<(&str, &str)> {
    let mut levels = [""; LEVELS];
    let count = split(text, &mut levels);
    let (p, d) = match levels.get(..count)? {
        ["", "shadow", "update", p, d] => (p, d),
        ["$sys" | "$gateway" | "$shadow" | "$template" | "$log", "operation", p, d] => (p, d),
        ["$ota", "report", p, d] | ["$rrpc", "txd", p, d, _] => (p, d),
        ["$broadcast", "rxd", p, d] | ["$thing", "up", _, p, d] => (p, d),
        levels => match (addressee(text), levels) {
            (Some(found), _) => return Some(found),
            (None, ["", p, d, _, ..]) => (p, d),
            (None, _) => return None,
        },
    };
    (!p.is_empty() && !d.is_empty()).then_some((p, d))
}

/// The device that a topic of the platform is for, as product key and device name.
pub(super) fn addressee(topic: &str) -> Option<(&str, &str)> {
    let mut levels = [""; LEVELS];
    let count = split(topic, &mut levels);
    let (p, d) = match levels.get(..count)? {
        ["", "sys", p, d, _, ..] => (p, d),
        ["", "ext", "rrpc", _, "sys", p, d, ..] | ["", "ext", "rrpc", _, "", p, d, ..] => (p, d),
        ["", "ext", "rrpc", _, p, d, _, ..] => (p, d),
        ["", "ext", kind, p, d, ..] if *kind != "rrpc" => (p, d),
        ["", "shadow", "get", p, d] => (p, d),
        ["", "ota", "device", _, p, d, ..] => (p, d),
        ["$sys" | "$gateway" | "$shadow" | "$template" | "$log", "operation", "result", p, d] => {
            (p, d)
        }
        ["$ota", "update", p, d] | ["$rrpc", "rxd", p, d, _] => (p, d),
        ["$thing", "down", _, p, d] => (p, d),
        ["$sys", p, d, _, ..] => (p, d),
        _ => return None,
    };
    (!p.is_empty() && !d.is_empty()).then_some((p, d))
}

/// How a device and the platform talk on a topic of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    /// The question comes and the answer goes on one and the same topic.
    OneTopic,
    /// Each direction has topics of its own; a filter with a wildcard can have both.
    TwoTopics,
}

/// What each platform's topics start with. `/broadcast/` and custom topics are not among them: what a
/// device says there may be meant for itself, too.
const PLATFORM: [&str; 12] = [
    "/sys/",
    "/ext/",
    "/shadow/",
    "/ota/",
    "$sys/",
    "$thing/",
    "$rrpc/",
    "$ota/",
    "$shadow/",
    "$gateway/",
    "$template/",
    "$log/",
];

/// How devices and the platform talk on a topic; `None` when it is none of the platform's. Asked for
/// every message.
pub(super) fn talk(topic: &str) -> Option<Talk> {
    if topic.starts_with("/ext/rrpc/") {
        return Some(Talk::OneTopic);
    }
    let start = topic.as_bytes();
    let may_be = matches!(start, [b'/', b's' | b'e' | b'o', ..] | [b'$', ..]);
    let is_ours = may_be && PLATFORM.iter().any(|prefix| topic.starts_with(prefix));
    is_ours.then_some(Talk::TwoTopics)
}

/// The first levels; how many there are, but not more than fit.
fn split<'a>(text: &'a str, levels: &mut [&'a str; LEVELS]) -> usize {
    let mut count = 0;
    for (slot, level) in levels.iter_mut().zip(text.split('/')) {
        *slot = level;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Own<'_>> {
        own(text, &Device { product_key: "pk".into(), device_name: "dn".into() })
    }

    #[test]
    fn a_device_has_its_own_topics() {
        for both in [
            "/sys/pk/dn/thing/event/property/post",
            "/sys/pk/dn/#",
            "/sys/pk/dn/rrpc/request/+",
            "/ext/rrpc/123/sys/pk/dn/thing/service/x",
            "/ext/rrpc/+/pk/dn/user/get",
            "/ext/rrpc/+//pk/dn/user/get",
            "/ext/session/pk/dn/combine/login",
            "/ota/device/inform/pk/dn",
            "$sys/pk/dn/thing/service/x/invoke",
        ] {
            assert_eq!(of(both), Some(BOTH), "{both}");
        }
        assert_eq!(of("/shadow/update/pk/dn"), Some(PUBLISH));
        assert_eq!(of("/shadow/get/pk/dn"), Some(SUBSCRIBE));
        assert_eq!(of("/broadcast/pk/all"), Some(SUBSCRIBE));
        assert_eq!(of("$thing/up/action/pk/dn"), Some(PUBLISH));
        assert_eq!(of("$thing/down/action/pk/dn"), Some(SUBSCRIBE));
        for publish in ["$sys/operation/pk/dn", "$ota/report/pk/dn", "$rrpc/txd/pk/dn/1"] {
            assert_eq!(of(publish), Some(PUBLISH), "{publish}");
        }
        for subscribe in [
            "$sys/operation/result/pk/dn",
            "$shadow/operation/result/pk/dn",
            "$ota/update/pk/dn",
            "$rrpc/rxd/pk/dn/+",
            "$broadcast/rxd/pk/dn",
        ] {
            assert_eq!(of(subscribe), Some(SUBSCRIBE), "{subscribe}");
        }
        assert_eq!(of("/pk/dn/user/update"), Some(Own::Custom("user/update")));
        assert_eq!(of("/pk/dn/#"), Some(Own::Custom("#")));
    }

    #[test]
    fn a_topic_says_whose_it_is() {
        for text in [
            "/sys/pk/dn/thing/event/property/post",
            "/sys/pk/dn/#",
            "/ext/rrpc/123/sys/pk/dn/thing/service/x",
            "/ext/rrpc/+/pk/dn/user/get",
            "/ext/rrpc/+//pk/dn/user/get",
            "/ext/session/pk/dn/combine/login",
            "/ota/device/inform/pk/dn",
            "$sys/pk/dn/thing/service/x/invoke",
            "/shadow/update/pk/dn",
            "/shadow/get/pk/dn",
            "$thing/up/action/pk/dn",
            "$thing/down/action/pk/dn",
            "$sys/operation/pk/dn",
            "$sys/operation/result/pk/dn",
            "$ota/report/pk/dn",
            "$rrpc/txd/pk/dn/1",
            "$rrpc/rxd/pk/dn/+",
            "$broadcast/rxd/pk/dn",
            "/pk/dn/user/update",
        ] {
            assert!(of(text).is_some(), "{text}");
            assert_eq!(subject(text), Some(("pk", "dn")), "{text}");
        }
        for text in ["", "/", "#", "a/b/c/d", "/pk/dn", "//dn/x", "/shadow/update//dn"] {
            assert_eq!(subject(text), None, "{text}");
        }
    }

    #[test]
    fn no_filter_reaches_beyond() {
        for other in [
            "#",
            "/#",
            "/+/#",
            "/sys/#",
            "/sys/pk/#",
            "/sys/pk/+/thing/#",
            "/sys/+/dn/#",
            "/sys/pk/other/thing/x",
            "/sys/pk/dn",
            "/ext/rrpc/#",
            "/ext/rrpc/+/#",
            "/ext/rrpc/+/pk/other/x",
            "/ext/rrpc/+/sys/pk/+/x",
            "/ext/+/pk/+/x",
            "/shadow/get/pk/+",
            "/shadow/get/#",
            "/shadow/get/pk/dn/#",
            "/ota/device/#",
            "/ota/device/upgrade/pk/other",
            "/broadcast/#",
            "/broadcast/+/x",
            "/pk/+/user/x",
            "/pk/dn",
            "/pk/other/user/x",
            "pk/dn/user/x",
            "/as/mqtt/status/pk/dn",
            "$sys/pk/+/x",
            "$SYS/#",
            "$thing/down/+/pk/+",
            "$rrpc/rxd/pk/+/+",
            "$gateway/operation/result/+/dn",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_device_says_to_the_platform_is_not_for_itself() {
        for one in ["/ext/rrpc/1/pk/dn/user/get", "/ext/rrpc/1/sys/pk/dn/thing/service/x"] {
            assert_eq!(talk(one), Some(Talk::OneTopic), "{one}");
        }
        for prefix in PLATFORM {
            assert_eq!(talk(&format!("{prefix}pk/dn/x")), Some(Talk::TwoTopics), "{prefix}");
        }
        for other in
            ["/pk/dn/user/get", "/broadcast/pk/x", "sys/x", "/system/x", "$SYS/x", "$", "/"]
        {
            assert_eq!(talk(other), None, "{other}");
        }
    }

    #[test]
    fn downlink_topics_name_their_device() {
        for topic in [
            "/sys/pk/dn/thing/service/property/set",
            "/ext/rrpc/1/sys/pk/dn/thing/service/x",
            "/ext/rrpc/1/pk/dn/user/get",
            "/ext/rrpc/1//pk/dn/user/get",
            "/ext/session/pk/dn/combine/login_reply",
            "/shadow/get/pk/dn",
            "/ota/device/upgrade/pk/dn",
            "$sys/pk/dn/thing/service/x/invoke",
            "$thing/down/action/pk/dn",
            "$sys/operation/result/pk/dn",
            "$rrpc/rxd/pk/dn/1",
            "$ota/update/pk/dn",
        ] {
            assert_eq!(addressee(topic), Some(("pk", "dn")), "{topic}");
        }
        for topic in ["/pk/dn/user/get", "/sys/pk", "/sys//dn/x", "/broadcast/pk/all", "a/b/c/d"] {
            assert_eq!(addressee(topic), None, "{topic}");
        }
    }
}
