/// @file
/// `round_trip` by CAF: a request to an actor of another process, answered.
#include "../common/caf_peer.hpp"

int main() {
  const bench::CafEcho other;
  bench::CafSystem system;
  const caf::actor echo = other.connect(system);
  const caf::scoped_actor self{*system};
  const double seconds = bench::median_call(
      [&] {
        self->request(echo, caf::infinite, std::int32_t{7})
            .receive([](std::int32_t) {}, [](const caf::error& error) { throw std::runtime_error(to_string(error)); });
      },
      bench::round_trip_calls, bench::round_trip_limit, bench::round_trip_warm_up);
  bench::emit("round_trip", 1e6 * seconds, "us");
}
