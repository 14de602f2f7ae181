//! `${NAME}` and `${NAME:-default}` in the values of a configuration file.
//!
//! What stands there is what a shell, `docker compose` and `envsubst` make of it. `$NAME` without braces is none of it: in a path
//! or a terminal event it could as well be meant as it stands.

use std::ffi::OsString;

use super::values::Problem;

/// Looks up a variable of the environment.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

const REMEDY: &str = "write `${NAME}` or `${NAME:-default}`, or `$$` where a dollar sign itself is meant";

/// Puts in the values of variables; `None`: there is nothing to put in.
///
/// What comes out is text and nothing else, whatever a variable holds: it cannot become a list, a mapping or another variable.
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
            let problem =
                format!("`${name}` could be a variable of the environment, or be meant as it stands");
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

/// `reference`: what stands between the braces.
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
        // As in a shell, an empty one is as good as none where there is a default.
        (Some(value), default) if default.is_none() || !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default),
        (_, None) => {
            let problem = format!("the environment variable `{name}` is not set");
            let remedy = format!("set it, or give a default, such as `${{{name}:-default}}`");
            Err(Problem::new(problem, remedy))
        }
    }
}

/// A default is text, in which `$$` stands for `$` as everywhere.
fn literal(default: &str) -> Result<String, Problem> {
    let text = expand(default, &|_| None).map_err(|_| {
        let problem = format!("the default `{default}` has another variable in it");
        Problem::new(problem, "give a plain text as default, with `$$` where a dollar sign itself is meant")
    })?;
    Ok(text.unwrap_or_else(|| default.to_owned()))
}

fn not_a_reference<T>(reference: &str) -> Result<T, Problem> {
    let problem = format!("`${{{reference}}}` is not a variable as it is written here");
    Err(Problem::new(problem, REMEDY))
}

/// The name that a text begins with, as shells have them (POSIX.1, 3.235); empty if there is none.
fn name_at_start(text: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}
