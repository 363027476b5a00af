//! Pages of a history: where one starts, where it is cut, and what its end says about the next.
//!
//! Nothing is read here.
//!
//! A page is asked for by a time, and the end of the one before says which: `NextTime` goes into the next
//! request as its `StartTime`. Values of one millisecond that do not fit into a page would be left out or
//! come twice by that, so a time in the middle of a millisecond is written as a number of its own: times
//! [`WITHIN`] the milliseconds, and the number of the value among those of its millisecond. It is far
//! above every time of day and below 2⁵³, so that clients of JavaScript keep it, too.

/// Values of one series that a millisecond can hold; also the step of times within one.
pub const WITHIN: u64 = 2_048;

/// Numbers from here on are places within a millisecond: as a time it would be the year 6429.
const PLACES: u64 = 1 << 47;

/// A place between values of a series: before the value with that time and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The number of the value among those of its millisecond, from 0.
    pub nth: u64,
}

/// The order of the values of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    Ascending,
    /// The newest first.
    Descending,
}

/// What a page may have: from the place where it starts to a time, which is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Where it starts: ascending the first value that is wanted, descending the first that is not.
    pub start: Mark,
    /// The time at which it ends.
    pub end_ms: u64,
    /// In which order.
    pub order: Order,
}

/// A value as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub mark: Mark,
    /// What is kept.
    pub value: String,
}

/// Values of some series, all of the same span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// For each series its values.
    pub series: Vec<Vec<Row>>,
    /// Whether there are more.
    pub more: bool,
    /// What starts the next page: of more values, or of those to come.
    pub next: u64,
}

impl Window {
    /// A window from one time to another, both included, as a request writes them.
    #[must_use]
    pub fn new(start: u64, end_ms: u64, order: Order) -> Self {
        let start = match (start >= PLACES, order) {
            (true, _) => Mark { time_ms: start / WITHIN, nth: start % WITHIN },
            (false, Order::Ascending) => Mark { time_ms: start, nth: 0 },
            (false, Order::Descending) => Mark { time_ms: start + 1, nth: 0 },
        };
        Self { start, end_ms, order }
    }

    /// True when it starts where it ends, or on the side that its order says.
    #[must_use]
    pub fn is_straight(&self) -> bool {
        match self.order {
            Order::Ascending => self.start.time_ms <= self.end_ms,
            Order::Descending => self.start > Mark { time_ms: self.end_ms, nth: 0 },
        }
    }

    /// The same without what is older than that.
    #[must_use]
    pub fn since(self, oldest_ms: u64) -> Self {
        match self.order {
            Order::Ascending => {
                let oldest = Mark { time_ms: oldest_ms, nth: 0 };
                Self { start: self.start.max(oldest), ..self }
            }
            Order::Descending => Self { end_ms: self.end_ms.max(oldest_ms), ..self },
        }
    }

    /// Whether a value at `a` comes before one at `b`.
    fn before(&self, a: Mark, b: Mark) -> bool {
        match self.order {
            Order::Ascending => a < b,
            Order::Descending => a > b,
        }
    }

    /// Cuts series of which one value more than `size` was read, all at the same place, so that the next
    /// page goes on there with all of them.
    pub(super) fn cut(&self, mut series: Vec<Vec<Row>>, size: usize) -> Page {
        let left = series.iter().filter_map(|rows| rows.get(size)).map(|row| row.mark);
        let cut = left.reduce(|a, b| if self.before(b, a) { b } else { a });
        if let Some(cut) = cut {
            for rows in &mut series {
                rows.retain(|row| self.before(row.mark, cut));
            }
        }
        let shown = series.iter().filter_map(|rows| rows.last()).map(|row| row.mark);
        let last = shown.reduce(|a, b| if self.before(a, b) { b } else { a });
        Page { series, more: cut.is_some(), next: self.next(last, cut) }
    }

    /// What starts the next page, behind the last value of this one and at the first that was cut off.
    fn next(&self, last: Option<Mark>, cut: Option<Mark>) -> u64 {
        let split = cut.filter(|cut| last.is_some_and(|last| last.time_ms == cut.time_ms));
        match (self.order, split, last) {
            (Order::Ascending, Some(cut), _) => cut.time_ms * WITHIN + cut.nth,
            (Order::Descending, Some(cut), _) => cut.time_ms * WITHIN + cut.nth + 1,
            (Order::Ascending, None, Some(last)) => last.time_ms + 1,
            (Order::Descending, None, Some(last)) => last.time_ms.saturating_sub(1),
            (Order::Ascending, None, None) => self.start.time_ms,
            (Order::Descending, None, None) => self.start.time_ms.saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u64 = 1_551_334_473_000;

    fn row(time_ms: u64, nth: u64) -> Row {
        Row { mark: Mark { time_ms, nth }, value: String::new() }
    }

    fn marks(page: &Page) -> Vec<Vec<(u64, u64)>> {
        let of = |rows: &Vec<Row>| rows.iter().map(|r| (r.mark.time_ms - T, r.mark.nth)).collect();
        page.series.iter().map(of).collect()
    }

    #[test]
    fn a_page_ends_beside_its_last_value() {
        let up = Window::new(T, T + 9, Order::Ascending);
        let page = up.cut(vec![vec![row(T, 0), row(T + 4, 0)]], 2);
        assert_eq!((page.more, page.next), (false, T + 5));
        let page = up.cut(vec![vec![row(T, 0), row(T + 4, 0)]], 1);
        assert_eq!((marks(&page), page.more, page.next), (vec![vec![(0, 0)]], true, T + 1));
        let down = Window::new(T + 9, T, Order::Descending);
        let page = down.cut(vec![vec![row(T + 8, 0), row(T + 4, 0)]], 1);
        assert_eq!((marks(&page), page.more, page.next), (vec![vec![(8, 0)]], true, T + 7));
        let none = down.cut(vec![vec![]], 1);
        assert_eq!((none.more, none.next), (false, T + 9));
    }

    #[test]
    fn a_page_within_a_millisecond_goes_on_there() {
        let up = Window::new(T, T + 9, Order::Ascending);
        let page = up.cut(vec![vec![row(T, 0), row(T, 1), row(T, 2)]], 2);
        assert_eq!((page.more, page.next), (true, T * WITHIN + 2));
        assert!(page.next < 1 << 53, "a number of JavaScript");
        let next = Window::new(page.next, T + 9, Order::Ascending);
        assert_eq!(next.start, Mark { time_ms: T, nth: 2 });
        assert!(next.is_straight());
        let down = Window::new(T, T, Order::Descending);
        let page = down.cut(vec![vec![row(T, 2), row(T, 1), row(T, 0)]], 2);
        let next = Window::new(page.next, T, Order::Descending);
        assert_eq!(next.start, Mark { time_ms: T, nth: 1 });
        assert!(next.is_straight());
        assert_eq!(next.since(T + 5).end_ms, T + 5);
    }

    #[test]
    fn several_series_are_cut_at_the_same_place() {
        let up = Window::new(T, T + 9, Order::Ascending);
        let series = vec![
            vec![row(T, 0), row(T + 1, 0), row(T + 6, 0)],
            vec![row(T, 0), row(T, 1), row(T + 1, 0)],
            vec![row(T + 1, 0), row(T + 2, 0)],
        ];
        let page = up.cut(series, 2);
        let want = vec![vec![(0, 0)], vec![(0, 0), (0, 1)], vec![]];
        assert_eq!((marks(&page), page.more, page.next), (want, true, T + 1));
    }

    #[test]
    fn windows_that_are_the_wrong_way_round_are_told() {
        for (start, end, order, straight) in [
            (T, T, Order::Ascending, true),
            (T, T, Order::Descending, true),
            (T, T + 1, Order::Ascending, true),
            (T, T + 1, Order::Descending, false),
            (T + 1, T, Order::Ascending, false),
            (T + 1, T, Order::Descending, true),
        ] {
            let window = Window::new(start, end, order);
            assert_eq!(window.is_straight(), straight, "{start} {end} {order:?}");
        }
    }
}
