//! The one place where money is rounded.

/// A fee is the floor of the received amount times the rate, in min-units of the received asset: never more than the
/// rate says, and nothing on amounts too small for one min-unit of it. The rest stays with the party that received it,
/// so no unit is made or lost.
///
/// | received | ppm | fee |
/// |---|---|---|
/// | 1,000,000 | 1,000 | 1,000 |
/// | 999 | 1,000 | 0 |
/// | 1,000 | 1,000 | 1 |
/// | 1,999 | 1,000 | 1 |
/// | 9,223,372,036,854,775,807 | 100,000 | 922,337,203,685,477,580 |
pub(crate) fn fee_units(received_units: i64, rate_ppm: u32) -> i64 {
    let exact = i128::from(received_units) * i128::from(rate_ppm) / 1_000_000;
    i64::try_from(exact).expect("a fee is no more than what it is taken from")
}

#[cfg(test)]
mod tests {
    use super::fee_units;

    #[test]
    fn fees_are_rounded_down() {
        let examples = [
            (1_000_000, 1_000, 1_000),
            (999, 1_000, 0),
            (1_000, 1_000, 1),
            (1_999, 1_000, 1),
            (2_000, 1_000, 2),
            (123_456_789, 0, 0),
            (i64::MAX, 100_000, 922_337_203_685_477_580),
        ];
        for (received, ppm, fee) in examples {
            assert_eq!(fee_units(received, ppm), fee, "{ppm} ppm of {received}");
        }
    }
}
