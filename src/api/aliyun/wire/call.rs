//! A request whose signature is good, as operations read it: texts, numbers, booleans, lists, objects.
//!
//! It knows no operation and nothing of HTTP.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::answer::object;
use super::error::{self, ApiError, ErrorCode};
use crate::api::exchange::form::Parameters;

/// Elements of a list; operations have lower bounds of their own.
const ELEMENTS_MAX: usize = 1000;

/// The fields of one object of a list.
pub(crate) type Fields<'a> = BTreeMap<&'a str, &'a str>;

/// A request whose signature is good.
pub(crate) struct Call {
    /// What the answer repeats as `RequestId`.
    pub(crate) id: String,
    /// Where the request came: a name or an address, perhaps with a port.
    pub(crate) host: String,
    parameters: Parameters,
}

impl Call {
    pub(crate) fn new(id: String, host: String, parameters: Parameters) -> Self {
        Self { id, host, parameters }
    }

    /// A parameter as it was given; `None` when it was not.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// A parameter that the operation's row requires.
    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| error::MISSING_PARAMETER.with(name))
    }

    /// True when a parameter was given, be it a text, a list or objects.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name) || self.below(name).next().is_some()
    }

    /// A boolean, which clients write as `true` or `True`; `None` when it is missing or empty.
    ///
    /// # Errors
    /// [`error::FORMAT`].
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name) {
            None | Some("") => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => {
                Err(error::FORMAT.with(format!("{name} `{text}`; expected true or false")))
            }
        }
    }

    /// A whole number within a range; `None` when it is missing or empty.
    ///
    /// # Errors
    /// The given code.
    pub(crate) fn number(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
        code: &'static ErrorCode,
    ) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        match text.parse().ok().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let (least, most) = range.into_inner();
                Err(code.with(format!("{name} `{text}`; expected {least} to {most}")))
            }
        }
    }

    /// A list: the values of `name.1`, `name.2`, … in the order of their numbers; empty when there
    /// are none. At most 1000.
    ///
    /// # Errors
    /// [`error::INVALID_FORMAT`] for a number that is none, or that was given twice.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<&str>, ApiError> {
        let mut found = BTreeMap::new();
        for (full, rest, value) in self.below(name) {
            found.insert(element(full, rest)?, value);
        }
        Ok(found.into_values().collect())
    }

    /// Objects: of `name.1.Key`, `name.1.Value`, `name.2.Key`, … the fields of each in the order of
    /// their numbers; empty when there are none. At most 1000.
    ///
    /// # Errors
    /// As [`Call::list`].
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Fields<'_>>, ApiError> {
        let mut found: BTreeMap<usize, Fields<'_>> = BTreeMap::new();
        for (full, rest, value) in self.below(name) {
            let Some((number, field)) = rest.split_once('.') else {
                let text = format!("`{full}`; expected `{name}.1.` and the name of a field");
                return Err(error::INVALID_FORMAT.with(text));
            };
            found.entry(element(full, number)?).or_default().insert(field, value);
        }
        Ok(found.into_values().collect())
    }

    /// The parameters below a name: the full name, what follows the dot, and the value.
    fn below(&self, name: &str) -> impl Iterator<Item = (&str, &str, &str)> {
        let start = format!("{name}.");
        let length = start.len();
        // `/` is the character after the dot.
        let range = self.parameters.range(start..format!("{name}/"));
        range.map(move |(full, value)| {
            (full.as_str(), full.get(length..).unwrap_or(""), value.as_str())
        })
    }

    /// The answer of an operation that has nothing to tell.
    pub(crate) fn done(&self) -> Map<String, Value> {
        object(json!({ "RequestId": self.id, "Success": true }))
    }
}

/// The number of an element, which is written in only one way: so none comes twice.
fn element(full: &str, text: &str) -> Result<usize, ApiError> {
    match text.parse() {
        Ok(number) if (1..=ELEMENTS_MAX).contains(&number) && number.to_string() == text => {
            Ok(number)
        }
        _ => Err(error::INVALID_FORMAT
            .with(format!("`{full}`; elements of a list are numbered from 1 to {ELEMENTS_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::exchange::form;

    fn call(text: &str) -> Call {
        let mut parameters = Parameters::new();
        form::read(text.as_bytes(), &mut parameters).expect("form");
        Call::new(String::new(), String::new(), parameters)
    }

    #[test]
    fn lists_are_read_by_their_numbers() {
        let call = call("D.2=b&D.1=a&D.10=c&D=no&D.=&Dx.1=no&E/1=no&F.2=late&G.0=&H.01=&I.1001=");
        assert_eq!(call.list("D").expect_err("an empty number").code, "InvalidParameter.Format");
        assert_eq!(call.list("F"), Ok(vec!["late"]));
        assert_eq!(call.list("E"), Ok(Vec::new()));
        assert_eq!(call.list("None"), Ok(Vec::new()));
        for bad in ["G", "H", "I"] {
            call.list(bad).expect_err(bad);
        }
        let call = super::tests::call("D.2=b&D.1=a&D.10=c&D=no");
        assert_eq!(call.list("D"), Ok(vec!["a", "b", "c"]));
        assert!(call.has("D") && !call.has("C"));
        assert!(super::tests::call("D.1=").has("D"));
    }

    #[test]
    fn objects_have_their_fields() {
        let call = call("P.1.Key=k&P.1.Value=v&P.3.Key=x&Q.1=a&R.1.A.1=deep");
        let found = call.objects("P").expect("objects");
        assert_eq!(found, [Fields::from([("Key", "k"), ("Value", "v")]), [("Key", "x")].into()]);
        assert_eq!(call.objects("R"), Ok(vec![[("A.1", "deep")].into()]));
        call.objects("Q").expect_err("no field");
    }

    #[test]
    fn flags_and_numbers_are_read() {
        let call = call("a=True&b=false&c=&d=yes&n=7&m=x");
        assert_eq!(call.flag("a"), Ok(Some(true)));
        assert_eq!(call.flag("b"), Ok(Some(false)));
        assert_eq!((call.flag("c"), call.flag("z")), (Ok(None), Ok(None)));
        call.flag("d").expect_err("yes");
        assert_eq!(call.number("n", 1..=7, error::PAGE), Ok(Some(7)));
        assert_eq!(call.number("c", 1..=7, error::PAGE), Ok(None));
        let wrong = call.number("n", 1..=6, error::PAGE).expect_err("too much");
        assert_eq!(wrong.message, "invalid page: n `7`; expected 1 to 6");
        call.number("m", 1..=7, error::PAGE).expect_err("no number");
    }
}
