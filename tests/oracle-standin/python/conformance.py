"""Oracle's own Python client, in thin mode, against a stand-in.

usage: conformance.py CONNECT_STRING USER PASSWORD MAJOR_VERSION

Every function named test_... is run with a connection of its own; the first that fails ends it all.
"""

import datetime
import decimal
import sys
import threading
import time
import traceback

import oracledb

CONNECT, USER, PASSWORD, MAJOR = sys.argv[1:5]
D = decimal.Decimal


def connect(**more):
    return oracledb.connect(user=USER, password=PASSWORD, dsn=CONNECT, **more)


def table(connection, name, columns):
    cursor = connection.cursor()
    cursor.execute(f"begin execute immediate 'drop table {name} cascade constraints purge'; exception when others then "
                   "if sqlcode != -942 then raise; end if; end;")
    cursor.execute(f"create table {name} ({columns})")
    return cursor


def fails(code, action, *arguments, offset=None):
    try:
        action(*arguments)
    except oracledb.DatabaseError as error:
        found = error.args[0]
        assert found.code == code, f"{found.code}, not {code}: {found.message}"
        if offset is not None:
            assert found.offset == offset, f"offset {found.offset}, not {offset}"
        return found.message
    raise AssertionError(f"ORA-{code:05} was expected")


def round_trip(connection, declared, values, expected=None):
    """Every value goes in by itself and as an array, and returns as it was."""
    cursor = table(connection, "round_trip", f"id number(9), v {declared}")
    for i, value in enumerate(values):
        cursor.execute("insert into round_trip values (:1, :2)", [i, value])
    cursor.executemany("insert into round_trip values (:1, :2)",
                       [(i + 1000, value) for i, value in enumerate(values)])
    connection.commit()
    cursor.execute("select v from round_trip order by id")
    found = [row[0].read() if isinstance(row[0], oracledb.LOB) else row[0] for row in cursor]
    expected = list(values if expected is None else expected)
    assert found == expected * 2, f"{declared}: {str(found)[:300]} is not {str(expected * 2)[:300]}"
    return cursor.description[0]


def test_version(connection):
    assert connection.version.split(".")[0] == MAJOR, connection.version
    cursor = connection.cursor()
    cursor.execute("select banner from v$version")
    assert f"Release {MAJOR}." in cursor.fetchone()[0]
    connection.ping()


def test_numbers(connection):
    oracledb.defaults.fetch_decimals = True
    exact = [D("0"), D("1"), D("-1"), D("0.1"), D("-123456.789"), None,
             D("12345678901234567890123456789012345678"), D("1e-30"), D("-1e40"), D("9.99e125")]
    described = round_trip(connection, "number", exact)
    assert described[1] is oracledb.DB_TYPE_NUMBER and described[4:6] == (0, -127), described
    described = round_trip(connection, "number(10,2)", [D("1.25"), D("-99999999.99")])
    assert described[4:6] == (10, 2), described
    round_trip(connection, "number(5,-2)", [D("12345"), D("-149")], [D("12300"), D("-100")])
    round_trip(connection, "number(2,4)", [D("0.0099"), D("-0.0001")])
    round_trip(connection, "integer", [D("1.5"), D("-7")], [D("2"), D("-7")])
    oracledb.defaults.fetch_decimals = False
    round_trip(connection, "number(9)", [1, -5, 999999999, None])
    described = round_trip(connection, "binary_double", [1.5, -1e100, None])
    assert described[1] is oracledb.DB_TYPE_BINARY_DOUBLE
    round_trip(connection, "binary_float", [1.5, -0.25])
    cursor = connection.cursor()
    cursor.setinputsizes(oracledb.DB_TYPE_BINARY_DOUBLE)
    row = cursor.execute("select :1, 1/4, 10/4 from dual", [5e-324]).fetchone()
    assert row == (5e-324, 0.25, 2.5), row
    table(connection, "narrow", "n number(3)")
    fails(1438, cursor.execute, "insert into narrow values (1000)")
    fails(1722, cursor.execute, "insert into narrow values ('x')")


def test_strings(connection):
    texts = ["a", "ünï", "日本語", "𝄞 clef", "it's \"quoted\"", " blank ", "x" * 4000, None]
    described = round_trip(connection, "varchar2(4000)", texts)
    assert described[1] is oracledb.DB_TYPE_VARCHAR and described[3] == 4000, described
    round_trip(connection, "varchar2(10 char)", ["日" * 10])
    described = round_trip(connection, "char(5)", ["abc", "abcde"], ["abc  ", "abcde"])
    assert described[1] is oracledb.DB_TYPE_CHAR
    described = round_trip(connection, "nvarchar2(20)", ["日本語", "𝄞", None])
    assert described[1] is oracledb.DB_TYPE_NVARCHAR
    round_trip(connection, "varchar2(5)", ["", "a"], [None, "a"])
    described = round_trip(connection, "raw(16)", [b"\x00\xff", b"\x80" * 16, None])
    assert described[1] is oracledb.DB_TYPE_RAW and described[3] == 16, described
    described = round_trip(connection, "long", ["long " * 2000, None])
    assert described[1] is oracledb.DB_TYPE_LONG
    cursor = table(connection, "narrow", "v varchar2(3)")
    message = fails(12899, cursor.execute, "insert into narrow values ('four')")
    assert '"NARROW"."V" (actual: 4, maximum: 3)' in message, message
    fails(12899, cursor.execute, "insert into narrow values (:1)", ["日本"])


def test_times(connection):
    moment = datetime.datetime(2024, 2, 29, 23, 59, 58)
    fine = moment.replace(microsecond=123456)
    described = round_trip(connection, "date", [moment, datetime.datetime(1, 1, 1), None,
                                                datetime.datetime(9999, 12, 31, 23, 59, 59)])
    assert described[1] is oracledb.DB_TYPE_DATE
    cursor = table(connection, "times", "t6 timestamp, t3 timestamp(3), tz timestamp with time zone, "
                   "lz timestamp with local time zone")
    cursor.setinputsizes(*[oracledb.DB_TYPE_TIMESTAMP] * 4)
    cursor.execute("insert into times values (:1, :2, :3, :4)", [fine] * 4)
    row = cursor.execute("select * from times").fetchone()
    assert row == (fine, fine.replace(microsecond=123000), fine, fine), row
    assert [d[1] for d in cursor.description] == [
        oracledb.DB_TYPE_TIMESTAMP, oracledb.DB_TYPE_TIMESTAMP, oracledb.DB_TYPE_TIMESTAMP_TZ,
        oracledb.DB_TYPE_TIMESTAMP_LTZ]
    # What clients cannot hold, as text: nanoseconds and offsets.
    cursor = table(connection, "finer", "id number, t9 timestamp(9), z9 timestamp(9) with time zone, "
                   "z3 timestamp(3) with time zone, l timestamp with local time zone")
    forms = "'YYYY-MM-DD HH24:MI:SS.FF9'", "'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM'"
    zoned = "2024-03-01 00:30:00.123456789 -03:30"
    cursor.execute(f"insert into finer values (1, to_timestamp(:1, {forms[0]}), to_timestamp_tz(:2, {forms[1]}), "
                   f"to_timestamp_tz(:3, {forms[1]}), to_timestamp_tz(:4, {forms[1]}))", [zoned[:29]] + [zoned] * 3)
    cursor.execute(f"select to_char(t9, {forms[0]}), to_char(z9, {forms[1]}), to_char(z3, {forms[1]}), "
                   "sys_extract_utc(z9), l, cast(z9 as date) from finer "
                   "where z9 = timestamp '2024-03-01 05:00:00.123456789 +01:00'")
    assert cursor.fetchone() == (
        zoned[:29], zoned, "2024-03-01 00:30:00.123000000 -03:30", datetime.datetime(2024, 3, 1, 4, 0, 0, 123456),
        datetime.datetime(2024, 3, 1, 4, 0, 0, 123457), datetime.datetime(2024, 3, 1, 0, 30))
    cursor.execute("select to_char(interval '-1-2' year to month), interval '-3 4:05:06' day to second from dual")
    assert cursor.fetchone() == ("-01-02", -datetime.timedelta(days=3, hours=4, minutes=5, seconds=6))
    cursor = table(connection, "spans", "d9 interval day(4) to second(9), d6 interval day to second")
    cursor.execute("insert into spans values (to_dsinterval(:1), to_dsinterval(:2))", ["-12 03:04:05.123456789"] * 2)
    fine = cursor.execute("select d9, to_dsinterval('P5DT3H4M6.5S') from spans").fetchone()
    # The client rounds nanoseconds down.
    assert fine == (-datetime.timedelta(days=12, hours=3, minutes=4, seconds=5, microseconds=123457),
                    datetime.timedelta(days=5, hours=3, minutes=4, seconds=6.5)), fine
    cursor.execute("select to_char(d9), d6 from spans where d9 = interval '-12 03:04:05.123456789' day to second(9)")
    text, span = cursor.fetchone()
    assert text == "-12 03:04:05.123456789", text
    assert span == -datetime.timedelta(days=12, hours=3, minutes=4, seconds=5, microseconds=123457), span
    span = datetime.timedelta(days=-3, hours=4, seconds=5, microseconds=67)
    described = round_trip(connection, "interval day(9) to second", [span, datetime.timedelta(0), None])
    assert described[1] is oracledb.DB_TYPE_INTERVAL_DS
    described = round_trip(connection, "interval year(4) to month",
                           [oracledb.IntervalYM(10, 3), oracledb.IntervalYM(-1, -2)])
    assert described[1] is oracledb.DB_TYPE_INTERVAL_YM
    cursor.execute("select sysdate, date '2024-01-31' + 1, trunc(sysdate), "
                   "to_char(date '2024-01-02', 'YYYY/MM/DD HH24:MI:SS') from dual")
    now, tomorrow, today, text = cursor.fetchone()
    assert abs((now - datetime.datetime.utcnow()).total_seconds()) < 3600 * 24
    assert tomorrow == datetime.datetime(2024, 2, 1) and today.hour == 0
    assert text == "2024/01/02 00:00:00", text


def test_lobs(connection):
    texts = ["short", "日本語 𝄞" * 20000, "x" * 100000, None]
    described = round_trip(connection, "clob", texts)
    assert described[1] is oracledb.DB_TYPE_CLOB
    round_trip(connection, "nclob", ["日本語"])
    described = round_trip(connection, "blob", [b"\x00\x01\xff" * 50000, b"x", None])
    assert described[1] is oracledb.DB_TYPE_BLOB
    cursor = connection.cursor()
    oracledb.defaults.fetch_lobs = False
    cursor.execute("select v as whole from round_trip order by id")
    assert cursor.fetchone() == (b"\x00\x01\xff" * 50000,)
    oracledb.defaults.fetch_lobs = True
    # Temporary LOBs, written in pieces.
    cursor = table(connection, "lobs", "id number, c clob, b blob")
    clob, blob = connection.createlob(oracledb.DB_TYPE_CLOB), connection.createlob(oracledb.DB_TYPE_BLOB)
    clob.write("日本")
    clob.write("語!", 3)
    blob.write(b"abc")
    assert (clob.size(), blob.size()) == (4, 3)
    cursor.execute("insert into lobs values (1, :c, :b)", c=clob, b=blob)
    cursor.execute("select c, b from lobs")
    c, b = cursor.fetchone()
    assert (c.read(), c.size(), c.read(2, 2), b.read()) == ("日本語!", 4, "本語", b"abc")
    fails(22920, c.write, "x")


def test_many_rows(connection):
    cursor = table(connection, "many", "id number primary key, v varchar2(30), same number")
    cursor.executemany("insert into many values (:1, :2, 7)", [(i, f"value {i}") for i in range(5000)])
    assert cursor.rowcount == 5000
    connection.commit()
    cursor.arraysize, cursor.prefetchrows = 300, 2
    cursor.execute("select id, v, same, null from many order by id")
    assert cursor.fetchall() == [(i, f"value {i}", 7, None) for i in range(5000)]
    # Fetching goes on over a commit, from the moment of the query.
    cursor.execute("select id from many order by id")
    assert cursor.fetchone() == (0,)
    other = connection.cursor()
    other.execute("delete from many where id > 100")
    connection.commit()
    assert len(cursor.fetchall()) == 4999
    cursor.execute("update many set same = same + 1 where id < :1", [50])
    assert cursor.rowcount == 50
    connection.rollback()
    assert cursor.execute("select sum(same), count(*) from many").fetchone() == (707, 101)
    cursor.execute("select id from many where rownum <= 3 order by id")
    assert len(cursor.fetchall()) == 3
    cursor.execute("select id from many order by id offset :1 rows fetch next :2 rows only", [2, 3])
    assert cursor.fetchall() == [(2,), (3,), (4,)]
    # A statement again and again, and with other types.
    for i in (1, 2, 3):
        assert cursor.execute("select v from many where id = :1", [i]).fetchone() == (f"value {i}",)
    assert cursor.execute("select v from many where id = :1", ["4"]).fetchone() == ("value 4",)


def test_array_errors(connection):
    cursor = table(connection, "arrays", "id number primary key, v varchar2(3) not null")
    rows = [(1, "a"), (2, "b"), (1, "c"), (4, "long!"), (5, None), (6, "f")]
    fails(1, cursor.executemany, "insert into arrays values (:1, :2)", rows)
    assert cursor.execute("select id from arrays order by id").fetchall() == [(1,), (2,)]
    connection.rollback()
    cursor.executemany("insert into arrays values (:1, :2)", rows, batcherrors=True, arraydmlrowcounts=True)
    found = [(e.offset, e.code) for e in cursor.getbatcherrors()]
    assert found == [(2, 1), (3, 12899), (4, 1400)], found
    assert cursor.getarraydmlrowcounts() == [1, 1, 0, 0, 0, 1], cursor.getarraydmlrowcounts()
    assert cursor.execute("select id from arrays order by id").fetchall() == [(1,), (2,), (6,)]


def test_merge(connection):
    cursor = table(connection, "merged", "id number primary key, v varchar2(10), d date")
    cursor.execute("insert into merged values (1, 'old', sysdate)")
    cursor.executemany(
        "merge into merged t using (select :1 id, :2 v from dual) s on (t.id = s.id) "
        "when matched then update set t.v = s.v where s.v is not null "
        "when not matched then insert (t.id, t.v) values (s.id, s.v)",
        [(1, "new"), (2, "two"), (3, None)])
    assert cursor.rowcount == 3, cursor.rowcount
    assert cursor.execute("select id, v from merged order by id").fetchall() == [
        (1, "new"), (2, "two"), (3, None)]
    fails(30926, cursor.execute,
          "merge into merged t using (select 1 id, level l from dual connect by level <= 2) s "
          "on (t.id = s.id) when matched then update set t.v = to_char(s.l)")


def test_errors(connection):
    cursor = table(connection, "parents", "id number(4) constraint parents_pk primary key, n number not null")
    table(connection, "children", "id number, parent number references parents (id)")
    cursor.execute("insert into parents values (1, 1)")
    user = USER.upper()
    message = fails(1, cursor.execute, "insert into parents values (1, 1)")
    assert f"({user}.PARENTS_PK)" in message, message
    message = fails(1400, cursor.execute, "insert into parents values (2, null)")
    assert f'("{user}"."PARENTS"."N")' in message, message
    fails(1407, cursor.execute, "update parents set n = null")
    fails(2291, cursor.execute, "insert into children values (1, 99)")
    cursor.execute("insert into children values (1, 1)")
    fails(2292, cursor.execute, "delete from parents")
    message = fails(904, cursor.execute, "select  nothing from parents", offset=8)
    assert '"NOTHING"' in message, message
    fails(942, cursor.execute, "select * from  nowhere", offset=15)
    fails(955, cursor.execute, "create table parents (id number)")
    fails(942, cursor.execute, "drop table nowhere")
    fails(900, cursor.execute, "frobnicate")
    fails(1476, cursor.execute, "select 1/0 from dual")
    fails(2449, cursor.execute, "drop table parents")
    fails(20123, cursor.execute, "begin raise_application_error(-20123, 'as wanted'); end;")


def test_login(connection):
    def wrong(user, password):
        oracledb.connect(user=user, password=password, dsn=CONNECT)
    fails(1017, wrong, USER, "wrong")
    fails(1017, wrong, "nobody", PASSWORD)
    try:
        oracledb.connect(user=USER, password=PASSWORD, dsn=CONNECT.rsplit("/", 1)[0] + "/other")
    except oracledb.DatabaseError as error:
        assert "DPY-6001" in str(error), error
    else:
        raise AssertionError("an unknown service was accepted")


def test_transactions(connection):
    cursor = table(connection, "turns", "id number primary key, v number")
    cursor.execute("insert into turns values (1, 0)")
    cursor.execute("savepoint one")
    cursor.execute("insert into turns values (2, 0)")
    fails(1, cursor.execute, "insert into turns values (2, 0)")
    assert connection.transaction_in_progress
    cursor.execute("rollback to one")
    fails(1086, cursor.execute, "rollback to nowhere")
    connection.commit()
    assert not connection.transaction_in_progress
    assert cursor.execute("select count(*) from turns").fetchone() == (1,)
    other = connect()
    cursor.execute("select v from turns for update")
    fails(54, other.cursor().execute, "select v from turns for update nowait")
    fails(30006, other.cursor().execute, "select v from turns for update wait 1")
    assert other.cursor().execute("select v from turns for update skip locked").fetchall() == []
    fails(54, other.cursor().execute, "alter table turns add (w number)")
    other.rollback()
    # Two that wait for each other: one of them fails, and its transaction goes on.
    cursor.execute("insert into turns values (2, 0)")
    connection.commit()
    cursor.execute("update turns set v = 1 where id = 1")
    other.cursor().execute("update turns set v = 2 where id = 2")
    codes = []

    def cross(who, key):
        try:
            who.cursor().execute("update turns set v = 9 where id = :1", [key])
        except oracledb.DatabaseError as error:
            codes.append(error.args[0].code)
            who.rollback()
    thread = threading.Thread(target=cross, args=(other, 1))
    thread.start()
    cross(connection, 2)
    thread.join()
    assert codes == [60], codes
    connection.rollback()
    other.rollback()
    # Read only sees one moment.
    cursor.execute("set transaction read only")
    before = cursor.execute("select count(*) from turns").fetchone()
    other.cursor().execute("insert into turns values (10, 0)")
    other.commit()
    assert cursor.execute("select count(*) from turns").fetchone() == before
    fails(1456, cursor.execute, "insert into turns values (11, 0)")
    connection.rollback()
    connection.autocommit = True
    cursor.execute("insert into turns values (12, 0)")
    assert other.cursor().execute("select count(*) from turns").fetchone() == (4,)
    connection.autocommit = False


def test_cancel(connection):
    cursor = connection.cursor()
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    fails(1013, cursor.execute, "begin dbms_session.sleep(30); end;")
    connection.call_timeout = 300
    began = time.monotonic()
    try:
        cursor.execute("begin dbms_session.sleep(30); end;")
    except oracledb.DatabaseError as error:
        assert "DPY-4024" in str(error), error
    assert time.monotonic() - began < 10
    connection.call_timeout = 0
    assert cursor.execute("select 7 from dual").fetchone() == (7,)


def test_blocks_and_returning(connection):
    cursor = table(connection, "returned", "id number generated by default as identity primary key, v varchar2(10)")
    value = cursor.var(oracledb.DB_TYPE_NUMBER)
    cursor.execute("insert into returned (v) values ('x') returning id into :1", [value])
    assert value.getvalue() == [1], value.getvalue()
    text, number = cursor.var(str), cursor.var(int)
    cursor.execute("begin :a := upper(:b); select count(*) into :c from returned; end;",
                   a=text, b="abc", c=number)
    assert (text.getvalue(), number.getvalue()) == ("ABC", 1)
    if not cursor.execute("select 1 from user_sequences where sequence_name = 'TURN_NUMBERS'").fetchone():
        cursor.execute("create sequence turn_numbers")
    first = cursor.execute("select turn_numbers.nextval from dual").fetchone()[0]
    assert cursor.execute("select turn_numbers.currval from dual").fetchone()[0] == first
    row_id = cursor.execute("select rowid from returned").fetchone()[0]
    assert len(row_id) == 18
    assert cursor.execute("select v from returned where rowid = :1", [row_id]).fetchone() == ("x",)


def test_dictionary(connection):
    cursor = table(connection, "looked_at",
                   "id number(9) constraint looked_pk primary key, v varchar2(10 char) default 'x' not null, "
                   'c clob, "mixed Case" timestamp(3), n number, f float')
    cursor.execute("create index looked_ix on looked_at (v)")
    cursor.execute("select column_name, data_type, data_length, data_precision, data_scale, nullable, "
                   "char_length, char_used from user_tab_columns where table_name = 'LOOKED_AT' order by column_id")
    assert cursor.fetchall() == [
        ("ID", "NUMBER", 22, 9, 0, "N", 0, None), ("V", "VARCHAR2", 40, None, None, "N", 10, "C"),
        ("C", "CLOB", 4000, None, None, "Y", 0, None), ("mixed Case", "TIMESTAMP(3)", 11, None, 3, "Y", 0, None),
        ("N", "NUMBER", 22, None, None, "Y", 0, None), ("F", "FLOAT", 22, 126, None, "Y", 0, None)], \
        cursor.execute("select * from user_tab_columns where table_name = 'LOOKED_AT'").fetchall()
    cursor.execute("select c.constraint_name, k.column_name, k.position from all_constraints c join all_cons_columns k "
                   "on c.owner = k.owner and c.constraint_name = k.constraint_name "
                   "where c.owner = user and c.table_name = 'LOOKED_AT' and c.constraint_type = 'P'")
    assert cursor.fetchall() == [("LOOKED_PK", "ID", 1)]
    cursor.execute("select index_name, uniqueness from user_indexes where table_name = 'LOOKED_AT' order by 1")
    assert cursor.fetchall() == [("LOOKED_IX", "NONUNIQUE"), ("LOOKED_PK", "UNIQUE")]
    cursor.execute("select value from nls_database_parameters where parameter = 'NLS_CHARACTERSET'")
    assert cursor.fetchone() == ("AL32UTF8",)
    assert cursor.execute("select sys_context('USERENV', 'CURRENT_SCHEMA') from dual").fetchone() == (USER.upper(),)
    cursor.execute("alter table looked_at modify (v varchar2(20))")
    cursor.execute("alter table looked_at drop column f")
    cursor.execute("select data_length from user_tab_columns where table_name = 'LOOKED_AT' and column_name = 'V'")
    assert cursor.fetchone() == (20,)
    cursor.execute("create or replace view looked_view as select id, v as w from looked_at")
    cursor.execute("select data_type, data_length from user_tab_columns where table_name = 'LOOKED_VIEW' order by column_id")
    assert cursor.fetchall() == [("NUMBER", 22), ("VARCHAR2", 20)]
    cursor.execute("create or replace trigger looked_trigger before insert on looked_at for each row "
                   "begin :new.v := upper(:new.v); end;")
    cursor.execute("insert into looked_at (id, v) values (1, 'small')")
    assert cursor.execute("select v from looked_at").fetchone() == ("SMALL",)
    cursor.execute("select trigger_name, status from user_triggers where table_name = 'LOOKED_AT'")
    assert cursor.fetchall() == [("LOOKED_TRIGGER", "ENABLED")]


def main():
    failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_"):
            continue
        connection = connect()
        try:
            test(connection)
            print(f"{name}: ok", flush=True)
        except Exception:
            failed += 1
            print(f"{name}: FAILED", flush=True)
            traceback.print_exc()
        finally:
            try:
                connection.close()
            except oracledb.Error:
                pass
    sys.exit(1 if failed else 0)


main()
