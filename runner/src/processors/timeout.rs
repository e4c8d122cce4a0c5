//! Timeouts that are robust against stalls of the machine: [`in_parts`].

use std::time::Duration;

/// Number of parts of a timeout. Each part counts once, however long it took: while the thread is blocked in a system
/// call for a lock, or isn't scheduled at all, the awaited result may be ready without being noticed.
const PARTS: u32 = 50;

/// The result of `awaited` within that time, not counting time in which the thread couldn't run.
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
