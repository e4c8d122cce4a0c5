//! Chance without a state: each draw is a function of the seed, the direction, what it is for, and the number of the
//! packet. So the n-th packet has the same fate in each run, whenever it comes and whatever happened before.

use crate::scenario::model::Chance;

/// What a draw is for. Draws for different purposes have nothing to do with each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Whether it is lost.
    Loss = 1,
    /// Whether it comes twice.
    Duplicate,
    /// Whether others overtake it.
    Reorder,
    /// How long it is under way.
    Jitter,
    /// The second number that a normal distribution takes.
    SecondJitter,
}

/// The chance of one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64, direction: usize) -> Self {
        Self(mix(seed ^ mix(direction as u64)))
    }

    /// From 0 up to, but not including, 1.
    pub(super) fn draw(self, purpose: Purpose, number: u64, copy: u64) -> f64 {
        let bits = mix(mix(mix(self.0 ^ purpose as u64) ^ number) ^ copy);
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let value = (bits >> 11) as f64 / (1_u64 << 53) as f64;
        value
    }
}

/// The finaliser of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). It is here,
/// and not a crate, since it must never change: scenarios depend on what a seed brings.
pub(super) fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Which packets something happens to.
#[derive(Debug)]
pub(super) struct Lot {
    chance: Chance,
    purpose: Purpose,
    /// Of a burst model: the state is the bad one. It begins in the good one.
    bad: bool,
}

impl Lot {
    pub(super) fn new(chance: &Chance, purpose: Purpose) -> Self {
        let mut chance = chance.clone();
        if let Chance::Nth(numbers) = &mut chance {
            numbers.sort_unstable();
        }
        Self { chance, purpose, bad: false }
    }

    /// The fate of a packet that enters. Has to be asked for each packet, in their order.
    pub(super) fn enter(&mut self, dice: Dice, number: u64) -> bool {
        match &self.chance {
            Chance::Probability(probability) => dice.draw(self.purpose, number, 0) < *probability,
            Chance::Burst { enter, leave } => {
                let change = if self.bad { *leave } else { *enter };
                self.bad ^= dice.draw(self.purpose, number, 0) < change;
                self.bad
            }
            Chance::Nth(numbers) => numbers.binary_search(&number).is_ok(),
        }
    }

    /// The fate of what was made of a packet.
    pub(super) fn inherit(&self, dice: Dice, number: u64, copy: u64, inherited: bool) -> bool {
        match &self.chance {
            Chance::Probability(probability) => dice.draw(self.purpose, number, copy) < *probability,
            Chance::Burst { .. } | Chance::Nth(_) => inherited,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_brings_the_same_forever() {
        // The first outputs of splitmix64 from the state 0: java.util.SplittableRandom, xoshiro's reference code.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
        let mut lot = Lot::new(&Chance::Probability(0.25), Purpose::Loss);
        let dropped: Vec<u64> = (1..=24).filter(|number| lot.enter(Dice::new(42, 0), *number)).collect();
        assert_eq!(dropped, LOST_WITH_SEED_42);
    }

    const LOST_WITH_SEED_42: [u64; 5] = [2, 4, 19, 20, 24];

    fn share(chance: &Chance) -> f64 {
        let mut lot = Lot::new(chance, Purpose::Loss);
        let dice = Dice::new(7, 1);
        f64::from((1..=100_000_u32).map(|number| u32::from(lot.enter(dice, number.into()))).sum::<u32>()) / 100_000.0
    }

    #[test]
    fn as_many_are_hit_as_should_be() {
        for probability in [0.0, 0.01, 0.5, 1.0] {
            assert!((share(&Chance::Probability(probability)) - probability).abs() < 0.005);
        }
        // Stationary: enter / (enter + leave).
        assert!((share(&Chance::Burst { enter: 0.02, leave: 0.25 }) - 0.02 / 0.27).abs() < 0.005);
    }

    #[test]
    fn bursts_are_as_long_as_they_should_be() {
        let mut lot = Lot::new(&Chance::Burst { enter: 0.02, leave: 0.25 }, Purpose::Loss);
        let dice = Dice::new(7, 1);
        let fates: Vec<bool> = (1..=100_000).map(|number| lot.enter(dice, number)).collect();
        let (gone, bursts) = fates.windows(2).fold((0_u32, 0_u32), |(gone, bursts), pair| {
            (gone + u32::from(pair[1]), bursts + u32::from(pair[1] && !pair[0]))
        });
        assert!((f64::from(gone) / f64::from(bursts) - 4.0).abs() < 0.3);
    }

    #[test]
    fn purposes_and_directions_have_nothing_to_do_with_each_other() {
        let draws = |dice: Dice, purpose| (1..=1000).map(move |number| dice.draw(purpose, number, 0) < 0.5);
        let agree = |a: Vec<bool>, b: Vec<bool>| a.iter().zip(&b).filter(|(a, b)| a == b).count();
        let base: Vec<bool> = draws(Dice::new(1, 0), Purpose::Loss).collect();
        for (dice, purpose) in
            [(Dice::new(1, 1), Purpose::Loss), (Dice::new(2, 0), Purpose::Loss), (Dice::new(1, 0), Purpose::Reorder)]
        {
            let common = agree(base.clone(), draws(dice, purpose).collect());
            assert!((430..570).contains(&common), "{common}");
        }
    }
}
