/// What a server exposes in Prometheus' text format.
pub(super) struct Exposition<'a>(pub(super) &'a str);

/// A histogram: upper bounds, and how many values are not above each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Buckets(Vec<(f64, u64)>);

impl Exposition<'_> {
    /// A counter, over all of its labels; 0 if nothing was counted yet.
    pub(super) fn counter(&self, name: &str) -> u64 {
        self.samples(name).map(|(_, value)| value).sum()
    }

    /// A histogram without labels; empty if nothing was measured yet.
    pub(super) fn buckets(&self, name: &str) -> Buckets {
        let name = format!("{name}_bucket");
        let mut buckets: Vec<_> = self
            .samples(&name)
            .filter_map(|(labels, value)| {
                let bound = labels.strip_prefix("le=\"")?.strip_suffix('"')?;
                Some((bound.replace("+Inf", "inf").parse().ok()?, value))
            })
            .collect();
        buckets.sort_by(|(a, _), (b, _)| f64::total_cmp(a, b));
        Buckets(buckets)
    }

    /// The labels and the value of each sample with this name.
    fn samples(&self, name: &str) -> impl Iterator<Item = (&str, u64)> {
        self.0.lines().filter_map(move |line| {
            let (described, value) = line.rsplit_once(' ')?;
            let rest = described.strip_prefix(name)?;
            let labels = match rest.strip_prefix('{') {
                Some(labels) => labels.strip_suffix('}')?,
                None if rest.is_empty() => rest,
                None => return None,
            };
            Some((labels, value.parse().ok()?))
        })
    }
}

impl Buckets {
    /// Counts what another server has measured as well.
    pub(super) fn add(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        for ((_, count), (_, others)) in self.0.iter_mut().zip(&other.0) {
            *count += others;
        }
    }

    /// What came since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            let same = earlier.0.iter().find(|(other, _)| *other >= bound);
            same.map_or(0, |(_, count)| *count)
        };
        let since = self
            .0
            .iter()
            .map(|(bound, count)| (*bound, count.saturating_sub(before(*bound))));
        Self(since.collect())
    }

    /// How many values there are.
    pub(super) fn count(&self) -> u64 {
        self.0.last().map_or(0, |(_, count)| *count)
    }

    /// The bucket in which the value lies below which a share of all are, and where in it that value
    /// would lie if its values were spread evenly. `None` if there are no values, or if it is above the
    /// last bound.
    pub(super) fn quantile(&self, share: f64) -> Option<Quantile> {
        #[allow(clippy::cast_precision_loss)] // Below 2^52.
        let rank = share * self.count() as f64;
        let (mut low, mut below) = (0.0, 0);
        for (high, count) in &self.0 {
            #[allow(clippy::cast_precision_loss)] // Below 2^52.
            let (count_before, count_here) = (below as f64, *count as f64);
            if count_here > 0.0 && count_here >= rank {
                let part = (rank - count_before) / (count_here - count_before);
                return high.is_finite().then_some(Quantile {
                    low,
                    high: *high,
                    estimate: low + part * (high - low),
                });
            }
            (low, below) = (*high, *count);
        }
        None
    }
}

/// Where a quantile lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantile {
    /// It is above this,
    pub(super) low: f64,
    /// not above this,
    pub(super) high: f64,
    /// and about this.
    pub(super) estimate: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE wait_ms histogram
wait_ms_bucket{le=\"10\"} 90
wait_ms_bucket{le=\"25\"} 98
wait_ms_bucket{le=\"+Inf\"} 100
wait_ms_sum 800
wait_ms_count 100
refused_total{code=\"a\"} 3
refused_total{code=\"b\"} 4
refused_total_more 9
";

    #[test]
    fn counters_are_summed_and_histograms_read() {
        let exposition = Exposition(TEXT);
        assert_eq!(exposition.counter("refused_total"), 7);
        assert_eq!(exposition.counter("absent_total"), 0);
        let buckets = exposition.buckets("wait_ms");
        assert_eq!(buckets.count(), 100);
        let p95 = buckets.quantile(0.95).unwrap();
        assert_eq!((p95.low, p95.high), (10.0, 25.0));
        assert!((p95.estimate - 19.375).abs() < 1e-9, "{p95:?}");
        assert_eq!(buckets.quantile(0.99), None, "it is above the last bound");
        assert_eq!(exposition.buckets("absent_ms").quantile(0.5), None);
    }

    #[test]
    fn what_came_between_two_readings_is_their_difference() {
        let after = Exposition(TEXT).buckets("wait_ms");
        let before = Exposition(
            &TEXT
                .replace("90", "40")
                .replace("98", "40")
                .replace("100", "40"),
        );
        let since = after.since(&before.buckets("wait_ms"));
        assert_eq!(since.count(), 60);
        assert_eq!(since.quantile(0.5).unwrap().high, 10.0);
        assert_eq!(after.since(&Buckets::default()), after);
    }
}
