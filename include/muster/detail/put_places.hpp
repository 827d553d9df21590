/// @file
/// Places that a channel's owner has set aside for the items of another process: a credit of puts.
#pragma once

#include <atomic>
#include <cstdint>

namespace muster::detail {

/// The places that this process has in one channel of another. Who takes one may send its item without asking, since
/// nobody else can fill it. When the owner wants those back that were not used, it hears so behind the last item that
/// was: after the one that is still being sent.
/// Threads: every function from any.
class PutPlaces {
 public:
  /// The owner has set aside so many more.
  void add(std::uint32_t count) { word_.fetch_add(count * one_place, std::memory_order_acq_rel); }
  /// For one item, about to be sent. @returns false where there is none
  bool take() {
    auto word = word_.load(std::memory_order_acquire);
    do {
      if (word < one_place) return false;
    } while (!word_.compare_exchange_weak(word, word - one_place + one_sending, std::memory_order_acq_rel));
    return true;
  }
  /// The item was sent. @returns whether the owner is to be told now that the others are given back
  bool sent() { return end_sending(0); }
  /// It was not, and its place is free again. @returns as sent
  bool not_sent() { return end_sending(one_place); }
  /// The owner wants them back: from now on there are none.
  /// @returns whether it is to be told now; else whoever sends last does
  bool give_back() {
    auto word = word_.load(std::memory_order_acquire);
    std::uint64_t next = 0;
    do {
      const auto sending = word & sending_mask;
      next = sending == 0 ? 0 : sending | wanted_back;
    } while (!word_.compare_exchange_weak(word, next, std::memory_order_acq_rel));
    return next == 0;
  }

 private:
  static constexpr std::uint64_t wanted_back = 1;
  static constexpr std::uint64_t one_sending = 2;
  static constexpr std::uint64_t one_place = std::uint64_t{1} << 32;
  static constexpr std::uint64_t sending_mask = one_place - one_sending;

  bool end_sending(std::uint64_t place) {
    auto word = word_.load(std::memory_order_acquire);
    bool tell = false;
    std::uint64_t next = 0;
    do {
      const bool wanted = (word & wanted_back) != 0;
      next = word - one_sending + (wanted ? 0 : place);
      tell = wanted && (next & sending_mask) == 0;
      if (tell) next = 0;
    } while (!word_.compare_exchange_weak(word, next, std::memory_order_acq_rel));
    return tell;
  }

  std::atomic<std::uint64_t> word_{0};  ///< places, from bit 32; items being sent; whether they are wanted back
};

}  // namespace muster::detail
