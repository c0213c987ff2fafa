//! Which numbers of users and groups a plain user may give to containers: `/etc/subuid` and `/etc/subgid`.

use std::ffi::OsString;
use std::path::PathBuf;

/// A stretch of subordinate numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    first: u32,
    count: u32,
}

/// Parses a file of lines `NAME:FIRST:COUNT` and returns the ranges of the user called `name` or numbered `id`.
///
/// Source: subuid(5). Lines that are none are passed over, as newuidmap(1) does.
pub(super) fn parse_ranges(text: &str, name: Option<&str>, id: u32) -> Vec<Range> {
    let number = id.to_string();
    let range = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?.trim();
        let (first, count) = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        (owner == number || name == Some(owner)).then_some(Range { first, count })
    };
    text.lines().filter_map(range).filter(|range| range.count > 0).collect()
}

/// Returns the name of the user `uid` in the text of `/etc/passwd`.
pub(super) fn parse_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then_some(name)
    })
}

/// The mapping of a namespace as triples of first number inside, first number outside, count: root inside is the user
/// itself, the subordinate numbers follow from 1 on.
pub(super) fn mapping(id: u32, ranges: &[Range]) -> Vec<[u32; 3]> {
    let mut next = 1_u32;
    let mut list = vec![[0, id, 1]];
    for range in ranges {
        let Some(after) = next.checked_add(range.count) else { break };
        list.push([next, range.first, range.count]);
        next = after;
    }
    list
}

/// The arguments of newuidmap(1) and newgidmap(1).
pub(super) fn arguments(pid: i32, mapping: &[[u32; 3]]) -> Vec<String> {
    let numbers = mapping.iter().flatten().map(u32::to_string);
    std::iter::once(pid.to_string()).chain(numbers).collect()
}

/// The highest number from which down to 0 every number is mapped.
pub(crate) fn highest(map: &str) -> Option<u32> {
    let mut lines: Vec<(u32, u32)> = map
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?.parse().ok()?, fields.nth(1)?.parse().ok()?))
        })
        .collect();
    lines.sort_unstable();
    let mut next = 0_u32;
    for (first, count) in lines {
        if first != next {
            break;
        }
        next = next.saturating_add(count);
    }
    next.checked_sub(1)
}

/// Cuts the lines of a map where those of `own`, the map of the namespace that it is written in, begin: the kernel takes no
/// line that reaches over two of them.
pub(super) fn split(map: &[[u32; 3]], own: &str) -> Vec<[u32; 3]> {
    let starts = own.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    let mut starts: Vec<u32> = starts.collect();
    starts.sort_unstable();
    let mut list = Vec::new();
    for [inside, outside, count] in map.iter().copied() {
        let (mut inside, mut outside, mut left) = (inside, outside, count);
        for start in &starts {
            if *start > outside && start - outside < left {
                let length = start - outside;
                list.push([inside, outside, length]);
                (inside, outside, left) = (inside + length, *start, left - length);
            }
        }
        list.push([inside, outside, left]);
    }
    list
}

/// What root of a map is called outside.
pub(super) fn outside_of_root(map: &str) -> u32 {
    let mut lines = map.lines().map(|line| line.split_whitespace().map(str::parse::<u32>));
    let root = lines.find_map(|mut fields| match (fields.next(), fields.next()) {
        (Some(Ok(0)), Some(Ok(outside))) => Some(outside),
        _ => None,
    });
    root.unwrap_or(0)
}

/// Finds a program in the folders of `path`.
pub(super) fn find_program(name: &str, path: Option<OsString>) -> Option<PathBuf> {
    // These stand where users' paths often do not lead.
    let more = ["/usr/bin", "/usr/sbin", "/sbin", "/bin"].map(PathBuf::from);
    let folders: Vec<PathBuf> = std::env::split_paths(&path.unwrap_or_default()).chain(more).collect();
    folders
        .into_iter()
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text =
            "root:1:2\nme:100000:65536\n\n# me:7:7\n1000:300000:10\nme:x:1\nme:5\nme:9:0\nyou:200000:65536\n";
        let found = parse_ranges(text, Some("me"), 1000);
        assert_eq!(found, [Range { first: 100_000, count: 65_536 }, Range { first: 300_000, count: 10 }]);
        assert_eq!(parse_ranges(text, None, 1000), [Range { first: 300_000, count: 10 }]);
        assert!(parse_ranges("", Some("me"), 1000).is_empty());
    }

    #[test]
    fn root_inside_is_the_user_and_the_rest_follows() {
        let ranges = [Range { first: 100_000, count: 65_536 }, Range { first: 300_000, count: 10 }];
        let map = mapping(1000, &ranges);
        assert_eq!(map, [[0, 1000, 1], [1, 100_000, 65_536], [65_537, 300_000, 10]]);
        assert_eq!(arguments(7, &map).join(" "), "7 0 1000 1 1 100000 65536 65537 300000 10");
        assert_eq!(mapping(5, &[Range { first: 9, count: u32::MAX }]), [[0, 5, 1]]);
    }

    #[test]
    fn maps_of_the_kernel_are_read() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(highest(map), Some(65_536));
        assert_eq!(outside_of_root(map), 1000);
        assert_eq!(highest("5 100 10\n"), None);
        assert_eq!(highest("0 0 4294967295\n"), Some(u32::MAX - 1));
    }

    #[test]
    fn lines_are_cut_where_those_of_the_namespace_begin() {
        let own = "0 1000 1\n1 100000 65536\n65537 300000 10\n";
        assert_eq!(split(&[[0, 0, 65_547]], own), [[0, 0, 1], [1, 1, 65_536], [65_537, 65_537, 10]]);
        assert_eq!(split(&[[5, 0, 1], [6, 7, 3]], own), [[5, 0, 1], [6, 7, 3]]);
        assert_eq!(split(&[[0, 0, u32::MAX]], "0 0 4294967295\n"), [[0, 0, u32::MAX]]);
    }

    #[test]
    fn names_are_found_by_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nme:x:1000:1000::/home/me:/bin/sh\n";
        assert_eq!(parse_name(passwd, 1000), Some("me"));
        assert_eq!(parse_name(passwd, 1), None);
    }
}
