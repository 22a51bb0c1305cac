//! A package mirror on loopback whose answers a test sets.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The answer to requests for a path.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These bytes; a range of them when asked for one.
    File(Vec<u8>),
    /// The same, at this rate in bytes per tenth of a second.
    Slow(Vec<u8>, usize),
    /// The first bytes, as many as the number says, then silence until the client disconnects.
    Stuck(Vec<u8>, usize),
    /// A web page.
    Html(&'static str),
}

/// A received request: its path and the value of `Range`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    pub range: Option<String>,
}

/// A running server. It ends with the test's process.
pub struct Web {
    pub base: String,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Web {
    /// Answers 404 to every path without an answer.
    pub fn start() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let web = Web { base, answers: Arc::default(), requests: Arc::default() };
        let (answers, requests) = (Arc::clone(&web.answers), Arc::clone(&web.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, requests) = (Arc::clone(&answers), Arc::clone(&requests));
                // Some tests disconnect: that is no error.
                std::thread::spawn(move || _ = serve(&stream, &answers, &requests));
            }
        });
        web
    }

    /// From now on, `path` (without leading slash) is answered so.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(format!("/{path}"), answer);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, answers: &Mutex<BTreeMap<String, Answer>>, requests: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: ") {
            range = Some(value.to_owned());
        }
    }
    requests.lock().unwrap().push(Request { path: path.clone(), range: range.clone() });
    let answer = answers.lock().unwrap().get(&path).cloned();
    let mut out = stream;
    let (bytes, pace) = match answer {
        None => return out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        Some(Answer::Html(page)) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", page.len());
            return out.write_all((head + page).as_bytes());
        }
        Some(Answer::Stuck(bytes, most)) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
            out.write_all(&[head.as_bytes(), &bytes[..most]].concat())?;
            // Waits for the client to close the connection.
            return std::io::copy(&mut &*stream, &mut std::io::sink()).map(drop);
        }
        Some(Answer::File(bytes)) => (bytes, usize::MAX),
        Some(Answer::Slow(bytes, pace)) => (bytes, pace),
    };
    let from = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let (status, extra) = match from {
        Some(from) => ("206 Partial Content", format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len())),
        None => ("200 OK", String::new()),
    };
    let body = &bytes[from.unwrap_or(0)..];
    out.write_all(format!("HTTP/1.1 {status}\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes())?;
    for piece in body.chunks(pace.min(body.len().max(1))) {
        out.write_all(piece)?;
        if pace != usize::MAX {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}
