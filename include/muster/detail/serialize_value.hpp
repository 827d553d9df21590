/// @file
/// Writing and reading a value in whichever form its type has, and the entry points encode and decode. Included by
/// archive.hpp.
#pragma once

#include <muster/detail/archive.hpp>

namespace muster::detail {

/// Names a function so that another process of the program finds it: module and offset.
/// @throws Error when the address is in no loaded module
std::pair<std::uint64_t, std::uint64_t> name_function(const void* address);
/// Finds the function again; null for what names a null pointer, 0 and 0.
/// @throws SerializationError when the module is not loaded here or has no code there
const void* find_function(std::uint64_t module, std::uint64_t offset);
/// Refuses bytes that hold an address of this process's memory.
/// @throws UnsafeCapture naming the closure's type and the byte
void refuse_addresses(const void* bytes, std::size_t size, const char* type_name);

/// A pointer to a member function as the Itanium C++ ABI lays it out.
struct MethodWords {
  std::uint64_t function = 0;
  std::uint64_t adjustment = 0;
};
void write_method(Payload& payload, MethodWords method);
MethodWords read_method(InputArchive& archive);

void write_function(Payload& payload, const void* address);
const void* read_function(InputArchive& archive);

/// Refuses bools that are neither 0 nor 1, before anybody looks at them as bools.
template <class T>
void check_bools(InputArchive& archive, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    unsigned char byte = 0;
    std::memcpy(&byte, &value, 1);
    if (byte > 1) archive.throw_invalid("a bool is neither 0 nor 1");
  } else if constexpr (!find_bools<T>()) {
    return;
  } else if constexpr (std::is_array_v<T>) {
    for (const auto& element : value) check_bools(archive, element);
  } else if constexpr (has_codec<T>) {
    Codec<T>::check(archive, value);
  } else {
    for_each_member(value, [&](const auto& member) { check_bools(archive, member); });
  }
}

template <class T>
void OutputArchive::write(const T& value) {
  constexpr Form form = form_of<T>;
  static_assert(form != Form::none,
                "this type can't be sent: give it template<class Archive> void serialize(Archive&)");
  if constexpr (form == Form::number || form == Form::boolean || form == Form::enumeration || form == Form::member) {
    write_number(value);
  } else if constexpr (form == Form::codec) {
    Codec<T>::save(*this, value);
  } else if constexpr (plain<T>) {
    write_block(std::addressof(value), sizeof value);
  } else if constexpr (form == Form::array) {
    for (const auto& element : value) write(element);
  } else if constexpr (form == Form::user) {
    write_by_user(value);
  } else if constexpr (form == Form::function) {
    write_function(payload_, reinterpret_cast<const void*>(value));
  } else if constexpr (form == Form::method) {
    static_assert(sizeof value == sizeof(MethodWords));
    write_method(payload_, std::bit_cast<MethodWords>(value));
  } else if constexpr (form == Form::bytes) {
    if constexpr (!std::is_empty_v<T>) {
      refuse_addresses(std::addressof(value), sizeof value, typeid(T).name());
      write_block(std::addressof(value), sizeof value);
    }
  } else if constexpr (form == Form::aggregate) {
    for_each_member(value, [this](const auto& member) { this->write(member); });
  }
}

template <class T>
void OutputArchive::write_by_user(const T& value) {
  const Nesting nesting(depth_);
  const Restore<UserFrame> restore_frame(frame_);
  const Restore<bool> restore_stable(stable_);
  frame_ = {true, nullptr, nullptr};
  if (stable_) frame_ = {true, std::addressof(value), std::addressof(value) + 1};
  if constexpr (cereal::traits::has_member_save_minimal<T, OutputArchive>::value) {
    enter(cereal::access::member_save_minimal(*this, value));
  } else if constexpr (cereal::traits::has_non_member_save_minimal<T, OutputArchive>::value) {
    enter(CEREAL_SAVE_MINIMAL_FUNCTION_NAME(*this, value));
  } else {
    Base::operator()(value);
  }
}

template <class T>
void InputArchive::read(T& value) {
  static_assert(!std::is_const_v<T>, "a const member can't be read from a message: make it non-const");
  constexpr Form form = form_of<T>;
  static_assert(form != Form::none,
                "this type can't be sent: give it template<class Archive> void serialize(Archive&)");
  if constexpr (form == Form::number || form == Form::enumeration || form == Form::member) {
    read_number(value);
  } else if constexpr (form == Form::boolean) {
    unsigned char byte = 0;
    read_number(byte);
    if (byte > 1) throw_invalid("a bool is neither 0 nor 1");
    value = byte != 0;
  } else if constexpr (form == Form::codec) {
    if constexpr (requires { Codec<T>::load(*this, value); }) {
      Codec<T>::load(*this, value);
    } else {
      value = Codec<T>::make(*this);
    }
  } else if constexpr (plain<T>) {
    std::memcpy(static_cast<void*>(std::addressof(value)), read_block(1, sizeof value), sizeof value);
    check_bools(*this, value);
  } else if constexpr (form == Form::array) {
    for (auto& element : value) read(element);
  } else if constexpr (form == Form::user) {
    read_by_user(value);
  } else if constexpr (form == Form::function) {
    value = reinterpret_cast<T>(const_cast<void*>(read_function(*this)));
  } else if constexpr (form == Form::method) {
    static_assert(sizeof value == sizeof(MethodWords));
    value = std::bit_cast<T>(read_method(*this));
  } else if constexpr (form == Form::bytes) {
    if constexpr (!std::is_empty_v<T>) {
      std::memcpy(static_cast<void*>(std::addressof(value)), read_block(1, sizeof value), sizeof value);
    }
  } else if constexpr (form == Form::aggregate) {
    for_each_member(value, [this](auto& member) { this->read(member); });
  }
}

template <class T>
void InputArchive::read_by_user(T& value) {
  const Nesting nesting(depth_);
  if constexpr (cereal::traits::has_member_load_minimal<T, InputArchive>::value) {
    typename cereal::traits::has_member_save_minimal<T, OutputArchive>::type minimal{};
    read(minimal);
    cereal::access::member_load_minimal(*this, value, minimal);
  } else if constexpr (cereal::traits::has_non_member_load_minimal<T, InputArchive>::value) {
    typename cereal::traits::has_non_member_save_minimal<T, OutputArchive>::type minimal{};
    read(minimal);
    CEREAL_LOAD_MINIMAL_FUNCTION_NAME(*this, value, minimal);
  } else {
    Base::operator()(value);
  }
}

/// An object of a type without default constructor, made of its bytes.
template <class T>
T InputArchive::make_from_bytes() {
  alignas(T) std::byte storage[sizeof(T)]{};
  if constexpr (!std::is_empty_v<T>) std::memcpy(storage, read_block(1, sizeof(T)), sizeof(T));
  return *std::launder(reinterpret_cast<const T*>(storage));
}

/// An aggregate that must be whole at once, because it can't be made empty, moved or assigned to.
template <class T>
constexpr bool made_of_fields() {
  return !std::is_default_constructible_v<T> || !std::is_move_constructible_v<T> || any_const(FieldTypes<T>{});
}

template <class T>
concept needs_fields = form_of<T> == Form::aggregate && made_of_fields<T>();

template <class T>
T InputArchive::make_aggregate() {
  return [this]<class... Field>(TypeList<Field...>) {
    static_assert(
        (!std::is_array_v<Field> && ...),
        "an aggregate with an array member that has no default constructor, has const members or can't be moved "
        "can't be read from a message: make the array a std::array");
    return T{this->template make<std::remove_cv_t<Field>>()...};  // in braces: from left to right
  }(FieldTypes<T>{});
}

template <class T>
T InputArchive::make() {
  static_assert(!std::is_const_v<T> && !std::is_array_v<T>);
  constexpr Form form = form_of<T>;
  if constexpr (form == Form::codec && requires { Codec<T>::make(*this); }) {
    return Codec<T>::make(*this);
  } else if constexpr (form == Form::bytes) {
    return make_from_bytes<T>();
  } else if constexpr (needs_fields<T>) {
    return make_aggregate<T>();
  } else if constexpr (std::is_default_constructible_v<T>) {
    T value{};
    read(value);
    return value;
  } else {
    return std::move(*make_on_heap<T>());
  }
}

/// Appends a value.
/// @throws SerializationError when some part of it can't travel; UnsafeCapture for a closure that holds an address
template <class T>
void encode(OutputArchive& archive, const T& value) {
  try {
    archive.write(value);
    archive.serializeDeferments();
  } catch (...) {
    rethrow_as_serialization_error("written", typeid(T));
  }
}

/// Reads the next value.
/// @throws SerializationError when the message holds no such value
template <class T>
T decode(InputArchive& archive) {
  try {
    if constexpr (std::is_move_constructible_v<T>) {
      T value = archive.make<T>();
      archive.serializeDeferments();
      return value;
    } else {
      return archive.make<T>();
    }
  } catch (...) {
    rethrow_as_serialization_error("read", typeid(T));
  }
}

}  // namespace muster::detail
