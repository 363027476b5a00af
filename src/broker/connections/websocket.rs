//! MQTT over WebSocket (MQTT 5.0 §6): the upgrade, and binary messages as a stream of bytes.
//!
//! Framing is the library's; packets may be spread over messages in any way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{
    Callback, ErrorResponse, Request, Response,
};
use tokio_tungstenite::tungstenite::http::header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use web::{Foreign, Pages};

/// Where MQTT is.
const PATH: &str = "/mqtt";

/// The subprotocols (MQTT-6.0.0-3), the second that of clients of MQTT 3.1. The
/// first of these that a client offers is spoken.
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Bytes that a connection reads at a time, all of which an idle one keeps.
const READ_BUFFER: usize = 4 << 10;

/// Bytes of one message that is written at most.
const WRITE_MAX: usize = 64 << 10;

/// A stream of bytes in WebSocket messages.
pub(super) struct WebSocket<IO> {
    inner: WebSocketStream<IO>,
    /// What was read and not handed on.
    rest: Bytes,
}

/// Answers the request of a client that wants to speak MQTT, and refuses others. A message may have
/// `message_bytes`.
pub(super) async fn accept<IO>(
    io: IO,
    message_bytes: usize,
    pages: &Pages,
) -> Result<WebSocket<IO>, Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BUFFER;
    config.write_buffer_size = 0;
    config.max_write_buffer_size = 2 * WRITE_MAX + message_bytes;
    config.max_message_size = Some(message_bytes);
    config.max_frame_size = Some(message_bytes);
    let inner =
        tokio_tungstenite::accept_hdr_async_with_config(io, Greeting(pages), Some(config)).await?;
    Ok(WebSocket { inner, rest: Bytes::new() })
}

/// Looks at the request.
struct Greeting<'a>(&'a Pages);

impl Callback for Greeting<'_> {
    fn on_request(
        self,
        request: &Request,
        mut response: Response,
    ) -> Result<Response, ErrorResponse> {
        let header = |name| match request.headers().get(name).map(HeaderValue::to_str) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(refusal(StatusCode::BAD_REQUEST, "a header is no text")),
        };
        self.0.check(header(HOST)?, header(ORIGIN)?).map_err(|foreign| {
            let text = foreign.to_string();
            match foreign {
                Foreign::Host(_) => refusal(StatusCode::MISDIRECTED_REQUEST, &text),
                Foreign::Origin(_) => refusal(StatusCode::FORBIDDEN, &text),
            }
        })?;
        if request.uri().path() != PATH {
            return Err(refusal(StatusCode::NOT_FOUND, "mqtt is at /mqtt"));
        }
        let offers = |name: &str| {
            let lists = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
            let mut lists = lists.filter_map(|value| value.to_str().ok());
            lists.any(|list| list.split(',').any(|other| other.trim() == name))
        };
        let Some(spoken) = PROTOCOLS.into_iter().find(|name| offers(name)) else {
            let text = "the subprotocol `mqtt` is expected (Sec-WebSocket-Protocol)";
            return Err(refusal(StatusCode::BAD_REQUEST, text));
        };
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(spoken));
        Ok(response)
    }
}

fn refusal(status: StatusCode, text: &str) -> ErrorResponse {
    let mut refusal = ErrorResponse::new(Some(text.to_owned()));
    *refusal.status_mut() = status;
    refusal
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Text(_))) => {
                    // MQTT-6.0.0-1.
                    let text = "mqtt in a text message";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                // The library answers pings and the end.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(plain(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(self.rest.get(..count).unwrap_or_default());
        self.rest.advance(count);
        if self.rest.is_empty() {
            // An idle connection does not keep the buffer that the last message was in.
            self.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.inner).poll_ready(cx)).map_err(plain)?;
        let part = bytes.get(..WRITE_MAX).unwrap_or(bytes);
        let message = Message::Binary(Bytes::copy_from_slice(part));
        Pin::new(&mut self.inner).start_send(message).map_err(plain)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(plain)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx).map_err(plain)
    }
}

fn plain(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
