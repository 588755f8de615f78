//! The binary: hands the command line to [`icecore::cli`], prints an error in one line and picks the exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match icecore::cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("icecore: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
