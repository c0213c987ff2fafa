//! Names of containers: which are allowed, and new ones made from two words.

use base::{ErrorKind, Kinded};

/// The text may not be a container's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct NameError(pub String);

impl Kinded for NameError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Checks a container's name: a letter or digit, then one or more letters, digits, `_`, `.`, `-`. A leading slash is dropped.
pub fn check(text: &str) -> Result<&str, NameError> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let mut bytes = name.bytes();
    let valid = name.len() > 1
        && name.len() <= 255
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if valid { Ok(name) } else { Err(NameError(text.to_owned())) }
}

/// What a ship, its crew or its weather can be.
const LEFT: [&str; 96] = [
    "able", "agile", "airy", "amber", "ample", "azure", "balmy", "bold", "brassy", "brave", "breezy",
    "bright", "brisk", "bronze", "buoyant", "calm", "candid", "careful", "cheery", "civil", "clear",
    "clever", "cobalt", "coral", "crisp", "daring", "dashing", "deft", "eager", "early", "earnest",
    "easterly", "even", "fair", "faithful", "fearless", "fleet", "fluent", "foamy", "frank", "free", "fresh",
    "gallant", "gentle", "gilded", "glad", "golden", "grand", "hale", "handy", "happy", "hardy", "hearty",
    "honest", "humble", "ivory", "jaunty", "jolly", "keen", "kind", "lively", "loyal", "lucid", "lucky",
    "mellow", "merry", "mighty", "misty", "modest", "neat", "nimble", "noble", "northern", "patient",
    "plucky", "polished", "prompt", "proud", "quick", "quiet", "ready", "robust", "rolling", "salty",
    "sandy", "serene", "silver", "sincere", "southern", "spry", "steady", "sturdy", "sunny", "swift", "tidy",
    "trusty",
];

/// What sails, what is aboard and what lives at sea.
const RIGHT: [&str; 112] = [
    "albatross",
    "anchor",
    "anemone",
    "atoll",
    "ballast",
    "barge",
    "bark",
    "barnacle",
    "beacon",
    "binnacle",
    "boatswain",
    "bollard",
    "boom",
    "bosun",
    "bowline",
    "bowsprit",
    "bulkhead",
    "bulwark",
    "buoy",
    "cable",
    "canoe",
    "capstan",
    "captain",
    "caravel",
    "cargo",
    "cay",
    "channel",
    "chart",
    "cleat",
    "clipper",
    "coaster",
    "cod",
    "compass",
    "conch",
    "cormorant",
    "cove",
    "crab",
    "current",
    "cutter",
    "davit",
    "deckhand",
    "dhow",
    "dinghy",
    "dolphin",
    "dory",
    "estuary",
    "fathom",
    "felucca",
    "fender",
    "ferry",
    "figurehead",
    "fjord",
    "flotilla",
    "frigate",
    "gaff",
    "galleon",
    "galley",
    "gannet",
    "grouper",
    "gull",
    "halyard",
    "harbour",
    "haven",
    "helm",
    "heron",
    "herring",
    "hull",
    "jetty",
    "jib",
    "junk",
    "kelp",
    "ketch",
    "keel",
    "knot",
    "lagoon",
    "lanyard",
    "lighthouse",
    "lobster",
    "lugger",
    "mackerel",
    "mainsail",
    "manatee",
    "mariner",
    "mast",
    "mizzen",
    "mooring",
    "narwhal",
    "navigator",
    "nautilus",
    "oar",
    "otter",
    "pelican",
    "petrel",
    "pier",
    "pilot",
    "porpoise",
    "puffin",
    "quay",
    "reef",
    "rudder",
    "sandpiper",
    "schooner",
    "seal",
    "sextant",
    "skiff",
    "sloop",
    "spinnaker",
    "tern",
    "tiller",
    "trawler",
    "walrus",
    "yawl",
];

/// Makes a name of two words from `random`; `retry` counts how often the caller found it taken and adds a digit from the first.
pub fn generate(random: u64, retry: u8) -> String {
    let left = LEFT[usize::try_from(random % LEFT.len() as u64).unwrap_or(0)];
    let right = RIGHT[usize::try_from((random >> 32) % RIGHT.len() as u64).unwrap_or(0)];
    if retry == 0 { format!("{left}_{right}") } else { format!("{left}_{right}{retry}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["web", "a1", "A_b.c-d", "/web"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", "a", "-a", "_a", "a b", "a/b", "é1", &"a".repeat(256)] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn generated_names_are_valid_and_repeatable() {
        for random in [0, 1, u64::MAX, 0xdead_beef_1234_5678] {
            let name = generate(random, 0);
            assert_eq!(name, generate(random, 0));
            assert!(check(&name).is_ok());
            assert!(check(&generate(random, 7)).is_ok());
        }
        let mut words: Vec<&str> = LEFT.iter().chain(&RIGHT).copied().collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), LEFT.len() + RIGHT.len());
    }
}
