//! Reading, writing and closing a stream of bytes, whatever it is.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Bytes that one read takes at most, and one turn of writing about at most.
pub(super) const CHUNK: usize = 64 << 10;

/// Bytes that are read and thrown away at most while a connection closes.
const LINGER_BYTES: usize = 1 << 20;

thread_local! {
    /// Where reads go first, so that an idle connection owns no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
}

/// Reads what is there, up to [`CHUNK`] bytes, to the end of `input`.
pub(super) fn poll_read<IO: AsyncRead + Unpin>(
    io: &mut IO,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        input.extend_from_slice(read);
        Poll::Ready(Ok(read.len()))
    })
}

/// Reads some bytes to the end of `input`; 0 at the end of the stream.
pub(super) async fn read_some<IO: AsyncRead + Unpin>(
    io: &mut IO,
    input: &mut BytesMut,
) -> io::Result<usize> {
    poll_fn(|cx| poll_read(io, input, cx)).await
}

/// Writes everything within a time; true when that worked.
pub(super) async fn write_all<IO: AsyncWrite + Unpin>(
    io: &mut IO,
    bytes: &[u8],
    timeout: Duration,
) -> bool {
    let written = async {
        io.write_all(bytes).await?;
        io.flush().await
    };
    matches!(tokio::time::timeout(timeout, written).await, Ok(Ok(())))
}

/// Closes the sending side and reads for a while what still comes: closing with unread bytes would
/// reset the connection, and the client would lose the packet that tells it why.
pub(super) async fn close_gently<IO>(io: &mut IO, timeout: Duration)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let linger = async {
        io.shutdown().await?;
        let mut thrown_away = 0;
        while thrown_away < LINGER_BYTES {
            let mut input = BytesMut::new();
            match read_some(io, &mut input).await? {
                0 => break,
                count => thrown_away += count,
            }
        }
        io::Result::Ok(())
    };
    // Whatever happens here, the connection is over.
    tokio::time::timeout(timeout, linger).await.ok();
}
