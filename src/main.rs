//! The `kbake` program: calls the library's `cli`.

fn main() -> std::process::ExitCode {
    kbake::main(std::env::args_os())
}
