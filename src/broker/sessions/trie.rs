//! The subscriptions as a tree of topic levels: which sessions want a topic, in time that depends on
//! the topic's levels and not on the number of subscriptions.
//!
//! It delivers nothing; it is as deep as the topic limits allow, which bounds the recursion.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytestring::ByteString;
use contract::{QoS, Topic};
use smallvec::SmallVec;

use super::session::Session;
use super::subscription::{Terms, Wanted};

/// One subscription of one session.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub session: Arc<Session>,
    pub terms: Terms,
}

/// A session that gets a message, with what its matching subscriptions say together.
#[derive(Debug)]
pub(super) struct Target {
    pub session: Arc<Session>,
    pub qos: QoS,
    pub ids: SmallVec<[u32; 2]>,
    pub retain_as_published: bool,
    /// The shared subscription that chose the session.
    pub shared: Option<Arc<Wanted>>,
}

impl Target {
    /// A session that gets a message which is for it, without having asked.
    pub(super) fn without_subscription(session: Arc<Session>) -> Self {
        let ids = SmallVec::new();
        let qos = QoS::AtLeastOnce;
        Self { session, qos, ids, retain_as_published: false, shared: None }
    }
}

pub(super) type Targets = SmallVec<[Target; 4]>;

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Node, foldhash::fast::RandomState>,
    plus: Option<Box<Node>>,
    /// Subscriptions that end here.
    here: Leaf,
    /// Subscriptions that end in `#` below this node.
    rest: Leaf,
}

#[derive(Debug, Default)]
struct Leaf {
    single: Vec<Subscription>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    name: ByteString,
    /// What all members subscribed to.
    wanted: Arc<Wanted>,
    members: Vec<Subscription>,
    next: AtomicUsize,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(super) struct Trie {
    root: Node,
}

impl Trie {
    /// Adds a subscription, or replaces the one of the same session to the same filter.
    pub(super) fn insert(&mut self, wanted: &Wanted, subscription: Subscription) {
        let mut node = &mut self.root;
        let mut to_rest = false;
        for part in wanted.filter.as_str().split('/') {
            node = match part {
                "#" => {
                    to_rest = true;
                    break;
                }
                "+" => node.plus.get_or_insert_default(),
                // Looking up before inserting saves the copy of the key for known levels.
                _ if node.children.contains_key(part) => {
                    node.children.get_mut(part).expect("invariant: the line above found it")
                }
                _ => node.children.entry(part.into()).or_default(),
            };
        }
        let leaf = if to_rest { &mut node.rest } else { &mut node.here };
        let list = match &wanted.group {
            None => &mut leaf.single,
            Some(name) => leaf.group(name, wanted),
        };
        match list.iter_mut().find(|known| known.session.number == subscription.session.number) {
            Some(known) => *known = subscription,
            None => list.push(subscription),
        }
    }

    /// True when a subscription starts with that level.
    pub(super) fn is_wanted_below(&self, first: &str) -> bool {
        self.root.children.contains_key(first)
    }

    /// The member of a shared subscription whose turn it is, with the QoS that it wants.
    pub(super) fn member(&self, wanted: &Wanted) -> Option<(Arc<Session>, QoS)> {
        let mut node = &self.root;
        let mut leaf = None;
        for part in wanted.filter.as_str().split('/') {
            node = match part {
                "#" => {
                    leaf = Some(&node.rest);
                    break;
                }
                "+" => node.plus.as_deref()?,
                part => node.children.get(part)?,
            };
        }
        let groups = &leaf.unwrap_or(&node.here).groups;
        let group = groups.iter().find(|group| Some(&group.name) == wanted.group.as_ref())?;
        let chosen = group.choose(Publisher::NOBODY)?;
        Some((Arc::clone(&chosen.session), chosen.terms.qos))
    }

    /// Removes the subscription of a session to a filter, and the nodes that only it needed.
    pub(super) fn remove(&mut self, wanted: &Wanted, session: u64) {
        let mut parts = wanted.filter.as_str().split('/');
        self.root.remove(&mut parts, wanted.group.as_ref(), session);
    }

    /// The sessions that want a topic, each once (MQTT 5.0 §3.3.4): at the highest QoS of the
    /// matching subscriptions and with all their identifiers.
    pub(super) fn matches(&self, topic: &Topic, from: Publisher) -> Targets {
        let mut found = Found { from, leaves: 0, targets: Targets::new() };
        let text = topic.as_str();
        // A topic with `$` is not matched by a leading wildcard (MQTT-4.7.2-1).
        self.root.collect(Some(text), text.starts_with('$'), &mut found);
        found.merged()
    }
}

/// Whose message it is that somebody may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publisher {
    /// The number of its session.
    pub session: u64,
    /// It may get the message, too.
    pub echoes: bool,
}

impl Publisher {
    /// The daemon itself.
    pub(super) const NOBODY: Self = Self { session: 0, echoes: true };

    /// True when the message is not for its own publisher.
    fn is_deaf(self, session: &Session, no_local: bool) -> bool {
        session.number == self.session && (no_local || !self.echoes)
    }
}

/// What a look-up has found so far.
struct Found {
    from: Publisher,
    /// Lists that gave something; a session stands at most once in each.
    leaves: usize,
    targets: Targets,
}

impl Found {
    fn add(&mut self, subscription: &Subscription, shared: Option<&Arc<Wanted>>) {
        let Subscription { session, terms } = subscription;
        self.targets.push(Target {
            session: Arc::clone(session),
            qos: terms.qos,
            ids: terms.id.into_iter().collect(),
            retain_as_published: terms.retain_as_published,
            shared: shared.cloned(),
        });
    }

    fn merged(mut self) -> Targets {
        if self.leaves > 1 && self.targets.len() > 1 {
            self.targets.sort_by_key(|target| target.session.number);
            self.targets.dedup_by(|next, kept| {
                let same = next.session.number == kept.session.number;
                if same {
                    kept.qos = kept.qos.max(next.qos);
                    kept.ids.append(&mut next.ids);
                    kept.retain_as_published |= next.retain_as_published;
                    kept.shared = kept.shared.take().or(next.shared.take());
                }
                same
            });
        }
        self.targets
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.plus.is_none()
            && self.here.is_empty()
            && self.rest.is_empty()
    }

    fn remove<'a>(
        &mut self,
        parts: &mut impl Iterator<Item = &'a str>,
        group: Option<&ByteString>,
        session: u64,
    ) {
        match parts.next() {
            None => self.here.remove(group, session),
            Some("#") => self.rest.remove(group, session),
            Some("+") => {
                if let Some(child) = &mut self.plus {
                    child.remove(parts, group, session);
                    if child.is_empty() {
                        self.plus = None;
                    }
                }
            }
            Some(part) => {
                if let Some(child) = self.children.get_mut(part) {
                    child.remove(parts, group, session);
                    if child.is_empty() {
                        self.children.remove(part);
                    }
                }
            }
        }
    }

    /// `left` is the topic below this node, `None` when the topic ends here.
    fn collect(&self, left: Option<&str>, hidden: bool, found: &mut Found) {
        if !hidden {
            self.rest.collect(found);
        }
        let Some(left) = left else { return self.here.collect(found) };
        let (part, below) = match left.split_once('/') {
            Some((part, below)) => (part, Some(below)),
            None => (left, None),
        };
        if let Some(child) = self.children.get(part) {
            child.collect(below, false, found);
        }
        if let Some(child) = &self.plus
            && !hidden
        {
            child.collect(below, false, found);
        }
    }
}

impl Leaf {
    fn is_empty(&self) -> bool {
        self.single.is_empty() && self.groups.is_empty()
    }

    fn group(&mut self, name: &ByteString, wanted: &Wanted) -> &mut Vec<Subscription> {
        let at = match self.groups.iter().position(|group| group.name == *name) {
            Some(at) => at,
            None => {
                let (next, wanted) = (AtomicUsize::new(0), Arc::new(wanted.clone()));
                self.groups.push(Group { name: name.clone(), wanted, members: Vec::new(), next });
                self.groups.len() - 1
            }
        };
        &mut self.groups[at].members
    }

    fn remove(&mut self, group: Option<&ByteString>, session: u64) {
        let drop_from = |list: &mut Vec<Subscription>| {
            if let Some(at) = list.iter().position(|known| known.session.number == session) {
                list.swap_remove(at);
                list.shrink_to(list.len() * 2);
            }
        };
        match group {
            None => drop_from(&mut self.single),
            Some(name) => {
                if let Some(at) = self.groups.iter().position(|group| group.name == *name) {
                    drop_from(&mut self.groups[at].members);
                    if self.groups[at].members.is_empty() {
                        self.groups.swap_remove(at);
                    }
                }
            }
        }
    }

    fn collect(&self, found: &mut Found) {
        found.leaves += usize::from(!self.single.is_empty()) + self.groups.len();
        for subscription in &self.single {
            if !found.from.is_deaf(&subscription.session, subscription.terms.no_local) {
                found.add(subscription, None);
            }
        }
        for group in &self.groups {
            if let Some(subscription) = group.choose(found.from) {
                found.add(subscription, Some(&group.wanted));
            }
        }
    }
}

impl Group {
    /// The next member in turn that is connected; when none is, the next in turn. Not the publisher
    /// when the message is not for it.
    fn choose(&self, from: Publisher) -> Option<&Subscription> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        let turn = |step: usize| self.members.get(start.wrapping_add(step) % count.max(1));
        let mut may = (0..count).filter_map(turn).filter(|m| !from.is_deaf(&m.session, false));
        let first = may.next()?;
        Some(match first.session.is_online() {
            true => first,
            false => may.find(|member| member.session.is_online()).unwrap_or(first),
        })
    }
}
