//! The operators: published values, shapes, and what is refused.

use normkernels::operators::*;
use normkernels::Order;

fn tensor(shape: &[usize], data: &[f32]) -> Tensor<f32> {
    Tensor::new(shape, data.to_vec()).unwrap()
}

fn assert_near(a: &Tensor<f32>, expected: &[f32]) {
    assert_eq!(a.data().len(), expected.len());
    for (a, b) in a.data().iter().zip(expected) {
        assert!((a - b).abs() <= 4e-7 * b.abs().max(1.0), "{a} is not {b}");
    }
}

#[test]
fn instance_norm_has_the_published_values() {
    let x = tensor(
        &[2, 1, 3, 3],
        &[
            0.97856593,
            -1.1832817,
            -0.2540021,
            -1.3315694,
            -0.7485018,
            0.3787225,
            -0.6826597,
            -1.4637762,
            0.57116514,
            -0.44948956,
            0.85544354,
            -0.9315333,
            -0.37202677,
            -0.22266895,
            -0.27194235,
            0.4948163,
            -0.7296504,
            1.3393803,
        ],
    );
    let (scale, bias) = (tensor(&[1], &[1.5]), tensor(&[1], &[1.0]));
    let [y, mean, inv_std] = InstanceNorm::default().run(&[&x, &scale, &bias]).unwrap();
    assert_near(
        &y,
        &[
            3.5017493,
            -0.3791256,
            1.2890853,
            -0.6453266,
            0.40137637,
            2.4249308,
            0.5195738,
            -0.8826599,
            2.7703972,
            0.12639964,
            2.856744,
            -0.8821926,
            0.28847694,
            0.60098207,
            0.49788612,
            2.1021945,
            -0.45978796,
            3.869297,
        ],
    );
    assert_eq!(mean.shape(), [2, 1]);
    assert_near(&mean, &[-0.41503748, -0.03196347]);
    assert_near(&inv_std, &[1.1967772, 1.3948836]);

    let gradient = InstanceNormGradient::default();
    let [dx, dscale, dbias] = gradient.run(&[&x, &scale, &bias, &y, &mean, &inv_std]).unwrap();
    let again = gradient.run(&[&x, &scale, &bias, &y]).unwrap();
    // Each is within 4 u of the size of its terms, which are up to 1.5 * 1.4 * 3.9.
    let most = 2.0 * 4.0 * f32::EPSILON / 2.0 * 1.5 * 1.4 * 3.9;
    assert!(again[0].data().iter().zip(dx.data()).all(|(a, b)| (a - b).abs() <= most));
    assert_near(&dbias, &[y.data().iter().sum()]);
    // dscale = sum of dy * xhat, of dy = 1.5 * xhat + 1, and sum of xhat^2 = 18 * var / (var + epsilon)
    assert!((dscale.data()[0] - 27.0).abs() < 1e-3);
    assert!(dx.data().iter().all(|dx| dx.abs() < 1e-3)); // the gradient of a sum of squares that is constant
}

#[test]
fn lrn_has_the_published_values() {
    let lrn = LRN { size: 11, alpha: 0.001, beta: 0.5, bias: 2.0, order: Order::Nhwc };
    let x = tensor(&[1, 1, 2, 1], &[0.72985137, 2.7344604]);
    let [y, scale] = lrn.run(&[&x]).unwrap();
    assert_near(&y, &[0.5160766, 1.9332271]);
    assert_near(&scale, &[2.0000484, 2.0006797]);
    let [dx] = LRNGradient(lrn).run(&[&x, &y, &tensor(&[1, 1, 2, 1], &[1.0, 1.0])]).unwrap();
    // d(x * s^-1/2) / dx = s^-1/2 - 0.001 / 11 * x^2 * s^-3/2
    let expected = |x: f32, s: f32| s.powf(-0.5) - 0.001 / 11.0 * x * x * s.powf(-1.5);
    assert_near(&dx, &[expected(0.72985137, 2.0000484), expected(2.7344604, 2.0006797)]);
}

#[test]
fn layer_norm_is_exact_where_the_original_was_not() {
    let x = tensor(&[1, 4], &[40000.0, 40001.0, 40002.0, 40003.0]);
    let [y, mean, sigma] = LayerNorm { axis: -1, ..Default::default() }.run(&[&x]).unwrap();
    assert_near(&y, &[-1.3416355, -0.44721183, 0.44721183, 1.3416355]);
    assert_eq!((mean.shape(), mean.data()), (&[1, 1][..], &[40001.5][..]));
    assert_near(&sigma, &[1.118038]);
}

#[test]
fn axes_and_parameters_follow_the_shape() {
    let x = Tensor::new(&[2, 3, 4], (0..24).map(f64::from).collect()).unwrap();
    let gamma = Tensor::new(&[3, 4], vec![2.0; 12]).unwrap();
    let beta = Tensor::new(&[3, 4], vec![5.0; 12]).unwrap();
    let plain = LayerNorm::default().run(&[&x]).unwrap();
    assert_eq!(plain[1].shape(), [2, 1]);
    let ignored = LayerNorm::default().run(&[&x, &gamma, &beta]).unwrap();
    assert_eq!(ignored, plain);
    let affine = LayerNorm { axis: -2, elementwise_affine: true, ..Default::default() };
    let [y, mean, sigma] = affine.run(&[&x, &gamma, &beta]).unwrap();
    let expected: Vec<f64> = plain[0].data().iter().map(|y| 2.0 * y + 5.0).collect();
    assert!(y.data().iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-14));
    let gradient = LayerNormGradient { axis: 1, elementwise_affine: true };
    let [dx, dgamma, dbeta] = gradient.run(&[&x, &y, &mean, &sigma, &x, &gamma]).unwrap();
    assert_eq!((dx.shape(), dgamma.shape()), (x.shape(), gamma.shape()));
    assert_eq!(dbeta.data()[..2], [12.0, 14.0]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let x = tensor(&[2, 3], &[0.0; 6]);
    let message = |error: normkernels::Error| error.to_string();
    let said = message(Tensor::new(&[2, 2], vec![0.0f32; 5]).unwrap_err());
    assert_eq!(said, "Tensor: data: has 5 elements, must have those of the shape [2, 2]");
    let said = message(LayerNorm::default().run(&[&x, &x]).unwrap_err());
    assert_eq!(said, "LayerNorm: inputs: are 2, must be 1 or 3");
    let said = message(LayerNorm { axis: 2, ..Default::default() }.run(&[&x]).unwrap_err());
    assert_eq!(said, "LayerNorm: axis: is 2, must be from -2 to 2 - 1, the axes of x");
    let said = message(InstanceNorm::default().run(&[&x, &x, &x]).unwrap_err());
    assert_eq!(said, "instance_norm: scale: has 6 elements, must have 3");
    assert_eq!(LRN::default().run(&[&x]).unwrap_err().argument(), Some("size"));
}
