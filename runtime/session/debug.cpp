#include "runtime/session/process.hpp"

#include <muster/debug.hpp>
#include <muster/spawn.hpp>

namespace muster::debug {

namespace {

std::size_t values_owned_here() { return runtime::current_process().calls().values_owned(); }

std::size_t calls_in_flight_here() { return runtime::current_process().calls().calls_in_flight(); }

std::vector<LinkInfo> links_here() {
  auto& transport = runtime::current_process().transport();
  std::vector<LinkInfo> all;
  for (const auto& link : transport.links()) {
    if (link->peer == 0) continue;
    all.push_back({link->peer, transport.lane().name(link->id), transport.lane().encrypted(link->id),
                   link->messages_sent, link->messages_received, link->bytes_sent, link->bytes_received});
  }
  return all;
}

}  // namespace

std::size_t values_owned(Pid pid) { return remotecall_fetch(&values_owned_here, pid); }

std::size_t calls_in_flight(Pid pid) { return remotecall_fetch(&calls_in_flight_here, pid); }

std::vector<LinkInfo> links(Pid pid) { return remotecall_fetch(&links_here, pid); }

}  // namespace muster::debug
