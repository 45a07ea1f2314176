// normkernels for C++17 and later: the functions of normkernels.h on arrays that know their type,
// shape and strides. Header-only; nothing but the standard library.
//
//     #include <normkernels/normkernels.hpp>
//     namespace nk = normkernels;
//
//     std::vector<float> x = ..., y(x.size()), gamma(768);
//     nk::layer_norm_forward(nk::Array(x, {rows, 768}), {y, {rows, 768}}, {.gamma = gamma});
//
// Arrays     nk::Array shows vectors, spans, arrays of C, pointers, std::mdspan, with strides or
//            without (array.hpp); nk::from_dlpack tensors of other libraries (dlpack.hpp, which is
//            included for itself). Elements are float, double, nk::float16 or nk::bfloat16: those
//            of the first array of a call; the others are of the same.
// Options    A struct for each function, named in C++20 as above; in C++17
//
//                nk::LayerNormForward<float> options;
//                options.gamma = gamma;
//
//            Parameters and statistics (line.hpp) are anything contiguous; beside arrays of a half
//            type statistics are of float, and parameters of either type.
// Errors     nk::layer_norm_forward throws nk::error, nk::try_layer_norm_forward returns an
//            nk::Status and is noexcept; so do all functions. Either names the argument, what it
//            was and must be (error.hpp). The lengths and shapes of all arrays are compared.
//            Without exceptions only the second are there.
// Workspace  is allocated by a call that needs one, unless it is given one (options.hpp): none is
//            for layer and RMS norm's forward of dense arrays of float or double, with the last
//            axes normalised.
//
// What is computed, which arrays may be the same one, which bits are promised and what threads do
// is in normkernels.h, under the name of each function: dense arrays go to that function, others to
// its namesake with _view.
#ifndef NORMKERNELS_NORMKERNELS_HPP_
#define NORMKERNELS_NORMKERNELS_HPP_

#include <normkernels/group_norm.hpp>
#include <normkernels/instance_norm.hpp>
#include <normkernels/layer_norm.hpp>
#include <normkernels/library.hpp>
#include <normkernels/local_response_norm.hpp>
#include <normkernels/moments.hpp>
#include <normkernels/rms_norm.hpp>
#include <normkernels/steps.hpp>

#endif  // NORMKERNELS_NORMKERNELS_HPP_
