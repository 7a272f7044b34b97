//! The stages between two servers without the servers, for `ssync bench`: rows as one sends them
//! become batches, batches become the commands that another would get.

use mysql::consts::ColumnType;

use super::bulk::{Command, put};
use super::cell::{Cell, feeds};
use super::connect::Server;
use super::load::CommandLimits;
use super::read::Decoder;
use super::rows::{Form, row};
use super::wire::put_length;
use crate::batch::{BatchBuilder, BatchLimits, Emit, value_at};
use crate::connector::LoadPlan;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::schema::{Column, Kind};
use arrow_array::RecordBatch;

/// What a server says of itself that takes bulk commands.
const MARIADB: &str = "10.11.0-MariaDB";
const PACKET_BYTES_MAX: usize = 16 << 20;

/// Rows of these columns as a server sends them, without their headers.
pub struct Packets {
    columns: Vec<Column>,
    forms: Vec<Form>,
    /// Each with its length in front.
    bytes: Vec<u8>,
}

impl Packets {
    /// Of a batch's rows.
    pub fn of(columns: &[Column], batch: &RecordBatch) -> Packets {
        let form = |column: &Column| Form {
            kind: match column.kind {
                Kind::Int | Kind::UInt => ColumnType::MYSQL_TYPE_LONGLONG,
                Kind::Float32 | Kind::Float64 => ColumnType::MYSQL_TYPE_DOUBLE,
                Kind::Date | Kind::DateTime => ColumnType::MYSQL_TYPE_DATETIME,
                Kind::Time => ColumnType::MYSQL_TYPE_TIME,
                Kind::Decimal | Kind::Text | Kind::Bytes | Kind::Any => {
                    ColumnType::MYSQL_TYPE_VAR_STRING
                }
            },
            unsigned: column.kind == Kind::UInt,
        };
        let (mut bytes, mut packet) = (Vec::new(), Vec::new());
        for row in 0..batch.num_rows() {
            packet.clear();
            packet.resize((columns.len() + 9) / 8, 0);
            for (i, column) in columns.iter().enumerate() {
                let value = value_at(batch, i, column.kind, row);
                if put(&mut packet, &Cell::from(&value)).is_none() {
                    packet[(i + 2) / 8] |= 1 << ((i + 2) % 8);
                }
            }
            put_length(&mut bytes, packet.len() as u64);
            bytes.extend_from_slice(&packet);
        }
        Packets { columns: columns.to_vec(), forms: columns.iter().map(form).collect(), bytes }
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Decodes them into batches.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] where they do not decode; what `emit` says.
    pub fn decode(&self, limits: BatchLimits, emit: &mut Emit<'_>) -> Result<()> {
        let mut builder = BatchBuilder::new(&self.columns, limits);
        let mut decoders: Vec<_> = self.columns.iter().map(Decoder::of).collect();
        let mut rest = self.bytes.as_slice();
        let garbled = || Error::new(ErrorKind::Internal, "a made-up row does not decode");
        while !rest.is_empty() {
            let (packet, more) = super::wire::counted(rest).ok_or_else(garbled)?;
            row(packet, &self.forms, &mut decoders, &mut builder).ok_or_else(garbled)?;
            builder.end_row(emit)?;
            rest = more;
        }
        builder.flush(emit)
    }
}

/// Makes commands of batches and drops them.
#[derive(Default)]
pub struct Commands(Command);

impl Commands {
    /// Makes the commands of a batch, each of at most so many rows; their bytes.
    ///
    /// # Errors
    /// Where a value is not one that its column keeps.
    pub fn make(&mut self, plan: &LoadPlan, batch: &RecordBatch, rows_max: usize) -> Result<usize> {
        let server = Server::known(MARIADB, PACKET_BYTES_MAX);
        let feeds = feeds(plan, batch, &server)?;
        let limits = CommandLimits::new(&server, feeds.len(), rows_max);
        let (mut rows, mut bytes) = (0..batch.num_rows(), 0);
        while !rows.is_empty() {
            rows.start += self.0.fill(1, &feeds, rows.clone(), &limits)?;
            bytes += self.0.bytes().len();
        }
        Ok(bytes)
    }
}
