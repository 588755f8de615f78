//! Which labels the rest of a query looks at, so that parsers find no others.

use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    These(BTreeSet<String>),
}

impl Wanted {
    pub fn none() -> Wanted {
        Wanted::These(BTreeSet::new())
    }

    pub fn these<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Wanted {
        Wanted::These(names.into_iter().map(Into::into).collect())
    }

    pub fn holds(&self, name: &str) -> bool {
        // Few are mostly told apart by their lengths.
        const COMPARED_MAX: usize = 8;
        match self {
            Wanted::All => true,
            Wanted::These(names) if names.len() <= COMPARED_MAX => names.iter().any(|wanted| wanted == name),
            Wanted::These(names) => names.contains(name),
        }
    }

    pub fn add(&mut self, name: &str) {
        if let Wanted::These(names) = self {
            names.insert(name.to_owned());
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Wanted::These(names) if names.is_empty())
    }
}
