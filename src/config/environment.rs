//! `${NAME}` and `${NAME:-default}` in the values of a configuration file.
//!
//! They mean what they mean in a shell and in `docker compose`. `$NAME` without braces is a mistake: in a path or a terminal event
//! it could also be meant literally.

use std::ffi::OsString;

use super::values::Problem;

/// Looks up an environment variable; `None` if it is not set.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

const REMEDY: &str = "write `${NAME}` or `${NAME:-default}`, or `$$` for a dollar sign";

/// Replaces variables by their values; `None` if the text has no `$`.
///
/// The result is text. The value of a variable cannot become a list, a mapping or another variable.
pub fn expand(text: &str, variables: Variables) -> Result<Option<String>, Problem> {
    if !text.contains('$') {
        return Ok(None);
    }
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(reference) = after.strip_prefix('{') {
            let (reference, after) = reference
                .split_once('}')
                .ok_or_else(|| Problem::new(format!("`${{{reference}` has no `}}` at its end"), REMEDY))?;
            expanded.push_str(&value_of(reference, variables)?);
            rest = after;
        } else if let name = name_at_start(after)
            && !name.is_empty()
        {
            let problem = format!("`${name}` could be an environment variable, or be meant literally");
            let remedy = format!("write `${{{name}}}` for the variable, or `$${name}` for these characters");
            return Err(Problem::new(problem, remedy));
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(Some(expanded))
}

/// The value of a variable. `reference` is the text between the braces.
fn value_of(reference: &str, variables: Variables) -> Result<String, Problem> {
    let name = name_at_start(reference);
    let default = match &reference[name.len()..] {
        "" => None,
        operator => match operator.strip_prefix(":-") {
            Some(default) => Some(literal(default)?),
            None => return not_a_reference(reference),
        },
    };
    if name.is_empty() {
        return not_a_reference(reference);
    }
    let value = variables(name).map(OsString::into_string).transpose().map_err(|_| {
        Problem::new(format!("the environment variable `{name}` is not UTF-8"), "set it to text")
    })?;
    match (value, default) {
        // As in a shell, a default also replaces an empty value.
        (Some(value), default) if default.is_none() || !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default),
        (_, None) => {
            let problem = format!("the environment variable `{name}` is not set");
            let remedy = format!("set it, or give a default, such as `${{{name}:-default}}`");
            Err(Problem::new(problem, remedy))
        }
    }
}

/// A default is literal text, in which `$$` stands for `$`.
fn literal(default: &str) -> Result<String, Problem> {
    let text = expand(default, &|_| None).map_err(|_| {
        let problem = format!("the default `{default}` has another variable in it");
        Problem::new(problem, "write plain text as default, with `$$` for a dollar sign")
    })?;
    Ok(text.unwrap_or_else(|| default.to_owned()))
}

fn not_a_reference<T>(reference: &str) -> Result<T, Problem> {
    let problem = format!("`${{{reference}}}` is not a variable");
    Err(Problem::new(problem, REMEDY))
}

/// The variable name at the start of a text (POSIX.1, 3.235); empty if there is none.
fn name_at_start(text: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}
