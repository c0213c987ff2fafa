//! What comes out is what the archive says, to the last attribute.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::*;
use crate::files;
use crate::tar::{Kind, Member, Timestamp};
use crate::testing::{TarBuilder, is_machine_root, is_root, temporary_folder};

struct Layer {
    dir: PathBuf,
    unpacked: Unpacked,
}

impl Layer {
    fn new(archive: &[u8]) -> Self {
        Self::try_new(archive, &UnpackOptions::default())
            .unwrap_or_else(|e| panic!("{}", base::error::render_chain(&e)))
    }

    fn try_new(archive: &[u8], options: &UnpackOptions) -> Result<Self, UnpackError> {
        let dir = temporary_folder();
        let root = files::open_dir(&dir).unwrap();
        match unpack(archive, root.into(), Form::of_process(), options) {
            Ok((unpacked, _)) => Ok(Self { dir, unpacked }),
            Err(error) => {
                files::remove_tree(&dir).unwrap();
                Err(error)
            }
        }
    }

    fn meta(&self, path: &str) -> std::fs::Metadata {
        std::fs::symlink_metadata(self.dir.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.dir.join(path)).unwrap()
    }

    fn xattr(&self, path: &str, name: &str) -> Option<Vec<u8>> {
        let mut value = vec![0_u8; 256];
        let length = rustix::fs::lgetxattr(self.dir.join(path), name, value.as_mut_slice()).ok()?;
        value.truncate(length);
        Some(value)
    }

    fn is_whiteout(&self, path: &str) -> bool {
        let meta = self.meta(path);
        meta.file_type().is_char_device() && meta.rdev() == 0
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        let _ = files::remove_tree(&self.dir);
    }
}

#[test]
fn root_attributes_are_exact() {
    if !is_machine_root("root_attributes_are_exact") {
        return;
    }
    let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
    let capability = hex::decode("0100000200040000000000000000000000000000").unwrap();
    let caps =
        [(b"security.capability".to_vec(), capability.clone()), (b"user.note".to_vec(), b"n".to_vec())];
    let archive = TarBuilder::new()
        .member(Member { mtime: time(50, 5), mode: 0o711, uid: 7, ..Member::folder(b"./") }, b"")
        .member(Member { mtime: time(100, 1), mode: 0o2770, gid: 50, ..Member::folder(b"group") }, b"")
        .member(Member { mtime: time(1, 999_999_999), mode: 0o640, ..Member::file(b"group/plain", 1) }, b"1")
        .member(Member { mode: 0o4755, uid: 33, gid: 44, ..Member::file(b"group/setuid", 2) }, b"22")
        .member(Member { mode: 0o755, uid: 1000, xattrs: &caps, ..Member::file(b"ping", 1) }, b"p")
        .member(
            Member {
                kind: Kind::Symlink,
                link: b"nowhere",
                mtime: time(-7, 0),
                uid: 12,
                ..Member::file(b"link", 0)
            },
            b"",
        )
        .member(
            Member {
                kind: Kind::CharDevice,
                major: 5,
                minor: 300,
                mode: 0o620,
                gid: 5,
                ..Member::file(b"tty", 0)
            },
            b"",
        )
        .member(
            Member {
                kind: Kind::BlockDevice,
                major: 259,
                minor: 70_000,
                mode: 0o660,
                ..Member::file(b"disk", 0)
            },
            b"",
        )
        .member(Member { kind: Kind::Fifo, mode: 0o600, ..Member::file(b"group/fifo", 0) }, b"")
        .link(Kind::HardLink, "again", "group/setuid")
        .finish();
    let layer = Layer::new(&archive);
    let root = layer.meta(".");
    assert_eq!((root.mode() & 0o7777, root.uid(), root.mtime(), root.mtime_nsec()), (0o711, 7, 50, 5));
    let group = layer.meta("group");
    assert_eq!((group.mode() & 0o7777, group.gid(), group.mtime(), group.mtime_nsec()), (0o2770, 50, 100, 1));
    let plain = layer.meta("group/plain");
    assert_eq!((plain.mode() & 0o7777, plain.uid(), plain.gid()), (0o640, 0, 0), "no group inherited");
    assert_eq!((plain.mtime(), plain.mtime_nsec()), (1, 999_999_999));
    let setuid = layer.meta("group/setuid");
    assert_eq!((setuid.mode() & 0o7777, setuid.uid(), setuid.gid(), setuid.nlink()), (0o4755, 33, 44, 2));
    assert_eq!(setuid.ino(), layer.meta("again").ino());
    assert_eq!(layer.xattr("ping", "security.capability"), Some(capability));
    assert_eq!(layer.xattr("ping", "user.note"), Some(b"n".to_vec()));
    let link = layer.meta("link");
    assert_eq!((link.mtime(), link.uid(), link.file_type().is_symlink()), (-7, 12, true));
    let device = |path| {
        rustix::fs::major(layer.meta(path).rdev()) as u64 * 1_000_000
            + u64::from(rustix::fs::minor(layer.meta(path).rdev()))
    };
    assert_eq!((device("tty"), device("disk")), (5_000_300, 259_070_000));
    assert_eq!((layer.meta("tty").mode() & 0o7777, layer.meta("tty").gid()), (0o620, 5));
    assert!(layer.meta("group/fifo").file_type().is_fifo());
    assert_eq!((layer.unpacked.size, layer.unpacked.entries), (4, 10));
    assert!(layer.unpacked.has_root && layer.unpacked.implicit.is_empty());
}

#[test]
fn root_a_folders_time_survives_late_members() {
    if !is_root("root_a_folders_time_survives_late_members") {
        return;
    }
    let dated = |path: &'static [u8]| Member {
        mtime: Timestamp { seconds: 1000, nanoseconds: 7 },
        ..Member::folder(path)
    };
    let archive = TarBuilder::new()
        .member(dated(b"a"), b"")
        .member(dated(b"a/b"), b"")
        .member(dated(b"c"), b"")
        .file("a/b/late", "1")
        .file("c/late", "1")
        .file("a/late", "1")
        .file("c/late", "22")
        .finish();
    let layer = Layer::new(&archive);
    for path in ["a", "a/b", "c"] {
        assert_eq!((layer.meta(path).mtime(), layer.meta(path).mtime_nsec()), (1000, 7), "{path}");
    }
    assert_eq!(layer.read("c/late"), b"22");
}

#[test]
fn root_members_replace_each_other() {
    if !is_root("root_members_replace_each_other") {
        return;
    }
    let archive = TarBuilder::new()
        .folder("dir", 0o755)
        .file("dir/below/x", "1")
        .file("dir", "now a file")
        .file("file", "1")
        .folder("file", 0o750)
        .file("file/x", "2")
        .link(Kind::Symlink, "link", "file")
        .folder("link", 0o700)
        .file("link/y", "3")
        .file("long", "a long text")
        .file("long", "short")
        .folder("twice", 0o755)
        .file("twice/kept", "4")
        .folder("twice", 0o711)
        .finish();
    let layer = Layer::new(&archive);
    assert_eq!(layer.read("dir"), b"now a file");
    assert_eq!((layer.read("file/x"), layer.meta("file").mode() & 0o777), (b"2".to_vec(), 0o750));
    assert!(layer.meta("link").is_dir());
    assert_eq!((layer.read("long"), layer.read("twice/kept")), (b"short".to_vec(), b"4".to_vec()));
    assert_eq!(layer.meta("twice").mode() & 0o777, 0o711);
    assert!(layer.unpacked.implicit.is_empty(), "what was below a replaced folder is forgotten");
}

#[test]
fn root_whiteouts_concern_lower_layers_only() {
    if !is_root("root_whiteouts_concern_lower_layers_only") {
        return;
    }
    let archive = TarBuilder::new()
        .file("etc/.wh.gone", "")
        .file("own", "1")
        .file(".wh.own", "")
        .folder("owndir", 0o755)
        .file(".wh.owndir", "")
        .file(".wh.later", "")
        .file("later", "2")
        .file(".wh.laterdir", "")
        .folder("laterdir", 0o755)
        .file(".wh.implied", "")
        .file("implied/x", "3")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "4")
        .file(".wh..wh.plnk/1.2", "")
        .finish();
    let layer = Layer::new(&archive);
    let opaque = |path| layer.xattr(path, Form::of_process().opaque()).as_deref() == Some(b"y");
    assert!(layer.is_whiteout("etc/gone") && !opaque("etc"));
    assert_eq!((layer.read("own"), layer.read("later")), (b"1".to_vec(), b"2".to_vec()));
    assert!(opaque("owndir") && opaque("laterdir") && opaque("implied") && opaque("opaque"));
    assert!(!layer.dir.join(".wh..wh.plnk").exists());
    let implicit: Vec<_> =
        layer.unpacked.implicit.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect();
    assert_eq!(implicit, ["etc", "implied", "opaque"]);
}

/// A header block in GNU's own format.
fn gnu(name: &str, flag: u8, size: usize, change: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut block = [0_u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar  \0");
    change(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.to_vec()
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(512), 0);
    data
}

#[test]
fn root_gnu_long_names_and_sparse_files_are_read() {
    if !is_root("root_gnu_long_names_and_sparse_files_are_read") {
        return;
    }
    let long = format!("{}file", "folder/".repeat(40));
    let hole = 1 << 30;
    let sparse = gnu("sparse", b'S', 5, |block| {
        for (at, value) in [(386, hole), (398, 5), (410, hole + 9), (422, 0)] {
            block[at..at + 11].copy_from_slice(format!("{value:011o}").as_bytes());
        }
        block[483..494].copy_from_slice(format!("{:011o}", hole + 9).as_bytes());
    });
    let archive = [
        gnu("././@LongLink", b'L', long.len() + 1, |_| {}),
        padded(format!("{long}\0").as_bytes()),
        gnu("cut", b'0', 4, |_| {}),
        padded(b"long"),
        gnu("././@LongLink", b'K', 151, |_| {}),
        padded(&[b"t".repeat(150), vec![0]].concat()),
        gnu("symlink", b'2', 0, |_| {}),
        sparse,
        padded(b"data!"),
        gnu("old/", 0, 0, |block| block[257..265].fill(0)),
        gnu("after", b'0', 1, |_| {}),
        padded(b"x"),
        vec![0; 1024],
    ]
    .concat();
    let layer = Layer::new(&archive);
    assert_eq!(layer.read(&long), b"long");
    assert_eq!(std::fs::read_link(layer.dir.join("symlink")).unwrap(), Path::new(&"t".repeat(150)));
    let sparse = layer.meta("sparse");
    assert_eq!(sparse.len(), hole + 9);
    assert!(sparse.blocks() * 512 < 1 << 20, "holes stay holes");
    assert!(layer.meta("old").is_dir());
    assert_eq!(layer.read("after"), b"x");
}

/// A pax header with `records`, then a member.
fn pax(records: &[(&str, &str)], name: &str, data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in records {
        let base = key.len() + value.len() + 3;
        let length = (base..).find(|n| base + n.to_string().len() == *n).unwrap();
        text.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
    }
    let header = gnu("pax", b'x', text.len(), |block| block[257..265].copy_from_slice(b"ustar\x0000"));
    [header, padded(&text), gnu(name, b'0', data.len(), |_| {}), padded(data)].concat()
}

#[test]
fn root_pax_sparse_files_are_read() {
    if !is_root("root_pax_sparse_files_are_read") {
        return;
    }
    let one = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "one"),
        ("GNU.sparse.realsize", "9000"),
        ("path", "GNUSparseFile/one"),
    ];
    let map = padded(b"2\n0\n3\n8000\n4\n");
    let zero_one = [("GNU.sparse.size", "9000"), ("GNU.sparse.map", "0,3,8000,4")];
    let zero = [
        ("GNU.sparse.size", "9000"),
        ("GNU.sparse.offset", "0"),
        ("GNU.sparse.numbytes", "3"),
        ("GNU.sparse.offset", "8000"),
        ("GNU.sparse.numbytes", "4"),
    ];
    let archive = [
        pax(&one, "x", &[map, b"abcdefg".to_vec()].concat()),
        pax(&zero_one, "two", b"abcdefg"),
        pax(&zero, "three", b"abcdefg"),
        vec![0; 1024],
    ]
    .concat();
    let layer = Layer::new(&archive);
    for path in ["one", "two", "three"] {
        let data = layer.read(path);
        assert_eq!((data.len(), &data[..3], &data[8000..8004]), (9000, &b"abc"[..], &b"defg"[..]), "{path}");
    }
}

#[test]
fn root_absurd_headers_are_refused() {
    if !is_root("root_absurd_headers_are_refused") {
        return;
    }
    let check =
        |name: &str, archive: &[u8], wanted: &str| match Layer::try_new(archive, &UnpackOptions::default()) {
            Ok(_) => panic!("{name}: was not refused"),
            Err(error) => {
                let text = base::error::render_chain(&error);
                assert!(text.contains(wanted), "{name}: {text}");
            }
        };
    let limit = "limit of 1048576";
    check("long name", &gnu("x", b'L', 1 << 30, |_| {}), limit);
    check("long link", &gnu("x", b'K', (1 << 33) - 1, |_| {}), limit);
    check("pax", &gnu("x", b'x', 2 << 20, |_| {}), limit);
    check("global pax", &gnu("x", b'g', 2 << 20, |_| {}), limit);
    check("many headers", &[gnu("x", b'L', 4, |_| {}), padded(b"name")].concat().repeat(3000), limit);
    check("header without member", &[gnu("x", b'L', 4, |_| {}), padded(b"name")].concat(), "ends early");
    check("cut off", &gnu("x", b'0', 1000, |_| {}), "ends early");
    check("negative size", &gnu("x", b'0', 0, |block| block[124..136].fill(0xff)), "malformed size");
    check(
        "no number",
        &gnu("x", b'0', 0, |block| block[124..130].copy_from_slice(b"00zz00")),
        "malformed size",
    );
    check("unknown kind", &gnu("x", b'Z', 0, |_| {}), "unknown kind");
    check("sum", &gnu("x", b'0', 0, |_| {}).iter().map(|b| b ^ 1).collect::<Vec<_>>(), "checksum");
    check("huge size", &pax(&[("size", "18446744073709551615")], "x", b""), "limit of 9223372036854775807");
    check("no record", &pax(&[("path", "a\0b")], "x", b""), "malformed pax record");
    let map = [("GNU.sparse.size", "10"), ("GNU.sparse.map", "0,3,2,4")];
    check("overlapping map", &pax(&map, "x", b"abcdefg"), "sparse map");
    let map = [("GNU.sparse.size", "10"), ("GNU.sparse.map", "0,3,8,4")];
    check("map beyond the end", &pax(&map, "x", b"abcdefg"), "sparse map");
    let one = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9")];
    check("endless map", &pax(&one, "x", &padded(b"999999999\n")), "limit of 262144");
    check("map of blanks", &pax(&one, "x", &padded(b"  ")), "sparse map");
}

#[test]
fn root_what_is_kept_for_lower_layers_is_limited() {
    if !is_root("root_what_is_kept_for_lower_layers_is_limited") {
        return;
    }
    let options = UnpackOptions { deferred: 10_000, ..UnpackOptions::default() };
    let many = (0..200).fold(TarBuilder::new(), |tar, n| tar.file(&format!("folder{n}/x"), ""));
    let error = Layer::try_new(&many.finish(), &options).err().unwrap().to_string();
    assert!(error.contains("limit of 10000"), "{error}");
    let many = (0..200).fold(TarBuilder::new(), |tar, n| tar.link(Kind::HardLink, &format!("h{n}"), "lower"));
    assert!(Layer::try_new(&many.finish(), &options).is_err());
    let options =
        UnpackOptions { tar: Limits { entries: 5, ..Limits::default() }, ..UnpackOptions::default() };
    let six = (0..6).fold(TarBuilder::new(), |tar, n| tar.file(&format!("f{n}"), ""));
    let error = base::error::render_chain(&Layer::try_new(&six.finish(), &options).err().unwrap());
    assert!(error.contains("limit of 5"), "{error}");
}

#[test]
fn root_global_records_change_no_member() {
    if !is_root("root_global_records_change_no_member") {
        return;
    }
    let record = b"17 path=elsewhere\n";
    let global = gnu("pax_global_header", b'g', record.len(), |_| {});
    let archive =
        [global, padded(record), gnu("here", b'0', 1, |_| {}), padded(b"1"), vec![0; 1024]].concat();
    assert_eq!(Layer::new(&archive).read("here"), b"1");
}
