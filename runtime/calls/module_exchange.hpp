/// @file
/// Modules between processes: asks for those that calls and values name and that are not here, loads them, and gives
/// those that are here to who asks.
#pragma once

#include "runtime/base/serial_thread.hpp"
#include "runtime/code/code.hpp"
#include "runtime/code/module_arrivals.hpp"
#include "runtime/code/module_image.hpp"
#include "runtime/wire/codec.hpp"

#include <muster/detail/payload.hpp>
#include <muster/ids.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

/// Any thread; nothing here blocks, but for what runs on its own thread: files are read and modules loaded there.
class ModuleExchange {
 public:
  /// What it needs of the calls room. Called without its lock.
  struct Outside {
    /// Sends without waiting. @throws Error, std::invalid_argument where that process can't be reached
    std::function<void(Pid to, const Header& header, detail::Payload&& payload)> send;
    /// Some module is here now, or won't come.
    std::function<void()> settled;
    std::function<Pid()> self;
  };
  explicit ModuleExchange(Outside outside);
  ~ModuleExchange() { stop(); }
  ModuleExchange(const ModuleExchange&) = delete;
  ModuleExchange& operator=(const ModuleExchange&) = delete;

  /// It is needed here; asks for it where it is not here and not on its way. @param holders who may have it, the best
  /// first; the master is asked in the end.
  void want(std::uint64_t module, std::vector<Pid> holders);
  /// Whether it was wanted, and is neither here nor has failed.
  bool coming(std::uint64_t module) const;
  /// Why it is not here, in words.
  std::string why_missing(std::uint64_t module) const;
  /// Calls f when it is not coming (any more): at once, or from another thread.
  void when_settled(std::uint64_t module, std::function<void()> f);

  /// A process asks for a module.
  void on_request(std::uint64_t module, Pid from);
  /// A module that was asked for came, or a refusal. @throws SerializationError where it was not asked of that process,
  /// or is another one
  void on_module(std::uint64_t module, Pid from, std::uint8_t flags, const detail::Payload& payload);
  /// That process gives nothing any more.
  void gone(Pid pid, const std::string& why);
  /// What was asked of that process could not be sent.
  void unsent(std::uint64_t module, Pid to, const std::string& why);
  /// Runs f on the thread.
  void run(std::function<void()> f) { thread_.run(std::move(f)); }
  /// Ends the thread, after what it is at.
  void stop();

 private:
  void perform(ModuleArrivals::Actions&& actions);
  void ask(const ModuleArrivals::Actions::Ask& ask);
  void load(std::uint64_t module);
  void tell(const ModuleArrivals::Actions::Settled& settled);
  void give(std::uint64_t module, Pid to);
  void answer_askers();
  std::shared_ptr<const ModuleImage> image_of(std::uint64_t module);

  const Outside outside_;
  mutable std::mutex mutex_;  ///< guards what follows, but for the thread; held for a moment, and never while calling
  ModuleArrivals arrivals_;
  std::unordered_map<std::uint64_t, ModuleImage> arrived_;                         ///< until they are loaded
  std::unordered_map<std::uint64_t, std::vector<std::function<void()>>> waiting_;  ///< for it to be settled
  std::unordered_map<std::uint64_t, std::vector<Pid>> asking_;                     ///< for what is on its way here
  std::unordered_map<std::uint64_t, std::weak_ptr<const ModuleImage>> given_;  ///< while sent to somebody; the thread's
  SerialThread thread_{"muster-modules"};
};

/// Flag of a module message: it is not given, and the text says why.
inline constexpr std::uint8_t module_refused = 1;

}  // namespace muster::runtime
