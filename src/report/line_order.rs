//! Puts the lines of several threads in the order in which one thread would print them.

/// The stream to which a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// The standard output of the process.
    Stdout,
    /// The standard error of the process.
    Stderr,
    /// The file of --manifest, which standard output stands for where there is none.
    Digests,
}

/// An ordered list of slots. A line for the first open slot is written at once; a line for a later slot is buffered
/// until all slots before it are closed. Memory is used for open slots and for buffered lines only.
#[derive(Debug)]
pub(super) struct LineOrder {
    slots: Vec<OrderSlot>,
    free: Vec<usize>,
    front: Option<usize>,
    buffered_bytes: usize,
}

#[derive(Debug, Default)]
struct OrderSlot {
    is_open: bool,
    buffered_lines: Vec<(Stream, Vec<u8>)>,
    previous: Option<usize>,
    next: Option<usize>,
}

impl LineOrder {
    /// Makes a list with one open slot, the first, whose key is 0.
    pub(super) fn new() -> Self {
        Self {
            slots: vec![OrderSlot {
                is_open: true,
                ..OrderSlot::default()
            }],
            free: Vec::new(),
            front: Some(0),
            buffered_bytes: 0,
        }
    }

    /// Returns whether a line for this slot is written at once.
    pub(super) fn is_front(&self, place: usize) -> bool {
        self.front == Some(place)
    }

    /// Returns the number of bytes in buffered lines.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Writes a line for a slot, or buffers it.
    pub(super) fn write_or_buffer(
        &mut self,
        place: usize,
        stream: Stream,
        line: &[u8],
        write: impl FnOnce(Stream, &[u8]),
    ) {
        if self.is_front(place) {
            write(stream, line);
        } else {
            self.buffered_bytes += line.len();
            self.slots[place]
                .buffered_lines
                .push((stream, line.to_owned()));
        }
    }

    /// Opens a new slot directly after this one, and returns its key.
    pub(super) fn insert_after(&mut self, before: usize) -> usize {
        let after = self.slots[before].next;
        let place = OrderSlot {
            is_open: true,
            buffered_lines: Vec::new(),
            previous: Some(before),
            next: after,
        };
        let key = match self.free.pop() {
            Some(key) => {
                self.slots[key] = place;
                key
            }
            None => {
                self.slots.push(place);
                self.slots.len() - 1
            }
        };
        self.slots[before].next = Some(key);
        if let Some(after) = after {
            self.slots[after].previous = Some(key);
        }
        key
    }

    /// Closes a slot. If it is the first, the buffered lines after it are written, up to and including those of the
    /// next open slot.
    pub(super) fn close(&mut self, place: usize, mut write: impl FnMut(Stream, &[u8])) {
        self.slots[place].is_open = false;
        if !self.is_front(place) {
            // An empty slot is removed at once, since a million of them may be closed during one long copy.
            if self.slots[place].buffered_lines.is_empty() {
                self.remove(place);
            }
            return;
        }
        while let Some(front) = self.front.filter(|&front| !self.slots[front].is_open) {
            self.remove(front);
            let Some(next) = self.front else { return };
            for (stream, line) in std::mem::take(&mut self.slots[next].buffered_lines) {
                self.buffered_bytes -= line.len();
                write(stream, &line);
            }
        }
    }

    fn remove(&mut self, place: usize) {
        let OrderSlot {
            previous: before,
            next: after,
            ..
        } = std::mem::take(&mut self.slots[place]);
        match before {
            Some(before) => self.slots[before].next = after,
            None => self.front = after,
        }
        if let Some(after) = after {
            self.slots[after].previous = before;
        }
        self.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Opens slots one after the other, as a directory walk does. Each prints its lines and closes at a random
        /// time.
        #[test]
        fn whoever_comes_first_the_order_is_one(turns in prop::collection::vec(any::<prop::sample::Index>(), 1..200)) {
            const PLACES: usize = 8;
            const LINES: usize = 3;
            let (mut order, mut said) = (LineOrder::new(), Said::default());
            let mut walk = 0;
            // Each entry has a slot and its number of lines. The walk's own slot comes after all that it opened.
            let mut working: Vec<(usize, usize, usize)> = Vec::new();
            for number in 0..PLACES {
                let after = order.insert_after(walk);
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
            prop_assert_eq!(order.buffered_bytes(), 0);
        }
    }

    /// Collects the lines in the order in which they are written.
    #[derive(Default)]
    struct Said(Vec<String>);

    impl Said {
        fn say(&mut self, order: &mut LineOrder, place: usize, line: &str) {
            order.write_or_buffer(place, Stream::Stdout, line.as_bytes(), |_, line| {
                self.push(line);
            });
        }

        fn close(&mut self, order: &mut LineOrder, place: usize) {
            order.close(place, |_, line| self.push(line));
        }

        fn push(&mut self, line: &[u8]) {
            self.0.push(String::from_utf8(line.to_vec()).unwrap());
        }
    }

    #[test]
    fn what_comes_later_waits_for_what_comes_before() {
        let (mut order, mut said) = (LineOrder::new(), Said::default());
        let second = order.insert_after(0);
        let fourth = order.insert_after(second);
        let third = order.insert_after(second);
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
        assert!(order.is_front(fourth) && order.buffered_bytes() == 0);
        said.close(&mut order, fourth);
        assert!(order.front.is_none());
    }

    #[test]
    fn places_that_said_nothing_take_no_memory() {
        let (mut order, mut said) = (LineOrder::new(), Said::default());
        let mut last = order.insert_after(0);
        for _ in 0..10_000 {
            let closing = last;
            last = order.insert_after(closing);
            said.close(&mut order, closing);
        }
        assert!(order.slots.len() < 4, "{}", order.slots.len());
        said.say(&mut order, last, "last");
        said.close(&mut order, last);
        said.close(&mut order, 0);
        assert_eq!(said.0, ["last"]);
    }
}
