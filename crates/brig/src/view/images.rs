//! Images in lists: `images` and `history`.

use docker_types::{size, time};
use engine::images::HistoryEntry;
use engine::model::Image;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::format::{Columns, Row};
use super::{ellipsis, short_id};

/// What `images --format` may name.
pub(crate) const COLUMNS: Columns = Columns {
    headings: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
    type_name: "formatter.imageContext",
};

/// The normal table.
pub(crate) const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
/// The normal table with `--digests`.
pub(crate) const TABLE_WITH_DIGESTS: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

/// What `history --format` may name.
pub(crate) const HISTORY_COLUMNS: Columns = Columns {
    headings: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    type_name: "image.historyContext",
};

/// The normal table of `history`.
pub(crate) const HISTORY_TABLE: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

/// What stands where there is no name.
const NONE: &str = "<none>";
/// Digits of a cut command in `history`.
const COMMAND_WIDTH: usize = 45;

/// The names of one row of `images`: repository, tag, digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// `debian`, or `<none>`.
    pub(crate) repository: String,
    /// `12`, or `<none>`.
    pub(crate) tag: String,
    /// `sha256:…`, or `<none>`.
    pub(crate) digest: String,
}

/// Returns the rows' names of an image: one a tag, with `digests` one a digest of its repository too.
pub(crate) fn names(image: &Image, digests: bool) -> Vec<Names> {
    let none = || NONE.to_owned();
    let mut rows = Vec::new();
    for tag in &image.tags {
        let repository = tag.familiar_name();
        let name = tag.tag.clone().unwrap_or_else(none);
        let own: Vec<String> = image
            .digests
            .iter()
            .filter(|reference| digests && reference.familiar_name() == repository)
            .filter_map(|reference| reference.digest.as_ref().map(ToString::to_string))
            .collect();
        if own.is_empty() {
            rows.push(Names { repository, tag: name, digest: none() });
            continue;
        }
        rows.extend(own.into_iter().map(|digest| Names {
            repository: repository.clone(),
            tag: name.clone(),
            digest,
        }));
    }
    for reference in &image.digests {
        let repository = reference.familiar_name();
        if !image.tags.iter().any(|tag| tag.familiar_name() == repository) {
            let digest = reference.digest.as_ref().map_or_else(none, ToString::to_string);
            rows.push(Names { repository, tag: none(), digest });
        }
    }
    if rows.is_empty() {
        rows.push(Names { repository: none(), tag: none(), digest: none() });
    }
    rows.dedup();
    rows
}

/// Makes a row of `images`.
pub(crate) fn row(image: &Image, names: &Names, no_trunc: bool, now: Timestamp, zone: &TimeZone) -> Row {
    let id = image.id.to_string();
    let bytes = size::human(i64::try_from(image.size).unwrap_or(i64::MAX));
    let since = image.created.map_or_else(|| "N/A".to_owned(), |stamp| time::ago(stamp, now));
    let at = image.created.map_or_else(|| "N/A".to_owned(), |stamp| time::created_at(stamp, zone));
    let mut row = Row::new([
        ("Containers", image.containers.to_string()),
        ("CreatedAt", at),
        ("CreatedSince", since),
        ("Digest", names.digest.clone()),
        ("ID", if no_trunc { id } else { short_id(&id).to_owned() }),
        ("Repository", names.repository.clone()),
        ("SharedSize", "N/A".to_owned()),
        ("Size", bytes.clone()),
        ("Tag", names.tag.clone()),
        ("UniqueSize", "N/A".to_owned()),
        ("VirtualSize", bytes),
    ]);
    row.labels.clone_from(&image.config.config.labels);
    row
}

/// How `history` is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HistoryStyle {
    /// Whole ids and commands.
    pub(crate) no_trunc: bool,
    /// Sizes and times for people.
    pub(crate) human: bool,
}

/// Makes a row of `history`.
pub(crate) fn history_row(entry: &HistoryEntry, style: HistoryStyle, now: Timestamp) -> Row {
    let id = entry.id.as_ref().map_or_else(|| "<missing>".to_owned(), ToString::to_string);
    let by = entry.created_by.replace(['\t', '\n'], " ");
    let stamp: Option<Timestamp> = entry.created.as_deref().and_then(|text| text.parse().ok());
    let at = stamp.map_or_else(|| "N/A".to_owned(), |stamp| stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let since = match style.human {
        true => stamp.map_or_else(|| "N/A".to_owned(), |stamp| time::ago(stamp, now)),
        false => at.clone(),
    };
    let bytes = i64::try_from(entry.size).unwrap_or(i64::MAX);
    Row::new([
        ("Comment", entry.comment.clone()),
        ("CreatedAt", at),
        ("CreatedBy", if style.no_trunc { by } else { ellipsis(&by, COMMAND_WIDTH) }),
        ("CreatedSince", since),
        ("ID", if style.no_trunc || id.starts_with('<') { id } else { short_id(&id).to_owned() }),
        ("Size", if style.human { size::human(bytes) } else { bytes.to_string() }),
    ])
}
