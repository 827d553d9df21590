/// @file
/// What the Cap'n Proto peers share: another process that answers calls.
#pragma once

#include "echo.capnp.h"
#include "emit.hpp"
#include "forked_server.hpp"
#include "statistics.hpp"
#include "workload.hpp"

#include <capnp/ez-rpc.h>
#include <kj/async.h>

namespace bench {

class EchoServer final : public Echo::Server {
 public:
  kj::Promise<void> number(NumberContext context) override {
    context.getResults().setValue(context.getParams().getValue());
    return kj::READY_NOW;
  }
  kj::Promise<void> size(SizeContext context) override {
    context.getResults().setSize(context.getParams().getArray().size());
    return kj::READY_NOW;
  }
  kj::Promise<void> ones(OnesContext context) override {
    const auto size = static_cast<unsigned>(context.getParams().getSize());
    auto array = context.getResults(capnp::MessageSize{size + 16, 0}).initArray(size);
    for (unsigned i = 0; i < size; ++i) array.set(i, 1.0);
    return kj::READY_NOW;
  }
};

/// Arrays of 64 MiB are over the usual limit.
inline capnp::ReaderOptions large_messages() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = std::uint64_t{1} << 32;
  return options;
}

/// Another process with one.
class CapnpEcho {
 public:
  CapnpEcho()
      : server_([](auto tell_port) {
          capnp::EzRpcServer server(kj::heap<EchoServer>(), "127.0.0.1", 0, large_messages());
          auto& scope = server.getWaitScope();
          if (tell_port(static_cast<std::uint16_t>(server.getPort().wait(scope)))) kj::NEVER_DONE.wait(scope);
        }) {}
  std::uint16_t port() const { return server_.port(); }

 private:
  ForkedServer server_;
};

}  // namespace bench
