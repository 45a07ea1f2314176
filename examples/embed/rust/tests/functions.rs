//! The functions against their formulas in f64, and what they refuse.

use std::sync::atomic::{AtomicI64, Ordering};

use normkernels::*;

const SHAPE: Matrix = Matrix { rows: 5, cols: 19 };

/// Numbers around 0 that repeat nowhere.
fn numbers(count: usize, seed: f64) -> Vec<f64> {
    (0..count).map(|i| 2.0 * (seed + 0.7 * i as f64 + 0.01 * (i * i) as f64).sin()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The most that two results differ.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// dx by central differences of sum(dy * y).
fn numeric_gradient(x: &[f64], dy: &[f64], forward: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let step = 1e-6;
    let loss = |x: &[f64]| forward(x).iter().zip(dy).map(|(y, dy)| y * dy).sum::<f64>();
    (0..x.len())
        .map(|i| {
            let moved = |by: f64| {
                let mut x = x.to_vec();
                x[i] += by;
                loss(&x)
            };
            (moved(step) - moved(-step)) / (2.0 * step)
        })
        .collect()
}

// Of differences of numbers around 1 over 2e-6, rounded in their 16th digit.
const NUMERIC: f64 = 1e-7;

fn layer_norm_formula(x: &[f64], gamma: &[f64], beta: &[f64], epsilon: f64) -> Vec<f64> {
    x.chunks(gamma.len())
        .flat_map(|row| {
            let center = mean(row);
            let squares: Vec<f64> = row.iter().map(|x| (x - center).powi(2)).collect();
            let sigma = (mean(&squares) + epsilon).sqrt();
            let scaled = row.iter().zip(gamma).zip(beta);
            scaled.map(|((x, g), b)| (x - center) / sigma * g + b).collect::<Vec<f64>>()
        })
        .collect()
}

#[test]
fn layer_norm_is_its_formula() {
    let (x, gamma, beta) = (numbers(95, 0.1), numbers(19, 0.2), numbers(19, 0.3));
    let (mut y, mut means, mut sigma) = ([0.0; 95], [0.0; 5], [0.0; 5]);
    let options = LayerNormOptions {
        gamma: Some(&gamma),
        beta: Some(&beta),
        epsilon: 0.1,
        mean: Some(&mut means),
        sigma: Some(&mut sigma),
        threads: Threads::AtMost(1),
    };
    layer_norm(SHAPE, &x, &mut y, options).unwrap();
    assert!(difference(&y, &layer_norm_formula(&x, &gamma, &beta, 0.1)) < 1e-14);
    assert!((means[4] - mean(&x[76..])).abs() < 1e-15);

    let mut in_place = x.clone();
    let options = LayerNormOptions {
        gamma: Some(&gamma),
        beta: Some(&beta),
        epsilon: 0.1,
        ..Default::default()
    };
    layer_norm_in_place(SHAPE, &mut in_place, options).unwrap();
    assert_eq!(in_place, y);

    let dy = numbers(95, 0.4);
    let (mut dx, mut dgamma, mut dbeta) = ([0.0; 95], [0.0; 19], [0.0; 19]);
    let options = LayerNormBackwardOptions {
        gamma: Some(&gamma),
        dgamma: Some(&mut dgamma),
        dbeta: Some(&mut dbeta),
        ..Default::default()
    };
    layer_norm_backward(SHAPE, &dy, &x, &means, &sigma, &mut dx, options).unwrap();
    let expected = numeric_gradient(&x, &dy, |x| layer_norm_formula(x, &gamma, &beta, 0.1));
    assert!(difference(&dx, &expected) < NUMERIC);
    let expected = numeric_gradient(&gamma, &dy, |gamma| layer_norm_formula(&x, gamma, &beta, 0.1));
    assert!(difference(&dgamma, &expected) < NUMERIC);
    let expected: Vec<f64> = (0..19).map(|j| dy.iter().skip(j).step_by(19).sum()).collect();
    assert!(difference(&dbeta, &expected) < 1e-14);
}

fn rms_norm_formula(x: &[f64], cols: usize) -> Vec<f64> {
    x.chunks(cols)
        .flat_map(|row| {
            let squares: Vec<f64> = row.iter().map(|x| x * x).collect();
            let rstd = 1.0 / (mean(&squares) + 1e-5).sqrt();
            row.iter().map(|x| x * rstd).collect::<Vec<f64>>()
        })
        .collect()
}

#[test]
fn rms_norm_is_its_formula() {
    let (x, dy) = (numbers(95, 0.5), numbers(95, 0.6));
    let (mut y, mut rstd, mut dx, mut again) = ([0.0; 95], [0.0; 5], [0.0; 95], [0.0; 95]);
    let options = RmsNormOptions { rstd: Some(&mut rstd), ..Default::default() };
    rms_norm(SHAPE, &x, &mut y, options).unwrap();
    assert!(difference(&y, &rms_norm_formula(&x, 19)) < 1e-14);
    let options = RmsNormBackwardOptions { rstd: Some(&rstd), ..Default::default() };
    rms_norm_backward(SHAPE, &dy, &x, &mut dx, options).unwrap();
    rms_norm_backward(SHAPE, &dy, &x, &mut again, Default::default()).unwrap();
    assert_eq!(dx, again);
    assert!(difference(&dx, &numeric_gradient(&x, &dy, |x| rms_norm_formula(x, 19))) < NUMERIC);
    let mut in_place = x.clone();
    rms_norm_in_place(SHAPE, &mut in_place, Default::default()).unwrap();
    assert_eq!(in_place, y);
}

#[test]
fn norms_of_a_sum_are_norms_of_their_total() {
    let (x, residual, bias) = (numbers(95, 0.7), numbers(95, 0.8), numbers(19, 0.9));
    let (mut total, mut y, mut expected) = ([0.0; 95], [0.0; 95], [0.0; 95]);
    add_layer_norm(SHAPE, &x, &residual, Some(&bias), &mut total, &mut y, Default::default())
        .unwrap();
    let sum = |i: usize| x[i] + residual[i] + bias[i % 19];
    assert!(difference(&total, &(0..95).map(sum).collect::<Vec<f64>>()) < 1e-15);
    layer_norm(SHAPE, &total, &mut expected, Default::default()).unwrap();
    assert_eq!(y, expected);
    add_rms_norm(SHAPE, &x, &residual, None, &mut total, &mut y, Default::default()).unwrap();
    rms_norm(SHAPE, &total, &mut expected, Default::default()).unwrap();
    assert_eq!(y, expected);
}

const NCHW: Images = Images { order: Order::Nchw, n: 2, c: 6, spatial: 7 };
const NHWC: Images = Images { order: Order::Nhwc, ..NCHW };

fn as_nhwc(nchw: &[f64]) -> Vec<f64> {
    let at = |i: usize, p: usize, k: usize| nchw[(i * 6 + k) * 7 + p];
    let pixels = (0..2).flat_map(|i| (0..7).map(move |p| (i, p)));
    pixels.flat_map(|(i, p)| (0..6).map(move |k| at(i, p, k))).collect()
}

#[test]
fn images_are_normalised_as_rows_are_in_either_order() {
    let (x, ones, zeros) = (numbers(84, 1.0), vec![1.0; 14], vec![0.0; 14]);
    let (mut y, mut turned, mut dx) = ([0.0; 84], [0.0; 84], [0.0; 84]);
    instance_norm(NCHW, &x, &mut y, Default::default()).unwrap();
    assert!(difference(&y, &layer_norm_formula(&x, &ones[..7], &zeros[..7], 1e-5)) < 1e-14);
    instance_norm(NHWC, &as_nhwc(&x), &mut turned, Default::default()).unwrap();
    assert!(difference(&turned, &as_nhwc(&y)) < 1e-14);

    let (mut means, mut inv_std) = ([0.0; 6], [0.0; 6]);
    let options = ImageNormOptions {
        mean: Some(&mut means),
        inv_std: Some(&mut inv_std),
        ..Default::default()
    };
    group_norm(NCHW, 3, &x, &mut y, options).unwrap();
    let formula = |x: &[f64]| layer_norm_formula(x, &ones, &zeros, 1e-5);
    assert!(difference(&y, &formula(&x)) < 1e-14);

    let dy = numbers(84, 1.1);
    let options = ImageNormBackwardOptions {
        mean: Some(&means),
        inv_std: Some(&inv_std),
        ..Default::default()
    };
    group_norm_backward(NCHW, 3, &dy, &x, &mut dx, options).unwrap();
    assert!(difference(&dx, &numeric_gradient(&x, &dy, formula)) < NUMERIC);

    let mut in_place = x.clone();
    group_norm_in_place(NCHW, 6, &mut in_place, Default::default()).unwrap();
    instance_norm(NCHW, &x, &mut y, Default::default()).unwrap();
    assert_eq!(in_place, y);
    let (mut dscale, mut dbias) = ([0.0; 6], [0.0; 6]);
    let options = ImageNormBackwardOptions {
        dscale: Some(&mut dscale),
        dbias: Some(&mut dbias),
        ..Default::default()
    };
    instance_norm_backward(NCHW, &dy, &x, &mut dx, options).unwrap();
    let plane = |i: usize, k: usize| (i * 6 + k) * 7..(i * 6 + k + 1) * 7;
    let expected: Vec<f64> =
        (0..6).map(|k| dy[plane(0, k)].iter().chain(&dy[plane(1, k)]).sum()).collect();
    assert!(difference(&dbias, &expected) < 1e-14);
}

#[test]
fn local_response_norm_is_its_formula() {
    let window = Window { size: 4, alpha: 0.7, beta: 0.75, bias: 2.0 };
    let formula = |x: &[f64]| -> Vec<f64> {
        let square = |i: usize, k: usize, p: usize| x[(i * 6 + k) * 7 + p].powi(2);
        let scale = |i: usize, k: usize, p: usize| {
            let channels = k.saturating_sub(1)..=(k + 2).min(5);
            2.0 + 0.7 / 4.0 * channels.map(|j| square(i, j, p)).sum::<f64>()
        };
        (0..84).map(|q| x[q] * scale(q / 42, q / 7 % 6, q % 7).powf(-0.75)).collect()
    };
    let (x, dy) = (numbers(84, 1.2), numbers(84, 1.3));
    let (mut y, mut dx) = ([0.0; 84], [0.0; 84]);
    local_response_norm(NCHW, window, &x, &mut y, Default::default()).unwrap();
    assert!(difference(&y, &formula(&x)) < 1e-14);
    local_response_norm_backward(NCHW, window, &dy, &x, Some(&y), &mut dx, Threads::default())
        .unwrap();
    assert!(difference(&dx, &numeric_gradient(&x, &dy, formula)) < NUMERIC);
}

#[test]
fn half_types_are_rounded_results_of_f32() {
    let x: Vec<f32> =
        numbers(95, 1.4).iter().map(|&x| f32::from_bits((x as f32).to_bits() & !0xffff)).collect();
    let half: Vec<Bf16> = x.iter().map(|x| Bf16((x.to_bits() >> 16) as u16)).collect();
    let (mut y, mut y_half) = (vec![0.0; 95], vec![Bf16::default(); 95]);
    let mut means = [0.0f32; 5];
    layer_norm(SHAPE, &x, &mut y, Default::default()).unwrap();
    let options = LayerNormOptions { mean: Some(&mut means), ..Default::default() };
    layer_norm(SHAPE, &half, &mut y_half, options).unwrap();
    // To the nearest, ties to even.
    let rounded = |y: &f32| Bf16(((y.to_bits() + 0x7fff + (y.to_bits() >> 16 & 1)) >> 16) as u16);
    assert_eq!(y_half, y.iter().map(rounded).collect::<Vec<Bf16>>());
}

#[test]
fn errors_name_the_argument() {
    let (x, mut y) = (numbers(95, 1.5), vec![7.0; 95]);
    let message = |result: Result<()>| result.unwrap_err().to_string();

    let said = message(layer_norm(SHAPE, &x[1..], &mut y, Default::default()));
    assert_eq!(said, "layer_norm: x: has 94 elements, must have 5 * 19");
    let beta = LayerNormOptions { beta: Some(&x), ..Default::default() };
    let said = message(layer_norm(SHAPE, &x, &mut y, beta));
    assert_eq!(said, "layer_norm: beta: has 95 elements, must have 19");
    let huge = Matrix { rows: usize::MAX, cols: 2 };
    assert!(
        message(layer_norm(huge, &x, &mut y, Default::default())).starts_with("layer_norm: x: ")
    );

    let epsilon = LayerNormOptions { epsilon: -1.0, ..Default::default() };
    let error = layer_norm(SHAPE, &x, &mut y, epsilon).unwrap_err();
    assert_eq!((error.function(), error.argument()), ("layer_norm", Some("epsilon")));
    assert_eq!(error.status(), Some(500 + 7));
    let (x, y_images) = (numbers(84, 1.6), &mut y[..84]);
    let error = group_norm(NCHW, 4, &x, y_images, Default::default()).unwrap_err();
    assert_eq!(error.argument(), Some("groups"));
    let alone = ImageNormBackwardOptions { mean: Some(&[0.0; 12]), ..Default::default() };
    let error = instance_norm_backward(NCHW, &x, &x, y_images, alone).unwrap_err();
    assert_eq!(error.argument(), Some("inv_std"));
    let none = Window { size: 0, ..Default::default() };
    let error = local_response_norm(NCHW, none, &x, y_images, Default::default()).unwrap_err();
    assert_eq!(error.argument(), Some("size"));
    assert!(y.iter().all(|&y| y == 7.0));
}

#[test]
fn nothing_is_something_to_normalise() {
    let mut means = [7.0; 3];
    let options = LayerNormOptions { mean: Some(&mut means), ..Default::default() };
    layer_norm::<f64>(Matrix { rows: 3, cols: 0 }, &[], &mut [], options).unwrap();
    assert_eq!(means, [0.0; 3]);
}

struct Counting(AtomicI64);

// SAFETY: one index after the other.
unsafe impl Pool for Counting {
    fn num_threads(&self) -> usize {
        4
    }

    fn run(&self, tasks: i64, task: &(dyn Fn(i64) + Sync)) {
        (0..tasks).rev().for_each(task);
        self.0.fetch_add(tasks, Ordering::Relaxed);
    }
}

struct Failing;

// SAFETY: no index is run at all.
unsafe impl Pool for Failing {
    fn num_threads(&self) -> usize {
        4
    }

    fn run(&self, _: i64, _: &(dyn Fn(i64) + Sync)) {
        panic!("no threads today");
    }
}

#[test]
fn a_pool_runs_the_tasks_and_its_panic_comes_back() {
    let shape = Matrix { rows: 600, cols: 700 };
    let x = numbers(420_000, 1.7);
    let (mut y, mut expected) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    layer_norm(shape, &x, &mut expected, Default::default()).unwrap();

    let pool = Counting(AtomicI64::new(0));
    let options = LayerNormOptions { threads: Threads::Pool(&pool), ..Default::default() };
    layer_norm(shape, &x, &mut y, options).unwrap();
    assert_eq!(y, expected);
    assert!(pool.0.load(Ordering::Relaxed) > 0);

    let panic = std::panic::catch_unwind(move || {
        let options = LayerNormOptions { threads: Threads::Pool(&Failing), ..Default::default() };
        layer_norm(shape, &x, &mut y, options)
    });
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"no threads today"));
}

#[test]
fn settings_are_read_and_set() {
    // Between releases a suffix follows the numbers.
    let numbers: Vec<_> = version().split('.').take(3).collect();
    assert_eq!(numbers.join("."), env!("CARGO_PKG_VERSION"));
    assert!(active_isa().is_some());
    set_num_threads(3).unwrap();
    assert_eq!(num_threads(), 3);
    set_num_threads(0).unwrap();
}
