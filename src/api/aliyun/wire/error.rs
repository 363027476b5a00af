//! Every error code of the protocol that Tidegate answers, each in one row.
//!
//! The table says nothing about when a code is raised; the places that raise it do.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::Value;

use crate::api::access;

/// A code as clients know it.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// The code; `{}` stands for the name of a parameter.
    pub code: &'static str,
    /// The HTTP status of a gateway error; `None` for an operation that says no, which is HTTP 200
    /// with `Success: false`.
    pub status: Option<u16>,
    /// The text; `{}` stands for what is particular to the case.
    pub message: &'static str,
    /// Where the code comes from.
    pub source: &'static str,
}

/// The page of the repository that lists all codes.
pub const CODES_PAGE: &str = "docs/api-errors.md";

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The code.
    pub code: Cow<'static, str>,
    /// As in [`ErrorCode::status`].
    pub status: Option<u16>,
    /// The text.
    pub message: String,
    /// What the operation's answer has beside these: which of many things is wrong.
    pub more: Vec<(&'static str, Value)>,
}

impl ErrorCode {
    /// The error of a row that needs no particulars.
    #[must_use]
    pub fn plain(&'static self) -> ApiError {
        ApiError {
            code: self.code.into(),
            status: self.status,
            message: self.message.replacen(": {}", "", 1),
            more: Vec::new(),
        }
    }

    /// The error with its particulars: in the place of `{}`.
    #[must_use]
    pub fn with(&'static self, detail: impl Display) -> ApiError {
        let detail = detail.to_string();
        let code = match self.code.contains("{}") {
            true => self.code.replacen("{}", &detail, 1).into(),
            false => self.code.into(),
        };
        let message = self.message.replacen("{}", &detail, 1);
        ApiError { code, status: self.status, message, more: Vec::new() }
    }
}

impl ApiError {
    /// The same, which also tells what is wrong under a name of the operation's answer.
    #[must_use]
    pub fn and(mut self, name: &'static str, value: Value) -> Self {
        self.more.push((name, value));
        self
    }

    /// Where a client may look further.
    #[must_use]
    pub fn recommend(&self) -> String {
        let unsigned = ["AccessKeyId", "Signature", "SignatureNonce", "SignatureMethod"];
        let missing =
            self.code.strip_prefix("Missing").is_some_and(|name| unsigned.contains(&name));
        match missing {
            true => format!(
                "calls are signed: use the vendor's SDK with an access key; the daemon's first one is in the file access-key of its data_dir, `tidegate keys create` makes more, and {CODES_PAGE} of Tidegate says how a call is signed"
            ),
            false => format!("see {CODES_PAGE} of Tidegate, which lists all codes"),
        }
    }
}

/// Declares a constant for each row and the table of all of them.
macro_rules! codes {
    ($($name:ident = $code:literal, $status:expr, $source:expr, $message:expr;)*) => {
        $(
            #[doc = concat!("`", $code, "`")]
            pub const $name: &ErrorCode =
                &ErrorCode { code: $code, status: $status, message: $message, source: $source };
        )*

        /// All rows.
        pub const CODES: &[&ErrorCode] = &[$($name),*];
    };
}

/// The development guide of 2019-05-23, §2.6, and operation pages.
const GUIDE: &str = "development guide 2019, §2.6";

/// The vendor's public list of error codes of 2020-12-04.
const LIST: &str = "list of error codes 2020-12";

/// The vendor's public list of gateway errors.
const GATEWAY: &str = "gateway errors";

/// No counterpart at the vendor.
const OWN: &str = "Tidegate";

codes! {
    // The gateway: the request never reached an operation.
    MISSING_PARAMETER = "Missing{}", Some(400), GATEWAY, "{} is mandatory for this action.";
    INVALID_PARAMETER = "Invalid{}", Some(400), GATEWAY, "Specified parameter {} is not valid.";
    INVALID_FORMAT = "InvalidParameter.Format", Some(400), GATEWAY, "The request can't be read: {}";
    UNKNOWN_KEY = "InvalidAccessKeyId.NotFound", Some(404), GATEWAY, "Specified access key is not found.";
    // Clients look for the text after the only colon: it must be their own string to sign.
    SIGNATURE_MISMATCH = "SignatureDoesNotMatch", Some(400), GATEWAY, "Specified signature is not matched with our calculation. server string to sign is:{}";
    NONCE_USED = "SignatureNonceUsed", Some(400), GATEWAY, access::NONCE_USED;
    TIMESTAMP_FORMAT = "InvalidTimeStamp.Format", Some(400), GATEWAY, "Specified time stamp is not well formatted; expected UTC such as 2018-05-20T12:00:00Z.";
    TIMESTAMP_EXPIRED = "InvalidTimeStamp.Expired", Some(400), GATEWAY, "Specified time stamp is more than {} minutes away from the server's clock.";
    SIGNATURE_METHOD = "InvalidSignatureMethod", Some(400), GATEWAY, "Specified signature method is not valid; expected HMAC-SHA1 or ACS3-HMAC-SHA256.";
    INCOMPLETE_SIGNATURE = "IncompleteSignature", Some(400), GATEWAY, "The request signature does not conform to the standard: {}";
    UNKNOWN_ACTION = "InvalidApi.NotFound", Some(404), GATEWAY, "Specified api is not found, please check your url and method: {}";
    HTTP_METHOD = "UnsupportedHTTPMethod", Some(405), GATEWAY, "This http method is not supported; use GET or POST.";
    THROTTLED = "Throttling.User", Some(400), GATEWAY, access::THROTTLED;
    BODY_TOO_LARGE = "RequestBodyTooLarge", Some(413), OWN, "The request's body has more than {} bytes.";
    BODY_TIMEOUT = "RequestTimeout", Some(408), OWN, "The request's body did not arrive within {} seconds.";

    // All operations.
    SYSTEM = "iot.system.SystemException", None, GUIDE, "system error, please try again later: {}";
    PAGE = "iot.common.InvalidPageParams", None, GUIDE, "invalid page: {}";
    FORMAT = "iot.common.InvalidFormattedParameter", None, LIST, "invalid parameter: {}";
    PERMISSION = "iot.common.RamActionPermissionDeny", None, GUIDE, "permission denied: {}";

    // Rules.
    CREATE_RULE = "iot.rule.CreateRuleException", None, GUIDE, "the rule was not created: {}";
    UPDATE_RULE = "iot.rule.UpdateRuleFailed", None, GUIDE, "the rule was not changed: {}";
    DELETE_RULE = "iot.rule.DeleteRuleFailed", None, GUIDE, "the rule was not deleted: {}";
    QUERY_RULE = "iot.messagebroker.QueryRuleConfigActionException", None, GUIDE, "the rule can't be read: {}";
    QUERY_RULES = "iot.rule.QueryRulePageActionError", None, GUIDE, "the rules can't be listed: {}";
    STOP_RULE = "iot.rule.StopRuleFailed", None, GUIDE, "the rule was not stopped: {}";
    START_RULE = "iot.rule.StartRuleFailed", None, GUIDE, "the rule was not started: {}";
    RULE_ID = "iot.rule.IncorrentRuleId", None, GUIDE, "incorrect rule id: {}";
    NO_RULE = "iot.rule.NotFoundRule", None, GUIDE, "there is no rule with id {}; ListRule shows the rules that there are";
    RULE_COUNT = "iot.rule.RuleCountExceedMax", None, GUIDE, "there are {} rules already, which is the limit";
    NAME_TAKEN = "iot.rule.RuleNameIsAlreadyExisted", None, GUIDE, "the name is taken: {}";
    NO_SQL = "iot.rule.NullSqlForRule", None, GUIDE, "the rule has no SQL; give ProductKey, ShortTopic and Select with UpdateRule";
    NO_ACTION = "iot.rule.NullForwardDestForRule", None, GUIDE, "the rule has no action that is not an error action; add one with CreateRuleAction";
    RUNNING = "iot.ruleng.RuleAlreadyIsStarted", None, GUIDE, "the rule is running already";
    SQL = "iot.messagebroker.IncorrectRuleSql", None, GUIDE, "incorrect SQL: {}";
    TOPIC_TYPE = "iot.ruleng.IncorrectType", None, GUIDE, "incorrect topic type: {}";
    SYSTEM_TOPIC = "iot.ruleng.IncorrectSysTopic", None, GUIDE, "incorrect system topic: {}";
    TOPIC_NAME = "iot.messagebroker.InvalidFormattedTopicName", None, GUIDE, "invalid topic: {}";
    PRODUCT_KEY = "iot.prod.InvalidFormattedProductkey", None, GUIDE, "invalid ProductKey: {}";
    NO_PRODUCT_KEY = "iot.prod.NullProductKey", None, GUIDE, "ProductKey is empty";

    // Actions.
    ACTION_ID = "iot.rule.IncorrentRuleActionId", None, GUIDE, "incorrect action id: {}";
    NO_RULE_ACTION = "iot.rule.NotFoundRuleAction", None, GUIDE, "there is no action with id {}; ListRuleActions shows the actions of a rule";
    ACTION_TYPE = "iot.rule.IncorrentRuleActionType", None, GUIDE, "incorrect action type: {}";
    NULL_ACTION_TYPE = "iot.ruleng.NullRuleActionType", None, GUIDE, "Type is empty";
    NULL_CONFIGURATION = "iot.ruleng.NullRuleActionConfig", None, GUIDE, "Configuration is empty";
    NOT_JSON = "iot.ruleng.RuleActionConfigurationIsNotJson", None, GUIDE, "Configuration is not JSON: {}";
    CONFIGURATION = "iot.rule.ParseRuleActionConfigError", None, GUIDE, "Configuration can't be used: {}";
    SAME_ACTION = "iot.rule.RuleActionIsAlreadyCreated", None, GUIDE, "action {} of this rule is the same";
    TOO_MANY_ACTIONS = "iot.rule.TooManyRuleAction", None, GUIDE, "the rule has {} actions already, which is the limit";
    ONE_ERROR_ACTION = "iot.ruleng.OnlyAllowOneErrorAction", None, LIST, "the rule has an error action already: {}";
    ERROR_ACTION_TYPE = "iot.ruleng.IncorrectActionTypeForError", None, LIST, "an error action and a normal action of the same rule can't both have type {}";
    CREATE_ACTION = "iot.ruleng.CreateRuleActionFailed", None, GUIDE, "the action was not created: {}";
    QUERY_ACTION = "iot.ruleng.QueryRuleActionFailed", None, GUIDE, "the action can't be read: {}";
    QUERY_ACTIONS = "iot.rule.QueryRuleActionListError", None, GUIDE, "the actions can't be listed: {}";
    UPDATE_ACTION = "iot.ruleng.UpdateRuleActionFailed", None, LIST, "the action was not changed: {}";
    DELETE_ACTION = "iot.ruleng.DeleteRuleActionFailed", None, GUIDE, "the action was not deleted: {}";
    ROLE = "iot.ruleng.InvalidRamRole", None, GUIDE, "invalid role: {}";
    NULL_ROLE_ARN = "iot.ruleng.NullRamRoleArn", None, GUIDE, "role.roleArn is empty";
    NULL_ROLE_NAME = "iot.ruleng.NullRamRoleName", None, GUIDE, "role.roleName is empty";
    TAG = "iot.ruleng.InvalidFormattedTagInConfiguration", None, LIST, "invalid tag: {}";

    // Where actions deliver to.
    REGION = "iot.ruleng.IncorrectRegionName", None, GUIDE, "incorrect regionName: {}";
    ENDPOINT = "iot.ruleng.InvalidEndpoint", None, LIST, "invalid endpoint: {}";
    NULL_TOPIC = "iot.messagebroker.NullTopicName", None, GUIDE, "the topic is empty; a configuration has it as `topic`";
    NO_ONS = "iot.ruleng.InstanceNotFound", None, LIST, "instance not found: {}";
    NULL_MNS_TOPIC = "iot.ruleng.NullTopicNameInMns", None, GUIDE, "Configuration needs `themeName`";
    NO_MNS = "iot.ruleng.NotFoundTopicInMns", None, GUIDE, "topic not found: {}";
    NULL_FC_SERVICE = "iot.ruleng.NullServiceNameInFc", None, GUIDE, "Configuration needs `serviceName`";
    NULL_FC_FUNCTION = "iot.ruleng.NullFunctionNameInFc", None, GUIDE, "Configuration needs `functionName`";
    NO_FC = "iot.ruleng.NotFoundServiceInFc", None, GUIDE, "service not found: {}";
    NULL_DATAHUB_PROJECT = "iot.ruleng.NullProjectOfDatahub", None, GUIDE, "Configuration needs `projectName`";
    NULL_DATAHUB_TOPIC = "iot.ruleng.NullTopicInDatahubProject", None, GUIDE, "Configuration needs `topicName`";
    NULL_DATAHUB_SCHEMA = "iot.ruleng.NullOrEmptySchemaOfTopic", None, GUIDE, "Configuration needs `schemaVals` with at least one column";
    EMPTY_SCHEMA_NAME = "iot.ruleng.EmptySchemaNameOfTopic", None, GUIDE, "each of `schemaVals` needs a `name`";
    EMPTY_SCHEMA_TYPE = "iot.ruleng.EmptySchemaTypeOfTopic", None, GUIDE, "each of `schemaVals` needs a `type`: BIGINT, DOUBLE, BOOLEAN, TIMESTAMP, STRING or DECIMAL";
    EMPTY_SCHEMA_VALUE = "iot.ruleng.EmptySchemaValueOfTopic", None, GUIDE, "each of `schemaVals` needs a `value`";
    SCHEMA_VALUE = "iot.ruleng.IncorrectSchemaValueOfTopic", None, GUIDE, "incorrect `schemaVals`: {}";
    NO_DATAHUB = "iot.ruleng.NotFoundProjectInDataHub", None, GUIDE, "project not found: {}";
    NULL_OTS_INSTANCE = "iot.ruleng.NullOtsInstanceName", None, GUIDE, "Configuration needs `instanceName`";
    NULL_OTS_TABLE = "iot.ruleng.NullTableNameInOtsInstance", None, GUIDE, "Configuration needs `tableName`";
    NULL_OTS_KEY = "iot.ruleng.NullPrimaryKeyInOtsTable", None, GUIDE, "Configuration needs `primaryKeys` with at least one key";
    NULL_OTS_KEY_NAME = "iot.ruleng.NullPrimaryKeyNameInOts", None, GUIDE, "each of `primaryKeys` needs a `columnName`";
    NULL_OTS_KEY_TYPE = "iot.ruleng.NullPrimaryKeyTypeInOts", None, LIST, "each of `primaryKeys` needs a `columnType`: INTEGER, STRING or BINARY";
    NULL_OTS_KEY_VALUE = "iot.ruleng.NullPrimaryKeyValueInOts", None, GUIDE, "each of `primaryKeys` needs a `columnValue` unless its `option` is AUTO_INCREMENT";
    OTS_KEY_VALUE = "iot.ruleng.IncorrectPrimaryKeyValueInOtsTable", None, GUIDE, "incorrect `primaryKeys`: {}";

    // Products.
    NO_PRODUCT = "iot.prod.NotExistedProduct", None, GUIDE, "there is no product with key {}; QueryProductList shows the products that there are";
    PRODUCT_NAME_TAKEN = "iot.prod.AlreadyExistedProductName", None, GUIDE, "the name is taken: {}";
    CREATE_PRODUCT = "iot.prod.CreateProductFailed", None, GUIDE, "the product was not created: {}";
    UPDATE_PRODUCT = "iot.prod.UpdateProductFailed", None, GUIDE, "the product was not changed: {}";
    COMMODITY = "iot.prod.InvalidAliyunCommodityCode", None, GUIDE, "invalid AliyunCommodityCode: {}";
    CATEGORY = "iot.prod.InvalidFormattedCatId", None, GUIDE, "invalid CategoryKey: {}";
    PRODUCT_NAME = "iot.prod.InvalidFormattedProductName", None, GUIDE, "invalid ProductName: {}";
    NULL_PRODUCT_NAME = "iot.prod.NullProductName", None, GUIDE, "ProductName is empty";
    PRODUCT_DESC = "iot.prod.LongProductDesc", None, GUIDE, "Description is too long: {}";
    NODE_TYPE = "iot.prod.InvalidNodeType", None, GUIDE, "invalid NodeType: {}";
    NO_ID2 = "iot.prod.NotOpenID2Service", None, GUIDE, "ID² is not offered; leave Id2 out, or false";
    PRODUCT_COUNT = "iot.prod.ProductCountExceedMax", None, GUIDE, "there are {} products already, which is the limit";
    QUERY_PRODUCT = "iot.common.QueryProductActionError", None, GUIDE, "the product was not read: {}";
    LIST_PRODUCTS = "iot.prod.QueryProductListActionError", None, GUIDE, "the products were not listed: {}";
    COUNT_DEVICES = "iot.prod.QueryDeviceCountActionError", None, GUIDE, "the devices were not counted: {}";

    // Devices.
    NO_DEVICE = "iot.device.NotExistedDevice", None, GUIDE, "there is no device {}";
    IOT_ID = "iot.device.InvalidIoTId", None, GUIDE, "invalid IotId: {}";
    NULL_DEVICE_NAME = "iot.device.NullDeviceName", None, GUIDE, "the device is not named: give IotId, or ProductKey and DeviceName";
    DEVICE_NAME = "iot.device.InvalidFormattedDeviceName", None, GUIDE, "invalid DeviceName: {}";
    DEVICE_NAME_TAKEN = "iot.device.AlreadyExistedDeviceName", None, GUIDE, "the name is taken: {}";
    CREATE_DEVICE = "iot.device.CreateDeviceFailed", None, GUIDE, "the device was not registered: {}";
    DELETE_DEVICE = "iot.device.DeleteDeviceFailed", None, GUIDE, "the device was not deleted: {}";
    DISABLE_DEVICE = "iot.device.DisableDeviceFailed", None, GUIDE, "the device was not disabled: {}";
    ENABLE_DEVICE = "iot.device.EnableDeviceFailed", None, GUIDE, "the device was not enabled: {}";
    QUERY_DEVICE = "iot.common.QueryDeviceActionError", None, GUIDE, "the device was not read: {}";
    LIST_DEVICES = "iot.device.QueryDeviceListActionError", None, GUIDE, "the devices were not listed: {}";
    DEVICE_STATUS = "iot.device.QueryDeviceStatusFailed", None, GUIDE, "the status was not read: {}";
    STATISTICS = "iot.device.QueryDeviceStatisticsFailed", None, GUIDE, "the devices were not counted: {}";
    INACTIVE = "iot.device.InactiveDevice", None, GUIDE, "device {} has never connected";

    // Gateways and their sub-devices.
    ADD_TOPO = "iot.device.AddTopoRelationFailed", None, GUIDE, "the gateway was not asked to add devices: {}";
    QUERY_TOPO = "iot.device.QueryTopoRelationFailed", None, GUIDE, "the topology was not read: {}";
    REMOVE_TOPO = "iot.device.RemoveTopoRelationFailed", None, GUIDE, "the topology was not changed: {}";
    TOPO_COUNT = "iot.device.TopoRelationCountExceeded", None, GUIDE, "too many sub-devices: {}";

    // Groups of devices.
    NULL_GROUP_ID = "iot.group.NullGroupId", None, GUIDE, "GroupId is empty";
    NO_GROUP = "iot.group.NotExistedGroup", None, GUIDE, "there is no group {}; QueryDeviceGroupList shows the groups that there are";
    GROUP_NAME = "iot.group.InvalidGroupName", None, GUIDE, "invalid GroupName: {}";
    GROUP_NAME_TAKEN = "iot.group.GroupNameExisted", None, GUIDE, "the name is taken: {}";
    GROUP_DESC = "iot.group.LongGroupDescError", None, GUIDE, "GroupDesc is too long: {}";
    GROUP_COUNT = "iot.group.GroupCountExceedMax", None, GUIDE, "too many groups: {}";
    GROUP_LEVEL = "iot.group.GroupLevelExceedingLimitError", None, GUIDE, "groups have at most {} levels";
    SUB_GROUPS = "iot.group.SubGroupNotNull", None, GUIDE, "{} groups are in the group; delete them first";
    CREATE_GROUP = "iot.group.CreateGroupFailed", None, GUIDE, "the group was not created: {}";
    UPDATE_GROUP = "iot.group.UpdateGroupFailed", None, GUIDE, "the group was not changed: {}";
    DELETE_GROUP = "iot.group.DeleteGroupFailed", None, GUIDE, "the group was not deleted: {}";
    QUERY_GROUP = "iot.group.QueryGroupInfoFailed", None, GUIDE, "the group was not read: {}";
    LIST_GROUPS = "iot.group.QueryGroupListFailed", None, GUIDE, "the groups were not listed: {}";
    GROUP_TREE = "iot.group.QueryGroupTreeFailed", None, GUIDE, "the group above was not read: {}";
    BIND_GROUP = "iot.group.BindGroupRelationFailed", None, GUIDE, "who is in the group was not changed: {}";
    GROUP_RELATION = "iot.group.QueryGroupRelationFailed", None, GUIDE, "who is in the group was not read: {}";
    GROUP_TAGS = "iot.group.InvalidFormattedTagString", None, GUIDE, "invalid tags: {}";
    GROUP_TAG_COUNT = "iot.group.TagCountExceedMax", None, GUIDE, "too many tags: {}";
    SET_GROUP_TAGS = "iot.group.SetGroupTagFailed", None, GUIDE, "the tags were not set: {}";
    QUERY_GROUP_TAGS = "iot.group.QueryGroupTagFailed", None, GUIDE, "the tags were not read: {}";

    // Many devices at once.
    NO_NAMES = "iot.device.NoneDeviceNameElement", None, GUIDE, "no device is named: give DeviceName.1, DeviceName.2, …";
    DEVICE_COUNT = "iot.device.DeviceCountExceeded", None, GUIDE, "too many devices: {}";
    NULL_APPLY_ID = "iot.device.NullApplyId", None, GUIDE, "ApplyId is empty";
    APPLY_ID = "iot.device.InvalidFormattedApplyId", None, GUIDE, "invalid ApplyId: {}";
    NO_APPLY = "iot.device.DeviceApplyIsNotFound", None, GUIDE, "there is no application {}";
    APPLY_INFO = "iot.device.IncorrentDeviceApplyInfo", None, GUIDE, "incorrect application: {}";
    APPLY_RUNNING = "iot.device.CreateDeviceTaskIsRunning", None, GUIDE, "wait for the application that runs: {}";
    APPLY_DEVICES = "iot.device.ApplyManyDevicesFailed", None, GUIDE, "the devices were not registered: {}";
    VERIFY_DEVICES = "iot.device.VerifyDeviceFailed", None, GUIDE, "the names were not checked: {}";
    QUERY_APPLY = "iot.device.QueryDeviceApplyActionError", None, GUIDE, "the application was not read: {}";

    // Tags of devices, and properties: the guide calls both properties.
    QUERY_TAGS = "iot.common.QueryDevicePropertyActionError", None, GUIDE, "the tags were not read: {}";
    NULL_PROPERTIES = "iot.device.NullDevicePropertiesString", None, GUIDE, "{} is empty";
    LONG_TAGS = "iot.device.LongDevicePropertiesString", None, GUIDE, "Props is too long: {}";
    TAGS = "iot.device.InvalidFormattedDevicePropertiesString", None, GUIDE, "invalid Props: {}";
    NO_PROPERTIES = "iot.device.NoneDeviceProperties", None, GUIDE, "there is no valid property: {}";
    TOO_MANY_PROPERTIES = "iot.device.TooManyDevicePropertiesPerTime", None, GUIDE, "too many: {}";
    NULL_PROPERTY_KEY = "iot.device.NullDevicePropertyKey", None, GUIDE, "the key of a tag, or the identifier of a property, is empty";
    TAG_KEY = "iot.device.InvalidFormattedDevicePropertyKey", None, GUIDE, "invalid key of a tag: {}";
    SAVE_TAGS = "iot.device.SaveOrUpdateDevicePropertiesFailed", None, GUIDE, "the tags were not saved: {}";
    DELETE_TAG = "iot.device.DeleteDevicePropertyFailed", None, GUIDE, "the tag was not deleted: {}";

    // Topic classes.
    NO_TOPIC_CLASS = "iot.messagebroker.TopicTemplateIsNotFound", None, GUIDE, "there is no topic class with id {}; QueryProductTopic shows those of a product";
    TOPIC_CLASS_TAKEN = "iot.messagebroker.TopicAlreadyFound", None, GUIDE, "the product has the topic class already: {}";
    TOPIC_CLASS_COUNT = "iot.messagebroker.TopicTemplateCountExceedMax", None, GUIDE, "the product has {} topic classes already, which is the limit";
    NULL_TOPIC_ID = "iot.messagebroker.NullTopicTemplateId", None, GUIDE, "TopicId is empty";
    TOPIC_ID = "iot.messagebroker.InvalidFormattedTopicTemplateId", None, GUIDE, "invalid TopicId: {}";
    NULL_TOPIC_OPERATION = "iot.messagebroker.NullTopicTemplateOperation", None, GUIDE, "Operation is empty";
    TOPIC_OPERATION = "iot.messagebroker.InvalidTopicTemplateOperationValue", None, GUIDE, "invalid Operation: {}";
    CREATE_TOPIC_CLASS = "iot.messagebroker.CreateTopicTemplateFailed", None, GUIDE, "the topic class was not created: {}";
    UPDATE_TOPIC_CLASS = "iot.messagebroker.UpdateTopicTemplateFailed", None, GUIDE, "the topic class was not changed: {}";
    DELETE_TOPIC_CLASS = "iot.messagebroker.DeleteTopicTemplateFailed", None, GUIDE, "the topic class was not deleted: {}";
    LIST_TOPIC_CLASSES = "iot.messagebroker.QueryProductTopicListActionError", None, GUIDE, "the topic classes were not listed: {}";

    // Routes between topics; two codes are spelled as the vendor spells them.
    NULL_SOURCE_TOPIC = "iot.messagebroker.NullSrcTopicName", None, GUIDE, "SrcTopic is empty";
    SOURCE_TOPIC = "iot.messagebroker.InvalidFormattedSrcTopicName", None, GUIDE, "invalid SrcTopic: {}";
    SOURCE_PRODUCT = "iot.messagebroker.NotMatchedProductKeyWithSrcTopicOwner", None, GUIDE, "SrcTopic has an unknown product key: {}";
    NO_DESTINATION = "iot.messagebroker.NoneElementDestTopicNameInArray", None, GUIDE, "no destination is given: DstTopic.1, DstTopic.2, …";
    DESTINATION_COUNT = "iot.messagebroker.DestTopicNameArraySizeIsLarge", None, GUIDE, "too many destinations: {}";
    CREATE_ROUTE = "iot.messagebroker.CreateTopicRouteFailed", None, GUIDE, "the routes were not created: {}";
    DELETE_ROUTE = "iot.messagebroker.DeleteTopicRouteFailed", None, GUIDE, "the routes were not deleted: {}";
    LIST_ROUTES = "iot.messageborker.QueryTopicRouteTableListActionError", None, GUIDE, "the routes were not listed: {}";
    LIST_REVERSE_ROUTES = "iot.messageborker.QueryTopicReverseRouteTableListActionError", None, GUIDE, "the routes were not listed: {}";

    // Messages to devices.
    ABILITY = "iot.prod.QueryProductAbilityFailed", None, GUIDE, "the product has no such function: {}";
    ABILITIES = "iot.prod.QueryProductAbilitiesFailed", None, GUIDE, "the product has no such functions: {}";
    INVOKE = "iot.device.InvokeThingServiceFailed", None, GUIDE, "the service was not called: {}";
    SET_PROPERTY = "iot.device.SetDevicePropertyFailed", None, GUIDE, "the properties were not set: {}";
    ATTRIBUTE_STATUS = "iot.device.QueryDeviceAttrStatusFailed", None, GUIDE, "the values were not read: {}";
    PROPERTY_HISTORY = "iot.device.QueryDeviceAttrDataHistoryFailed", None, GUIDE, "the values were not read: {}";
    EVENT_HISTORY = "iot.device.QueryDeviceEventHistoryFailed", None, GUIDE, "the events were not read: {}";
    SERVICE_HISTORY = "iot.device.QueryDeviceServiceHistoryFailed", None, GUIDE, "the calls of the service were not read: {}";
    TIME_BUCKET = "iot.device.InvalidTimeBucket", None, GUIDE, "invalid span of time: {}";
    NULL_CONTENT = "iot.messagebroker.NullMessageContent", None, GUIDE, "{} is empty";
    NOT_BASE64 = "iot.messagebroker.MessageContentIsNotBase64Encode", None, GUIDE, "the message is not in Base64: {}";
    PUBLISH = "iot.messagebroker.PublishMessageFailed", None, GUIDE, "the message was not published: {}";
    PUBLISHING = "iot.messagebroker.PublishMessageException", None, GUIDE, "the message was perhaps not published: {}";
    TIMEOUT_VALUE = "iot.messagebroker.InvalidTimeoutValue", None, GUIDE, "invalid timeout: {}";
    RRPC = "iot.messagebroker.RrpcFailed", None, GUIDE, "the request was not sent: {}";
    OFFLINE = "iot.messagebroker.OFFLINE", None, GUIDE, "the device is offline";
    HALF_OPEN = "iot.messagebroker.HALFCONN", None, GUIDE, "the connection of the device ended before it answered";
    TIMEOUT = "iot.messagebroker.TIMEOUT", None, GUIDE, "the device did not answer within 5 seconds";
    RATE_LIMIT = "iot.messagebroker.RateLimit", None, GUIDE, "too much at once: {}";

    // Shadows.
    QUERY_SHADOW = "iot.messagebroker.QueryDeviceShadowActionError", None, GUIDE, "the shadow was not read: {}";
    UPDATE_SHADOW = "iot.messagebroker.UpdateDeviceShadowMessageFailed", None, GUIDE, "the shadow was not changed: {}";
    NULL_SHADOW = "iot.messagebroker.NullShadowMessage", None, GUIDE, "ShadowMessage is empty";
    SHADOW_LARGE = "iot.messagebroker.ShadowMessageLengthIsLarge", None, GUIDE, "the shadow would have more than {} bytes";
    SHADOW_NOT_JSON = "iot.messagebroker.ShadowMessageIsNotJson", None, GUIDE, "ShadowMessage is no JSON object: {}";
    SHADOW_NO_METHOD = "iot.messagebroker.NotFoundMethodInShadowMessage", None, GUIDE, "ShadowMessage has no `method`; expected `update`";
    SHADOW_METHOD = "iot.messagebroker.MethodValueIsNotUpdate", None, GUIDE, "`method` is {}; expected `update`";
    SHADOW_NO_STATE = "iot.messagebroker.NotFoundStateInShadowMessage", None, GUIDE, "ShadowMessage has no object `state`";
    SHADOW_NO_DESIRED = "iot.messagebroker.NotFoundDesireInShadowMessage", None, GUIDE, "`state` is empty; expected `desired`";
    SHADOW_NO_REPORTED = "iot.messagebroker.NotFoundReportInShadowMessage", None, GUIDE, "`state` has neither `desired` nor `reported`";
    SHADOW_NO_VERSION = "iot.messagebroker.NotFoundVersionOrNullVersionValue", None, GUIDE, "ShadowMessage has no `version`";
    SHADOW_VERSION = "iot.messagebroker.InvalidVersionValueInShadowMessage", None, GUIDE, "invalid `version`: {}";
    DESIRED_NOT_JSON = "iot.messagebroker.DesireInfoInShadowMessageIsNotJson", None, GUIDE, "`{}` is no object";
    DESIRED_NULL = "iot.messagebroker.DesireValueIsNullInShadowMessage", None, GUIDE, "`desired` is null; the text `null` clears it";
    DESIRED_EMPTY = "iot.messagebroker.NoneElementInDesire", None, GUIDE, "`desired` is empty";
    DESIRED_TOO_MANY = "iot.messagebroker.TooManyElementInDesire", None, GUIDE, "`desired` has more than {} attributes";
    DESIRED_ELEMENT = "iot.messagebroker.ElementKeyOrValueIsNullInDesire", None, GUIDE, "an attribute of `desired` has no key or no value: {}";
    REPORTED_NOT_JSON = "iot.messagebroker.ReportInShadowMessageIsNotJson", None, GUIDE, "`{}` is no object";
    REPORTED_EMPTY = "iot.messagebroker.NoneElementInReport", None, GUIDE, "`reported` is empty";
    REPORTED_TOO_MANY = "iot.messagebroker.TooManyElementInReport", None, GUIDE, "`reported` has more than {} attributes";
    REPORTED_ELEMENT = "iot.messagebroker.ElementKeyOrValueIsNullInReport", None, GUIDE, "an attribute of `reported` has no key or no value: {}";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_row() {
        let mut codes: Vec<_> = CODES.iter().map(|row| row.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
        for row in CODES {
            assert_eq!(row.status.is_none(), row.code.starts_with("iot."), "{}", row.code);
            assert!(row.message.matches("{}").count() <= 1, "{}", row.code);
            assert!(!row.source.is_empty());
        }
    }

    #[test]
    fn particulars_take_their_place() {
        let error = MISSING_PARAMETER.with("RuleId");
        assert_eq!(error.code, "MissingRuleId");
        assert_eq!(error.message, "RuleId is mandatory for this action.");
        assert_eq!(NAME_TAKEN.plain().message, "the name is taken");
    }
}
