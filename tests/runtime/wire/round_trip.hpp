/// @file
/// Writing a value into a payload and reading it back, for tests.
#pragma once

#include <muster/detail/sendable.hpp>

#include <type_traits>

namespace muster::detail {

/// The payload of one value, which borrows its large arrays.
template <class T>
Payload written(const T& value) {
  Payload payload;
  OutputArchive archive(payload);
  encode(archive, value);
  return payload;
}

/// The value of a payload that holds nothing else.
template <class T>
T read_all(const Payload& payload) {
  InputArchive archive(payload);
  if constexpr (std::is_move_constructible_v<T>) {
    T value = decode<T>(archive);
    archive.finish();
    return value;
  } else {
    return decode<T>(archive);
  }
}

template <class T>
T round_trip(const T& value) {
  check_value<T>();
  static_assert(serializable<T>);
  return read_all<T>(written(value));
}

}  // namespace muster::detail
