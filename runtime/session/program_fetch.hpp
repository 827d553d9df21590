/// @file
/// Getting the master's program from the master, before this process belongs to any cluster.
#pragma once

#include "runtime/cluster/program_messages.hpp"
#include "runtime/transport/lane.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>

namespace muster::runtime {

/// What is known of the master to be asked.
struct ProgramSource {
  std::string endpoint, cookie, ticket;
  std::chrono::milliseconds patience{30000};  ///< for it to say anything
};

/// Asks for the program, of one master. One thread.
class ProgramFetch {
 public:
  /// @param lane on which nothing else is received
  ProgramFetch(Lane& lane, ProgramSource source);

  /// The list of its files. @throws as file
  ProgramList list();
  /// The contents of a file, in parts of any order.
  /// @throws TimeoutError where the master says nothing; Error where it can't be reached, also after the connection was
  /// lost on the way and made anew; AuthError, VersionMismatch or HandshakeError where it says no, or is not who it
  /// should be
  void file(std::uint32_t number, std::uint64_t size,
            const std::function<void(std::uint64_t offset, std::span<const std::byte> part)>& take);

 private:
  using Place = std::pair<std::uint32_t, std::uint64_t>;  ///< file and offset

  void dial();
  void ask(Place place);
  /// The next answer to what was asked.
  ProgramPart next();
  /// @returns whether it is one
  bool take_answer(const LaneEvent& event, ProgramPart& part);
  void lost(const std::string& reason);

  Lane& lane_;
  const ProgramSource source_;
  LinkId link_ = 0;
  std::map<Place, Nonce> asked_;  ///< and not answered
  int losses_ = 0;                ///< of the connection, since the last answer
  bool answered_ = false;         ///< ever: it is there
};

}  // namespace muster::runtime
