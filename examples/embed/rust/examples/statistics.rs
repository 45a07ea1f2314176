//! Layer norm of some rows on threads of the program's own, and what a mistake says.
//!
//!     cargo run --offline --example statistics

use normkernels::{layer_norm, LayerNormOptions, Matrix, Pool, Threads};

/// Scoped threads, of which each takes every n-th task.
struct Scoped(usize);

// SAFETY: the scope ends when every thread has, and no index is in two threads' steps.
unsafe impl Pool for Scoped {
    fn num_threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: i64, task: &(dyn Fn(i64) + Sync)) {
        std::thread::scope(|scope| {
            for first in 0..self.0 {
                scope.spawn(move || (first as i64..tasks).step_by(self.0).for_each(task));
            }
        });
    }
}

fn main() {
    let shape = Matrix { rows: 1000, cols: 768 };
    let x: Vec<f32> = (0..768_000u32).map(|i| 1e4 + (i % 1009) as f32).collect();
    let (mut y, mut mean) = (vec![0.0; x.len()], vec![0.0; shape.rows]);

    let pool = Scoped(2);
    let options = LayerNormOptions {
        mean: Some(&mut mean),
        threads: Threads::Pool(&pool),
        ..Default::default()
    };
    layer_norm(shape, &x, &mut y, options).unwrap();
    println!("{}: mean {}, first {:.5}", normkernels::version(), mean[0], y[0]);

    let wrong = LayerNormOptions { gamma: Some(&x[..7]), ..Default::default() };
    println!("{}", layer_norm(shape, &x, &mut y, wrong).unwrap_err());
}
