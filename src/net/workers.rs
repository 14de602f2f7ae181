//! The threads that serve connections. Each has a runtime of its own, and a connection stays with the thread that it was given to, with
//! the tasks and the backend connections that serve it: no thread waits for another.

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::Socket;

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The number of the worker that runs this, from 0; 0 on every other thread.
pub fn current() -> usize {
    CURRENT.get()
}

/// The workers of a process. The first one is the thread, or the runtime, that accepts.
pub struct Workers {
    others: Vec<WorkerThread>,
    /// Connections of each.
    open: Box<[Arc<AtomicUsize>]>,
}

/// A thread that ends, with all that it serves, when this is dropped.
struct WorkerThread {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Workers {
    /// Only the one that accepts.
    fn default() -> Self {
        Self { others: Vec::new(), open: Box::new([Arc::default()]) }
    }
}

impl Workers {
    /// Starts all but the first one, which is there already.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let others = (1..count.get()).map(WorkerThread::start).collect::<io::Result<_>>()?;
        Ok(Self { others, open: (0..count.get()).map(|_| Arc::default()).collect() })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// A place with the one that has the fewest connections.
    pub fn place(&self) -> WorkerPlace {
        let fewest = self.open.iter().enumerate().min_by_key(|(_, open)| open.load(Relaxed));
        let (worker, open) = fewest.map_or((0, Arc::default()), |(worker, open)| (worker, open.clone()));
        open.fetch_add(1, Relaxed);
        WorkerPlace { worker, open }
    }

    /// Serves a connection at its place.
    pub fn spawn<F>(&self, worker: usize, socket: Socket, serve: impl FnOnce(Socket) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(other) = worker.checked_sub(1).and_then(|other| self.others.get(other)) else {
            tokio::spawn(serve(socket));
            return;
        };
        match socket.into_std() {
            Ok(socket) => {
                other.runtime.spawn(async move {
                    match Socket::from_std(socket) {
                        // Not in here: what wakes it polls nothing else.
                        Ok(socket) => drop(tokio::spawn(serve(socket))),
                        Err(error) => tracing::error!(%error, "cannot serve a connection"),
                    }
                });
            }
            Err(error) => tracing::error!(%error, "cannot hand a connection to its worker"),
        }
    }
}

impl WorkerThread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            CURRENT.set(number);
            // Either way, nobody needs it any more.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

/// A connection's place with a worker, until it is dropped.
#[derive(Debug)]
pub struct WorkerPlace {
    pub worker: usize,
    open: Arc<AtomicUsize>,
}

impl Drop for WorkerPlace {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// One of something for each worker, so that none of them waits for another.
pub struct PerWorker<T>(Box<[T]>);

impl<T> PerWorker<T> {
    pub fn new(workers: &Workers, make: impl FnMut() -> T) -> Self {
        Self(std::iter::repeat_with(make).take(workers.count()).collect())
    }

    /// That of the worker that runs this.
    pub fn current(&self) -> &T {
        // There is one for each number that there is.
        &self.0[current().min(self.0.len() - 1)]
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_to_the_worker_with_the_fewest() {
        let workers = Workers::start(NonZeroUsize::new(3).expect("three")).expect("threads");
        let first = [workers.place(), workers.place(), workers.place()];
        assert_eq!(first.each_ref().map(|place| place.worker), [0, 1, 2]);
        let [_, second, _] = first;
        drop(second);
        assert_eq!(workers.place().worker, 1);
    }

    #[tokio::test]
    async fn a_connection_is_served_by_the_worker_of_its_place() {
        let workers = Workers::start(NonZeroUsize::new(2).expect("two")).expect("threads");
        let numbers = PerWorker::new(&workers, Default::default);
        let numbers: Arc<PerWorker<AtomicUsize>> = Arc::new(numbers);
        for (worker, expected) in [(0, [1, 0]), (1, [1, 1])] {
            let (socket, _peer) = tokio::net::UnixStream::pair().expect("a pair");
            let (counted, (served, serving)) = (numbers.clone(), oneshot::channel());
            workers.spawn(worker, Socket::Unix(socket), move |socket| async move {
                counted.current().fetch_add(1, Relaxed);
                drop(socket);
                let _ = served.send(current());
            });
            assert_eq!(serving.await, Ok(worker));
            assert!(numbers.iter().map(|number| number.load(Relaxed)).eq(expected));
        }
    }
}
