//! Functions of places on the earth. A latitude (-90 to 90) always stands before a longitude (-180 to
//! 180), in degrees; lengths are metres on a sphere with the mean earth radius.

use crate::expr::Const;
use crate::functions::{
    Depends, Fault, Function, Kind, NO_PREPARE, Nulls, Param, Prepared, Problem, Site,
};
use crate::functions::{example, missing, required};
use crate::json;
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions of places share.
pub(in crate::functions) const GEO: Function = Function {
    name: "",
    aliases: &[],
    family: "geo",
    signature: "",
    price: Price::new(3_000, 60),
    params: &[],
    rest: None,
    result: Kind::Number,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// The mean radius R1 of the IUGG, in metres.
const RADIUS: f64 = 6_371_008.8;

pub(in crate::functions) const fn number(name: &'static str) -> Param {
    required(name, Kind::Number)
}

const TWO_PLACES: &[Param] = &[number("lat1"), number("lon1"), number("lat2"), number("lon2")];

/// A number of an argument that was coerced to one.
pub(in crate::functions) fn real(arguments: &[Value<'_>], index: usize) -> f64 {
    arguments.get(index).and_then(Value::as_num).map_or(0.0, Num::as_f64)
}

/// A place: latitude and longitude in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::functions) struct Place {
    pub(in crate::functions) lat: f64,
    pub(in crate::functions) lon: f64,
}

impl Place {
    pub(in crate::functions) fn new(lat: f64, lon: f64) -> Result<Self, Fault> {
        let wrong = |text: String| {
            Err(Fault::new("domain", text).because("the latitude stands before the longitude"))
        };
        if !(-90.0..=90.0).contains(&lat) {
            return wrong(format!("a latitude is -90 to 90, not {lat}"));
        }
        if !(-180.0..=180.0).contains(&lon) {
            return wrong(format!("a longitude is -180 to 180, not {lon}"));
        }
        Ok(Self { lat, lon })
    }

    /// The place of two arguments.
    pub(in crate::functions) fn of(arguments: &[Value<'_>], index: usize) -> Result<Self, Fault> {
        Self::new(real(arguments, index), real(arguments, index + 1))
    }

    /// The place as `{"lat":…,"lon":…}` with 9 decimals, a tenth of a millimetre.
    pub(in crate::functions) fn object<'a>(self) -> Value<'a> {
        self.written(|value| (value * 1e9).round() / 1e9)
    }

    fn written<'a>(self, round: fn(f64) -> f64) -> Value<'a> {
        let mut out = Vec::with_capacity(48);
        for (key, value) in [(&b"{\"lat\":"[..], self.lat), (b",\"lon\":", self.lon)] {
            out.extend_from_slice(key);
            Num::from_f64(round(value)).unwrap_or(Num::Int(0)).write(&mut out);
        }
        out.push(b'}');
        Value::Json(String::from_utf8(out).unwrap_or_default().into())
    }

    /// The place with all digits, for results that are exact.
    pub(in crate::functions) fn exact<'a>(self) -> Value<'a> {
        self.written(|value| value)
    }

    /// The metres to another place by the haversine formula.
    fn distance(self, other: Self) -> f64 {
        let (a, b) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lat = ((b - a) / 2.0).sin();
        let half_lon = ((other.lon - self.lon).to_radians() / 2.0).sin();
        let h = half_lat * half_lat + a.cos() * b.cos() * half_lon * half_lon;
        2.0 * RADIUS * h.min(1.0).sqrt().asin()
    }
}

/// A computed number as a result.
pub(in crate::functions) fn float<'a>(value: f64) -> Result<Value<'a>, Fault> {
    Num::from_f64(value)
        .map(Value::number)
        .ok_or_else(|| Fault::new("not_finite", "the result is too large"))
}

pub(in crate::functions) const DISTANCE: Function = Function {
    name: "distance",
    signature: "distance(lat1, lon1, lat2, lon2)",
    params: TWO_PLACES,
    summary: "The metres between two places, latitude before longitude, over a sphere of the mean \
              earth radius 6371008.8 m (haversine; at most 0.6 % off).",
    examples: &[
        example("floor(distance(31.2304, 121.4737, 39.9042, 116.4074))", "{}", "1067311"),
        example("distance(lat, lon, 30.25, 120.2)", r#"{"lat":30.25,"lon":120.2}"#, "0"),
        example("floor(distance(0, 179.5, 0, -179.5))", "{}", "111195"),
        example("distance(lat, 0, 0, 0)", r#"{"lat":null}"#, "null"),
        missing("distance(lat, lon, 0, 0)", r#"{"lat":121.4737,"lon":31.2304}"#),
    ],
    eval: |arguments, _| float(Place::of(arguments, 0)?.distance(Place::of(arguments, 2)?)),
    ..GEO
};

pub(in crate::functions) const BEARING: Function = Function {
    name: "bearing",
    signature: "bearing(lat1, lon1, lat2, lon2)",
    params: TWO_PLACES,
    summary: "The direction in which the shortest way from the first place to the second starts, in \
              degrees clockwise from north, 0 up to, and without, 360.",
    examples: &[
        example("floor(bearing(31.2304, 121.4737, 39.9042, 116.4074))", "{}", "336"),
        example("bearing(0, 0, 0, 1)", "{}", "90"),
        example("bearing(0, 0, 0, 0)", "{}", "0"),
    ],
    eval: |arguments, _| {
        let (from, to) = (Place::of(arguments, 0)?, Place::of(arguments, 2)?);
        let (a, b) = (from.lat.to_radians(), to.lat.to_radians());
        let turn = (to.lon - from.lon).to_radians();
        let (east, north) =
            (turn.sin() * b.cos(), a.cos() * b.sin() - a.sin() * b.cos() * turn.cos());
        let degrees = east.atan2(north).to_degrees().rem_euclid(360.0);
        // A tiny negative angle is rounded up to 360.
        float(if degrees < 360.0 { degrees } else { 0.0 })
    },
    ..GEO
};

pub(in crate::functions) const DESTINATION: Function = Function {
    name: "destination",
    signature: "destination(lat, lon, bearing, metres)",
    params: &[number("lat"), number("lon"), number("bearing"), number("metres")],
    result: Kind::Object,
    summary: "The place, `{\"lat\":…,\"lon\":…}`, that is some metres away in a direction (degrees \
              clockwise from north).",
    examples: &[
        example("destination(0, 0, 90, 111195.080233533)", "{}", r#"{"lat":0,"lon":1}"#),
        example("destination(31, 121, 0, 0)", "{}", r#"{"lat":31,"lon":121}"#),
        missing("destination(91, 0, 0, 0)", "{}"),
    ],
    eval: |arguments, _| {
        let from = Place::of(arguments, 0)?;
        let direction = real(arguments, 2).to_radians();
        let angle = real(arguments, 3) / RADIUS;
        if !direction.is_finite() || !angle.is_finite() {
            return Err(Fault::new("not_finite", "the direction or the distance is too large"));
        }
        let (lat, lon) = (from.lat.to_radians(), from.lon.to_radians());
        let sine = lat.sin() * angle.cos() + lat.cos() * angle.sin() * direction.cos();
        let east = direction.sin() * angle.sin() * lat.cos();
        let to = lon + east.atan2(angle.cos() - lat.sin() * sine);
        let lon = (to.to_degrees() + 180.0).rem_euclid(360.0) - 180.0;
        Ok(Place { lat: sine.clamp(-1.0, 1.0).asin().to_degrees(), lon }.object())
    },
    ..GEO
};

pub(in crate::functions) const IN_CIRCLE: Function = Function {
    name: "in_circle",
    signature: "in_circle(lat, lon, center_lat, center_lon, metres)",
    params: &[
        number("lat"),
        number("lon"),
        number("center_lat"),
        number("center_lon"),
        number("metres"),
    ],
    result: Kind::Boolean,
    summary: "Whether a place is at most some metres away from a centre, as distance measures.",
    examples: &[
        example(
            "in_circle(lat, lon, 31.23, 121.47, 500)",
            r#"{"lat":31.2304,"lon":121.4737}"#,
            "true",
        ),
        example("in_circle(31.25, 121.47, 31.23, 121.47, 500)", "{}", "false"),
        missing("in_circle(0, 0, 0, 0, r)", r#"{"r":-1}"#),
    ],
    eval: |arguments, _| {
        let (place, center) = (Place::of(arguments, 0)?, Place::of(arguments, 2)?);
        let metres = real(arguments, 4);
        if metres < 0.0 {
            return Err(Fault::new("domain", format!("a radius is not negative: {metres}")));
        }
        Ok(Value::Bool(place.distance(center) <= metres))
    },
    ..GEO
};

pub(in crate::functions) const IN_BOX: Function = Function {
    name: "in_box",
    signature: "in_box(lat, lon, south, west, north, east)",
    params: &[
        number("lat"),
        number("lon"),
        number("south"),
        number("west"),
        number("north"),
        number("east"),
    ],
    result: Kind::Boolean,
    summary: "Whether a place is in a box of two latitudes and two longitudes, borders included. A \
              box whose west is greater than its east goes over the 180th meridian.",
    examples: &[
        example("in_box(lat, lon, 31, 121, 32, 122)", r#"{"lat":31.2304,"lon":121.4737}"#, "true"),
        example("in_box(-17, 179.9, -20, 177, -15, -178)", "{}", "true"),
        example("in_box(31, 120.9, 31, 121, 32, 122)", "{}", "false"),
        missing("in_box(0, 0, 10, 0, 5, 1)", "{}"),
    ],
    eval: |arguments, _| {
        let place = Place::of(arguments, 0)?;
        let (low, high) = (Place::of(arguments, 2)?, Place::of(arguments, 4)?);
        if low.lat > high.lat {
            let message = format!("the south, {}, is north of the north, {}", low.lat, high.lat);
            return Err(Fault::new("domain", message));
        }
        let lon = if low.lon <= high.lon {
            (low.lon..=high.lon).contains(&place.lon)
        } else {
            place.lon >= low.lon || place.lon <= high.lon
        };
        Ok(Value::Bool(lon && (low.lat..=high.lat).contains(&place.lat)))
    },
    ..GEO
};

const CORNERS: &str = "an ARRAY of at least 3 corners `[latitude, longitude]`, or its JSON as text";

/// Where a place is as seen from the corners that were given so far.
struct Rays {
    place: Place,
    first: Option<Place>,
    last: Option<Place>,
    corners: usize,
    odd: bool,
    border: bool,
}

impl Rays {
    fn new(place: Place) -> Self {
        Self { place, first: None, last: None, corners: 0, odd: false, border: false }
    }

    fn corner(&mut self, corner: Place) {
        if let Some(last) = self.last {
            self.edge(last, corner);
        }
        self.first.get_or_insert(corner);
        self.last = Some(corner);
        self.corners += 1;
    }

    /// Counts the edges that a ray to the east crosses.
    fn edge(&mut self, a: Place, b: Place) {
        let p = self.place;
        let side = (b.lon - a.lon) * (p.lat - a.lat) - (b.lat - a.lat) * (p.lon - a.lon);
        let between = |x: f64, a: f64, b: f64| a.min(b) <= x && x <= a.max(b);
        if side == 0.0 && between(p.lat, a.lat, b.lat) && between(p.lon, a.lon, b.lon) {
            self.border = true;
        }
        if (a.lat > p.lat) != (b.lat > p.lat) {
            let lon = a.lon + (p.lat - a.lat) * (b.lon - a.lon) / (b.lat - a.lat);
            self.odd ^= p.lon < lon;
        }
    }

    fn inside(mut self) -> Result<bool, Fault> {
        if let (Some(first), Some(last)) = (self.first, self.last) {
            self.edge(last, first);
        }
        if self.corners < 3 {
            let message = format!("a polygon with {} corners; it takes {CORNERS}", self.corners);
            return Err(Fault::new("domain", message));
        }
        Ok(self.odd || self.border)
    }
}

/// Reads a polygon that is text.
fn polygon(text: &str) -> Result<Box<[[f64; 2]]>, Fault> {
    let wrong = |_| Fault::new("domain", format!("the text is no polygon; it takes {CORNERS}"));
    let corners: Vec<[f64; 2]> = serde_json::from_str(text).map_err(wrong)?;
    for [lat, lon] in &corners {
        Place::new(*lat, *lon)?;
    }
    if corners.len() < 3 {
        return Err(Fault::new("domain", format!("the text is no polygon; it takes {CORNERS}")));
    }
    Ok(corners.into())
}

/// A corner of an array of a document.
fn corner(raw: &[u8]) -> Result<Place, Fault> {
    let mut numbers = json::elements(raw).map(Num::parse);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Some(lat)), Some(Some(lon)), None) => Place::new(lat.as_f64(), lon.as_f64()),
        _ => {
            Err(Fault::new("domain", format!("a corner is no pair of numbers; it takes {CORNERS}")))
        }
    }
}

pub(in crate::functions) const IN_POLYGON: Function = Function {
    name: "in_polygon",
    signature: "in_polygon(lat, lon, polygon)",
    params: &[number("lat"), number("lon"), required("polygon", Kind::Any)],
    result: Kind::Boolean,
    summary: "Whether a place is in a polygon: an ARRAY of corners [latitude, longitude] (GeoJSON has \
              them the other way round), or its JSON as text; it need not be closed. Borders count \
              as inside, as far as rounding lets it be told; no polygon over a pole or the 180th \
              meridian.",
    examples: &[
        example(
            "in_polygon(lat, lon, '[[31,121],[32,121],[32,122],[31,122]]')",
            r#"{"lat":31.2304,"lon":121.4737}"#,
            "true",
        ),
        example("in_polygon(0.5, 0.5, p)", r#"{"p":[[0,0],[1,0],[0,1]]}"#, "true"),
        example("in_polygon(0.6, 0.6, p)", r#"{"p":[[0,0],[1,0],[0,1]]}"#, "false"),
        missing("in_polygon(0, 0, p)", r#"{"p":[[0,0],[1,0]]}"#),
    ],
    prepare: |arguments| {
        let Some(Some(Const::String(text))) = arguments.get(2) else {
            return Ok(Prepared::Nothing);
        };
        polygon(text).map(Prepared::Polygon).map_err(|fault| Problem {
            message: fault.message,
            expected: "such as '[[31,121],[32,121],[32,122]]'".into(),
        })
    },
    eval: in_polygon,
    ..GEO
};

fn in_polygon<'a>(arguments: &[Value<'a>], site: &Site<'a>) -> Result<Value<'a>, Fault> {
    let mut rays = Rays::new(Place::of(arguments, 0)?);
    let mut ready = |corners: &[[f64; 2]]| {
        for &[lat, lon] in corners {
            rays.corner(Place { lat, lon });
        }
    };
    match (site.prepared(), arguments.get(2)) {
        (Prepared::Polygon(corners), _) => ready(corners),
        (_, Some(Value::String(text))) => ready(&polygon(text)?),
        (_, Some(Value::Json(text))) if text.starts_with('[') => {
            for raw in json::elements(text.as_bytes()) {
                rays.corner(corner(raw)?);
            }
        }
        (_, value) => {
            let value = value.unwrap_or(&Value::Missing);
            return Err(Fault::wrong_type("in_polygon", CORNERS, value));
        }
    }
    rays.inside().map(Value::Bool)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(lat: f64, lon: f64, corners: &[[f64; 2]]) -> bool {
        let mut rays = Rays::new(Place { lat, lon });
        for &[lat, lon] in corners {
            rays.corner(Place { lat, lon });
        }
        rays.inside().expect("a polygon")
    }

    #[test]
    fn polygons_hold_what_is_in_them() {
        let square = [[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0]];
        let closed = [[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0], [0.0, 0.0]];
        for polygon in [&square[..], &closed[..]] {
            for (lat, lon, want) in [
                (5.0, 5.0, true),
                (0.0, 0.0, true),
                (10.0, 10.0, true),
                (0.0, 5.0, true),
                (5.0, 10.0, true),
                (10.1, 5.0, false),
                (5.0, -0.1, false),
                (10.0, 10.1, false),
                (0.0, -1.0, false),
            ] {
                assert_eq!(inside(lat, lon, polygon), want, "{lat},{lon}");
            }
        }
        // A U: its notch is outside; the ray meets corners on its way.
        let u = [
            [0.0, 0.0],
            [0.0, 6.0],
            [6.0, 6.0],
            [6.0, 4.0],
            [2.0, 4.0],
            [2.0, 2.0],
            [6.0, 2.0],
            [6.0, 0.0],
        ];
        for (lat, lon, want) in [
            (4.0, 3.0, false),
            (1.0, 3.0, true),
            (2.0, 3.0, true),
            (4.0, 1.0, true),
            (6.0, 3.0, false),
            (2.0, 1.0, true),
        ] {
            assert_eq!(inside(lat, lon, &u), want, "{lat},{lon}");
        }
    }

    #[test]
    fn distances_are_those_of_a_sphere() {
        let place = |lat, lon| Place { lat, lon };
        let quarter = std::f64::consts::FRAC_PI_2 * RADIUS;
        for (a, b, want) in [
            (place(0.0, 0.0), place(0.0, 90.0), quarter),
            (place(90.0, 7.0), place(0.0, 100.0), quarter),
            (place(0.0, 0.0), place(0.0, 180.0), 2.0 * quarter),
            (place(90.0, 0.0), place(-90.0, 33.0), 2.0 * quarter),
        ] {
            assert!((a.distance(b) - want).abs() < 1e-6, "{a:?} {b:?}");
        }
    }
}
