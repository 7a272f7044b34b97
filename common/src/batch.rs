//! Rows on their way: building Arrow record batches, and moving them through shared memory as
//! Arrow IPC without copying on the reading side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::builder::{
    BinaryBuilder, Float32Builder, Float64Builder, Int64Builder, UInt64Builder,
};
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray, cast::AsArray, types};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind, arrow_schema};
use crate::value::{DateTime, Value};

/// Room that an IPC stream needs beside the values: schema, message headers, padding per buffer.
const IPC_OVERHEAD_PER_COLUMN: usize = 512;
const IPC_OVERHEAD: usize = 2048;

/// Longest value of text or bytes that a batch takes. With [`BatchLimits::slot_bytes`], at most as
/// many, a column's values stay below the 2 GiB that an Arrow array can address.
const VALUE_BYTES_MAX: usize = 1 << 30;
const TOO_LONG: &str = "longer than 1 GiB";

/// When a batch is handed on.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Rows in a batch at the most.
    pub rows: usize,
    /// Bytes that one slot of the batch ring holds. A batch is handed on at three quarters of it;
    /// only a single row wider than a slot ever makes a larger batch.
    pub slot_bytes: usize,
}

/// A value that could not be read as what its column says, so that its row cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadValue {
    /// Row within the batch.
    pub row: usize,
    /// Column name.
    pub column: String,
    /// What is wrong with it, without the value.
    pub message: String,
}

/// A batch as it was read.
#[derive(Debug, Clone)]
pub struct ReadBatch {
    /// The rows.
    pub rows: RecordBatch,
    /// Values that could not be read; NULL stands in their place.
    pub bad: Vec<BadValue>,
}

/// Where a reading connector hands its batches.
pub type Emit<'a> = dyn FnMut(ReadBatch) -> Result<()> + 'a;

enum ColumnBuilder {
    Int(Int64Builder),
    UInt(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    /// Checked to be UTF-8 when the batch is complete: all of a column at once takes a fraction of
    /// the time that it takes value by value.
    Text(BinaryBuilder),
    Bytes(BinaryBuilder),
}

impl ColumnBuilder {
    fn new(column: &Column) -> Self {
        match column.kind.arrow() {
            DataType::Int64 => ColumnBuilder::Int(Int64Builder::new()),
            DataType::UInt64 => ColumnBuilder::UInt(UInt64Builder::new()),
            DataType::Float32 => ColumnBuilder::Float32(Float32Builder::new()),
            DataType::Float64 => ColumnBuilder::Float64(Float64Builder::new()),
            DataType::Utf8 => ColumnBuilder::Text(BinaryBuilder::new()),
            _ => ColumnBuilder::Bytes(BinaryBuilder::new()),
        }
    }

    /// The values so far. Room is made at once for `rows` more, and, unless `rows` is 0, for as
    /// many bytes as these had and a little more.
    fn take(&mut self, rows: usize) -> ArrayRef {
        let room = |bytes: usize| if rows == 0 { 0 } else { bytes + bytes / 16 };
        match self {
            ColumnBuilder::Int(b) => {
                Arc::new(std::mem::replace(b, Int64Builder::with_capacity(rows)).finish())
            }
            ColumnBuilder::UInt(b) => {
                Arc::new(std::mem::replace(b, UInt64Builder::with_capacity(rows)).finish())
            }
            ColumnBuilder::Float32(b) => {
                Arc::new(std::mem::replace(b, Float32Builder::with_capacity(rows)).finish())
            }
            ColumnBuilder::Float64(b) => {
                Arc::new(std::mem::replace(b, Float64Builder::with_capacity(rows)).finish())
            }
            ColumnBuilder::Text(b) | ColumnBuilder::Bytes(b) => {
                let next = BinaryBuilder::with_capacity(rows, room(b.values_slice().len()));
                Arc::new(std::mem::replace(b, next).finish())
            }
        }
    }
}

/// Collects rows column by column. A reading connector appends every column of a row in order,
/// then calls [`BatchBuilder::end_row`].
pub struct BatchBuilder {
    names: Vec<String>,
    /// What text is said to be written in, for messages.
    charsets: Vec<Option<String>>,
    schema: SchemaRef,
    builders: Vec<ColumnBuilder>,
    rows_max: Arc<AtomicUsize>,
    slot_bytes: usize,
    rows: usize,
    bytes: usize,
    overhead: usize,
    bad: Vec<BadValue>,
}

impl BatchBuilder {
    /// For rows of these columns.
    pub fn new(columns: &[Column], limits: BatchLimits) -> Self {
        let builders = columns.iter().map(ColumnBuilder::new).collect();
        let overhead = IPC_OVERHEAD + IPC_OVERHEAD_PER_COLUMN * columns.len();
        BatchBuilder {
            names: columns.iter().map(|c| c.name.clone()).collect(),
            charsets: columns.iter().map(|c| c.charset.clone()).collect(),
            schema: Arc::new(arrow_schema(columns)),
            builders,
            rows_max: Arc::new(AtomicUsize::new(limits.rows)),
            slot_bytes: limits.slot_bytes,
            rows: 0,
            bytes: overhead,
            overhead,
            bad: Vec::new(),
        }
    }

    /// From now on the rows of a batch are at most what `rows` says, at every moment.
    pub fn follow(&mut self, rows: Arc<AtomicUsize>) {
        self.rows_max = rows;
    }

    /// NULL for this column.
    pub fn null(&mut self, column: usize) {
        self.bytes += 9;
        match &mut self.builders[column] {
            ColumnBuilder::Int(b) => b.append_null(),
            ColumnBuilder::UInt(b) => b.append_null(),
            ColumnBuilder::Float32(b) => b.append_null(),
            ColumnBuilder::Float64(b) => b.append_null(),
            ColumnBuilder::Text(b) => b.append_null(),
            ColumnBuilder::Bytes(b) => b.append_null(),
        }
    }

    /// A value that cannot be read: NULL in the batch, and remembered so that the row is not sent.
    pub fn bad(&mut self, column: usize, message: impl Into<String>) {
        let name = self.names[column].clone();
        self.bad.push(BadValue { row: self.rows, column: name, message: message.into() });
        self.null(column);
    }

    /// A value of an `Int`, `Date`, `DateTime` (packed) or `Time` (microseconds) column.
    pub fn int(&mut self, column: usize, value: i64) {
        self.bytes += 9;
        match &mut self.builders[column] {
            ColumnBuilder::Int(b) => b.append_value(value),
            _ => self.mismatch(column, "an integer"),
        }
    }

    /// A value of a `UInt` column.
    pub fn uint(&mut self, column: usize, value: u64) {
        self.bytes += 9;
        match &mut self.builders[column] {
            ColumnBuilder::UInt(b) => b.append_value(value),
            _ => self.mismatch(column, "an unsigned integer"),
        }
    }

    /// A value of a `Float32` column.
    pub fn float32(&mut self, column: usize, value: f32) {
        self.bytes += 5;
        match &mut self.builders[column] {
            ColumnBuilder::Float32(b) => b.append_value(value),
            _ => self.mismatch(column, "a single-precision number"),
        }
    }

    /// A value of a `Float64` column.
    pub fn float64(&mut self, column: usize, value: f64) {
        self.bytes += 9;
        match &mut self.builders[column] {
            ColumnBuilder::Float64(b) => b.append_value(value),
            _ => self.mismatch(column, "a double-precision number"),
        }
    }

    /// A value of a `Text` or `Decimal` column.
    pub fn text(&mut self, column: usize, value: &str) {
        self.utf8(column, value.as_bytes());
    }

    /// The same, of bytes that should be UTF-8. Where they are not, the value is a bad one by the
    /// time that the batch is handed on.
    pub fn utf8(&mut self, column: usize, value: &[u8]) {
        if value.len() > VALUE_BYTES_MAX {
            return self.bad(column, TOO_LONG);
        }
        self.bytes += value.len() + 5;
        match &mut self.builders[column] {
            ColumnBuilder::Text(b) => b.append_value(value),
            _ => self.mismatch(column, "text"),
        }
    }

    /// A value of a `Bytes` or `Any` (tagged) column.
    pub fn bytes(&mut self, column: usize, value: &[u8]) {
        if value.len() > VALUE_BYTES_MAX {
            return self.bad(column, TOO_LONG);
        }
        self.bytes += value.len() + 5;
        match &mut self.builders[column] {
            ColumnBuilder::Bytes(b) => b.append_value(value),
            _ => self.mismatch(column, "bytes"),
        }
    }

    fn mismatch(&mut self, column: usize, got: &str) {
        let expected = self.schema.field(column).data_type().clone();
        self.bad(column, format!("the server sent {got} where {expected} was announced"));
    }

    /// Ends the row, and hands the batch on when it is full.
    pub fn end_row(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        self.rows += 1;
        if self.bytes > self.slot_bytes && self.rows > 1 {
            // The last row did not fit any more; it goes alone, however wide it is.
            let whole = self.take()?;
            let last = whole.rows.num_rows() - 1;
            let (bad_last, bad_first) = whole.bad.into_iter().partition(|b| b.row == last);
            emit(ReadBatch { rows: whole.rows.slice(0, last), bad: bad_first })?;
            let bad = |b: BadValue| BadValue { row: 0, ..b };
            let bad_last: Vec<BadValue> = bad_last;
            return emit(ReadBatch {
                rows: whole.rows.slice(last, 1),
                bad: bad_last.into_iter().map(bad).collect(),
            });
        }
        let rows_max = self.rows_max.load(Ordering::Relaxed);
        if self.rows >= rows_max || self.bytes >= self.slot_bytes / 4 * 3 {
            let batch = self.take()?;
            return emit(batch);
        }
        Ok(())
    }

    /// Hands on what is left after the last row.
    pub fn flush(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        if self.rows > 0 {
            let batch = self.take()?;
            emit(batch)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<ReadBatch> {
        // What comes next will be much like these rows, unless one was wider than a slot: memory
        // for another such row is not kept.
        let alike = if self.bytes > self.slot_bytes { 0 } else { self.rows };
        let mut bad = std::mem::take(&mut self.bad);
        let mut arrays = Vec::with_capacity(self.builders.len());
        for (i, builder) in self.builders.iter_mut().enumerate() {
            let array = builder.take(alike);
            arrays.push(match builder {
                ColumnBuilder::Text(_) => {
                    let charset = self.charsets[i].as_deref().unwrap_or("UTF-8");
                    checked_text(array.as_binary(), (&self.names[i], charset), &mut bad)
                }
                _ => array,
            });
        }
        self.rows = 0;
        self.bytes = self.overhead;
        Ok(ReadBatch { rows: RecordBatch::try_new(self.schema.clone(), arrays)?, bad })
    }
}

/// The values of a column, by name and charset, as text. Those that are not become bad, with NULL in
/// their place.
fn checked_text(
    values: &BinaryArray,
    (name, charset): (&str, &str),
    bad: &mut Vec<BadValue>,
) -> ArrayRef {
    let (offsets, bytes, nulls) = values.clone().into_parts();
    if let Ok(text) = StringArray::try_new(offsets, bytes, nulls) {
        return Arc::new(text);
    }
    let checked = values.iter().enumerate().map(|(row, value)| {
        let text = std::str::from_utf8(value?);
        if text.is_err() {
            let message = format!("not valid {charset}");
            bad.push(BadValue { row, column: name.to_owned(), message });
        }
        text.ok()
    });
    Arc::new(checked.collect::<StringArray>())
}

/// The value at (`column`, `row`) of a batch whose column has this kind.
pub fn value_at(batch: &RecordBatch, column: usize, kind: Kind, row: usize) -> Value {
    let array = batch.column(column);
    if array.is_null(row) {
        return Value::Null;
    }
    match kind {
        Kind::Int => Value::Int(array.as_primitive::<types::Int64Type>().value(row)),
        Kind::UInt => Value::UInt(array.as_primitive::<types::UInt64Type>().value(row)),
        Kind::Float32 => {
            Value::Float(f64::from(array.as_primitive::<types::Float32Type>().value(row)))
        }
        Kind::Float64 => Value::Float(array.as_primitive::<types::Float64Type>().value(row)),
        Kind::Decimal => Value::Decimal(array.as_string::<i32>().value(row).to_owned()),
        Kind::Text => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        Kind::Bytes => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        Kind::Date => {
            Value::Date(DateTime::from_packed(array.as_primitive::<types::Int64Type>().value(row)))
        }
        Kind::DateTime => Value::DateTime(DateTime::from_packed(
            array.as_primitive::<types::Int64Type>().value(row),
        )),
        Kind::Time => Value::Time(array.as_primitive::<types::Int64Type>().value(row)),
        Kind::Any => Value::from_tagged(array.as_binary::<i32>().value(row)).unwrap_or(Value::Null),
    }
}

/// Bytes that [`encode`] may need for this batch at the most.
pub fn encoded_bytes_max(batch: &RecordBatch) -> usize {
    let values: usize = batch
        .columns()
        .iter()
        .map(|c| c.to_data().get_slice_memory_size().unwrap_or(0) + 256)
        .sum();
    values + IPC_OVERHEAD + IPC_OVERHEAD_PER_COLUMN * batch.num_columns()
}

/// Writes the batch as an Arrow IPC stream into `target`; the bytes used. Fails with
/// [`ErrorKind::Full`] when it does not fit.
pub fn encode(batch: &RecordBatch, target: &mut [u8]) -> Result<usize> {
    let room = target.len();
    let mut cursor = std::io::Cursor::new(target);
    let options = IpcWriteOptions::try_new(64, false, arrow_ipc::MetadataVersion::V5)?;
    let written = (|| {
        let mut writer =
            StreamWriter::try_new_with_options(&mut cursor, batch.schema_ref(), options)?;
        writer.write(batch)?;
        writer.finish()
    })();
    match written {
        Ok(()) => Ok(cursor.position() as usize),
        Err(e) if cursor.position() as usize + 64 >= room => {
            Err(Error::new(ErrorKind::Full, format!("batch does not fit {room} bytes: {e}")))
        }
        Err(arrow_schema::ArrowError::IoError(..)) => {
            Err(Error::new(ErrorKind::Full, format!("batch does not fit {room} bytes")))
        }
        Err(e) => Err(e.into()),
    }
}

/// Reads what [`encode`] wrote. Fully validated, and without copying: the arrays point into
/// `bytes`.
pub fn decode(bytes: Buffer) -> Result<RecordBatch> {
    let mut bytes = bytes;
    let mut decoder = StreamDecoder::new();
    match decoder.decode(&mut bytes)? {
        Some(batch) => Ok(batch),
        None => Err(Error::new(ErrorKind::Internal, "the batch in the slot is incomplete")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        vec![
            Column::new("id", Kind::Int, "bigint"),
            Column::new("name", Kind::Text, "varchar(20)"),
            Column::new("raw", Kind::Bytes, "blob"),
        ]
    }

    fn fill(rows: usize, width: usize, limits: BatchLimits) -> Vec<ReadBatch> {
        let mut out = Vec::new();
        let mut emit = |b: ReadBatch| {
            out.push(b);
            Ok(())
        };
        let mut builder = BatchBuilder::new(&columns(), limits);
        for i in 0..rows {
            builder.int(0, i as i64);
            builder.text(1, &"x".repeat(width));
            if i % 3 == 0 {
                builder.null(2)
            } else {
                builder.bytes(2, &[0, 255, i as u8])
            }
            builder.end_row(&mut emit).unwrap();
        }
        builder.flush(&mut emit).unwrap();
        out
    }

    #[test]
    fn every_row_is_handed_on_once_and_fits_its_slot() {
        for width in [1, 100, 1000, 5000] {
            let limits = BatchLimits { rows: 100, slot_bytes: 16 << 10 };
            let batches = fill(250, width, limits);
            let mut next = 0;
            for b in &batches {
                assert!(b.rows.num_rows() <= 100);
                let mut slot = vec![0; limits.slot_bytes];
                encode(&b.rows, &mut slot).unwrap();
                for row in 0..b.rows.num_rows() {
                    assert_eq!(value_at(&b.rows, 0, Kind::Int, row), Value::Int(next));
                    next += 1;
                }
            }
            assert_eq!(next, 250, "width {width}");
        }
    }

    #[test]
    fn a_row_wider_than_a_slot_travels_alone_and_says_so_on_encoding() {
        let limits = BatchLimits { rows: 100, slot_bytes: 8 << 10 };
        let batches = fill(3, 20_000, limits);
        assert!(batches.iter().all(|b| b.rows.num_rows() == 1));
        let mut slot = vec![0; limits.slot_bytes];
        assert_eq!(encode(&batches[0].rows, &mut slot).unwrap_err().kind, ErrorKind::Full);
        let mut wide = vec![0; encoded_bytes_max(&batches[0].rows)];
        let used = encode(&batches[0].rows, &mut wide).unwrap();
        assert_eq!(decode(Buffer::from(&wide[..used])).unwrap(), batches[0].rows);
    }

    #[test]
    fn a_bad_value_keeps_its_row_number_through_a_split() {
        let mut out = Vec::new();
        let mut emit = |b: ReadBatch| {
            out.push(b);
            Ok(())
        };
        let mut builder =
            BatchBuilder::new(&columns(), BatchLimits { rows: 10, slot_bytes: 8 << 10 });
        for (i, width) in [10, 10_000].into_iter().enumerate() {
            builder.int(0, i as i64);
            builder.text(1, &"x".repeat(width));
            builder.bad(2, "not what it says");
            builder.end_row(&mut emit).unwrap();
        }
        builder.flush(&mut emit).unwrap();
        assert_eq!(out.len(), 2);
        assert!(out.iter().all(|b| b.bad.len() == 1 && b.bad[0].row == 0));
    }

    #[test]
    fn text_that_is_no_utf8_is_a_bad_value_of_its_row_alone() {
        let mut out = Vec::new();
        let mut emit = |b: ReadBatch| {
            out.push(b);
            Ok(())
        };
        let mut builder =
            BatchBuilder::new(&columns(), BatchLimits { rows: 4, slot_bytes: 1 << 20 });
        // The halves of a character in two values make a column that is UTF-8, and two bad values.
        for value in [&b"a"[..], b"\xc3", b"\xa9", "é".as_bytes()] {
            builder.int(0, 1);
            builder.utf8(1, value);
            builder.null(2);
            builder.end_row(&mut emit).unwrap();
        }
        assert_eq!(out.len(), 1);
        let bad: Vec<_> = out[0].bad.iter().map(|b| (b.row, b.column.as_str())).collect();
        assert_eq!(bad, [(1, "name"), (2, "name")]);
        let texts: Vec<_> = out[0].rows.column(1).as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("a"), None, None, Some("é")]);
    }

    #[test]
    fn garbage_in_a_slot_is_an_error_not_a_panic() {
        let batch = &fill(5, 10, BatchLimits { rows: 10, slot_bytes: 1 << 20 })[0].rows;
        let mut slot = vec![0; 1 << 16];
        let used = encode(batch, &mut slot).unwrap();
        for cut in [0, 4, 8, used / 2] {
            assert!(decode(Buffer::from(&slot[..cut])).is_err());
        }
        for i in (0..used).step_by(7) {
            let mut bent = slot[..used].to_vec();
            bent[i] ^= 0xff;
            let _ = std::panic::catch_unwind(|| decode(Buffer::from(&bent[..])));
        }
    }
}
