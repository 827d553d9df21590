/// @file
/// Values that take a fixed number of bytes: numbers, functions, closures and small plain aggregates. Messages of
/// nothing else are written and read without an archive, byte for byte as an archive does: to set one up, with all
/// that cereal keeps for shared pointers, takes longer than all else that is done to such a message.
#pragma once

#include <muster/detail/archive.hpp>

#include <new>
#include <type_traits>

namespace muster::detail {

template <class T>
constexpr bool find_fixed_size() {
  constexpr Form form = form_of<T>;
  if constexpr (form == Form::number || form == Form::boolean || form == Form::enumeration || form == Form::function) {
    return true;
  } else if constexpr (form == Form::bytes) {
    return sizeof(T) < part_threshold;
  } else if constexpr (form == Form::aggregate && plain<T>) {
    return sizeof(T) < part_threshold && std::is_default_constructible_v<T> && !find_bools<T>();
  } else {
    return false;
  }
}

template <class T>
concept fixed_size = find_fixed_size<std::remove_cv_t<T>>();

/// Writes such values into a payload.
class FixedWriter {
 public:
  explicit FixedWriter(Payload& payload) : payload_(payload) {}

  template <fixed_size T>
  void write(const T& value) {
    if constexpr (form_of<T> == Form::function) {
      write_function(payload_, reinterpret_cast<const void*>(value));
    } else if constexpr (form_of<T> != Form::bytes) {
      payload_.bytes.append(std::addressof(value), sizeof value);
    } else if constexpr (!std::is_empty_v<T>) {
      refuse_addresses(std::addressof(value), sizeof value, typeid(T).name());
      payload_.bytes.append(std::addressof(value), sizeof value);
    }
  }

 private:
  Payload& payload_;
};

/// Reads values of these types, in this order, from a payload that holds nothing else.
template <fixed_size... T>
class FixedReader {
 public:
  /// @throws SerializationError when that is not what it holds
  explicit FixedReader(const Payload& payload) : at_(payload.bytes.data()) {
    constexpr std::size_t size = (std::size_t{0} + ... + least_bytes_of<T>);
    const bool right = payload.parts.empty() && payload.bytes.size() == size;
    if (!right || !(is_sound<T>() && ...)) refuse(payload);
    at_ = payload.bytes.data();
  }

  template <fixed_size V>
  V make() {
    const std::byte* const from = pass<V>();
    if constexpr (form_of<V> == Form::function) {
      std::uint64_t name[2];
      std::memcpy(name, from, sizeof name);
      return reinterpret_cast<V>(const_cast<void*>(find_function(name[0], name[1])));
    } else if constexpr (form_of<V> == Form::bytes) {
      alignas(V) std::byte storage[sizeof(V)]{};
      if constexpr (!std::is_empty_v<V>) std::memcpy(storage, from, sizeof(V));
      return *std::launder(reinterpret_cast<const V*>(storage));
    } else {
      V value{};
      std::memcpy(static_cast<void*>(std::addressof(value)), from, sizeof value);
      return value;
    }
  }
  void finish() const {}

 private:
  template <class V>
  const std::byte* pass() {
    return std::exchange(at_, at_ + least_bytes_of<V>);
  }
  template <class V>
  bool is_sound() {
    const std::byte* const from = pass<V>();
    if constexpr (form_of<V> == Form::boolean) return std::to_integer<unsigned>(*from) <= 1;
    return true;
  }
  /// An archive says what is wrong with it.
  [[noreturn]] static void refuse(const Payload& payload) {
    InputArchive archive(payload);
    (static_cast<void>(decode<T>(archive)), ...);
    archive.finish();
    archive.throw_invalid("its values are not those that are expected");
  }

  const std::byte* at_;
};

/// What writes and reads messages of values of these types.
template <class... T>
struct ArchivesFor {
  using Writer = OutputArchive;
  using Reader = InputArchive;
};
template <fixed_size... T>
struct ArchivesFor<T...> {
  using Writer = FixedWriter;
  using Reader = FixedReader<T...>;
};
template <class... T>
using writer_for = typename ArchivesFor<std::remove_cv_t<T>...>::Writer;
template <class... T>
using reader_for = typename ArchivesFor<std::remove_cv_t<T>...>::Reader;

/// As with an archive.
template <fixed_size T>
void encode(FixedWriter& writer, const T& value) {
  try {
    writer.write(value);
  } catch (...) {
    rethrow_as_serialization_error("written", typeid(T));
  }
}
template <fixed_size V, class... T>
V decode(FixedReader<T...>& reader) {
  try {
    return reader.template make<V>();
  } catch (...) {
    rethrow_as_serialization_error("read", typeid(V));
  }
}

}  // namespace muster::detail
