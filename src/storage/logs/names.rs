//! Names of structured metadata: kept as sent, `k8s.node.name`, and asked for as sent or sanitised, `k8s_node_name`.
//!
//! Of several names of one entry that are the same once sanitised, `a.b` and `a_b`, one is meant by it: the one that was
//! sent so, or else the first in order.

/// Whether someone who asks for `asked` means the metadata that was sent as `stored`.
pub(super) fn is_name_for(stored: &str, asked: &str) -> bool {
    stored == asked || is_sanitised(stored, asked)
}

/// The least of those that [`is_name_for`] `asked` is the one that is meant.
pub(super) fn rank<'n>(stored: &'n str, asked: &str) -> (bool, &'n str) {
    (stored != asked, stored)
}

/// Whether `name` is `stored` with `_` in the place of each character that no label name may have.
fn is_sanitised(stored: &str, name: &str) -> bool {
    let sanitised = stored.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    let starts_with_digit = stored.starts_with(|c: char| c.is_ascii_digit());
    let prefix = if starts_with_digit { "_" } else { "" };
    prefix.chars().chain(sanitised).eq(name.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_asked_for_as_sent_or_sanitised() {
        assert!(
            is_name_for("k8s.node.name", "k8s_node_name") && is_name_for("k8s.node.name", "k8s.node.name")
        );
        assert!(is_name_for("1st", "_1st") && is_name_for("ü", "_"));
        assert!(!is_name_for("k8s_node_name", "k8s.node.name") && !is_name_for("1st", "1_st"));
    }
}
