/// @file
/// `round_trip` by Cap'n Proto RPC: a call that answers with its argument.
#include "../common/capnproto_peer.hpp"

int main() {
  const bench::CapnpEcho other;
  capnp::EzRpcClient client("127.0.0.1", other.port());
  auto echo = client.getMain<Echo>();
  const double seconds = bench::median_call(
      [&] {
        auto call = echo.numberRequest();
        call.setValue(7);
        call.send().wait(client.getWaitScope());
      },
      bench::round_trip_calls, bench::round_trip_limit, bench::round_trip_warm_up);
  bench::emit("round_trip", 1e6 * seconds, "us");
}
