//! The program `wgpu-conv`.

fn main() -> std::process::ExitCode {
    wgpu_conv_cli::main()
}
