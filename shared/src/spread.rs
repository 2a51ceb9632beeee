//! How long things took, counted by place: two places an octave of microseconds, so that a quantile is right to a third.

/// Places: the last one holds everything from 2^31 µs on.
pub const PLACES: usize = 64;

/// The place of a time.
pub fn place(us: u64) -> usize {
    let us = us.max(1);
    let octave = us.ilog2() as usize;
    let is_upper = octave > 0 && us >> (octave - 1) & 1 == 1;
    (2 * octave + usize::from(is_upper)).min(PLACES - 1)
}

/// The largest time of a place, µs.
pub fn largest_us(place: usize) -> u64 {
    let begin = |place: usize| {
        let octave = 1_u64 << (place / 2);
        octave + if place % 2 == 1 { octave / 2 } else { 0 }
    };
    begin(place.min(PLACES - 1) + 1).saturating_sub(1).max(1)
}

/// The time, µs, that so many thousandths of them took at most; `None` where nothing was counted.
pub fn quantile_us(took: &[u64], thousandths: u64) -> Option<u64> {
    let all: u64 = took.iter().sum();
    let wanted = (all * thousandths).div_ceil(1000).max(1);
    let mut seen = 0;
    let found = took.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    found.filter(|_| all > 0).map(largest_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_place_that_holds_it() {
        let mut before = 0;
        for us in (0..5000).chain([1 << 20, (1 << 31) - 1]) {
            let place = place(us);
            assert!(place >= before && us <= largest_us(place), "{us}: {place}");
            assert!(
                us < 4 || largest_us(place) * 2 <= us * 3,
                "{us}: {}",
                largest_us(place)
            );
            before = place;
        }
        assert_eq!(place(u64::MAX), PLACES - 1);
    }

    #[test]
    fn quantiles_are_found() {
        let mut took = vec![0; PLACES];
        assert_eq!(quantile_us(&took, 500), None);
        (0..99).for_each(|_| took[place(100)] += 1);
        took[place(100_000)] += 1;
        assert_eq!(quantile_us(&took, 500), Some(largest_us(place(100))));
        assert_eq!(quantile_us(&took, 990), Some(largest_us(place(100))));
        assert_eq!(quantile_us(&took, 1000), Some(largest_us(place(100_000))));
    }
}
