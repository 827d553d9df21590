// expect: a raw pointer can't be sent to another process
#include <muster/remote_channel.hpp>

void refused() { muster::RemoteChannel<const char*>(1); }
