//! Every operation of the vendor's development guide of 2019-05-23, by chapter.
//!
//! All of them work, which a test holds against `table`; the README's table is made of both.

/// Chapters and their operations, in the order of the guide.
pub const KNOWN: &[(&str, &[&str])] = &[
    (
        "Products",
        &[
            "CreateProduct",
            "UpdateProduct",
            "QueryProductList",
            "QueryProduct",
            "DeleteProduct",
            "CreateProductTags",
            "UpdateProductTags",
            "DeleteProductTags",
            "ListProductTags",
            "ListProductByTags",
        ],
    ),
    (
        "Devices",
        &[
            "RegisterDevice",
            "QueryDeviceDetail",
            "QueryDevice",
            "DeleteDevice",
            "GetDeviceStatus",
            "BatchGetDeviceState",
            "DisableThing",
            "EnableThing",
            "BatchCheckDeviceNames",
            "BatchRegisterDeviceWithApplyId",
            "BatchRegisterDevice",
            "QueryBatchRegisterDeviceStatus",
            "QueryPageByApplyId",
            "QueryDeviceEventData",
            "QueryDevicePropertyData",
            "QueryDevicePropertiesData",
            "QueryDeviceServiceData",
            "InvokeThingService",
            "InvokeThingsService",
            "QueryDevicePropertyStatus",
            "SetDeviceProperty",
            "SetDevicesProperty",
            "SaveDeviceProp",
            "QueryDeviceProp",
            "DeleteDeviceProp",
            "GetThingTopo",
            "NotifyAddThingTopo",
            "RemoveThingTopo",
            "QueryDeviceStatistics",
            "GetGatewayBySubDevice",
            "QueryDeviceByTags",
            "SetDeviceDesiredProperty",
            "QueryDeviceDesiredProperty",
            "QueryDeviceFileList",
            "QueryDeviceFile",
            "DeleteDeviceFile",
            "BatchUpdateDeviceNickname",
            "QueryLoRaJoinPermissions",
            "CreateLoRaNodesTask",
            "GetLoraNodesTask",
        ],
    ),
    (
        "Device groups",
        &[
            "CreateDeviceGroup",
            "DeleteDeviceGroup",
            "UpdateDeviceGroup",
            "QueryDeviceGroupInfo",
            "QueryDeviceGroupList",
            "BatchAddDeviceGroupRelations",
            "BatchDeleteDeviceGroupRelations",
            "SetDeviceGroupTags",
            "QueryDeviceGroupTagList",
            "QueryDeviceGroupByDevice",
            "QuerySuperDeviceGroup",
            "QueryDeviceListByDeviceGroup",
            "QueryDeviceGroupByTags",
        ],
    ),
    (
        "Rules",
        &[
            "ListRule",
            "CreateRule",
            "GetRule",
            "UpdateRule",
            "DeleteRule",
            "ListRuleActions",
            "GetRuleAction",
            "CreateRuleAction",
            "UpdateRuleAction",
            "DeleteRuleAction",
            "StartRule",
            "StopRule",
        ],
    ),
    (
        "Topics",
        &[
            "QueryProductTopic",
            "CreateProductTopic",
            "UpdateProductTopic",
            "DeleteProductTopic",
            "CreateTopicRouteTable",
            "QueryTopicRouteTable",
            "QueryTopicReverseRouteTable",
            "DeleteTopicRouteTable",
        ],
    ),
    ("Messages", &["Pub", "RRpc", "PubBroadcast"]),
    ("Device shadow", &["GetDeviceShadow", "UpdateDeviceShadow"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_stands_in_one_chapter() {
        let mut all: Vec<_> = KNOWN.iter().flat_map(|(_, names)| names.iter()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), count), (88, 88));
        let offered = super::super::table::operation;
        let missing: Vec<_> = all.into_iter().filter(|name| offered(name).is_none()).collect();
        assert_eq!(missing, [&""; 0]);
    }
}
