//! A cursor over foreign bytes. Every read is checked and none allocates.

/// A rule of the format that the bytes break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.bytes.split_first().ok_or(Malformed("it ends early"))?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(Malformed("it ends early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or(Malformed("it ends early"))?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// An unsigned LEB128 number, which is also postcard's varint.
    pub(crate) fn unsigned(&mut self) -> Result<u64, Malformed> {
        u64::try_from(self.leb128()?).map_err(|_| Malformed("a number is over 64 bits"))
    }

    /// An unsigned number that fits 32 bits.
    pub(crate) fn unsigned_32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.unsigned()?).map_err(|_| Malformed("a number is over 32 bits"))
    }

    /// An unsigned number that fits the address space. It promises nothing about how much follows.
    pub(crate) fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.unsigned()?).map_err(|_| Malformed("a length is over 64 bits"))
    }

    /// As many bytes as the number before them says.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.length()?;
        self.take(count)
    }

    /// Sized bytes that are text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.sized()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// A signed LEB128 number.
    pub(crate) fn signed(&mut self) -> Result<i64, Malformed> {
        let mut value = 0_i64;
        let mut shift = 0_u32;
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte != 0 && byte != 0x7f {
                return Err(Malformed("a number is over 64 bits"));
            }
            value |= i64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                if shift < 64 && byte & 0x40 != 0 {
                    value |= -1 << shift;
                }
                return Ok(value);
            }
            if shift > 63 {
                return Err(Malformed("a number is over 64 bits"));
            }
        }
    }

    /// A signed number in postcard's zigzag form.
    pub(crate) fn zigzag(&mut self) -> Result<i64, Malformed> {
        i64::try_from(self.zigzag_wide()?).map_err(|_| Malformed("a number is over 64 bits"))
    }

    /// A signed number of up to 128 bits in zigzag form.
    pub(crate) fn zigzag_wide(&mut self) -> Result<i128, Malformed> {
        let folded = self.leb128()?;
        // The halves of a u128 fit an i128.
        Ok((folded >> 1).cast_signed() ^ -((folded & 1).cast_signed()))
    }

    fn leb128(&mut self) -> Result<u128, Malformed> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            if shift + 7 > 128 && bits >> (128 - shift) != 0 {
                return Err(Malformed("a number is over 128 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a number does not end"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_postcard_writes_them(
            unsigned: u64, signed: i64, wide: i128
        ) {
            let bytes = postcard::to_allocvec(&(unsigned, signed, wide)).unwrap();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.unsigned(), Ok(unsigned));
            prop_assert_eq!(reader.zigzag(), Ok(signed));
            prop_assert_eq!(reader.zigzag_wide(), Ok(wide));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn signed_leb128_is_read_to_its_last_bit(value: i64) {
            let mut bytes = Vec::new();
            let mut rest = value;
            loop {
                let byte = u8::try_from(rest & 0x7f).unwrap();
                rest >>= 7;
                if (rest == 0 && byte & 0x40 == 0) || (rest == -1 && byte & 0x40 != 0) {
                    bytes.push(byte);
                    break;
                }
                bytes.push(byte | 0x80);
            }
            prop_assert_eq!(Reader::new(&bytes).signed(), Ok(value));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            while reader.signed().is_ok() {}
            let mut reader = Reader::new(&bytes);
            while reader.zigzag_wide().is_ok() {}
            let mut reader = Reader::new(&bytes);
            while reader.sized().is_ok() {}
        }
    }
}
