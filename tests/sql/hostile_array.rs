//! Functions of arrays, objects and JSON over large and deep documents: their cost is linear (or
//! n·log n), their recursion bounded.

use super::hostile::once;

/// `count` items joined with commas.
fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

/// Runs expressions, each with a stack of its own, over a payload, where a quadratic one would take minutes.
fn over(payload: String, cases: &[(&str, &str)]) {
    let payload: &'static str = payload.leak();
    for (sql, want) in cases {
        let start = std::time::Instant::now();
        let want = if want.is_empty() { "{}".into() } else { format!(r#"{{"r":{want}}}"#) };
        assert_eq!(once(format!("SELECT {sql} AS r FROM \"t\""), payload), Ok(want), "{sql}");
        println!("{:>6} ms  {sql}", start.elapsed().as_millis());
    }
}

#[test]
fn large_arrays_take_linear_time() {
    let payload = format!(
        r#"{{"n":[{}],"m":[{}],"digits":"{}"}}"#,
        list(60_000, |n| (n * 7919 % 60_000).to_string()),
        list(60_000, |n| format!("{}.0", n + 30_000)),
        "9".repeat(100_000),
    );
    over(
        payload,
        &[
            ("array_length(array_distinct(n))", "60000"),
            ("array_length(array_union(n, m))", "90000"),
            ("array_length(array_intersect(n, m))", "30000"),
            ("array_length(array_except(n, m))", "30000"),
            ("array_contains_any(n, m)", "true"),
            ("array_contains_all(n, m)", "false"),
            ("array_sum(n)", "1799970000"),
            ("array_median(n)", "29999.5"),
            ("get(array_sort(n, 'desc'), 0)", "59999"),
            ("array_length(array_shuffle(n))", "60000"),
            ("array_contains(n, digits)", "false"),
            ("array_length(array_filter(n, '$', '=', digits))", "0"),
            ("array_length(array_chunk(n, 7))", "8572"),
            ("array_length(array_zip(n, m))", "60000"),
            ("object_size(array_group_by(n, '$'))", "60000"),
        ],
    );
}

#[test]
fn large_objects_take_linear_time() {
    let payload = format!(
        r#"{{"o":{{{}}},"p":{{{}}},"e":[{}],"k":[{}],"pairs":[{}]}}"#,
        list(20_000, |n| format!("\"k{n}\":{n}")),
        list(20_000, |n| format!("\"k{}\":{n}", n + 10_000)),
        list(50_000, |_| "{}".into()),
        list(10_000, |n| format!("\"k{n}\"")),
        list(20_000, |n| format!("[\"k{}\",{n}]", n % 10_000)),
    );
    over(
        payload,
        &[
            ("object_size(o)", "20000"),
            ("object_size(merge(o, p))", "30000"),
            ("object_size(json_merge_patch(o, p))", "30000"),
            ("array_length(changed_keys(o, p))", "30000"),
            ("object_size(object_pick(o, k))", "10000"),
            ("object_size(object_remove(o, k))", "10000"),
            ("object_size(object_from_entries(pairs))", "10000"),
            ("object_size(flatten_object(o))", "20000"),
            ("object_size(nest(o))", "20000"),
            ("object_size(put(o, 'k1.x', 1))", ""),
            ("object_size(put(o, 'k20000.x', 1))", "20001"),
            ("array_contains(e, o)", "false"),
            ("array_position(e, o)", "-1"),
            ("array_length(array_remove(e, o))", "50000"),
            ("array_length(array_filter(e, '$', '<>', o))", "50000"),
            ("json_equal(o, p)", "false"),
        ],
    );
}

#[test]
fn long_names_are_written_once() {
    // A copy of the name for each of its parts would be 24 GB.
    let (name, parts) = ("K".repeat(400_000), list(60_000, |n| format!("\"{n}\":{{}}")));
    let payload = format!(r#"{{"items":{{"{name}":{{"value":{{{parts}}}}}}}}}"#);
    over(payload, &[("object_size(thingPropertyFlatMap())", "0")]);
}

#[test]
fn deep_documents_stay_on_the_stack() {
    // The document itself is a level.
    let open = r#"{"x":"#.repeat(126);
    let payload = format!(
        r#"{{"a":{open}{{"y":1}}{end},"b":{open}{{"y":2}}{end},"c":{array}}}"#,
        end = "}".repeat(126),
        array = "[".repeat(127) + &"]".repeat(127),
    );
    let path = ["x"; 126].join(".");
    over(
        payload,
        &[
            (&format!("get(a, '{path}.y')"), "1"),
            (&format!("get(put(a, '{path}.y', 5), '{path}.y')"), "5"),
            (&format!("get(json_merge_patch(a, b), '{path}.y')"), "2"),
            ("object_size(flatten_object(a))", "1"),
            ("json_equal(nest(flatten_object(a)), a)", "true"),
            ("json_equal(parse_json(to_json(a)), a)", "true"),
            ("json_equal(a, b)", "false"),
            ("array_length(array_distinct(array(c, c)))", "1"),
            ("array_contains(array(c), c)", "true"),
            ("array_length(array_flatten(c, 200))", "0"),
            ("array(array(c))", ""),
            ("json_valid(json_pretty(a))", "true"),
        ],
    );
}

#[test]
fn results_are_bounded() {
    let many = "a".repeat(100_000);
    let payload = format!(
        r#"{{"a":"{many}","o":{{"{many}":{{{}}}}},"keys":{{{}}},"l":[{}],"one":[1]}}"#,
        list(1000, |n| format!("\"k{n}\":1")),
        list(1000, |n| format!("\"{n}.{}\":1", ["a"; 120].join("."))),
        list(100_000, |_| "1".into()),
    );
    let args = vec!["l"; 60].join(", ");
    over(
        payload,
        &[
            ("array_repeat(a, 100)", ""),
            ("array_length(sequence(1, 5000000))", ""),
            ("array_length(sequence(-9223372036854775807, 9223372036854775807))", ""),
            ("flatten_object(o)", ""),
            ("nest(keys) IS NOT NULL", "true"),
            (&format!("array_zip(one, {args})"), ""),
            (&format!("array_concat({args})"), ""),
            (&format!("array({})", vec!["a"; 60].join(", ")), ""),
        ],
    );
}
