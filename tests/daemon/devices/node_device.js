// A device: the vendor's own Node client, unmodified. Tells what happens as JSON lines.
'use strict';
const iot = require('alibabacloud-iot-device-sdk');

const [host, port, productKey, deviceName, deviceSecret] = process.argv.slice(2);
const tell = (...what) => console.log(JSON.stringify(what));
const device = iot.device({
  productKey, deviceName, deviceSecret, brokerUrl: `mqtt://${host}:${port}`,
});

device.on('connect', () => {
  tell('enabled');
  device.postProps({ Level: 7 }, (res) => tell('posted', res.code, res.message));
  device.postEvent('Alarm', { level: 3 }, (res) => tell('event', 'Alarm', res.code));
  device.postShadow({ color: 'red' });
});
device.onProps((res) => tell('set', res.params));
device.onShadow((res) => tell('shadow', res));
device.onService('Blink', (res, reply) => {
  reply({ id: res.id, code: 200, data: res.params }, 'sync');
  tell('service', 'Blink', res.params);
});
device.onService('Later', (res, reply) => {
  reply({ id: res.id, code: 200, data: res.params }, 'async');
  tell('service', 'Later', res.params);
});
device.on('message', (topic, payload) => {
  const text = payload.toString();
  if (topic.includes('/rrpc/request/') && !text.startsWith('{')) {
    device.publish(topic.replace('/request/', '/response/'), text.split('').reverse().join(''));
    tell('message', topic.slice(0, topic.lastIndexOf('/')));
  }
});
// Ends when nobody wants it any more.
process.stdin.on('end', () => process.exit(0)).resume();
