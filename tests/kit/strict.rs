//! Parses requests like the strictest server: anything ambiguous is an error.

/// A request with only one possible interpretation.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether `Connection` lists this option.
    fn nominates(&self, option: &str) -> bool {
        let values = self.values("connection");
        let mut options = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        options.any(|named| named.eq_ignore_ascii_case(option))
    }
}

/// Parses a request head. `Ok(None)` means that more bytes are needed. Otherwise returns the request without
/// its body, and the length of the head.
pub fn head(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return check_lines(bytes).map(|()| None);
    };
    let head = &bytes[..end];
    check_lines(head)?;
    // Values may contain non-ASCII bytes (RFC 9110, 5.5). Names and methods with them are rejected as
    // non-tokens.
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = first[..] else { return Err(format!("request line {first:?}")) };
    if !is_token(method) || target.is_empty() || target.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(format!("request line {first:?}"));
    }
    if !target.starts_with('/') && target != "*" {
        return Err(format!("target {target}"));
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("field {line:?}"))?;
        if !is_token(name) || value.bytes().any(|b| b < b' ' && b != b'\t') {
            return Err(format!("field {line:?}"));
        }
        fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let request = Request { method: method.to_owned(), target: target.to_owned(), fields, body: Vec::new() };
    if request.values("host").len() != 1 {
        return Err(format!("hosts {:?}", request.values("host")));
    }
    // RFC 9110, 7.8: without the connection option, a recipient that does not know Upgrade could forward it.
    if !request.values("upgrade").is_empty() && !request.nominates("upgrade") {
        return Err(format!("an upgrade that is not nominated: {:?}", request.values("upgrade")));
    }
    Ok(Some((request, end + 4)))
}

/// Parses one request. `Ok(None)` means that more bytes are needed. Otherwise returns the request and its
/// length.
pub fn read(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some((mut request, end)) = head(bytes)? else { return Ok(None) };
    let (lengths, codings) = (request.values("content-length"), request.values("transfer-encoding"));
    let rest = &bytes[end..];
    let (body, used) = match (&lengths[..], &codings[..]) {
        ([], []) => (Vec::new(), 0),
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| format!("length {length}"))?;
            let Some(body) = rest.get(..length) else { return Ok(None) };
            (body.to_vec(), length)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => match chunks(rest)? {
            Some(chunks) => chunks,
            None => return Ok(None),
        },
        _ => return Err(format!("lengths {lengths:?}, codings {codings:?}")),
    };
    request.body = body;
    Ok(Some((request, end + used)))
}

/// Rejects line ends other than CRLF, NUL bytes and folded lines.
fn check_lines(head: &[u8]) -> Result<(), String> {
    for (at, byte) in head.iter().enumerate() {
        let next = head.get(at + 1);
        let is_bad = match byte {
            0 => true,
            b'\r' => next.is_some_and(|b| *b != b'\n'),
            b'\n' => at == 0 || head[at - 1] != b'\r' || next.is_some_and(|b| matches!(b, b' ' | b'\t')),
            _ => false,
        };
        if is_bad {
            return Err(format!("byte {byte:#x} at {at} of {:?}", String::from_utf8_lossy(head)));
        }
    }
    Ok(())
}

fn is_token(name: &str) -> bool {
    let is_tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(is_tchar)
}

/// The error for a body with trailers. Only the recipient knows which trailers are safe to trust (RFC 9110,
/// 6.5.1).
pub const TRAILERS: &str = "trailers";

/// Parses a chunked body without extensions and trailers.
fn chunks(mut bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut used) = (Vec::new(), 0);
    loop {
        let Some(line) = bytes.windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
        let size = &bytes[..line];
        if size.is_empty() || size.len() > 8 || !size.iter().all(u8::is_ascii_hexdigit) {
            return Err(format!("chunk size {:?}", String::from_utf8_lossy(size)));
        }
        let size = usize::from_str_radix(&String::from_utf8_lossy(size), 16).map_err(|e| e.to_string())?;
        let Some(data) = bytes.get(line + 2..line + 4 + size) else { return Ok(None) };
        if size == 0 && data != b"\r\n" {
            return Err(TRAILERS.to_owned());
        }
        if !data.ends_with(b"\r\n") {
            return Err(format!("the end of a chunk of {size}"));
        }
        body.extend_from_slice(&data[..size]);
        bytes = &bytes[line + 4 + size..];
        used += line + 4 + size;
        if size == 0 {
            return Ok(Some((body, used)));
        }
    }
}
