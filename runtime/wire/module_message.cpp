#include "runtime/wire/module_message.hpp"

#include "runtime/code/elf_file.hpp"
#include "runtime/wire/codec.hpp"

#include <muster/errors.hpp>

namespace muster::runtime {

detail::Payload encode(const ModuleImage& image) {
  detail::Payload payload;
  FieldWriter out(payload.bytes);
  out.text(image.name);
  out.u8(image.global ? 1 : 0);
  out.u32(static_cast<std::uint32_t>(image.needs.size()));
  for (const std::uint64_t need : image.needs) out.u64(need);
  payload.parts.push_back({image.bytes.data(), image.bytes.size(), image.owner});
  return payload;
}

ModuleImage decode_module(std::uint64_t id, const detail::Payload& payload) {
  ModuleImage image;
  FieldReader in(payload.bytes.bytes());
  image.name = in.text();
  // It goes into texts and names a memory file.
  if (image.name.size() > 255 || image.name.find('\0') != std::string::npos)
    throw SerializationError("The name of a module is none");
  const auto global = in.u8();
  if (global > 1) throw SerializationError("A module is neither global nor not");
  image.global = global == 1;
  for (std::uint32_t left = in.u32(); left > 0; --left) image.needs.push_back(in.u64());
  in.finish();
  if (payload.parts.size() != 1)
    throw SerializationError("A module has " + std::to_string(payload.parts.size()) + " parts");
  const detail::Part& file = payload.parts.front();
  image.bytes = {file.data, file.size};
  image.owner = file.owner;
  if (read_elf_file(image.bytes).id != id) throw SerializationError("A module is not the one that was asked for");
  return image;
}

}  // namespace muster::runtime
