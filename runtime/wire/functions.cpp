// What serialize_value.hpp needs to know of code: functions as {module, offset}, and bytes that are addresses.

#include "runtime/base/demangle.hpp"
#include "runtime/code/code.hpp"

#include <muster/detail/archive.hpp>

#include <array>
#include <string>

namespace muster::detail {

std::pair<std::uint64_t, std::uint64_t> name_function(const void* address) {
  const auto reference = runtime::name_code(address);
  return {reference.module, reference.offset};
}

const void* find_function(std::uint64_t module, std::uint64_t offset) {
  if (module == 0 && offset == 0) return nullptr;
  try {
    return runtime::find_code({module, offset});
  } catch (const Error& error) {
    throw SerializationError(error.what());
  }
}

void refuse_addresses(const void* bytes, std::size_t size, const char* type_name) {
  const auto found = runtime::find_address({static_cast<const std::byte*>(bytes), size});
  if (!found) return;
  throw UnsafeCapture(
      "The closure " + runtime::demangled(type_name) + " holds at byte " + std::to_string(*found) +
      " an address of this process's memory (a captured pointer, reference or `this`), which means nothing in "
      "another process. Capture values, or pass them with muster::bind_front(f, values...). If those bytes are "
      "no address, say so with muster::trust(f).");
}

void write_function(Payload& payload, const void* address) {
  const auto reference = address == nullptr ? runtime::NamedCode{} : runtime::name_code(address);
  const std::array<std::uint64_t, 2> name{reference.module, reference.offset};
  payload.bytes.append(name.data(), sizeof name);
  if (address != nullptr && !reference.came_with_program) payload.add_module(reference.module);
}

const void* read_function(InputArchive& archive) {
  std::uint64_t module = 0;
  std::uint64_t offset = 0;
  archive.read_number(module);
  archive.read_number(offset);
  return find_function(module, offset);
}

namespace {

/// Itanium C++ ABI 2.3: a virtual function is named by its place in the table. ARM keeps the mark in the adjustment.
bool names_table_place(MethodWords method) {
#if defined(__aarch64__) || defined(__arm__)
  return (method.adjustment & 1) != 0;
#else
  return (method.function & 1) != 0;
#endif
}

}  // namespace

void write_method(Payload& payload, MethodWords method) {
  const bool as_it_is = method.function == 0 || names_table_place(method);
  payload.bytes.append(&as_it_is, sizeof as_it_is);
  payload.bytes.append(&method.adjustment, sizeof method.adjustment);
  if (as_it_is) {
    payload.bytes.append(&method.function, sizeof method.function);
  } else {
    write_function(payload, reinterpret_cast<const void*>(method.function));
  }
}

MethodWords read_method(InputArchive& archive) {
  MethodWords method;
  const bool as_it_is = archive.make<bool>();
  archive.read_number(method.adjustment);
  if (as_it_is) {
    archive.read_number(method.function);
    if (method.function != 0 && !names_table_place(method)) {
      archive.throw_invalid("a pointer to a member function is neither null nor names a virtual one");
    }
  } else {
    method.function = reinterpret_cast<std::uint64_t>(read_function(archive));
  }
  return method;
}

}  // namespace muster::detail
