//! What `status` mode asks of the source table.

use ssync_common::schema;

use super::{Level, Planner};
use crate::source::STATUS_COLUMN;

impl Planner<'_> {
    pub(super) fn judge_status(&mut self) {
        let source = self.sides.source;
        let Some(status) = source.column(STATUS_COLUMN) else {
            let hint = format!(
                "Add it: ALTER TABLE {} ADD {STATUS_COLUMN} INT DEFAULT 0 NOT NULL; every row is then \
                 to be sent. Or use mode full or increment.",
                self.sides.source_dialect.table(&source.name)
            );
            self.error(format!("source {} has no column {STATUS_COLUMN}", source.name), &hint);
            return;
        };
        if status.nullable {
            self.find(
                Level::Error,
                Some(STATUS_COLUMN),
                format!("{STATUS_COLUMN} may be NULL: such rows would never be sent"),
                Some("Declare it NOT NULL DEFAULT 0."),
            );
        }
        if !matches!(status.kind, schema::Kind::Int | schema::Kind::UInt) {
            self.find(
                Level::Error,
                Some(STATUS_COLUMN),
                format!("{STATUS_COLUMN} is {}, not a whole number", status.declared),
                None,
            );
        }
        let resets = source.triggers.iter().any(|t| {
            t.event.eq_ignore_ascii_case("update")
                && t.body.to_ascii_lowercase().contains(STATUS_COLUMN)
        });
        if !resets && !self.table.app_resets_status {
            let trigger = self.sides.source_dialect.resend_trigger(&source.name, STATUS_COLUMN);
            let hint = format!(
                "Such changes are never sent. Set app_resets_status = true if the application does \
                 it, or create a trigger:\n{trigger}"
            );
            self.find(
                Level::Warning,
                None,
                format!(
                    "nothing sets {STATUS_COLUMN} back to 0 when a row of {} changes",
                    source.name
                ),
                Some(&hint),
            );
        }
        let cascading: Vec<_> =
            source.foreign_keys.iter().filter(|f| f.cascades).map(|f| f.name.as_str()).collect();
        if !cascading.is_empty() {
            self.find(
                Level::Warning,
                None,
                format!("rows of {} change with their parents: {}", source.name, cascading.join(", ")),
                Some("Cascading changes run no triggers and do not reset sync_status; such changes are never sent."),
            );
        }
        let triggers = source.update_triggers();
        if !triggers.is_empty() {
            self.find(
                Level::Info,
                None,
                format!(
                    "UPDATE triggers of {} run at every claim and settlement: {}",
                    source.name,
                    triggers.join(", ")
                ),
                None,
            );
        }
        let indexed = source
            .indexes
            .iter()
            .any(|i| i.columns.first().is_some_and(|c| c.eq_ignore_ascii_case(STATUS_COLUMN)));
        self.find(
            Level::Info,
            None,
            match indexed {
                true => format!("{STATUS_COLUMN} is indexed: finding new rows is fast, settling many rows is several times dearer"),
                false => format!("{STATUS_COLUMN} is not indexed: settling is cheap, finding new rows reads the whole table"),
            },
            None,
        );
    }
}
