//! The `kbake` program. All it does is in the library's `cli`.

fn main() -> std::process::ExitCode {
    kbake::cli::main(std::env::args_os())
}
