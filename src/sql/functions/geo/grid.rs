//! Functions of places that name cells of a grid, and those between the coordinates that maps of
//! China use.

use crate::functions::geo::place::{GEO, Place, number};
use crate::functions::{
    Example, Fault, Function, Kind, Param, example, missing, optional, required,
};
use crate::lex::shorten;
use crate::number::Num;
use crate::value::Value;

/// The digits of a geohash, in their order.
const BASE32: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// Characters that a geohash may have: 60 bits, about 4 cm.
const HASH_MAX: i64 = 12;

const PLACE: &[Param] = &[number("lat"), number("lon")];

pub(in crate::functions) const GEOHASH_ENCODE: Function = Function {
    name: "geohash_encode",
    aliases: &["geohash", "geohashEncode"],
    signature: "geohash_encode(lat, lon[, length])",
    params: &[number("lat"), number("lon"), optional("length", Kind::Integer)],
    result: Kind::Text,
    summary: "The geohash of a place with 1 to 12 characters (12). Places whose geohashes start the \
              same are near each other: 6 characters are about a kilometre.",
    examples: &[
        example("geohash_encode(57.64911, 10.40744, 11)", "{}", r#""u4pruydqqvj""#),
        example(
            "geohash_encode(lat, lon)",
            r#"{"lat":31.2304,"lon":121.4737}"#,
            r#""wtw3sjq6q2e8""#,
        ),
        missing("geohash_encode(0, 0, n)", r#"{"n":13}"#),
    ],
    eval: |arguments, _| {
        let place = Place::of(arguments, 0)?;
        let length = arguments.get(2).and_then(Value::as_num).map_or(HASH_MAX, Num::truncate);
        let Some(length) = usize::try_from(length).ok().filter(|n| (1..=12).contains(n)) else {
            let message = format!("a geohash has 1 to {HASH_MAX} characters, not {length}");
            return Err(Fault::new("domain", message));
        };
        let (mut lat, mut lon) = ((-90.0, 90.0), (-180.0, 180.0));
        let mut text = String::with_capacity(length);
        for at in 0..length {
            let mut digit = 0;
            for bit in 0..5 {
                let odd = (at * 5 + bit) % 2 == 1;
                let (range, value) =
                    if odd { (&mut lat, place.lat) } else { (&mut lon, place.lon) };
                let middle = f64::midpoint(range.0, range.1);
                let upper = value >= middle;
                *(if upper { &mut range.0 } else { &mut range.1 }) = middle;
                digit = digit << 1 | usize::from(upper);
            }
            text.push(char::from(BASE32[digit]));
        }
        Ok(Value::text(text))
    },
    ..GEO
};

pub(in crate::functions) const GEOHASH_DECODE: Function = Function {
    name: "geohash_decode",
    signature: "geohash_decode(hash)",
    params: &[required("hash", Kind::Text)],
    result: Kind::Object,
    summary: "The middle of the cell of a geohash of 1 to 12 characters, `{\"lat\":…,\"lon\":…}`.",
    examples: &[
        example("geohash_decode('ezs42')", "{}", r#"{"lat":42.60498046875,"lon":-5.60302734375}"#),
        example("geohash_decode('S')", "{}", r#"{"lat":22.5,"lon":22.5}"#),
        missing("geohash_decode(a)", r#"{"a":"ail"}"#),
    ],
    eval: |arguments, _| {
        let Some(Value::String(hash)) = arguments.first() else { return Ok(Value::Missing) };
        let wrong = || {
            let message = format!("`{}` is no geohash", shorten(hash));
            Fault::new("domain", message).because("it has 1 to 12 of 0-9 and b-z without i, l, o")
        };
        if hash.is_empty() || hash.len() > 12 {
            return Err(wrong());
        }
        let (mut lat, mut lon) = ((-90.0, 90.0), (-180.0, 180.0));
        let mut odd = false;
        for byte in hash.bytes() {
            let same = |digit: &u8| *digit == byte.to_ascii_lowercase();
            let digit = BASE32.iter().position(same).ok_or_else(wrong)?;
            for bit in (0..5).rev() {
                let range: &mut (f64, f64) = if odd { &mut lat } else { &mut lon };
                let middle = f64::midpoint(range.0, range.1);
                *(if digit >> bit & 1 == 1 { &mut range.0 } else { &mut range.1 }) = middle;
                odd = !odd;
            }
        }
        let middle = |range: (f64, f64)| f64::midpoint(range.0, range.1);
        Ok(Place { lat: middle(lat), lon: middle(lon) }.exact())
    },
    ..GEO
};

pub(in crate::functions) const TILE: Function = Function {
    name: "tile",
    signature: "tile(lat, lon, zoom)",
    params: &[number("lat"), number("lon"), required("zoom", Kind::Integer)],
    result: Kind::Object,
    summary: "The tile of a web map (Web Mercator) that a place is on, `{\"z\":…,\"x\":…,\"y\":…}`, at \
              a zoom of 0 to 30; y counts from the north, beyond 85.05° it is the last.",
    examples: &[
        example("tile(31.2304, 121.4737, 10)", "{}", r#"{"z":10,"x":857,"y":418}"#),
        example("tile(-90, 180, 1)", "{}", r#"{"z":1,"x":1,"y":1}"#),
        missing("tile(0, 0, z)", r#"{"z":31}"#),
    ],
    eval: |arguments, _| {
        let place = Place::of(arguments, 0)?;
        let zoom = arguments.get(2).and_then(Value::as_num).map_or(0, Num::truncate);
        let Some(power) = u32::try_from(zoom).ok().filter(|zoom| *zoom <= 30) else {
            return Err(Fault::new("domain", format!("a zoom is 0 to 30, not {zoom}")));
        };
        let tiles = f64::from(1_u32 << power);
        let x = (place.lon + 180.0) / 360.0 * tiles;
        let y = (1.0 - place.lat.to_radians().tan().asinh() / std::f64::consts::PI) / 2.0 * tiles;
        #[expect(clippy::cast_possible_truncation, reason = "held below 2^30")]
        let cell = |value: f64| value.clamp(0.0, tiles - 1.0) as i64;
        Ok(Value::Json(format!("{{\"z\":{zoom},\"x\":{},\"y\":{}}}", cell(x), cell(y)).into()))
    },
    ..GEO
};

/// The axis and the squared eccentricity of Krassovsky's ellipsoid, which GCJ-02 takes.
const AXIS: f64 = 6_378_245.0;
const ECCENTRICITY: f64 = 0.006_693_421_622_965_943;

/// GCJ-02 moves only what is in this box around China.
fn in_china(place: Place) -> bool {
    (72.004..=137.8347).contains(&place.lon) && (0.8293..=55.8271).contains(&place.lat)
}

/// By how much GCJ-02 moves a place, in degrees.
fn shift(place: Place) -> Place {
    use std::f64::consts::PI;
    let (x, y) = (place.lon - 105.0, place.lat - 35.0);
    let waves = |a: f64, long: [f64; 2], of: f64| {
        a + ((of * PI).sin() * 20.0 + (of / 3.0 * PI).sin() * 40.0) * 2.0 / 3.0
            + ((of / 12.0 * PI).sin() * long[0] + (of / 30.0 * PI).sin() * long[1]) * 2.0 / 3.0
    };
    let ripple = ((6.0 * x * PI).sin() * 20.0 + (2.0 * x * PI).sin() * 20.0) * 2.0 / 3.0;
    let root = x.abs().sqrt();
    let lat = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root;
    let lat = waves(lat + ripple, [160.0, 320.0], y);
    let lon = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root;
    let lon = waves(lon + ripple, [150.0, 300.0], x);
    let radians = place.lat.to_radians();
    let magic = 1.0 - ECCENTRICITY * radians.sin() * radians.sin();
    let meridian = AXIS * (1.0 - ECCENTRICITY) / (magic * magic.sqrt());
    Place {
        lat: (lat / meridian).to_degrees(),
        lon: (lon / (AXIS / magic.sqrt() * radians.cos())).to_degrees(),
    }
}

fn wgs84_to_gcj02(place: Place) -> Place {
    if !in_china(place) {
        return place;
    }
    let by = shift(place);
    Place { lat: place.lat + by.lat, lon: place.lon + by.lon }
}

fn gcj02_to_wgs84(place: Place) -> Place {
    if !in_china(place) {
        return place;
    }
    // The shift changes slowly: each step leaves less than a hundredth of the error.
    let mut found = place;
    for _ in 0..8 {
        let by = shift(found);
        found = Place { lat: place.lat - by.lat, lon: place.lon - by.lon };
    }
    found
}

/// What BD-09 turns by.
const TURN: f64 = std::f64::consts::PI * 3000.0 / 180.0;

fn gcj02_to_bd09(place: Place) -> Place {
    let (x, y) = (place.lon, place.lat);
    let length = x.hypot(y) + 0.000_02 * (y * TURN).sin();
    let angle = y.atan2(x) + 0.000_003 * (x * TURN).cos();
    Place { lat: length * angle.sin() + 0.006, lon: length * angle.cos() + 0.0065 }
}

fn bd09_to_gcj02(place: Place) -> Place {
    // The usual inverse is off by up to a metre; it is where the search starts.
    let mut found = Place { lat: place.lat - 0.006, lon: place.lon - 0.0065 };
    for _ in 0..8 {
        let back = gcj02_to_bd09(found);
        found.lat += place.lat - back.lat;
        found.lon += place.lon - back.lon;
    }
    found
}

fn convert<'a>(arguments: &[Value<'a>], with: fn(Place) -> Place) -> Result<Value<'a>, Fault> {
    let found = with(Place::of(arguments, 0)?);
    Place::new(found.lat, found.lon).map(Place::object)
}

const fn conversion(
    name: &'static str,
    signature: &'static str,
    summary: &'static str,
    examples: &'static [Example],
    eval: crate::functions::Eval,
) -> Function {
    Function {
        name,
        signature,
        params: PLACE,
        result: Kind::Object,
        summary,
        examples,
        eval,
        ..GEO
    }
}

pub(in crate::functions) const WGS84_TO_GCJ02: Function = conversion(
    "wgs84_to_gcj02",
    "wgs84_to_gcj02(lat, lon)",
    "A place of GPS (WGS-84) as maps of China show it (GCJ-02: Amap, Tencent), \
     `{\"lat\":…,\"lon\":…}`; outside of China it does not move.",
    &[
        example(
            "wgs84_to_gcj02(lat, lon)",
            r#"{"lat":39.915,"lon":116.404}"#,
            r#"{"lat":39.916404282,"lon":116.410244499}"#,
        ),
        example("wgs84_to_gcj02(48.8566, 2.3522)", "{}", r#"{"lat":48.8566,"lon":2.3522}"#),
    ],
    |arguments, _| convert(arguments, wgs84_to_gcj02),
);

pub(in crate::functions) const GCJ02_TO_WGS84: Function = conversion(
    "gcj02_to_wgs84",
    "gcj02_to_wgs84(lat, lon)",
    "The reverse of wgs84_to_gcj02, exact to a millimetre.",
    &[
        example(
            "gcj02_to_wgs84(39.916404281502, 116.410244499169)",
            "{}",
            r#"{"lat":39.915,"lon":116.404}"#,
        ),
        example("gcj02_to_wgs84(48.8566, 2.3522)", "{}", r#"{"lat":48.8566,"lon":2.3522}"#),
    ],
    |arguments, _| convert(arguments, gcj02_to_wgs84),
);

pub(in crate::functions) const GCJ02_TO_BD09: Function = conversion(
    "gcj02_to_bd09",
    "gcj02_to_bd09(lat, lon)",
    "A place of GCJ-02 as maps of Baidu show it (BD-09), `{\"lat\":…,\"lon\":…}`.",
    &[
        example(
            "gcj02_to_bd09(39.915, 116.404)",
            "{}",
            r#"{"lat":39.921336994,"lon":116.410369494}"#,
        ),
        missing("gcj02_to_bd09(116.404, 39.915)", "{}"),
    ],
    |arguments, _| convert(arguments, gcj02_to_bd09),
);

pub(in crate::functions) const BD09_TO_GCJ02: Function = conversion(
    "bd09_to_gcj02",
    "bd09_to_gcj02(lat, lon)",
    "The reverse of gcj02_to_bd09, exact to a millimetre.",
    &[
        example(
            "bd09_to_gcj02(39.915, 116.404)",
            "{}",
            r#"{"lat":39.908656339,"lon":116.397627088}"#,
        ),
        missing("bd09_to_gcj02(116.404, 39.915)", "{}"),
    ],
    |arguments, _| convert(arguments, bd09_to_gcj02),
);

pub(in crate::functions) const WGS84_TO_BD09: Function = conversion(
    "wgs84_to_bd09",
    "wgs84_to_bd09(lat, lon)",
    "A place of GPS (WGS-84) as maps of Baidu show it (BD-09), `{\"lat\":…,\"lon\":…}`.",
    &[
        example(
            "wgs84_to_bd09(39.915, 116.404)",
            "{}",
            r#"{"lat":39.922699552,"lon":116.416627244}"#,
        ),
        missing("wgs84_to_bd09(116.404, 39.915)", "{}"),
    ],
    |arguments, _| convert(arguments, |place| gcj02_to_bd09(wgs84_to_gcj02(place))),
);

pub(in crate::functions) const BD09_TO_WGS84: Function = conversion(
    "bd09_to_wgs84",
    "bd09_to_wgs84(lat, lon)",
    "The reverse of wgs84_to_bd09, exact to a millimetre.",
    &[
        example(
            "bd09_to_wgs84(39.922699552, 116.416627244)",
            "{}",
            r#"{"lat":39.915,"lon":116.404}"#,
        ),
        missing("bd09_to_wgs84(116.404, 39.915)", "{}"),
    ],
    |arguments, _| convert(arguments, |place| gcj02_to_wgs84(bd09_to_gcj02(place))),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_go_back_to_where_they_came_from() {
        for step in 0..2_000 {
            let place = Place {
                lat: 3.0 + f64::from(step % 50),
                lon: 74.0 + f64::from(step / 50) * 1.5 + 0.123,
            };
            for (there, back) in [
                (wgs84_to_gcj02 as fn(Place) -> Place, gcj02_to_wgs84 as fn(Place) -> Place),
                (gcj02_to_bd09, bd09_to_gcj02),
            ] {
                let again = back(there(place));
                let off = (again.lat - place.lat).abs().max((again.lon - place.lon).abs());
                assert!(off < 1e-8, "{place:?} became {again:?}");
            }
        }
    }
}
