//! Answers `--queue-status`: who copies and who waits. It takes only shared locks, which it gives back at once, so it
//! neither waits nor changes the order.

use std::time::Duration;

use super::directory::{Missing, QueueDirectories};
use super::error::QueueError;
use super::members::{Member, living_members};
use crate::report::units::{format_size, format_span};
use crate::report::{QueueMember, QueueState, queue_member_line};
use crate::sys::clock::since_boot;

/// The question that the command line asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRequest {
    /// The name of the queue, or `None` for all.
    pub queue: Option<String>,
    /// Whether the answer is in JSON.
    pub json: bool,
}

/// Returns the lines of the answer.
///
/// # Errors
/// Returns why the queues of this user cannot be read.
pub fn status_text(request: &StatusRequest) -> Result<String, QueueError> {
    let mut text = String::new();
    if let Some(directories) = QueueDirectories::open(Missing::Leave)? {
        let names = match &request.queue {
            Some(name) => vec![name.clone()],
            None => directories.queue_names()?,
        };
        for name in names {
            let Some(queue) = directories.find_queue(&name)? else {
                continue;
            };
            let members = living_members(&queue, None)?;
            text.push_str(&queue_text(&name, &members, request.json));
        }
    }
    if text.is_empty() && !request.json {
        text.push_str("no copies\n");
    }
    Ok(text)
}

/// Returns the lines of one queue; none if nobody is in it.
fn queue_text(queue: &str, members: &[Member], json: bool) -> String {
    let now = since_boot();
    let rows = members
        .iter()
        .zip(1..)
        .map(|(member, place)| shown_member(queue, member, place, now));
    if json {
        return rows.map(|row| queue_member_line(&row) + "\n").collect();
    }
    let rows: String = rows.map(|row| table_row(&row)).collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "queue {queue}\n{:>5}  {:<7}  {:>7}  {:>8}  {:>8}  {:>8}  {:>8}\n{rows}",
        "PLACE", "STATE", "PID", "PRIORITY", "SIZE", "COPIED", "WAITED"
    )
}

fn shown_member<'a>(
    queue: &'a str,
    member: &Member,
    place: usize,
    now: Duration,
) -> QueueMember<'a> {
    let ticket = &member.ticket;
    let until = member.advance.map_or(now, |advance| advance.since);
    QueueMember {
        queue,
        pid: ticket.pid,
        state: match member.advance {
            Some(_) => QueueState::Copying,
            None => QueueState::Waiting,
        },
        place,
        priority: ticket.priority,
        size: ticket.size,
        copied: member.advance.map_or(0, |advance| advance.copied),
        waited: until.saturating_sub(ticket.arrival),
        limit_rate: ticket.rate,
    }
}

fn table_row(row: &QueueMember<'_>) -> String {
    format!(
        "{:>5}  {:<7}  {:>7}  {:>8}  {:>8}  {:>8}  {:>8}\n",
        row.place,
        row.state.name(),
        row.pid,
        row.priority,
        row.size.map_or("-".to_owned(), format_size),
        format_size(row.copied),
        format_span(row.waited)
    )
}
