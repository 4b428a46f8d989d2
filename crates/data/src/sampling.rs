//! Parts of a dataset that keep or choose its classes.

use crate::dataset::Dataset;
use crate::shuffle::permutation;

impl Dataset {
    /// The positions of each class's images, in an order drawn by `seed`.
    fn by_class(&self, seed: u64) -> Vec<Vec<u32>> {
        let mut classes = vec![Vec::new(); self.classes().len()];
        for index in permutation(self.len(), seed) {
            classes[self.label(index as usize) as usize].push(index);
        }
        classes
    }

    /// As [`Dataset::split`], with the same fraction of each class, rounded down, in the first part.
    ///
    /// ```
    /// let (train, held) = tilegrad_data::Digits::all().stratified_split(0.8, 42);
    /// let whole = tilegrad_data::Digits::all().class_counts();
    /// assert!(train.class_counts().iter().zip(whole).all(|(&part, whole)| part == whole * 8 / 10));
    /// assert_eq!(train.len() + held.len(), 1797);
    /// ```
    ///
    /// # Panics
    /// When `fraction` is not in 0..=1.
    #[track_caller]
    pub fn stratified_split(&self, fraction: f64, seed: u64) -> (Dataset, Dataset) {
        assert!((0.0..=1.0).contains(&fraction), "stratified split: expected a fraction from 0 to 1, got {fraction}");
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for class in self.by_class(seed) {
            let cut = (class.len() as f64 * fraction + 1e-6).floor() as usize;
            first.extend_from_slice(&class[..cut.min(class.len())]);
            rest.extend_from_slice(&class[cut.min(class.len())..]);
        }
        // Not class by class: whoever trains without shuffling shall see them mixed.
        let mix =
            |part: Vec<u32>| permutation(part.len(), seed).into_iter().map(|i| part[i as usize]).collect::<Vec<_>>();
        (self.select(&mix(first)), self.select(&mix(rest)))
    }

    /// `count` images of each class, or all of a class that has fewer, drawn and mixed by `seed`: a small dataset.
    ///
    /// ```
    /// let few = tilegrad_data::Digits::all().take_per_class(5, 1);
    /// assert_eq!(few.class_counts(), [5; 10]);
    /// ```
    pub fn take_per_class(&self, count: usize, seed: u64) -> Dataset {
        let few: Vec<u32> = self.by_class(seed).iter().flat_map(|class| class.iter().take(count)).copied().collect();
        self.select(&few).shuffle(seed)
    }

    /// The images of these classes alone, with labels that count them anew in this order.
    ///
    /// ```
    /// let pair = tilegrad_data::Digits::all().only_classes(&[7, 1]);
    /// assert_eq!((pair.classes(), pair.class_counts().len()), (&["7".to_string(), "1".to_string()][..], 2));
    /// ```
    ///
    /// # Panics
    /// When there is no such class.
    #[track_caller]
    pub fn only_classes(&self, classes: &[u32]) -> Dataset {
        let names: Vec<String> = classes.iter().map(|&class| self.class_name(class).to_string()).collect();
        let kept: Vec<u32> = (0..self.len() as u32).filter(|&i| classes.contains(&self.label(i as usize))).collect();
        let new = |&i: &u32| classes.iter().position(|&class| class == self.label(i as usize)).expect("kept") as u32;
        let labels = kept.iter().map(new).collect();
        self.select(&kept).relabelled(labels, names)
    }
}
