/// @file
/// Arrays that are read where they arrived, without a copy.
#pragma once

#include <muster/detail/archive.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace muster {

/// A read-only span over plain elements (numbers, enumerations, complex numbers, and arrays and aggregates of such)
/// that keeps the memory they lie in: what they were received in, or the vector it was made of. Travels as a
/// `std::vector<T>` does, and is read in place where it arrives.
///
/// A function with a parameter `View<T>` takes a `std::vector<T>`, `std::array<T, N>`, `std::span<T>` or `View<T>` from
/// its caller; one that returns a `View<T>`, made of its vector, gives a `Future<View<T>>`.
/// @code
/// double sum(muster::View<double> values) { return std::accumulate(values.begin(), values.end(), 0.0); }
/// muster::View<double> zeros(std::size_t n) { return std::vector<double>(n); }
/// @endcode
/// Copies are cheap and share the memory: within a host the whole message in shared memory, which its sender can't use
/// again as long as one of them lives. Small arrays (below 4 KiB), and those that arrived where a T can't lie, are
/// copied when they are read.
/// @par Thread safety
/// As std::shared_ptr: any thread may use, copy and destroy its own.
template <class T>
class View {
  static_assert(std::is_same_v<T, std::remove_cv_t<T>> && detail::plain<T>,
                "the elements of a muster::View are plain: numbers, enumerations, complex numbers, and arrays and "
                "aggregates of such. Others travel in a std::vector.");

 public:
  using element_type = const T;            ///< read only
  using value_type = T;                    ///< what it is a view of
  using size_type = std::size_t;           ///< counts elements
  using difference_type = std::ptrdiff_t;  ///< between two of them
  using pointer = const T*;                ///< read only
  using const_pointer = const T*;          ///< read only
  using reference = const T&;              ///< read only
  using const_reference = const T&;        ///< read only
  using iterator = const T*;               ///< contiguous
  using const_iterator = const T*;         ///< contiguous

  /// Of nothing.
  View() = default;
  /// Of the vector's elements, which it keeps. No element is copied.
  template <class Allocator>
    requires(!std::is_same_v<T, bool>)
  View(std::vector<T, Allocator>&& elements) {  // NOLINT(google-explicit-constructor): `return vector;`
    const auto kept = std::make_shared<const std::vector<T, Allocator>>(std::move(elements));
    elements_ = *kept;
    owner_ = kept;
  }
  /// Of elements that lie elsewhere, and do not change while a view of them lives.
  /// @param owner keeps them alive; null: they live as long as the program
  View(std::span<const T> elements, std::shared_ptr<const void> owner)
      : elements_(elements), owner_(std::move(owner)) {}

  /// The first element, aligned for T.
  const T* data() const noexcept { return elements_.data(); }
  /// How many there are.
  std::size_t size() const noexcept { return elements_.size(); }
  /// Whether there is none.
  bool empty() const noexcept { return elements_.empty(); }
  /// The element at that index, below size().
  const T& operator[](std::size_t index) const { return elements_[index]; }
  /// The first element.
  iterator begin() const noexcept { return data(); }
  /// Behind the last element.
  iterator end() const noexcept { return data() + size(); }
  /// A copy of the elements.
  std::vector<T> to_vector() const {
    std::vector<T> copy;
    detail::assign_elements(copy, data(), size());
    return copy;
  }

 private:
  friend struct detail::Codec<View>;

  std::span<const T> elements_;
  std::shared_ptr<const void> owner_;
};

namespace detail {

/// As a vector: the number of elements, and a block.
template <class T>
struct Codec<View<T>> {
  using Elements = TypeList<T>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const View<T>& view) {
    archive.write_count(view.size());
    archive.write_block(view.data(), view.size() * sizeof(T), view.owner_);
  }
  static View<T> make(InputArchive& archive) {
    const std::size_t count = archive.read_size();
    Part block = archive.read_kept_block(count, sizeof(T));
    if (count == 0) return {};
    if (!block.owner || reinterpret_cast<std::uintptr_t>(block.data) % alignof(T) != 0) {
      auto copy = fresh_memory(block.size, alignof(T));
      std::memcpy(copy.get(), block.data, block.size);
      block.data = copy.get();
      block.owner = std::move(copy);
    }
    const View<T> view({reinterpret_cast<const T*>(block.data), count}, std::move(block.owner));
    if constexpr (find_bools<T>()) {
      for (const T& element : view) check_bools(archive, element);
    }
    return view;
  }
};

template <class T>
inline constexpr bool is_view = false;
template <class T>
inline constexpr bool is_view<View<T>> = true;

}  // namespace detail

}  // namespace muster

/// @cond
template <class T>
inline constexpr bool std::ranges::enable_view<muster::View<T>> = true;
/// @endcond
