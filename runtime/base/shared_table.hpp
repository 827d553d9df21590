/// @file
/// A hash table of shared objects that know their keys.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace muster::runtime {

/// Sixteen bytes a place and nothing beside: an object is found through its own key. Not thread-safe.
///
/// Open addressing with linear probing, and removal that closes the gap (Knuth, The Art of Computer Programming 3, 6.4,
/// algorithms L and R); places by Fibonacci hashing (ibid.), since keys are numbers given in turn.
/// @tparam Keys `Key`, `static Key of(const T&)`, `static std::uint64_t hash(const Key&)`
template <class T, class Keys>
class SharedTable {
 public:
  using Pointer = std::shared_ptr<T>;
  using Key = typename Keys::Key;

  std::size_t size() const { return size_; }

  /// Its key must not be there yet. Amortized O(1).
  void insert(Pointer object) {
    if ((size_ + 1) * 4 > places_.size() * 3) grow();
    places_[gap_for(Keys::of(*object))] = std::move(object);
    ++size_;
  }
  /// Null where there is none, until the table changes.
  T* find(const Key& key) const {
    const std::size_t at = place_of(key);
    return at == none ? nullptr : places_[at].get();
  }
  Pointer share(const Key& key) const {
    const std::size_t at = place_of(key);
    return at == none ? nullptr : places_[at];
  }
  /// Removes it. @returns null where there was none
  Pointer take(const Key& key) {
    const std::size_t at = place_of(key);
    return at == none ? nullptr : take_at(at);
  }
  /// Removes all that `which(object)` is true of.
  template <class Which>
  std::vector<Pointer> take_if(Which&& which) {
    std::vector<Pointer> taken;
    for (const Pointer& each : places_)
      if (each && which(std::as_const(*each))) taken.push_back(each);
    for (const Pointer& each : taken) (void)take(Keys::of(*each));
    return taken;
  }
  template <class F>
  void for_each(F&& f) const {
    for (const Pointer& each : places_)
      if (each) f(each);
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  static constexpr std::size_t least_places = 16;

  std::size_t home_of(const Key& key) const {
    return static_cast<std::size_t>((Keys::hash(key) * 0x9E37'79B9'7F4A'7C15U) >> shift_);
  }
  std::size_t after(std::size_t at) const { return (at + 1) & (places_.size() - 1); }
  std::size_t gap_for(const Key& key) const {
    std::size_t at = home_of(key);
    while (places_[at]) at = after(at);
    return at;
  }
  std::size_t place_of(const Key& key) const {
    if (size_ == 0) return none;
    for (std::size_t at = home_of(key); places_[at]; at = after(at))
      if (Keys::of(*places_[at]) == key) return at;
    return none;
  }
  Pointer take_at(std::size_t gap) {
    Pointer taken = std::move(places_[gap]);
    --size_;
    for (std::size_t at = after(gap); places_[at]; at = after(at)) {
      // What is behind the gap, and would have been found there first, moves into it.
      const std::size_t behind_home = (at - home_of(Keys::of(*places_[at]))) & (places_.size() - 1);
      if (behind_home < ((at - gap) & (places_.size() - 1))) continue;
      places_[gap] = std::move(places_[at]);
      gap = at;
    }
    return taken;
  }
  void grow() {
    std::vector<Pointer> before(std::max(places_.size() * 2, least_places));
    before.swap(places_);
    shift_ = 64 - std::countr_zero(places_.size());
    for (Pointer& each : before)
      if (each) places_[gap_for(Keys::of(*each))] = std::move(each);
  }

  std::vector<Pointer> places_;  ///< a power of two, at most three quarters in use
  std::size_t size_ = 0;
  int shift_ = 0;
};

}  // namespace muster::runtime
