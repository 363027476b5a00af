//! The wings of the large rooms: which folder of a room may use which, and no circles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;

use super::{Source, complain, crates_used, product, sources};

/// A wing of a room and the wings that it may use, all of which stand above it: so there is no circle.
type Wing = (&'static str, &'static [&'static str]);

/// The rooms of `src` that have wings. A wing is a folder or a file of the room; `mod.rs` is the door,
/// which says what others may use and may know all wings. A wing may be a room itself.
const ROOMS: &[(&str, &[Wing])] = &[
    (
        "api",
        &[
            ("access", &[]),
            ("state", &["access"]),
            ("exchange", &["access", "state"]),
            ("aliyun", &["access", "state", "exchange"]),
            ("tencent", &["access", "state", "exchange"]),
            ("onenet", &["state", "exchange"]),
            ("http", &["state", "exchange", "aliyun", "tencent", "onenet"]),
        ],
    ),
    (
        "api/aliyun",
        &[
            ("wire", &[]),
            ("operation", &["wire"]),
            ("rules", &["wire", "operation"]),
            ("registry", &["wire", "operation"]),
            ("things", &["wire", "operation"]),
            ("table", &["operation", "rules", "registry", "things"]),
            ("known", &[]),
            ("rpc", &["wire", "operation", "table"]),
        ],
    ),
    (
        "broker",
        &[
            ("codec", &[]),
            ("client", &["codec"]),
            ("limits", &[]),
            ("counters", &[]),
            ("recent", &[]),
            ("sub_devices", &[]),
            ("hooks", &["codec", "sub_devices"]),
            ("access", &["codec", "sub_devices", "hooks", "recent"]),
            ("sessions", &["codec", "limits", "counters", "hooks"]),
            ("durability", &["codec", "counters", "sessions"]),
            ("sys", &["counters", "sessions"]),
            ("connections", &["codec", "limits", "counters", "recent", "hooks", "sessions", "sys"]),
            ("handle", &["codec", "counters", "hooks", "sessions", "durability", "connections"]),
            (
                "server",
                &[
                    "codec",
                    "limits",
                    "counters",
                    "hooks",
                    "sessions",
                    "durability",
                    "sys",
                    "connections",
                    "handle",
                ],
            ),
            ("route_table", &["sessions", "handle"]),
        ],
    ),
    (
        "engine",
        &[
            ("metrics", &[]),
            ("atomic_file", &[]),
            ("watch", &["atomic_file"]),
            ("spool", &[]),
            ("dead", &[]),
            ("storage", &["atomic_file", "watch", "spool", "dead"]),
            ("delivery", &["watch", "spool", "dead", "storage"]),
            ("dispatch", &["watch", "spool", "storage", "delivery"]),
            ("ruleset", &["spool", "dead", "storage", "delivery", "dispatch"]),
        ],
    ),
];

/// The rooms of these whose files form no circle within their wings either.
const STRAIGHT: &[&str] = &["broker"];

/// The module that a file is, from `src`.
fn module_of(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let mut module: Vec<String> =
        path.iter().skip(1).map(|part| part.to_string_lossy().into_owned()).collect();
    module.pop_if(|last| *last == "mod");
    module
}

/// The crate that a module is in, from `src`: a room with a `Cargo.toml`, or the daemon.
fn crate_of<'a>(module: &[&'a str]) -> Vec<&'a str> {
    let room = module.first().copied();
    room.filter(|room| crates_used(room).is_some()).into_iter().collect()
}

/// The paths, from `src`, that the code of a file names: `use super::{a, b::C}` gives two.
fn paths(source: &Source) -> Vec<Vec<String>> {
    let words = Regex::new(r"[A-Za-z0-9_]+|::|//.*|[{},*]").expect("a pattern");
    let code: Vec<&str> =
        words.find_iter(product(&source.text)).map(|word| word.as_str()).collect();
    let code: Vec<&str> = code.into_iter().filter(|word| !word.starts_with("//")).collect();
    let module = module_of(&source.path);
    let module: Vec<&str> = module.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    let mut rest = code.as_slice();
    while let [word, tail @ ..] = rest {
        rest = tail;
        let mut base = if *word == "crate" { crate_of(&module) } else { module.clone() };
        if !["crate", "super"].contains(word) || tail.first() != Some(&"::") {
            continue;
        }
        if *word == "super" {
            base.pop();
        }
        rest = tail.get(1..).unwrap_or_default();
        while let ["super", "::", below @ ..] = rest {
            base.pop();
            rest = below;
        }
        rest = expand(&base, rest, &mut found);
    }
    found
}

/// Adds the paths that begin here below a base, groups in braces taken apart; the words that follow.
fn expand<'a>(
    base: &[&'a str],
    mut rest: &'a [&'a str],
    found: &mut Vec<Vec<String>>,
) -> &'a [&'a str] {
    let mut path = base.to_vec();
    loop {
        match rest {
            ["{", tail @ ..] => {
                rest = tail;
                while !matches!(rest, [] | ["}", ..]) {
                    rest = match rest {
                        [",", tail @ ..] => tail,
                        list => expand(&path, list, found),
                    };
                }
                return rest.get(1..).unwrap_or_default();
            }
            [name, "::", tail @ ..] => {
                path.push(name);
                rest = tail;
            }
            [name, tail @ ..] => {
                path.push(name);
                found.push(path.iter().map(|part| (*part).to_owned()).collect());
                return tail;
            }
            [] => return rest,
        }
    }
}

/// The wing of a room that a file belongs to; `None` for the door.
fn wing_of(room: &str, path: &Path) -> Option<String> {
    let below = path.strip_prefix(Path::new("src").join(room)).ok()?;
    let first = below.iter().next()?.to_string_lossy();
    let name = first.trim_end_matches(".rs");
    (name != "mod").then(|| name.to_owned())
}

/// What is wrong with a table of wings, and with the files of its room.
fn crossings(room: &str, wings: &[Wing], files: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, (name, may)) in wings.iter().enumerate() {
        let above: Vec<&str> = wings[..at].iter().map(|(name, _)| *name).collect();
        for used in may.iter().filter(|used| !above.contains(used)) {
            findings.push(format!("{room}: `{name}` may use `{used}`, which is not above it"));
        }
    }
    let names: Vec<&str> = room.split('/').collect();
    for source in files {
        let Some(own) = wing_of(room, &source.path) else { continue };
        let file = source.path.display();
        let Some((_, may)) = wings.iter().find(|(name, _)| *name == own) else {
            findings.push(format!("{file}: `{own}` is no wing of tests/tidy/wings.rs"));
            continue;
        };
        for path in paths(source) {
            let Some((within, [used, ..])) = path.split_at_checked(names.len()) else { continue };
            if within != names || *used == own {
                continue;
            }
            if !wings.iter().any(|(name, _)| name == used) {
                let path = path.join("::");
                findings.push(format!("{file}: `{path}`: name it in the wing where it lives"));
            } else if !may.contains(&used.as_str()) {
                findings.push(format!("{file}: `{own}` may not use `{used}`"));
            }
        }
    }
    findings
}

#[test]
fn wings_use_each_other_one_way() {
    let findings: Vec<String> = ROOMS
        .iter()
        .flat_map(|(room, wings)| crossings(room, wings, &sources(&[&format!("src/{room}")])))
        .collect();
    complain(&findings);
}

#[test]
fn crossings_are_found() {
    let wings: &[Wing] = &[("low", &[]), ("early", &["late"]), ("late", &["low"])];
    let file = |path: &str, text: &str| Source { path: path.into(), text: text.to_owned() };
    let files = [
        file("src/hall/room/mod.rs", "pub use late::x;"),
        file("src/hall/room/low.rs", "use crate::hall::room::late::x;\nuse crate::hall::other::y;"),
        file("src/hall/room/late/x.rs", "use super::super::low::a;\nuse super::super::thing;"),
        file("src/hall/room/new.rs", "use super::low::a;"),
    ];
    let wanted = [
        "hall/room: `early` may use `late`, which is not above it",
        "src/hall/room/low.rs: `low` may not use `late`",
        "src/hall/room/late/x.rs: `hall::room::thing`: name it in the wing where it lives",
        "src/hall/room/new.rs: `new` is no wing of tests/tidy/wings.rs",
    ];
    assert_eq!(crossings("hall/room", wings, &files), wanted);
}

#[test]
fn files_use_each_other_one_way() {
    for room in STRAIGHT {
        let sources = sources(&[&format!("src/{room}")]);
        let modules: BTreeSet<Vec<String>> =
            sources.iter().map(|source| module_of(&source.path)).collect();
        // What a path names is in the module that its longest beginning is.
        let file_of = |path: &Vec<String>| {
            let mut parts = (1..=path.len()).rev().map(|len| path[..len].to_vec());
            parts.find(|part| modules.contains(part))
        };
        let mut left: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
        for source in &sources {
            let own = module_of(&source.path);
            let paths = paths(source);
            let used = paths.iter().filter_map(file_of);
            left.insert(own.clone(), used.filter(|used| *used != own).collect());
        }
        // Files that use none of the others, and then those that use these, are in no circle.
        while let Some(done) = left
            .iter()
            .find(|(_, used)| used.iter().all(|used| !left.contains_key(used)))
            .map(|(module, _)| module.clone())
        {
            left.remove(&done);
        }
        let files = left.keys().map(|module| module.join("::"));
        let findings: Vec<String> =
            files.map(|file| format!("{file}: it is in a circle of files, or uses one")).collect();
        complain(&findings);
    }
}

/// The checks above find what they are there for.
#[test]
fn paths_are_found_in_groups_and_chains() {
    let text = "//! A file.\n\nuse super::{a, b::{C, d::E}};\nuse crate::room::x::Y;\n\
                fn f() { super::super::g::h(); } // super::no\n#[cfg(test)]\nmod other;\n\
                use super::i;\n#[cfg(test)]\nmod tests { use super::t; }\n";
    let path = Path::new("src").join("room/wing/file.rs");
    let found: Vec<String> =
        paths(&Source { path, text: text.to_owned() }).iter().map(|path| path.join("::")).collect();
    let wanted = [
        "room::wing::a",
        "room::wing::b::C",
        "room::wing::b::d::E",
        "room::x::Y",
        "room::g::h",
        "room::wing::i",
    ];
    assert_eq!(found, wanted);
    let rooms =
        ROOMS.iter().map(|(room, _)| Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room));
    for room in rooms {
        assert!(fs::metadata(&room).is_ok_and(|found| found.is_dir()), "{}", room.display());
    }
}
