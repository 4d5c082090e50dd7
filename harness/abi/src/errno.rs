//! Error numbers by name.

use std::fmt;
use std::str::FromStr;

/// An error number of Linux, positive. `include/uapi/asm-generic/errno-base.h` and `errno.h`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Errno(pub u16);

macro_rules! errnos {
    ($($name:ident = $number:literal),* $(,)?) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                pub const $name: Self = Self($number);
            )*

            const NAMES: &[(&str, Self)] = &[$((stringify!($name), Self($number))),*];
        }
    };
}

errnos! {
    EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8,
    EBADF = 9, ECHILD = 10, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EFAULT = 14, ENOTBLK = 15,
    EBUSY = 16, EEXIST = 17, EXDEV = 18, ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22,
    ENFILE = 23, EMFILE = 24, ENOTTY = 25, ETXTBSY = 26, EFBIG = 27, ENOSPC = 28, ESPIPE = 29,
    EROFS = 30, EMLINK = 31, EPIPE = 32, EDOM = 33, ERANGE = 34, EDEADLK = 35, ENAMETOOLONG = 36,
    ENOSYS = 38, ENOTEMPTY = 39, ELOOP = 40, EOVERFLOW = 75, ENOTSOCK = 88, EOPNOTSUPP = 95, ETIMEDOUT = 110,
    ESTALE = 116, EDQUOT = 122, ECANCELED = 125,
}

impl Errno {
    /// The error in a raw return value of the kernel, where -4095..=-1 stands for one.
    pub fn from_return(value: i64) -> Option<Self> {
        if (-4095..0).contains(&value) { u16::try_from(-value).ok().map(Self) } else { None }
    }
}

impl fmt::Display for Errno {
    /// The name, or `errno(N)` where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, errno)| errno == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "errno({})", self.0),
        }
    }
}

impl FromStr for Errno {
    type Err = ();

    /// Takes what `Display` writes.
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some((_, errno)) = Self::NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*errno);
        }
        let number =
            text.strip_prefix("errno(").and_then(|rest| rest.strip_suffix(')')).ok_or(())?;
        match number.parse() {
            Ok(number @ 1..=4095) => Ok(Self(number)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_print_and_parse() {
        for number in 1..=4095 {
            let errno = Errno(number);
            assert_eq!(errno.to_string().parse(), Ok(errno));
        }
    }

    #[test]
    fn only_the_error_range_is_an_error() {
        assert_eq!(Errno::from_return(-16), Some(Errno::EBUSY));
        assert_eq!(Errno::from_return(0), None);
        assert_eq!(Errno::from_return(-4096), None);
    }
}
