// Rules through @alicloud/iot20180120, which casts all answers to its types. A fourth argument `v2` asks
// for the older signature; the newer is its default.
const assert = require('node:assert');
const Iot = require('@alicloud/iot20180120');
const { Config } = require('@alicloud/openapi-client');

const [endpoint, accessKeyId, secret, signatureAlgorithm] = process.argv.slice(2);
const client = (accessKeySecret) => new Iot.default(new Config({
  accessKeyId, accessKeySecret, regionId: 'cn-shanghai', endpoint, protocol: 'HTTP', signatureAlgorithm,
}));
const good = client(secret);
const call = async (method, parameters, by = good) => {
  const request = Iot[`${method[0].toUpperCase()}${method.slice(1)}Request`];
  return (await by[method](new request(parameters))).body;
};

(async () => {
  const select = "a + 1 as '温 度 *~!()'";
  const rule = { name: 'tea_rule', productKey: 'a1Pk', shortTopic: '+/user/#', select, topicType: 1 };
  const { ruleId, success } = await call('createRule', { ...rule, ruleDesc: '说明', iotInstanceId: 'iot cn' });
  assert.equal(success, true);
  const { ruleInfo } = await call('getRule', { ruleId });
  assert.deepEqual([ruleInfo.id, ruleInfo.select, ruleInfo.topicType], [ruleId, select, 1]);
  assert((await call('updateRule', { ruleId, name: 'tea_renamed' })).success);
  const configuration = JSON.stringify({ topic: '/a1Pk/dev/user/alert', topicType: 1 });
  const { actionId } = await call('createRuleAction', { ruleId, type: 'REPUBLISH', configuration, errorActionFlag: false });
  const other = { ruleId, type: 'MNS', configuration: '{"themeName":"mns-test-topic1"}', errorActionFlag: true };
  assert((await call('createRuleAction', other)).success);
  const { ruleActionList } = await call('listRuleActions', { ruleId });
  assert.deepEqual(ruleActionList.ruleActionInfo.map((each) => each.errorActionFlag), [false, true]);
  const { ruleActionInfo } = await call('getRuleAction', { actionId });
  assert.equal(JSON.parse(ruleActionInfo.configuration).topicType, 1);
  assert((await call('updateRuleAction', { actionId, type: 'FC', configuration: '{"serviceName":"weather","functionName":"f"}' })).success);
  const page = await call('listRule', { pageSize: 10, currentPage: 1 });
  assert.deepEqual([page.total, page.data.ruleInfo[0].name], [1, 'tea_renamed']);
  assert((await call('startRule', { ruleId })).success);
  assert.equal((await call('deleteRule', { ruleId })).code, 'iot.rule.DeleteRuleFailed');
  assert((await call('stopRule', { ruleId })).success);
  assert((await call('deleteRuleAction', { actionId })).success);
  assert((await call('deleteRule', { ruleId })).success);
  assert.equal((await call('getRule', { ruleId })).code, 'iot.rule.NotFoundRule');
  const refused = (code) => (error) => error.code === code || assert.fail(error);
  await assert.rejects(call('listRule', {}, client('wrong')), refused('SignatureDoesNotMatch'));
  await assert.rejects(call('getRule', {}), refused('MissingRuleId'));
  await assert.rejects(call('queryEdgeInstance', { currentPage: 1, pageSize: 10 }), refused('InvalidApi.NotFound'));
  console.log('done');
})().catch((error) => { console.error(error); process.exit(1); });
