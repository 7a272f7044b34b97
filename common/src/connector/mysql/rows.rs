//! Rows by hand: a statement is executed, and its rows go from the socket's buffer straight into a
//! batch, without a value of the driver's for each field. Where that cannot be done (TLS), the
//! driver reads ([`super::read::by_driver`]); both decode alike.

use std::os::fd::AsRawFd;

use mysql::consts::{ColumnFlags, ColumnType};
use mysql::prelude::Queryable;
use mysql::{Conn, Statement, Value as Wire};

use super::bulk::put;
use super::cell::Cell;
use super::errors;
use super::read::{Cut, Decoder, micros_of};
use super::wire::{HEADER, Packets, Socket, counted, garbled, length_encoded, server_error};
use crate::batch::{BatchBuilder, Emit};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::Column;
use crate::value::{DateTime, Value};

const EXECUTE: u8 = 0x17;
/// Length of the packet with which older servers end the columns, and then the rows. The newer form,
/// which ends only the rows, is longer.
const OLD_END_BYTES: usize = 5;

/// How a column's values stand in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) kind: ColumnType,
    pub(super) unsigned: bool,
}

impl Form {
    fn of(column: &mysql::Column) -> Form {
        Form {
            kind: column.column_type(),
            unsigned: column.flags().contains(ColumnFlags::UNSIGNED_FLAG),
        }
    }

    /// From a definition packet. Its last part, twelve bytes and their number before them, has type
    /// and flags; before it stand names, and from MariaDB what else it knows of a type.
    pub(super) fn parse(definition: &[u8]) -> Option<Form> {
        let (_, fixed) = definition.split_last_chunk::<13>()?;
        let kind = ColumnType::try_from(fixed[7]).ok()?;
        let flags = u16::from_le_bytes([fixed[8], fixed[9]]);
        let unsigned = flags & ColumnFlags::UNSIGNED_FLAG.bits() != 0;
        (fixed[0] == 12).then_some(Form { kind, unsigned })
    }
}

/// Runs a query and moves all its rows into `builder`; their number.
pub(super) fn read(
    conn: &mut Conn,
    (sql, params): (&str, &[Value]),
    columns: &[Column],
    builder: &mut BatchBuilder,
    emit: &mut Emit<'_>,
) -> Result<u64, Cut> {
    // Never executed twice: of columns that have changed since, the server would tell whoever
    // executes next, and nobody after that.
    let prepared = conn.prep(sql).map_err(|e| Cut::Source(errors::from_driver(&e)))?;
    let done = execute(conn, &prepared, params, columns, builder, emit);
    let is_usable = match &done {
        Ok(_) => true,
        Err(Cut::Source(e)) => e.kind != ErrorKind::Lost,
        Err(Cut::Receiver(_)) => false,
    };
    if is_usable {
        conn.close(prepared).map_err(|e| Cut::Source(errors::from_driver(&e)))?;
    }
    done
}

fn execute(
    conn: &Conn,
    prepared: &Statement,
    params: &[Value],
    columns: &[Column],
    builder: &mut BatchBuilder,
    emit: &mut Emit<'_>,
) -> Result<u64, Cut> {
    if usize::from(prepared.num_params()) != params.len() {
        let why = format!("{} parameters for {}", params.len(), prepared.num_params());
        return Err(Cut::Source(Error::new(ErrorKind::Internal, why)));
    }
    let known: Vec<Form> = prepared.columns().iter().map(Form::of).collect();
    let socket = Socket(conn.as_raw_fd());
    socket.send(&mut execution(prepared.id(), params)).map_err(Cut::Source)?;
    let mut packets = Packets::default();
    let forms = forms(&mut packets, socket, known).map_err(Cut::Source)?;
    if forms.len() != columns.len() {
        let (got, wanted) = (forms.len(), columns.len());
        let why = format!("the query has {got} columns where {wanted} were expected");
        return Err(Cut::Receiver(Error::new(ErrorKind::Internal, why)));
    }
    let mut decoders: Vec<Decoder> = columns.iter().map(Decoder::of).collect();
    let (mut count, mut in_rows) = (0, false);
    loop {
        let packet = packets.next(socket).map_err(Cut::Source)?;
        match packet.first() {
            Some(0x00) => {}
            Some(0xFE) if packet.len() == OLD_END_BYTES && !in_rows => {
                in_rows = true;
                continue;
            }
            Some(0xFE) => break,
            _ => {
                let e = server_error(packet);
                return Err(Cut::Source(e.map_or_else(garbled, |e| errors::from_server(&e))));
            }
        }
        row(&packet[1..], &forms, &mut decoders, builder).ok_or_else(|| Cut::Source(garbled()))?;
        builder.end_row(emit).map_err(Cut::Receiver)?;
        count += 1;
    }
    if !packets.is_empty() {
        return Err(Cut::Source(garbled()));
    }
    builder.flush(emit).map_err(Cut::Receiver)?;
    Ok(count)
}

/// The command that executes a statement, behind room for a header.
fn execution(statement: u32, params: &[Value]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes.push(EXECUTE);
    bytes.extend_from_slice(&statement.to_le_bytes());
    // No cursor; once.
    bytes.extend_from_slice(&[0, 1, 0, 0, 0]);
    if params.is_empty() {
        return bytes;
    }
    let nulls = bytes.len();
    bytes.resize(nulls + params.len().div_ceil(8), 0);
    // The types come with it.
    bytes.push(1);
    let types = bytes.len();
    bytes.resize(types + 2 * params.len(), 0);
    for (i, param) in params.iter().enumerate() {
        let place = types + 2 * i;
        match put(&mut bytes, &Cell::from(param)) {
            Some(tag) => bytes[place..place + 2].copy_from_slice(&tag),
            None => {
                bytes[nulls + i / 8] |= 1 << (i % 8);
                bytes[place] = ColumnType::MYSQL_TYPE_NULL as u8;
            }
        }
    }
    bytes
}

/// The columns of a result, from its first packets. A server that knows that they are as they were
/// at preparation may leave them out.
fn forms(packets: &mut Packets, socket: Socket, known: Vec<Form>) -> Result<Vec<Form>> {
    let head = packets.next(socket)?;
    if let Some(e) = server_error(head) {
        return Err(errors::from_server(&e));
    }
    let (count, rest) = length_encoded(head).ok_or_else(garbled)?;
    if rest == [0] {
        let same = count == known.len() as u64;
        return if same { Ok(known) } else { Err(garbled()) };
    }
    let mut forms = Vec::new();
    for _ in 0..count {
        let packet = packets.next(socket)?;
        forms.push(Form::parse(packet).ok_or_else(garbled)?);
    }
    Ok(forms)
}

/// Decodes a row, behind its first byte; `None` where it is not such a row.
pub(super) fn row(
    bytes: &[u8],
    forms: &[Form],
    decoders: &mut [Decoder],
    builder: &mut BatchBuilder,
) -> Option<()> {
    // The first two bits of the map have no column.
    let (nulls, mut rest) = bytes.split_at_checked((forms.len() + 9) / 8)?;
    for (i, (form, decoder)) in forms.iter().zip(decoders).enumerate() {
        if nulls[(i + 2) / 8] & 1 << ((i + 2) % 8) != 0 {
            builder.null(i);
            continue;
        }
        rest = field(rest, *form, decoder, builder, i)?;
    }
    rest.is_empty().then_some(())
}

/// Decodes a field; what follows it.
fn field<'a>(
    bytes: &'a [u8],
    form: Form,
    decoder: &mut Decoder,
    builder: &mut BatchBuilder,
    i: usize,
) -> Option<&'a [u8]> {
    use ColumnType::*;
    // Each value goes on as what it is: as one of the driver's it would travel through memory.
    Some(match (form.kind, form.unsigned) {
        (MYSQL_TYPE_TINY, unsigned) => {
            let ([v], rest) = bytes.split_first_chunk()?;
            let v = if unsigned { i64::from(*v) } else { i64::from(v.cast_signed()) };
            decoder.push_int(v, builder, i);
            rest
        }
        (MYSQL_TYPE_SHORT | MYSQL_TYPE_YEAR, unsigned) => {
            let (v, rest) = bytes.split_first_chunk()?;
            let v = match unsigned {
                true => i64::from(u16::from_le_bytes(*v)),
                false => i64::from(i16::from_le_bytes(*v)),
            };
            decoder.push_int(v, builder, i);
            rest
        }
        (MYSQL_TYPE_LONG | MYSQL_TYPE_INT24, unsigned) => {
            let (v, rest) = bytes.split_first_chunk()?;
            let v = match unsigned {
                true => i64::from(u32::from_le_bytes(*v)),
                false => i64::from(i32::from_le_bytes(*v)),
            };
            decoder.push_int(v, builder, i);
            rest
        }
        (MYSQL_TYPE_LONGLONG, true) => {
            let (v, rest) = bytes.split_first_chunk()?;
            decoder.push_uint(u64::from_le_bytes(*v), builder, i);
            rest
        }
        (MYSQL_TYPE_LONGLONG, false) => {
            let (v, rest) = bytes.split_first_chunk()?;
            decoder.push_int(i64::from_le_bytes(*v), builder, i);
            rest
        }
        (MYSQL_TYPE_FLOAT, _) => {
            let (v, rest) = bytes.split_first_chunk()?;
            decoder.push(&Wire::Float(f32::from_le_bytes(*v)), builder, i);
            rest
        }
        (MYSQL_TYPE_DOUBLE, _) => {
            let (v, rest) = bytes.split_first_chunk()?;
            decoder.push(&Wire::Double(f64::from_le_bytes(*v)), builder, i);
            rest
        }
        (MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE | MYSQL_TYPE_DATETIME | MYSQL_TYPE_TIMESTAMP, _) => {
            let (v, rest) = counted(bytes)?;
            decoder.push_date(date_time(v)?, builder, i);
            rest
        }
        (MYSQL_TYPE_TIME, _) => {
            let (v, rest) = counted(bytes)?;
            decoder.push_time(time(v)?, builder, i);
            rest
        }
        (MYSQL_TYPE_NULL, _) => {
            builder.null(i);
            bytes
        }
        _ => {
            let (v, rest) = counted(bytes)?;
            decoder.push_bytes(v, builder, i);
            rest
        }
    })
}

/// What a field holds: a date, or nothing that is one. `None` for a field of no length it may have.
fn date_time(bytes: &[u8]) -> Option<Option<DateTime>> {
    let part = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let micros = u32::from_le_bytes([part(7), part(8), part(9), part(10)]);
    let year = u16::from_le_bytes([part(0), part(1)]);
    matches!(bytes.len(), 0 | 4 | 7 | 11)
        .then(|| DateTime::new(year, part(2), part(3), part(4), part(5), part(6), micros))
}

/// What a field holds: microseconds, or nothing that is a time. `None` for a field of no length it
/// may have.
fn time(bytes: &[u8]) -> Option<Option<i64>> {
    let part = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let days = u32::from_le_bytes([part(1), part(2), part(3), part(4)]);
    let micros = u32::from_le_bytes([part(8), part(9), part(10), part(11)]);
    matches!(bytes.len(), 0 | 8 | 12)
        .then(|| micros_of(part(0) != 0, days, part(5), part(6), part(7), micros))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::batch::BatchLimits;
    use crate::schema::Kind;

    const FORMS: [ColumnType; 8] = [
        ColumnType::MYSQL_TYPE_TINY,
        ColumnType::MYSQL_TYPE_SHORT,
        ColumnType::MYSQL_TYPE_LONG,
        ColumnType::MYSQL_TYPE_LONGLONG,
        ColumnType::MYSQL_TYPE_DOUBLE,
        ColumnType::MYSQL_TYPE_DATETIME,
        ColumnType::MYSQL_TYPE_TIME,
        ColumnType::MYSQL_TYPE_VAR_STRING,
    ];

    fn forms_of(unsigned: bool) -> Vec<Form> {
        FORMS.map(|kind| Form { kind, unsigned }).to_vec()
    }

    proptest! {
        /// Whatever comes in the place of a row or a definition is decoded or refused.
        #[test]
        fn any_bytes_are_decoded_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            zeros in 0usize..4,
            unsigned in any::<bool>(),
        ) {
            let bytes = [vec![0; zeros], bytes].concat();
            let kinds = [Kind::Int, Kind::Int, Kind::UInt, Kind::UInt, Kind::Float64,
                         Kind::DateTime, Kind::Time, Kind::Text];
            let columns = kinds.map(|kind| Column::new("c", kind, "x"));
            let limits = BatchLimits { rows: 10, slot_bytes: 1 << 20 };
            let mut builder = BatchBuilder::new(&columns, limits);
            let mut decoders: Vec<_> = columns.iter().map(Decoder::of).collect();
            let _ = row(&bytes, &forms_of(unsigned), &mut decoders, &mut builder);
            let _ = Form::parse(&bytes);
        }
    }

    /// Each of these made the process panic, or would have landed as another value.
    #[test]
    fn a_time_out_of_all_range_is_a_bad_value_of_its_row_alone() {
        let time = |days: u32, hours: u8, micros: u32| {
            let mut bytes = vec![0, 0, 12, 0];
            bytes.extend(days.to_le_bytes());
            bytes.extend([hours, 0, 0]);
            bytes.extend(micros.to_le_bytes());
            bytes
        };
        let columns = [Column::new("c", Kind::Time, "time(6)")];
        let limits = BatchLimits { rows: 10, slot_bytes: 1 << 20 };
        let mut builder = BatchBuilder::new(&columns, limits);
        let mut decoders = [Decoder::of(&columns[0])];
        let forms = [Form { kind: ColumnType::MYSQL_TYPE_TIME, unsigned: false }];
        let mut batches = Vec::new();
        let mut emit = |batch| {
            batches.push(batch);
            Ok(())
        };
        for bytes in
            [time(34, 22, 0), time(u32::MAX, 255, u32::MAX), time(34, 23, 0), time(0, 0, 5)]
        {
            // The first byte is the row's own.
            row(&bytes[1..], &forms, &mut decoders, &mut builder).unwrap();
            builder.end_row(&mut emit).unwrap();
        }
        builder.flush(&mut emit).unwrap();
        let bad: Vec<_> = batches[0].bad.iter().map(|b| (b.row, b.message.as_str())).collect();
        assert_eq!(bad, [(1, "not a time"), (2, "not a time")]);
        let value = |row| crate::batch::value_at(&batches[0].rows, 0, Kind::Time, row);
        assert_eq!(value(0), Value::Time(838 * 3_600_000_000));
        assert_eq!(value(3), Value::Time(5));
    }

    #[test]
    fn a_definition_gives_type_and_sign() {
        let mut definition = Vec::new();
        for text in ["def", "db", "t", "t", "id", "id"] {
            definition.push(text.len() as u8);
            definition.extend_from_slice(text.as_bytes());
        }
        let fixed = [12, 63, 0, 20, 0, 0, 0, 8, 0x20, 0x10, 0, 0, 0];
        let form = Form { kind: ColumnType::MYSQL_TYPE_LONGLONG, unsigned: true };
        assert_eq!(Form::parse(&[&definition[..], &fixed].concat()), Some(form));
        // As MariaDB extends it; the length of what it says may be twelve, too.
        let extended = [&definition[..], &[12, 0, 10], b"linestring", &fixed].concat();
        assert_eq!(Form::parse(&extended), Some(form));
        assert_eq!(Form::parse(&definition), None);
    }

    #[test]
    fn parameters_are_flagged_where_they_are_null() {
        let params = [Value::Int(7), Value::Null, Value::Text("x".into())];
        let bytes = execution(9, &params);
        assert_eq!(bytes[HEADER..HEADER + 10], [EXECUTE, 9, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[HEADER + 10..HEADER + 18], [0b010, 1, 8, 0, 6, 0, 253, 0]);
        assert_eq!(bytes[HEADER + 18..], [7, 0, 0, 0, 0, 0, 0, 0, 1, b'x']);
    }
}
