// What brings a module: any bytes as its description and any bytes as its file. The outcome must be a module or an
// Error; what was read, written again, must read as the same.

#include "runtime/code/elf_file.hpp"
#include "runtime/wire/module_message.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

using namespace muster::runtime;

/// The first two bytes are the size of the description; the rest is the file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t small = std::min<std::size_t>(data[0] | std::size_t{data[1]} << 8U, size - 2);
  muster::detail::Payload payload;
  payload.bytes.append(data + 2, small);
  const std::size_t rest = size - 2 - small;
  const std::shared_ptr<std::byte[]> file(new std::byte[rest]);  // of just its size, so that the sanitizer sees
  std::copy_n(reinterpret_cast<const std::byte*>(data) + 2 + small, rest, file.get());
  payload.parts.push_back({file.get(), rest, file});
  try {
    const auto id = read_elf_file({file.get(), rest}).id;
    const auto image = decode_module(id, payload);
    const auto again = decode_module(id, encode(image));
    if (again.name != image.name || again.global != image.global || again.needs != image.needs) std::abort();
  } catch (const muster::Error&) {
  }
  return 0;
}
