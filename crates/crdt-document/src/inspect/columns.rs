//! The engine's columnar encodings, read one value at a time: nothing is expanded, so a run of a
//! billion costs no more than the caller reads of it.

use super::reader::{Malformed, Reader};

/// How one value of a column is read.
type ReadValue<'a, T> = fn(&mut Reader<'a>) -> Result<T, Malformed>;

/// Run lengths: a positive count before a value that repeats, a negative one before values that
/// differ.
pub(super) struct Runs<'a, T> {
    reader: Reader<'a>,
    read: ReadValue<'a, T>,
    left: u64,
    repeated: Option<T>,
}

impl<'a, T: Copy> Runs<'a, T> {
    pub(super) fn new(reader: Reader<'a>, read: ReadValue<'a, T>) -> Self {
        Self {
            reader,
            read,
            left: 0,
            repeated: None,
        }
    }

    /// The next value, `None` at the column's end.
    pub(super) fn next(&mut self) -> Result<Option<T>, Malformed> {
        if self.left == 0 {
            if self.reader.is_empty() {
                return Ok(None);
            }
            let count = self.reader.zigzag()?;
            self.left = count.unsigned_abs();
            self.repeated = match count {
                0 => return Err(Malformed("a run is empty")),
                1.. => Some((self.read)(&mut self.reader)?),
                _ => None,
            };
        }
        self.left -= 1;
        match self.repeated {
            Some(value) => Ok(Some(value)),
            None => (self.read)(&mut self.reader).map(Some),
        }
    }

    /// The next value of a column that must have one.
    pub(super) fn required(&mut self) -> Result<T, Malformed> {
        self.next()?.ok_or(Malformed("a column is too short"))
    }

    /// What follows the column, which must have ended.
    pub(super) fn finish(self) -> Result<Reader<'a>, Malformed> {
        if self.left > 0 {
            Err(Malformed("a column is too long"))
        } else {
            Ok(self.reader)
        }
    }

    /// As [`Runs::finish`], for a column that nothing follows.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.finish()?.is_empty() {
            Ok(())
        } else {
            Err(Malformed("a column is too long"))
        }
    }
}

/// Runs of differences to the value before.
pub(super) struct Deltas<'a> {
    runs: Runs<'a, i128>,
    value: i128,
}

impl<'a> Deltas<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Self {
        Self {
            runs: Runs::new(reader, Reader::zigzag_wide),
            value: 0,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<i64>, Malformed> {
        let Some(delta) = self.runs.next()? else {
            return Ok(None);
        };
        self.value = self
            .value
            .checked_add(delta)
            .ok_or(Malformed("a number is over 128 bits"))?;
        i64::try_from(self.value)
            .map(Some)
            .map_err(|_| Malformed("a number is over 64 bits"))
    }

    pub(super) fn required(&mut self) -> Result<i64, Malformed> {
        self.next()?.ok_or(Malformed("a column is too short"))
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        self.runs.end()
    }
}

/// Run lengths of booleans, which alternate, false first.
pub(super) struct Booleans<'a> {
    reader: Reader<'a>,
    left: u64,
    value: bool,
    first: bool,
}

impl<'a> Booleans<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Self {
        Self {
            reader,
            left: 0,
            value: true,
            first: true,
        }
    }

    pub(super) fn required(&mut self) -> Result<bool, Malformed> {
        while self.left == 0 {
            self.left = self.reader.unsigned()?;
            self.value = !self.value;
            if self.left == 0 && !self.first {
                return Err(Malformed("a run is empty"));
            }
            self.first = false;
        }
        self.left -= 1;
        Ok(self.value)
    }

    pub(super) fn finish(self) -> Result<Reader<'a>, Malformed> {
        if self.left > 0 {
            Err(Malformed("a column is too long"))
        } else {
            Ok(self.reader)
        }
    }
}

/// Differences of differences, in bits: the first value, then for each further one a prefix that
/// says how many bits its second difference has.
pub(super) struct SecondDeltas<'a> {
    head: Option<i64>,
    bits: Bits<'a>,
    value: i64,
    delta: i64,
}

/// Bits and bias of a second difference, by the number of ones in its prefix.
const SECOND_DELTA_FORMS: [(u32, i64); 5] =
    [(7, 63), (9, 255), (12, 2047), (21, (1 << 20) - 1), (64, 0)];

impl<'a> SecondDeltas<'a> {
    pub(super) fn new(mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let head = match reader.byte()? {
            0 => None,
            1 => Some(reader.zigzag()?),
            _ => return Err(Malformed("an option is neither there nor not")),
        };
        // How many bits of the last byte are used; how many values there are says the same.
        if reader.byte()? > 8 {
            return Err(Malformed("a byte has more than eight bits"));
        }
        Ok(Self {
            head,
            bits: Bits::new(reader),
            value: 0,
            delta: 0,
        })
    }

    pub(super) fn required(&mut self) -> Result<i64, Malformed> {
        if let Some(head) = self.head.take() {
            self.value = head;
            return Ok(head);
        }
        let overflow = Malformed("a number is over 64 bits");
        if self.bits.read(1)? == 1 {
            let mut ones = 0;
            while ones < 4 && self.bits.read(1)? == 1 {
                ones += 1;
            }
            let (count, bias) = SECOND_DELTA_FORMS[ones];
            let second = self
                .bits
                .read(count)?
                .cast_signed()
                .checked_sub(bias)
                .ok_or(overflow)?;
            self.delta = self.delta.checked_add(second).ok_or(overflow)?;
        }
        self.value = self.value.checked_add(self.delta).ok_or(overflow)?;
        Ok(self.value)
    }

    /// What follows the column, from the next whole byte on.
    pub(super) fn finish(self) -> Result<Reader<'a>, Malformed> {
        if self.head.is_some() {
            Err(Malformed("a column is too long"))
        } else {
            Ok(self.bits.reader)
        }
    }
}

/// Bits from the highest of each byte on.
struct Bits<'a> {
    reader: Reader<'a>,
    byte: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    fn new(reader: Reader<'a>) -> Self {
        Self {
            reader,
            byte: 0,
            left: 0,
        }
    }

    fn read(&mut self, count: u32) -> Result<u64, Malformed> {
        let mut value = 0;
        for _ in 0..count {
            if self.left == 0 {
                self.byte = self.reader.byte()?;
                self.left = 8;
            }
            self.left -= 1;
            value = value << 1 | u64::from(self.byte >> self.left & 1);
        }
        Ok(value)
    }
}
