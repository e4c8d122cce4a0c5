//! What of a scenario depends on the kernel. The main type is [`KernelVariants`].

use std::collections::BTreeSet;

use super::{Feature, Scenario};

/// The forms that a scenario has on different kernels.
#[derive(Debug, Clone, Default)]
pub struct KernelVariants {
    /// The features that decide: those that a `when:` or `snapshot_by:` names, and `listener_events` where such events
    /// are expected. They are probed, but their lack skips nothing.
    pub asked: BTreeSet<Feature>,
    /// Those of them that this form does without.
    pub lacking: BTreeSet<Feature>,
    /// Those of them by which the snapshots differ.
    pub snapshot_by: BTreeSet<Feature>,
    /// The other forms, one for each other combination. They have none themselves.
    pub forms: Vec<Scenario>,
}

/// A scenario as it is on one kernel: nothing in it depends on features any more. Made by [`Scenario::on_kernel`] alone.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a>(&'a Scenario);

impl<'a> Form<'a> {
    /// What is planned and judged.
    pub fn scenario(self) -> &'a Scenario {
        self.0
    }
}

impl Scenario {
    /// The scenario as it is on a kernel that lacks the features for which `lacks` is true. Others that decide in it
    /// are taken to be there, which asks for the most.
    pub fn on_kernel(&self, lacks: impl Fn(&Feature) -> bool) -> Form<'_> {
        let missing = |feature: &&Feature| lacks(feature);
        let is_wanted =
            |form: &&Scenario| self.kernel_variants.asked.iter().filter(missing).eq(&form.kernel_variants.lacking);
        Form(std::iter::once(self).chain(&self.kernel_variants.forms).find(is_wanted).unwrap_or(self))
    }

    /// Features whose lack the snapshot's name tells.
    pub fn snapshot_without(&self) -> impl Iterator<Item = &Feature> {
        self.kernel_variants.lacking.intersection(&self.kernel_variants.snapshot_by)
    }
}
