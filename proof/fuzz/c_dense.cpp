// The dense function of what is computed with: what every call's result is, to the bit. Its arrays
// are blocks of the heap, which AddressSanitizer watches.
#include <cstdlib>
#include <memory>
#include <normkernels/normkernels.hpp>

#include "c_call.h"

namespace fuzz {

namespace {

using Buffer = std::vector<unsigned char>;

std::int64_t extent(const Sizes& s, const std::string& name, bool of_images) {
  if (name == "cols") return s.cols;
  if (name == "c") return s.c;
  if (name == "spatial") return s.spatial;
  return of_images ? s.n : s.rows;
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};

}  // namespace

Dense dense_of(const Call& call) {
  const std::string name = call.op.name.substr(0, call.op.name.rfind("_view"));
  Dense dense = {operator_named(name),
                 (call.dtype() & 0xff) == NORMKERNELS_F64,
                 call.order(),
                 call.integer(Kind::size, 1),
                 call.sizes(),
                 {},
                 {}};
  for (std::size_t i = 0; i < call.op.parameters.size(); ++i) {
    const Parameter& p = call.op.parameters[i];
    if (p.kind == Kind::epsilon || p.kind == Kind::scalar)
      dense.scalars[p.name] = call.arguments[i].number;
    if (p.kind == Kind::input && !call.is_null(i)) dense.in[p.name] = gathered(call, i);
  }
  return dense;
}

std::string text(const Dense& dense) {
  const Sizes& s = dense.sizes;
  std::string result = dense.op.name + (dense.is_double ? " f64" : " f32");
  result += " order " + std::to_string(dense.order) + " size " + std::to_string(dense.size);
  for (const std::int64_t e : {s.rows, s.cols, s.n, s.c, s.spatial, s.groups})
    result += " " + std::to_string(e);
  for (const auto& [name, number] : dense.scalars) {
    char value[32];
    std::snprintf(value, sizeof(value), " %s=%.17g", name.c_str(), number);
    result += value;
  }
  for (const auto& [name, numbers] : dense.in) result += " " + name;
  return result;
}

Numbers run(const Dense& dense) {
  const Operator& op = dense.op;
  const Sizes& s = dense.sizes;
  const bool images = op.find("c") != Operator::none;
  const normkernels_executor one = normkernels::threads(1);
  const normkernels_dtype dtype = dense.is_double ? NORMKERNELS_F64 : NORMKERNELS_F32;
  Arguments arguments(op.parameters.size());
  std::map<std::string, Buffer> buffers;
  for (std::size_t i = 0; i < op.parameters.size(); ++i) {
    const auto& [name, kind, optional] = op.parameters[i];
    Argument& a = arguments[i];
    if (kind == Kind::dtype) a.integer = dtype;
    if (kind == Kind::order) a.integer = dense.order;
    if (kind == Kind::extent) a.integer = extent(s, name, images);
    if (kind == Kind::groups) a.integer = s.groups;
    if (kind == Kind::size) a.integer = dense.size;
    if (kind == Kind::executor) a.pointer = const_cast<normkernels_executor*>(&one);
    if (dense.scalars.count(name) > 0) a.number = dense.scalars.at(name);
    const bool given = kind == Kind::output || dense.in.count(name) > 0;
    const std::int64_t count = s.of(role(op, i));
    if (kind == Kind::workspace || !op.is_array(i) || !given || count > most_elements) continue;
    const Element type = element(op, i, dtype);
    Buffer& buffer = buffers[name];
    buffer.reserve(1);  // what is given is not NULL
    buffer.resize(static_cast<std::size_t>(count * bytes_of(type)));
    a.pointer = buffer.data();
    if (kind == Kind::input) write(buffer.data(), type, dense.in.at(name));
  }
  std::unique_ptr<void, Free> workspace;
  const std::size_t at = op.find(Kind::workspace);
  if (at != Operator::none) {
    if (posix_memalign(&arguments[at].pointer, 64, op.workspace_bytes(arguments)) != 0)
      report("no memory for a workspace");
    workspace.reset(arguments[at].pointer);
  }
  const normkernels_status status = op.call(arguments);
  if (status != NORMKERNELS_OK)
    report(op.name + " of dense arrays returned " + std::to_string(status));
  Numbers out;
  for (std::size_t i = 0; i < op.parameters.size(); ++i) {
    const auto found = buffers.find(op.parameters[i].name);
    if (op.parameters[i].kind != Kind::output || found == buffers.end()) continue;
    const Element type = element(op, i, dtype);
    const Buffer& buffer = found->second;
    for (std::size_t k = 0; k < buffer.size(); k += static_cast<std::size_t>(bytes_of(type)))
      read(buffer.data() + k, type, out[found->first]);
  }
  return out;
}

}  // namespace fuzz
