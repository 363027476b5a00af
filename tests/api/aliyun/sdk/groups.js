// Tags of products, groups of devices and LoRaWAN nodes through @alicloud/iot20180120, which casts all
// answers to its types. A fourth argument `v2` asks for the older signature.
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
  const { productKey } = await call('createProduct', { productName: 'Meters', nodeType: 0 });
  const one = { productKey, deviceName: 'meter1' };
  assert((await call('registerDevice', one)).success);

  const tag = (tagKey, tagValue) => [{ tagKey, tagValue }];
  assert((await call('createProductTags', { productKey, productTag: tag('line', '3') })).success);
  const again = await call('createProductTags', { productKey, productTag: tag('line', '3') });
  assert.equal(again.success, false);
  assert.equal(again.invalidProductTags.productTag[0].tagKey, 'line');
  assert((await call('updateProductTags', { productKey, productTag: tag('line', '4') })).success);
  assert.equal((await call('listProductTags', { productKey })).data.productTag[0].tagValue, '4');
  const found = await call('listProductByTags', { productTag: tag('line') });
  assert.equal(found.productInfos.productInfo[0].productKey, productKey);
  assert((await call('deleteProductTags', { productKey, productTagKey: ['line'] })).success);

  const hall = (await call('createDeviceGroup', { groupName: 'hall_2', groupDesc: '一楼' })).data.groupId;
  const groupId = (await call('createDeviceGroup', { groupName: 'room_7', superGroupId: hall })).data.groupId;
  assert((await call('updateDeviceGroup', { groupId: hall, groupDesc: 'floor' })).success);
  const added = await call('batchAddDeviceGroupRelations', { groupId, device: [one] });
  assert.deepEqual([added.successAddedDeviceCount, added.exceedTenGroupDeviceCount], [1, 0]);
  const info = (await call('queryDeviceGroupInfo', { groupId })).data;
  assert.deepEqual([info.deviceCount, info.deviceActive, info.groupName], [1, 0, 'room_7']);
  const groups = await call('queryDeviceGroupList', { groupName: 'hall', pageSize: 200 });
  assert.deepEqual([groups.total, groups.data.groupInfo[0].groupDesc], [1, 'floor']);
  assert.equal((await call('querySuperDeviceGroup', { groupId })).data.groupInfo[0].groupId, hall);
  const tagString = '[{"tagKey":"shift","tagValue":"night"}]';
  assert((await call('setDeviceGroupTags', { groupId, tagString })).success);
  assert.equal((await call('queryDeviceGroupTagList', { groupId })).data.groupTagInfo[0].tagValue, 'night');
  const tagged = await call('queryDeviceGroupByTags', { tag: tag('shift', 'night') });
  assert.equal(tagged.data.deviceGroup[0].groupId, groupId);
  assert.equal((await call('queryDeviceGroupByDevice', one)).groupInfos.groupInfo[0].groupId, groupId);
  const devices = await call('queryDeviceListByDeviceGroup', { groupId });
  assert.equal(devices.data.simpleDeviceInfo[0].deviceName, 'meter1');
  assert.equal((await call('deleteDeviceGroup', { groupId: hall })).code, 'iot.group.SubGroupNotNull');
  const gone = await call('batchDeleteDeviceGroupRelations', { groupId, device: [one] });
  assert.equal(gone.successDeviceCount, 1);
  assert((await call('deleteDeviceGroup', { groupId })).success);
  assert((await call('deleteDeviceGroup', { groupId: hall })).success);

  const permission = (await call('queryLoRaJoinPermissions', {})).joinPermissions.joinPermission[0];
  const nodes = (await call('createProduct', {
    productName: 'Nodes', nodeType: 0, netType: 'LORA', joinPermissionId: permission.joinPermissionId,
  })).productKey;
  const deviceInfo = [{ devEui: 'd896e0fffe000001', pinCode: '562959' }];
  const { taskId } = await call('createLoRaNodesTask', { productKey: nodes, deviceInfo });
  const task = await call('getLoraNodesTask', { taskId });
  assert.deepEqual([task.taskState, task.successCount], ['FINISH', 1]);
  console.log('done');
})().catch((error) => { console.error(error); process.exit(1); });
