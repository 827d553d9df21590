/// @file
/// `tasks` by CAF: requests to actors of two other processes in turn, all sent before the first answer is looked at.
#include "../common/caf_peer.hpp"

namespace {

void run_all(caf::scoped_actor& self, const std::array<caf::actor, 2>& workers, int count) {
  for (int i = 0; i < count; ++i) self->send(workers[static_cast<std::size_t>(i % 2)], std::int32_t{i});
  int answers = 0;
  self->receive_while([&] { return answers < count; })([&](std::int32_t) { ++answers; });
}

}  // namespace

int main() {
  const bench::CafEcho first, second;
  bench::CafSystem system;
  const std::array<caf::actor, 2> workers{first.connect(system), second.connect(system)};
  caf::scoped_actor self{*system};
  run_all(self, workers, bench::task_count / 10);  // warm up
  const double seconds = bench::seconds_of([&] { run_all(self, workers, bench::task_count); });
  bench::emit("tasks", 1e6 * seconds / bench::task_count, "us/task");
}
