/* What DLPack 1.3 calls its exchange API: functions of a library of tensors for C code, which lend
 * what a tensor is made of and make new ones. A type holds them in its attribute kAttribute, a
 * capsule of the name kCapsule. Declared here because the library builds without DLPack's header.
 */
#ifndef NORMKERNELS_PYTHON_DLPACK_H_
#define NORMKERNELS_PYTHON_DLPACK_H_

#include <pybind11/pybind11.h>

#include <cstdint>

namespace normkernels::python::dlpack {

constexpr const char* kAttribute = "__dlpack_c_exchange_api__";
constexpr const char* kCapsule = "dlpack_exchange_api";
/* Another major version has other structs, another minor one only more values of their fields. */
constexpr uint32_t kMajorVersion = 1;

enum DeviceType : int32_t { kCpu = 1 };
enum TypeCode : uint8_t { kFloat = 2, kBfloat = 4 };

struct Version {
  uint32_t major, minor;
};

struct Device {
  DeviceType type;
  int32_t id;
};

struct DataType {
  TypeCode code;
  uint8_t bits;
  uint16_t lanes;
};

/* DLPack says int64_t of extents and strides; NumPy takes them as they are. */
using Extent = pybind11::ssize_t;
static_assert(sizeof(Extent) == sizeof(int64_t));

/* Strides count elements, byte_offset bytes. */
struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  Extent* shape;
  Extent* strides;
  uint64_t byte_offset;
};

struct ManagedTensor {
  Version version;
  void* manager_ctx;
  void (*deleter)(ManagedTensor* self);
  uint64_t flags;
  Tensor tensor;
};

struct ExchangeHeader {
  Version version;
  const ExchangeHeader* prev_api; /* the same of an older version, or NULL */
};

using SetError = void (*)(void* context, const char* kind, const char* message);

/* Each returns 0, or -1 with an error set: Python's, or by SetError. */
struct ExchangeApi {
  ExchangeHeader header;
  int (*allocate)(Tensor* prototype, ManagedTensor** made, void* context, SetError set_error);
  int (*export_tensor)(void* object, ManagedTensor** exported);
  /* Takes the tensor over. */
  int (*to_object)(ManagedTensor* tensor, void** object);
  /* What it lends is good until the tensor changes; may be NULL. */
  int (*lend)(void* object, Tensor* lent);
  int (*current_stream)(DeviceType type, int32_t id, void** stream);
};

}  // namespace normkernels::python::dlpack

#endif  // NORMKERNELS_PYTHON_DLPACK_H_
