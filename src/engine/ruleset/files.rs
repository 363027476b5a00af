//! Rule files: how what they say comes to run in the place of what they said before.
//!
//! A rule that is wrong is refused alone. The version of it that runs goes on, if there is one: that
//! of its name, or, when its name is new to the file, that of the rule which stood in its place.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::{Entry, RuleSet, Rules, taken};
use rule::file::{self, LoadedRule, RuleFile};
use rule::{Compiler, Owner};
use yaml::problem::Problem;

/// What came of reading rule files.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Rules that are right, whether they run or are disabled.
    pub rules: usize,
    /// What is refused.
    pub refused: Vec<Refused>,
    /// Remarks on what is right.
    pub warnings: Vec<String>,
}

/// What is refused of rule files.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// The name of the rule, or its place in the file; `None` when no rule is meant.
    pub rule: Option<String>,
    /// What is wrong with it; one problem at least.
    pub problems: Vec<Problem>,
    /// What runs in its place.
    pub instead: Instead,
}

/// What runs in the place of what is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// Of a rule: nothing.
    Nothing,
    /// Of a rule: its last good version, under the name that it had, since a time in milliseconds.
    Earlier {
        /// The name.
        rule: String,
        /// When that version came to run.
        since_ms: u64,
    },
    /// Of a file that cannot be read: so many of its rules, as they were.
    File(usize),
    /// Of a key beside the rules: the rules.
    Rules,
}

impl Refused {
    /// What is wrong, a line each, and what runs.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let own = self.rule.as_deref();
        let instead = match &self.instead {
            Instead::Nothing => "the rule does not run".to_owned(),
            Instead::Earlier { rule, since_ms } => {
                let what = match own == Some(rule) {
                    true => "its last good version".to_owned(),
                    false => format!("`{rule}`, which stood in its place,"),
                };
                format!("{what} runs on, as it was read at {}", time(*since_ms))
            }
            Instead::File(0) => "none of its rules runs".to_owned(),
            Instead::File(1) => "the rule of its last good version runs on".to_owned(),
            Instead::File(rules) => format!("the {rules} rules of its last good version run on"),
            Instead::Rules => "the rules of the file run without it".to_owned(),
        };
        self.problems.iter().map(move |problem| format!("{problem}; {instead}"))
    }
}

/// A time for people.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| format!("{time:.0}"))
}

/// A rule file and what it says, or why it cannot be read.
pub(super) type ReadFile = (PathBuf, Result<RuleFile, Problem>);

/// Reads all rule files of a folder.
///
/// # Errors
/// When the folder can't be read.
pub(super) fn read_all(folder: &Path, compiler: &Compiler) -> Result<Vec<ReadFile>, Problem> {
    let paths = rule_files(folder).map_err(|error| Problem {
        file: Some(folder.to_owned()),
        ..Problem::new(format!("cannot read the folder of rules: {error}"))
    })?;
    let read = paths.into_iter().map(|path| {
        let result = file::load(&path, compiler);
        (path, result)
    });
    Ok(read.collect())
}

/// A rule of a file that can be read, in the order of the file.
struct Told {
    index: usize,
    name: Option<String>,
    /// What is wrong with it.
    problems: Vec<Problem>,
    /// The earlier version that runs in its place.
    keeps: Option<String>,
}

/// A file that can be read.
struct File {
    path: PathBuf,
    rules: Vec<Told>,
}

/// The rules of files before the change, by name; those that run on are taken out.
type Before = BTreeMap<String, Entry>;

impl RuleSet {
    /// The folder cannot be read: all its rules stay.
    pub(super) fn refuse_folder(&self, folder: &Path, problem: Problem) -> Loaded {
        let mut rules = self.lock();
        let stay = rules.by_name.values().filter(|entry| entry.file().is_some()).count();
        let refused = Refused {
            file: folder.to_owned(),
            rule: None,
            problems: vec![problem],
            instead: Instead::File(stay),
        };
        rules.refused = vec![refused.clone()];
        Loaded { refused: vec![refused], ..Loaded::default() }
    }

    /// Puts what files say in the place of what they said before. That is taken out first, so that a
    /// rule may move from one file to another; who has a name keeps it.
    pub(super) fn replace_files(&self, rules: &mut Rules, read: Vec<ReadFile>) -> Loaded {
        let all = std::mem::take(&mut rules.by_name);
        let (files, others): (Before, BTreeMap<_, _>) =
            all.into_iter().partition(|(_, entry)| entry.file().is_some());
        let mut before = files;
        rules.by_name = others;
        let mut loaded = Loaded::default();
        let (mut readable, mut good) = (Vec::new(), Vec::new());
        for (path, result) in read {
            match result {
                Ok(file) => {
                    let strange = file.strange.clone();
                    let refused = |problems| Refused {
                        file: path.clone(),
                        rule: None,
                        problems,
                        instead: Instead::Rules,
                    };
                    loaded.refused.extend((!strange.is_empty()).then(|| refused(strange)));
                    readable.push(sort_out(path, file, readable.len(), &mut good));
                }
                Err(problem) => loaded.refused.push(keep_file(rules, &mut before, path, problem)),
            }
        }
        let stood = order(&before);
        let right: HashSet<String> = good.iter().map(|(_, rule)| name_of(rule)).collect();
        let kept = std::mem::take(&mut rules.refused);
        for file in &mut readable {
            keep_by_name(rules, &mut before, file, &right, &kept);
        }
        // Who had the name comes first, then the files in their order.
        good.sort_by_key(|(file, rule)| {
            let had = before.get(&name_of(rule)).and_then(Entry::file);
            had != Some(readable[*file].path.as_path())
        });
        for (file, rule) in good {
            self.run_or_refuse(rules, &mut before, &mut readable[file], rule, &mut loaded);
        }
        for file in &mut readable {
            let stood = stood.get(&file.path).map_or(&[][..], Vec::as_slice);
            keep_by_place(rules, &mut before, file, stood);
            loaded.refused.extend(file.refused(rules));
        }
        loaded.refused.sort_by(|one, other| one.file.cmp(&other.file));
        rules.refused.clone_from(&loaded.refused);
        loaded
    }

    /// Puts a rule in the place of its earlier version, unless another has its name.
    fn run_or_refuse(
        &self,
        rules: &mut Rules,
        before: &mut Before,
        file: &mut File,
        rule: LoadedRule,
        loaded: &mut Loaded,
    ) {
        let name = name_of(&rule);
        if let Some(other) = rules.by_name.get(&name) {
            let problem = taken(&rule.compiled.rule, &other.rule);
            if let Some(told) = file.rules.iter_mut().find(|told| told.index == rule.index) {
                told.problems.push(problem);
            }
            return;
        }
        loaded.rules += 1;
        loaded.warnings.extend(rule.warnings.iter().map(ToString::to_string));
        let tests = rule.wrong_tests.iter();
        loaded
            .warnings
            .extend(tests.map(|problem| format!("{problem}; the rule runs, its test does not")));
        let entry = self.entry(rule.compiled, rule.index, before.remove(&name));
        rules.by_name.insert(name, entry);
    }
}

impl Entry {
    /// The file that it is from.
    fn file(&self) -> Option<&Path> {
        match &self.rule.owner {
            Owner::File { path, .. } => Some(path),
            Owner::Api(_) => None,
        }
    }
}

impl File {
    /// What is refused, with what runs in its place.
    fn refused(&self, rules: &Rules) -> impl Iterator<Item = Refused> {
        let wrong = self.rules.iter().filter(|told| !told.problems.is_empty());
        wrong.map(|told| {
            let kept = told.keeps.as_ref().and_then(|name| rules.by_name.get_key_value(name));
            let instead = kept.map_or(Instead::Nothing, |(name, entry)| Instead::Earlier {
                rule: name.clone(),
                since_ms: entry.since_ms,
            });
            let line = told.problems.iter().find_map(|problem| Some(problem.at?.line));
            let place = || format!("{}:{}", self.path.display(), line.unwrap_or_default());
            Refused {
                file: self.path.clone(),
                rule: Some(told.name.clone().unwrap_or_else(place)),
                problems: told.problems.clone(),
                instead,
            }
        })
    }
}

fn name_of(rule: &LoadedRule) -> String {
    rule.compiled.rule.name.clone()
}

/// Sets the right rules of a file apart, with the number of the file, and lists all of them.
fn sort_out(
    path: PathBuf,
    file: RuleFile,
    number: usize,
    good: &mut Vec<(usize, LoadedRule)>,
) -> File {
    let right = file.rules.iter().map(|rule| Told {
        index: rule.index,
        name: Some(name_of(rule)),
        problems: Vec::new(),
        keeps: None,
    });
    let wrong = file.refused.into_iter().map(|rule| Told {
        index: rule.index,
        name: rule.name,
        problems: rule.problems,
        keeps: None,
    });
    let mut rules: Vec<Told> = right.chain(wrong).collect();
    rules.sort_by_key(|told| told.index);
    good.extend(file.rules.into_iter().map(|rule| (number, rule)));
    File { path, rules }
}

/// The names of the rules of each file, in its order.
fn order(before: &Before) -> BTreeMap<PathBuf, Vec<String>> {
    let mut files: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    let mut entries: Vec<(&String, &Entry)> = before.iter().collect();
    entries.sort_by_key(|(_, entry)| entry.index);
    for (name, entry) in entries {
        let path = entry.file().unwrap_or(Path::new("")).to_owned();
        files.entry(path).or_default().push(name.clone());
    }
    files
}

/// A file that cannot be read keeps all its rules.
fn keep_file(rules: &mut Rules, before: &mut Before, path: PathBuf, problem: Problem) -> Refused {
    let (stay, others): (Before, Before) =
        std::mem::take(before).into_iter().partition(|(_, entry)| entry.file() == Some(&path));
    *before = others;
    let instead = Instead::File(stay.len());
    rules.by_name.extend(stay);
    Refused { file: path, rule: None, problems: vec![problem], instead }
}

/// Refused rules keep the version that runs under their name, unless a rule that is right has it now;
/// those that were refused before, the version that they have kept.
fn keep_by_name(
    rules: &mut Rules,
    before: &mut Before,
    file: &mut File,
    right: &HashSet<String>,
    kept: &[Refused],
) {
    let File { path, rules: told } = file;
    let own = told.iter().filter(|told| told.problems.is_empty());
    let own: HashSet<String> = own.filter_map(|told| told.name.clone()).collect();
    for told in told.iter_mut().filter(|told| !told.problems.is_empty()) {
        let Some(name) = told.name.clone().filter(|name| !own.contains(name)) else { continue };
        let had = before.get(&name).and_then(Entry::file) == Some(path.as_path());
        if had || !right.contains(&name) {
            told.keep(rules, before, &name);
        }
        let earlier = kept.iter().find_map(|one| match &one.instead {
            Instead::Earlier { rule, .. } if one.file == *path => {
                (one.rule.as_ref() == Some(&name)).then_some(rule)
            }
            _ => None,
        });
        if let Some(earlier) = earlier.filter(|rule| told.keeps.is_none() && !own.contains(*rule)) {
            told.keep(rules, before, earlier);
        }
    }
}

/// Refused rules with names that are new to their file keep the version of the rule that stood in their
/// place, when the file has that no more.
fn keep_by_place(rules: &mut Rules, before: &mut Before, file: &mut File, stood: &[String]) {
    let runs_as = |told: &Told| told.keeps.clone().or_else(|| told.name.clone());
    let named: HashSet<String> = file.rules.iter().filter_map(runs_as).collect();
    let mut next = 0;
    for told in &mut file.rules {
        let found = stood.iter().position(|name| runs_as(told).as_ref() == Some(name));
        if let Some(found) = found {
            next = found + 1;
        } else if let Some(name) = stood.get(next).filter(|name| !named.contains(*name)) {
            next += 1;
            if !told.problems.is_empty() && told.keeps.is_none() {
                told.keep(rules, before, name);
            }
        }
    }
}

impl Told {
    /// The version that runs under a name stays, from now on as what this one of the file was.
    fn keep(&mut self, rules: &mut Rules, before: &mut Before, name: &str) {
        if let Some(mut entry) = before.remove(name) {
            entry.index = self.index;
            rules.by_name.insert(name.to_owned(), entry);
            self.keeps = Some(name.to_owned());
        }
    }
}

/// The rule files of a folder, or the file itself, sorted by name.
///
/// # Errors
/// When the folder can't be read.
pub fn rule_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let is_rule = path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"));
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_rule && !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
