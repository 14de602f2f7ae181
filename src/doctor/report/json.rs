//! The report as JSON. Users script against it: members may be added, and none is removed.

use serde_json::{Value, json};

use crate::doctor::judge::{Finding, PointSeen};

/// One object: the points, what each test has shown at each of them, and the findings.
pub fn json(points: &[PointSeen], findings: &[Finding]) -> Value {
    let named: Vec<_> = points.iter().map(|point| json!({ "name": point.name, "url": point.url })).collect();
    let tests: Vec<_> = points.iter().flat_map(tests).collect();
    rounded(json!({ "points": named, "tests": tests, "findings": findings }))
}

/// With three decimals: a microsecond is below the precision of the measurements.
pub fn rounded(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            json!(number.as_f64().map(|number| (number * 1000.0).round() / 1000.0))
        }
        Value::Array(values) => values.into_iter().map(rounded).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, rounded(value))).collect(),
        other => other,
    }
}

fn tests(point: &PointSeen) -> Vec<Value> {
    let (result, figures) = match &point.echo {
        Ok(echo) => {
            // Values may be secrets, so the report has only the names.
            let names: Vec<_> = echo.fields.iter().map(|(name, _)| name).collect();
            let (version, response) = (&echo.version, point.response_fields());
            let figures = json!({
                "origin_saw_version": version, "origin_saw_fields": names, "response_fields": response,
            });
            ("made", figures)
        }
        Err(why) => ("failed", json!({ "why": why })),
    };
    let fields = test("fields", &point.name, result, figures);
    let others = point.tests.iter().map(|(id, shown)| {
        let (result, figures) = match shown {
            Ok(shown) => ("made", json!(shown)),
            Err(failure) => ("failed", json!({ "why": failure.why })),
        };
        test(id, &point.name, result, figures)
    });
    std::iter::once(fields).chain(others).collect()
}

/// A test with its figures.
pub fn test(id: &str, point: &str, result: &str, figures: Value) -> Value {
    let mut test = json!({ "id": id, "point": point, "result": result });
    if let (Value::Object(test), Value::Object(figures)) = (&mut test, figures) {
        test.extend(figures);
    }
    test
}
