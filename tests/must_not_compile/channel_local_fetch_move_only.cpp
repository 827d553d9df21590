// expect: fetch() returns a copy, and this type can't be copied: take() it
#include <muster/channel.hpp>

#include <memory>

void refused(const muster::Channel<std::unique_ptr<int>>& channel) { (void)channel.fetch(); }
