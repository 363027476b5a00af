// The vendor's Node client @alicloud/iot20180120, told what to call on standard input: see
// tests/api/aliyun/drive.rs. `node drive.js tea KEY SECRET`

const readline = require('readline');
const { Config } = require('@alicloud/openapi-client');
const iot = require('@alicloud/iot20180120');

const [, accessKeyId, accessKeySecret] = process.argv.slice(2);

/** The client has no way to say what is asked. */
class Unfit extends Error {}

// `Tag.1.TagKey` as a list of objects, `DeviceName.1` as a list.
function nested(flat) {
  const whole = {};
  for (const [name, value] of Object.entries(flat)) {
    const [first, place, field] = name.split('.');
    if (place === undefined) {
      whole[first] = value;
      continue;
    }
    const list = (whole[first] ||= []);
    if (field === undefined) list[place - 1] = value;
    else (list[place - 1] ||= {})[field] = value;
  }
  for (const [name, list] of Object.entries(whole)) {
    if (Array.isArray(list) && list.includes(undefined)) throw new Unfit(`${name} has gaps`);
  }
  return whole;
}

// A model of the client from names of the wire.
function made(type, map) {
  const names = Object.fromEntries(Object.entries(type.names()).map(([own, wire]) => [wire, own]));
  const types = type.types();
  const fields = {};
  for (const [wire, value] of Object.entries(map)) {
    const own = names[wire];
    if (own === undefined) throw new Unfit(`${type.name} has no ${wire}`);
    const of = types[own];
    if ((of.type === 'array') !== Array.isArray(value)) throw new Unfit(`${wire} is no list`);
    if (Array.isArray(value) && typeof of.itemType === 'function') {
      fields[own] = value.map((one) => made(of.itemType, one));
    } else {
      fields[own] = value;
    }
  }
  return new type(fields);
}

async function call(endpoint, action, parameters) {
  const client = new iot.default(
    new Config({ accessKeyId, accessKeySecret, regionId: 'cn-shanghai', endpoint, protocol: 'HTTP' }));
  const type = iot[`${action}Request`];
  if (type === undefined) throw new Unfit(action);
  const method = action[0].toLowerCase() + action.slice(1);
  const response = await client[method](made(type, nested(parameters)));
  return response.body.toMap();
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { address, action, parameters } = JSON.parse(line);
    const told = await call(address, action, parameters).then(
      (answer) => ({ answer }),
      (error) => (error instanceof Unfit ? { unfit: error.message } : { refused: error.code || String(error) }));
    console.log(JSON.stringify(told));
  }
})();
