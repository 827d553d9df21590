/// @file
/// The archives that values are written into and read from: cereal archives over a Payload, bounded against hostile
/// input.
///
/// Standard types are handled by the Codec specializations in serialize_*.hpp, whatever cereal headers the user
/// includes; a user's own cereal functions (serialize, save/load, minimal and versioned forms) win over all but those;
/// plain aggregates, closures and function pointers need nothing.
#pragma once

#include <muster/detail/forms.hpp>
#include <muster/detail/payload.hpp>
#include <muster/errors.hpp>

#include <cereal/cereal.hpp>

#include <bit>
#include <cstdint>
#include <functional>
#include <map>
#include <typeindex>

namespace cereal::memory_detail {
template <class T>
struct PtrWrapper;
}

namespace muster::detail {

/// Deepest nesting of containers, pointers and user-serialized objects in one value; bounds the stack that reading one
/// needs.
inline constexpr int max_nesting = 256;

/// How many elements that take no bytes one message may make its reader create.
inline constexpr std::size_t max_empty_elements = std::size_t{1} << 20;

[[noreturn]] void throw_too_deep();
/// Called in a catch block: throws a SerializationError that says what failed for which type; muster's own errors pass.
[[noreturn]] void rethrow_as_serialization_error(const char* doing, const std::type_info& type);

/// Counts one level of nesting for its lifetime.
class Nesting {
 public:
  explicit Nesting(int& depth) : depth_(depth) {
    if (++depth_ > max_nesting) {
      --depth_;
      throw_too_deep();
    }
  }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  ~Nesting() { --depth_; }

 private:
  int& depth_;
};

/// Writes values into a Payload. One thread.
class OutputArchive : public cereal::OutputArchive<OutputArchive, cereal::AllowEmptyClassElision> {
  using Base = cereal::OutputArchive<OutputArchive, cereal::AllowEmptyClassElision>;

 public:
  /// @param payload filled at its end
  /// @param parts_owner keeps the written values alive; null: large arrays are borrowed, valid while the written values
  /// are
  explicit OutputArchive(Payload& payload, std::shared_ptr<const void> parts_owner = nullptr)
      : Base(this), payload_(payload), parts_owner_(std::move(parts_owner)) {}

  // --- cereal's face, for users' serialize functions ---

  template <class... T>
  OutputArchive& operator()(T&&... values) {
    (enter(values), ...);
    return *this;
  }
  template <class T>
  OutputArchive& operator&(T&& value) {
    enter(value);
    return *this;
  }
  template <class T>
  OutputArchive& operator<<(T&& value) {
    enter(value);
    return *this;
  }
  void serializeDeferments() {  // NOLINT(readability-identifier-naming): cereal's name
    // NOLINTNEXTLINE(modernize-loop-convert): they may add more
    for (std::size_t i = 0; i < deferred_.size(); ++i) deferred_[i]();
    deferred_.clear();
  }

  // --- for codecs ---

  /// Writes a value that stays where it is until the message is sent.
  template <class T>
  void write(const T& value);

  /// Writes a value that is about to go: its large arrays are copied.
  template <class T>
  void write_temporary(const T& value) {
    const Restore<bool> restore(stable_);
    stable_ = false;
    write(value);
  }

  /// Writes bytes that hold no arrays and no sizes.
  template <class T>
  void write_number(const T& value) {
    payload_.bytes.append(&value, sizeof value);
  }
  /// Writes a size; small ones take one byte.
  void write_count(std::size_t count) {
    while (count >= 0x80) {
      *payload_.bytes.extend(1) = static_cast<std::byte>((count & 0x7f) | 0x80);
      count >>= 7;
    }
    *payload_.bytes.extend(1) = static_cast<std::byte>(count);
  }
  /// Writes an array whose size the reader knows: into the bytes, or as a part when it is large.
  /// @param owner keeps the array alive beyond the value that is being written; null: it is part of that value
  void write_block(const void* data, std::size_t bytes, const std::shared_ptr<const void>& owner = nullptr) {
    if (bytes < part_threshold) {
      payload_.bytes.append(data, bytes);
    } else {
      write_part(data, bytes, owner);
    }
  }
  /// Adds a handle to the message.
  /// @returns its index, the same for the same handle
  std::uint32_t add_handle(std::shared_ptr<Handle> handle);

  /// Writes a pointer to an object that is no more than its static type, which several pointers may share.
  template <class T>
  void write_shared(const std::shared_ptr<T>& pointer);
  template <class T, class D>
  void write_unique(const std::unique_ptr<T, D>& pointer);
  /// Writes a pointer to a base class with cereal's registry of types.
  template <class Pointer>
  void write_polymorphic(const Pointer& pointer) {
    Base::operator()(pointer);
  }

  int& depth() { return depth_; }
  const Payload& payload() const { return payload_; }

 private:
  struct SharedObject {
    const void* address;
    std::type_index type;
    auto operator<=>(const SharedObject&) const = default;
  };
  /// Where the object lies whose user-written function runs: what is inside stays where it is, all else may be
  /// temporary.
  struct UserFrame {
    bool active = false;
    const void* begin = nullptr;
    const void* end = nullptr;
  };
  template <class V>
  class Restore {
   public:
    explicit Restore(V& place) : place_(place), value_(place) {}
    Restore(const Restore&) = delete;
    Restore& operator=(const Restore&) = delete;
    ~Restore() { place_ = value_; }

   private:
    V& place_;
    V value_;
  };

  template <class T>
  void enter(const T& value) {
    const Restore<bool> restore(stable_);
    stable_ = stays(std::addressof(value));
    write(value);
  }
  template <class T>
  void enter(const cereal::NameValuePair<T>& pair) {
    enter(pair.value);
  }
  template <class T>
  void enter(const cereal::SizeTag<T>& tag) {
    write_count(static_cast<std::size_t>(tag.size));
  }
  template <class T>
  void enter(const cereal::BinaryData<T>& data) {
    const Restore<bool> restore(stable_);
    stable_ = stays(data.data);
    write_block(data.data, static_cast<std::size_t>(data.size));
  }
  template <class T>
  void enter(const cereal::DeferredData<T>& deferred) {
    deferred_.emplace_back([this, deferred] { enter(deferred.value); });
  }
  template <class T>
  void enter(const cereal::base_class<T>& base) {
    enter(std::as_const(*base.base_ptr));
  }
  template <class T>
  void enter(const cereal::virtual_base_class<T>& base) {
    if (virtual_bases_.emplace(SharedObject{base.base_ptr, typeid(T)}, 0).second) enter(std::as_const(*base.base_ptr));
  }
  template <class T>
  void enter(const cereal::memory_detail::PtrWrapper<T>& wrapper) {
    write_pointer(wrapper.ptr);
  }
  template <class T>
  void write_pointer(const std::shared_ptr<T>& pointer) {
    write_shared(pointer);
  }
  template <class T, class D>
  void write_pointer(const std::unique_ptr<T, D>& pointer) {
    write_unique(pointer);
  }

  template <class T>
  void write_by_user(const T& value);

  bool stays(const void* address) const {
    if (!frame_.active) return stable_;
    return !std::less<>{}(address, frame_.begin) && std::less<>{}(address, frame_.end);
  }
  void write_part(const void* data, std::size_t bytes, const std::shared_ptr<const void>& owner);

  Payload& payload_;
  std::shared_ptr<const void> parts_owner_;
  std::map<SharedObject, std::size_t> shared_;           // numbers, from 1
  std::vector<std::shared_ptr<const void>> keep_alive_;  // so that no address is used twice
  std::map<SharedObject, int> virtual_bases_;
  std::vector<std::function<void()>> deferred_;
  UserFrame frame_;
  bool stable_ = true;  // what is being written stays where it is until the message is sent
  int depth_ = 0;
};

/// Reads values back from a Payload, which may come from anybody: whatever it holds, the outcome is a value or a
/// SerializationError, and memory stays in proportion to its size. One thread.
class InputArchive : public cereal::InputArchive<InputArchive, cereal::AllowEmptyClassElision> {
  using Base = cereal::InputArchive<InputArchive, cereal::AllowEmptyClassElision>;

 public:
  /// Reads from the start. The payload outlives the archive and does not change meanwhile.
  explicit InputArchive(const Payload& payload)
      : Base(this),
        payload_(payload),
        at_(payload.bytes.data()),
        end_(payload.bytes.data() + payload.bytes.size()),
        part_used_(payload.parts.size()) {
    for (const Part& part : payload.parts) left_in_parts_ += part.size;
  }

  // --- cereal's face, for users' serialize functions ---

  template <class... T>
  InputArchive& operator()(T&&... values) {
    (enter(values), ...);
    return *this;
  }
  template <class T>
  InputArchive& operator&(T&& value) {
    enter(value);
    return *this;
  }
  template <class T>
  InputArchive& operator>>(T&& value) {
    enter(value);
    return *this;
  }
  void serializeDeferments() {  // NOLINT(readability-identifier-naming): cereal's name
    // NOLINTNEXTLINE(modernize-loop-convert): they may add more
    for (std::size_t i = 0; i < deferred_.size(); ++i) deferred_[i]();
    deferred_.clear();
  }

  // --- for codecs ---

  /// Reads into an existing value.
  template <class T>
  void read(T& value);
  /// Reads a new value; T needs no default constructor where it can do without.
  template <class T>
  T make();
  /// Reads the bytes of a trivially copyable object that write_block wrote; none for an empty one.
  template <class T>
  T make_from_bytes();

  template <class T>
  void read_number(T& value) {
    std::memcpy(static_cast<void*>(&value), take(sizeof value), sizeof value);
  }
  /// Reads a size without judging it.
  std::size_t read_size();
  /// Reads the number of elements that follow, each of which takes at least least_bytes.
  std::size_t read_count(std::size_t least_bytes) {
    const std::size_t count = read_size();
    if (least_bytes != 0 && count > left() / least_bytes) throw_too_many(count);
    return count;
  }
  /// How many of `count` elements to make room for at once.
  std::size_t room_for(std::size_t count) const { return count < left() ? count : left(); }
  /// Where an array of count elements is that write_block wrote.
  const std::byte* read_block(std::size_t count, std::size_t element_size) {
    const std::size_t bytes = block_size(count, element_size);
    return bytes < part_threshold ? take(bytes) : take_whole_part(bytes).data;
  }
  /// The same, with its owner where it has one that keeps it beyond the payload.
  Part read_kept_block(std::size_t count, std::size_t element_size) {
    const std::size_t bytes = block_size(count, element_size);
    return bytes < part_threshold ? Part{take(bytes), bytes, nullptr} : take_whole_part(bytes);
  }
  /// An array that may not be there yet.
  struct ArrivingBlock {
    const std::byte* data = nullptr;
    Arriving* arriving = nullptr;  ///< asked for each byte before it is read; null: all are there
  };
  /// As read_block, for who reads it from its beginning to its end.
  ArrivingBlock read_arriving_block(std::size_t count, std::size_t element_size) {
    const std::size_t bytes = block_size(count, element_size);
    if (bytes < part_threshold) return {take(bytes), nullptr};
    const Part& part = take_part(bytes);
    return {part.data, part.arriving};
  }
  /// Counts an element that took no bytes. `before` is left() from before it was read.
  void charge(std::size_t before) {
    if (before == left() && ++empty_elements_ > max_empty_elements) throw_too_many(empty_elements_);
  }
  template <class T>
  void read_shared(std::shared_ptr<T>& pointer);
  template <class T, class D>
  void read_unique(std::unique_ptr<T, D>& pointer);
  template <class Pointer>
  void read_polymorphic(Pointer& pointer) {
    Base::operator()(pointer);
  }

  /// The handle with that index.
  std::shared_ptr<Handle> handle(std::uint32_t index) const;
  /// Refuses what was not read: bytes behind the last value, parts nobody asked for.
  void finish() const;

  /// Bytes left to read.
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  int& depth() { return depth_; }
  [[noreturn]] void throw_invalid(const char* what) const;

 private:
  static constexpr std::size_t max_array_bytes = static_cast<std::size_t>(-1) / 2;
  struct SharedObject {
    std::type_index type;
    std::shared_ptr<void> pointer;
  };

  template <class T>
  void enter(T& value) {
    read(value);
  }
  template <class T>
  void enter(cereal::NameValuePair<T>& pair) {
    enter(pair.value);
  }
  template <class T>
  void enter(cereal::SizeTag<T>& tag) {
    // Its elements may lie in parts: all that is left counts.
    const std::size_t count = read_size();
    if (count > left() + left_in_parts_) throw_too_many(count);
    tag.size = static_cast<std::remove_reference_t<decltype(tag.size)>>(count);
  }
  template <class T>
  void enter(cereal::BinaryData<T>& data) {
    const auto bytes = static_cast<std::size_t>(data.size);
    if (bytes != 0) std::memcpy(data.data, read_block(bytes, 1), bytes);
  }
  template <class T>
  void enter(cereal::DeferredData<T>& deferred) {
    deferred_.emplace_back([this, deferred]() mutable { enter(deferred.value); });
  }
  template <class T>
  void enter(cereal::base_class<T>& base) {
    enter(*base.base_ptr);
  }
  template <class T>
  void enter(cereal::virtual_base_class<T>& base) {
    if (virtual_bases_.emplace(std::pair<const void*, std::type_index>(base.base_ptr, typeid(T)), 0).second) {
      enter(*base.base_ptr);
    }
  }
  template <class T>
  void enter(cereal::memory_detail::PtrWrapper<T>& wrapper) {
    read_pointer(wrapper.ptr);
  }
  template <class T>
  void read_pointer(std::shared_ptr<T>& pointer) {
    read_shared(pointer);
  }
  template <class T, class D>
  void read_pointer(std::unique_ptr<T, D>& pointer) {
    read_unique(pointer);
  }
  template <class T>
  void read_by_user(T& value);
  template <class T>
  std::unique_ptr<T> make_on_heap();
  template <class T>
  std::unique_ptr<T> load_and_construct();
  template <class T>
  T make_aggregate();

  const std::byte* take(std::size_t bytes) {
    if (bytes > left()) throw_truncated(bytes);
    return std::exchange(at_, at_ + bytes);
  }
  std::size_t block_size(std::size_t count, std::size_t element_size) const {
    if (element_size != 0 && count > max_array_bytes / element_size) throw_too_many(count);
    return count * element_size;
  }
  const Part& take_part(std::size_t bytes);
  Part take_whole_part(std::size_t bytes);
  /// The object that was read before under that number, which must be a `type`.
  std::shared_ptr<void> find_shared(std::size_t number, const std::type_info& type) const;
  [[noreturn]] void throw_truncated(std::size_t wanted) const;
  [[noreturn]] void throw_too_many(std::size_t count) const;

  const Payload& payload_;
  const std::byte* at_;
  const std::byte* end_;
  std::vector<bool> part_used_;
  std::size_t left_in_parts_ = 0;     // bytes
  std::vector<SharedObject> shared_;  // number n at n - 1; null while the object is being read
  std::map<std::pair<const void*, std::type_index>, int> virtual_bases_;
  std::vector<std::function<void()>> deferred_;
  std::size_t empty_elements_ = 0;
  int depth_ = 0;
};

// What cereal's own code asks of an archive. Values come here only from inside cereal: all other ways lead through
// operator().

template <class T>
  requires std::is_arithmetic_v<T>
void CEREAL_SAVE_FUNCTION_NAME(OutputArchive& archive, const T& value) {
  archive(value);
}
template <class T>
  requires std::is_arithmetic_v<T>
void CEREAL_LOAD_FUNCTION_NAME(InputArchive& archive, T& value) {
  archive(value);
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(OutputArchive& archive, const cereal::NameValuePair<T>& pair) {
  archive(pair);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(InputArchive& archive, cereal::NameValuePair<T>& pair) {
  archive(pair);
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(OutputArchive& archive, const cereal::SizeTag<T>& tag) {
  archive(tag);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(InputArchive& archive, cereal::SizeTag<T>& tag) {
  archive(tag);
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(OutputArchive& archive, const cereal::BinaryData<T>& data) {
  archive(data);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(InputArchive& archive, cereal::BinaryData<T>& data) {
  archive(data);
}

/// Whether futures and channels travel in such an archive: in muster's own. Into any other, a file's perhaps, they
/// write nothing, and one that is read out of it names nothing: outside its cluster a handle has no meaning.
template <class Archive>
inline constexpr bool carries_handles = std::is_same_v<Archive, OutputArchive> || std::is_same_v<Archive, InputArchive>;

}  // namespace muster::detail

CEREAL_SETUP_ARCHIVE_TRAITS(muster::detail::InputArchive, muster::detail::OutputArchive)
CEREAL_REGISTER_ARCHIVE(muster::detail::OutputArchive)
CEREAL_REGISTER_ARCHIVE(muster::detail::InputArchive)

// The rest of the archives' templates, which need the names above.
#include <muster/detail/serialize_pointer.hpp>
#include <muster/detail/serialize_standard.hpp>
#include <muster/detail/serialize_value.hpp>
