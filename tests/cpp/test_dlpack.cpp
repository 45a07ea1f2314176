// Tensors of DLPack as arrays: with structs of the same members, laid out as dlpack.h has them.
#include <doctest/doctest.h>

#include <cstdint>
#include <normkernels/dlpack.hpp>
#include <normkernels/normkernels.hpp>
#include <string>
#include <vector>

namespace nk = normkernels;

namespace {

enum DLDeviceType : std::int32_t { kDLCPU = 1, kDLCUDA = 2, kDLCUDAHost = 3 };
struct DLDevice {
  DLDeviceType device_type;
  std::int32_t device_id;
};
enum DLDataTypeCode : std::uint8_t { kDLInt = 0, kDLUInt = 1, kDLFloat = 2, kDLBfloat = 4 };
struct DLDataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t *shape, *strides;
  std::uint64_t byte_offset;
};

constexpr DLDataType f32 = {kDLFloat, 32, 1};

}  // namespace

TEST_CASE("a tensor is read and written where it lies") {
  std::vector<float> data = {0, 1, 2, 3, 4, 5, 6, 9, 8}, expected(8), y(8);
  std::int64_t shape[] = {2, 4}, turned[] = {4, 2}, strides[] = {1, 4};
  nk::layer_norm_forward(nk::Array(data.data() + 1, {2, 4}), {expected, {2, 4}});
  for (const DLDeviceType device : {kDLCPU, kDLCUDAHost}) {
    const DLTensor x = {data.data(), {device, 0}, 2, f32, shape, nullptr, 4};
    CHECK(nk::dlpack_dtype(x) == NORMKERNELS_F32);
    const nk::Array<float> array = nk::from_dlpack<float>(x);
    CHECK(array.data() == data.data() + 1);
    CHECK(array.is_dense());
    const DLTensor out = {y.data(), {device, 0}, 2, f32, shape, nullptr, 0};
    nk::layer_norm_forward(nk::from_dlpack<const float>(x), nk::from_dlpack<float>(out));
    CHECK(y == expected);
  }
  const DLTensor columns = {data.data() + 1, {kDLCPU, 0}, 2, f32, turned, strides, 0};
  CHECK(!nk::from_dlpack<float>(columns).is_dense());
  y.assign(8, 0);
  nk::LayerNormForward<float> options;
  options.axes = {0};
  const nk::Array out(y.data(), {4, 2}, strides);
  nk::layer_norm_forward(nk::from_dlpack<const float>(columns), out, options);
  CHECK(y == expected);
}

TEST_CASE("every type of elements") {
  std::int64_t shape[] = {1};
  double data[1] = {};
  const auto dtype_of = [&](DLDataType type) {
    return nk::dlpack_dtype(DLTensor{data, {kDLCPU, 0}, 1, type, shape, nullptr, 0});
  };
  CHECK(dtype_of({kDLFloat, 16, 1}) == NORMKERNELS_F16);
  CHECK(dtype_of({kDLFloat, 64, 1}) == NORMKERNELS_F64);
  CHECK(dtype_of({kDLBfloat, 16, 1}) == NORMKERNELS_BF16);
  CHECK(dtype_of({kDLBfloat, 32, 1}) == 0);
  CHECK(dtype_of({kDLFloat, 8, 1}) == 0);
  CHECK(dtype_of({kDLFloat, 32, 4}) == 0);
  CHECK(dtype_of({kDLInt, 32, 1}) == 0);
  const DLTensor half = {data, {kDLCPU, 0}, 1, {kDLBfloat, 16, 1}, shape, nullptr, 0};
  CHECK(nk::from_dlpack<const nk::bfloat16>(half).layout().fault.is_none());
  CHECK(nk::from_dlpack<nk::bfloat16>(half).extent(0) == 1);
}

TEST_CASE("what is no array of the type is refused by the function") {
  float data[4] = {}, y[1][4];
  std::int64_t shape[] = {1, 4, 1, 1, 1, 1, 1, 1, 1};
  const DLTensor good = {data, {kDLCPU, 0}, 2, f32, shape, nullptr, 0};
  const auto said = [&](const DLTensor& tensor) {
    const nk::Status status = nk::try_layer_norm_forward(nk::from_dlpack<const float>(tensor), y);
    CHECK(status.argument() == (status.ok() ? "" : "x"));
    return std::string(status.message());
  };
  CHECK(said(good).empty());
  DLTensor bad = good;
  bad.device = {kDLCUDA, 0};
  CHECK(
      said(bad) ==
      "layer_norm_forward: x: is on a device of DLPack's type 2, must be in memory of the CPU (1, "
      "3 or 11)");
  bad = good, bad.dtype.code = kDLInt;
  CHECK(said(bad) == "layer_norm_forward: x: has elements of DLPack's code 0, must have 2 (float)");
  bad = good, bad.dtype.bits = 64;
  CHECK(said(bad) == "layer_norm_forward: x: has elements of 64 bits, must have 32");
  bad = good, bad.dtype.lanes = 4;
  CHECK(said(bad) == "layer_norm_forward: x: has elements of 4 lanes, must have 1");
  bad = good, bad.ndim = 9;
  CHECK(said(bad) == "layer_norm_forward: x: has 9 axes, must have 8 at most");
  bad = good, bad.byte_offset = 2;
  CHECK(said(bad).find("layer_norm_forward: x: an array is not aligned") == 0);
  bad = good, bad.data = nullptr;
  CHECK(said(bad) == "layer_norm_forward: x: a required pointer is NULL");
  // As a parameter, too.
  nk::LayerNormForward<float> options;
  bad = good, bad.dtype.bits = 64;
  options.gamma = nk::from_dlpack<const float>(bad);
  CHECK(std::string(
            nk::try_layer_norm_forward(nk::from_dlpack<const float>(good), y, options).message()) ==
        "layer_norm_forward: gamma: has elements of 64 bits, must have 32");
}
