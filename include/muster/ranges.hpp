/// @file
/// Ranges of indexes, and how one is split into parts.
#pragma once

#include <cstddef>
#include <iterator>
#include <ranges>
#include <vector>

namespace muster {

/// The indexes first, first + 1, ..., last - 1. Itself a range, with random access; it travels as two numbers.
struct IndexRange {
  std::size_t first = 0;  ///< the first index
  std::size_t last = 0;   ///< one past the end

  /// Walks over indexes; holds its own, so it may outlive its range.
  class Iterator {
   public:
    /// @cond a random access iterator, member by member
    using value_type = std::size_t;
    using reference = std::size_t;
    using pointer = void;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::random_access_iterator_tag;

    constexpr Iterator() = default;
    constexpr explicit Iterator(std::size_t index) : index_(index) {}

    constexpr std::size_t operator*() const { return index_; }
    constexpr std::size_t operator[](difference_type n) const { return *(*this + n); }

    constexpr Iterator& operator+=(difference_type n) {
      index_ += static_cast<std::size_t>(n);  // wraps round, as it should for a negative n
      return *this;
    }
    constexpr Iterator& operator-=(difference_type n) {
      index_ -= static_cast<std::size_t>(n);
      return *this;
    }
    constexpr Iterator& operator++() { return *this += 1; }
    constexpr Iterator& operator--() { return *this -= 1; }
    constexpr Iterator operator++(int) {
      const Iterator before = *this;
      ++*this;
      return before;
    }
    constexpr Iterator operator--(int) {
      const Iterator before = *this;
      --*this;
      return before;
    }

    friend constexpr Iterator operator+(Iterator i, difference_type n) { return i += n; }
    friend constexpr Iterator operator+(difference_type n, Iterator i) { return i += n; }
    friend constexpr Iterator operator-(Iterator i, difference_type n) { return i -= n; }
    friend constexpr difference_type operator-(Iterator a, Iterator b) {
      return static_cast<difference_type>(a.index_ - b.index_);
    }
    friend constexpr auto operator<=>(Iterator, Iterator) = default;
    /// @endcond

   private:
    std::size_t index_ = 0;
  };

  /// At the first index.
  constexpr Iterator begin() const { return Iterator(first); }
  /// Behind the last index.
  constexpr Iterator end() const { return Iterator(first + size()); }
  /// How many there are; 0 when last is not after first.
  constexpr std::size_t size() const { return last > first ? last - first : 0; }
  /// Whether there are none.
  constexpr bool empty() const { return size() == 0; }
  /// The n-th, from 0.
  constexpr std::size_t operator[](std::size_t n) const { return first + n; }

  /// Same first and last.
  bool operator==(const IndexRange&) const = default;
};

/// Splits 0 ... n - 1 into at most `parts` ranges, in order, none empty; the first n % parts are longer by one (with
/// fewer elements than parts: one range for each element). No ranges for n = 0.
/// @throws std::invalid_argument for fewer than 1 part.
std::vector<IndexRange> splitrange(std::size_t n, int parts);

}  // namespace muster

/// @cond
template <>
inline constexpr bool std::ranges::enable_borrowed_range<muster::IndexRange> = true;
template <>
inline constexpr bool std::ranges::enable_view<muster::IndexRange> = true;
/// @endcond
