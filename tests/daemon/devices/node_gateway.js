// A gateway with one sub-device: the vendor's own Node client, unmodified. Tells what happens as JSON lines.
'use strict';
const iot = require('alibabacloud-iot-device-sdk');

const [host, port, productKey, deviceName, deviceSecret, subKey, subName, subSecret] =
  process.argv.slice(2);
const tell = (...what) => console.log(JSON.stringify(what));
const gateway = iot.gateway({
  productKey, deviceName, deviceSecret, brokerUrl: `mqtt://${host}:${port}`,
});
const triple = () => ({ productKey: subKey, deviceName: subName, deviceSecret: subSecret });
const named = { productKey: subKey, deviceName: subName };

function login() {
  const sub = gateway.login(triple(), (res) => tell('login', res.code, [res.data]));
  sub.on('error', () => {});
  sub.on('connect', () => {
    sub.postProps({ Level: 7 }, (res) => tell('posted', res.code));
    sub.onProps((res) => {
      sub.publish(`/sys/${subKey}/${subName}/thing/service/property/set_reply`,
        JSON.stringify({ id: res.id, code: 200, data: {} }));
      tell('set', res.params);
    });
    sub.onService('Blink', (res, reply) => {
      reply({ id: res.id, code: 200, data: res.params }, 'sync');
      tell('service', res.params);
    });
  });
}

let connected = false;
gateway.on('connect', () => {
  if (connected) return;
  connected = true;
  tell('enabled');
  gateway.addTopo([triple()], (res) => {
    tell('added', res.code);
    gateway.getTopo((listed) => {
      tell('listed', listed.data);
      login();
    });
  });
});
gateway.on('message', (topic, payload) => {
  if (topic.startsWith('/ext/error/')) tell('error', JSON.parse(payload.toString()).code);
  if (topic.endsWith('/thing/topo/change')) {
    const { status, subList } = JSON.parse(payload.toString()).params;
    tell('changed', status, subList);
    if (status === 8) tell('disabled');
    if (status === 2) login();
  }
});
// One line: it logs the sub-device out and gives it away. The end: nobody wants it any more.
process.stdin.once('data', () => {
  gateway.logout(named, (res) => {
    tell('logout', res.code);
    gateway.removeTopo([named], (gone) => tell('removed', gone.code));
  });
});
process.stdin.on('end', () => process.exit(0));
