//! Tensors, gradients and devices in five minutes.
//!
//! `cargo run --example hello_tensor`

use tilegrad::{Device, Result, Tensor, no_grad};

fn main() -> Result<()> {
    // A hardware GPU if there is one, else the CPU; TILEGRAD_DEVICE=software|cpu|.. says otherwise.
    let device = Device::auto()?;
    println!("device: {device}\n");

    // Tensors have a shape at run time, and ops that broadcast as numpy's do.
    let x = Tensor::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], &device);
    let row = Tensor::new(&[10.0, 20.0, 30.0], [3], &device);
    println!("x + row =\n{}\n", &x + &row);
    println!("x x^T =\n{}\n", x.matmul(&x.transpose()));
    println!("mean of each column = {}\n", x.mean_axes(&[0], false));

    // A straight line through five points, by gradient descent: y = 2x - 1.
    let xs = Tensor::new(&[-2.0, -1.0, 0.0, 1.0, 2.0], [5, 1], &device);
    let ys = Tensor::new(&[-5.0, -3.0, -1.0, 1.0, 3.0], [5, 1], &device);
    let mut slope = Tensor::zeros([1, 1], &device).requires_grad();
    let mut shift = Tensor::zeros([1], &device).requires_grad();
    for step in 0..=60 {
        let loss = (&(&xs.matmul(&slope) + &shift) - &ys).square().mean();
        if step == 0 {
            println!("the tape of the loss, which backward goes through from the end:\n{}\n", loss.tape());
        }
        if step % 20 == 0 {
            println!("step {step:>2}: loss {:.6}", loss.item()?);
        }
        let gradients = loss.backward();
        let descend = |w: &Tensor| {
            let gradient = gradients.get(w).expect("the loss depends on it");
            no_grad(|| (w - &(gradient * 0.1)).detach().requires_grad())
        };
        (slope, shift) = (descend(&slope), descend(&shift));
    }
    println!("slope {:.4}, shift {:.4}", slope.item()?, shift.item()?);
    Ok(())
}
