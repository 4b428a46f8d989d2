//! The order of names with numbers in them, as a person sorts them: `block2` before `block10`.

/// What to sort a name by: its parts, numbers by their value.
pub(super) fn key(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (before, numbered) = rest.split_at(text);
        let digits = numbered.find(|c: char| !c.is_ascii_digit()).unwrap_or(numbered.len());
        // A number of more than 19 digits is anyone's guess.
        parts.push((before.to_string(), numbered[..digits].parse().unwrap_or(0)));
        rest = &numbered[digits..];
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["features.10", "features.2", "conv2d_1", "conv2d", "features.2.b", "conv2d_10", "conv2d_9"];
        names.sort_by_key(|name| key(name));
        assert_eq!(names, ["conv2d", "conv2d_1", "conv2d_9", "conv2d_10", "features.2", "features.2.b", "features.10"]);
    }
}
