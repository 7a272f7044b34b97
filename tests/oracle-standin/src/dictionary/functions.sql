-- Oracle's functions that neither PostgreSQL nor orafce has, or has otherwise.
SET search_path = ora, sys, oracle, pg_catalog;

-- Names are stored with their case turned over.
CREATE FUNCTION sys.shown(text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN $1 = lower($1) THEN upper($1) WHEN $1 = upper($1) THEN lower($1) ELSE $1 END $$;
CREATE FUNCTION sys.fail(code int, words text) RETURNS bool LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'ORA00', MESSAGE = 'ORA-' || lpad(code::text, 5, '0') || ': ' || words; END $$;
CREATE FUNCTION sys.too_long(tab text, col text, actual int, most int) RETURNS bool LANGUAGE plpgsql AS
$$ BEGIN
    RETURN sys.fail(12899, format('value too large for column "%s"."%s"."%s" (actual: %s, maximum: %s)',
        sys.ora_user(), tab, col, actual, most));
END $$;
CREATE PROCEDURE sys.raise_application_error(code numeric, words text) LANGUAGE plpgsql AS
$$ BEGIN PERFORM sys.fail(CAST(-code AS int), words); END $$;

CREATE FUNCTION sys.ora_user() RETURNS text LANGUAGE sql STABLE AS $$ SELECT sys.shown(CAST(session_user AS text)) $$;
CREATE FUNCTION sys.ora_uid() RETURNS numeric LANGUAGE sql STABLE AS
$$ SELECT CAST(CAST(oid AS bigint) AS numeric) FROM pg_roles WHERE rolname = session_user $$;
CREATE FUNCTION sys.setting(text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('ora.' || $1, true), '') $$;
CREATE FUNCTION sys.sysdate() RETURNS ora.oradate LANGUAGE sql VOLATILE AS $$ SELECT ora.oradate(CAST(clock_timestamp() AS timestamp)) $$;
CREATE FUNCTION sys.ora_sessiontimezone() RETURNS text LANGUAGE sql STABLE AS $$ SELECT to_char(clock_timestamp(), 'TZH:TZM') $$;
CREATE FUNCTION ora.sys_context(space text, what text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE upper(what)
        WHEN 'SESSION_USER' THEN sys.ora_user() WHEN 'CURRENT_USER' THEN sys.ora_user()
        WHEN 'CURRENT_SCHEMA' THEN sys.shown(CAST(current_schema AS text))
        WHEN 'DB_NAME' THEN upper(current_database()) WHEN 'DB_UNIQUE_NAME' THEN upper(current_database()) WHEN 'CON_NAME' THEN upper(current_database())
        WHEN 'INSTANCE_NAME' THEN 'standin' WHEN 'SERVICE_NAME' THEN sys.setting('service')
        WHEN 'SID' THEN sys.setting('sid') WHEN 'SESSIONID' THEN sys.setting('sid')
        WHEN 'DATABASE_ROLE' THEN 'PRIMARY' WHEN 'ISDBA' THEN 'FALSE'
        WHEN 'LANGUAGE' THEN 'AMERICAN_AMERICA.AL32UTF8' WHEN 'LANG' THEN 'US'
        WHEN 'NLS_DATE_FORMAT' THEN coalesce(sys.setting('nls_date_format'), 'DD-MON-RR')
        WHEN 'SERVER_HOST' THEN 'localhost' WHEN 'HOST' THEN 'localhost'
        WHEN 'MODULE' THEN sys.setting('module') WHEN 'ACTION' THEN sys.setting('action')
        WHEN 'CLIENT_INFO' THEN sys.setting('client_info')
        WHEN 'CLIENT_IDENTIFIER' THEN sys.setting('client_identifier')
    END $$;
CREATE FUNCTION ora.userenv(text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT ora.sys_context('USERENV', $1) $$;

-- A row's place as the eighteen letters of a ROWID: table 6, file 3, block 6, row 3.
CREATE FUNCTION sys.letters(value bigint, count int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(substr('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
        CAST((value >> (6 * (count - n))) & 63 AS int) + 1, 1), '' ORDER BY n) FROM generate_series(1, count) AS n $$;
CREATE FUNCTION sys.from_letters(text) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CAST(sum(CAST(strpos('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
        substr($1, n, 1)) - 1 AS bigint) << (6 * (length($1) - n))) AS bigint) FROM generate_series(1, length($1)) AS n $$;
CREATE FUNCTION sys.row_id(tab oid, place tid) RETURNS ora.rowid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CAST(sys.letters(CAST(tab AS bigint), 6) || 'AAB'
        || sys.letters(CAST(split_part(trim('()' FROM CAST(place AS text)), ',', 1) AS bigint), 6)
        || sys.letters(CAST(split_part(trim('()' FROM CAST(place AS text)), ',', 2) AS bigint), 3) AS ora.rowid) $$;
CREATE FUNCTION sys.row_place(text) RETURNS tid LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF $1 !~ '^[A-Za-z0-9+/]{18}$' THEN PERFORM sys.fail(1410, 'invalid ROWID'); END IF;
    RETURN CAST('(' || sys.from_letters(substr($1, 10, 6)) || ',' || sys.from_letters(substr($1, 16, 3)) || ')' AS tid);
END $$;
CREATE FUNCTION ora.rowidtochar(ora.rowid) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT CAST($1 AS text) $$;
CREATE FUNCTION ora.chartorowid(text) RETURNS ora.rowid LANGUAGE sql IMMUTABLE AS
$$ SELECT CAST($1 AS ora.rowid) WHERE $1 IS NULL OR sys.row_place($1) IS NOT NULL $$;

-- Formats.
CREATE FUNCTION sys.format_of(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace($1,
        'SYYYY', 'YYYY', 'gi'), 'RRRR', 'YYYY', 'gi'), 'RR', 'YY', 'gi'), 'FF[789]', 'US', 'gi'),
        'FF(?![1-9])', 'US', 'gi') $$;
CREATE FUNCTION sys.format_shown(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT sys.format_of(regexp_replace(regexp_replace(regexp_replace($1,
        'FF9', 'US"000"', 'gi'), 'FF8', 'US"00"', 'gi'), 'FF7', 'US"0"', 'gi')) $$;
CREATE FUNCTION ora.to_char(timestamp, text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT pg_catalog.to_char($1, sys.format_shown($2)) $$;
CREATE FUNCTION ora.to_char(timestamptz, text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT pg_catalog.to_char($1, regexp_replace(sys.format_shown($2), 'TZR', 'TZH:TZM', 'gi')) $$;
CREATE FUNCTION ora.to_char(ora.oradate, text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT pg_catalog.to_char(CAST($1 AS timestamp), sys.format_shown($2)) $$;
CREATE FUNCTION ora.to_char(ora.oradate) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT ora.to_char($1, coalesce(sys.setting('nls_date_format'), 'DD-MON-RR')) $$;
CREATE FUNCTION ora.to_char(timestamp) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT ora.to_char($1, coalesce(sys.setting('nls_timestamp_format'), 'DD-MON-RR HH.MI.SSXFF AM')) $$;
CREATE FUNCTION ora.to_char(numeric) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT regexp_replace(CAST(trim_scale($1) AS text), '^(-?)0\.', '\1.') $$;
CREATE FUNCTION ora.to_char(numeric, text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT CASE WHEN upper($2) LIKE 'TM%' THEN ora.to_char($1) ELSE pg_catalog.to_char($1, $2) END $$;
CREATE FUNCTION ora.to_char(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;
CREATE FUNCTION ora.to_char(ora.months) RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT CASE WHEN n < 0 THEN '-' ELSE '+' END || lpad(CAST(abs(n) / 12 AS text), greatest(2, length(CAST(abs(n) / 12 AS text))), '0')
        || '-' || lpad(CAST(abs(n) % 12 AS text), 2, '0')
    FROM (SELECT CAST(extract(year FROM CAST($1 AS interval)) * 12 + extract(month FROM CAST($1 AS interval)) AS int) AS n) AS m $$;
CREATE FUNCTION ora.to_char(ora.span9) RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT CASE WHEN n < 0 THEN '-' ELSE '+' END || lpad(CAST(div(abs(n), 86400000000000) AS text), greatest(2, length(CAST(div(abs(n), 86400000000000) AS text))), '0')
        || pg_catalog.to_char(make_interval(secs => CAST(div(abs(n) % 86400000000000, 1000000000) AS float8)), ' HH24:MI:SS.')
        || lpad(CAST(abs(n) % 1000000000 AS text), 9, '0')
    FROM (SELECT CAST($1 AS numeric) AS n) AS s $$;
CREATE FUNCTION ora.to_char(interval) RETURNS text LANGUAGE sql STABLE STRICT AS $$
    SELECT CASE WHEN n < 0 THEN '-' ELSE '+' END || lpad(CAST(div(abs(n), 86400) AS text), greatest(2, length(CAST(div(abs(n), 86400) AS text))), '0')
        || pg_catalog.to_char(make_interval(secs => CAST(abs(n) % 86400 AS float8)), ' HH24:MI:SS.US')
    FROM (SELECT CAST(extract(epoch FROM $1) AS numeric) AS n) AS s $$;
CREATE FUNCTION ora.to_date(text, text) RETURNS ora.oradate LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE found timestamp := pg_catalog.to_timestamp($1, sys.format_of($2));
BEGIN
    IF found < '0001-01-01' OR found >= '10000-01-01' THEN
        PERFORM sys.fail(1841, '(full) year must be between -4713 and +9999, and not be 0');
    END IF;
    RETURN ora.oradate(found);
END $$;
CREATE FUNCTION ora.to_date(text) RETURNS ora.oradate LANGUAGE sql STABLE AS
$$ SELECT ora.to_date($1, coalesce(sys.setting('nls_date_format'), 'DD-MON-RR')) $$;
CREATE FUNCTION ora.to_timestamp(text, text) RETURNS timestamp LANGUAGE sql STABLE AS
$$ SELECT CAST(pg_catalog.to_timestamp($1, sys.format_of($2)) AS timestamp) $$;
CREATE FUNCTION ora.to_timestamp9(text, text) RETURNS ora.stamp9 LANGUAGE sql STABLE STRICT AS $$
    SELECT CAST(pg_catalog.to_char(pg_catalog.to_timestamp(regexp_replace($1, '[.]\d+', ''),
        sys.format_of(regexp_replace($2, '[.X]?FF[7-9]?', '', 'i'))), 'YYYY-MM-DD HH24:MI:SS')
        || '.' || rpad(coalesce(substring($1 FROM '[.](\d{1,9})'), ''), 9, '0') AS ora.stamp9) $$;
CREATE FUNCTION ora.to_char(ora.stamp9, text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT ora.to_char(ora.stamp9_timestamp($1), regexp_replace($2, 'FF9', '"' || substr(CAST($1 AS text), 21, 9) || '"', 'i')) $$;
CREATE FUNCTION ora.to_timestamp(text) RETURNS timestamp LANGUAGE sql STABLE AS $$ SELECT CAST($1 AS timestamp) $$;
CREATE FUNCTION ora.to_timestamp_tz(text, text DEFAULT 'YYYY-MM-DD HH24:MI:SS.FF TZH:TZM') RETURNS ora.zoned9 LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    part text := rpad(coalesce(substring($1 FROM '[.](\d{1,9})'), ''), 9, '0');
    away text := substring($1 FROM '([+-]\d{1,2}:\d{2})\s*$');
    here timestamp := pg_catalog.to_timestamp(regexp_replace(regexp_replace($1, '[.]\d+', ''), '\s*[+-]\d{1,2}:\d{2}\s*$', ''),
        sys.format_of(regexp_replace(regexp_replace($2, '[.X]?FF[1-9]?', '', 'i'), '\s*TZ(H:TZM|R)', '', 'i')));
BEGIN
    IF away IS NULL THEN
        RETURN ora.zoned9(CAST(pg_catalog.to_char(here, 'YYYY-MM-DD HH24:MI:SS.') || part AS ora.stamp9));
    END IF;
    away := left(away, 1) || lpad(substr(away, 2), 5, '0');
    RETURN ora.zoned9_made(here - CAST(left(away, 1) || '1' AS int) * CAST(substr(away, 2) AS interval), part, away);
END $$;
-- What a literal with an offset or a zone says. Of a zone that has a name the offset is kept that it has then.
CREATE FUNCTION sys.zoned(text) RETURNS ora.zoned9 LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    zone text := substring($1 FROM '[0-9] +([A-Za-z][A-Za-z_/+-]*[0-9]*)\s*$');
    here timestamp;
    away interval;
BEGIN
    IF $1 ~ '[+-]\d{1,2}:\d{2}\s*$' THEN RETURN ora.to_timestamp_tz($1); END IF;
    IF zone IS NULL THEN RETURN ora.zoned9(CAST($1 AS timestamptz)); END IF;
    here := CAST(regexp_replace($1, '(\.\d+)? +[A-Za-z/_+-]+[0-9]*\s*$', '') AS timestamp);
    away := here - ((here AT TIME ZONE zone) AT TIME ZONE 'UTC');
    RETURN ora.zoned9_made(here - away, rpad(coalesce(substring($1 FROM '[.](\d{1,9})'), ''), 9, '0'),
        CASE WHEN away < interval '0' THEN '-' ELSE '+' END
        || pg_catalog.to_char(CASE WHEN away < interval '0' THEN -away ELSE away END, 'HH24:MI'));
END $$;
CREATE FUNCTION ora.xmltype(text) RETURNS xml LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT CAST($1 AS xml) $$;
CREATE FUNCTION ora.to_char(ora.zoned9, text DEFAULT 'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM') RETURNS text LANGUAGE sql STABLE AS $$
    SELECT ora.to_char(ora.zoned9_stamp9($1), regexp_replace(regexp_replace($2, 'TZH:TZM|TZR', '"' || substr(CAST($1 AS text), 31) || '"', 'i'),
        'TZH', '"' || substr(CAST($1 AS text), 31, 3) || '"', 'i')) $$;
CREATE FUNCTION ora.sys_extract_utc(ora.zoned9) RETURNS ora.stamp9 LANGUAGE sql IMMUTABLE AS $$ SELECT CAST(left(CAST($1 AS text), 29) AS ora.stamp9) $$;
CREATE FUNCTION ora.to_number(text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT CAST($1 AS numeric) $$;
CREATE FUNCTION ora.to_number(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;
CREATE FUNCTION ora.to_binary_double(numeric) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$ SELECT CAST($1 AS float8) $$;
CREATE FUNCTION ora.to_binary_double(text) RETURNS float8 LANGUAGE sql IMMUTABLE AS
$$ SELECT CAST(CASE upper($1) WHEN 'INF' THEN 'Infinity' WHEN '-INF' THEN '-Infinity' ELSE $1 END AS float8) $$;
CREATE FUNCTION ora.to_binary_float(numeric) RETURNS float4 LANGUAGE sql IMMUTABLE AS $$ SELECT CAST($1 AS float4) $$;
CREATE FUNCTION ora.to_binary_float(text) RETURNS float4 LANGUAGE sql IMMUTABLE AS $$ SELECT CAST(ora.to_binary_double($1) AS float4) $$;
CREATE FUNCTION ora.to_clob(text) RETURNS ora.clob LANGUAGE sql IMMUTABLE AS $$ SELECT CAST($1 AS ora.clob) $$;
CREATE FUNCTION ora.to_nclob(text) RETURNS ora.nclob LANGUAGE sql IMMUTABLE AS $$ SELECT CAST($1 AS ora.nclob) $$;
CREATE FUNCTION ora.to_blob(bytea) RETURNS ora.blob LANGUAGE sql IMMUTABLE AS $$ SELECT CAST($1 AS ora.blob) $$;
CREATE FUNCTION ora.to_nchar(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;

-- Time.
CREATE FUNCTION ora.trunc(ora.oradate) RETURNS ora.oradate LANGUAGE sql STABLE AS
$$ SELECT ora.oradate(pg_catalog.date_trunc('day', CAST($1 AS timestamp))) $$;
CREATE FUNCTION ora.trunc(ora.oradate, text) RETURNS ora.oradate LANGUAGE sql STABLE AS $$
    SELECT ora.oradate(pg_catalog.date_trunc(CASE upper($2)
        WHEN 'YYYY' THEN 'year' WHEN 'YEAR' THEN 'year' WHEN 'Q' THEN 'quarter' WHEN 'MM' THEN 'month'
        WHEN 'MONTH' THEN 'month' WHEN 'IW' THEN 'week' WHEN 'HH24' THEN 'hour' WHEN 'HH' THEN 'hour'
        WHEN 'MI' THEN 'minute' ELSE 'day' END, CAST($1 AS timestamp))) $$;
CREATE FUNCTION ora.trunc(timestamp) RETURNS ora.oradate LANGUAGE sql STABLE AS $$ SELECT ora.trunc(ora.oradate($1)) $$;
CREATE FUNCTION ora.last_day(ora.oradate) RETURNS ora.oradate LANGUAGE sql STABLE AS $$
    SELECT ora.oradate(pg_catalog.date_trunc('month', CAST($1 AS timestamp)) + interval '1 month' - interval '1 day'
        + (CAST($1 AS timestamp) - pg_catalog.date_trunc('day', CAST($1 AS timestamp)))) $$;
CREATE FUNCTION ora.add_months(ora.oradate, numeric) RETURNS ora.oradate LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN ora.last_day($1) = $1
        THEN ora.last_day(ora.oradate(CAST($1 AS timestamp) + make_interval(months => CAST(trunc($2) AS int))))
        ELSE ora.oradate(CAST($1 AS timestamp) + make_interval(months => CAST(trunc($2) AS int))) END $$;
CREATE FUNCTION ora.sys_extract_utc(timestamptz) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$ SELECT $1 AT TIME ZONE 'UTC' $$;
CREATE FUNCTION ora.from_tz(ora.stamp9, text) RETURNS ora.zoned9 LANGUAGE sql STABLE STRICT AS
$$ SELECT sys.zoned(CAST($1 AS text) || ' ' || $2) $$;
CREATE FUNCTION ora.from_tz(timestamp, text) RETURNS ora.zoned9 LANGUAGE sql STABLE STRICT AS $$ SELECT ora.from_tz(ora.stamp9($1), $2) $$;
CREATE FUNCTION ora.numtodsinterval(numeric, text) RETURNS interval LANGUAGE sql IMMUTABLE AS
$$ SELECT CAST($1 * CASE upper($2) WHEN 'DAY' THEN 86400 WHEN 'HOUR' THEN 3600 WHEN 'MINUTE' THEN 60 ELSE 1 END AS float8) * interval '1 second' $$;
CREATE FUNCTION ora.numtoyminterval(numeric, text) RETURNS ora.months LANGUAGE sql IMMUTABLE AS
$$ SELECT CAST(make_interval(months => CAST($1 * CASE upper($2) WHEN 'YEAR' THEN 12 ELSE 1 END AS int)) AS ora.months) $$;
-- A sign in front is for all that follows.
CREATE FUNCTION ora.to_dsinterval(text) RETURNS ora.span9 LANGUAGE sql STABLE STRICT AS $$
    SELECT CASE WHEN $1 LIKE '%P%' THEN ora.span9(CAST($1 AS interval)) ELSE CAST(round((CASE WHEN $1 LIKE '-%' THEN -1 ELSE 1 END)
        * (CAST(extract(epoch FROM CAST(regexp_replace(ltrim($1, '+-'), '[.]\d+$', '') AS interval day to second)) AS numeric) * 1000000000
        + CAST(rpad(coalesce(substring($1 FROM '[.](\d{1,9})$'), ''), 9, '0') AS numeric))) AS ora.span9) END $$;
CREATE FUNCTION ora.to_yminterval(text) RETURNS ora.months LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN $1 LIKE '-%' THEN CAST(-CAST(substr($1, 2) AS interval year to month) AS ora.months)
        ELSE CAST(CAST(ltrim($1, '+') AS interval year to month) AS ora.months) END $$;

-- Bytes.
CREATE FUNCTION ora.hextoraw(text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT decode($1, 'hex') $$;
CREATE FUNCTION ora.rawtohex(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper(encode($1, 'hex')) $$;
CREATE FUNCTION ora.sys_guid() RETURNS bytea LANGUAGE sql VOLATILE AS $$ SELECT uuid_send(gen_random_uuid()) $$;
CREATE FUNCTION ora.standard_hash(text, text DEFAULT 'SHA1') RETURNS bytea LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE upper($2) WHEN 'MD5' THEN decode(md5($1), 'hex') WHEN 'SHA256' THEN sha256(convert_to($1, 'UTF8'))
    WHEN 'SHA512' THEN sha512(convert_to($1, 'UTF8')) WHEN 'SHA384' THEN sha384(convert_to($1, 'UTF8')) END $$;
CREATE FUNCTION ora.ora_hash(text, numeric DEFAULT 4294967295) RETURNS numeric LANGUAGE sql IMMUTABLE AS
$$ SELECT CAST(CAST(hashtext($1) AS bigint) & 4294967295 AS numeric) % ($2 + 1) $$;
CREATE FUNCTION ora.lengthb(text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT CAST(octet_length($1) AS numeric) $$;
CREATE FUNCTION utl_raw.cast_to_varchar2(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT convert_from($1, 'UTF8') $$;
CREATE FUNCTION utl_raw.cast_to_raw(text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT convert_to($1, 'UTF8') $$;
CREATE FUNCTION utl_raw.concat(VARIADIC bytea[]) RETURNS bytea LANGUAGE sql IMMUTABLE AS
$$ SELECT string_agg(part, '' ORDER BY n) FROM unnest($1) WITH ORDINALITY AS p(part, n) $$;
CREATE FUNCTION utl_raw.length(bytea) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT CAST(octet_length($1) AS numeric) $$;
CREATE FUNCTION dbms_lob.getlength(text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT CAST(char_length($1) AS numeric) $$;
CREATE FUNCTION dbms_lob.getlength(bytea) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT CAST(octet_length($1) AS numeric) $$;
CREATE FUNCTION dbms_lob.substr(text, numeric DEFAULT 32767, numeric DEFAULT 1) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT pg_catalog.substr($1, CAST($3 AS int), CAST($2 AS int)) $$;
CREATE FUNCTION dbms_lob.substr(bytea, numeric DEFAULT 32767, numeric DEFAULT 1) RETURNS bytea LANGUAGE sql IMMUTABLE AS
$$ SELECT pg_catalog.substr($1, CAST($3 AS int), CAST($2 AS int)) $$;

-- A NUMBER's bytes, by way of its decimal digits.
CREATE FUNCTION ora.dump(numeric) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    plain text := CAST(trim_scale(abs($1)) AS text);
    whole text := split_part(plain, '.', 1);
    part text := split_part(plain, '.', 2);
    digits text;
    place int;
    codes int[];
BEGIN
    IF $1 = 0 THEN RETURN 'Typ=2 Len=1: 128'; END IF;
    whole := repeat('0', length(whole) % 2) || whole;
    digits := whole || part || repeat('0', length(part) % 2);
    place := length(whole) / 2 - 1;
    WHILE left(digits, 2) = '00' LOOP
        digits := substr(digits, 3);
        place := place - 1;
    END LOOP;
    digits := regexp_replace(digits, '^((..)*?)(00)*$', '\1');
    codes := ARRAY(SELECT CASE WHEN $1 > 0 THEN CAST(substr(digits, n, 2) AS int) + 1 ELSE 101 - CAST(substr(digits, n, 2) AS int) END
        FROM generate_series(1, least(length(digits), 40), 2) AS n ORDER BY n);
    IF $1 > 0 THEN codes := (193 + place) || codes; ELSE codes := (62 - place) || codes; END IF;
    IF $1 < 0 AND cardinality(codes) <= 20 THEN codes := codes || 102; END IF;
    RETURN 'Typ=2 Len=' || cardinality(codes) || ': ' || array_to_string(codes, ',');
END $$;

-- DDL that takes more than a statement.
CREATE PROCEDURE sys.comment_column(tab text, col text, words text) LANGUAGE plpgsql AS $$
DECLARE old text;
BEGIN
    SELECT split_part(col_description(attrelid, attnum), E'\n', 1) INTO old FROM pg_attribute
        WHERE attrelid = CAST(tab AS regclass) AND attname = col;
    EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', CAST(tab AS regclass), col, coalesce(old, '') || E'\n' || coalesce(words, ''));
END $$;
CREATE PROCEDURE sys.drop_primary_key(tab text) LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
    SELECT conname INTO found FROM pg_constraint WHERE conrelid = CAST(tab AS regclass) AND contype = 'p';
    IF found IS NULL THEN PERFORM sys.fail(2441, 'Cannot drop nonexistent primary key'); END IF;
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', CAST(tab AS regclass), found);
END $$;
CREATE PROCEDURE sys.drop_trigger(trig text) LANGUAGE plpgsql AS $$
DECLARE tab regclass;
BEGIN
    SELECT tgrelid INTO tab FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE tgname = trig AND c.relnamespace = CAST(current_schema AS regnamespace);
    IF tab IS NULL THEN PERFORM sys.fail(4080, format('trigger ''%s'' does not exist', sys.shown(trig))); END IF;
    EXECUTE format('DROP TRIGGER %I ON %s', trig, tab);
END $$;
CREATE PROCEDURE sys.switch_trigger(trig text, active bool) LANGUAGE plpgsql AS $$
DECLARE tab regclass;
BEGIN
    SELECT tgrelid INTO tab FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE tgname = trig AND c.relnamespace = CAST(current_schema AS regnamespace);
    IF tab IS NULL THEN PERFORM sys.fail(4080, format('trigger ''%s'' does not exist', sys.shown(trig))); END IF;
    EXECUTE format('ALTER TABLE %s %s TRIGGER %I', tab, CASE WHEN active THEN 'ENABLE' ELSE 'DISABLE' END, trig);
END $$;
-- Copies what columns are declared as to those of a view or table made from them.
CREATE PROCEDURE sys.declare_column(tab text, place int, source_table bigint, source_place int) LANGUAGE plpgsql AS $$
DECLARE
    col text;
    declared text := split_part(col_description(CAST(source_table AS oid), source_place), E'\n', 1);
BEGIN
    SELECT attname INTO col FROM pg_attribute WHERE attrelid = CAST(tab AS regclass) AND attnum = place;
    IF declared LIKE 'ora:%' AND col IS NOT NULL THEN
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', CAST(tab AS regclass), col, declared);
    END IF;
END $$;
