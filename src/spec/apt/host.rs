//! The host's own tools, run under control: a known environment, no input, and an end when the user asks for one.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::value::{Cancel, Proxies};
use crate::{Error, Result};

/// The interval at which a waiting run checks for the user's request to stop.
const TICK: Duration = Duration::from_millis(20);

/// The part of the caller's environment that reaches the tools: search path, proxies, and the location of the host's apt
/// configuration. Everything else is dropped.
#[derive(Clone, Default)]
pub(crate) struct Host {
    kept: Vec<(OsString, OsString)>,
    apt_config: Option<OsString>,
    proxies: Proxies,
}

const KEPT: [&str; 11] = [
    "PATH",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

impl Host {
    /// Selects the relevant environment variables.
    pub(crate) fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut host = Host::default();
        let vars: Vec<(OsString, OsString)> = vars.into_iter().collect();
        host.proxies = Proxies::from_vars(|wanted| {
            let (_, value) = vars.iter().find(|(name, _)| name == wanted)?;
            value.to_str().map(str::to_owned)
        });
        for (name, value) in vars {
            if name == "APT_CONFIG" {
                host.apt_config = Some(value);
            } else if KEPT.iter().any(|kept| name == *kept) {
                host.kept.push((name, value));
            }
        }
        host.kept.sort();
        host
    }

    /// The proxies that the environment names.
    pub(crate) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// A command of the host, with the host's own configuration.
    pub(super) fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        // Without HOME, gpgv looks up the password database; its answer does not matter, but its warning would.
        command.env_clear().env("LC_ALL", "C").env("HOME", "/nonexistent").envs(self.kept.iter().cloned());
        if let Some(file) = &self.apt_config {
            command.env("APT_CONFIG", file);
        }
        command
    }

    /// A command of the host that sees only the configuration `file`.
    pub(super) fn private_command(&self, tool: &str, file: &OsStr) -> Command {
        let mut command = self.command(tool);
        command.env("APT_CONFIG", file);
        command
    }
}

/// The output of a tool.
pub(super) struct Output {
    /// True for exit status 0.
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The tool's own report of a failure: its error and warning lines, or else its last lines.
    pub(super) fn complaint(&self) -> Vec<String> {
        let lines = || self.stderr.lines().map(str::trim).filter(|line| !line.is_empty());
        let marked: Vec<String> = lines().filter(|line| line.starts_with("E:") || line.starts_with("W:")).map(str::to_owned).collect();
        if !marked.is_empty() {
            return marked;
        }
        let all: Vec<String> = lines().map(str::to_owned).collect();
        all[all.len().saturating_sub(5)..].to_vec()
    }
}

/// Runs `command` to its end.
///
/// # Errors
/// The tool is missing (the message names its package), cannot be run, or the user asked to stop.
pub(super) fn run(mut command: Command, cancel: &Cancel) -> Result<Output> {
    cancel.check()?;
    let tool = command.get_program().to_string_lossy().into_owned();
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(&tool),
        _ => Error::io(format!("run `{tool}`"), &error),
    })?;
    // Both pipes are drained at once: a tool blocks forever on a full pipe that nobody reads.
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child, &tool, cancel);
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    Ok(Output { success: status?.success(), stdout, stderr })
}

fn wait(child: &mut Child, tool: &str, cancel: &Cancel) -> Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().map_err(|error| Error::io(format!("wait for `{tool}`"), &error))? {
            return Ok(status);
        }
        if let Err(stopped) = cancel.check() {
            // It writes only into the private state, which is removed: a hard kill does no harm. Its own helpers end with their
            // pipes.
            let _ = child.kill();
            let _ = child.wait();
            return Err(stopped);
        }
        thread::sleep(TICK);
    }
}

type Drain = thread::JoinHandle<Vec<u8>>;

fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<Drain> {
    pipe.map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // A broken pipe ends the text; the tool's status says whether that matters.
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        })
    })
}

fn collect(drain: Option<Drain>) -> String {
    let bytes = drain.and_then(|thread| thread.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fails unless all tools exist. Called first: without gpgv, apt would call a good archive unsigned.
pub(super) fn check_tools(host: &Host, cancel: &Cancel) -> Result<()> {
    for tool in ["apt-get", "apt-cache", "apt-config", "gpgv"] {
        let mut command = host.command(tool);
        command.arg("--version");
        run(command, cancel)?;
    }
    Ok(())
}

fn missing(tool: &str) -> Error {
    let package = match tool {
        "apt-get" | "apt-cache" | "apt-config" => "apt",
        other => other,
    };
    let error = Error::user(format!("`{tool}` is not installed; it is needed to look up Debian's packages and mirrors"));
    error.hint(format!(
        "install the package `{package}`; on a host that is not like Debian, fetch with `--mirror URL`, and lock in a Debian container"
    ))
}
