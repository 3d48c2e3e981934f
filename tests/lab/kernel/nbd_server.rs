//! A network block device for the record of a power cut: a disk in memory that remembers each write and each flush.
//!
//! The fixed newstyle handshake with NBD_OPT_GO and simple replies, as doc/proto.md of NBD describes them; one client an
//! export at a time, its requests one after another.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// NBDMAGIC, IHAVEOPT.
const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;

/// NBD_FLAG_FIXED_NEWSTYLE, NBD_FLAG_NO_ZEROES.
const SERVER_FLAGS: u16 = 0b11;

/// NBD_FLAG_HAS_FLAGS, NBD_FLAG_SEND_FLUSH, NBD_FLAG_SEND_FUA.
const EXPORT_FLAGS: u16 = 0b1101;

const OPT_EXPORT_NAME: u32 = 1;
const OPT_ABORT: u32 = 2;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_UNSUPPORTED: u32 = 0x8000_0001;
const REP_UNKNOWN: u32 = 0x8000_0006;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const FUA: u16 = 1;

const EINVAL: u32 = 22;

/// No request of QEMU's is larger.
const MAX_REQUEST_BYTES: u32 = 32 << 20;

/// What a disk was asked to do, in the order in which it was done.
#[derive(Debug, Clone)]
pub(crate) struct DiskLogEntry {
    /// Of which disk.
    pub(crate) export: usize,
    pub(crate) what: LoggedOperation,
}

/// One request that changes what is on a disk, or how safe it is there.
#[derive(Debug, Clone)]
pub(crate) enum LoggedOperation {
    /// Bytes at an offset; `forced` ones do not wait for a flush (FUA).
    Write {
        offset: u64,
        bytes: Vec<u8>,
        forced: bool,
    },
    /// What was written before is on the disk.
    Flush,
}

#[derive(Debug)]
struct ServerState {
    disks: Vec<(String, Vec<u8>)>,
    log: Vec<DiskLogEntry>,
}

/// A server on a socket; its disks are those that it was given, by name.
#[derive(Debug)]
pub(crate) struct Server {
    state: Arc<Mutex<ServerState>>,
    listener: UnixListener,
    accepting: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Listens at `socket`.
    ///
    /// # Errors
    /// bind(2)'s.
    pub(crate) fn start(socket: &Path, disks: Vec<(String, Vec<u8>)>) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let state = Arc::new(Mutex::new(ServerState {
            disks,
            log: Vec::new(),
        }));
        let (own, shared) = (listener.try_clone()?, Arc::clone(&state));
        let accepting = thread::spawn(move || {
            let mut clients = Vec::new();
            // An error is the end of listening: shutdown(2) on the socket.
            while let Ok((client, _)) = own.accept() {
                let shared = Arc::clone(&shared);
                clients.push(thread::spawn(move || serve(client, &shared)));
            }
            for client in clients {
                if let Ok(Err(why)) = client.join() {
                    eprintln!("a client of the disk: {why}");
                }
            }
        });
        Ok(Self {
            state,
            listener,
            accepting: Some(accepting),
        })
    }

    /// What was done to the disks, after the last client has gone.
    pub(crate) fn finish(mut self) -> Vec<DiskLogEntry> {
        self.stop();
        std::mem::take(&mut lock(&self.state).log)
    }

    fn stop(&mut self) {
        // Wakes accept(2): on Linux a listening socket that is shut down accepts nobody any more.
        let socket = UnixStream::from(std::os::fd::OwnedFd::from(
            self.listener.try_clone().expect("a descriptor"),
        ));
        let _ = socket.shutdown(Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(state: &Mutex<ServerState>) -> MutexGuard<'_, ServerState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client, from its greeting to its going.
fn serve(mut client: UnixStream, state: &Mutex<ServerState>) -> io::Result<()> {
    let Some(export) = shake_hands(&mut client, state)? else {
        return Ok(());
    };
    loop {
        let Some(request) = Request::read(&mut client)? else {
            return Ok(());
        };
        match request.kind {
            DISCONNECT => return Ok(()),
            READ => {
                let bytes = read(&lock(state).disks[export].1, &request);
                send_reply(&mut client, &request, bytes)?;
            }
            WRITE => {
                let mut bytes = vec![0; request.len as usize];
                client.read_exact(&mut bytes)?;
                let done = write(&mut lock(state), export, &request, bytes);
                send_reply(&mut client, &request, done)?;
            }
            FLUSH => {
                let what = LoggedOperation::Flush;
                lock(state).log.push(DiskLogEntry { export, what });
                send_reply(&mut client, &request, Some(Vec::new()))?;
            }
            _ => send_reply(&mut client, &request, None)?,
        }
    }
}

struct Request {
    flags: u16,
    kind: u16,
    cookie: [u8; 8],
    offset: u64,
    len: u32,
}

impl Request {
    /// `None` at the end of the stream.
    fn read(client: &mut UnixStream) -> io::Result<Option<Self>> {
        let mut head = [0; 28];
        match client.read_exact(&mut head) {
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let (magic, rest) = split(&head);
        let (flags, rest) = split(rest);
        let (kind, rest) = split(rest);
        let (cookie, rest) = split(rest);
        let (offset, rest) = split(rest);
        let (len, _) = split(rest);
        let request = Self {
            flags: u16::from_be_bytes(flags),
            kind: u16::from_be_bytes(kind),
            cookie,
            offset: u64::from_be_bytes(offset),
            len: u32::from_be_bytes(len),
        };
        if u32::from_be_bytes(magic) != REQUEST || request.len > MAX_REQUEST_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no request"));
        }
        Ok(Some(request))
    }

    /// Where it lies on a disk of this size, if it does.
    fn range(&self, size: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(self.offset).ok()?;
        let end = start.checked_add(self.len as usize)?;
        (end <= size).then_some(start..end)
    }
}

/// The first bytes, and the others.
fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let (first, rest) = bytes.split_first_chunk().expect("the head is long enough");
    (*first, rest)
}

fn read(disk: &[u8], request: &Request) -> Option<Vec<u8>> {
    let range = request.range(disk.len())?;
    Some(disk[range].to_vec())
}

fn write(
    state: &mut ServerState,
    export: usize,
    request: &Request,
    bytes: Vec<u8>,
) -> Option<Vec<u8>> {
    let disk = &mut state.disks[export].1;
    let range = request.range(disk.len())?;
    disk[range].copy_from_slice(&bytes);
    let what = LoggedOperation::Write {
        offset: request.offset,
        bytes,
        forced: request.flags & FUA != 0,
    };
    state.log.push(DiskLogEntry { export, what });
    Some(Vec::new())
}

fn send_reply(
    client: &mut UnixStream,
    request: &Request,
    bytes: Option<Vec<u8>>,
) -> io::Result<()> {
    let error = if bytes.is_some() { 0 } else { EINVAL };
    let mut message = Vec::with_capacity(16);
    message.extend(REPLY.to_be_bytes());
    message.extend(error.to_be_bytes());
    message.extend(request.cookie);
    message.extend(bytes.unwrap_or_default());
    client.write_all(&message)
}

/// Which export the client wants; `None` where it goes again.
fn shake_hands(client: &mut UnixStream, state: &Mutex<ServerState>) -> io::Result<Option<usize>> {
    let mut greeting = Vec::new();
    greeting.extend(MAGIC.to_be_bytes());
    greeting.extend(OPTION.to_be_bytes());
    greeting.extend(SERVER_FLAGS.to_be_bytes());
    client.write_all(&greeting)?;
    let mut flags = [0; 4];
    client.read_exact(&mut flags)?;
    loop {
        let mut head = [0; 16];
        client.read_exact(&mut head)?;
        let (_magic, rest) = split::<8>(&head);
        let (option, rest) = split(rest);
        let (len, _) = split(rest);
        let option = u32::from_be_bytes(option);
        let mut data = vec![0; u32::from_be_bytes(len).min(MAX_REQUEST_BYTES) as usize];
        client.read_exact(&mut data)?;
        match option {
            OPT_GO => {
                if let Some(export) = negotiate_go(client, state, &data)? {
                    return Ok(Some(export));
                }
            }
            OPT_ABORT => {
                send_option_reply(client, option, REP_ACK, &[])?;
                return Ok(None);
            }
            OPT_EXPORT_NAME => return Ok(None),
            _ => send_option_reply(client, option, REP_UNSUPPORTED, &[])?,
        }
    }
}

/// NBD_OPT_GO: the length of a name, the name, what the client wants to know.
fn negotiate_go(
    client: &mut UnixStream,
    state: &Mutex<ServerState>,
    data: &[u8],
) -> io::Result<Option<usize>> {
    let name = data
        .split_first_chunk()
        .and_then(|(len, rest)| rest.get(..u32::from_be_bytes(*len) as usize));
    let found = {
        let state = lock(state);
        let export = state
            .disks
            .iter()
            .position(|(known, _)| Some(known.as_bytes()) == name);
        export.map(|export| (export, state.disks[export].1.len() as u64))
    };
    let Some((export, size)) = found else {
        send_option_reply(client, OPT_GO, REP_UNKNOWN, &[])?;
        return Ok(None);
    };
    // NBD_INFO_EXPORT.
    let mut info = 0u16.to_be_bytes().to_vec();
    info.extend(size.to_be_bytes());
    info.extend(EXPORT_FLAGS.to_be_bytes());
    send_option_reply(client, OPT_GO, REP_INFO, &info)?;
    send_option_reply(client, OPT_GO, REP_ACK, &[])?;
    Ok(Some(export))
}

fn send_option_reply(
    client: &mut UnixStream,
    option: u32,
    kind: u32,
    data: &[u8],
) -> io::Result<()> {
    let mut message = Vec::new();
    message.extend(OPTION_REPLY.to_be_bytes());
    message.extend(option.to_be_bytes());
    message.extend(kind.to_be_bytes());
    message.extend((data.len() as u32).to_be_bytes());
    message.extend(data);
    client.write_all(&message)
}
