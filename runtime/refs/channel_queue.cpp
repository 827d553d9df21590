#include "runtime/refs/channel_queue.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace muster::runtime {

using detail::Payload;
using What = ChannelQueue::Reply::What;

namespace {

ChannelQueue::Reply yes(Asker to, Payload item = {}) { return {.to = to, .what = What::yes, .item = std::move(item)}; }

ChannelQueue::Reply no(Asker to) { return {.to = to, .what = What::no}; }

ChannelQueue::Reply failed(Asker to, std::exception_ptr failure, bool users) {
  return {.to = to, .what = What::failed, .failure = std::move(failure), .users_failure = users};
}

ChannelQueue::Reply closed_to_putter(Asker to) {
  return failed(to, std::make_exception_ptr(ChannelClosed("The channel is closed: nothing can be put into it")), false);
}

ChannelQueue::Reply drained(Asker to) {
  return failed(to, std::make_exception_ptr(ChannelClosed("The channel is closed, and everything in it was taken")),
                false);
}

}  // namespace

// -- questions --------------------------------------------------------------------------------------------------------

void ChannelQueue::put(Asker asker, Payload&& item, bool at_once, Replies& replies) {
  if (closed_) {
    replies.push_back(closed_to_putter(asker));
    return;
  }
  if (!store_ && putters_.empty() && has_room()) {  // the common case: room, and nobody before it
    items_.push_back(std::move(item));
    replies.push_back(yes(asker));
    if (!takers_.empty() || !watchers_.empty()) serve(replies);
    return;
  }
  putters_.push_back({.asker = asker, .item = std::move(item), .at_once = at_once, .order = ++last_order_});
  serve(replies);
  if (reserved_ > 0 && !putters_.empty()) call_back(replies);
  if (at_once) refuse_hasty(replies);
}

bool ChannelQueue::put_here(Payload& item) {
  if (closed_ || store_ || !putters_.empty() || !takers_.empty() || !watchers_.empty() || !has_room()) return false;
  items_.push_back(std::move(item));
  return true;
}

std::optional<Payload> ChannelQueue::take_here() {
  if (closed_ || store_ || !putters_.empty() || !takers_.empty() || !watchers_.empty() || !returned_.empty() ||
      items_.empty())
    return std::nullopt;
  std::optional<Payload> item(std::move(items_.front()));
  items_.pop_front();
  return item;
}

void ChannelQueue::put_in_place(Pid putter, Payload&& item, Replies& replies) {
  // Without a place there is none to free: it comes from before its link was lost, and made anew.
  if (const auto places = places_.find(putter); places != places_.end() && places->second.count > 0) {
    --places->second.count;
    --reserved_;
  }
  items_.push_back(std::move(item));
  if (!takers_.empty() || !watchers_.empty()) serve(replies);
}

void ChannelQueue::offer_places(Pid putter, Replies& replies) {
  if (closed_ || store_ || !putters_.empty()) return;
  Places& places = places_[putter];
  if (places.called_back) return;
  if (places.count == 0 && places.puts < policy_.puts_before) {
    ++places.puts;
    return;
  }
  if (places.count > policy_.most / 4) return;
  const std::size_t used = items_.size() + reserved_;
  // Half of what is free: others may come, and need not wait then.
  const std::size_t more = used < capacity_ ? std::min(policy_.most - places.count, (capacity_ - used) / 2) : 0;
  if (more < policy_.fewest) return;
  places.count += more;
  reserved_ += more;
  // First of all: its next put may follow as soon as it hears of this one.
  replies.insert(replies.begin(),
                 {.to = {putter, 0}, .what = What::places, .places = static_cast<std::uint32_t>(more)});
}

void ChannelQueue::call_back(Replies& replies) {
  for (auto& [pid, places] : places_) {
    if (places.count == 0 || std::exchange(places.called_back, true)) continue;
    replies.push_back({.to = {pid, 0}, .what = What::recall});
  }
}

void ChannelQueue::places_returned(Pid putter, Replies& replies) {
  const auto found = places_.find(putter);
  if (found == places_.end()) return;
  reserved_ -= found->second.count;
  found->second = {.puts = -policy_.puts_before_next};
  serve(replies);
  refuse_hasty(replies);
  end_close(replies);
}

void ChannelQueue::take(Asker asker, bool at_once, Replies& replies) {
  takers_.push_back(asker);
  serve(replies);
  if (!at_once || takers_.empty() || takers_.back() != asker) return;
  takers_.pop_back();
  replies.push_back(no(asker));
}

void ChannelQueue::watch(Watcher watcher, Replies& replies) {
  if (watcher.wants_item && is_unbuffered()) {
    replies.push_back(failed(watcher.asker,
                             std::make_exception_ptr(std::logic_error("An unbuffered channel holds nothing to fetch")),
                             false));
    return;
  }
  watchers_.push_back(watcher);
  serve(replies);
}

void ChannelQueue::withdraw(Asker asker, Replies& replies) {
  const auto is_theirs = [asker](const auto& waiting) { return waiting.asker == asker; };
  if (const auto putter = std::find_if(putters_.begin(), putters_.end(), is_theirs); putter != putters_.end()) {
    putters_.erase(putter);
  } else if (const auto taker = std::find(takers_.begin(), takers_.end(), asker); taker != takers_.end()) {
    takers_.erase(taker);
  } else if (const auto watcher = std::find_if(watchers_.begin(), watchers_.end(), is_theirs);
             watcher != watchers_.end()) {
    watchers_.erase(watcher);
  } else {
    // A putter whose item is under way learns its fate when the taker has spoken.
    for (auto& [taker_of_it, item] : under_way_)
      if (item.putter && item.putter->asker == asker) item.putter->withdrawn = true;
    return;
  }
  replies.push_back(no(asker));
}

void ChannelQueue::received(Asker taker, Replies& replies) {
  const auto item = under_way_.extract(taker);
  if (item.empty()) return;
  if (const auto& putter = item.mapped().putter; putter && !putter->dead) replies.push_back(yes(putter->asker));
  if (closed_) end_drained(replies);
}

void ChannelQueue::returned(Asker taker, Replies& replies) {
  auto item = under_way_.extract(taker);
  if (item.empty()) return;
  put_back(std::move(item.mapped()), replies);
  serve(replies);
  refuse_hasty(replies);
}

void ChannelQueue::close(Asker asker, Replies& replies) {
  closers_.push_back(asker);
  if (!std::exchange(closed_, true)) {
    for (const Putter& putter : std::exchange(putters_, {})) replies.push_back(closed_to_putter(putter.asker));
    serve(replies);
    call_back(replies);
  }
  end_close(replies);
}

void ChannelQueue::end_close(Replies& replies) {
  if (!closed_ || reserved_ > 0) return;
  for (const Asker& closer : std::exchange(closers_, {})) replies.push_back(yes(closer));
}

void ChannelQueue::process_died(Pid pid, Replies& replies) {
  const auto is_theirs = [pid](const auto& waiting) { return waiting.asker.pid == pid; };
  std::erase_if(putters_, is_theirs);
  std::erase_if(watchers_, is_theirs);
  std::erase_if(takers_, [pid](const Asker& taker) { return taker.pid == pid; });
  std::erase_if(closers_, [pid](const Asker& closer) { return closer.pid == pid; });
  for (auto& [taker, item] : under_way_)
    if (item.putter && item.putter->asker.pid == pid) item.putter->dead = true;
  const auto first = under_way_.lower_bound({pid, 0});
  auto last = first;
  for (; last != under_way_.end() && last->first.pid == pid; ++last) put_back(std::move(last->second), replies);
  under_way_.erase(first, last);
  serve(replies);
  refuse_hasty(replies);
}

std::size_t ChannelQueue::size() const {
  if (is_unbuffered()) return putters_.size();
  return returned_.size() + (store_ ? store_->size() : items_.size());
}

// -- serving ----------------------------------------------------------------------------------------------------------

/// Lets things happen until nothing more can.
void ChannelQueue::serve(Replies& replies) {
  for (bool again = true; again;) {
    again = false;
    if (!is_unbuffered())
      while (!putters_.empty() && admit(replies)) again = true;
    if (!watchers_.empty()) show(replies);
    while (!takers_.empty() && hand_out(replies)) again = true;
  }
  if (closed_) end_drained(replies);
}

/// Lets the first putter's item in. @returns false where there is no room
bool ChannelQueue::admit(Replies& replies) {
  Putter& putter = putters_.front();
  if (store_) {
    try {
      if (!store_->try_put(putter.item, putter.decoded)) return false;
      replies.push_back(yes(putter.asker));
    } catch (...) {
      replies.push_back(failed(putter.asker, std::current_exception(), true));
    }
  } else {
    if (!has_room()) return false;
    items_.push_back(std::move(putter.item));
    replies.push_back(yes(putter.asker));
  }
  putters_.pop_front();
  return true;
}

/// Replies to those that wait for something to be there, where it is.
void ChannelQueue::show(Replies& replies) {
  std::optional<Payload> item;
  try {
    if (size() == 0) return;
    if (std::any_of(watchers_.begin(), watchers_.end(), [](const Watcher& watcher) { return watcher.wants_item; }))
      item = peek();
  } catch (...) {
    for (const Watcher& watcher : std::exchange(watchers_, {}))
      replies.push_back(failed(watcher.asker, std::current_exception(), true));
    return;
  }
  std::erase_if(watchers_, [&](const Watcher& watcher) {
    if (watcher.wants_item && !item) return false;
    replies.push_back(watcher.wants_item ? yes(watcher.asker, *item) : yes(watcher.asker));
    return true;
  });
}

std::optional<Payload> ChannelQueue::peek() {
  if (!returned_.empty()) return returned_.begin()->second;
  if (store_) return store_->peek();
  if (items_.empty()) return std::nullopt;
  return items_.front();
}

/// Hands the next item to the first taker. @returns false where there is none
bool ChannelQueue::hand_out(Replies& replies) {
  const Asker taker = takers_.front();
  try {
    auto next = next_item();
    if (!next) return false;
    replies.push_back(yes(taker, next->item));
    under_way_.emplace(taker, std::move(*next));
  } catch (...) {
    replies.push_back(failed(taker, std::current_exception(), true));
  }
  takers_.pop_front();
  return true;
}

std::optional<ChannelQueue::UnderWay> ChannelQueue::next_item() {
  if (!returned_.empty()) {
    auto first = returned_.extract(returned_.begin());
    return UnderWay{first.key(), std::move(first.mapped()), {}};
  }
  if (is_unbuffered()) {
    if (putters_.empty()) return std::nullopt;
    Putter putter = std::move(putters_.front());
    putters_.pop_front();
    Payload item = std::move(putter.item);
    const auto order = putter.order;
    return UnderWay{order, std::move(item), std::move(putter)};
  }
  std::optional<Payload> item;
  if (store_) {
    item = store_->try_take();
  } else if (!items_.empty()) {
    item = std::move(items_.front());
    items_.pop_front();
  }
  if (!item) return std::nullopt;
  return UnderWay{++last_order_, std::move(*item), {}};
}

// -- coming back ------------------------------------------------------------------------------------------------------

void ChannelQueue::put_back(UnderWay&& item, Replies& replies) {
  if (!item.putter) {
    returned_.emplace(item.order, std::move(item.item));
    return;
  }
  Putter& putter = *item.putter;
  if (putter.dead) return;
  if (putter.withdrawn) {
    replies.push_back(no(putter.asker));
  } else if (closed_) {
    replies.push_back(closed_to_putter(putter.asker));
  } else {
    putter.item = std::move(item.item);
    const auto place = std::find_if(putters_.begin(), putters_.end(),
                                    [&](const Putter& waiting) { return waiting.order > putter.order; });
    putters_.insert(place, std::move(putter));
  }
}

/// Replies to the putters that do not wait and whose items are not in.
void ChannelQueue::refuse_hasty(Replies& replies) {
  if (reserved_ > 0 && items_.size() < capacity_) return;  // places were called back: there may be room
  std::erase_if(putters_, [&](const Putter& putter) {
    if (putter.at_once) replies.push_back(no(putter.asker));
    return putter.at_once;
  });
}

/// What is under way may come back, and a place be filled; with nothing there, those that wait would wait for ever.
void ChannelQueue::end_drained(Replies& replies) {
  if (!under_way_.empty() || reserved_ > 0) return;
  for (const Asker& taker : std::exchange(takers_, {})) replies.push_back(drained(taker));
  for (const Watcher& watcher : std::exchange(watchers_, {})) replies.push_back(drained(watcher.asker));
}

}  // namespace muster::runtime
