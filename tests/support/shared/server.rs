//! A small HTTP server on loopback with configurable misbehaviour.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A received request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    pub path: String,
    /// The value of `Range`, as sent.
    pub range: Option<String>,
    /// All header lines, names in lower case.
    pub headers: Vec<String>,
    /// Number of earlier requests for this path.
    pub nth: usize,
}

/// The response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<String>,
    pub body: Vec<u8>,
    pub framing: Framing,
    pub ending: Ending,
}

/// The framing of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length` with this value.
    Length(usize),
    Chunked,
    /// The body ends with the connection.
    Close,
}

/// The end of the response after the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Clean,
    /// The connection closes.
    Cut,
    /// Silence.
    Hang,
    /// Endless data at full speed.
    Endless,
    /// Endless single bytes at intervals.
    Drip,
}

impl Request {
    /// The value of a header, by lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Answer {
    /// A redirect.
    pub fn to(place: impl std::fmt::Display) -> Answer {
        Answer::new(307, b"elsewhere").header(format!("Location: {place}"))
    }

    pub fn new(status: u16, body: &[u8]) -> Answer {
        let framing = Framing::Length(body.len());
        Answer { status, headers: Vec::new(), body: body.to_vec(), framing, ending: Ending::Clean }
    }

    pub fn ok(body: &[u8]) -> Answer {
        Answer::new(200, body)
    }

    pub fn header(mut self, line: impl Into<String>) -> Answer {
        self.headers.push(line.into());
        self
    }

    pub fn framed(mut self, framing: Framing) -> Answer {
        self.framing = framing;
        self
    }

    pub fn ending(mut self, ending: Ending) -> Answer {
        self.ending = ending;
        self
    }

    /// Sends only the first `n` bytes, then closes the connection; the declared length is unchanged.
    pub fn cut(mut self, n: usize) -> Answer {
        self.body.truncate(n);
        self.ending(Ending::Cut)
    }

    /// The correct response to `request`.
    pub fn ranged(request: &Request, bytes: &[u8]) -> Answer {
        let from = request.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match from {
            None => Answer::ok(bytes),
            Some(from) if from >= bytes.len() => Answer::new(416, b""),
            Some(from) => {
                Answer::new(206, &bytes[from..]).header(format!("Content-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len()))
            }
        }
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Box<Handler>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    /// Number of body bytes that clients have received.
    sent: AtomicUsize,
    stop: AtomicBool,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stop.load(Ordering::SeqCst) {
                    return;
                }
                state.connections.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&state);
                // A client that disconnects is not an error.
                std::thread::spawn(move || drop(serve(&state, stream.unwrap())));
            }
        });
        Server { address, shared }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub fn ranges(&self) -> Vec<Option<String>> {
        self.requests().into_iter().map(|request| request.range).collect()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes up the listener.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(state: &Shared, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(mut request) = read_request(&mut reader)? {
        {
            let mut requests = state.requests.lock().unwrap();
            request.nth = requests.iter().filter(|earlier| earlier.path == request.path).count();
            requests.push(request.clone());
        }
        let answer = (state.handler)(&request);
        send(state, &mut stream, &answer, request.method == "HEAD")?;
        if answer.ending != Ending::Clean || answer.framing == Framing::Close {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
    Ok(())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, range: None, headers: Vec::new(), nth: 0 };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            return Ok(Some(request));
        }
        let (name, value) = line.trim_end().split_once(':').unwrap_or((&line, ""));
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "range" {
            request.range = Some(value.clone());
        }
        request.headers.push(format!("{name}: {value}"));
    }
}

fn send(state: &Shared, stream: &mut TcpStream, answer: &Answer, only_head: bool) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for line in &answer.headers {
        head += &format!("{line}\r\n");
    }
    head += &match answer.framing {
        Framing::Length(length) => format!("Content-Length: {length}\r\n"),
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        Framing::Close => "Connection: close\r\n".to_owned(),
    };
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if only_head {
        return Ok(());
    }
    let mut put = |bytes: &[u8]| {
        if bytes.is_empty() {
            return Ok(());
        }
        let done = if answer.framing == Framing::Chunked {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend_from_slice(bytes);
            chunk.extend_from_slice(b"\r\n");
            stream.write_all(&chunk)
        } else {
            stream.write_all(bytes)
        };
        state.sent.fetch_add(bytes.len(), Ordering::SeqCst);
        done
    };
    answer.body.chunks(16 << 10).try_for_each(&mut put)?;
    while !state.stop.load(Ordering::SeqCst) {
        match answer.ending {
            Ending::Clean | Ending::Cut => break,
            Ending::Hang => std::thread::sleep(Duration::from_millis(10)),
            Ending::Endless => put(&[0; 4096])?,
            Ending::Drip => {
                put(&[0])?;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    if answer.framing == Framing::Chunked && answer.ending == Ending::Clean {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}
