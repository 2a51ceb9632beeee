//! How branches are shown to people.

use shared::bridge::BranchView;

use crate::past::moment;

/// Branches, one below the other.
pub fn list(views: &[BranchView]) -> String {
    if views.is_empty() {
        return "there is no branch; `batos branch new NAME` begins one".into();
    }
    views.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// A branch: whose it is, how much it is, and what is in its way.
pub fn one(view: &BranchView) -> String {
    if let Some(damage) = &view.damage {
        return format!("{}  damaged, it can only be dropped: {damage}", view.name);
    }
    let mut text = format!(
        "{}  begun {} after transaction {} by {}  {}, {}",
        view.name,
        moment(view.begun_unix_ms),
        view.base,
        view.author,
        counted(view.sends, "send"),
        counted(view.objects, "object")
    );
    if !view.conflicts.is_empty() {
        text.push_str(&format!("\n    in conflict: {}", view.conflicts.join(", ")));
    }
    text
}

/// A number and its noun.
pub fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use shared::id::TransactionId;

    use super::*;

    #[test]
    fn a_branch_tells_what_is_in_its_way() {
        let view = BranchView {
            name: "b".into(),
            base: TransactionId(7),
            begun_unix_ms: 0,
            author: "batos".into(),
            sends: 2,
            objects: 1,
            bytes: 99,
            conflicts: vec!["#12.n (account)".into()],
            damage: None,
        };
        assert_eq!(
            list(&[view]),
            "b  begun 1970-01-01 00:00:00Z after transaction 7 by batos  2 sends, 1 object\n    in conflict: #12.n (account)"
        );
    }
}
