//! Models and what fits them.

use serde_json::json;

use super::*;

/// As the vendor exports one, with a property of each type.
fn model() -> Model {
    let data = |kind: &str, specs: Value| json!({ "type": kind, "specs": specs });
    let int = data("int", json!({ "min": "0", "max": "100", "unit": "%", "step": "1" }));
    let property = |identifier: &str, mode: &str, data: &Value| {
        json!({
            "identifier": identifier, "name": format!("the {identifier}"), "accessMode": mode,
            "required": false, "dataType": data,
        })
    };
    let point = json!([
        { "identifier": "x", "name": "x", "dataType": data("float", json!({})) },
        { "identifier": "y", "required": true, "dataType": data("double", json!({})) },
    ]);
    let properties = json!([
        property("Level", "rw", &int),
        property("Heat", "r", &data("float", json!({ "min": "-10", "max": "50.5" }))),
        property("Exact", "rw", &data("double", json!({ "min": "", "max": "" }))),
        property("On", "rw", &data("bool", json!({ "0": "off", "1": "on" }))),
        property("Mode", "rw", &data("enum", json!({ "0": "a", "2": "b" }))),
        property("Name", "rw", &data("text", json!({ "length": "5" }))),
        property("At", "rw", &data("date", json!({}))),
        property("Place", "rw", &data("struct", point)),
        property("List", "rw", &data("array", json!({ "size": "2", "item": int }))),
    ]);
    let tsl = json!({
        "schema": "https://iotx-tsl.oss-ap-southeast-1.aliyuncs.com/schema.json",
        "profile": { "productKey": "a1Pk" },
        "properties": properties,
        "events": [
            { "identifier": "post", "type": "info", "outputData": [] },
            { "identifier": "Alarm", "name": "an alarm", "type": "alert", "outputData": [
                { "identifier": "level", "dataType": int } ] },
        ],
        "services": [
            { "identifier": "set", "inputData": [] },
            { "identifier": "get", "inputData": ["Level"] },
            { "identifier": "Reset", "callType": "sync", "inputData": [
                { "identifier": "hard", "dataType": { "type": "bool", "specs": {} } } ] },
            { "identifier": "Blink" },
        ],
    });
    Model::parse(&tsl.to_string()).expect("model")
}

#[test]
fn a_model_is_read() {
    let model = model();
    assert_eq!(model.properties.len(), 9);
    let level = &model.properties["Level"];
    assert_eq!(
        (level.name.as_str(), level.unit.as_str(), level.writable),
        ("the Level", "%", true)
    );
    assert_eq!(level.data, DataType::Int(Range { min: Some(0.into()), max: Some(100.into()) }));
    assert!(!model.properties["Heat"].writable);
    assert_eq!(model.events.keys().collect::<Vec<_>>(), ["Alarm"]);
    assert_eq!(model.events["Alarm"].kind, "alert");
    assert_eq!(model.services.len(), 2);
    assert!(model.services["Reset"].synchronous && !model.services["Blink"].synchronous);
}

#[test]
fn bounds_hold_to_the_last_digit() {
    let range = Range { min: "-1.5".parse().ok(), max: "9007199254740992.10".parse().ok() };
    let data = DataType::Double(range);
    let code = |text: &str| {
        let value = text.parse().expect("a number");
        data.check("p", &value).map_err(|misfit| (misfit.code, misfit.message)).err()
    };
    for good in ["9007199254740992.1", "-15e-1", "0"] {
        assert_eq!(code(good), None, "{good}");
    }
    for bad in ["9007199254740992.11", "9007199254740993", "-1.50000000000000000001"] {
        let text = "tsl parse: double out of range -1.5 to 9007199254740992.10 -> p";
        assert_eq!(code(bad), Some((6322, text.to_owned())), "{bad}");
    }
    // A double holds no such number.
    let open = DataType::Double(Range::default());
    let huge = "1e999".parse().expect("a number");
    assert_eq!(open.check("p", &huge).map_err(|misfit| misfit.code), Err(6322));
}

#[test]
fn every_type_takes_its_values_and_no_others() {
    let model = model();
    let many: String = "é".repeat(3);
    for (name, good, bad, code) in [
        ("Level", json!([0, 100]), json!([-1, 101, 1.5, "1", null, 3_000_000_000_u64]), 6306),
        ("Heat", json!([-10, 0.5, 50.5]), json!([-10.1, 51, "1", true]), 6307),
        ("Exact", json!([1e300, -3]), json!(["1", [], null]), 6322),
        ("On", json!([0, 1]), json!([2, true, "1"]), 6308),
        ("Mode", json!([0, 2]), json!([1, "0", null]), 6309),
        ("Name", json!(["", "12345"]), json!(["123456", many, 5]), 6310),
        ("At", json!(["1510799670074"]), json!([1_510_799_670_074_u64, "today", ""]), 6311),
        (
            "Place",
            json!([{ "y": 1 }, { "x": 1.5, "y": 2 }]),
            json!([{}, { "x": 1 }, 1, { "y": "a" }, { "y": 1, "z": 1 }]),
            6312,
        ),
        ("List", json!([[], [1, 2]]), json!([[1, 2, 3]]), 6324),
        ("List", json!([]), json!([[1, 200], ["a"]]), 6325),
        ("List", json!([]), json!([1, {}]), 6328),
    ] {
        let data = &model.properties[name].data;
        for value in good.as_array().expect("list") {
            assert_eq!(data.check(name, value), Ok(()), "{name} {value}");
        }
        for value in bad.as_array().expect("list") {
            let misfit = data.check(name, value).expect_err(&format!("{name} {value}"));
            assert_eq!(misfit.code, code, "{name} {value}: {}", misfit.message);
            assert!(misfit.message.starts_with("tsl parse: "), "{}", misfit.message);
        }
    }
    let unknown = Misfit::unknown("attribute_8");
    assert_eq!(unknown.message, "tsl parse: params not exist -> attribute_8");
    let inputs = &model.services["Reset"].inputs;
    let given = |value: Value| check_fields(inputs, value.as_object().expect("object"));
    assert_eq!(given(json!({ "hard": 1 })), Ok(()));
    assert_eq!(given(json!({})), Ok(()));
    assert_eq!(given(json!({ "soft": 1 })).map_err(|misfit| misfit.code), Err(6304));
    let required = [Field { identifier: "a".into(), required: true, data: DataType::Bool }];
    assert_eq!(check_fields(&required, &Map::new()).map_err(|misfit| misfit.code), Err(6302));
}

#[test]
fn what_is_no_model_says_where() {
    let int = json!({ "type": "int", "specs": {} });
    let property =
        |data: &Value| json!({ "properties": [{ "identifier": "a", "dataType": data }] });
    let mut deep = int.clone();
    for _ in 0..9 {
        deep = json!({ "type": "array", "specs": { "size": "1", "item": deep } });
    }
    let kind = |kind: &str, specs: Value| property(&json!({ "type": kind, "specs": specs }));
    let twice = json!({ "properties": [
        { "identifier": "a", "dataType": int }, { "identifier": "a", "dataType": int } ] });
    for (value, path) in [
        (json!([1]), "the model"),
        (json!({ "properties": {} }), "properties"),
        (json!({ "properties": [1] }), "properties[0]"),
        (json!({ "properties": [{ "identifier": "a/b" }] }), "properties[0].identifier"),
        (json!({ "properties": [{ "identifier": "a" }] }), "properties[0].dataType"),
        (twice, "properties[1].identifier"),
        (kind("number", json!({})), "properties[0].dataType.type"),
        (kind("int", json!({ "min": "x" })), "properties[0].dataType.specs.min"),
        (kind("int", json!({ "min": "2", "max": "1" })), "properties[0].dataType.specs"),
        (kind("text", json!({ "length": "-1" })), "properties[0].dataType.specs.length"),
        (kind("enum", json!({ "a": "b" })), "properties[0].dataType.specs"),
        (kind("enum", json!([])), "properties[0].dataType.specs"),
        (kind("array", json!({ "size": "1" })), "properties[0].dataType.specs.item"),
        (kind("struct", json!({})), "properties[0].dataType.specs"),
        (json!({ "events": [{ "identifier": "e", "type": "odd" }] }), "events[0].type"),
        (json!({ "services": [{ "identifier": "s", "callType": "odd" }] }), "services[0].callType"),
        (json!({ "services": [{ "identifier": "s", "inputData": 1 }] }), "services[0].inputData"),
    ] {
        let error = Model::read(&value).expect_err(path);
        assert_eq!(error.path, path, "{error}");
    }
    let error = Model::read(&property(&deep)).expect_err("deep");
    assert!(error.message.contains("nested more than"), "{error}");
    assert!(Model::parse("{").expect_err("no JSON").message.starts_with("no JSON"));
    Model::parse(&" ".repeat(TSL_BYTES + 1)).expect_err("too long");
    assert_eq!(Model::read(&json!({})), Ok(Model::default()));
}
