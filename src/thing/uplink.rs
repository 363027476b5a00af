//! One message of a device: which documents rules get for it, and what else is to happen.
//!
//! Nothing happens here; a message may be looked at again when the engine had no room for it.

use bytes::Bytes;
use contract::{Message, Topic};

use super::alink::{
    Address, Document, NO_PARAMS, NOT_JSON, Post, Refusal, Who, event, plain_topic, properties,
    rewritten,
};
use super::gateway::{DOCUMENTS_MAX, Gateway, Named, Reader};
use super::{Things, files, gateway, reply};

/// What happens once the engine has taken a message.
#[derive(Debug)]
pub(super) enum Effect {
    /// The device is answered.
    Reply(Message),
    /// Somebody may wait for this.
    Answer {
        /// Of the call.
        id: u64,
        /// Where it came.
        topic: Topic,
        /// What the device says.
        payload: Bytes,
    },
    /// It needs the database.
    Later(Message),
    /// It is about a file; who sent it waits until that is done.
    File(Message),
}

/// The source whose messages are from devices; those that rules publish are not.
const FROM_DEVICES: &str = "mqtt";

/// Where the messages and effects of one message go.
pub(super) struct Uplink<'t> {
    things: &'t Things,
    out: &'t mut Vec<Message>,
    effects: &'t mut Vec<Effect>,
}

impl<'t> Uplink<'t> {
    pub(super) fn new(
        things: &'t Things,
        out: &'t mut Vec<Message>,
        effects: &'t mut Vec<Effect>,
    ) -> Self {
        Self { things, out, effects }
    }

    /// Takes a message of the device protocols.
    pub(super) fn take(mut self, message: &Message) {
        let text = message.topic.as_str();
        if let Some(address) = Address::below("/sys/", text) {
            return self.system(message, address);
        }
        if let Some(address) = Address::below("$sys/", text) {
            return self.onejson(message, address);
        }
        if from_device(message) {
            if let Some(rest) = text.strip_prefix("/ext/rrpc/") {
                let id = rest.split_once('/').and_then(|(id, _)| id.parse().ok());
                self.answer(message, id);
            } else if text.starts_with("/shadow/") || is_session(text) {
                self.effects.push(Effect::Later(message.clone()));
            }
        }
        self.out.push(message.clone());
    }

    fn system(&mut self, message: &Message, address: Address<'_>) {
        let tail = address.tail;
        if let Some(id) = tail.strip_prefix("rrpc/response/") {
            if from_device(message) {
                self.answer(message, id.parse().ok());
            }
            return self.out.push(message.clone());
        }
        if from_device(message) && is_about_files(tail) {
            // No rule gets them: their bytes would fill the log.
            return self.effects.push(Effect::File(message.clone()));
        }
        match tail {
            "thing/event/property/history/post" => {
                return self.many(message, address, gateway::history);
            }
            "thing/event/property/pack/post" => {
                return self.many(message, address, gateway::pack);
            }
            "thing/list/found" => return self.found(message, address),
            "thing/deviceinfo/update"
            | "thing/deviceinfo/delete"
            | "thing/property/desired/get"
            | "thing/property/desired/delete"
            | "thing/sub/register"
            | "thing/topo/add"
            | "thing/topo/delete"
            | "thing/topo/get" => {
                if from_device(message) {
                    self.effects.push(Effect::Later(message.clone()));
                }
                return self.out.push(message.clone());
            }
            _ => {}
        }
        let posted = tail.strip_prefix("thing/event/").and_then(|rest| rest.strip_suffix("/post"));
        if let Some(event) = posted.filter(|event| !event.is_empty() && !event.contains('/')) {
            return self.post(message, address, event);
        }
        let asked = tail.strip_suffix("_reply").filter(|asked| {
            asked.starts_with("thing/service/") || *asked == "thing/topo/add/notify"
        });
        match asked {
            Some(_) => self.downlink_reply(message, address, "_reply"),
            None => self.out.push(message.clone()),
        }
    }

    /// Another vendor's device protocol: only its answers to calls.
    fn onejson(&mut self, message: &Message, address: Address<'_>) {
        let tail = address.tail;
        if !(tail.starts_with("thing/service/") && tail.ends_with("/invoke_reply")) {
            return self.out.push(message.clone());
        }
        let id = reply::id_in(&message.payload).filter(|_| from_device(message));
        match id.filter(|id| self.things.calls().is_due(*id, &message.topic)) {
            Some(id) => {
                self.answer(message, Some(id));
                self.out.push(message.clone());
            }
            None => self.downlink_reply(message, address, "_reply"),
        }
    }

    fn answer(&mut self, message: &Message, id: Option<u64>) {
        // What has no number of ours is an answer to nobody: 0 is never given to a call.
        let (topic, payload) = (message.topic.clone(), message.payload.clone());
        self.effects.push(Effect::Answer { id: id.unwrap_or(0), topic, payload });
    }

    /// An answer that nobody waits for tells rules what became of the request.
    fn downlink_reply(&mut self, message: &Message, address: Address<'_>, suffix: &str) {
        let who = self.things.who(address.product_key, address.device_name);
        let asked = message.topic.as_str();
        let asked = asked.strip_suffix(suffix).unwrap_or(asked);
        let told = reply::of_device(&who, &message.payload, asked, message.received_ms);
        self.out.push(match told {
            Some((topic, payload)) => Message { topic, payload: payload.into(), ..message.clone() },
            None => message.clone(),
        });
    }

    fn post(&mut self, message: &Message, address: Address<'_>, event_name: &str) {
        let who = self.things.who(address.product_key, address.device_name);
        let post = Post::parse(&message.payload);
        let made = document(&who, post.as_ref(), event_name, message.received_ms);
        if let Ok(Document { values, .. }) = &made
            && !values.is_empty()
        {
            self.things.keep(address, values);
        }
        let result = made.as_ref().map(|_| "{}").map_err(|refusal| *refusal);
        self.reply(message, address, post.as_ref(), result);
        let payload = match made {
            Ok(document) => document.payload.into(),
            // Rules see what can't be read as it was sent.
            Err(_) => message.payload.clone(),
        };
        let topic = plain_topic(reply::rule_topic(&address)).unwrap_or(message.topic.clone());
        self.out.push(Message { topic, payload, ..message.clone() });
    }

    fn reply(
        &mut self,
        message: &Message,
        address: Address<'_>,
        post: Option<&Post<'_>>,
        result: Result<&str, Refusal>,
    ) {
        if from_device(message) && post.is_none_or(Post::wants_reply) {
            let now_ms = message.received_ms;
            let reply = reply::answer(post, &message.topic, address.tail, result, now_ms);
            self.effects.extend(reply.map(Effect::Reply));
        }
    }

    /// A post that becomes several documents, or none when anything about it is wrong.
    fn many(&mut self, message: &Message, address: Address<'_>, reader: Reader) {
        let post = Post::parse(&message.payload);
        let made = match &post {
            None => Err(NOT_JSON),
            Some(post) => post
                .params
                .ok_or(NO_PARAMS)
                .and_then(|params| Gateway::read(self.things, message, address, params, reader)),
        };
        let result = made.as_ref().map(|_| "{}").map_err(|refusal| *refusal);
        self.reply(message, address, post.as_ref(), result);
        match made {
            Ok(made) if !made.is_empty() => self.out.extend(made),
            _ => self.out.push(message.clone()),
        }
    }

    /// What a gateway has found around it.
    fn found(&mut self, message: &Message, address: Address<'_>) {
        let post = Post::parse(&message.payload);
        let devices: Option<Vec<Named>> = post
            .as_ref()
            .and_then(|post| serde_json::from_str(post.params?.get()).ok())
            .filter(|found: &Vec<Named>| found.len() <= DOCUMENTS_MAX);
        let result = match (&post, &devices) {
            (None, _) => Err(NOT_JSON),
            (_, None) => Err(NO_PARAMS),
            _ => Ok("{}"),
        };
        self.reply(message, address, post.as_ref(), result);
        let Some(devices) = devices else { return self.out.push(message.clone()) };
        let devices = devices.iter().map(|Named { product_key, device_name }| {
            let who = self.things.who(product_key, device_name);
            (who.iot_id.into_owned(), product_key.as_str(), device_name.as_str())
        });
        let payload = self.things.gateway_document(address, None, &reply::devices(devices));
        let topic = reply::rule_topic(&address);
        self.out.push(rewritten(message, topic, payload).unwrap_or_else(|| message.clone()));
    }
}

/// True for what devices say to send a file, but not for what they are answered.
fn is_about_files(tail: &str) -> bool {
    tail.strip_prefix(files::TAIL).is_some_and(|what| matches!(what, "init" | "send" | "cancel"))
}

/// What gateways ask for on behalf of their sub-devices; answers are not among it.
fn is_session(topic: &str) -> bool {
    topic.starts_with("/ext/session/") && !topic.ends_with("_reply")
}

fn from_device(message: &Message) -> bool {
    message.hops == 0 && message.origin.source.as_deref() == Some(FROM_DEVICES)
}

/// The document of one post.
fn document<'a>(
    who: &Who<'_>,
    post: Option<&Post<'a>>,
    event_name: &str,
    now_ms: u64,
) -> Result<Document<'a>, Refusal> {
    let params = post.ok_or(NOT_JSON)?.params.ok_or(NO_PARAMS)?;
    match event_name {
        "property" => properties(who, params, now_ms),
        name => {
            event(who, name, params, now_ms).map(|payload| Document { payload, values: Vec::new() })
        }
    }
}

/// The document of a post from a device of which nothing is known; `None` when it is no post.
pub(super) fn plain_document(message: &Message) -> Option<Message> {
    let address = Address::below("/sys/", message.topic.as_str())?;
    let event_name = address.tail.strip_prefix("thing/event/")?.strip_suffix("/post")?;
    if event_name.is_empty() || event_name.contains('/') {
        return None;
    }
    let who = Who::stranger(address.product_key, address.device_name);
    let post = Post::parse(&message.payload);
    let made = document(&who, post.as_ref(), event_name, message.received_ms);
    let topic = plain_topic(reply::rule_topic(&address))?;
    let payload = made.map_or(message.payload.clone(), |made| made.payload.into());
    Some(Message { topic, payload, ..message.clone() })
}
