#include "runtime/transport/lane.hpp"

#include <muster/errors.hpp>

namespace muster::runtime {

int Lane::listen(const std::string& address, int port) {
  throw Error("This process can't listen on " + address + ":" + std::to_string(port) + ": its lane has no addresses");
}

}  // namespace muster::runtime
