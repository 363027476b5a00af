//! Times as answers write them: in one of the vendor's three forms, and in UTC as
//! `2019-02-28T06:14:33.000Z`.

use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};

/// A time as `2018-08-06 10:48:41` in China, whatever the daemon's zone, and in UTC.
pub(crate) fn china_and_utc(ms: u64) -> (String, String) {
    in_china(ms, "%Y-%m-%d %H:%M:%S")
}

/// A time as `Thu Feb 28 14:14:33 CST 2019`, which is China's, and in UTC.
pub(crate) fn cst_and_utc(ms: u64) -> (String, String) {
    in_china(ms, "%a %b %d %H:%M:%S CST %Y")
}

/// A time as `Wed, 20-Feb-2019 02:16:09 GMT` and in UTC.
pub(crate) fn gmt_and_utc(ms: u64) -> (String, String) {
    let time = timestamp(ms);
    (time.strftime("%a, %d-%b-%Y %H:%M:%S GMT").to_string(), utc(time))
}

fn in_china(ms: u64, form: &str) -> (String, String) {
    let time = timestamp(ms);
    let china = time.to_zoned(TimeZone::fixed(offset(8)));
    (china.strftime(form).to_string(), utc(time))
}

fn utc(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn timestamp(ms: u64) -> Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_like_the_vendors() {
        let ms = 1_550_628_969_000;
        let utc = "2019-02-20T02:16:09.000Z";
        assert_eq!(gmt_and_utc(ms), ("Wed, 20-Feb-2019 02:16:09 GMT".to_owned(), utc.to_owned()));
        assert_eq!(china_and_utc(ms), ("2019-02-20 10:16:09".to_owned(), utc.to_owned()));
        let want =
            ("Thu Feb 28 14:14:33 CST 2019".to_owned(), "2019-02-28T06:14:33.000Z".to_owned());
        assert_eq!(cst_and_utc(1_551_334_473_000), want);
    }
}
