//! At no moment more permissive than at the end: the calls are traced, and the state after each of them is modelled.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::*;

const CALLS: &str = "openat,mkdirat,mknodat,chmod,fchmod,fchmodat,?fchmodat2,fchown,fchownat,fcntl,fsetxattr,setxattr,\
    pwrite64,pwritev2,write,ftruncate,copy_file_range,sendfile,splice,ioctl";

/// Sources of every kind that can be narrower in the end than a mode says, and destinations that were wider.
const PREPARE: &str = r"
    umask 022; mkdir t t/d t/shut there other
    echo s > t/secret; echo s > t/given; echo s > t/suid; echo s > t/acl; echo w > t/wide; echo in > t/d/in; echo in > t/shut/in
    mkfifo t/fifo; chown 1:2 t/given t/suid t/d t/fifo; chown 3 t/shut
    chmod 600 t/secret; chmod 660 t/given; chmod 4755 t/suid; chmod 670 t/acl; chmod 777 t/wide t/d t/fifo; chmod 550 t/shut
    setfacl -m g::-,u:bin:rwx t/acl; setfacl -m g::-,u:bin:rx t/d; setfacl -d -m u:sys:rwx t/d
    for f in secret given suid acl; do echo old > there/$f; chmod 666 there/$f; done; setfacl -m u:sys:rwx there/secret
    chown 3:4 there/given there/suid
";

const COMMANDS: [&str; 12] = [
    "-r t new",
    "-rp t new",
    "-a t new",
    "-r --preserve=mode t new",
    "-r --preserve=ownership t new",
    "-r --preserve=xattr t new",
    "-r --no-preserve=mode t new",
    "-rp --no-preserve=mode t new",
    "-p t/secret t/given t/suid t/acl there",
    "--preserve=mode t/secret t/given t/suid t/acl there",
    "-aT t there",
    "-p --parents t/d/in t/shut/in other",
];

/// What who may do: owner, group and mode, and the access ACL where there is one.
#[derive(Debug, Clone, PartialEq)]
struct PermissionState {
    owner: (u32, u32),
    mode: u32,
    /// Tag, permissions and id.
    acl: Vec<(u16, u32, u32)>,
}

const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;

impl PermissionState {
    fn now(path: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok()?;
        let acl = xattr::get(path, "system.posix_acl_access").ok().flatten();
        let mut state = PermissionState {
            owner: (meta.uid(), meta.gid()),
            mode: meta.mode() & 0o7777,
            acl: Vec::new(),
        };
        if let Some(acl) = acl {
            state.set_acl(&acl);
        }
        Some(state)
    }

    /// As the kernel takes it: one that says no more than a mode is a mode.
    fn set_acl(&mut self, value: &[u8]) {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        self.acl = value[4..]
            .chunks(8)
            .map(|e| (e[0].into(), e[2].into(), number(&e[4..8])))
            .collect();
        let of = |tag| self.acl.iter().find(|e| e.0 == tag).map(|e| e.1);
        let group = of(MASK).or(of(GROUP_OBJ)).unwrap();
        self.mode = self.mode & 0o7000 | of(1).unwrap() << 6 | group << 3 | of(0x20).unwrap();
        if self.acl.len() == 3 {
            self.acl.clear();
        }
    }

    fn chmod(&mut self, mode: u32) {
        self.mode = mode;
        for entry in &mut self.acl {
            match entry.0 {
                1 => entry.1 = mode >> 6 & 7,
                MASK => entry.1 = mode >> 3 & 7,
                0x20 => entry.1 = mode & 7,
                _ => {}
            }
        }
    }

    fn chown(&mut self, uid: u32, gid: u32, directory: bool) {
        let keep = |new: u32, old: u32| if new == u32::MAX { old } else { new };
        self.owner = (keep(uid, self.owner.0), keep(gid, self.owner.1));
        if !directory {
            self.mode &= if self.mode & 0o010 != 0 {
                !0o6000
            } else {
                !0o4000
            };
        }
    }

    fn masked(&self, tag: u16, id: Option<u32>) -> Option<u32> {
        let found = |e: &&(u16, u32, u32)| e.0 == tag && id.is_none_or(|id| e.2 == id);
        Some(self.acl.iter().find(found)?.1 & self.mode >> 3 & 7)
    }

    fn user(&self, id: u32) -> u32 {
        if id == self.owner.0 {
            return self.mode >> 6 & 7;
        }
        self.masked(USER, Some(id)).unwrap_or(self.mode & 7)
    }

    fn group(&self, id: u32) -> u32 {
        if id == self.owner.1 {
            return self.masked(GROUP_OBJ, None).unwrap_or(self.mode >> 3 & 7);
        }
        self.masked(GROUP, Some(id)).unwrap_or(self.mode & 7)
    }

    /// What somebody may do now who may not do it in the end. Root may do anything at any time.
    fn excess(&self, end: &PermissionState) -> Option<String> {
        let users = self.acl.iter().filter(|e| e.0 == USER).map(|e| e.2);
        let groups = self.acl.iter().filter(|e| e.0 == GROUP).map(|e| e.2);
        let over = |what: String, now: u32, then: u32| {
            (now & !then != 0).then(|| format!("{what} has {now:o}, in the end {then:o}"))
        };
        users
            .chain([self.owner.0])
            .filter(|id| *id != 0)
            .find_map(|id| over(format!("user {id}"), self.user(id), end.user(id)))
            .or_else(|| {
                groups
                    .chain([self.owner.1])
                    .find_map(|id| over(format!("group {id}"), self.group(id), end.group(id)))
            })
            .or_else(|| over("others".into(), self.mode & 7, end.mode & 7))
            .or_else(|| {
                let runs_as = self.mode & 0o4000 != 0
                    && (end.mode & 0o4000 == 0 || end.owner.0 != self.owner.0);
                runs_as.then(|| format!("it is set-user-id {}", self.owner.0))
            })
    }
}

/// A call as strace writes it: name, arguments, result.
struct TracedCall {
    name: String,
    words: Vec<String>,
    result: String,
}

impl TracedCall {
    fn parse(line: &str) -> Option<TracedCall> {
        let (call, result) = line.rsplit_once(" = ")?;
        let call = call.trim_end().strip_suffix(')')?;
        let (name, words) = call.split_once('(')?;
        Some(TracedCall {
            name: name.into(),
            words: split(words),
            result: result.trim().into(),
        })
    }

    fn failed(&self) -> bool {
        self.result.starts_with('-')
    }

    fn mode(&self, word: usize) -> u32 {
        u32::from_str_radix(self.words[word].rsplit('|').next().unwrap(), 8).unwrap_or(0)
    }
}

/// Arguments, at the commas outside of quotes and brackets.
fn split(words: &str) -> Vec<String> {
    let (mut found, mut quoted, mut depth, mut escaped) = (vec![String::new()], false, 0, false);
    for c in words.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            '<' | '{' | '[' if !quoted => depth += 1,
            '>' | '}' | ']' if !quoted => depth -= 1,
            _ => {}
        }
        escaped = quoted && c == '\\' && !escaped;
        if c == ',' && !quoted && depth == 0 {
            found.push(String::new());
        } else {
            found.last_mut().unwrap().push(c);
        }
    }
    found.iter().map(|word| word.trim().to_owned()).collect()
}

/// A string as strace quotes it.
fn unquote(word: &str) -> Vec<u8> {
    let inner = word.strip_prefix('"').and_then(|w| w.strip_suffix('"'));
    let mut bytes = inner.unwrap_or_default().bytes().peekable();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next().unwrap() {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'v' => out.push(11),
            b'f' => out.push(12),
            digit @ b'0'..=b'7' => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    match bytes.peek() {
                        Some(next @ b'0'..=b'7') => value = value * 8 + u32::from(next - b'0'),
                        _ => break,
                    }
                    bytes.next();
                }
                out.push(value as u8);
            }
            other => out.push(other),
        }
    }
    out
}

/// The path that `-y` writes behind a descriptor.
fn path_of(word: &str) -> Option<PathBuf> {
    let (_, path) = word.split_once('<')?;
    Some(path.strip_suffix('>').unwrap_or(path).into())
}

/// What is known while the trace is read.
struct PermissionModel {
    root: PathBuf,
    umask: u32,
    states: HashMap<PathBuf, PermissionState>,
    /// Descriptors by number, for names below /proc/self/fd.
    open: HashMap<String, PathBuf>,
    /// States to be held against the end, each with the call that led to it.
    seen: Vec<(PathBuf, PermissionState, String)>,
    /// What has been made or written to.
    ours: Vec<PathBuf>,
}

impl PermissionModel {
    /// The path that arguments `at` and `at + 1` name.
    fn at(&self, call: &TracedCall, at: usize) -> Option<PathBuf> {
        let name = String::from_utf8(unquote(&call.words[at + 1])).unwrap();
        if let Some(number) = name.strip_prefix("/proc/self/fd/") {
            return self.open.get(number).cloned();
        }
        let dir = path_of(&call.words[at])?;
        Some(if name.is_empty() { dir } else { dir.join(name) })
    }

    fn take(&mut self, call: &TracedCall, line: &str) {
        if call.failed() {
            return;
        }
        let path = match call.name.as_str() {
            "openat" | "mkdirat" | "mknodat" | "fchmodat" | "fchmodat2" | "fchownat" => {
                self.at(call, 0)
            }
            "chmod" | "setxattr" => {
                let name = String::from_utf8(unquote(&call.words[0])).unwrap();
                name.strip_prefix("/proc/self/fd/")
                    .and_then(|n| self.open.get(n).cloned())
            }
            "splice" => path_of(&call.words[2]),
            "copy_file_range" => path_of(&call.words[2]),
            _ => path_of(&call.words[0]),
        };
        // A descriptor is new, or another of the same file.
        if ["openat", "fcntl"].contains(&call.name.as_str())
            && let Some((number, _)) = call.result.split_once('<')
            && let Some(path) = path_of(&call.result)
        {
            self.open.insert(number.into(), path);
        }
        let Some(path) = path.filter(|path| path.starts_with(&self.root)) else {
            return;
        };
        let number = |word: &String| word.parse::<i64>().unwrap_or(-1) as u32;
        let made = |mode: u32| PermissionState {
            owner: (0, 0),
            mode: mode & !self.umask,
            acl: Vec::new(),
        };
        match call.name.as_str() {
            "openat" if call.words[2].contains("O_EXCL") => {
                self.states.insert(path.clone(), made(call.mode(3)));
                self.ours.push(path.clone());
            }
            "openat" | "fcntl" => return,
            "mkdirat" => {
                self.states
                    .insert(path.clone(), made(call.mode(2) & 0o1777));
                self.ours.push(path.clone());
            }
            "mknodat" => {
                self.states.insert(path.clone(), made(call.mode(2)));
                self.ours.push(path.clone());
            }
            name => {
                let directory = path.is_dir();
                let Some(state) = self.states.get_mut(&path) else {
                    return;
                };
                match name {
                    "chmod" | "fchmod" => state.chmod(call.mode(1)),
                    "fchmodat" | "fchmodat2" => state.chmod(call.mode(2)),
                    "fchown" => {
                        state.chown(number(&call.words[1]), number(&call.words[2]), directory)
                    }
                    "fchownat" => {
                        state.chown(number(&call.words[2]), number(&call.words[3]), directory)
                    }
                    "fsetxattr" | "setxattr" if call.words[1].contains("posix_acl_access") => {
                        state.set_acl(&unquote(&call.words[2]));
                    }
                    "fsetxattr" | "setxattr" => return,
                    // Data: from now on what was there before counts, too.
                    _ => self.ours.push(path.clone()),
                }
            }
        }
        if self.ours.contains(&path) {
            self.seen
                .push((path.clone(), self.states[&path].clone(), line.into()));
        }
    }
}

/// The lines of a trace of several threads, calls that were cut in two put together.
fn whole(trace: &str) -> Vec<String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut lines = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        if let Some(first) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, first);
        } else if let Some((_, rest)) = call
            .split_once(" resumed>")
            .filter(|_| call.starts_with("<..."))
        {
            lines.push(format!(
                "{}{rest}",
                begun.remove(thread).unwrap_or_default()
            ));
        } else {
            lines.push(call.to_owned());
        }
    }
    lines
}

/// Runs one command, and says where it was more permissive than in the end.
fn wrong(words: &str, umask: u32) -> Vec<String> {
    let dir = shm_dir();
    let root = dir.path().to_owned();
    let made = Command::new("sh")
        .args(["-ec", PREPARE])
        .current_dir(&root)
        .output()
        .unwrap();
    assert_exit(&made, 0);
    let mut model = PermissionModel {
        root: root.clone(),
        umask,
        states: HashMap::new(),
        open: HashMap::new(),
        seen: Vec::new(),
        ours: Vec::new(),
    };
    for entry in fs::read_dir(root.join("there")).unwrap() {
        let path = entry.unwrap().path();
        model
            .states
            .insert(path.clone(), PermissionState::now(&path).unwrap());
    }
    let log = disk_dir();
    let log = log.path().join("trace");
    let script = format!(
        "umask {umask:o}; exec strace -f -y -s 4096 -o {} -e trace={CALLS} {MMAPCP} {words}",
        log.display()
    );
    let output = run(Command::new("sh").args(["-c", &script]).current_dir(&root));
    assert_exit_in(&output, 0, words);
    let lines = whole(&fs::read_to_string(&log).unwrap());
    for line in &lines {
        if let Some(call) = TracedCall::parse(line) {
            model.take(&call, line);
        }
    }
    judge(words, &model)
}

fn judge(words: &str, model: &PermissionModel) -> Vec<String> {
    assert!(
        !model.seen.is_empty(),
        "{words}: the trace shows nothing that was made"
    );
    let mut wrong = Vec::new();
    for path in &model.ours {
        let end = PermissionState::now(path).unwrap();
        if model.states[path] != end {
            let modelled = &model.states[path];
            wrong.push(format!(
                "{words}: {}: modelled {modelled:?}, is {end:?}",
                path.display()
            ));
        }
    }
    for (path, state, line) in &model.seen {
        if let Some(what) = state.excess(&PermissionState::now(path).unwrap()) {
            wrong.push(format!("{words}: {}: {what}, after {line}", path.display()));
        }
    }
    wrong
}

#[test]
fn at_no_moment_more_permissive_than_at_the_end() {
    let test = "at_no_moment_more_permissive_than_at_the_end";
    if !is_root_or_skip(test) {
        return;
    }
    if !has_tools_or_skip(test, &["strace", "setfacl"]) {
        return;
    }
    let found: Vec<String> = COMMANDS
        .iter()
        .flat_map(|words| [0, 0o022].map(|umask| wrong(words, umask)))
        .flatten()
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
