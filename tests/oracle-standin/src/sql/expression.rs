//! Expressions, and all that is written token by token.

use super::lex::{Kind, Token};
use super::{Translated, closing, declare, literal, name, quote, split};
use crate::ora_error::OraError;

/// Collects the translation and where its pieces come from.
#[derive(Default)]
pub(crate) struct Output {
    pub(super) text: String,
    characters: usize,
    marks: Vec<(usize, usize)>,
}

impl Output {
    pub(crate) fn push(&mut self, piece: &str, at: usize) {
        if !self.text.is_empty() {
            self.text.push(' ');
            self.characters += 1;
        }
        self.marks.push((self.characters, at));
        self.text.push_str(piece);
        self.characters += piece.chars().count();
    }

    pub(super) fn finish(self, tokens: &[Token]) -> Translated {
        Translated {
            sql: self.text,
            marks: self.marks,
            binds: binds(tokens),
            ..Translated::default()
        }
    }
}

pub(super) fn binds(tokens: &[Token]) -> Vec<String> {
    let mut found: Vec<(usize, String)> = tokens
        .iter()
        .filter_map(|t| match &t.kind {
            Kind::Bind(name, index) => Some((*index, name.clone())),
            _ => None,
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|(_, name)| name).collect()
}

/// The translation of an expression alone.
pub(crate) fn expression(tokens: &[Token]) -> Result<String, OraError> {
    let mut out = Output::default();
    emit(tokens, &mut out)?;
    Ok(out.text)
}

pub(super) fn word_at(tokens: &[Token], i: usize) -> &str {
    tokens.get(i).map_or("", Token::word)
}

pub(super) fn mark_at(tokens: &[Token], i: usize, mark: &str) -> bool {
    tokens.get(i).is_some_and(|t| t.is_mark(mark))
}

/// Writes tokens, each as PostgreSQL has it.
pub(super) fn emit(tokens: &[Token], out: &mut Output) -> Result<(), OraError> {
    let mut i = 0;
    while i < tokens.len() {
        i = emit_one(tokens, i, out)?;
    }
    Ok(())
}

/// Writes what begins at `i`; where the next begins.
pub(super) fn emit_one(tokens: &[Token], i: usize, out: &mut Output) -> Result<usize, OraError> {
    let token = &tokens[i];
    let at = token.at;
    match &token.kind {
        Kind::Text(text) if text.is_empty() => out.push("NULL", at),
        Kind::Text(text) => out.push(&literal(text), at),
        Kind::Number(number) => {
            // Division of whole numbers has a fraction in Oracle.
            let divided = mark_at(tokens, i + 1, "/") || (i > 0 && mark_at(tokens, i - 1, "/"));
            let tail = if divided { "::numeric" } else { "" };
            out.push(&format!("{number}{tail}"), at);
        }
        Kind::Bind(_, index) => out.push(&format!("${index}"), at),
        Kind::Raw(text) => out.push(text, at),
        Kind::Mark("(+)") => {
            return Err(OraError::new(3001, "unimplemented feature").at(at));
        }
        Kind::Mark("!=" | "^=") => out.push("<>", at),
        Kind::Mark("@") => return Err(OraError::new(2019, "database link not found").at(at)),
        Kind::Mark(mark) => out.push(mark, at),
        Kind::Quoted(_) => return Ok(emit_name(tokens, i, out)),
        Kind::Word(word) => return emit_word(tokens, i, word, out),
    }
    Ok(i + 1)
}

/// Writes a name; `x.NEXTVAL` is a function's result.
fn emit_name(tokens: &[Token], i: usize, out: &mut Output) -> usize {
    let at = tokens[i].at;
    let mut parts = Vec::new();
    let mut next = i;
    while let Some(part) = tokens.get(next).and_then(name) {
        parts.push(part);
        if !mark_at(tokens, next + 1, ".") {
            break;
        }
        next += 2;
    }
    if let Some(last) = parts.last() {
        let function = match last.as_str() {
            "\"nextval\"" => "nextval",
            "\"currval\"" => "currval",
            _ => "",
        };
        if !function.is_empty() && parts.len() > 1 {
            let sequence = literal(&parts[..parts.len() - 1].join("."));
            out.push(&format!("{function}({sequence})"), at);
            return next + 1;
        }
        if last == "\"rowid\"" && parts.len() > 1 {
            return emit_rowid(
                tokens,
                i,
                next,
                &format!("{}.", parts[..parts.len() - 1].join(".")),
                out,
            );
        }
    }
    let piece = match &tokens[i].kind {
        Kind::Word(word) if !word.contains('#') => word.to_lowercase(),
        _ => name(&tokens[i]).unwrap_or_default(),
    };
    out.push(&piece, at);
    i + 1
}

/// Writes ROWID. Compared, it is the row's place itself, which PostgreSQL goes to at once.
fn emit_rowid(tokens: &[Token], i: usize, last: usize, prefix: &str, out: &mut Output) -> usize {
    let at = tokens[i].at;
    let compared =
        ["=", "<", ">", "<=", ">=", "<>"].into_iter().find(|mark| mark_at(tokens, last + 1, mark));
    if let Some(mark) = compared {
        match tokens.get(last + 2).map(|t| &t.kind) {
            Some(Kind::Bind(_, index)) => {
                out.push(&format!("{prefix}ctid {mark} sys.row_place(${index})"), at);
                return last + 3;
            }
            Some(Kind::Text(text)) => {
                out.push(&format!("{prefix}ctid {mark} sys.row_place({})", literal(text)), at);
                return last + 3;
            }
            Some(Kind::Word(word)) if word == "CHARTOROWID" && mark_at(tokens, last + 3, "(") => {
                // The rest is in parentheses already.
                out.push(&format!("{prefix}ctid {mark} sys.row_place"), at);
                return last + 3;
            }
            _ => {}
        }
    }
    let sorts = i > 1 && word_at(tokens, i - 1) == "BY" && word_at(tokens, i - 2) == "ORDER";
    match sorts {
        // As it compares: by place, not by letters.
        true => out.push(&format!("{prefix}ctid"), at),
        false => out.push(&format!("sys.row_id({prefix}tableoid, {prefix}ctid)"), at),
    }
    last + 1
}

fn emit_word(tokens: &[Token], i: usize, word: &str, out: &mut Output) -> Result<usize, OraError> {
    let at = tokens[i].at;
    let after_dot = i > 0 && mark_at(tokens, i - 1, ".");
    let before_dot = mark_at(tokens, i + 1, ".");
    let call = mark_at(tokens, i + 1, "(");
    if after_dot || before_dot {
        return Ok(emit_name(tokens, i, out));
    }
    let text_follows = match tokens.get(i + 1).map(|t| &t.kind) {
        Some(Kind::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    match (word, text_follows) {
        ("DATE", Some(text)) => {
            out.push(&format!("CAST({} AS oradate)", literal(text)), at);
            return Ok(i + 2);
        }
        ("TIMESTAMP", Some(text)) => {
            let time = text.split_once(' ').map_or("", |(_, time)| time);
            if time.contains(['+', '-', ' ']) {
                out.push(&format!("sys.zoned({})", literal(text)), at);
                return Ok(i + 2);
            }
            let digits = time.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            if digits > 6
                && digits <= 9
                && time[time.len() - digits..].bytes().all(|b| b.is_ascii_digit())
            {
                let fine = format!("{text}{}", "0".repeat(9 - digits));
                out.push(&format!("CAST({} AS stamp9)", literal(&fine)), at);
                return Ok(i + 2);
            }
            out.push(&format!("CAST({} AS timestamp)", literal(text)), at);
            return Ok(i + 2);
        }
        ("INTERVAL", Some(text)) => {
            // What is finer than PostgreSQL's microseconds has a type of its own.
            let digits = text.rsplit_once('.').map_or(0, |(_, fraction)| fraction.len());
            if digits > 6 && word_at(tokens, i + 2) == "DAY" {
                let mut next = i + 2;
                while matches!(word_at(tokens, next), "DAY" | "SECOND" | "TO") {
                    next += 1;
                    if mark_at(tokens, next, "(") {
                        next = closing(tokens, next) + 1;
                    }
                }
                out.push(&format!("to_dsinterval({})", literal(text)), at);
                return Ok(next);
            }
            // A sign in front is for all that follows.
            let positive = text.trim_start().strip_prefix('-');
            let sign = if positive.is_some() { "- " } else { "" };
            let mut next = i + 2;
            let months = matches!(word_at(tokens, next), "YEAR" | "MONTH");
            let cast = if months { "CAST(" } else { "" };
            let digits = literal(positive.unwrap_or(text));
            out.push(&format!("{cast}{sign}INTERVAL {digits}"), at);
            while matches!(
                word_at(tokens, next),
                "YEAR" | "MONTH" | "DAY" | "HOUR" | "MINUTE" | "SECOND" | "TO"
            ) {
                out.push(word_at(tokens, next), tokens[next].at);
                next += 1;
                if mark_at(tokens, next, "(") {
                    next = closing(tokens, next) + 1;
                }
            }
            if months {
                out.push("AS months)", at);
            }
            return Ok(next);
        }
        _ => {}
    }
    if call {
        return emit_call(tokens, i, word, out);
    }
    let piece = match word {
        "SYSDATE" | "CURRENT_DATE" => "sys.sysdate()",
        "SYSTIMESTAMP" | "CURRENT_TIMESTAMP" => "zoned9(clock_timestamp())",
        "LOCALTIMESTAMP" => "CAST(clock_timestamp() AS timestamp)",
        "USER" => "sys.ora_user()",
        "UID" => "sys.ora_uid()",
        "SESSIONTIMEZONE" => "sys.ora_sessiontimezone()",
        "DBTIMEZONE" => "'+00:00'",
        "MINUS" => "EXCEPT",
        "BINARY_DOUBLE_NAN" => "CAST('NaN' AS float8)",
        "BINARY_DOUBLE_INFINITY" => "CAST('Infinity' AS float8)",
        "BINARY_FLOAT_NAN" => "CAST('NaN' AS float4)",
        "BINARY_FLOAT_INFINITY" => "CAST('Infinity' AS float4)",
        "ROWNUM" => "row_number() OVER ()",
        "ORA_ROWSCN" => "CAST(CAST(xmin AS text) AS numeric)",
        "ROWID" => return Ok(emit_rowid(tokens, i, i, "", out)),
        "DUAL" => "sys.dual",
        "SYSTEM_USER" | "SESSION_USER" | "CURRENT_USER" | "CURRENT_ROLE" => {
            out.push(&quote(&word.to_lowercase()), at);
            return Ok(i + 1);
        }
        "UNIQUE" if word_at(tokens, i.wrapping_sub(1)) == "SELECT" => "DISTINCT",
        "OFFSET" | "LIMIT" | "END" | "DESC" | "ASC" => word,
        _ => return Ok(emit_name(tokens, i, out)),
    };
    out.push(piece, at);
    Ok(i + 1)
}

/// Writes `word(…)`.
fn emit_call(tokens: &[Token], i: usize, word: &str, out: &mut Output) -> Result<usize, OraError> {
    let at = tokens[i].at;
    let close = closing(tokens, i + 1);
    let inner = tokens.get(i + 2..close).unwrap_or_default();
    match word {
        "NVL" => out.push("coalesce", at),
        "EMPTY_CLOB" => {
            out.push("CAST('' AS clob)", at);
            return Ok(close + 1);
        }
        "EMPTY_BLOB" => {
            out.push("CAST('' AS blob)", at);
            return Ok(close + 1);
        }
        "DECODE" => {
            let parts = split(inner, ",");
            out.push("CASE", at);
            let mut rest = &parts[1..];
            while let [search, result, tail @ ..] = rest {
                out.push("WHEN", at);
                emit(parts[0], out)?;
                out.push("IS NOT DISTINCT FROM", at);
                emit(search, out)?;
                out.push("THEN", at);
                emit(result, out)?;
                rest = tail;
            }
            if let [default] = rest {
                out.push("ELSE", at);
                emit(default, out)?;
            }
            out.push("END", at);
            return Ok(close + 1);
        }
        // As text: the type itself never travels.
        "JSON_SERIALIZE" | "XMLSERIALIZE" => {
            let start = usize::from(matches!(word_at(inner, 0), "CONTENT" | "DOCUMENT"));
            let end = inner.iter().position(|t| matches!(t.word(), "RETURNING" | "AS"));
            out.push("CAST(CAST(", at);
            emit(&inner[start..end.unwrap_or(inner.len())], out)?;
            out.push("AS text) AS clob)", at);
            return Ok(close + 1);
        }
        "NVL2" => {
            let parts = split(inner, ",");
            if let [tested, present, absent] = parts[..] {
                out.push("CASE WHEN", at);
                emit(tested, out)?;
                out.push("IS NOT NULL THEN", at);
                emit(present, out)?;
                out.push("ELSE", at);
                emit(absent, out)?;
                out.push("END", at);
                return Ok(close + 1);
            }
            out.push("nvl2", at);
        }
        "LISTAGG" => {
            let parts = split(inner, ",");
            out.push("string_agg(CAST(", at);
            emit(parts[0], out)?;
            out.push("AS text),", at);
            match parts.get(1) {
                Some(separator) => emit(separator, out)?,
                None => out.push("''", at),
            }
            let mut next = close + 1;
            if word_at(tokens, next) == "WITHIN" {
                let end = closing(tokens, next + 2);
                emit(tokens.get(next + 3..end).unwrap_or_default(), out)?;
                next = end + 1;
            }
            out.push(")", at);
            return Ok(next);
        }
        "CAST" => {
            let split_at = (0..inner.len())
                .rev()
                .find(|&j| inner[j].word() == "AS")
                .ok_or_else(|| OraError::new(905, "missing keyword").at(at))?;
            out.push("CAST(", at);
            emit(&inner[..split_at], out)?;
            let (declared, _) = declare::parse_type(inner, split_at + 1)?;
            out.push(&format!("AS {})", declared.cast()), at);
            return Ok(close + 1);
        }
        "TO_TIMESTAMP" if is_fine(inner) => out.push("to_timestamp9", at),
        "TO_CHAR" | "TO_DATE" | "TO_TIMESTAMP" | "TO_TIMESTAMP_TZ" | "TO_NUMBER" | "TO_CLOB"
        | "TO_NCLOB" | "TO_BLOB" | "TO_BINARY_DOUBLE" | "TO_BINARY_FLOAT" | "TRUNC" | "ROUND"
        | "LENGTHB" | "SUBSTRB" | "DUMP" | "VSIZE" | "SYS_EXTRACT_UTC" | "FROM_TZ" | "HEXTORAW"
        | "RAWTOHEX" | "CHARTOROWID" | "ROWIDTOCHAR" | "SYS_CONTEXT" | "USERENV" | "ORA_HASH"
        | "NUMTODSINTERVAL" | "NUMTOYMINTERVAL" | "TO_DSINTERVAL" | "TO_YMINTERVAL"
        | "SYS_GUID" | "STANDARD_HASH" | "ADD_MONTHS" | "LAST_DAY" | "MONTHS_BETWEEN"
        | "TO_NCHAR" | "TIMESTAMP_TO_SCN" | "SCN_TO_TIMESTAMP" | "XMLTYPE" => {
            // The stand-in's own, where it has one; else orafce's.
            out.push(&word.to_lowercase(), at);
        }
        "SYSTIMESTAMP" | "CURRENT_TIMESTAMP" => {
            out.push("zoned9(clock_timestamp())", at);
            return Ok(close + 1);
        }
        _ => out.push(&name_of_function(word), at),
    }
    Ok(i + 1)
}

/// Whether a format asks for more of a second than PostgreSQL's microseconds.
fn is_fine(arguments: &[Token]) -> bool {
    match split(arguments, ",").get(1) {
        Some([Token { kind: Kind::Text(format), .. }]) => {
            let format = format.to_uppercase();
            ["FF7", "FF8", "FF9"].iter().any(|fine| format.contains(fine))
        }
        _ => false,
    }
}

fn name_of_function(word: &str) -> String {
    if word.contains('#') { quote(&word.to_lowercase()) } else { word.to_lowercase() }
}
