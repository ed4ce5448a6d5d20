//! One thread that does the work of all callers: it waits for any of their connections, and
//! lets those go on whose calls have got on.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::noop_waker_ref;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::Timespec;

use super::caller::Caller;
use super::connection::Connection;
use crate::harness::now;

pub type Later<T> = Pin<Box<dyn Future<Output = T>>>;

const SECOND: Duration = Duration::from_secs(1);

/// Does the work of each of these callers, which are numbered as they are in line.
pub fn join<T>(callers: &[Caller], work: Vec<Later<T>>) -> io::Result<Vec<T>> {
    let mut connections: Vec<Rc<RefCell<Connection>>> = Vec::new();
    for caller in callers {
        if !connections.iter().any(|known| Rc::ptr_eq(known, &caller.connection)) {
            connections.push(Rc::clone(&caller.connection));
        }
    }
    connections.iter().for_each(|connection| connection.borrow_mut().settle());
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let watched = |at: usize, more| (EventData::new_u64(at as u64), EventFlags::IN | more);
    for (at, connection) in connections.iter().enumerate() {
        let (data, flags) = watched(at, EventFlags::empty());
        epoll::add(&epoll, connection.borrow().socket(), data, flags)?;
    }
    let mut full = vec![false; connections.len()];
    let mut flush = |at: usize| {
        let mut connection = connections[at].borrow_mut();
        let is_full = connection.flush();
        if is_full != std::mem::replace(&mut full[at], is_full) {
            let more = if is_full { EventFlags::OUT } else { EventFlags::empty() };
            let (data, flags) = watched(at, more);
            epoll::modify(&epoll, connection.socket(), data, flags)?;
        }
        Ok::<(), io::Error>(())
    };
    let mut work = Work::new(work);
    let mut woken: Vec<usize> = (0..work.each.len()).collect();
    work.go_on(&mut woken);
    (0..connections.len()).try_for_each(&mut flush)?;
    let (mut events, mut tick) = (Vec::with_capacity(64), now() + SECOND);
    while work.left > 0 {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&second)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let at = event.data.u64() as usize;
            connections[at].borrow_mut().receive(&mut woken);
            work.go_on(&mut woken);
            flush(at)?;
            if connections[at].borrow().ended().is_err() {
                // It would be ready for ever.
                epoll::delete(&epoll, connections[at].borrow().socket())?;
            }
        }
        if now() >= tick {
            tick = now() + SECOND;
            connections.iter().for_each(|one| one.borrow_mut().tick(&mut woken));
            work.go_on(&mut woken);
            (0..connections.len()).try_for_each(&mut flush)?;
        }
    }
    Ok(work.done.into_iter().flatten().collect())
}

struct Work<T> {
    each: Vec<Option<Later<T>>>,
    done: Vec<Option<T>>,
    left: usize,
}

impl<T> Work<T> {
    fn new(work: Vec<Later<T>>) -> Work<T> {
        let left = work.len();
        let done = work.iter().map(|_| None).collect();
        Work { each: work.into_iter().map(Some).collect(), done, left }
    }

    fn go_on(&mut self, woken: &mut Vec<usize>) {
        // What one of them does wakes no other.
        for number in woken.drain(..) {
            let Some(later) = &mut self.each[number] else { continue };
            if let Poll::Ready(done) =
                later.as_mut().poll(&mut Context::from_waker(noop_waker_ref()))
            {
                self.done[number] = Some(done);
                self.each[number] = None;
                self.left -= 1;
            }
        }
    }
}
