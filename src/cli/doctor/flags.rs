//! Values of the doctor's flags.

use std::time::Duration;

use sidestream::doctor::probe::Override;

/// Streams of the origin last no longer than an hour.
const IDLE_AT_MOST: Duration = Duration::from_secs(55 * 60);

/// `Name: value`, as curl takes it.
pub fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write `Name: value`")?;
    let is_name = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
    let is_value = http::HeaderValue::from_str(value.trim()).is_ok();
    match (is_name, is_value) {
        (true, true) => Ok((name.to_owned(), value.trim().to_owned())),
        (false, _) => Err(format!("`{name}` is not the name of a field")),
        (true, false) => Err(format!("the value of `{name}` has characters that no field may have")),
    }
}

/// `HOST:PORT:ADDRESS`, as curl takes it.
pub fn resolve(text: &str) -> Result<Override, String> {
    let parts = || {
        let (host, rest) = text.split_once(':')?;
        let (port, address) = rest.split_once(':')?;
        let address = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        Some(Override { host: host.to_owned(), port: port.parse().ok()?, address })
    };
    parts().ok_or_else(|| "write `HOST:PORT:ADDRESS`, such as `chat.example.com:443:10.0.0.9`".to_owned())
}

/// A duration with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be longer than nothing".to_owned()),
        Ok(duration) if duration > IDLE_AT_MOST => Err("it must not be longer than 55m".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write a number and a unit, such as `90s` or `10m`".to_owned()),
    }
}
