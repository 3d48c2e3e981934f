//! Room that a file may take: `--keep-free`, `--max-size`, and the durable beginning that `--cut` keeps.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::*;

/// Bytes of the dumps here: more than a small file, and no whole number of blocks.
const DUMP_BYTES: u64 = 12 * MIB + 777;

/// Bytes of such a dump that are kept, if no more than `MAX_SIZE` may be.
const KEPT_BYTES: u64 = 5 * MIB;
const MAX_SIZE: &str = "--max-size=5M";

/// The path of a destination with more behind its name.
fn beside(dest: &Path, suffix: &str) -> PathBuf {
    let mut name = dest.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn copy(options: &[&str], source: &Path, dest: &Path) -> Output {
    run(mmapcp().arg("--json").args(options).arg(source).arg(dest))
}

/// Asserts that the beginning of `source` is kept beside `dest`, and nothing else was written. Returns the event.
fn assert_cut(output: &Output, source: &Path, dest: &Path, kept: u64) -> Value {
    assert_exit(output, 3);
    let events = parse_events(output);
    let cut = only_event(&events, "cut").clone();
    assert_eq!(cut["at"], kept, "{cut}");
    assert_eq!(only_event(&events, "total")["cut"], 1);
    assert_eq!(only_event(&events, "total")["errors"], 0);
    let (part, map) = (beside(dest, ".part"), beside(dest, ".part.map"));
    assert_eq!(cut["part"], part.to_str().expect("a path"));
    assert_eq!(cut["map"], map.to_str().expect("a path"));
    let bytes = fs::read(&part).expect("read the part");
    assert_eq!(bytes.len() as u64, kept);
    let whole = fs::read(source).expect("read the source");
    assert!(bytes == whole[..bytes.len()], "{}", source.display());
    let map = fs::read_to_string(map).expect("read the map");
    assert!(
        map.contains(&format!("0x00000000  0x{kept:08X}  +\n")),
        "{map}"
    );
    cut
}

#[test]
fn sizes_that_mean_nothing_are_refused() {
    let values = [
        ("--keep-free=", "a size such as 10G, or a share"),
        ("--keep-free=0%", "a size such as 10G, or a share"),
        ("--keep-free=101%", "a size such as 10G, or a share"),
        ("--keep-free=-1%", "a size such as 10G, or a share"),
        ("--keep-free=1e1%", "a size such as 10G, or a share"),
        ("--keep-free=much", "a size such as 10G, or a share"),
        ("--max-size=0", "a size of at least 1 byte"),
        ("--max-size=5%", "a size of at least 1 byte"),
    ];
    let dir = disk_dir();
    let (source, dest) = (dir.path().join("dump"), dir.path().join("copy"));
    fs::write(&source, "x").expect("make a source");
    for (option, words) in values {
        let output = copy(&[option], &source, &dest);
        assert_exit_in(&output, 1, option);
        let said = lossy_string(&output.stderr);
        assert!(said.contains(words), "{option}: {said}");
        assert!(!dest.exists());
    }
}

#[test]
fn a_cut_excludes_what_needs_the_whole_file() {
    let dir = disk_dir();
    let (source, dest) = (dir.path().join("dump"), dir.path().join("copy"));
    fs::write(&source, "x").expect("make a source");
    for with in ["--drain", "--resume", "--verify", "--reflink=always"] {
        let output = copy(&["--cut", with], &source, &dest);
        assert_exit_in(&output, 1, with);
        let sentence = format!("options --cut and {with} are mutually exclusive");
        assert!(lossy_string(&output.stderr).contains(&sentence), "{with}");
    }
    for option in ["--cut", "--keep-free=1%", MAX_SIZE] {
        for with in ["--link", "--symbolic-link", "--attributes-only"] {
            let output = copy(&[option, with], &source, &dest);
            assert_exit_in(&output, 1, option);
            assert!(lossy_string(&output.stderr).contains("mutually exclusive"));
        }
    }
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
}

#[test]
fn a_file_that_is_too_large_is_refused_before_its_first_byte() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, dest) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, DUMP_BYTES);
    let just_less = format!("--max-size={}", DUMP_BYTES - 1);
    let just_right = format!("--max-size={DUMP_BYTES}");
    for engine in ENGINES
        .into_iter()
        .filter(|name| *name != "copy-file-range")
    {
        let engine = format!("--engine={engine}");
        let output = copy(&[&engine, &just_less], &source, &dest);
        assert_exit_in(&output, 1, &engine);
        let said = lossy_string(&output.stderr);
        assert!(
            said.contains("is too large: it has 12.0 MiB of data"),
            "{said}"
        );
        assert_eq!(only_event(&parse_events(&output), "error")["op"], "limit");
        assert_eq!(fs::read_dir(to.path()).expect("list").count(), 0);
        let output = copy(&[&engine, &just_right], &source, &dest);
        assert_exit_in(&output, 0, &engine);
        assert_same_content(&source, &dest, &engine);
        fs::remove_file(&dest).expect("remove the copy");
    }
}

#[test]
fn holes_need_no_room() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, dest) = (from.path().join("dump"), to.path().join("copy"));
    make_dump(&source, 64 * MIB, &[(8 * MIB, MIB), (40 * MIB, MIB)]);
    let output = copy(&["--max-size=2M"], &source, &dest);
    assert_exit(&output, 0);
    assert_same_content(&source, &dest, "with holes");
    let output = copy(&["--max-size=2M", "--sparse=never"], &source, &dest);
    assert_exit(&output, 1);
}

#[test]
fn every_engine_keeps_the_beginning() {
    let (from, to) = (shm_dir(), disk_dir());
    for engine in ENGINES.into_iter().chain(["auto"]) {
        let from = if engine == "copy-file-range" {
            &to
        } else {
            &from
        };
        let (source, dest) = (from.path().join("dump"), to.path().join("copy"));
        make_dense_dump(&source, DUMP_BYTES);
        let engine = match engine {
            "auto" => "--direct=auto".into(),
            name => format!("--engine={name}"),
        };
        for old in [None, Some("old")] {
            if let Some(old) = old {
                fs::write(&dest, old).expect("make an old file");
            }
            let output = copy(&[&engine, MAX_SIZE, "--cut"], &source, &dest);
            let cut = assert_cut(&output, &source, &dest, KEPT_BYTES);
            assert_eq!(
                (&cut["why"], &cut["size"]),
                (&"max-size".into(), &DUMP_BYTES.into())
            );
            assert_eq!(fs::read_to_string(&dest).ok().as_deref(), old, "{engine}");
            let said = lossy_string(&output.stderr);
            assert!(
                said.contains("holds its first 5242880 bytes (5.00/12.0 MiB)"),
                "{said}"
            );
            for name in ["", ".part", ".part.map"] {
                let _ = fs::remove_file(beside(&dest, name));
            }
        }
    }
}

#[test]
fn a_stream_is_cut_where_it_reaches_the_limit() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, dest) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, DUMP_BYTES);
    let stream = |options: &[&str]| {
        let mut cat = Command::new("cat")
            .arg(&source)
            .stdout(Stdio::piped())
            .spawn()
            .expect("run cat");
        let pipe = cat.stdout.take().expect("its output");
        let output = mmapcp()
            .arg("--json")
            .args(options)
            .arg("/dev/stdin")
            .arg(&dest)
            .stdin(pipe)
            .output()
            .expect("run mmapcp");
        let _ = cat.wait();
        output
    };
    for way in [
        "--direct=auto",
        "--direct=never",
        "--engine=direct",
        "--sparse=always",
    ] {
        let output = stream(&[way, MAX_SIZE, "--cut"]);
        let cut = assert_cut(&output, &source, &dest, KEPT_BYTES);
        assert_eq!(cut["size"], Value::Null, "{way}");
        assert!(!dest.exists());
        for name in [".part", ".part.map"] {
            fs::remove_file(beside(&dest, name)).expect("remove what was kept");
        }
        let output = stream(&[way, MAX_SIZE, "--atomic"]);
        assert_exit_in(&output, 1, way);
        assert!(lossy_string(&output.stderr).contains("it has more than --max-size, 5.00 MiB"));
        assert_eq!(fs::read_dir(to.path()).expect("list").count(), 0);
        let output = stream(&[way, &format!("--max-size={DUMP_BYTES}"), "--cut"]);
        assert_exit_in(&output, 0, way);
        assert_same_content(&source, &dest, way);
        fs::remove_file(&dest).expect("remove the copy");
    }
}

#[test]
fn an_earlier_part_is_never_replaced() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, dest) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, DUMP_BYTES);
    for suffix in [".part", ".part.map"] {
        let earlier = beside(&dest, suffix);
        fs::write(&earlier, "earlier").expect("make an earlier file");
        for options in [&["--cut"][..], &["--cut", MAX_SIZE]] {
            let output = copy(options, &source, &dest);
            assert_exit_in(&output, 1, suffix);
            let said = lossy_string(&output.stderr);
            assert!(
                said.contains("exists, perhaps from an earlier --cut"),
                "{said}"
            );
        }
        assert_eq!(fs::read_to_string(&earlier).expect("read"), "earlier");
        fs::remove_file(&earlier).expect("remove it");
        assert_eq!(fs::read_dir(to.path()).expect("list").count(), 0);
    }
}

#[test]
fn a_file_of_the_run_never_replaces_a_part_of_the_run() {
    let (from, to) = (shm_dir(), disk_dir());
    let (first, second) = (from.path().join("dump"), from.path().join("dump.part"));
    make_dense_dump(&first, DUMP_BYTES);
    fs::write(&second, "another file").expect("make a file");
    let tree = from.path().join("tree");
    fs::create_dir(&tree).expect("make a tree");
    fs::rename(&first, tree.join("dump")).expect("rename");
    fs::rename(&second, tree.join("dump.part")).expect("rename");
    for jobs in ["--jobs=1", "--jobs=4"] {
        let output = copy(&["-r", "--cut", MAX_SIZE, jobs], &tree, to.path());
        assert_exit_in(&output, 1, jobs);
        let events = parse_events(&output);
        let is_cut = events.iter().any(|event| event["event"] == "cut");
        let bytes = fs::metadata(to.path().join("tree/dump.part"))
            .expect("a file")
            .len();
        assert_eq!(bytes, if is_cut { KEPT_BYTES } else { 12 }, "{jobs}");
        fs::remove_dir_all(to.path().join("tree")).expect("remove the copy");
    }
}

/// What another file of the run may be that has the name of the beginning.
const OTHERS: [&str; 4] = ["file", "symlink", "fifo", "hard link"];

fn make_other(kind: &str, first: &Path, other: &Path) {
    match kind {
        "file" => fs::write(other, "another file").expect("make a file"),
        "symlink" => std::os::unix::fs::symlink("elsewhere", other).expect("make a link"),
        "fifo" => nix::unistd::mkfifo(other, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo"),
        _ => fs::hard_link(first, other).expect("make a hard link"),
    }
}

#[test]
fn nothing_of_the_run_takes_the_name_of_a_part() {
    for kind in OTHERS {
        let (from, to) = (shm_dir(), disk_dir());
        let [first, dump, other] = ["first", "dump", "dump.part"].map(|n| from.path().join(n));
        fs::write(&first, "a small file").expect("make a file");
        make_dense_dump(&dump, DUMP_BYTES);
        make_other(kind, &first, &other);
        for options in [
            &["--jobs=1"][..],
            &["--jobs=4"],
            &["--jobs=4", "-f"],
            &["--jobs=1", "--backup=numbered"],
            &["--jobs=4", "--backup=numbered"],
            &["--jobs=4", "--update"],
        ] {
            let what = format!("{kind} {options:?}");
            let output = run(mmapcp()
                .args(["--json", "-R", "-P", "--preserve=links", "--cut", MAX_SIZE])
                .args(options)
                .args([&first, &dump, &other])
                .arg(to.path()));
            let cut = parse_events(&output)
                .iter()
                .any(|event| event["event"] == "cut");
            let part = to.path().join("dump.part");
            let is_part = fs::symlink_metadata(&part)
                .is_ok_and(|meta| meta.is_file() && meta.len() == KEPT_BYTES);
            assert_eq!(is_part, cut, "{what}: {output:?}");
            assert_exit_in(&output, 1, &what);
            for entry in fs::read_dir(to.path()).expect("list") {
                fs::remove_file(entry.expect("an entry").path()).expect("remove a copy");
            }
        }
    }
}

#[test]
fn a_small_file_is_cut_as_well() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, dest) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, 50_000);
    let output = copy(&["--cut", "--max-size=20K"], &source, &dest);
    assert_cut(&output, &source, &dest, 20 << 10);
}

#[test]
fn a_name_that_leaves_no_place_for_the_part_is_an_error() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, dest) = (from.path().join("dump"), to.path().join("n".repeat(250)));
    fs::write(&source, "x").expect("make a source");
    let output = copy(&["--cut"], &source, &dest);
    assert_exit(&output, 1);
    assert!(lossy_string(&output.stderr).contains("File name too long"));
    assert_eq!(fs::read_dir(to.path()).expect("list").count(), 0);
}

#[test]
fn nothing_fits_where_all_is_to_be_kept_free() {
    let (from, to) = (shm_dir(), disk_dir());
    let source = from.path().join("tree");
    fs::create_dir(&source).expect("make a tree");
    for n in 0..20 {
        fs::write(source.join(format!("small{n}")), [7; 5000]).expect("make a file");
    }
    make_dense_dump(&source.join("dump"), DUMP_BYTES);
    File::create(source.join("empty")).expect("make a file");
    for options in [
        &[][..],
        &["--cut"],
        &["--direct=never"],
        &["--sparse=always"],
    ] {
        let dest = to.path().join("copy");
        let options = [&["-r", "--keep-free=100%", "--jobs=4"], options].concat();
        let output = copy(&options, &source, &dest);
        assert_exit_in(&output, 1, format!("{options:?}"));
        let events = parse_events(&output);
        let errors = events.iter().filter(|event| event["event"] == "error");
        assert_eq!(errors.count(), 21, "{options:?}");
        let left: Vec<_> = fs::read_dir(&dest)
            .expect("list")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(left, ["empty"], "{options:?}");
        let said = lossy_string(&output.stderr);
        assert!(said.contains("no room for "), "{said}");
        fs::remove_dir_all(&dest).expect("remove the copy");
    }
}

#[test]
fn what_fits_is_copied_as_without_limits() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, dest) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, DUMP_BYTES);
    let output = copy(&["--keep-free=0", "--max-size=1G", "--cut"], &source, &dest);
    assert_exit(&output, 0);
    let events = parse_events(&output);
    assert_eq!(only_event(&events, "total")["cut"], 0);
    assert_same_content(&source, &dest, "with limits");
    assert_eq!(fs::read_dir(to.path()).expect("list").count(), 1);
    let output = run(mmapcp().args(["--debug", "--cut"]).arg(&source).arg(&dest));
    assert!(lossy_string(&output.stdout).contains("--cut implies --atomic and --fsync"));
}

#[test]
fn other_failures_count_more_than_a_cut() {
    let (from, to) = (shm_dir(), disk_dir());
    let (source, missing) = (from.path().join("dump"), from.path().join("missing"));
    make_dense_dump(&source, DUMP_BYTES);
    let output = run(mmapcp()
        .args(["--cut", MAX_SIZE])
        .args([&source, &missing])
        .arg(to.path()));
    assert_exit(&output, 1);
    assert!(to.path().join("dump.part").exists());
}

#[test]
fn the_part_lies_beside_the_target_of_a_link() {
    let (from, to) = (shm_dir(), disk_dir());
    let source = from.path().join("dump");
    make_dense_dump(&source, DUMP_BYTES);
    let directory = to.path().join("elsewhere");
    fs::create_dir(&directory).expect("make a directory");
    fs::write(directory.join("target"), "old").expect("make an old file");
    let link = to.path().join("link");
    std::os::unix::fs::symlink("elsewhere/target", &link).expect("make a link");
    let output = copy(&["--cut", MAX_SIZE], &source, &link);
    assert_exit(&output, 3);
    let events = parse_events(&output);
    let part = directory.join("target.part");
    let told = only_event(&events, "cut")["part"].clone();
    assert_eq!(
        told,
        fs::canonicalize(&part)
            .expect("the part")
            .to_str()
            .expect("a path")
    );
    assert_eq!(fs::read_to_string(&link).expect("read"), "old");
}

#[test]
fn ddrescuelog_reads_the_map() {
    if !has_tools_or_skip("ddrescuelog_reads_the_map", &["ddrescuelog"]) {
        return;
    }
    let (from, to) = (shm_dir(), disk_dir());
    let (source, dest) = (from.path().join("dump"), to.path().join("copy"));
    make_dense_dump(&source, DUMP_BYTES);
    assert_exit(&copy(&["--cut", MAX_SIZE], &source, &dest), 3);
    let map = beside(&dest, ".part.map");
    let status = run(Command::new("ddrescuelog").arg("-t").arg(&map));
    assert_exit(&status, 0);
    let finished = run(Command::new("ddrescuelog")
        .args(["-l+", "-b1048576"])
        .arg(&map));
    assert_eq!(lossy_string(&finished.stdout), "0\n1\n2\n3\n4\n");
    assert_exit(&run(Command::new("ddrescuelog").arg("-D").arg(&map)), 1);
}
