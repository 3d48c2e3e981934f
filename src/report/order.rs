//! The order of what several threads say: that of one thread that does all the work.

/// Where a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A list of places. What is said in the first that is open is written at once; what is said in a later one is kept until all
/// before it have closed. Memory is that of places that are open and of lines that wait.
#[derive(Debug)]
pub(super) struct Order {
    places: Vec<Place>,
    free: Vec<usize>,
    front: Option<usize>,
    kept: usize,
}

#[derive(Debug, Default)]
struct Place {
    open: bool,
    kept: Vec<(Stream, String)>,
    before: Option<usize>,
    after: Option<usize>,
}

impl Order {
    /// With one open place, the first: its key is 0.
    pub(super) fn new() -> Self {
        Self {
            places: vec![Place {
                open: true,
                ..Place::default()
            }],
            free: Vec::new(),
            front: Some(0),
            kept: 0,
        }
    }

    /// Whether what is said there is written at once.
    pub(super) fn is_front(&self, place: usize) -> bool {
        self.front == Some(place)
    }

    /// Bytes that wait.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Says a line there.
    pub(super) fn say(
        &mut self,
        place: usize,
        stream: Stream,
        line: &str,
        write: impl FnOnce(Stream, &str),
    ) {
        if self.is_front(place) {
            write(stream, line);
        } else {
            self.kept += line.len();
            self.places[place].kept.push((stream, line.to_owned()));
        }
    }

    /// Opens a place right after this one.
    pub(super) fn open_after(&mut self, before: usize) -> usize {
        let after = self.places[before].after;
        let place = Place {
            open: true,
            kept: Vec::new(),
            before: Some(before),
            after,
        };
        let key = match self.free.pop() {
            Some(key) => {
                self.places[key] = place;
                key
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        };
        self.places[before].after = Some(key);
        if let Some(after) = after {
            self.places[after].before = Some(key);
        }
        key
    }

    /// Nothing more is said there. What was kept behind it comes out, as far as the next open place.
    pub(super) fn close(&mut self, place: usize, mut write: impl FnMut(Stream, &str)) {
        self.places[place].open = false;
        if !self.is_front(place) {
            // One that said nothing would only be in the way; beside one long copy there may be a million of them.
            if self.places[place].kept.is_empty() {
                self.remove(place);
            }
            return;
        }
        while let Some(front) = self.front.filter(|&front| !self.places[front].open) {
            self.remove(front);
            let Some(next) = self.front else { return };
            for (stream, line) in std::mem::take(&mut self.places[next].kept) {
                self.kept -= line.len();
                write(stream, &line);
            }
        }
    }

    fn remove(&mut self, place: usize) {
        let Place { before, after, .. } = std::mem::take(&mut self.places[place]);
        match before {
            Some(before) => self.places[before].after = after,
            None => self.front = after,
        }
        if let Some(after) = after {
            self.places[after].before = before;
        }
        self.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Places that are opened one after the other, as a walk does, and say what they have to and close whenever they
        /// come to it.
        #[test]
        fn whoever_comes_first_the_order_is_one(turns in prop::collection::vec(any::<prop::sample::Index>(), 1..200)) {
            const PLACES: usize = 8;
            const LINES: usize = 3;
            let (mut order, mut said) = (Order::new(), Said::default());
            let mut walk = 0;
            // A place, and the lines it has said; a walk speaks after all that it opened.
            let mut working: Vec<(usize, usize, usize)> = Vec::new();
            for number in 0..PLACES {
                let after = order.open_after(walk);
                working.push((number, std::mem::replace(&mut walk, after), 0));
            }
            said.say(&mut order, walk, "end");
            let mut turns = turns.into_iter();
            while !working.is_empty() {
                let turn = turns.next().map_or(0, |turn| turn.index(working.len()));
                let (number, place, lines) = &mut working[turn];
                if *lines < LINES {
                    said.say(&mut order, *place, &format!("{number}.{lines}"));
                    *lines += 1;
                } else {
                    said.close(&mut order, *place);
                    working.remove(turn);
                }
            }
            let lines = |number| (0..LINES).map(move |line| format!("{number}.{line}"));
            let mut want: Vec<String> = (0..PLACES).flat_map(lines).collect();
            want.push("end".into());
            prop_assert_eq!(said.0, want);
            prop_assert_eq!(order.kept(), 0);
        }
    }

    /// What comes out of it.
    #[derive(Default)]
    struct Said(Vec<String>);

    impl Said {
        fn say(&mut self, order: &mut Order, place: usize, line: &str) {
            order.say(place, Stream::Out, line, |_, line| self.0.push(line.into()));
        }

        fn close(&mut self, order: &mut Order, place: usize) {
            order.close(place, |_, line| self.0.push(line.into()));
        }
    }

    #[test]
    fn what_comes_later_waits_for_what_comes_before() {
        let (mut order, mut said) = (Order::new(), Said::default());
        let second = order.open_after(0);
        let fourth = order.open_after(second);
        let third = order.open_after(second);
        said.say(&mut order, fourth, "4");
        said.say(&mut order, second, "2");
        said.say(&mut order, 0, "1");
        assert_eq!(said.0, ["1"]);
        said.say(&mut order, third, "3");
        said.close(&mut order, third);
        said.close(&mut order, 0);
        assert_eq!(said.0, ["1", "2"]);
        said.say(&mut order, second, "2b");
        said.close(&mut order, second);
        assert_eq!(said.0, ["1", "2", "2b", "3", "4"]);
        assert!(order.is_front(fourth) && order.kept() == 0);
        said.close(&mut order, fourth);
        assert!(order.front.is_none());
    }

    #[test]
    fn places_that_said_nothing_take_no_memory() {
        let (mut order, mut said) = (Order::new(), Said::default());
        let mut last = order.open_after(0);
        for _ in 0..10_000 {
            let closing = last;
            last = order.open_after(closing);
            said.close(&mut order, closing);
        }
        assert!(order.places.len() < 4, "{}", order.places.len());
        said.say(&mut order, last, "last");
        said.close(&mut order, last);
        said.close(&mut order, 0);
        assert_eq!(said.0, ["last"]);
    }
}
