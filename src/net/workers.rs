//! The threads that serve connections. Each thread has a single-threaded runtime. A connection stays on its
//! thread, together with its tasks and its backend connections, so threads never wait for each other.

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

/// The index of the worker that runs the caller; 0 on all other threads.
pub fn current() -> usize {
    CURRENT.get()
}

/// The workers of a process. Worker 0 is the thread or runtime that accepts connections.
pub struct Workers {
    others: Vec<WorkerThread>,
    /// Number of open connections per worker.
    open: Box<[Arc<AtomicUsize>]>,
}

/// A worker thread. Dropping it stops the thread with everything that runs on it.
struct WorkerThread {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Workers {
    /// Only the worker that accepts.
    fn default() -> Self {
        Self { others: Vec::new(), open: Box::new([Arc::default()]) }
    }
}

impl Workers {
    /// Starts workers 1 and up. Worker 0 is the calling runtime.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let others = (1..count.get()).map(WorkerThread::start).collect::<io::Result<_>>()?;
        Ok(Self { others, open: (0..count.get()).map(|_| Arc::default()).collect() })
    }

    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Reserves a place on the worker with the fewest connections.
    pub fn place(&self) -> WorkerPlace {
        let fewest = self.open.iter().enumerate().min_by_key(|(_, open)| open.load(Relaxed));
        let (worker, open) = fewest.map_or((0, Arc::default()), |(worker, open)| (worker, open.clone()));
        open.fetch_add(1, Relaxed);
        WorkerPlace { worker, open }
    }

    /// Serves a connection on the given worker.
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
                        // Spawned separately, so that wake-ups poll the connection's future directly and not
                        // this block around it.
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
            // Both a message and a dropped sender mean stop.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// A connection's place on a worker. Dropping it releases the place.
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

/// One value per worker, so that workers do not contend for it.
pub struct PerWorker<T>(Box<[T]>);

impl<T> PerWorker<T> {
    pub fn new(workers: &Workers, make: impl FnMut() -> T) -> Self {
        Self(std::iter::repeat_with(make).take(workers.count()).collect())
    }

    /// The value of the worker that runs the caller.
    pub fn current(&self) -> &T {
        // There is one value per worker and at least one worker; `min` makes the index valid in any case.
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
