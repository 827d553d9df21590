/// @file
/// Between values and payloads.
#pragma once

#include <muster/detail/archive.hpp>
#include <muster/detail/copyable.hpp>
#include <muster/detail/fixed_size.hpp>
#include <muster/detail/future_core.hpp>
#include <muster/detail/sendable.hpp>
#include <muster/view.hpp>

#include <memory>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace muster::detail {

/// The payload of one value. Large arrays in it are kept alive by the payload, not copied.
template <class T>
Payload to_payload(T&& value) {
  using Value = std::decay_t<T>;
  Payload payload;
  if constexpr (fixed_size<Value>) {
    FixedWriter writer(payload);
    encode(writer, value);
  } else {
    const auto kept = std::make_shared<Value>(std::forward<T>(value));
    OutputArchive archive(payload, kept);
    encode(archive, *kept);
  }
  return payload;
}

template <class T>
T from_payload(const Payload& payload) {
  reader_for<T> reader(payload);
  T value = decode<T>(reader);
  reader.finish();
  return value;
}

template <class T>
std::shared_ptr<void> decode_shared(const Payload& payload) {
  return std::make_shared<T>(from_payload<T>(payload));
}

/// Takes the value away from a core where it is.
template <class T>
T take_value(const CorePointer& core) {
  if (Payload value; core->take_encoded(value)) return from_payload<T>(value);
  return std::move(*static_cast<T*>(core->take_decoded(&decode_shared<T>).get()));
}

/// The value of a core that is here.
template <class T>
const T& value_of(const CorePointer& core) {
  return *static_cast<const T*>(core->decoded(&decode_shared<T>).get());
}

/// How a value of type T is read that is not needed as a T: a vector's elements in place.
template <class T>
struct InPlace {
  using type = T;
};
template <class T, class Allocator>
  requires(plain<T> && !std::is_same_v<T, bool>)
struct InPlace<std::vector<T, Allocator>> {
  using type = View<T>;
};
template <class T>
using in_place_t = typename InPlace<T>::type;
template <class T>
inline constexpr bool read_in_place = !std::is_same_v<in_place_t<T>, T>;

/// The elements of a vector that is here, in place where it was not decoded yet.
template <class T>
auto view_of(const CorePointer& core) {
  using Elements = in_place_t<T>;
  if (Payload value; core->copy_encoded(value)) return from_payload<Elements>(value);
  return Elements(T(value_of<T>(core)));
}

/// A copy of the value of a core that is here.
template <class T>
T copy_of(const CorePointer& core) {
  if constexpr (read_in_place<T> || fixed_size<T>) {
    if (Payload value; core->copy_encoded(value)) return from_payload<T>(value);
  }
  return value_of<T>(core);
}

/// A copy of it, or itself where its type can't be copied.
template <class T>
T copy_or_take(const CorePointer& core) {
  if constexpr (std::is_void_v<T>)
    return;
  else if constexpr (is_copyable_v<T>)
    return copy_of<T>(core);
  else
    return take_value<T>(core);
}

}  // namespace muster::detail
