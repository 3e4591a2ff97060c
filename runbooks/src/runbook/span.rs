//! Lengths of time as a file writes them: `250ms`, `90s`, `12m`, `2h`, `7d`. One number, one unit, nothing else.

/// Milliseconds of a written length of time; `None` when it is not one.
pub(super) fn millis(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(per_unit)
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn a_number_and_a_unit_are_a_length_of_time() {
        assert_eq!(millis("250ms"), Some(250));
        assert_eq!(millis("90s"), Some(90_000));
        assert_eq!(millis("12m"), Some(720_000));
        assert_eq!(millis("0s"), Some(0));
        assert_eq!(millis("7d"), Some(604_800_000));
    }

    #[test]
    fn anything_else_is_not() {
        for text in
            ["", "12", "m", "-1s", "1.5h", "12 m", "12min", "99999999999999999999d", "18446744073709551615s"]
        {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
