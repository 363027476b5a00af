"""Eclipse Paho (PyPI paho-mqtt) against the broker at host, port: both versions, the usual features."""

import queue
import sys

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

HOST, PORT = sys.argv[1], int(sys.argv[2])
WAIT_S = 20


class Client:
    # What came to any of them, without the mark of a repetition.
    seen = set()

    def __init__(self, client_id, version, clean=True, will=None):
        arguments = {} if version == paho.MQTTv5 else {"clean_session": clean}
        self.paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, **arguments
        )
        self.connected, self.messages, self.granted = queue.Queue(), queue.Queue(), queue.Queue()
        self.paho.on_connect = lambda c, u, flags, reason, p: self.connected.put((flags, reason))
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda c, u, mid, reasons, p: self.granted.put(reasons)
        if will:
            self.paho.will_set(*will)
        arguments = {}
        if version == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else 600
            arguments = {"clean_start": clean, "properties": properties}
        self.paho.connect(HOST, PORT, keepalive=30, **arguments)
        self.paho.loop_start()
        self.flags, reason = self.connected.get(timeout=WAIT_S)
        assert not reason.is_failure, reason

    def subscribe(self, topic, qos):
        self.paho.subscribe(topic, qos)
        return [reason.value for reason in self.granted.get(timeout=WAIT_S)]

    def publish(self, topic, payload, qos, retain=False, properties=None):
        sent = self.paho.publish(topic, payload, qos, retain, properties)
        sent.wait_for_publish(WAIT_S)
        assert sent.is_published()

    def next(self):
        while True:
            message = self.messages.get(timeout=WAIT_S)
            got = message.topic, message.payload.decode(), message.qos, bool(message.retain)
            # A session that moves before the broker has read the last PUBACK gets that message again.
            if not (message.dup and got in Client.seen):
                Client.seen.add(got)
                return got

    def end(self):
        self.paho.disconnect()
        self.paho.loop_stop()


def check(got, expected):
    assert got == expected, f"{got} is not {expected}"


def run(version):
    publisher = Client("paho-p", version)
    subscriber = Client("paho-s", version, clean=False)
    check(subscriber.flags.session_present, False)
    check(subscriber.subscribe([("车间/+/温度", 2), ("two", 1)], 0), [2, 1])
    for number in range(20):
        publisher.publish("车间/1/温度", str(number), number % 3)
    # In order for each QoS: a client hands a message of QoS 2 on when it is released.
    got = [subscriber.next() for _ in range(20)]
    for qos in range(3):
        want = [("车间/1/温度", str(n), qos, False) for n in range(20) if n % 3 == qos]
        check([message for message in got if message[2] == qos], want)

    publisher.publish("kept", "last", 1, retain=True)
    check(subscriber.subscribe("kept", 1), [1])
    check(subscriber.next(), ("kept", "last", 1, True))
    publisher.publish("kept", "", 1, retain=True)
    check(subscriber.next()[1], "")

    subscriber.end()
    publisher.publish("two", "waited", 1)
    subscriber = Client("paho-s", version, clean=False)
    check(subscriber.flags.session_present, True)
    check(subscriber.next(), ("two", "waited", 1, False))

    lost = Client("paho-lost", version, will=("two", "lost", 1, False))
    lost.paho.loop_stop()
    lost.paho.socket().close()
    check(subscriber.next(), ("two", "lost", 1, False))

    if version == paho.MQTTv5:
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("unit", "°C"), ("unit", "K")]
        properties.ContentType = "text/plain"
        publisher.publish("two", "x", 1, properties=properties)
        got = subscriber.messages.get(timeout=WAIT_S).properties
        check(got.UserProperty, [("unit", "°C"), ("unit", "K")])
        check(got.ContentType, "text/plain")
    subscriber.end()
    Client("paho-s", version).end()
    publisher.end()


for protocol in (paho.MQTTv311, paho.MQTTv5):
    run(protocol)
print("ok")
