// expect: the factory of a channel takes no arguments, and returns a std::unique_ptr<muster::ChannelStore<T>>
#include <muster/remote_channel.hpp>

void refused() {
  (void)muster::RemoteChannel<int>::make([] { return 1; }, 2);
}
