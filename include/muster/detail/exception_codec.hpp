/// @file
/// Exception types as bytes, without knowing the types: what register_exception hands to the library.
#pragma once

#include <muster/detail/payload.hpp>

#include <cstddef>
#include <exception>
#include <span>
#include <typeinfo>
#include <vector>

namespace muster::detail {

/// How exceptions of one type become bytes and are made again. Both may throw: then the text is all that travels.
struct ExceptionCodec {
  std::vector<std::byte> (*take_apart)(const std::exception_ptr& exception);
  std::exception_ptr (*put_together)(std::span<const std::byte> bytes);
};

/// Adds the type, or replaces what was said of it before. @returns true
bool add_exception_codec(const std::type_info& type, ExceptionCodec codec);

/// One piece of bytes out of a payload, and back.
/// @throws SerializationError for a payload with handles, which a failure can't keep alive.
std::vector<std::byte> flattened(const Payload& payload);
Payload unflattened(std::span<const std::byte> bytes);

}  // namespace muster::detail
