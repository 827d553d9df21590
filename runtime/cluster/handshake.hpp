/// @file
/// What two processes say before anything else, and how each proves that it knows the cookie.
///
/// The one who dials sends Hello with a fresh nonce and a proof, a hash keyed with the cookie of all that it says; the
/// other answers with Welcome and its own proof over that and the nonce, or with Refuse. The cookie itself never
/// travels. A worker that was told to connect to the master by itself sends Knock first, and the master says Hello over
/// that connection as it would over one of its own making.
#pragma once

#include <muster/cluster_manager.hpp>
#include <muster/detail/payload.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <vector>

namespace muster::runtime {

/// A process as others know it.
struct Member {
  Pid pid = 0;
  std::string endpoint;       ///< where it can be dialed
  std::string host;           ///< for people
  std::string host_identity;  ///< equal on one host
  std::string ident;          ///< for custom topologies
  std::vector<std::string> connect_idents;
  int threads = 1;  ///< tasks it runs at once
};

/// What the master tells a worker of the cluster as it joins.
struct ClusterFacts {
  std::string ident;  ///< the joining worker's own name, and whom it is to connect to, as its manager said
  std::vector<std::string> connect_idents;
  std::vector<Member> members;  ///< the master; it tells of others next
  Topology topology = Topology::all_to_all;
  bool lazy = true;
  int threads = 1;
  std::chrono::nanoseconds heartbeat_interval{}, heartbeat_timeout{};
};

using Nonce = std::array<std::byte, 32>;

struct Hello {
  bool joins = false;  ///< the master takes the listener in; else: another worker connects
  Member from;
  Pid to = 0;
  Nonce nonce{};
  std::array<std::byte, 32> proof{};
  std::string build_id, layout;
  ClusterFacts facts;  ///< where joins
};

struct Welcome {
  Member self;
  std::int64_t os_pid = 0;
  std::array<std::byte, 32> proof{};
  std::string build_id, layout;
};

/// What a worker that connects to the master by itself says first.
struct Knock {
  std::string ticket;  ///< of the invitation that it came by
  Caller caller;       ///< without its id
  std::array<std::byte, 32> proof{};
};

/// How a worker is to connect to the master by itself.
struct CallBack {
  std::vector<std::string> endpoints = {};  ///< from other hosts, the best first; empty: it waits to be connected to
  std::string own_endpoint = {};            ///< from the master's own host
  std::string ticket = {};
  std::vector<std::string> asked = {};  ///< variables of its environment to tell
  bool leaves_on_sigterm = true;        ///< see InviteOptions
};

struct Refuse {
  enum class Why : std::uint8_t { other, cookie, build, version };
  Why why = Why::other;
  std::string text;
};

/// This build's sizes and formats of types: processes whose layouts differ can't exchange bytes.
std::string type_layout();

/// Fills in proof, build id and layout.
void seal(Hello& hello, const std::string& cookie);
void seal(Welcome& welcome, const Nonce& nonce, const std::string& cookie);
/// Fills in the proof. Who repeats a knock gains nothing: only the cookie answers the Hello that follows.
void seal(Knock& knock, const std::string& cookie);

detail::Payload encode(const Hello& hello);
detail::Payload encode(const Welcome& welcome);
detail::Payload encode(const Knock& knock);
detail::Payload encode(const Refuse& refuse);
/// @throws VersionMismatch, before anything else is looked at; SerializationError
Hello decode_hello(std::span<const std::byte> bytes);
Welcome decode_welcome(std::span<const std::byte> bytes);
Knock decode_knock(std::span<const std::byte> bytes);
Refuse decode_refuse(std::span<const std::byte> bytes);

/// @throws AuthError, CodeMismatch naming both builds
void verify(const Hello& hello, const std::string& cookie);
void verify(const Welcome& welcome, const Nonce& nonce, const std::string& cookie);
/// @throws AuthError
void verify(const Knock& knock, const std::string& cookie);

/// The refusal that says that.
Refuse refusal_of(const std::exception& error);
/// The exception that a refusal stands for.
std::exception_ptr error_of(const Refuse& refuse);

}  // namespace muster::runtime
