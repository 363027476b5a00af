//! `tidegate api`: call an operation of the API from a shell, signed as the vendor's clients sign.
//!
//! Which operations and parameters there are comes from their declarations. Options are in lower case,
//! and parameters start with a capital letter, as all of the vendor's do.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, anyhow, bail};
use connectors::contract::tree;
use jiff::Timestamp;
use serde_json::Value;

use super::asking::{KEY_ID, KEY_SECRET, PATIENCE, here, key, unreachable};
use super::publish::single_thread;
use super::{Failure, Outcome, install_tls, refused, say, usage};
use crate::api::form::{Parameters, encode};
use crate::api::signature::{sign, string_to_sign};
use crate::api::{KNOWN, Operation, operations};
use crate::config::Config;
use crate::problem::{Problem, nearest};
use crate::rule::store::KEY_FILE;

/// Parameters that every operation takes beside its own.
const COMMON: &[&str] = &["Format", "IotInstanceId", "RegionId", "ResourceGroupId", "Version"];

/// Arguments of `api`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The operation, and its parameters as `--Name value`; `--help` tells more.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ACTION --Name VALUE")]
    words: Vec<String>,
}

/// What the words of a command line ask for.
#[derive(Debug, Default)]
struct Asked {
    action: Option<String>,
    parameters: Parameters,
    curl: bool,
    help: bool,
    get: Option<String>,
    to: Option<SocketAddr>,
}

pub(super) fn run(args: &Args, config: Result<Config, Problem>) -> Outcome {
    let asked = read(&args.words).map_err(usage)?;
    let Some(action) = &asked.action else {
        print_operations();
        return match asked.help {
            true => Ok(()),
            false => Err(usage(anyhow!("which operation? `tidegate api ACTION --Name value`"))),
        };
    };
    let operation = find(action).map_err(usage)?;
    if asked.help {
        print_parameters(operation);
        return Ok(());
    }
    check(operation, &asked.parameters).map_err(usage)?;
    let config = config.map_err(refused)?;
    let to = here(asked.to.unwrap_or(config.listen.http));
    let key = key(&config).map_err(refused)?.ok_or_else(|| refused(no_key(&config)))?;
    if asked.curl {
        let query = signed("GET", operation, asked.parameters, &key);
        say(format_args!("curl 'http://{to}/?{query}'"));
        return Ok(());
    }
    install_tls();
    let body = signed("POST", operation, asked.parameters, &key);
    match single_thread(call(to, body, asked.get.as_deref())).map_err(refused)? {
        true => Ok(()),
        false => Err(Failure::Findings),
    }
}

fn read(words: &[String]) -> anyhow::Result<Asked> {
    let mut asked = Asked::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--") else {
            match (word.as_str(), &asked.action) {
                ("-h", _) => asked.help = true,
                (_, None) => asked.action = Some(word.clone()),
                (_, Some(action)) => bail!(
                    "`{word}` follows {action} without a name: write `--Name value`, and quotes around a value with spaces"
                ),
            }
            continue;
        };
        let (name, given) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        match name {
            "help" => asked.help = true,
            "curl" => asked.curl = true,
            "config" => bail!("`--config FILE` stands before `api`"),
            _ => {
                let value = match given {
                    Some(value) => value,
                    None => next(name, &mut words)?,
                };
                take(&mut asked, name, value)?;
            }
        }
    }
    Ok(asked)
}

/// The word after a name; what looks like another name is none by mistake.
fn next<'w>(name: &str, words: &mut impl Iterator<Item = &'w String>) -> anyhow::Result<String> {
    match words.next() {
        None => bail!("`--{name}` has no value; an empty one is `--{name}=`"),
        Some(word) if word.starts_with("--") => bail!(
            "`--{name}` is followed by `{word}`; a value that starts so is written `--{name}={word}`"
        ),
        Some(word) => Ok(word.clone()),
    }
}

fn take(asked: &mut Asked, name: &str, value: String) -> anyhow::Result<()> {
    if name == "get" {
        asked.get = Some(value);
        return Ok(());
    }
    if name == "to" {
        let address = value.parse();
        let address = address.with_context(|| {
            format!("`--to {value}`; expected an address and a port such as 127.0.0.1:8080")
        })?;
        asked.to = Some(address);
        return Ok(());
    }
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        bail!(
            "there is no option `--{name}`; expected --curl, --get PATH, --to ADDRESS or --help, or a parameter, whose name starts with a capital letter"
        );
    }
    if asked.parameters.insert(name.to_owned(), value).is_some() {
        bail!("`--{name}` is given twice; elements of a list are `--{name}.1`, `--{name}.2`, …");
    }
    Ok(())
}

/// The operation of that name.
fn find(action: &str) -> anyhow::Result<&'static Operation> {
    if let Some(operation) = operations().find(|operation| operation.name == action) {
        return Ok(operation);
    }
    if KNOWN.iter().any(|(_, names)| names.contains(&action)) {
        bail!("{action} is an operation of the vendor's that is not offered here");
    }
    let near = nearest(action, operations().map(|operation| operation.name));
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    bail!("there is no operation {action}{near}; `tidegate api --help` lists all of them")
}

/// Says what the daemon would say of names, and the nearest ones.
fn check(operation: &Operation, given: &Parameters) -> anyhow::Result<()> {
    let name = operation.name;
    // Of a list or an object, what stands before the first dot is declared.
    let first = |full: &str| full.split('.').next().unwrap_or_default().to_owned();
    let given: Vec<_> = given.keys().map(|full| first(full)).collect();
    let own = || operation.parameters.iter().map(|parameter| parameter.name);
    for one in &given {
        if !own().chain(COMMON.iter().copied()).any(|known| known == one) {
            let near = nearest(one, own());
            let near = near.map_or_else(String::new, |near| format!("; did you mean --{near}?"));
            bail!("{name} has no parameter --{one}{near} `tidegate api {name} --help` lists them");
        }
    }
    let needed = operation.parameters.iter().filter(|parameter| parameter.required);
    let missing =
        needed.map(|parameter| parameter.name).filter(|name| !given.iter().any(|g| g == name));
    let missing: Vec<_> = missing.map(|name| format!("--{name}")).collect();
    if !missing.is_empty() {
        bail!("{name} needs {} too; `tidegate api {name} --help` lists all", missing.join(", "));
    }
    Ok(())
}

fn no_key(config: &Config) -> anyhow::Error {
    let file = config.path(&config.data_dir).join(KEY_FILE);
    anyhow!(
        "there is no access key: neither {KEY_ID} and {KEY_SECRET} in the environment, nor `access_keys` in the configuration, nor the file {}, which the daemon makes; `tidegate keys create` makes another key",
        file.display()
    )
}

/// The parameters of a signed request, as a query or a form.
fn signed(
    method: &str,
    operation: &Operation,
    mut parameters: Parameters,
    (id, secret): &(String, String),
) -> String {
    let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    for (name, value) in [
        ("Action", operation.name),
        ("Format", "JSON"),
        ("Version", "2018-01-20"),
        ("AccessKeyId", id),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", &uuid::Uuid::new_v4().to_string()),
        ("Timestamp", &time),
    ] {
        parameters.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    let signature = sign(&string_to_sign(method, &parameters), secret);
    parameters.insert("Signature".to_owned(), signature);
    let pairs = parameters.iter();
    let pairs: Vec<_> =
        pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

/// Prints the answer; false when it is a refusal.
async fn call(to: SocketAddr, body: String, get: Option<&str>) -> anyhow::Result<bool> {
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let request = client
        .post(format!("http://{to}/"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = request.send().await.with_context(|| unreachable(to))?;
    let good = answer.status().is_success();
    let text = answer.text().await.context("the answer broke off")?;
    let Ok(json) = tree(text.as_bytes()) else {
        // Who asks for XML gets it as it is.
        say(format_args!("{}", text.trim_end()));
        return Ok(good && !text.contains("<Success>false</Success>"));
    };
    if !good || json["Success"] == Value::Bool(false) {
        // Not among the values that a script reads.
        writeln!(std::io::stderr(), "{json:#}").ok();
        return Ok(false);
    }
    match get {
        None => say(format_args!("{json:#}")),
        Some(path) => say(format_args!("{}", value_at(&json, path)?)),
    }
    Ok(true)
}

/// The value at a path such as `Data.GroupInfo.0.GroupId`; a text without its quotes.
fn value_at(json: &Value, path: &str) -> anyhow::Result<String> {
    match json.pointer(&format!("/{}", path.replace('.', "/"))) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Ok(other.to_string()),
        None => bail!("the answer has nothing at `{path}`:\n{json:#}"),
    }
}

fn print_operations() {
    say(format_args!(
        "tidegate api ACTION --Name value …     calls an operation and prints its answer\n\
         tidegate api ACTION --help             lists the parameters of an operation\n\n\
         --get PATH      print one value of the answer only, such as Data.GroupInfo.0.GroupId\n\
         --curl          print a signed request instead of sending it; it is good once, for 15 minutes\n\
         --to ADDRESS    the daemon's HTTP listener; the configured one by default\n\n\
         Signed with the key in {KEY_ID} and {KEY_SECRET}, else the first of `access_keys` of\n\
         the configuration, else the one in the file `{KEY_FILE}` of the data folder.\n"
    ));
    let offered: Vec<_> = operations().map(|operation| operation.name).collect();
    for (chapter, names) in KNOWN {
        print_chapter(chapter, names.iter().copied().filter(|name| offered.contains(name)));
    }
    let known = |name: &&str| KNOWN.iter().any(|(_, names)| names.contains(name));
    print_chapter("Of later documents", offered.iter().copied().filter(|name| !known(name)));
}

fn print_chapter<'a>(chapter: &str, names: impl Iterator<Item = &'a str>) {
    let names: Vec<_> = names.map(|name| format!("  {name}")).collect();
    if !names.is_empty() {
        say(format_args!("{chapter}:\n{}", names.join("\n")));
    }
}

fn print_parameters(operation: &Operation) {
    let role = operation.role.as_str();
    say(format_args!("{}, for keys of role {role} and above", operation.name));
    for parameter in operation.parameters {
        let need = if parameter.required { "needed" } else { "" };
        say(format_args!("{}", format!("  --{:<24}{need}", parameter.name).trim_end()));
    }
    say(format_args!(
        "Elements of lists are `--Name.1 value`, fields of objects `--Name.1.Field value`."
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &str) -> anyhow::Result<Asked> {
        read(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_read() {
        let good = asked("--curl GetRule --RuleId 1 --X=-- --to=127.0.0.1:1").expect("good");
        assert_eq!(good.action.as_deref(), Some("GetRule"));
        let parameters = [("RuleId", "1"), ("X", "--")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(good.parameters, Parameters::from(parameters));
        assert!(good.curl && !good.help && good.to.is_some());
        for (bad, part) in [
            ("GetRule 1", "without a name"),
            ("GetRule --RuleId", "has no value"),
            ("GetRule --RuleId --Name x", "is written `--RuleId=--Name`"),
            ("GetRule --RuleId 1 --RuleId 2", "given twice"),
            ("GetRule --ruleid 1", "no option `--ruleid`"),
            ("GetRule --to here", "expected an address"),
            ("GetRule --config x", "before `api`"),
        ] {
            let error = format!("{:#}", asked(bad).expect_err(bad));
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn names_are_checked() {
        let checked = |action: &str, names: &[&str]| {
            let given = names.iter().map(|name| ((*name).to_owned(), String::new())).collect();
            find(action).and_then(|operation| check(operation, &given))
        };
        checked("GetRule", &["RuleId", "IotInstanceId"]).expect("good");
        checked("QueryDeviceByTags", &["Tag.1.TagKey"]).expect("good");
        for (action, names, part) in [
            ("GetRul", &[][..], "did you mean GetRule?"),
            ("GetRule", &["RuelId"], "did you mean --RuleId?"),
            ("GetRule", &[], "needs --RuleId too"),
            ("RegisterDevice", &["ProductKey.1.X", "Nothing"], "no parameter --Nothing"),
        ] {
            let error = checked(action, names).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
