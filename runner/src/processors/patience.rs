//! Waiting for what should be there at once, on a machine that may stand still meanwhile: [`in_parts`].

use std::time::Duration;

/// The time is counted in so many parts. One counts once, however long it took: while the kernel holds the thread in a
/// system call, because another one has the lock that it needs, or while the thread is not scheduled at all, what it waits
/// for may be there, and nobody to take it.
const PARTS: u32 = 50;

/// What comes of it within that time, as far as the thread could have taken it.
pub async fn in_parts<T>(whole: Duration, awaited: impl Future<Output = T>) -> Option<T> {
    let mut awaited = std::pin::pin!(awaited);
    for _ in 0..PARTS {
        if let Ok(come) = tokio::time::timeout(whole / PARTS, &mut awaited).await {
            return Some(come);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Duration = Duration::from_millis(100);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// The answer comes by a task, as the socket's does, right after the thread was held up for longer than the whole
    /// time.
    #[test]
    fn a_thread_that_was_held_up_still_takes_the_answer() {
        let answer = runtime().block_on(async {
            let (tell, told) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                std::thread::park_timeout(3 * WHOLE);
                tokio::task::yield_now().await;
                tell.send(7)
            });
            in_parts(WHOLE, told).await
        });
        assert_eq!(answer, Some(Ok(7)));
    }

    #[test]
    fn what_never_comes_is_not_waited_for_for_ever() {
        let begin = std::time::Instant::now();
        assert_eq!(runtime().block_on(in_parts(WHOLE, std::future::pending::<()>())), None);
        assert!(begin.elapsed() >= WHOLE);
    }
}
