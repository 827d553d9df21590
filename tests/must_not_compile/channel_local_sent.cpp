// expect: a class that is neither an aggregate nor serializable can't be sent to another process
#include <muster/remote_channel.hpp>

void refused(const muster::Channel<int>& channel) {
  muster::spawnat(2, [](const muster::Channel<int>& c) { c.put(1); }, channel);
}
