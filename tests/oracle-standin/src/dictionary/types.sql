-- Oracle's types that PostgreSQL has not: base types of their own, so that a result tells them.
CREATE EXTENSION orafce;
CREATE SCHEMA ora;
CREATE SCHEMA sys;
CREATE SCHEMA dbms_lob;
CREATE SCHEMA utl_raw;
SET search_path = ora, sys, oracle, pg_catalog;

CREATE TYPE ora.clob;
CREATE FUNCTION ora.clob_in(cstring) RETURNS ora.clob LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ora.clob_out(ora.clob) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ora.clob (INPUT = ora.clob_in, OUTPUT = ora.clob_out, LIKE = text, CATEGORY = 'S');
CREATE CAST (ora.clob AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS ora.clob) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE TYPE ora.nclob;
CREATE FUNCTION ora.nclob_in(cstring) RETURNS ora.nclob LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ora.nclob_out(ora.nclob) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ora.nclob (INPUT = ora.nclob_in, OUTPUT = ora.nclob_out, LIKE = text, CATEGORY = 'S');
CREATE CAST (ora.nclob AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS ora.nclob) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (ora.clob AS ora.nclob) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (ora.nclob AS ora.clob) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE TYPE ora.rowid;
CREATE FUNCTION ora.rowid_in(cstring) RETURNS ora.rowid LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ora.rowid_out(ora.rowid) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ora.rowid (INPUT = ora.rowid_in, OUTPUT = ora.rowid_out, LIKE = text, CATEGORY = 'S');
CREATE CAST (ora.rowid AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS ora.rowid) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE TYPE ora.blob;
CREATE FUNCTION ora.blob_in(cstring) RETURNS ora.blob LANGUAGE internal IMMUTABLE STRICT AS 'byteain';
CREATE FUNCTION ora.blob_out(ora.blob) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
CREATE TYPE ora.blob (INPUT = ora.blob_in, OUTPUT = ora.blob_out, LIKE = bytea);
CREATE CAST (ora.blob AS bytea) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (bytea AS ora.blob) WITHOUT FUNCTION AS ASSIGNMENT;

-- DATE has a time of day, to the second.
CREATE TYPE ora.oradate;
CREATE FUNCTION ora.oradate_in(cstring, oid, integer) RETURNS ora.oradate LANGUAGE internal STABLE STRICT AS 'timestamp_in';
CREATE FUNCTION ora.oradate_out(ora.oradate) RETURNS cstring LANGUAGE internal STABLE STRICT AS 'timestamp_out';
CREATE TYPE ora.oradate (INPUT = ora.oradate_in, OUTPUT = ora.oradate_out, LIKE = timestamp, CATEGORY = 'D');
CREATE CAST (ora.oradate AS timestamp) WITHOUT FUNCTION AS IMPLICIT;
CREATE FUNCTION ora.oradate(timestamp) RETURNS ora.oradate LANGUAGE sql STABLE STRICT
    AS 'SELECT CAST(CAST(pg_catalog.date_trunc(''second'', $1) AS text) AS ora.oradate)';
CREATE FUNCTION ora.oradate(timestamptz) RETURNS ora.oradate LANGUAGE sql STABLE STRICT
    AS 'SELECT ora.oradate(CAST($1 AS timestamp))';
CREATE FUNCTION ora.oradate_timestamptz(ora.oradate) RETURNS timestamptz LANGUAGE sql STABLE STRICT
    AS 'SELECT CAST(CAST($1 AS timestamp) AS timestamptz)';
CREATE CAST (timestamp AS ora.oradate) WITH FUNCTION ora.oradate(timestamp) AS ASSIGNMENT;
CREATE CAST (timestamptz AS ora.oradate) WITH FUNCTION ora.oradate(timestamptz) AS ASSIGNMENT;
CREATE CAST (ora.oradate AS timestamptz) WITH FUNCTION ora.oradate_timestamptz(ora.oradate) AS ASSIGNMENT;

CREATE FUNCTION ora.date_eq(ora.oradate, ora.oradate) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_eq';
CREATE FUNCTION ora.date_ne(ora.oradate, ora.oradate) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_ne';
CREATE FUNCTION ora.date_lt(ora.oradate, ora.oradate) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_lt';
CREATE FUNCTION ora.date_le(ora.oradate, ora.oradate) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_le';
CREATE FUNCTION ora.date_gt(ora.oradate, ora.oradate) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_gt';
CREATE FUNCTION ora.date_ge(ora.oradate, ora.oradate) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_ge';
CREATE FUNCTION ora.date_cmp(ora.oradate, ora.oradate) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_cmp';
CREATE FUNCTION ora.date_hash(ora.oradate) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_hash';
CREATE FUNCTION ora.date_smaller(ora.oradate, ora.oradate) RETURNS ora.oradate LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_smaller';
CREATE FUNCTION ora.date_larger(ora.oradate, ora.oradate) RETURNS ora.oradate LANGUAGE internal IMMUTABLE STRICT AS 'timestamp_larger';
CREATE OPERATOR ora.= (LEFTARG = ora.oradate, RIGHTARG = ora.oradate, FUNCTION = ora.date_eq,
    COMMUTATOR = OPERATOR(ora.=), NEGATOR = OPERATOR(ora.<>), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR ora.<> (LEFTARG = ora.oradate, RIGHTARG = ora.oradate, FUNCTION = ora.date_ne,
    COMMUTATOR = OPERATOR(ora.<>), NEGATOR = OPERATOR(ora.=), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR ora.< (LEFTARG = ora.oradate, RIGHTARG = ora.oradate, FUNCTION = ora.date_lt,
    COMMUTATOR = OPERATOR(ora.>), NEGATOR = OPERATOR(ora.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR ora.<= (LEFTARG = ora.oradate, RIGHTARG = ora.oradate, FUNCTION = ora.date_le,
    COMMUTATOR = OPERATOR(ora.>=), NEGATOR = OPERATOR(ora.>), RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE OPERATOR ora.> (LEFTARG = ora.oradate, RIGHTARG = ora.oradate, FUNCTION = ora.date_gt,
    COMMUTATOR = OPERATOR(ora.<), NEGATOR = OPERATOR(ora.<=), RESTRICT = scalargtsel, JOIN = scalargtjoinsel);
CREATE OPERATOR ora.>= (LEFTARG = ora.oradate, RIGHTARG = ora.oradate, FUNCTION = ora.date_ge,
    COMMUTATOR = OPERATOR(ora.<=), NEGATOR = OPERATOR(ora.<), RESTRICT = scalargesel, JOIN = scalargejoinsel);
CREATE OPERATOR CLASS ora.oradate_ops DEFAULT FOR TYPE ora.oradate USING btree AS
    OPERATOR 1 ora.<, OPERATOR 2 ora.<=, OPERATOR 3 ora.=, OPERATOR 4 ora.>=, OPERATOR 5 ora.>,
    FUNCTION 1 ora.date_cmp(ora.oradate, ora.oradate);
CREATE OPERATOR CLASS ora.oradate_hash_ops DEFAULT FOR TYPE ora.oradate USING hash AS
    OPERATOR 1 ora.=, FUNCTION 1 ora.date_hash(ora.oradate);
CREATE AGGREGATE ora.max(ora.oradate) (SFUNC = ora.date_larger, STYPE = ora.oradate, SORTOP = OPERATOR(ora.>));
CREATE AGGREGATE ora.min(ora.oradate) (SFUNC = ora.date_smaller, STYPE = ora.oradate, SORTOP = OPERATOR(ora.<));

-- Days are numbers.
CREATE FUNCTION ora.date_plus(ora.oradate, numeric) RETURNS ora.oradate LANGUAGE sql STABLE STRICT
    AS 'SELECT ora.oradate(CAST($1 AS timestamp) + make_interval(secs => CAST(round($2 * 86400) AS float8)))';
CREATE FUNCTION ora.date_minus(ora.oradate, numeric) RETURNS ora.oradate LANGUAGE sql STABLE STRICT
    AS 'SELECT ora.date_plus($1, -$2)';
CREATE FUNCTION ora.date_between(ora.oradate, ora.oradate) RETURNS numeric LANGUAGE sql STABLE STRICT
    AS 'SELECT CAST(extract(epoch FROM (CAST($1 AS timestamp) - CAST($2 AS timestamp))) AS numeric) / 86400';
CREATE FUNCTION ora.date_plus(ora.oradate, interval) RETURNS ora.oradate LANGUAGE sql STABLE STRICT
    AS 'SELECT ora.oradate(CAST($1 AS timestamp) + $2)';
CREATE FUNCTION ora.date_minus(ora.oradate, interval) RETURNS ora.oradate LANGUAGE sql STABLE STRICT
    AS 'SELECT ora.oradate(CAST($1 AS timestamp) - $2)';
CREATE OPERATOR ora.+ (LEFTARG = ora.oradate, RIGHTARG = numeric, FUNCTION = ora.date_plus);
CREATE OPERATOR ora.- (LEFTARG = ora.oradate, RIGHTARG = numeric, FUNCTION = ora.date_minus);
CREATE FUNCTION ora.date_plus(ora.oradate, integer) RETURNS ora.oradate LANGUAGE sql STABLE STRICT
    AS 'SELECT ora.date_plus($1, CAST($2 AS numeric))';
CREATE FUNCTION ora.date_minus(ora.oradate, integer) RETURNS ora.oradate LANGUAGE sql STABLE STRICT
    AS 'SELECT ora.date_plus($1, CAST(-$2 AS numeric))';
CREATE OPERATOR ora.+ (LEFTARG = ora.oradate, RIGHTARG = integer, FUNCTION = ora.date_plus);
CREATE OPERATOR ora.- (LEFTARG = ora.oradate, RIGHTARG = integer, FUNCTION = ora.date_minus);
CREATE OPERATOR ora.- (LEFTARG = ora.oradate, RIGHTARG = ora.oradate, FUNCTION = ora.date_between);
CREATE OPERATOR ora.+ (LEFTARG = ora.oradate, RIGHTARG = interval, FUNCTION = ora.date_plus);
CREATE OPERATOR ora.- (LEFTARG = ora.oradate, RIGHTARG = interval, FUNCTION = ora.date_minus);

-- TIMESTAMP(7) and finer: text of one form, `YYYY-MM-DD HH24:MI:SS.FF9`, so that it sorts as time does.
CREATE TYPE ora.stamp9;
CREATE FUNCTION ora.stamp9_in(cstring) RETURNS ora.stamp9 LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ora.stamp9_out(ora.stamp9) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ora.stamp9 (INPUT = ora.stamp9_in, OUTPUT = ora.stamp9_out, LIKE = text, CATEGORY = 'D', COLLATABLE = true);
CREATE FUNCTION ora.stamp9(timestamp) RETURNS ora.stamp9 LANGUAGE sql STABLE STRICT
    AS 'SELECT CAST(pg_catalog.to_char($1, ''YYYY-MM-DD HH24:MI:SS.US"000"'') AS ora.stamp9)';
CREATE FUNCTION ora.stamp9(ora.oradate) RETURNS ora.stamp9 LANGUAGE sql STABLE STRICT AS 'SELECT ora.stamp9(CAST($1 AS timestamp))';
CREATE FUNCTION ora.stamp9(timestamptz) RETURNS ora.stamp9 LANGUAGE sql STABLE STRICT AS 'SELECT ora.stamp9(CAST($1 AS timestamp))';
CREATE FUNCTION ora.stamp9_timestamp(ora.stamp9) RETURNS timestamp LANGUAGE sql STABLE STRICT AS 'SELECT CAST(CAST($1 AS text) AS timestamp)';
CREATE FUNCTION ora.stamp9_timestamptz(ora.stamp9) RETURNS timestamptz LANGUAGE sql STABLE STRICT AS 'SELECT CAST(CAST($1 AS text) AS timestamptz)';
CREATE FUNCTION ora.stamp9_oradate(ora.stamp9) RETURNS ora.oradate LANGUAGE sql STABLE STRICT
    AS 'SELECT CAST(left(CAST($1 AS text), 19) || substr(CAST($1 AS text), 30) AS ora.oradate)';
CREATE CAST (timestamp AS ora.stamp9) WITH FUNCTION ora.stamp9(timestamp) AS ASSIGNMENT;
CREATE CAST (timestamptz AS ora.stamp9) WITH FUNCTION ora.stamp9(timestamptz) AS ASSIGNMENT;
CREATE CAST (ora.oradate AS ora.stamp9) WITH FUNCTION ora.stamp9(ora.oradate) AS ASSIGNMENT;
CREATE CAST (text AS ora.stamp9) WITH INOUT AS ASSIGNMENT;
CREATE CAST (ora.stamp9 AS timestamp) WITH FUNCTION ora.stamp9_timestamp(ora.stamp9) AS IMPLICIT;
CREATE CAST (ora.stamp9 AS timestamptz) WITH FUNCTION ora.stamp9_timestamptz(ora.stamp9) AS ASSIGNMENT;
CREATE CAST (ora.stamp9 AS ora.oradate) WITH FUNCTION ora.stamp9_oradate(ora.stamp9) AS ASSIGNMENT;
DO $$
DECLARE part text[];
BEGIN
    FOREACH part SLICE 1 IN ARRAY ARRAY[['=', 'texteq', '=', '<>'], ['<>', 'textne', '<>', '='], ['<', 'text_lt', '>', '>='],
        ['<=', 'text_le', '>=', '>'], ['>', 'text_gt', '<', '<='], ['>=', 'text_ge', '<=', '<']] LOOP
        EXECUTE format('CREATE FUNCTION ora.%I(ora.stamp9, ora.stamp9) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS %L', 'stamp9 ' || part[1], part[2]);
        EXECUTE format('CREATE OPERATOR ora.%s (LEFTARG = ora.stamp9, RIGHTARG = ora.stamp9, FUNCTION = ora.%I, COMMUTATOR = OPERATOR(ora.%s), NEGATOR = OPERATOR(ora.%s))',
            part[1], 'stamp9 ' || part[1], part[3], part[4]);
    END LOOP;
END $$;
CREATE FUNCTION ora.stamp9_cmp(ora.stamp9, ora.stamp9) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'bttextcmp';
CREATE OPERATOR CLASS ora.stamp9_ops DEFAULT FOR TYPE ora.stamp9 USING btree AS
    OPERATOR 1 ora.<, OPERATOR 2 ora.<=, OPERATOR 3 ora.=, OPERATOR 4 ora.>=, OPERATOR 5 ora.>, FUNCTION 1 ora.stamp9_cmp(ora.stamp9, ora.stamp9);
CREATE FUNCTION ora.stamp9_larger(ora.stamp9, ora.stamp9) RETURNS ora.stamp9 LANGUAGE internal IMMUTABLE STRICT AS 'text_larger';
CREATE FUNCTION ora.stamp9_smaller(ora.stamp9, ora.stamp9) RETURNS ora.stamp9 LANGUAGE internal IMMUTABLE STRICT AS 'text_smaller';
CREATE AGGREGATE ora.max(ora.stamp9) (SFUNC = ora.stamp9_larger, STYPE = ora.stamp9, SORTOP = OPERATOR(ora.>));
CREATE AGGREGATE ora.min(ora.stamp9) (SFUNC = ora.stamp9_smaller, STYPE = ora.stamp9, SORTOP = OPERATOR(ora.<));

-- TIMESTAMP WITH TIME ZONE: the moment in UTC and the offset, as text of one form,
-- `YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM`. What follows in parentheses is the digits of a second, and one.
CREATE TYPE ora.zoned9;
CREATE FUNCTION ora.zoned9_in(cstring, oid, int) RETURNS ora.zoned9 LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ora.zoned9_out(ora.zoned9) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE FUNCTION ora.zoned9_typmod_in(cstring[]) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'bittypmodin';
CREATE FUNCTION ora.zoned9_typmod_out(int) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'bittypmodout';
CREATE TYPE ora.zoned9 (INPUT = ora.zoned9_in, OUTPUT = ora.zoned9_out, LIKE = text, CATEGORY = 'D', COLLATABLE = true,
    TYPMOD_IN = ora.zoned9_typmod_in, TYPMOD_OUT = ora.zoned9_typmod_out);
CREATE FUNCTION ora.zoned9_utc(ora.zoned9) RETURNS timestamp LANGUAGE sql STABLE STRICT AS $$ SELECT CAST(left(CAST($1 AS text), 29) AS timestamp) $$;
CREATE FUNCTION ora.zoned9_offset(ora.zoned9) RETURNS interval LANGUAGE sql STABLE STRICT
    AS $$ SELECT CAST(substr(CAST($1 AS text), 31, 1) || '1' AS int) * CAST(substr(CAST($1 AS text), 32) AS interval) $$;
-- A moment in UTC to the second, the nine digits behind it, and an offset.
CREATE FUNCTION ora.zoned9_made(timestamp, text, text) RETURNS ora.zoned9 LANGUAGE sql STABLE STRICT
    AS $$ SELECT CAST(pg_catalog.to_char($1, 'YYYY-MM-DD HH24:MI:SS.') || $2 || ' ' || $3 AS ora.zoned9) $$;
CREATE FUNCTION ora.zoned9(ora.zoned9, int) RETURNS ora.zoned9 LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    whole text := CAST($1 AS text);
    part numeric := round(CAST('0.' || substr(whole, 21, 9) AS numeric), $2 - 1);
BEGIN
    RETURN ora.zoned9_made(CAST(left(whole, 19) AS timestamp) + CASE WHEN part >= 1 THEN interval '1 second' ELSE interval '0' END,
        rpad(substr(CAST(part % 1 AS text), 3), 9, '0'), substr(whole, 31));
END $$;
CREATE CAST (ora.zoned9 AS ora.zoned9) WITH FUNCTION ora.zoned9(ora.zoned9, int) AS IMPLICIT;
CREATE FUNCTION ora.zoned9(timestamptz) RETURNS ora.zoned9 LANGUAGE sql STABLE STRICT
    AS $$ SELECT ora.zoned9_made($1 AT TIME ZONE 'UTC', pg_catalog.to_char($1, 'US"000"'), pg_catalog.to_char($1, 'TZH:TZM')) $$;
CREATE FUNCTION ora.zoned9(timestamp) RETURNS ora.zoned9 LANGUAGE sql STABLE STRICT AS $$ SELECT ora.zoned9(CAST($1 AS timestamptz)) $$;
CREATE FUNCTION ora.zoned9(ora.oradate) RETURNS ora.zoned9 LANGUAGE sql STABLE STRICT AS $$ SELECT ora.zoned9(CAST(CAST($1 AS timestamp) AS timestamptz)) $$;
CREATE FUNCTION ora.zoned9(ora.stamp9) RETURNS ora.zoned9 LANGUAGE sql STABLE STRICT
    AS $$ SELECT ora.zoned9_made(z AT TIME ZONE 'UTC', substr(CAST($1 AS text), 21, 9), pg_catalog.to_char(z, 'TZH:TZM'))
        FROM (SELECT CAST(left(CAST($1 AS text), 19) AS timestamptz) AS z) AS s $$;
CREATE FUNCTION ora.zoned9_timestamptz(ora.zoned9) RETURNS timestamptz LANGUAGE sql STABLE STRICT AS $$ SELECT ora.zoned9_utc($1) AT TIME ZONE 'UTC' $$;
CREATE FUNCTION ora.zoned9_timestamp(ora.zoned9) RETURNS timestamp LANGUAGE sql STABLE STRICT AS $$ SELECT ora.zoned9_utc($1) + ora.zoned9_offset($1) $$;
CREATE FUNCTION ora.zoned9_oradate(ora.zoned9) RETURNS ora.oradate LANGUAGE sql STABLE STRICT AS $$ SELECT ora.oradate(ora.zoned9_timestamp($1)) $$;
CREATE FUNCTION ora.zoned9_stamp9(ora.zoned9) RETURNS ora.stamp9 LANGUAGE sql STABLE STRICT
    AS $$ SELECT CAST(pg_catalog.to_char(CAST(left(CAST($1 AS text), 19) AS timestamp) + ora.zoned9_offset($1), 'YYYY-MM-DD HH24:MI:SS.')
        || substr(CAST($1 AS text), 21, 9) AS ora.stamp9) $$;
CREATE CAST (timestamptz AS ora.zoned9) WITH FUNCTION ora.zoned9(timestamptz) AS ASSIGNMENT;
CREATE CAST (timestamp AS ora.zoned9) WITH FUNCTION ora.zoned9(timestamp) AS ASSIGNMENT;
CREATE CAST (ora.oradate AS ora.zoned9) WITH FUNCTION ora.zoned9(ora.oradate) AS ASSIGNMENT;
CREATE CAST (ora.stamp9 AS ora.zoned9) WITH FUNCTION ora.zoned9(ora.stamp9) AS ASSIGNMENT;
CREATE CAST (ora.zoned9 AS timestamptz) WITH FUNCTION ora.zoned9_timestamptz(ora.zoned9) AS IMPLICIT;
CREATE CAST (ora.zoned9 AS timestamp) WITH FUNCTION ora.zoned9_timestamp(ora.zoned9) AS ASSIGNMENT;
CREATE CAST (ora.zoned9 AS ora.oradate) WITH FUNCTION ora.zoned9_oradate(ora.zoned9) AS ASSIGNMENT;
CREATE CAST (ora.zoned9 AS ora.stamp9) WITH FUNCTION ora.zoned9_stamp9(ora.zoned9) AS ASSIGNMENT;
DO $$
DECLARE part text[];
BEGIN
    FOREACH part SLICE 1 IN ARRAY ARRAY[['=', '=', '<>'], ['<>', '<>', '='], ['<', '>', '>='], ['<=', '>=', '>'], ['>', '<', '<='], ['>=', '<=', '<']] LOOP
        EXECUTE format('CREATE FUNCTION ora.%I(ora.zoned9, ora.zoned9) RETURNS bool LANGUAGE sql IMMUTABLE STRICT
            AS ''SELECT left(CAST($1 AS text), 29) OPERATOR(pg_catalog.%s) left(CAST($2 AS text), 29)''', 'zoned9 ' || part[1], part[1]);
        EXECUTE format('CREATE OPERATOR ora.%s (LEFTARG = ora.zoned9, RIGHTARG = ora.zoned9, FUNCTION = ora.%I, COMMUTATOR = OPERATOR(ora.%s), NEGATOR = OPERATOR(ora.%s))',
            part[1], 'zoned9 ' || part[1], part[2], part[3]);
    END LOOP;
END $$;
CREATE FUNCTION ora.zoned9_cmp(ora.zoned9, ora.zoned9) RETURNS int LANGUAGE sql IMMUTABLE STRICT
    AS $$ SELECT bttextcmp(left(CAST($1 AS text), 29), left(CAST($2 AS text), 29)) $$;
CREATE OPERATOR CLASS ora.zoned9_ops DEFAULT FOR TYPE ora.zoned9 USING btree AS
    OPERATOR 1 ora.<, OPERATOR 2 ora.<=, OPERATOR 3 ora.=, OPERATOR 4 ora.>=, OPERATOR 5 ora.>, FUNCTION 1 ora.zoned9_cmp(ora.zoned9, ora.zoned9);

-- INTERVAL YEAR TO MONTH: PostgreSQL has one type for both.
CREATE TYPE ora.months;
CREATE FUNCTION ora.months_in(cstring, oid, integer) RETURNS ora.months LANGUAGE internal STABLE STRICT AS 'interval_in';
CREATE FUNCTION ora.months_out(ora.months) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'interval_out';
CREATE TYPE ora.months (INPUT = ora.months_in, OUTPUT = ora.months_out, LIKE = interval, CATEGORY = 'T');
CREATE CAST (ora.months AS interval) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (interval AS ora.months) WITHOUT FUNCTION AS ASSIGNMENT;

-- INTERVAL DAY TO SECOND(7) and finer: nanoseconds.
CREATE TYPE ora.span9;
CREATE FUNCTION ora.span9_in(cstring, oid, integer) RETURNS ora.span9 LANGUAGE internal IMMUTABLE STRICT AS 'numeric_in';
CREATE FUNCTION ora.span9_out(ora.span9) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'numeric_out';
CREATE TYPE ora.span9 (INPUT = ora.span9_in, OUTPUT = ora.span9_out, LIKE = numeric, CATEGORY = 'T');
CREATE CAST (ora.span9 AS numeric) WITHOUT FUNCTION;
CREATE CAST (numeric AS ora.span9) WITHOUT FUNCTION;
CREATE FUNCTION ora.span9_interval(ora.span9) RETURNS interval LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT make_interval(days => CAST(div(CAST($1 AS numeric), 86400000000000) AS int),
        secs => CAST((CAST($1 AS numeric) % 86400000000000) / 1000000000 AS float8)) $$;
CREATE FUNCTION ora.span9(interval) RETURNS ora.span9 LANGUAGE sql IMMUTABLE STRICT
    AS $$ SELECT CAST(round(CAST(extract(epoch FROM $1) AS numeric) * 1000000000) AS ora.span9) $$;
CREATE CAST (ora.span9 AS interval) WITH FUNCTION ora.span9_interval(ora.span9) AS IMPLICIT;
CREATE CAST (interval AS ora.span9) WITH FUNCTION ora.span9(interval) AS ASSIGNMENT;
DO $$
DECLARE part text[];
BEGIN
    FOREACH part SLICE 1 IN ARRAY ARRAY[['=', 'numeric_eq', '=', '<>'], ['<>', 'numeric_ne', '<>', '='], ['<', 'numeric_lt', '>', '>='],
        ['<=', 'numeric_le', '>=', '>'], ['>', 'numeric_gt', '<', '<='], ['>=', 'numeric_ge', '<=', '<']] LOOP
        EXECUTE format('CREATE FUNCTION ora.%I(ora.span9, ora.span9) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS %L', 'span9 ' || part[1], part[2]);
        EXECUTE format('CREATE OPERATOR ora.%s (LEFTARG = ora.span9, RIGHTARG = ora.span9, FUNCTION = ora.%I, COMMUTATOR = OPERATOR(ora.%s), NEGATOR = OPERATOR(ora.%s))',
            part[1], 'span9 ' || part[1], part[3], part[4]);
    END LOOP;
END $$;
CREATE FUNCTION ora.span9_cmp(ora.span9, ora.span9) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'numeric_cmp';
CREATE OPERATOR CLASS ora.span9_ops DEFAULT FOR TYPE ora.span9 USING btree AS
    OPERATOR 1 ora.<, OPERATOR 2 ora.<=, OPERATOR 3 ora.=, OPERATOR 4 ora.>=, OPERATOR 5 ora.>, FUNCTION 1 ora.span9_cmp(ora.span9, ora.span9);

-- Strings become what the column is, as Oracle's implicit conversion has it.
CREATE CAST (text AS numeric) WITH INOUT AS ASSIGNMENT;
CREATE CAST (text AS float4) WITH INOUT AS ASSIGNMENT;
CREATE CAST (text AS float8) WITH INOUT AS ASSIGNMENT;
CREATE CAST (text AS timestamp) WITH INOUT AS ASSIGNMENT;
CREATE CAST (text AS timestamptz) WITH INOUT AS ASSIGNMENT;
CREATE CAST (text AS interval) WITH INOUT AS ASSIGNMENT;
CREATE CAST (text AS ora.oradate) WITH INOUT AS ASSIGNMENT;
CREATE CAST (numeric AS bool) WITH INOUT AS ASSIGNMENT;
DO $$
DECLARE
    sign text;
    pair text[];
BEGIN
    FOREACH sign IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>='] LOOP
        FOREACH pair SLICE 1 IN ARRAY ARRAY[
            ['text', 'numeric', 'numeric'], ['numeric', 'text', 'numeric'],
            ['text', 'ora.oradate', 'timestamp'], ['ora.oradate', 'text', 'timestamp'],
            ['text', 'timestamp', 'timestamp'], ['timestamp', 'text', 'timestamp']] LOOP
            EXECUTE format(
                'CREATE FUNCTION ora.%I(%s, %s) RETURNS bool LANGUAGE sql STABLE STRICT AS ''SELECT CAST($1 AS %s) OPERATOR(pg_catalog.%s) CAST($2 AS %s)''',
                'compare ' || sign, pair[1], pair[2], pair[3], sign, pair[3]);
            EXECUTE format('CREATE OPERATOR ora.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = ora.%I)',
                sign, pair[1], pair[2], 'compare ' || sign);
        END LOOP;
    END LOOP;
END $$;

-- NULL adds nothing to a string.
CREATE FUNCTION ora.joined(text, text) RETURNS text LANGUAGE sql IMMUTABLE
    AS 'SELECT nullif(coalesce($1, '''') OPERATOR(pg_catalog.||) coalesce($2, ''''), '''')';
CREATE OPERATOR ora.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = ora.joined);
