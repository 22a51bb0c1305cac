//! Virtual machines for tests: QEMU in pure emulation, cut off from every network but its forwarded ports.
//!
//! Traps:
//! - One emulated processor of the plain model (`qemu64`) boots fastest; more of them, or a richer model, are slower.
//! - QEMU accepts a connection to a forwarded port at once, long before anyone listens in the guest. So only bytes from
//!   the guest prove anything, and the waits here ask for them.
//! - Another process may take a free port first: when QEMU cannot have it, another is tried.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// QEMU's usual machine types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// The i440FX of 1996, QEMU's default.
    Pc,
    /// The Q35, libvirt's default.
    Q35,
}

/// A machine to start.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    pub machine: Machine,
    pub memory_mib: u32,
    /// The virtio disks, the boot disk first. A name that ends in `.qcow2` is one, all others are raw. Writes of the
    /// guest are thrown away.
    pub disks: &'a [&'a Path],
    /// The network that QEMU simulates for the machine.
    pub network: Network,
    /// Ports of the guest that are forwarded from free ports of 127.0.0.1. Nothing else goes in or out.
    pub ports: &'a [u16],
    /// Ports at further addresses of the guest, forwarded likewise.
    pub further: &'a [(&'static str, u16)],
    /// Other machines that the guest finds on its network.
    pub others: &'a [Other],
}

/// A machine that QEMU simulates on the guest's network: it forwards each connection to a port of 127.0.0.1. QEMU accepts the
/// connection first, and closes it if nothing listens on that port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other {
    /// The address and port that the guest calls.
    pub address: &'static str,
    pub port: u16,
    /// The port of 127.0.0.1.
    pub host: u16,
}

/// Connects its own input and output with a port of 127.0.0.1, and passes on the end of each direction. It prints nothing of its own:
/// QEMU takes stdin, stdout and stderr for the peer's data.
const RELAY: &str = r#"import os, socket, sys, threading
try:
    peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
except OSError:
    os._exit(1)
def pump(read, write, close):
    try:
        while data := read(65536):
            write(data)
        close()
    except OSError:
        os._exit(1)
def say(data):
    while data:
        data = data[os.write(1, data):]
sender = threading.Thread(target=pump, args=(lambda n: os.read(0, n), peer.sendall, lambda: peer.shutdown(socket.SHUT_WR)))
sender.daemon = True
sender.start()
pump(peer.recv, say, lambda: None)
"#;

/// The network that the guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// QEMU's own 10.0.2.0/24, where the machine asks for its address.
    Dhcp,
    /// A cluster's, where the machine brings its own.
    Static {
        /// The network, with prefix.
        cidr: &'static str,
        /// The host's address in it.
        host: &'static str,
        /// The machine's: ports are forwarded to it.
        guest: &'static str,
        /// The interface's hardware address.
        mac: &'static str,
    },
}

/// A running machine. It is killed when dropped; if the test is failing, the last lines of its console are printed.
pub struct Vm {
    qemu: Child,
    folder: TempDir,
    forwards: Vec<Forward>,
    started: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Forward {
    /// The guest's address, if it is not the one of the network.
    address: Option<&'static str>,
    guest: u16,
    host: u16,
}

/// The number of the console's last lines that a failure shows.
const TAIL_LINES: usize = 60;
/// The interval of polling.
const PAUSE: Duration = Duration::from_millis(200);
/// The time limit until the guest runs, on a busy host.
const START_DEADLINE: Duration = Duration::from_secs(600);

impl Vm {
    /// Starts QEMU. Panics when it is missing or refuses.
    pub fn start(setup: &Setup) -> Vm {
        for _ in 0..10 {
            let further = setup.further.iter().map(|&(address, port)| (Some(address), port));
            let wanted = setup.ports.iter().map(|&port| (None, port)).chain(further);
            let forwards: Vec<Forward> = wanted.map(|(address, guest)| Forward { address, guest, host: free_port() }).collect();
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut command = qemu(setup, &forwards, folder.path());
            let qemu = spawn(&mut command);
            let mut vm = Vm { qemu, folder, forwards, started: Instant::now() };
            if vm.has_its_ports() {
                return vm;
            }
        }
        panic!("found no free port for QEMU in ten attempts");
    }

    /// The host's port that leads to the guest's port `guest`.
    pub fn port(&self, guest: u16) -> u16 {
        self.forwards.iter().find(|forward| forward.guest == guest).expect("a port of the setup").host
    }

    /// The output of the guest's first serial line.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("console")).unwrap_or_default()).into_owned()
    }

    /// The time since the start.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until the console shows `text`; gives the time since the start. Panics at `deadline` (since the start), or
    /// when the machine stops before that.
    pub fn wait_for_console(&mut self, text: &str, deadline: Duration) -> Duration {
        self.wait_for(&format!("`{text}` on the console"), deadline, |vm| vm.console().contains(text).then_some(()));
        self.age()
    }

    /// Waits until an HTTP server in the guest answers `GET path` with status 200; gives the answer's body.
    pub fn wait_for_http(&mut self, guest_port: u16, path: &str, deadline: Duration) -> String {
        let port = self.port(guest_port);
        self.wait_for(&format!("an answer to GET {path} from port {guest_port}"), deadline, |_| http_get(port, path))
    }

    /// Waits until `look` finds something.
    pub fn wait_until<T>(&mut self, what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
        self.wait_for(what, deadline, |_| look())
    }

    /// Waits until `ssh` can run a command as `key.user`; gives the time since the start.
    pub fn wait_for_ssh(&mut self, key: &SshKey, deadline: Duration) -> Duration {
        self.wait_for("a login by ssh", deadline, |vm| vm.ssh(key, "true").status.success().then_some(()));
        self.age()
    }

    /// Runs a command in the guest by ssh; the setup must forward port 22. Panics when there is no ssh on the host; an
    /// unreachable guest is exit status 255, as ssh says it.
    pub fn ssh(&self, key: &SshKey, command: &str) -> Output {
        let mut ssh = self.ssh_command(key, &[]);
        output(ssh.arg(command).stdin(Stdio::null()))
    }

    /// Forwards a socket of the guest, which `key.user` may open, to a socket on this host until the tunnel is dropped.
    pub fn tunnel(&self, key: &SshKey, socket: &str) -> Tunnel {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let local = folder.path().join("socket");
        let both = format!("{}:{socket}", local.to_str().expect("a path in UTF-8"));
        let mut ssh = self.ssh_command(key, &["-N", "-o", "ExitOnForwardFailure=yes", "-L", &both]);
        let mut tunnel = Tunnel { ssh: spawn(ssh.stdin(Stdio::null()).stdout(Stdio::null())), socket: local, _folder: folder };
        let started = Instant::now();
        while !tunnel.socket.exists() {
            assert!(tunnel.ssh.try_wait().expect("ssh's status").is_none(), "ssh leads nobody to {socket}");
            assert!(started.elapsed() < START_DEADLINE, "no tunnel to {socket} within {START_DEADLINE:?}");
            std::thread::sleep(PAUSE);
        }
        tunnel
    }

    /// [`Vm::ssh`] with `options`, which take precedence over the usual ones, and this file of known hosts.
    pub fn ssh_known(&self, key: &SshKey, known: &Path, options: &[String], command: &str) -> Output {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-i"]).arg(&key.path).args(["-p", &self.port(22).to_string()]).args(options);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", known.display()));
        for option in ["BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "GlobalKnownHostsFile=/dev/null", "ConnectTimeout=20"] {
            ssh.args(["-o", option]);
        }
        output(ssh.arg(format!("{}@127.0.0.1", key.user)).arg(command).stdin(Stdio::null()))
    }

    /// An ssh to the guest, with these arguments before its name.
    fn ssh_command(&self, key: &SshKey, args: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        // Nothing of the user's own configuration, keys or known hosts takes part.
        ssh.args(["-F", "none", "-i"]).arg(&key.path).args(["-p", &self.port(22).to_string()]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            // An emulated processor takes seconds for a key exchange.
            "ConnectTimeout=20",
            "ServerAliveInterval=10",
            "ServerAliveCountMax=6",
            "KexAlgorithms=curve25519-sha256",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.args(args).arg(format!("{}@127.0.0.1", key.user));
        ssh
    }

    /// Runs a command in the guest and gives its standard output. Panics when it fails.
    pub fn ssh_ok(&self, key: &SshKey, command: &str) -> String {
        let output = self.ssh(key, command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "`{command}` in the guest failed: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// Waits until the machine has switched itself off. Panics at `deadline` (since the start).
    pub fn wait_for_exit(&mut self, deadline: Duration) -> ExitStatus {
        loop {
            if let Some(status) = self.qemu.try_wait().expect("QEMU's status") {
                return status;
            }
            assert!(self.age() < deadline, "the machine still runs after {deadline:?}");
            std::thread::sleep(PAUSE);
        }
    }

    fn wait_for<T>(&mut self, what: &str, deadline: Duration, mut look: impl FnMut(&Vm) -> Option<T>) -> T {
        loop {
            // This order: the last output of a machine may come just before it stops.
            let over = self.is_over();
            if let Some(found) = look(self) {
                return found;
            }
            assert!(!over, "QEMU stopped before there was {what}: {}", self.messages());
            assert!(self.age() < deadline, "no {what} within {deadline:?}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits for the greeting of QEMU's monitor, after which everything is set up; false if a port was refused.
    fn has_its_ports(&mut self) -> bool {
        loop {
            let over = self.is_over();
            if self.monitor().is_some() {
                return true;
            }
            if over {
                let messages = self.messages();
                assert!(messages.contains("Could not set up host forwarding"), "QEMU does not start: {messages}");
                return false;
            }
            assert!(self.age() < START_DEADLINE, "QEMU has not started within {START_DEADLINE:?}");
            std::thread::sleep(PAUSE);
        }
    }

    /// QEMU's monitor ([QMP](https://www.qemu.org/docs/master/interop/qmp-spec.html)), behind its greeting.
    fn monitor(&self) -> Option<UnixStream> {
        let stream = UnixStream::connect(self.folder.path().join("monitor")).ok()?;
        stream.set_read_timeout(Some(START_DEADLINE)).ok()?;
        let mut greeting = String::new();
        BufReader::new(&stream).read_line(&mut greeting).ok()?;
        greeting.contains("\"QMP\"").then_some(stream)
    }

    fn is_over(&mut self) -> bool {
        self.qemu.try_wait().expect("QEMU's status").is_some()
    }

    /// QEMU's own messages.
    fn messages(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("messages")).unwrap_or_default()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if std::thread::panicking() {
            let console = self.console();
            let lines: Vec<&str> = console.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
            eprintln!("--- QEMU says ---\n{}--- the console's last lines ---\n{}\n---", self.messages(), tail.join("\n"));
        }
    }
}

/// A guest's socket on this host. Closed when dropped.
pub struct Tunnel {
    ssh: Child,
    /// The path of the socket on this host.
    pub socket: PathBuf,
    _folder: TempDir,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

/// A temporary key pair, whose public key goes into a seed.
pub struct SshKey {
    /// The user that may log in.
    pub user: String,
    /// The line for `authorized_keys`.
    pub public: String,
    path: PathBuf,
    _folder: TempDir,
}

impl SshKey {
    /// Makes a key pair for `user`.
    pub fn generate(user: &str) -> SshKey {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        let made = output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&path));
        assert!(made.status.success(), "ssh-keygen failed: {}", String::from_utf8_lossy(&made.stderr));
        let public = std::fs::read_to_string(path.with_extension("pub")).expect("the public key").trim().to_owned();
        SshKey { user: user.to_owned(), public, path, _folder: folder }
    }
}

/// Runs a host's tool to its end. Panics with the remedy when it is missing.
pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| missing(command, &error))
}

/// Starts a host's tool. Panics with the remedy when it is missing.
pub fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| missing(command, &error))
}

fn missing(command: &Command, error: &std::io::Error) -> ! {
    let tool = command.get_program().to_string_lossy();
    match error.kind() {
        std::io::ErrorKind::NotFound => panic!("{tool} is missing: run tests/setup.sh"),
        _ => panic!("cannot run {tool}: {error}"),
    }
}

fn qemu(setup: &Setup, forwards: &[Forward], folder: &Path) -> Command {
    let machine = match setup.machine {
        Machine::Pc => "pc,accel=tcg",
        Machine::Q35 => "q35,accel=tcg",
    };
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-machine", machine, "-cpu", "qemu64", "-smp", "1", "-m", &setup.memory_mib.to_string()])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial"])
        .arg(format!("file:{}", option(&folder.join("console"))));
    for (number, disk) in setup.disks.iter().enumerate() {
        let format = if disk.extension().is_some_and(|end| end == "qcow2") { "qcow2" } else { "raw" };
        command.args(["-drive", &format!("if=none,id=disk{number},format={format},snapshot=on,file={}", option(disk))]);
        // The options of `kbake qemu`: the machine boots from the first disk, and recognises a data disk by its serial number.
        let is_data = disk.to_str().is_some_and(|name| name.ends_with(".data.qcow2"));
        let serial = if is_data { ",serial=kbake-data" } else { "" };
        command.args(["-device", &format!("virtio-blk-pci,drive=disk{number},bootindex={}{serial}", number + 1)]);
    }
    command.args(["-qmp", &format!("unix:{},server=on,wait=off", option(&folder.join("monitor")))]);
    let (network, guest) = match setup.network {
        Network::Dhcp => (String::new(), ""),
        Network::Static { cidr, host, guest, mac } => (format!(",mac={mac},net={cidr},host={host}"), guest),
    };
    let forward =
        |forward: &Forward| format!(",hostfwd=tcp:127.0.0.1:{}-{}:{}", forward.host, forward.address.unwrap_or(guest), forward.guest);
    let mut forwards: String = forwards.iter().map(forward).collect();
    let relay = folder.join("relay.py");
    std::fs::write(&relay, RELAY).expect("a file in a temporary folder");
    for other in setup.others {
        let command = format!("/usr/bin/python3 -I {} {}", option(&relay), other.host);
        forwards.push_str(&format!(",guestfwd=tcp:{}:{}-cmd:{command}", other.address, other.port));
    }
    let messages = std::fs::File::create(folder.join("messages")).expect("a file in a temporary folder");
    // QEMU keeps the guest's writes, which are thrown away, in $TMPDIR.
    command
        .args(["-nic", &format!("user,model=virtio-net-pci,restrict=on{network}{forwards}")])
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(messages);
    command
}

/// A path in an option of QEMU, where a comma is doubled.
fn option(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").replace(',', ",,")
}

/// A free port of 127.0.0.1.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// The body of a 200 answer, or none yet.
fn http_get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_ascii_whitespace().nth(1)?;
    (status == "200").then(|| body.to_owned())
}
