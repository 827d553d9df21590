/// @file
/// Modules on their way to this process: which are wanted, who is asked for them, in which order they are loaded.
#pragma once

#include <muster/ids.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace muster::runtime {

/// A state machine without I/O: events go in, actions come out. A module is wanted, and one process that has it is
/// asked for it; when that refuses or dies, another one; when nobody is left, it failed. When its bytes are here, the
/// modules that it needs are got first, then it is loaded. A module that failed is tried again when it is wanted again;
/// its bytes, where they came, are kept for that. Whatever happens, a module that is coming is settled in the end, as
/// long as every process that is asked answers or is said to be gone. Not thread-safe.
class ModuleArrivals {
 public:
  using Id = std::uint64_t;

  /// What is to be done, in this order.
  struct Actions {
    struct Ask {
      Id module;
      Pid whom;
      bool operator==(const Ask&) const = default;
    };
    struct Settled {
      Id module;
      std::string failure;  ///< empty: it is loaded
      bool operator==(const Settled&) const = default;
    };
    std::vector<Ask> ask;
    std::vector<Id> load;  ///< one after the other: then loaded or load_failed
    std::vector<Settled> settled;
  };

  /// @param here whether that module is loaded
  explicit ModuleArrivals(std::function<bool(Id)> here) : here_(std::move(here)) {}

  /// It is needed here. @param holders who has it, or may have it, the best first
  Actions want(Id module, std::span<const Pid> holders);
  /// Its bytes came from that process, which `expects` said yes to. @param needs modules to be loaded before it
  Actions arrived(Id module, const std::vector<Id>& needs);
  /// That process, if it was asked, does not give it.
  Actions refused(Id module, Pid from, const std::string& why);
  /// That process is gone.
  Actions gone(Pid pid, const std::string& why);
  Actions loaded(Id module);
  Actions load_failed(Id module, const std::string& why);

  /// Whether that process was asked for it, and has not answered.
  bool expects(Id module, Pid from) const;
  /// Whether it was wanted and is not settled.
  bool coming(Id module) const;
  /// Whether somebody else who asks for it may be kept waiting until it is here. Not where this process has been
  /// disappointed before: who was asked first had a reason to name the module, so first questions go from later to
  /// earlier and never in a circle; others might.
  bool worth_waiting_for(Id module) const;
  /// Why it is not here, where it failed; else empty.
  std::string failure(Id module) const;

 private:
  enum class Stage : std::uint8_t { asked, waiting /* for those it needs */, loading, failed };
  struct Entry {
    Stage stage = Stage::failed;
    bool arrived = false;       ///< its bytes are here
    bool disappointed = false;  ///< somebody did not give it, or it failed
    Pid asked = 0;              ///< at stage asked
    std::deque<Pid> holders;    ///< to be asked next
    std::vector<Id> needs;      ///< all that it named
    std::vector<Id> unsettled;  ///< at stage waiting: of these, those that are coming
    std::string why;            ///< what those who were asked said
  };

  void ask_next(Id module, Entry& entry, Actions& actions);
  void get_needs(Id module, Entry& entry, Actions& actions);
  void settle(Id module, const std::string& failure, Actions& actions);
  bool waits_for(Id module, Id other) const;
  void want(Id module, std::span<const Pid> holders, Actions& actions);

  std::function<bool(Id)> here_;
  std::map<Id, Entry> entries_;
};

}  // namespace muster::runtime
