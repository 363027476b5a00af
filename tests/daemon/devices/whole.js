// From CreateProduct to a republished message, and back to nothing, with the vendor's own clients alone:
// the API's (@alicloud/pop-core) and the devices' (alibabacloud-iot-device-sdk), unmodified.
'use strict';
const assert = require('node:assert');
const iot = require('alibabacloud-iot-device-sdk');
const { RPCClient } = require('@alicloud/pop-core');

const [mqtt, http, accessKeyId, accessKeySecret] = process.argv.slice(2);
const endpoint = `http://127.0.0.1:${http}`;
const client = new RPCClient({ accessKeyId, accessKeySecret, endpoint, apiVersion: '2018-01-20' });
const call = (action, parameters) => client.request(action, parameters, { method: 'POST' });
const once = (emitter, event) => new Promise((done) => emitter.once(event, (...what) => done(what)));

(async () => {
  const { ProductKey } = await call('CreateProduct', { ProductName: 'meters', NodeType: 0 });
  const register = async (DeviceName) => (await call('RegisterDevice', { ProductKey, DeviceName })).Data.DeviceSecret;
  const connect = (deviceName, deviceSecret) => iot.device({
    productKey: ProductKey, deviceName, deviceSecret, brokerUrl: `mqtt://127.0.0.1:${mqtt}`,
  });
  const status = async (DeviceName) => (await call('GetDeviceStatus', { ProductKey, DeviceName })).Data.Status;

  await call('CreateProductTopic', { ProductKey, TopicShortName: 'data', Operation: 'PUB' });
  await call('CreateProductTopic', { ProductKey, TopicShortName: 'alert', Operation: 'SUB' });
  const rule = { Name: 'hot_meters', ProductKey, ShortTopic: '+/data', TopicType: 1, Where: 'temperature > 38' };
  const { RuleId } = await call('CreateRule', { ...rule, Select: 'deviceName() AS device, temperature AS t' });
  const Configuration = JSON.stringify({ topic: `/${ProductKey}/display1/alert`, topicType: 1 });
  await call('CreateRuleAction', { RuleId, Type: 'REPUBLISH', Configuration });
  await call('StartRule', { RuleId });

  const display = connect('display1', await register('display1'));
  await once(display, 'connect');
  await new Promise((done) => display.subscribe(`/${ProductKey}/display1/alert`, done));
  const sender = connect('sender1', await register('sender1'));
  await once(sender, 'connect');
  assert.equal(await status('display1'), 'ONLINE');
  const alert = once(display, 'message');
  for (const temperature of [20, 39.5]) {
    sender.publish(`/${ProductKey}/sender1/data`, JSON.stringify({ temperature }), { qos: 1 });
  }
  const [topic, payload] = await alert;
  assert.equal(topic, `/${ProductKey}/display1/alert`);
  assert.deepEqual(JSON.parse(payload.toString()), { device: 'sender1', t: 39.5 });

  // A stranger is not let in; who is disabled is cut off.
  const [refused] = await once(connect('sender1', 'wrong'), 'error');
  assert.match(String(refused), /bad user ?name or password/i);
  const cut = once(sender, 'close');
  await call('DisableThing', { ProductKey, DeviceName: 'sender1' });
  await cut;
  assert.equal(await status('sender1'), 'DISABLE');

  await call('StopRule', { RuleId });
  await call('DeleteRule', { RuleId });
  await assert.rejects(call('GetRule', { RuleId }), (error) => error.code === 'iot.rule.NotFoundRule');
  for (const DeviceName of ['sender1', 'display1']) await call('DeleteDevice', { ProductKey, DeviceName });
  await call('DeleteProduct', { ProductKey });
  console.log('done');
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
