// Products, devices, tags and topics through @alicloud/iot20180120, which casts all answers to its
// types. A fourth argument `v2` asks for the older signature.
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

(async () => {
  const { productKey, data } = await call('createProduct', { productName: '产品_1', nodeType: 0, dataFormat: 1, id2: false });
  assert.equal(data.productKey, productKey);
  assert.equal((await call('queryProduct', { productKey })).data.deviceCount, 0);
  const list = (await call('queryProductList', { currentPage: 1, pageSize: 10 })).data;
  assert.deepEqual([list.total, list.list.productInfo[0].productKey], [1, productKey]);
  assert((await call('updateProduct', { productKey, productName: 'Meters' })).success);

  const device = (await call('registerDevice', { productKey, deviceName: 'meter1', nickname: '电表_1' })).data;
  const one = { productKey, deviceName: 'meter1' };
  assert.equal((await call('queryDeviceDetail', { iotId: device.iotId })).data.nickname, '电表_1');
  const { applyId } = (await call('batchCheckDeviceNames', { productKey, deviceName: ['meter2', 'meter3'] })).data;
  assert((await call('batchRegisterDeviceWithApplyId', { productKey, applyId })).success);
  assert.equal((await call('queryBatchRegisterDeviceStatus', { productKey, applyId })).data.status, 'CREATE_SUCCESS');
  const page = await call('queryPageByApplyId', { applyId, pageSize: 1, currentPage: 2 });
  assert.equal(page.applyDeviceList.applyDeviceInfo[0].deviceName, 'meter3');
  assert((await call('batchRegisterDevice', { productKey, count: 2 })).data.applyId > applyId);
  const devices = await call('queryDevice', { productKey, pageSize: 50 });
  assert.deepEqual([devices.total, devices.data.deviceInfo.at(-1).deviceName], [5, 'meter1']);
  assert.equal((await call('getDeviceStatus', one)).data.status, 'UNACTIVE');
  const states = await call('batchGetDeviceState', { productKey, deviceName: ['meter1', 'meter2'] });
  assert.equal(states.deviceStatusList.deviceStatus.length, 2);
  assert((await call('disableThing', one)).success && (await call('enableThing', one)).success);
  assert.equal((await call('queryDeviceStatistics', { productKey })).data.deviceCount, 5);

  assert((await call('saveDeviceProp', { ...one, props: '{"color":"red"}' })).success);
  assert.deepEqual(JSON.parse((await call('queryDeviceProp', one)).props), { color: 'red' });
  const tag = [new Iot.QueryDeviceByTagsRequestTag({ tagKey: 'color', tagValue: 'red' })];
  assert.equal((await call('queryDeviceByTags', { tag })).data.simpleDeviceInfo[0].iotId, device.iotId);
  assert((await call('deleteDeviceProp', { ...one, propKey: 'color' })).success);

  const wanted = await call('setDeviceDesiredProperty', { ...one, items: '{"Level":1}', versions: '{"Level":0}' });
  assert.deepEqual(JSON.parse(wanted.data.versions), { Level: 1 });
  const desired = (await call('queryDeviceDesiredProperty', { ...one, identifier: ['Level'] })).data.list;
  assert.deepEqual([desired.desiredPropertyInfo[0].value, desired.desiredPropertyInfo[0].version], ['1', 1]);
  const files = await call('queryDeviceFileList', { ...one, currentPage: 1, pageSize: 200 });
  assert.deepEqual([files.total, files.data.fileSummary], [0, []]);
  assert.equal((await call('deleteDeviceFile', { ...one, fileId: 'none' })).success, false);

  const { topicId } = await call('createProductTopic', { productKey, topicShortName: 'submit', operation: 'PUB' });
  const topics = (await call('queryProductTopic', { productKey })).data.productTopicInfo;
  assert.equal(topics.at(-1).id, String(topicId));
  assert((await call('updateProductTopic', { topicId: String(topicId), operation: 'ALL' })).success);
  assert((await call('deleteProductTopic', { topicId: String(topicId) })).success);
  const [srcTopic, target] = [`/${productKey}/meter1/update`, `/${productKey}/meter2/get`];
  const inactive = await call('createTopicRouteTable', { srcTopic, dstTopic: [target] });
  assert.deepEqual([inactive.success, inactive.code], [false, 'iot.device.InactiveDevice']);
  const gone = await call('deleteTopicRouteTable', { srcTopic, dstTopic: [target] });
  assert.equal(gone.isAllSucceed, false);
  assert.deepEqual(gone.failureTopics.topic, [target]);
  assert.deepEqual((await call('queryTopicRouteTable', { topic: srcTopic })).dstTopics.topic, []);

  assert((await call('deleteDevice', one)).success);
  assert.equal((await call('queryDeviceDetail', one)).code, 'iot.device.NotExistedDevice');
  assert((await call('deleteProduct', { productKey })).success);
  console.log('done');
})().catch((error) => { console.error(error); process.exit(1); });
