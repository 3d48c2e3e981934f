//! Events of the kernel recorded with perf_event_open(2), in ring buffers that keep the newest records: a flight
//! recorder. An event ends with its descriptor, so that nothing remains of it however this process ends. The structures
//! and numbers are those of `linux/perf_event.h`.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{Ordering, fence};

use memmap2::{MmapOptions, MmapRaw};

use super::clock::MonotonicNs;
use super::residency::page_size;

/// The ioctls of an event.
const PERF_IOCTLS: u32 = b'$' as u32;
const PERF_EVENT_IOC_ENABLE: libc::Ioctl = libc::_IO(PERF_IOCTLS, 0);
const PERF_EVENT_IOC_SET_OUTPUT: libc::Ioctl = libc::_IO(PERF_IOCTLS, 5);
const PERF_EVENT_IOC_SET_FILTER: libc::Ioctl = libc::_IOW::<*const u8>(PERF_IOCTLS, 6);
const PERF_EVENT_IOC_PAUSE_OUTPUT: libc::Ioctl = libc::_IOW::<u32>(PERF_IOCTLS, 9);

/// The kinds of events, and the clock of a CPU among the software events.
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_COUNT_SW_CPU_CLOCK: u64 = 0;

/// The fields of a record, in this order: thread, time, call chain, raw data.
const PERF_SAMPLE_TID: u64 = 1 << 1;
const PERF_SAMPLE_TIME: u64 = 1 << 2;
const PERF_SAMPLE_CALLCHAIN: u64 = 1 << 5;
const PERF_SAMPLE_RAW: u64 = 1 << 10;

/// The flags of an event: disabled at first, not while a CPU is idle, a frequency in place of a period, only the
/// kernel's part of a call chain, a clock of choice, and the newest record first.
const FLAG_DISABLED: u64 = 1;
const FLAG_EXCLUDE_IDLE: u64 = 1 << 7;
const FLAG_FREQ: u64 = 1 << 10;
const FLAG_EXCLUDE_CALLCHAIN_USER: u64 = 1 << 22;
const FLAG_USE_CLOCKID: u64 = 1 << 25;
const FLAG_WRITE_BACKWARD: u64 = 1 << 27;

/// The descriptor is closed in programs that this process starts.
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

/// Offset of `data_head` in the first page of a ring buffer.
const DATA_HEAD_OFFSET: usize = 1024;

/// Bytes of the header of a record: its type (u32), flags (u16) and size (u16).
const HEADER_BYTES: usize = 8;
const SIZE_OFFSET: usize = 6;

/// The type of the records that events write (`PERF_RECORD_SAMPLE`).
const PERF_RECORD_SAMPLE: u32 = 9;

/// Place of the time in a record of an event, after its header and the numbers of the thread, and the least size of a
/// record that has it.
const TIME_OFFSET: u64 = 16;
const MIN_SAMPLE_BYTES: usize = 24;

/// Most frames of a call chain: a blocked fsync on ext4 has about 20 (6.18).
const MAX_FRAMES: u16 = 32;

/// `struct perf_event_attr` of Linux 4.8 (`PERF_ATTR_SIZE_VER5`).
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    bp_type: u32,
    bp_addr: u64,
    bp_len: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clock_id: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

/// What makes an event occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A trace point, by its number.
    TracePoint(u64),
    /// The clock of a CPU that is not idle, so many times a second.
    CpuClock(u64),
}

/// An event of the kernel on one CPU, by all processes.
#[derive(Debug)]
pub struct PerfEvent {
    file: File,
    trigger: Trigger,
}

impl PerfEvent {
    /// Opens an event on a CPU. It is disabled until [`enable`](Self::enable). With `with_stack` each record has the
    /// call chain in the kernel.
    ///
    /// # Errors
    /// The errors of perf_event_open(2): EACCES or EPERM without the right to observe all processes, EMFILE if there are
    /// too many descriptors, ENODEV if the CPU is offline.
    pub fn open(trigger: Trigger, cpu: u32, with_stack: bool) -> io::Result<Self> {
        let mut attr = PerfEventAttr {
            size: size_of::<PerfEventAttr>() as u32,
            sample_type: PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
            flags: FLAG_DISABLED | FLAG_USE_CLOCKID | FLAG_WRITE_BACKWARD,
            clock_id: libc::CLOCK_MONOTONIC,
            ..PerfEventAttr::default()
        };
        match trigger {
            Trigger::TracePoint(number) => {
                attr.kind = PERF_TYPE_TRACEPOINT;
                attr.config = number;
                attr.sample_period = 1;
            }
            Trigger::CpuClock(hertz) => {
                attr.kind = PERF_TYPE_SOFTWARE;
                attr.config = PERF_COUNT_SW_CPU_CLOCK;
                attr.sample_period = hertz;
                attr.flags |= FLAG_FREQ | FLAG_EXCLUDE_IDLE;
            }
        }
        if with_stack {
            attr.sample_type |= PERF_SAMPLE_CALLCHAIN;
            attr.flags |= FLAG_EXCLUDE_CALLCHAIN_USER;
            attr.sample_max_stack = MAX_FRAMES;
        }
        let (everyone, no_group) = (-1, -1);
        // SAFETY: the pointer is to a live structure of the size that it names.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attr,
                everyone,
                cpu.cast_signed(),
                no_group,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a new descriptor, which nothing else owns.
        let file = unsafe { File::from_raw_fd(fd as i32) };
        Ok(Self { file, trigger })
    }

    /// Records only occurrences for which `filter`, in the language of trace points, is true.
    ///
    /// # Errors
    /// EINVAL if the kernel does not understand the filter.
    pub fn set_filter(&self, filter: &CStr) -> io::Result<()> {
        // SAFETY: the argument is a string with its final NUL, which the kernel only reads.
        let rc = unsafe {
            libc::ioctl(
                self.file.as_raw_fd(),
                PERF_EVENT_IOC_SET_FILTER,
                filter.as_ptr(),
            )
        };
        check(rc)
    }

    /// Writes the records into the ring buffer of another event of the same CPU.
    ///
    /// # Errors
    /// EINVAL if that is an event of another CPU or has no ring buffer.
    pub fn redirect_to(&self, ring: &FlightRing) -> io::Result<()> {
        let target = ring.event.file.as_raw_fd();
        call_by_value(
            &self.file,
            PERF_EVENT_IOC_SET_OUTPUT,
            target.cast_unsigned().into(),
        )
    }

    /// Starts recording.
    ///
    /// # Errors
    /// The errors of ioctl(2), of which none is expected.
    pub fn enable(&self) -> io::Result<()> {
        call_by_value(&self.file, PERF_EVENT_IOC_ENABLE, 0)
    }

    /// Returns how often a trace point was passed, where the filter let it count. For a clock it is 0.
    ///
    /// # Errors
    /// The errors of read(2), of which none is expected.
    pub fn count(&self) -> io::Result<u64> {
        let mut word = [0; 8];
        if matches!(self.trigger, Trigger::CpuClock(_)) {
            // Its counter has nanoseconds.
            return Ok(0);
        }
        (&self.file).read_exact(&mut word)?;
        Ok(u64::from_ne_bytes(word))
    }
}

fn call_by_value(event: &File, request: libc::Ioctl, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: these requests take a number or a descriptor, and no pointer. The argument has the width that the kernel reads.
    let rc = unsafe { libc::ioctl(event.as_raw_fd(), request, value) };
    check(rc)
}

fn check(rc: i32) -> io::Result<()> {
    match rc {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Returns the size of a record in bytes, from its header.
fn record_size(header: u64) -> usize {
    let bytes = header.to_ne_bytes();
    u16::from_ne_bytes([bytes[SIZE_OFFSET], bytes[SIZE_OFFSET + 1]]).into()
}

/// Returns the type of a record, from its header.
fn record_type(header: u64) -> u32 {
    let [a, b, c, d, ..] = header.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// The newest records of a ring buffer.
#[derive(Debug)]
pub struct RingCopy {
    words: Vec<u64>,
    /// Whether records since the wanted moment were overwritten.
    pub is_cut: bool,
    /// The moment since which no events were recorded.
    pub paused: MonotonicNs,
    /// The moment at which events were recorded again.
    pub resumed: MonotonicNs,
}

impl RingCopy {
    /// Returns the records without their headers, the newest first.
    pub fn records(&self) -> impl Iterator<Item = Vec<u8>> {
        let mut rest = &self.words[..];
        std::iter::from_fn(move || {
            let (record, after) = rest.split_at_checked(record_size(*rest.first()?) / 8)?;
            rest = after;
            let bytes = record.get(1..)?.iter().flat_map(|word| word.to_ne_bytes());
            Some(bytes.collect())
        })
    }
}

/// A ring buffer of the kernel, with the event that it belongs to. Its oldest records are overwritten.
#[derive(Debug)]
pub struct FlightRing {
    event: PerfEvent,
    map: MmapRaw,
    /// Bytes of the records, a power of two.
    data_bytes: usize,
}

impl FlightRing {
    /// Gives an event a ring buffer of `bytes` bytes, rounded up to a power of two of pages. The kernel keeps it in
    /// memory that is never swapped out, and forked processes do not have it.
    ///
    /// # Errors
    /// EPERM if the limit of locked memory does not allow it, ENOMEM if there is no memory.
    pub fn new(event: PerfEvent, bytes: usize) -> io::Result<Self> {
        let page = page_size() as usize;
        let data_bytes = bytes.next_multiple_of(page).next_power_of_two();
        // Without PROT_WRITE the kernel takes the reader for one that does not consume, and overwrites.
        let map = MmapOptions::new()
            .len(page + data_bytes)
            .map_raw_read_only(&event.file)?;
        Ok(Self {
            event,
            map,
            data_bytes,
        })
    }

    /// Returns the event that the ring buffer belongs to.
    #[must_use]
    pub fn event(&self) -> &PerfEvent {
        &self.event
    }

    /// Returns the bytes that the records can take.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.data_bytes
    }

    /// Copies the records since a moment, and the last one before it. Events that occur meanwhile are not recorded; the copy
    /// tells from when until when that was.
    ///
    /// # Errors
    /// The errors of ioctl(2), of which none is expected.
    pub fn copy_since(&self, since: MonotonicNs) -> io::Result<RingCopy> {
        let paused = MonotonicNs::now();
        call_by_value(&self.event.file, PERF_EVENT_IOC_PAUSE_OUTPUT, 1)?;
        let head = self.load(DATA_HEAD_OFFSET);
        // The records are read after the head that tells of them. A writer that passed the test for a pause before it may
        // still write: its record may be torn, and is then not decoded, or is decoded as an event that was overwritten.
        fence(Ordering::Acquire);
        let (words, is_cut) = self.copy_from(head, since);
        call_by_value(&self.event.file, PERF_EVENT_IOC_PAUSE_OUTPUT, 0)?;
        Ok(RingCopy {
            words,
            is_cut,
            paused,
            resumed: MonotonicNs::now(),
        })
    }

    /// Copies the records that begin at `head`, and returns whether overwritten ones lie between the moment and them.
    fn copy_from(&self, head: u64, since: MonotonicNs) -> (Vec<u64>, bool) {
        // The head begins at 0 and moves towards lower addresses, so that this is how much was ever written.
        let written = head.wrapping_neg();
        let is_full = written > self.data_bytes as u64;
        let limit = written.min(self.data_bytes as u64) as usize;
        let (mut words, mut seen) = (Vec::new(), 0);
        while seen + HEADER_BYTES <= limit {
            let at = head.wrapping_add(seen as u64);
            let header = self.word_at(at);
            let size = record_size(header);
            if size < HEADER_BYTES || !size.is_multiple_of(8) || seen + size > limit {
                // The part of a record that is left.
                return (words, true);
            }
            seen += size;
            if record_type(header) != PERF_RECORD_SAMPLE || size < MIN_SAMPLE_BYTES {
                continue;
            }
            words.extend(
                (0..size)
                    .step_by(8)
                    .map(|o| self.word_at(at.wrapping_add(o as u64))),
            );
            let time = self.word_at(at.wrapping_add(TIME_OFFSET));
            if MonotonicNs::from_nanos(time) < since {
                return (words, false);
            }
        }
        (words, is_full)
    }

    /// Reads eight bytes of the records. Records are multiples of eight bytes long, so that none of these wraps.
    fn word_at(&self, position: u64) -> u64 {
        let offset = position as usize & (self.data_bytes - 1) & !7;
        self.load(self.map.len() - self.data_bytes + offset)
    }

    /// Reads eight aligned bytes of the mapping.
    fn load(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.map.len());
        // SAFETY: the eight bytes lie in the mapping, as was just checked, and are aligned, since the mapping begins at a page. It
        // can be read and lives as long as `self`. The kernel may write to it at any time, hence volatile.
        unsafe { self.map.as_ptr().add(offset).cast::<u64>().read_volatile() }
    }
}
