//! Times on the command line.

use std::time::Duration;

/// A time as it is typed.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("expected a time like `90s`, `5m` or `1h`".to_owned()),
    };
    let number: u32 = digits.parse().map_err(|_| format!("`{digits}` is no whole number"))?;
    Ok(Duration::from_secs(u64::from(number) * unit))
}
