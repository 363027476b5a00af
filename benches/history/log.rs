//! A log in memory with the documents of posts.

use std::sync::{Arc, Mutex};

use connectors::contract::{Message, QoS, Topic, TopicLimits};
use tidegate::history::{End, Log, Logged, Looked, WayIn};

/// Messages of one read.
const READ: usize = 4_096;

/// The log.
#[derive(Default, Clone)]
pub struct Paper(Arc<Mutex<Vec<Message>>>);

impl Paper {
    pub fn append(&self, message: Message) {
        self.0.lock().expect("lock").push(message);
    }

    pub fn reader(&self) -> Reader {
        Reader { paper: self.clone(), position: 0 }
    }
}

/// Reads it.
pub struct Reader {
    paper: Paper,
    position: u64,
}

#[async_trait::async_trait]
impl Log for Reader {
    fn name(&self) -> &str {
        "history.1"
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn seek(&mut self, position: u64) {
        self.position = position;
    }

    fn end(&self) -> End {
        let paper = self.paper.clone();
        Arc::new(move || paper.0.lock().expect("lock").len() as u64)
    }

    fn way_in(&self) -> WayIn {
        Arc::new(|_| false)
    }

    fn read(&mut self, _: fn(&str) -> bool) -> Looked {
        let messages = self.paper.0.lock().expect("lock");
        let next = messages.iter().skip(self.position as usize).take(READ);
        let next = next.map(|message| Logged { message: message.clone(), own: false });
        let messages: Vec<_> = next.collect();
        self.position += messages.len() as u64;
        Looked { messages, lost: 0 }
    }

    async fn ready(&self) {
        std::future::pending().await
    }

    fn commit(&self, _: u64) {}

    fn is_pressed(&self) -> bool {
        false
    }
}

/// The document of a post, as rules see it.
pub fn document(pk: &str, device: usize, id: &str, values: &[(&str, (String, u64))]) -> Message {
    let items: Vec<_> = values
        .iter()
        .map(|(name, (value, time))| format!(r#""{name}":{{"value":{value},"time":{time}}}"#))
        .collect();
    let payload = format!(
        r#"{{"iotId":"{id}","productKey":"{pk}","deviceName":"dev{device}","gmtCreate":1790000000000,"deviceType":"Custom","items":{{{}}}}}"#,
        items.join(",")
    );
    let topic = format!("/{pk}/dev{device}/thing/event/property/post");
    let topic = Topic::parse(topic, TopicLimits::default()).expect("a topic");
    Message { qos: QoS::AtLeastOnce, ..Message::new(topic, payload, 1_790_000_000_000) }
}
