/// @file
/// Numbers and texts as bytes, for the few things that travel below the wire's codec: failures. Little endian; whoever
/// reads checks every length against what is left.
#pragma once

#include <muster/errors.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace muster::runtime {

/// Puts one value behind the other.
class ByteWriter {
 public:
  template <std::integral T>
  void number(T value) {
    auto rest = static_cast<std::uint64_t>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i, rest >>= 8U) bytes_.push_back(static_cast<std::byte>(rest & 0xffU));
  }
  /// Its length in 8 bytes, then it.
  void bytes(std::span<const std::byte> value) {
    number(std::uint64_t{value.size()});
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  void text(std::string_view value) { bytes(std::as_bytes(std::span(value))); }
  void optional(const std::optional<int>& value) {
    number(value.has_value());
    number(value.value_or(0));
  }
  std::size_t size() const { return bytes_.size(); }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

/// Takes them again, in order. Every function throws SerializationError where the bytes don't hold what is asked for.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <std::integral T>
  T number() {
    std::uint64_t value = 0;
    const std::span<const std::byte> source = take(sizeof(T));
    for (std::size_t i = sizeof(T); i-- > 0;) value = value << 8U | std::to_integer<std::uint64_t>(source[i]);
    return static_cast<T>(value);
  }
  std::span<const std::byte> bytes() { return take(number<std::uint64_t>()); }
  std::string text() {
    const std::span<const std::byte> source = bytes();
    return {reinterpret_cast<const char*>(source.data()), source.size()};
  }
  std::optional<int> optional() {
    const bool present = number<bool>();
    const int value = number<int>();
    return present ? std::optional<int>(value) : std::nullopt;
  }
  /// A number of things to come, each of which takes at least `least` bytes.
  std::size_t count(std::size_t least) {
    const auto n = number<std::uint64_t>();
    if (n > rest_.size() / least) fail();
    return n;
  }
  void expect_end() const {
    if (!rest_.empty()) fail();
  }

 private:
  [[noreturn]] static void fail() {
    throw SerializationError("the bytes of a failure are damaged: a length in them does not fit what is there");
  }
  std::span<const std::byte> take(std::uint64_t n) {
    if (n > rest_.size()) fail();
    const std::span<const std::byte> result = rest_.first(n);
    rest_ = rest_.subspan(n);
    return result;
  }

  std::span<const std::byte> rest_;
};

}  // namespace muster::runtime
