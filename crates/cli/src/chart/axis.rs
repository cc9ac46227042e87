//! Where a value stands on an axis, and which values have a tick.

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences are equally long.
    Linear,
    /// Equal factors are equally long; values are above zero.
    Logarithmic,
}

/// An axis with its label and its ticks.
#[derive(Clone, Debug)]
pub struct Axis {
    label: String,
    scale: Scale,
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to a round number above `most`.
    #[must_use]
    pub fn linear(label: impl Into<String>, most: f64, write: impl Fn(f64) -> String) -> Self {
        let step = round_step(most);
        // What is beyond the last step by a hair stands at its end.
        let count = (most / step - 0.02).ceil().max(1.0);
        let ticks = steps(count).map(|tick| tick * step).map(|value| (value, write(value))).collect();
        Self { label: label.into(), scale: Scale::Linear, from: 0.0, to: count * step, ticks }
    }

    /// Powers of ten around `least` and `most`, both above zero.
    #[must_use]
    pub fn logarithmic(
        label: impl Into<String>,
        least: f64,
        most: f64,
        write: impl Fn(f64) -> String,
    ) -> Self {
        let low = least.max(f64::MIN_POSITIVE).log10().floor();
        let high = most.log10().ceil().max(low + 1.0);
        let ticks = steps(high - low)
            .map(|tick| 10_f64.powf(low + tick))
            .map(|value| (value, write(value)))
            .collect();
        Self {
            label: label.into(),
            scale: Scale::Logarithmic,
            from: 10_f64.powf(low),
            to: 10_f64.powf(high),
            ticks,
        }
    }

    /// With these ticks, from the first to the last.
    #[must_use]
    pub fn with_ticks(label: impl Into<String>, scale: Scale, ticks: Vec<(f64, String)>) -> Self {
        let end = |tick: Option<&(f64, String)>| tick.map_or(1.0, |(value, _)| *value);
        let (from, to) = (end(ticks.first()), end(ticks.last()));
        Self { label: label.into(), scale, from, to, ticks }
    }

    /// What is measured along it, with its unit.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Values with a tick, and what is written there.
    #[must_use]
    pub fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }

    /// Where a value stands, from 0 (the beginning) to 1 (the end); values beyond stand at the ends.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => (value / self.from).ln() / (self.to / self.from).ln(),
        };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// 0, 1, .. `count`.
fn steps(count: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(0.0), |step| Some(step + 1.0)).take_while(move |step| *step <= count + 0.5)
}

/// 1, 2 or 5 times a power of ten, so that about five of it reach `most`.
fn round_step(most: f64) -> f64 {
    let wanted = if most > 0.0 { most / 5.0 } else { 1.0 };
    let power = 10_f64.powf(wanted.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= wanted * 0.999);
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::{Axis, Scale};

    fn written(axis: &Axis) -> Vec<&str> {
        axis.ticks().iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let axis = Axis::linear("x", 9.3, |value| value.to_string());
        assert_eq!(written(&axis), ["0", "2", "4", "6", "8", "10"]);
        let axis = Axis::linear("x", 3.001, |value| value.to_string());
        assert_eq!(written(&axis), ["0", "1", "2", "3"]);
        let axis = Axis::linear("x", 0.0, |value| value.to_string());
        assert_eq!(written(&axis), ["0", "1"]);
        let axis = Axis::logarithmic("x", 120.0, 4.0e4, |value| format!("{value:.0}"));
        assert_eq!(written(&axis), ["100", "1000", "10000", "100000"]);
        let axis = Axis::logarithmic("x", 100.0, 100.0, |value| format!("{value:.0}"));
        assert_eq!(written(&axis), ["100", "1000"]);
    }

    #[test]
    fn values_stand_where_they_belong() {
        let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-9, "{one} {other}");
        let linear = Axis::linear("x", 10.0, |value| value.to_string());
        near(linear.place(5.0), 0.5);
        near(linear.place(50.0), 1.0);
        let logarithmic = Axis::logarithmic("x", 1.0, 10_000.0, |value| value.to_string());
        near(logarithmic.place(100.0), 0.5);
        near(logarithmic.place(0.0), 0.0);
        let given = Axis::with_ticks("x", Scale::Logarithmic, vec![(2.0, "a".into()), (8.0, "b".into())]);
        near(given.place(4.0), 0.5);
    }
}
