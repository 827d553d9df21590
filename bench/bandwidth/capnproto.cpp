/// @file
/// `bandwidth` by Cap'n Proto RPC: lists of doubles as argument and as result of a call.
#include "../common/capnproto_peer.hpp"

#include <vector>

int main() {
  const bench::CapnpEcho other;
  capnp::EzRpcClient client("127.0.0.1", other.port(), bench::large_messages());
  auto echo = client.getMain<Echo>();
  for (const bench::ArraySize& size : bench::array_sizes()) {
    const auto doubles = static_cast<unsigned>(size.doubles);
    const std::vector<double> array(size.doubles, 1.0);
    const auto emit = [&](const std::string& name, auto call) {
      const double rate = static_cast<double>(size.bytes()) / bench::median_call(call, size.calls, 2.0) * 1e-9;
      bench::emit("bandwidth_" + name + "/" + size.name, rate, "GB/s");
    };
    emit("argument", [&] {
      auto call = echo.sizeRequest(capnp::MessageSize{doubles + 16U, 0});
      auto list = call.initArray(doubles);
      for (unsigned i = 0; i < doubles; ++i) list.set(i, array[i]);
      call.send().wait(client.getWaitScope());
    });
    emit("result", [&] {
      auto call = echo.onesRequest();
      call.setSize(doubles);
      call.send().wait(client.getWaitScope());
    });
  }
}
