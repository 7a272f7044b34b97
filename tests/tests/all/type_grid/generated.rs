//! Values by chance into Oracle columns by chance: each arrives as it was, or is refused.

use arrow_array::RecordBatch;
use ssync_common::batch::{BatchBuilder, BatchLimits, ReadBatch};
use ssync_common::connector::{LoadPlan, WriteMode};
use ssync_common::schema::{Column, Kind};
use ssync_common::value::{DateTime, Value};
use ssync_tests::rng::{Rng, seed};

use super::super::conformance::place::{Place, described, run};
use super::{landed, same};

/// Columns of each sort.
const COLUMNS: u64 = 6;
/// Values for each column.
const VALUES: u64 = 30;

type Declare = fn(&mut Rng) -> String;
type Make = fn(&mut Rng) -> Value;

#[test]
fn generated_values_arrive_in_oracle_or_are_refused() {
    let seed = seed();
    println!("SSYNC_TEST_SEED={seed}");
    let mut rng = Rng::new(seed, 4711);
    let sorts: [(Kind, Declare, Make); 8] = [
        (Kind::Decimal, number, decimal),
        (Kind::Decimal, |_| "NUMBER".to_owned(), decimal),
        (Kind::Int, number, |rng| Value::Int(rng.next() as i64 >> rng.below(64))),
        (Kind::UInt, number, |rng| Value::UInt(rng.next() >> rng.below(64))),
        (Kind::Text, characters, text),
        (Kind::Bytes, |rng| format!("RAW({})", rng.between(1, 12)), bytes),
        (Kind::DateTime, moment, date_time),
        (Kind::Time, interval, duration),
    ];
    let place = Place::oracle19("generated");
    let mut c = place.open();
    for (kind, declare, make) in sorts {
        let (mut arrived, mut refused) = (0, 0);
        for _ in 0..COLUMNS {
            let declared = declare(&mut rng);
            run(&mut *c, &[&format!("CREATE TABLE d (n INTEGER, v {declared})")]);
            let [number, dest] = <[Column; 2]>::try_from(described(&mut *c, "d").columns).unwrap();
            let plan = LoadPlan {
                table: "d".into(),
                columns: vec![dest.clone(), number],
                kinds: vec![kind, Kind::Int],
                mode: WriteMode::Insert,
                key: Vec::new(),
            };
            for _ in 0..VALUES {
                let given = make(&mut rng);
                let source = Column::new("v", kind, "generated");
                let batch = batch_of(&source, &given);
                let Some(values) = landed(&mut *c, &plan, &batch, &dest, false) else {
                    refused += 1;
                    continue;
                };
                arrived += 1;
                let value = values.first().unwrap();
                assert!(
                    same::same(&source, &given, &dest, value),
                    "{given:?} into {declared} became {value:?} (SSYNC_TEST_SEED={seed})"
                );
            }
            run(&mut *c, &["DROP TABLE d"]);
        }
        assert!(arrived > 0, "no {kind:?} arrived (SSYNC_TEST_SEED={seed})");
        assert!(refused > 0, "no {kind:?} was refused (SSYNC_TEST_SEED={seed})");
    }
}

fn batch_of(column: &Column, value: &Value) -> RecordBatch {
    let limits = BatchLimits { rows: 10, slot_bytes: 1 << 20 };
    let mut builder = BatchBuilder::new(std::slice::from_ref(column), limits);
    match value {
        Value::Int(v) | Value::Time(v) => builder.int(0, *v),
        Value::UInt(v) => builder.uint(0, *v),
        Value::Decimal(text) | Value::Text(text) => builder.text(0, text),
        Value::Bytes(bytes) => builder.bytes(0, bytes),
        Value::DateTime(v) => builder.int(0, v.packed()),
        other => panic!("{other:?} is not generated"),
    }
    let mut made = None;
    let mut emit = |batch: ReadBatch| {
        made = Some(batch.rows);
        Ok(())
    };
    builder.end_row(&mut emit).unwrap();
    builder.flush(&mut emit).unwrap();
    made.unwrap()
}

fn number(rng: &mut Rng) -> String {
    let precision = rng.between(1, 38);
    match rng.below(4) {
        0 => format!("NUMBER({precision})"),
        1 => format!("NUMBER({precision},-{})", rng.between(1, 5)),
        _ => format!("NUMBER({precision},{})", rng.between(0, 20)),
    }
}

fn decimal(rng: &mut Rng) -> Value {
    let mut digits = |most| -> String {
        (0..rng.between(1, most)).map(|_| char::from(b'0' + rng.below(10) as u8)).collect()
    };
    let (whole, fraction) = (digits(25), digits(25));
    let sign = if rng.chance(50) { "-" } else { "" };
    Value::Decimal(match rng.below(4) {
        0 => format!("{sign}{whole}"),
        1 => format!("{sign}{}", &whole[..1]),
        2 => format!("{sign}0.{fraction}"),
        _ => format!("{sign}{whole}.{fraction}"),
    })
}

fn characters(rng: &mut Rng) -> String {
    let n = rng.between(1, 12);
    match rng.below(5) {
        0 => format!("CHAR({n})"),
        1 => format!("CHAR({n} CHAR)"),
        2 => format!("VARCHAR2({n})"),
        3 => format!("VARCHAR2({n} CHAR)"),
        _ => format!("NVARCHAR2({n})"),
    }
}

fn text(rng: &mut Rng) -> Value {
    const CHARS: [char; 12] = ['a', 'Z', '0', ' ', '\'', '"', '\\', '\n', 'é', '中', '😀', '€'];
    Value::Text((0..rng.below(14)).map(|_| *rng.pick(&CHARS)).collect())
}

fn bytes(rng: &mut Rng) -> Value {
    Value::Bytes((0..rng.below(14)).map(|_| rng.below(256) as u8).collect())
}

fn moment(rng: &mut Rng) -> String {
    match rng.below(4) {
        0 => "DATE".to_owned(),
        1 => format!("TIMESTAMP({}) WITH LOCAL TIME ZONE", rng.below(7)),
        _ => format!("TIMESTAMP({})", rng.below(7)),
    }
}

fn date_time(rng: &mut Rng) -> Value {
    let year = if rng.chance(80) { rng.between(1900, 2100) } else { rng.between(0, 9999) };
    let micros = match rng.below(3) {
        0 => 0,
        1 => rng.below(1000) * 1000,
        _ => rng.below(1_000_000),
    };
    let part = |rng: &mut Rng, most| rng.between(0, most) as u8;
    let (month, day) = (part(rng, 12), part(rng, 31));
    let (hour, minute, second) = (part(rng, 23), part(rng, 59), part(rng, 59));
    let v = DateTime::new(year as u16, month, day, hour, minute, second, micros as u32);
    Value::DateTime(v.unwrap())
}

fn interval(rng: &mut Rng) -> String {
    format!("INTERVAL DAY({}) TO SECOND({})", rng.between(0, 4), rng.below(7))
}

fn duration(rng: &mut Rng) -> Value {
    let unit = *rng.pick(&[1, 1000, 1_000_000, 3_600_000_000, 86_400_000_000]);
    let count = rng.below(100_000) as i64 * unit;
    Value::Time(if rng.chance(50) { -count } else { count })
}
