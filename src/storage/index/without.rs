//! The names and values of labels that an index has once some of its series are left out, without a look at the others.

use std::ops::ControlFlow;

use roaring::RoaringBitmap;

use super::dictionary::Holders;
use super::reader::Index;
use crate::model::Lookout;
use crate::storage::segment::SegmentError;

impl Index {
    /// The names of the labels that any series but these has, sorted.
    pub fn label_names_without(
        &self,
        left_out: &RoaringBitmap,
        lookout: &Lookout<'_>,
    ) -> Result<Vec<String>, SegmentError> {
        let mut names = self.label_names()?;
        if left_out.is_empty() {
            return Ok(names);
        }
        let mut is_left = Vec::with_capacity(names.len());
        for name in &names {
            let mut any = false;
            self.each_value_without(name, left_out, lookout, |_| {
                any = true;
                ControlFlow::Break(())
            })?;
            is_left.push(any);
        }
        let mut is_left = is_left.into_iter();
        names.retain(|_| is_left.next() == Some(true));
        Ok(names)
    }

    /// The values of a label that any series but these has, sorted.
    pub fn label_values_without(
        &self,
        name: &str,
        left_out: &RoaringBitmap,
        lookout: &Lookout<'_>,
    ) -> Result<Vec<String>, SegmentError> {
        if left_out.is_empty() {
            return self.label_values(name, lookout);
        }
        let mut values = Vec::new();
        self.each_value_without(name, left_out, lookout, |value| {
            if lookout.gives_up_before(value.len()) {
                return ControlFlow::Break(());
            }
            values.push(value.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok(values)
    }

    fn each_value_without(
        &self,
        name: &str,
        left_out: &RoaringBitmap,
        lookout: &Lookout<'_>,
        mut each: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), SegmentError> {
        let Some(name) = self.name(name)? else { return Ok(()) };
        let mut damage = Ok(());
        self.dictionary(name)?.scan_from("", |_, value, holders| match self.has_more(holders, left_out) {
            _ if lookout.gives_up_before(0) => ControlFlow::Break(()),
            Ok(true) => each(value),
            Ok(false) => ControlFlow::Continue(()),
            Err(error) => {
                damage = Err(error);
                ControlFlow::Break(())
            }
        })?;
        damage
    }

    /// Whether these are more series than some that are left out.
    fn has_more(&self, holders: Holders, left_out: &RoaringBitmap) -> Result<bool, SegmentError> {
        match holders {
            Holders::One(ordinal) => Ok(!left_out.contains(ordinal)),
            Holders::List { count, .. } if u64::from(count) > left_out.len() => Ok(true),
            list => Ok(!self.ordinals(list)?.is_subset(left_out)),
        }
    }
}
