// expect: captures by value something that is not plain bytes
// expect: bind_front
#include <muster/remote_channel.hpp>

void refused(const muster::RemoteChannel<int>& channel) {
  muster::spawnat(2, [channel] { channel.put(1); });
}
