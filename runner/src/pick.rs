//! `pick!`: one shape of an enum.

/// The value of one shape, `None` for all others: `pick!(what, Observation::Busy(busy) => busy)`.
///
/// It asks for one shape on purpose. Code that does something about several of them is a `match` without `_`, which the
/// lint `wildcard_enum_match_arm` sees to in `engine`, `plan` and `judge`: a new variant doesn't compile before each such
/// place says what becomes of it.
macro_rules! pick {
    ($value:expr, $shape:pat $(if $guard:expr)? => $result:expr) => {
        match $value {
            $shape $(if $guard)? => Some($result),
            _ => None,
        }
    };
}
