//! Names as Oracle keeps them: a name in the configuration folds to upper case, as in SQL, unless
//! it is quoted or could not stand unquoted.

/// The parts of a configured name, `table` or `schema.table`, as the dictionary has them.
pub(super) fn parts(configured: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let (mut part, mut quoted, mut quote) = (String::new(), false, None);
    for c in configured.chars() {
        match (quote, c) {
            (None, '"' | '`') if part.is_empty() && !quoted => {
                quote = Some(c);
                quoted = true;
            }
            (Some(q), c) if c == q => quote = None,
            (None, '.') => {
                parts.push(folded(std::mem::take(&mut part), quoted));
                quoted = false;
            }
            (_, c) => part.push(c),
        }
    }
    parts.push(folded(part, quoted));
    parts
}

fn folded(part: String, quoted: bool) -> String {
    let plain = part.starts_with(|c: char| c.is_ascii_alphabetic())
        && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '#'));
    if plain && !quoted { part.to_ascii_uppercase() } else { part }
}
