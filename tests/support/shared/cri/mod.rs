//! A client of the [Container Runtime Interface](https://kubernetes.io/docs/concepts/architecture/cri/), version 1: it
//! makes the kubelet's calls. Debian 12 has neither a kubelet nor crictl.
//!
//! The CRI is [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) on a Unix socket. All
//! calls here send one message and receive one, which takes no more than `h2` and a frame header of five bytes.

pub mod messages;
pub mod pods;

use std::path::Path;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use messages::*;

/// The time limit of a call: an emulated machine takes seconds to start a container.
const PATIENCE: Duration = Duration::from_secs(240);

/// A connection to a runtime.
pub struct Cri {
    runtime: Runtime,
    calls: SendRequest<Bytes>,
}

/// A running container.
#[derive(Debug, Clone)]
pub struct Container(String);

/// The output of a program in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
}

impl Cri {
    /// Connects; fails if no HTTP/2 server answers.
    pub fn connect(socket: &Path) -> Result<Cri, String> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime for one thread");
        let connected = runtime.block_on(async {
            let stream = UnixStream::connect(socket).await.map_err(|e| e.to_string())?;
            let (calls, connection) = h2::client::handshake(stream).await.map_err(|e| e.to_string())?;
            // It runs while a call waits; the call returns its errors.
            tokio::spawn(connection);
            Ok::<_, String>(calls)
        });
        Ok(Cri { calls: connected?, runtime })
    }

    /// Calls `SERVICE/METHOD`; gives the answer, or the server's complaint.
    pub fn call<A: Message + Default>(&self, method: &str, message: &impl Message) -> Result<A, String> {
        let exchange = async { tokio::time::timeout(PATIENCE, exchange(self.calls.clone(), method, message)).await };
        let answer = self.runtime.block_on(exchange).map_err(|_| format!("{method}: no answer within {PATIENCE:?}"))?;
        let bytes = answer.map_err(|why| format!("{method}: {why}"))?;
        A::decode(bytes).map_err(|e| format!("{method}: {e}"))
    }

    fn must<A: Message + Default>(&self, method: &str, message: &impl Message) -> A {
        self.call(method, message).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The runtime's name and version.
    pub fn version(&self) -> Result<VersionResponse, String> {
        self.call("runtime.v1.RuntimeService/Version", &VersionRequest { version: "v1".into() })
    }

    /// The conditions of the runtime and the pods' network: `RuntimeReady`, `NetworkReady`.
    pub fn conditions(&self) -> Vec<RuntimeCondition> {
        let answer: StatusResponse = self.must("runtime.v1.RuntimeService/Status", &StatusRequest { verbose: false });
        answer.status.unwrap_or_default().conditions
    }

    /// The full names of all images that it has, sorted.
    pub fn image_names(&self) -> Vec<String> {
        let answer: ListImagesResponse = self.must("runtime.v1.ImageService/ListImages", &ListImagesRequest {});
        let mut names: Vec<String> = answer.images.into_iter().flat_map(|image| image.repo_tags).collect();
        names.sort();
        names
    }

    /// The image of a name, as the kubelet asks for it before it would pull.
    pub fn image(&self, name: &str) -> Option<Image> {
        let request = ImageStatusRequest { image: Some(ImageSpec { image: name.into() }), verbose: false };
        let answer: ImageStatusResponse = self.must("runtime.v1.ImageService/ImageStatus", &request);
        answer.image
    }

    /// Starts a pod's sandbox; gives its identity.
    pub fn run_sandbox(&self, config: &PodSandboxConfig) -> String {
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        let answer: RunPodSandboxResponse = self.must("runtime.v1.RuntimeService/RunPodSandbox", &request);
        answer.pod_sandbox_id
    }

    /// The state of a sandbox.
    pub fn sandbox(&self, id: &str) -> PodSandboxStatus {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: false };
        let answer: PodSandboxStatusResponse = self.must("runtime.v1.RuntimeService/PodSandboxStatus", &request);
        answer.status.expect("a sandbox that runs has a status")
    }

    /// Stops a sandbox with all that runs in it, and removes it.
    pub fn remove_sandbox(&self, id: &str) {
        let stop = StopPodSandboxRequest { pod_sandbox_id: id.into() };
        let _: Empty = self.must("runtime.v1.RuntimeService/StopPodSandbox", &stop);
        let remove = RemovePodSandboxRequest { pod_sandbox_id: id.into() };
        let _: Empty = self.must("runtime.v1.RuntimeService/RemovePodSandbox", &remove);
    }

    /// Starts a container of `image` in a sandbox.
    pub fn start(&self, sandbox: &str, pod: &PodSandboxConfig, image: &str, args: &[&str]) -> Container {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: "main".into(), attempt: 0 }),
            image: Some(ImageSpec { image: image.into() }),
            args: args.iter().map(ToString::to_string).collect(),
            ..ContainerConfig::default()
        };
        let request = CreateContainerRequest { pod_sandbox_id: sandbox.into(), config: Some(config), sandbox_config: Some(pod.clone()) };
        let made: CreateContainerResponse = self.must("runtime.v1.RuntimeService/CreateContainer", &request);
        let start = StartContainerRequest { container_id: made.container_id.clone() };
        let _: Empty = self.must("runtime.v1.RuntimeService/StartContainer", &start);
        Container(made.container_id)
    }

    /// Runs a program in a container to its end.
    pub fn exec(&self, container: &Container, command: &[&str]) -> Said {
        let cmd = command.iter().map(ToString::to_string).collect();
        let request = ExecSyncRequest { container_id: container.0.clone(), cmd, timeout: 120 };
        let answer: ExecSyncResponse = self.must("runtime.v1.RuntimeService/ExecSync", &request);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { stdout: text(answer.stdout), stderr: text(answer.stderr), status: answer.exit_code }
    }
}

/// Sends a message and receives the answer.
async fn exchange(calls: SendRequest<Bytes>, method: &str, message: &impl Message) -> Result<Bytes, String> {
    let request = Request::post(format!("http://localhost/{method}")).header("content-type", "application/grpc").header("te", "trailers");
    let request = request.body(()).expect("a method's name makes a path");
    let mut calls = calls.ready().await.map_err(|e| e.to_string())?;
    let (response, mut body) = calls.send_request(request, false).map_err(|e| e.to_string())?;
    body.send_data(frame(message), true).map_err(|e| e.to_string())?;

    let response = response.await.map_err(|e| e.to_string())?;
    if response.status() != 200 {
        return Err(format!("HTTP status {}", response.status()));
    }
    // An answer without a body has its gRPC status in the headers.
    complaint(response.headers())?;
    let mut body = response.into_body();
    let mut received = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|e| e.to_string())?;
        body.flow_control().release_capacity(data.len()).map_err(|e| e.to_string())?;
        received.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.map_err(|e| e.to_string())?.unwrap_or_default();
    complaint(&trailers)?;
    // Five bytes: not compressed, and the message's length.
    match received.split_at_checked(5) {
        Some(([0, length @ ..], message)) if message.len() == u32::from_be_bytes(length.try_into().unwrap()) as usize => {
            Ok(Bytes::copy_from_slice(message))
        }
        _ => Err(format!("an answer of {} bytes that is no message", received.len())),
    }
}

fn frame(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).expect("a short message"));
    message.encode(&mut framed).expect("the buffer grows");
    framed.freeze()
}

fn complaint(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match text("grpc-status") {
        Some(status) if status != "0" => Err(format!("gRPC status {status}: {}", text("grpc-message").unwrap_or_default())),
        _ => Ok(()),
    }
}
