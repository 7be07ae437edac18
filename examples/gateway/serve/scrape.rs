//! The one page that this gateway has over HTTP, for those who scrape it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::debug;

use super::metrics::Scraped;

/// How long one visitor may keep the others waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest request that is read.
const REQUEST_MAX: usize = 4096;

/// Answers requests at `address`, one after the other, for as long as the process lives. Returns
/// where it listens.
pub(super) fn start(address: SocketAddr, scraped: Arc<Scraped>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    thread::Builder::new()
        .name("metrics".into())
        .spawn(move || {
            for visitor in listener.incoming() {
                if let Err(why) = visitor.and_then(|visitor| answer(visitor, &scraped)) {
                    debug!(%why, "metrics");
                }
            }
        })?;
    Ok(address)
}

fn answer(mut visitor: TcpStream, scraped: &Scraped) -> io::Result<()> {
    visitor.set_write_timeout(Some(PATIENCE))?;
    let request = read_head(&mut visitor)?;
    let mut words = request.split(|byte| *byte == b' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", scraped.text()),
        (Some(b"GET"), Some(_)) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("400 Bad Request", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    visitor.write_all(head.as_bytes())?;
    visitor.write_all(body.as_bytes())
}

/// A request up to the empty line behind its head, or as much as is read of one.
fn read_head(visitor: &mut TcpStream) -> io::Result<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    let mut request = vec![0; REQUEST_MAX];
    let mut len = 0;
    while len < REQUEST_MAX && !request[..len].windows(4).any(|end| end == b"\r\n\r\n") {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        visitor.set_read_timeout(Some(left))?;
        match visitor.read(&mut request[len..])? {
            0 => break,
            read => len += read,
        }
    }
    request.truncate(len);
    Ok(request)
}
