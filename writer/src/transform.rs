//! Encrypting and decrypting columns of a batch on its way to the destination.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use serde::{Deserialize, Serialize};
use ssync_common::bail;
use ssync_common::batch::BadValue;
use ssync_common::crypto::{KeyRing, Mode, Opener, Sealer};
use ssync_common::error::{Error, Kind as ErrorKind, Result};
use ssync_common::ledger::Seals;
use ssync_common::schema::Kind;

pub use ssync_common::crypto::WireKeyRing;

use crate::empties::{self, EmptyColumn};

/// What happens to one column of a batch. Holds the name of a key, never the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnTransform {
    /// Place of the column in the batch.
    pub index: usize,
    /// How its values travel as read.
    pub kind_in: Kind,
    /// The key's name.
    pub key: String,
    /// Random nonces or deterministic.
    pub mode: Mode,
    /// Sealing or opening, and where.
    pub action: Action,
}

/// Sealing or opening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Encrypt; the result travels as [`Kind::Text`].
    Seal {
        /// Destination table as configured, also where rows are loaded beside it and swapped in.
        table: String,
        /// Destination column.
        column: String,
    },
    /// Decrypt.
    Open {
        /// The table the values were sealed into: the source table as configured.
        table: String,
        /// The column they were sealed into: the source column.
        column: String,
        /// How the result travels: what the destination column takes.
        kind_out: Kind,
    },
}

impl ColumnTransform {
    /// How the values travel afterwards.
    pub fn kind_out(&self) -> Kind {
        match self.action {
            Action::Seal { .. } => Kind::Text,
            Action::Open { kind_out, .. } => kind_out,
        }
    }
}

/// How keys of these places in the batch are kept in the ledger: sealed where their column is
/// encrypted at the destination.
///
/// # Errors
/// [`ErrorKind::Config`] where a key is missing.
pub fn seals(
    key: &[(usize, Kind)],
    plan: &[ColumnTransform],
    keys: BTreeMap<String, KeyRing>,
) -> Result<Seals> {
    let sealing = |index: usize| {
        let is_it =
            |t: &&ColumnTransform| t.index == index && matches!(t.action, Action::Seal { .. });
        plan.iter().find(is_it).map(|t| t.key.clone())
    };
    Seals::new(key.iter().map(|(index, _)| sealing(*index)).collect(), keys)
}

/// The keys that came with a writer's setup.
pub fn keys_from_wire(wire: BTreeMap<String, WireKeyRing>) -> Result<BTreeMap<String, KeyRing>> {
    wire.into_iter().map(|(name, ring)| Ok((name, KeyRing::from_wire(ring)?))).collect()
}

/// Transforms batches of one table, one after the other.
pub struct Transformer {
    columns: Vec<Column>,
    empties: Vec<EmptyColumn>,
}

struct Column {
    index: usize,
    kind_in: Kind,
    kind_out: Kind,
    work: Work,
}

enum Work {
    Seal(Sealer),
    Open(Opener),
}

impl Transformer {
    /// Prepares a plan. Fails when a key is missing or a column stands in the plan twice.
    pub fn new(
        plan: &[ColumnTransform],
        empties: &[EmptyColumn],
        keys: &BTreeMap<String, KeyRing>,
    ) -> Result<Self> {
        let mut seen = BTreeSet::new();
        let column = |transform: &ColumnTransform| {
            let ColumnTransform { index, kind_in, ref key, mode, ref action } = *transform;
            if !seen.insert(index) {
                bail!(ErrorKind::Internal, "column {index} of the batch is transformed twice");
            }
            let Some(keys) = keys.get(key) else {
                bail!(ErrorKind::Config, "there is no key {key}");
            };
            let work = match action {
                Action::Seal { table, column } => {
                    Work::Seal(Sealer::new(keys, table, column, mode)?)
                }
                Action::Open { table, column, .. } => {
                    Work::Open(Opener::new(keys, table, column, mode)?)
                }
            };
            Ok(Column { index, kind_in, kind_out: transform.kind_out(), work })
        };
        let columns = plan.iter().map(column).collect::<Result<_>>()?;
        Ok(Transformer { columns, empties: empties.to_vec() })
    }

    /// The batch with its columns sealed and opened and its empty values as they shall be, and the
    /// values that did not open, or must not be empty: NULL stands in their place, their rows must
    /// not be sent. Column names and row numbers stay.
    pub fn apply(&mut self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<BadValue>)> {
        if self.columns.is_empty() && self.empties.is_empty() {
            return Ok((batch.clone(), Vec::new()));
        }
        let mut arrays = batch.columns().to_vec();
        let mut fields = batch.schema_ref().fields().to_vec();
        let mut bad = Vec::new();
        for column in &mut self.columns {
            let (Some(array), Some(field)) =
                (arrays.get_mut(column.index), fields.get_mut(column.index))
            else {
                bail!(ErrorKind::Internal, "the batch has no column {}", column.index);
            };
            let named = |e: Error| e.column(field.name().clone());
            *array = match &mut column.work {
                Work::Seal(sealer) => sealer.seal_column(array, column.kind_in).map_err(named)?,
                Work::Open(opener) => {
                    let (opened, unopened) = opener
                        .open_column(array, column.kind_in, column.kind_out)
                        .map_err(named)?;
                    let of_batch = |b| BadValue { column: field.name().clone(), ..b };
                    bad.extend(unopened.into_iter().map(of_batch));
                    opened
                }
            };
            *field = Arc::new(Field::new(field.name(), column.kind_out.arrow(), true));
        }
        for of in &self.empties {
            let (Some(array), Some(field)) = (arrays.get_mut(of.index), fields.get(of.index))
            else {
                bail!(ErrorKind::Internal, "the batch has no column {}", of.index);
            };
            *array = empties::apply(array, *of, field.name(), &mut bad)?;
        }
        let schema = Schema::new_with_metadata(fields, batch.schema_ref().metadata().clone());
        Ok((RecordBatch::try_new(Arc::new(schema), arrays)?, bad))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::{Array, Int64Array, StringArray};
    use ssync_common::fidelity::EmptyStep;
    use ssync_common::secret::Secret;

    use super::*;

    fn keys() -> BTreeMap<String, KeyRing> {
        let ring = |name: &str, seed: u8| {
            let secret = Secret::new((seed..seed + 32).collect());
            (name.to_owned(), KeyRing::new(name, &secret, &[]).unwrap())
        };
        [ring("pii", 1), ring("other", 100)].into()
    }

    fn batch() -> RecordBatch {
        let ids = Int64Array::from(vec![1, 2, 3]);
        let mobiles = StringArray::from(vec![Some("13800138000"), None, Some("")]);
        let amounts = StringArray::from(vec![Some("1.50"), Some("-0.01"), None]);
        RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(ids) as _, true),
            ("手机", Arc::new(mobiles) as _, true),
            ("amount", Arc::new(amounts) as _, true),
        ])
        .unwrap()
    }

    fn seal(index: usize, kind_in: Kind, mode: Mode) -> ColumnTransform {
        let action = Action::Seal { table: "dw.t".into(), column: format!("c{index}") };
        ColumnTransform { index, kind_in, key: "pii".into(), mode, action }
    }

    fn open(index: usize, kind_out: Kind, mode: Mode) -> ColumnTransform {
        let action = Action::Open { table: "t".into(), column: format!("c{index}"), kind_out };
        ColumnTransform { index, kind_in: Kind::Text, key: "pii".into(), mode, action }
    }

    fn plans() -> (Vec<ColumnTransform>, Vec<ColumnTransform>) {
        let sealing = vec![
            seal(0, Kind::Int, Mode::Deterministic),
            seal(1, Kind::Text, Mode::Random),
            seal(2, Kind::Decimal, Mode::Random),
        ];
        let opening = vec![
            open(2, Kind::Decimal, Mode::Random),
            open(0, Kind::Int, Mode::Deterministic),
            open(1, Kind::Text, Mode::Random),
        ];
        (sealing, opening)
    }

    #[test]
    fn a_batch_that_was_sealed_opens_to_the_same_batch() {
        let (sealing, opening) = plans();
        assert!(sealing.iter().all(|t| t.kind_out() == Kind::Text));
        let (mut seal, mut open) = (
            Transformer::new(&sealing, &[], &keys()).unwrap(),
            Transformer::new(&opening, &[], &keys()).unwrap(),
        );
        for _ in 0..3 {
            let (sealed, bad) = seal.apply(&batch()).unwrap();
            assert_eq!(bad, []);
            for column in sealed.columns() {
                let texts = column.as_string::<i32>().iter().flatten();
                assert!(texts.into_iter().all(|t| t.starts_with('S')));
            }
            assert!(sealed.column(1).is_null(1));
            let (opened, bad) = open.apply(&sealed).unwrap();
            assert_eq!(bad, []);
            assert_eq!(opened, batch());
        }
    }

    #[test]
    fn a_value_that_does_not_open_is_named_by_row_and_column_and_null_in_its_place() {
        let (sealing, mut opening) = plans();
        let (sealed, _) =
            Transformer::new(&sealing, &[], &keys()).unwrap().apply(&batch()).unwrap();
        let (_, bad) = Transformer::new(&opening, &[], &keys())
            .unwrap()
            .apply(&batch().project(&[1, 1, 1]).unwrap())
            .unwrap();
        assert_eq!(bad.len(), 6, "plain text never passes");
        opening[2].key = "other".into();
        let (opened, bad) =
            Transformer::new(&opening, &[], &keys()).unwrap().apply(&sealed).unwrap();
        let named: Vec<_> = bad.iter().map(|b| (b.row, b.column.as_str())).collect();
        assert_eq!(named, [(0, "手机"), (2, "手机")]);
        assert_eq!(opened.column(1).null_count(), 3);
        assert_eq!(opened.column(0), batch().column(0));
    }

    #[test]
    fn a_plan_that_cannot_work_is_refused() {
        let (mut sealing, _) = plans();
        let kind_of = |plan: &[ColumnTransform]| {
            let mut transformer = match Transformer::new(plan, &[], &keys()) {
                Ok(transformer) => transformer,
                Err(e) => return e.kind,
            };
            transformer.apply(&batch()).unwrap_err().kind
        };
        sealing[1].index = 7;
        assert_eq!(kind_of(&sealing), ErrorKind::Internal);
        sealing[1].index = 0;
        assert_eq!(kind_of(&sealing), ErrorKind::Internal);
        sealing[1].index = 1;
        sealing[1].kind_in = Kind::UInt;
        assert_eq!(kind_of(&sealing), ErrorKind::Internal);
        sealing[1].key = "lost".into();
        assert_eq!(kind_of(&sealing), ErrorKind::Config);
    }

    #[test]
    fn a_plan_travels_as_json_and_keys_only_in_their_wire_form() {
        let (sealing, opening) = plans();
        for plan in [sealing, opening] {
            let json = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Vec<ColumnTransform>>(&json).unwrap(), plan);
        }
        let wire: BTreeMap<_, _> = keys().into_iter().map(|(n, k)| (n, k.to_wire())).collect();
        let json = serde_json::to_string(&wire).unwrap();
        let there = keys_from_wire(serde_json::from_str(&json).unwrap()).unwrap();
        for (name, ring) in keys() {
            assert_eq!(there[&name].ids().collect::<Vec<_>>(), ring.ids().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_was_opened_may_be_empty_and_is_treated_then() {
        let (sealing, opening) = plans();
        let (sealed, _) =
            Transformer::new(&sealing, &[], &keys()).unwrap().apply(&batch()).unwrap();
        let refuse = EmptyColumn { index: 1, kind: Kind::Text, step: EmptyStep::Refuse };
        let mut transformer = Transformer::new(&opening, &[refuse], &keys()).unwrap();
        let (opened, bad) = transformer.apply(&sealed).unwrap();
        let named: Vec<_> = bad.iter().map(|b| (b.row, b.column.as_str())).collect();
        assert_eq!(named, [(2, "手机")]);
        assert!(opened.column(1).is_null(2));
        let away = EmptyColumn { index: 9, ..refuse };
        let mut transformer = Transformer::new(&[], &[away], &keys()).unwrap();
        assert_eq!(transformer.apply(&batch()).unwrap_err().kind, ErrorKind::Internal);
    }

    #[test]
    fn nothing_to_do_changes_nothing() {
        let mut transformer = Transformer::new(&[], &[], &BTreeMap::new()).unwrap();
        assert_eq!(transformer.apply(&batch()).unwrap(), (batch(), vec![]));
    }
}
