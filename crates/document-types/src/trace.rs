use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;
/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// A trace's id; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// The id of one span of a trace; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// `None` for zeros, which stand for no trace.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// `None` for zeros, which stand for no span.
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// A place in a trace that is recorded, as [W3C Trace Context](https://www.w3.org/TR/trace-context/)
/// says it. A trace that nobody records is not carried at all, so there is no flag here that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span in it that what follows is a part of.
    pub span: SpanId,
}

impl TraceContext {
    /// Reads a `traceparent` of version 00. `None` if it is none, or of a trace that is not recorded:
    /// either way nothing follows from it, since no edit may suffer from how it is traced.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f' | b'-');
        if traceparent.len() != TRACEPARENT_BYTES || !traceparent.bytes().all(is_digit) {
            return None;
        }
        let mut parts = traceparent.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lengths = [version.len(), trace.len(), span.len(), flags.len()];
        if version != "00" || lengths != [2, 32, 16, 2] {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok()?;
        let span = u64::from_str_radix(span, 16).ok()?;
        let is_sampled = u8::from_str_radix(flags, 16).ok()? & SAMPLED == SAMPLED;
        if !is_sampled {
            return None;
        }
        Some(Self {
            trace: TraceId::new(trace.to_be_bytes())?,
            span: SpanId::new(span.to_be_bytes())?,
        })
    }
}

/// The `traceparent` of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{SAMPLED:02x}", self.trace, self.span)
    }
}

/// The part of what clients send that is traced, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct TraceRatio(f64);

// It is a number, so it equals itself.
impl Eq for TraceRatio {}

/// A number is not a part of something.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a ratio, which is a number from 0 to 1")]
pub struct TraceRatioError(f64);

impl TraceRatio {
    /// One batch in a hundred.
    pub const ONE_IN_HUNDRED: Self = Self(0.01);
}

impl TryFrom<f64> for TraceRatio {
    type Error = TraceRatioError;

    fn try_from(ratio: f64) -> Result<Self, TraceRatioError> {
        if (0.0..=1.0).contains(&ratio) {
            Ok(Self(ratio))
        } else {
            Err(TraceRatioError(ratio))
        }
    }
}

impl From<TraceRatio> for f64 {
    fn from(ratio: TraceRatio) -> Self {
        ratio.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_recorded_trace_reads_as_it_was_written() {
        let context = TraceContext::parse(RECORDED).unwrap();
        assert_eq!(context.to_string(), RECORDED);
        assert_eq!(context.span.to_string(), "b7ad6b7169203331");
        // The second flag says that the id is random, which is nothing to us.
        let random = RECORDED.replace("-01", "-03");
        assert_eq!(TraceContext::parse(&random), Some(context));
    }

    #[test]
    fn nothing_follows_from_what_is_not_recorded_or_no_trace() {
        for none in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-00",
            "00-0af7651916cd43dd8448eb211c8031ü-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_ratio_is_from_0_to_1() {
        let read = |text: &str| serde_json::from_str::<TraceRatio>(text);
        assert_eq!(f64::from(read("0.25").unwrap()), 0.25);
        assert!(read("1").is_ok() && read("0").is_ok());
        for wrong in ["-0.1", "1.5", "null", "\"1\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
