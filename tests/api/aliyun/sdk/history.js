// The history of a device through @alicloud/iot20180120, page after page as the guide says: all calls were
// made in one millisecond, and each page holds one.
const assert = require('node:assert');
const Iot = require('@alicloud/iot20180120');
const { Config } = require('@alicloud/openapi-client');

const [endpoint, accessKeyId, accessKeySecret, signatureAlgorithm] = process.argv.slice(2);
const client = new Iot.default(new Config({
  accessKeyId, accessKeySecret, regionId: 'cn-shanghai', endpoint, protocol: 'HTTP', signatureAlgorithm,
}));
const call = async (method, parameters) => {
  const request = Iot[`${method[0].toUpperCase()}${method.slice(1)}Request`];
  return (await client[method](new request(parameters))).body;
};
const NOW = 1551334473000;

(async () => {
  const { productKey } = await call('createProduct', { productName: 'product', nodeType: 0, dataFormat: 1 });
  const one = { productKey, deviceName: 'echo' };
  assert((await call('registerDevice', one)).success);
  const want = [0, 1, 2, 3].map((n) => `{"n":${n}}`);
  for (const args of want) {
    assert((await call('invokeThingService', { ...one, identifier: 'Set', args })).success);
  }
  const pages = async (asc) => {
    const got = [];
    for (let startTime = NOW; ;) {
      const page = await call('queryDeviceServiceData', { ...one, identifier: 'Set', startTime, endTime: NOW, pageSize: 1, asc });
      got.push(...page.data.list.serviceInfo.map((service) => service.inputData));
      if (!page.data.nextValid) return got;
      startTime = page.data.nextTime;
    }
  };
  assert.deepEqual(await pages(1), want);
  assert.deepEqual(await pages(0), [...want].reverse());
  const span = { ...one, startTime: NOW, endTime: NOW, pageSize: 50, asc: 1 };
  const many = await call('queryDevicePropertiesData', { ...span, identifier: ['Level', 'Heat'] });
  assert.deepEqual(many.propertyDataInfos.propertyDataInfo.map((info) => info.identifier), ['Level', 'Heat']);
  assert.equal((await call('queryDevicePropertyData', { ...span, identifier: 'Level' })).data.nextValid, false);
  assert.equal((await call('queryDeviceEventData', { ...span, identifier: 'hot' })).data.nextValid, false);
  console.log('done');
})().catch((error) => { console.error(error); process.exit(1); });
