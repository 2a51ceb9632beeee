//! What is said to somebody who wishes for a method, beside that the wish is kept.

use shared::bridge::{Call, WishText};
use shared::example::Example;

const NOTHING_CHANGES: &str = "no example names a slot after its answer, so the method is to change none; \
    one that changes slots says so: balance=10 (5) -> 15; balance=15";

/// What examples say without a word is easily overlooked.
pub fn remark(call: &Call) -> Option<&'static str> {
    let Call::Wish {
        wish: Some(WishText { examples, .. }),
        ..
    } = call
    else {
        return None;
    };
    let examples: Vec<Example> = examples.iter().flat_map(|text| Example::read(text)).collect();
    let changes_none = examples.iter().all(|example| example.after.is_empty());
    (!examples.is_empty() && changes_none).then_some(NOTHING_CHANGES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remarked(examples: &[&str]) -> bool {
        let call = Call::Wish {
            object: "account".to_owned(),
            selector: "deposit".to_owned(),
            wish: Some(WishText {
                intent: None,
                examples: examples.iter().map(|text| (*text).to_owned()).collect(),
            }),
        };
        remark(&call).is_some()
    }

    #[test]
    fn examples_that_change_nothing_are_remarked_upon() {
        assert!(remarked(&["balance=10 (5) -> 15"]));
        assert!(!remarked(&[
            "balance=10 (5) -> 15; balance=15",
            "balance=10 (0) -> 10"
        ]));
        assert!(!remarked(&[]));
        assert!(!remarked(&["what the kernel refuses"]));
    }
}
