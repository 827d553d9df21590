/// @file
/// The links that were asked for last.
#pragma once

#include <muster/detail/small_mutex.hpp>
#include <muster/ids.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

namespace muster::runtime {

struct Link;

/// Programs send many messages to the same few processes: those need not look into the table of all, which everything
/// else about membership is guarded with. Any thread.
class RecentLinks {
 public:
  /// Null where it is not known here.
  std::shared_ptr<Link> find(Pid pid) {
    Place& place = place_of(pid);
    const std::lock_guard lock(place.mutex);
    return place.pid == pid ? place.link : nullptr;
  }
  /// To be called with what guards the table of all, as forget.
  void remember(Pid pid, const std::shared_ptr<Link>& link) { set(place_of(pid), pid, link); }
  void forget(Pid pid) {
    Place& place = place_of(pid);
    if (place.pid == pid) set(place, 0, nullptr);
  }

 private:
  struct Place {
    detail::SmallMutex mutex;  ///< guards link, and pid where it is only looked at
    Pid pid = 0;
    std::shared_ptr<Link> link;
  };
  static constexpr std::size_t places = 64;

  Place& place_of(Pid pid) { return places_[static_cast<std::size_t>(pid) % places]; }
  static void set(Place& place, Pid pid, std::shared_ptr<Link> link) {
    const std::lock_guard lock(place.mutex);
    place.pid = pid;
    place.link.swap(link);
  }

  std::array<Place, places> places_;
};

}  // namespace muster::runtime
