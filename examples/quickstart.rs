//! The shortest way through the crate: `torch.nn.Conv2d(3, 2, kernel_size=3, stride=2, padding=0)` on a 1×3×7×7 input,
//! computed on the GPU and checked against the CPU reference.
//!
//! ```text
//! cargo run --example quickstart
//! ```

use std::error::Error;
use std::process::ExitCode;

use wgpu_conv::{Context, ContextOptions, Conv2d, Problem, Tensors, reference};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without an adapter, this says what to install.
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let conv = Conv2d::new(3, 2, 3).stride(2).padding(0);
    let problem = Problem::new(&conv, [1, 3, 7, 7])?;
    println!("problem       {problem}");
    println!("weight shape  {:?}", problem.weight_shape());
    println!("output shape  {:?}", problem.output_shape());

    // Any numbers will do; these have a pattern that is easy to type into PyTorch:
    // torch.arange(147).reshape(1, 3, 7, 7) / 147, (torch.arange(54).reshape(2, 3, 3, 3) % 7 - 3) / 4, torch.tensor([0.5, -0.5])
    let input: Vec<f32> = (0u8..147).map(|i| f32::from(i) / 147.0).collect();
    let weight: Vec<f32> = (0u8..54).map(|i| (f32::from(i % 7) - 3.0) / 4.0).collect();
    let bias = [0.5, -0.5];
    let tensors = Tensors::new(&input, &weight).bias(&bias);

    // A program that owns a device calls `Engine::new(&device, &queue)` instead.
    let context = Context::new_blocking(&ContextOptions::default())?;
    let engine = context.engine();
    println!("adapter       {}", context.adapter.get_info().name);
    let output = engine.convolve_blocking(&problem, &tensors)?;

    let [_, channels, _, rows, columns] = problem.output_shape().five().map(|size| size as usize);
    for channel in 0..channels {
        println!("\noutput channel {channel}");
        for row in output.chunks(columns).skip(channel * rows).take(rows) {
            let numbers: Vec<String> = row.iter().map(|value| format!("{value:9.5}")).collect();
            println!("{}", numbers.join(" "));
        }
    }

    let check = reference::convolve(&problem, &tensors)?.compare(&output)?;
    println!(
        "\nlargest difference from the CPU reference: {:.1e}, {:.2} of what is allowed there",
        check.max_error, check.worst_ratio
    );
    if check.failures > 0 {
        return Err(format!("{} of {} outputs are outside their bound", check.failures, check.count).into());
    }
    Ok(())
}
