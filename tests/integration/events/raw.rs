//! A server that says the same bytes to everyone, whatever they are, and then misbehaves; and how much memory a client of
//! it took.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The end of the response after the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The connection ends.
    Close,
    /// It is torn down.
    Reset,
    /// More, for ever.
    Endless,
}

/// A running server. It ends with the test's process.
pub struct Raw {
    pub address: SocketAddr,
    logins: Arc<AtomicUsize>,
}

impl Raw {
    pub fn start(answer: Vec<u8>, then: Then) -> Raw {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let (address, logins) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (answer, counted) = (Arc::new(answer), Arc::clone(&logins));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, counted) = (Arc::clone(&answer), Arc::clone(&counted));
                // A client that went away is what some tests are about.
                std::thread::spawn(move || _ = serve(stream, &answer, then, &counted));
            }
        });
        Raw { address, logins }
    }

    /// True if a request had an `Authorization`.
    pub fn asked_with_login(&self) -> bool {
        self.logins.load(Ordering::SeqCst) > 0
    }
}

fn serve(mut stream: TcpStream, answer: &[u8], then: Then, logins: &AtomicUsize) -> std::io::Result<()> {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        // Unread bytes turn the close into a reset.
        let n = if then == Then::Reset { stream.peek(&mut buffer)? } else { stream.read(&mut buffer)? };
        head.extend_from_slice(&buffer[..n]);
        if n == 0 || then == Then::Reset {
            break;
        }
    }
    if String::from_utf8_lossy(&head).to_ascii_lowercase().contains("authorization: basic") {
        logins.fetch_add(1, Ordering::SeqCst);
    }
    stream.write_all(answer)?;
    if then != Then::Endless {
        return Ok(());
    }
    loop {
        stream.write_all(&[b'x'; 65536])?;
    }
}

/// The output of a command, and the most memory that it had, in bytes.
pub fn peak(command: &mut Command) -> (Output, u64) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let drain = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        let text = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&text);
        let thread = std::thread::spawn(move || _ = pipe.unwrap().read_to_end(&mut into.lock().unwrap()));
        (thread, text)
    };
    let out = drain(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let err = drain(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let mut most = 0;
    let status = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        // The last one, not the largest: until the program is loaded, the figure is that of the test that starts it.
        most = kib.map_or(most, |kib| kib << 10);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let [stdout, stderr] = [out, err].map(|(thread, text)| {
        thread.join().unwrap();
        std::mem::take(&mut *text.lock().unwrap())
    });
    (Output { status, stdout, stderr }, most)
}
