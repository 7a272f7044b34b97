"""What ssync brings into an Oracle, read, and what it fetches from there, written: by Oracle's own
Python client, in thin mode, and by Python's own SQLite.

usage: journey.py CONNECT_STRING USER START_FILE END_FILE begin|end   (the password is in PASSWORD)

`begin` makes the tables: START_FILE's and Oracle's THERE are full, Oracle's HERE and END_FILE's are
empty. Between, ssync moves START_FILE's `t` to HERE, and THERE to END_FILE's `t`. `end` says whether
every value arrived. Both spellings of a value stand below, written down by hand.
"""

import datetime
import decimal
import os
import sqlite3
import sys

import oracledb

CONNECT, USER, START, END, ACTION = sys.argv[1:6]
D = decimal.Decimal
MOMENT = datetime.datetime
SPAN = datetime.timedelta
FINE = "'YYYY-MM-DD HH24:MI:SS.FF9'"
ZONED = "'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM'"

# Name; type in Oracle, with how a value is bound and fetched where Python has no type for it; type in
# SQLite; values, as Python has them of Oracle and of SQLite.
COLUMNS = [
    ("n18", ("number(18)", None, None, None), "INTEGER",
     [(D(999999999999999999), 999999999999999999), (D(-1), -1), (D(0), 0)]),
    ("n", ("number", None, None, None), "TEXT",
     [(D("123456789012345678901234567890.12345678"), "123456789012345678901234567890.12345678"),
      (D("-0.00000000000000000000000000000000000001"), "-0.00000000000000000000000000000000000001"),
      (D("1e38"), "1" + 38 * "0")]),
    ("scaled", ("number(10,2)", None, None, None), "TEXT",
     [(D("12345678.25"), "12345678.25"), (D("-0.01"), "-0.01"), (D("7"), "7")]),
    ("double", ("binary_double", oracledb.DB_TYPE_BINARY_DOUBLE, None, None), "REAL",
     [(0.1, 0.1), (1.7976931348623157e308, 1.7976931348623157e308), (-5e-324, -5e-324)]),
    ("single", ("binary_float", oracledb.DB_TYPE_BINARY_FLOAT, None, None), "REAL",
     [(0.5, 0.5), (16777216.0, 16777216.0), (-1.25, -1.25)]),
    ("varchar", ("varchar2(100 char)", None, None, None), "TEXT",
     [("é中😀", "é中😀"), ("a  ", "a  "), (" '\"\\\n\t", " '\"\\\n\t")]),
    ("national", ("nvarchar2(100)", oracledb.DB_TYPE_NVARCHAR, None, None), "TEXT",
     [("é中😀", "é中😀"), ("a  ", "a  "), ("x" * 100, "x" * 100)]),
    ("padded", ("char(6)", None, None, None), "TEXT",
     [("ab    ", "ab"), ("123456", "123456"), ("a b   ", "a b")]),
    ("clob", ("clob", None, None, None), "TEXT",
     [("中" * 50000, "中" * 50000), ("a", "a"), ("é" * 4001, "é" * 4001)]),
    ("nclob", ("nclob", None, None, None), "TEXT",
     [("😀" * 20000, "😀" * 20000), ("a", "a"), ("é" * 2001, "é" * 2001)]),
    ("blob", ("blob", None, None, None), "BLOB",
     [(bytes(range(256)) * 300, bytes(range(256)) * 300), (b"\0", b"\0"), (b"\xff" * 2001, b"\xff" * 2001)]),
    ("raw", ("raw(100)", None, None, None), "BLOB",
     [(b"\0\xff", b"\0\xff"), (b"a" * 100, b"a" * 100), (b" ", b" ")]),
    ("day", ("date", None, None, None), "TEXT",
     [(MOMENT(2024, 2, 29, 10, 20, 30), "2024-02-29 10:20:30"), (MOMENT(1, 1, 1), "0001-01-01 00:00:00"),
      (MOMENT(9999, 12, 31, 23, 59, 59), "9999-12-31 23:59:59")]),
    ("micros", ("timestamp(6)", oracledb.DB_TYPE_TIMESTAMP, None, None), "TEXT",
     [(MOMENT(2024, 2, 29, 10, 20, 30, 123456), "2024-02-29 10:20:30.123456"),
      (MOMENT(1900, 1, 1, 0, 0, 0, 1), "1900-01-01 00:00:00.000001"),
      (MOMENT(9999, 12, 31, 23, 59, 59, 999999), "9999-12-31 23:59:59.999999")]),
    ("nanos", ("timestamp(9)", None, f"to_timestamp(:, {FINE})", f"to_char(:, {FINE})"), "TEXT",
     [("2024-02-29 10:20:30.123456789", "2024-02-29 10:20:30.123456789"),
      ("1969-12-31 23:59:59.000000001", "1969-12-31 23:59:59.000000001"),
      ("2038-01-19 03:14:08.500000001", "2038-01-19 03:14:08.500000001")]),
    ("zoned", ("timestamp(9) with time zone", None, f"to_timestamp_tz(:, {ZONED})", f"to_char(:, {ZONED})"), "TEXT",
     [("2024-02-29 10:20:30.123456789 +08:00", "2024-02-29 10:20:30.123456789 +08:00"),
      ("2024-02-29 00:20:30.000000001 -05:30", "2024-02-29 00:20:30.000000001 -05:30"),
      ("1960-02-29 12:30:00.000000009 +00:00", "1960-02-29 12:30:00.000000009 +00:00")]),
    ("local", ("timestamp(6) with local time zone", oracledb.DB_TYPE_TIMESTAMP, None, None), "TEXT",
     [(MOMENT(2024, 2, 29, 10, 20, 30, 123456), "2024-02-29 10:20:30.123456"),
      (MOMENT(1969, 12, 31, 23, 59, 59, 1), "1969-12-31 23:59:59.000001"),
      (MOMENT(2040, 1, 1, 0, 0, 0, 999999), "2040-01-01 00:00:00.999999")]),
    ("span", ("interval day(3) to second(6)", None, None, None), "TEXT",
     [(SPAN(days=3, hours=4, minutes=5, seconds=6, microseconds=7), "76:05:06.000007"),
      (-SPAN(microseconds=1), "-00:00:00.000001"), (-SPAN(days=34, hours=22, microseconds=5), "-838:00:00.000005")]),
    ("months", ("interval year(4) to month", None, None, None), "TEXT",
     [(oracledb.IntervalYM(7, 3), "7-03"), (oracledb.IntervalYM(-7, -3), "-7-03"),
      (oracledb.IntervalYM(9999, 11), "9999-11")]),
]


def connect():
    connection = oracledb.connect(user=USER, password=os.environ["PASSWORD"], dsn=CONNECT)
    connection.cursor().execute("alter session set time_zone = '+00:00'")
    if int(connection.version.split(".")[0]) >= 23:
        COLUMNS.append(("truth", ("boolean", None, None, None), "INTEGER", [(True, 1), (False, 0), (True, 1)]))
    return connection


def rows(side):
    """Every value once, and NULL in every column once."""
    count = len(COLUMNS[0][3])
    filled = [[values[i][side] for *_, values in COLUMNS] for i in range(count)]
    return [[i] + row for i, row in enumerate(filled + [[None] * len(COLUMNS)])]


def begin(connection):
    cursor = connection.cursor()
    declared = ", ".join(f"c_{name} {oracle[0]}" for name, oracle, *_ in COLUMNS)
    for table in ("here", "there"):
        cursor.execute(f"create table {table} (id number(9) primary key, {declared})")
    binds = [(oracle[2] or ":").replace(":", f":{i + 2}", 1) for i, (_, oracle, *_) in enumerate(COLUMNS)]
    cursor.setinputsizes(None, *[oracle[1] for _, oracle, *_ in COLUMNS])
    for row in rows(0):
        cursor.execute(f"insert into there values (:1, {', '.join(binds)})", row)
    connection.commit()
    declared = ", ".join(f"c_{name} {lite}" for name, _, lite, _ in COLUMNS)
    for file in (START, END):
        lite = sqlite3.connect(file)
        lite.execute(f"create table t (id integer primary key, {declared})")
        if file == START:
            marks = ", ".join("?" * (len(COLUMNS) + 1))
            lite.executemany(f"insert into t values ({marks})", rows(1))
        lite.commit()
        lite.close()


def compare(place, names, found, expected):
    assert len(found) == len(expected), f"{place}: {len(found)} rows of {len(expected)}"
    for got, wanted in zip(found, expected):
        for name, a, b in zip(names, got, wanted):
            same = a == b and (type(a) is type(b) or isinstance(a, D))
            assert same, f"{place}.{name}, row {wanted[0]}: {str(a)[:80]!r} is not {str(b)[:80]!r}"


def end(connection):
    oracledb.defaults.fetch_decimals = True
    oracledb.defaults.fetch_lobs = False
    names = ["id"] + [name for name, *_ in COLUMNS]
    fetched = [(oracle[3] or ":").replace(":", f"c_{name}", 1) for name, oracle, *_ in COLUMNS]
    cursor = connection.cursor()
    cursor.execute(f"select id, {', '.join(fetched)} from here order by id")
    compare("here", names, [list(row) for row in cursor], rows(0))
    listed = ", ".join(f"c_{name}" for name, *_ in COLUMNS)
    lite = sqlite3.connect(END)
    compare("end", names, [list(r) for r in lite.execute(f"select id, {listed} from t order by id")], rows(1))
    print(f"{len(COLUMNS)} columns, {2 * len(rows(0))} rows: ok")


{"begin": begin, "end": end}[ACTION](connect())
