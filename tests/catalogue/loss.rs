//! Softmax and losses.

use super::Row;

pub fn rows() -> Vec<Row> {
    vec![]
}
