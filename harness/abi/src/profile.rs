//! API profiles: what the feature under test is called and which numbers it has.

use crate::InitFlags;

/// A profile as a file: the interface is still moving upstream, so its numbers are data.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiProfile {
    /// One line: what this profile is.
    pub summary: String,
    /// What the C headers call the flag.
    pub init_flag_name: String,
    /// The numbers.
    pub values: ApiValues,
}

impl ApiProfile {
    /// Reads a profile from TOML.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

/// The numbers of a profile, which is what travels into the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiValues {
    /// The flag of `fanotify_init(2)` that makes a group restartable.
    pub init_flag: u32,
    /// The request of `ioctl(2)` that opens the queue.
    pub open_queue_ioctl: u32,
}

impl ApiValues {
    /// The 32 bits that `fanotify_init(2)` is given for these flags.
    pub fn init_bits(self, flags: InitFlags) -> u32 {
        let named = flags.bits() as u32;
        if flags.contains(InitFlags::RESTARTABLE) { named | self.init_flag } else { named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_and_a_misspelt_key_is_not() {
        let text =
            "summary = 's'\ninit_flag_name = 'F'\n[values]\ninit_flag = 1\nopen_queue_ioctl = 2\n";
        let profile = ApiProfile::parse(text).expect("a profile");
        assert_eq!(profile.values, ApiValues { init_flag: 1, open_queue_ioctl: 2 });
        assert!(ApiProfile::parse(&text.replace("summary", "sumary")).is_err());
    }

    #[test]
    fn the_symbolic_flag_becomes_the_profiles_bit() {
        let values = ApiValues { init_flag: 0x8000, open_queue_ioctl: 0x46f0 };
        let flags = InitFlags::RESTARTABLE | InitFlags::CLASS_CONTENT;
        assert_eq!(values.init_bits(flags), 0x8004);
        assert_eq!(values.init_bits(InitFlags::CLASS_CONTENT), 0x0004);
    }
}
