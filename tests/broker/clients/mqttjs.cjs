// MQTT.js (npm mqtt) against the broker at a URL: all versions, the usual features, topic aliases.
// The folder node_modules is in TIDEGATE_TEST_NODE_MODULES.
const assert = require("node:assert");
const path = require("node:path");
const mqtt = require(path.join(process.env.TIDEGATE_TEST_NODE_MODULES, "mqtt"));

const url = process.argv[2];

async function connect(options) {
  const protocolId = options.protocolVersion === 3 ? "MQIsdp" : "MQTT";
  const client = mqtt.connect(url, { reconnectPeriod: 0, protocolId, ...options });
  const inbox = [];
  const waiting = [];
  client.on("message", (topic, payload, packet) => {
    const message = { topic, payload: payload.toString(), qos: packet.qos, packet };
    waiting.length ? waiting.shift()(message) : inbox.push(message);
  });
  client.next = () =>
    inbox.length ? Promise.resolve(inbox.shift()) : new Promise((done) => waiting.push(done));
  const connack = await new Promise((done, fail) => {
    client.once("connect", done);
    client.once("error", fail);
  });
  client.sessionPresent = connack.sessionPresent;
  return client;
}

async function run(protocolVersion) {
  const kept = { protocolVersion, clean: false, clientId: "js-s" };
  if (protocolVersion === 5) kept.properties = { sessionExpiryInterval: 600 };
  const publisher = await connect({ protocolVersion, clientId: "js-p" });
  let subscriber = await connect(kept);
  assert.equal(subscriber.sessionPresent, false);
  const granted = await subscriber.subscribeAsync({ "车间/#": { qos: 2 } });
  assert.equal(granted[0].qos, 2);
  for (let n = 0; n < 100; n++) await publisher.publishAsync("车间/1", `${n}`, { qos: n % 3 });
  // Order holds within a QoS: this client hands on what has QoS 2 only when it is released.
  const came = [[], [], []];
  for (let n = 0; n < 100; n++) {
    const got = await subscriber.next();
    assert.equal(got.topic, "车间/1");
    came[got.qos].push(Number(got.payload));
  }
  for (const qos of [0, 1, 2]) {
    const sent = [...Array(100).keys()].filter((n) => n % 3 === qos);
    assert.deepEqual(came[qos], sent);
  }

  await publisher.publishAsync("kept", "last", { qos: 1, retain: true });
  await subscriber.subscribeAsync("kept", { qos: 1 });
  const retained = await subscriber.next();
  assert.deepEqual([retained.payload, retained.packet.retain], ["last", true]);
  await publisher.publishAsync("kept", "", { qos: 1, retain: true });
  assert.equal((await subscriber.next()).payload, "");

  await subscriber.endAsync();
  await publisher.publishAsync("车间/1", "waited", { qos: 1 });
  subscriber = await connect(kept);
  // MQTT 3.1 does not say that it has kept the session.
  assert.equal(subscriber.sessionPresent, protocolVersion !== 3);
  assert.equal((await subscriber.next()).payload, "waited");

  const will = { topic: "车间/lost", payload: "lost", qos: 1 };
  const lost = await connect({ protocolVersion, clientId: "js-lost", will });
  lost.stream.destroy();
  assert.equal((await subscriber.next()).payload, "lost");

  if (protocolVersion === 5) {
    const properties = { userProperties: { unit: "°C" }, contentType: "text/plain" };
    await publisher.publishAsync("车间/1", "x", { qos: 1, properties });
    const got = (await subscriber.next()).packet.properties;
    assert.equal(got.userProperties.unit, "°C");
    assert.equal(got.contentType, "text/plain");
  }
  await subscriber.endAsync();
  await (await connect({ protocolVersion, clientId: "js-s", clean: true })).endAsync();
  await publisher.endAsync();
}

// Both sides send a topic once and its alias from then on.
async function aliases() {
  const takes = { protocolVersion: 5, clientId: "js-a", properties: { topicAliasMaximum: 4 } };
  const subscriber = await connect(takes);
  const publisher = await connect({ protocolVersion: 5, clientId: "js-b", autoAssignTopicAlias: true });
  await subscriber.subscribeAsync("floor/#", { qos: 1 });
  let aliased = 0;
  for (let n = 0; n < 100; n++) {
    const topic = `floor/${n % 7}/温度`;
    await publisher.publishAsync(topic, `${n}`, { qos: n % 2 });
    const got = await subscriber.next();
    assert.deepEqual([got.topic, got.payload], [topic, `${n}`]);
    aliased += got.packet.properties?.topicAlias ? 1 : 0;
  }
  assert(aliased > 40, `${aliased}`);
  await subscriber.endAsync();
  await publisher.endAsync();
}

(async () => {
  for (const protocolVersion of [3, 4, 5]) await run(protocolVersion);
  await aliases();
  console.log("ok");
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
