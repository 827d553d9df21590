/// @file
/// Channels within one process, and what all channels share.
#pragma once

#include <muster/detail/copyable.hpp>
#include <muster/detail/local_event.hpp>
#include <muster/errors.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace muster {

/// A user's own channel: it stores, muster does all the waiting. Called by one thread at a time, at the channel's
/// owner; must not block. (It runs on whichever thread asks; for other processes on one that all such channels of the
/// process share.) What its functions throw reaches whoever asked, as a RemoteException, and the channel goes on.
template <class T>
class ChannelStore {
 public:
  ChannelStore() = default;
  ChannelStore(const ChannelStore&) = delete;
  ChannelStore& operator=(const ChannelStore&) = delete;
  virtual ~ChannelStore() = default;
  /// Takes the value in. @returns false where there is no room now: the value is left alone, and asked about again when
  /// something was taken
  virtual bool try_put(T& value) = 0;
  /// Gives the next value away; nothing where there is none.
  virtual std::optional<T> try_take() = 0;
  /// The next value, left where it is; null where there is none, or it can't be shown (then fetch waits).
  virtual const T* peek() const = 0;
  /// How many values could be taken.
  virtual std::size_t size() const = 0;
};

namespace detail {

[[noreturn]] void throw_unbuffered_fetch();

/// Takes until the channel is closed and empty.
template <class Channel>
class ChannelIterator {
 public:
  using value_type = typename Channel::value_type;
  using difference_type = std::ptrdiff_t;
  using reference = value_type&;
  using pointer = value_type*;
  using iterator_category = std::input_iterator_tag;
  using iterator_concept = std::input_iterator_tag;

  ChannelIterator() = default;
  explicit ChannelIterator(const Channel& channel) : at_(std::make_shared<At>(channel)) { ++*this; }

  reference operator*() const { return *at_->value; }
  pointer operator->() const { return &*at_->value; }
  ChannelIterator& operator++() {
    try {
      at_->value.emplace(at_->channel.take());
    } catch (const ChannelClosed&) {
      at_ = nullptr;
    }
    return *this;
  }
  void operator++(int) { ++*this; }
  /// Only the end equals anything.
  friend bool operator==(const ChannelIterator& a, const ChannelIterator& b) { return a.at_ == b.at_; }

 private:
  struct At {
    explicit At(const Channel& from) : channel(from) {}
    Channel channel;
    std::optional<value_type> value;
  };
  std::shared_ptr<At> at_;  ///< null: the end
};

/// One channel within this process. Whatever happens, happens under its lock, so it is decided there and then.
/// Threads: every function from any.
template <class T>
class LocalChannel {
 public:
  explicit LocalChannel(std::size_t capacity) : capacity_(capacity) {}
  explicit LocalChannel(std::unique_ptr<ChannelStore<T>> store) : store_(std::move(store)) {}

  bool put(T&& value, Timeout timeout, bool at_once) {
    Putter self;
    self.value = &value;
    return wait_in(putters_, self, timeout, at_once);
  }
  std::optional<T> take(Timeout timeout, bool at_once) {
    Taker self;
    (void)wait_in(takers_, self, timeout, at_once);
    return std::move(self.value);
  }
  T fetch(Timeout timeout)
    requires detail::is_copyable_v<T>
  {
    if (is_unbuffered()) throw_unbuffered_fetch();
    Watcher self;
    self.wants_value = true;
    (void)wait_in(watchers_, self, timeout, false);
    return *std::move(self.value);
  }
  void wait(Timeout timeout) {
    Watcher self;
    (void)wait_in(watchers_, self, timeout, false);
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return available();
  }
  bool is_open() const {
    const std::lock_guard lock(mutex_);
    return !closed_;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    end_all(putters_);
    serve();
  }

 private:
  /// A thread that waits, on its own stack.
  struct Waiter {
    LocalEvent event;
    enum class State : std::uint8_t { waiting, done, closed, failed } state = State::waiting;
    std::exception_ptr failure;

    void end(State end) {
      state = end;
      event.set();
    }
    void fail() {
      failure = std::current_exception();
      end(State::failed);
    }
  };
  using State = typename Waiter::State;
  struct Putter : Waiter {
    T* value = nullptr;
  };
  struct Taker : Waiter {
    std::optional<T> value;
  };
  struct Watcher : Waiter {
    bool wants_value = false;
    std::optional<T> value;
  };

  /// For muster's own use.
  bool is_unbuffered() const { return capacity_ == 0 && !store_; }
  std::size_t available() const {
    return returned_.size() + (is_unbuffered() ? putters_.size() : store_ ? store_->size() : items_.size());
  }

  template <class W>
  bool wait_in(std::deque<W*>& waiters, W& self, Timeout timeout, bool at_once) {
    check_stop();
    std::unique_lock lock(mutex_);
    if (closed_ && std::is_same_v<W, Putter>) throw_closed<W>();
    waiters.push_back(&self);
    serve();
    if (self.state == State::waiting && !at_once) {
      lock.unlock();
      (void)self.event.wait(timeout, [&] {
        const std::lock_guard gave_up(mutex_);
        if (self.state == State::waiting) std::erase(waiters, &self);
      });
      lock.lock();
    }
    switch (self.state) {
      case State::done:
        if constexpr (std::is_same_v<W, Taker>) confirm(self);
        return true;
      case State::closed: throw_closed<W>();
      case State::failed: std::rethrow_exception(self.failure);
      case State::waiting: break;
    }
    std::erase(waiters, &self);
    if (!at_once) throw_waited_in_vain();
    return false;
  }
  /// A taker sees that it was given something; a task that must stop gives it back.
  void confirm(Taker& taker) {
    --unconfirmed_;
    try {
      check_stop();
    } catch (...) {
      returned_.push_back(std::move(*taker.value));
      serve();
      throw;
    }
    if (closed_) serve();
  }
  template <class W>
  [[noreturn]] static void throw_closed() {
    throw ChannelClosed(std::is_same_v<W, Putter> ? "The channel is closed: nothing can be put into it"
                                                  : "The channel is closed, and everything in it was taken");
  }

  // With the lock.

  /// Lets things happen until nothing more can.
  void serve() {
    for (bool again = true; again;) {
      again = false;
      if (!is_unbuffered())
        while (!putters_.empty() && admit()) again = true;
      if (!watchers_.empty()) show();
      while (!takers_.empty() && hand_out()) again = true;
    }
    if (!closed_ || unconfirmed_ != 0) return;  // something may come back
    end_all(takers_);
    end_all(watchers_);
  }
  template <class W>
  static void end_all(std::deque<W*>& waiters) {
    for (W* const waiter : std::exchange(waiters, {})) waiter->end(State::closed);
  }
  template <class W>
  static W* pop(std::deque<W*>& waiters) {
    W* const first = waiters.front();
    waiters.pop_front();
    return first;
  }
  /// Lets the first putter's value in. @returns false where there is no room
  bool admit() {
    Putter* const putter = putters_.front();
    try {
      if (store_) {
        if (!store_->try_put(*putter->value)) return false;
      } else {
        if (items_.size() >= capacity_) return false;
        items_.push_back(std::move(*putter->value));
      }
    } catch (...) {
      pop(putters_)->fail();
      return true;
    }
    pop(putters_)->end(State::done);
    return true;
  }
  /// Ends the waiting of those who wait for something to be there, where it is.
  void show() {
    try {
      if (available() == 0) return;
      const T* const first = peek();
      std::erase_if(watchers_, [first](Watcher* watcher) {
        if (watcher->wants_value && first == nullptr) return false;
        if constexpr (detail::is_copyable_v<T>)
          if (watcher->wants_value) watcher->value.emplace(*first);
        watcher->end(State::done);
        return true;
      });
    } catch (...) {
      for (Watcher* const watcher : std::exchange(watchers_, {})) watcher->fail();
    }
  }
  const T* peek() const {
    if (!returned_.empty()) return &returned_.front();
    if (is_unbuffered()) return nullptr;
    return store_ ? store_->peek() : &items_.front();
  }
  /// Gives the next value to the first taker. @returns false where there is none
  bool hand_out() {
    Taker* const taker = takers_.front();
    Putter* const putter = returned_.empty() && is_unbuffered() && !putters_.empty() ? putters_.front() : nullptr;
    try {
      if (!returned_.empty()) {
        taker->value.emplace(std::move(returned_.front()));
        returned_.pop_front();
      } else if (store_) {
        taker->value = store_->try_take();
      } else if (putter != nullptr) {
        taker->value.emplace(std::move(*putter->value));
      } else if (!items_.empty()) {
        taker->value.emplace(std::move(items_.front()));
        items_.pop_front();
      }
    } catch (...) {
      pop(takers_)->fail();
      return true;
    }
    if (!taker->value) return false;
    if (putter != nullptr) pop(putters_)->end(State::done);
    ++unconfirmed_;
    pop(takers_)->end(State::done);
    return true;
  }

  const std::size_t capacity_ = 0;
  const std::unique_ptr<ChannelStore<T>> store_;
  mutable std::mutex mutex_;  ///< guards everything below, and the store
  bool closed_ = false;
  std::deque<T> items_;
  std::deque<T> returned_;       ///< by takers that had to stop: goes first
  std::size_t unconfirmed_ = 0;  ///< takers that were given something, and have not seen it yet
  std::deque<Putter*> putters_;
  std::deque<Taker*> takers_;
  std::deque<Watcher*> watchers_;
};

}  // namespace detail

/// A channel within one process, of any type that can be moved: a handle, whose copies are the same channel. Its
/// members are those of RemoteChannel. It needs no session and can't be sent; threads of tasks that wait let their
/// worker run others.
/// @par Thread safety
/// Every member from any thread.
/// @throws ChannelClosed, TimeoutError as RemoteChannel; CancelledError or InterruptedError from what waits, in a task
/// that must stop
template <class T>
class Channel {
 public:
  using value_type = T;  ///< what it carries
  /// Over what is taken, as it is taken.
  using iterator = detail::ChannelIterator<Channel>;

  /// A channel that holds one value.
  Channel() : Channel(1) {}
  /// @param capacity how many values it holds; 0: unbuffered, put returns when its value was taken
  explicit Channel(std::size_t capacity) : channel_(std::make_shared<detail::LocalChannel<T>>(capacity)) {}
  /// A channel over the store that the factory returns, a std::unique_ptr<ChannelStore<T>>. What the store throws
  /// reaches who asked.
  template <class Make>
  static Channel make(Make factory) {
    std::unique_ptr<ChannelStore<T>> store = factory();
    if (!store) throw std::invalid_argument("muster: the factory of a channel returned no store");
    return Channel(std::make_shared<detail::LocalChannel<T>>(std::move(store)));
  }

  /// Adds a value; waits while there is no room. @throws ChannelClosed
  void put(T value) const { (void)channel_->put(std::move(value), {}, false); }
  /// @throws TimeoutError where there was no room in time; whatever put throws
  void put(T value, std::chrono::nanoseconds timeout) const { (void)channel_->put(std::move(value), timeout, false); }
  /// Adds a value if there is room now; unbuffered: if somebody waits for it. @throws ChannelClosed
  bool try_put(T value) const { return channel_->put(std::move(value), {}, true); }
  /// Takes the first value; waits for one. @throws ChannelClosed when the channel is closed and empty
  T take() const { return *channel_->take({}, false); }
  /// @throws TimeoutError where none came in time; whatever take throws
  T take(std::chrono::nanoseconds timeout) const { return *channel_->take(timeout, false); }
  /// Takes the first value if there is one now. @throws as take
  std::optional<T> try_take() const { return channel_->take({}, true); }
  /// A copy of the first value, which stays; waits for one. @throws as take; std::logic_error for an unbuffered channel
  T fetch() const { return fetch_within({}); }
  /// @throws TimeoutError where none came in time; whatever fetch throws
  T fetch(std::chrono::nanoseconds timeout) const { return fetch_within(timeout); }
  /// Waits until there is something to take. @throws ChannelClosed when the channel is closed and empty
  void wait() const { channel_->wait({}); }
  /// @throws TimeoutError where nothing came in time; whatever wait throws
  void wait(std::chrono::nanoseconds timeout) const { channel_->wait(timeout); }
  /// Whether there is something to take.
  bool isready() const { return size() != 0; }
  /// Whether there is nothing to take.
  bool isempty() const { return size() == 0; }
  /// How many values can be taken; unbuffered: how many putters wait.
  std::size_t size() const { return channel_->size(); }
  /// Whether it was not closed yet.
  bool isopen() const { return channel_->is_open(); }
  /// From now on put throws ChannelClosed, also where it waits; take drains what is left, then throws it.
  void close() const { channel_->close(); }

  /// `for (auto& value : channel)` takes until the channel is closed and empty.
  iterator begin() const { return iterator(*this); }
  /// The end, which is met when the channel is closed and empty.
  iterator end() const { return {}; }

  /// Whether both are the same channel.
  friend bool operator==(const Channel& a, const Channel& b) { return a.channel_ == b.channel_; }

 private:
  explicit Channel(std::shared_ptr<detail::LocalChannel<T>> channel) : channel_(std::move(channel)) {}
  T fetch_within(detail::Timeout timeout) const {
    static_assert(detail::is_copyable_v<T>, "muster: fetch() returns a copy, and this type can't be copied: take() it");
    return channel_->fetch(timeout);
  }

  std::shared_ptr<detail::LocalChannel<T>> channel_;
};

}  // namespace muster
