/// @file
/// `tasks` by Cap'n Proto RPC: calls to two other processes in turn, all sent before the first answer is waited for.
#include "../common/capnproto_peer.hpp"

#include <array>
#include <vector>

namespace {

void run_all(std::array<Echo::Client, 2>& workers, kj::WaitScope& scope, int count) {
  std::vector<capnp::RemotePromise<Echo::NumberResults>> answers;
  for (int i = 0; i < count; ++i) {
    auto call = workers[static_cast<std::size_t>(i % 2)].numberRequest();
    call.setValue(i);
    answers.push_back(call.send());
  }
  for (auto& answer : answers) answer.wait(scope);
}

}  // namespace

int main() {
  const bench::CapnpEcho first, second;
  capnp::EzRpcClient to_first("127.0.0.1", first.port());
  capnp::EzRpcClient to_second("127.0.0.1", second.port());
  std::array<Echo::Client, 2> workers{to_first.getMain<Echo>(), to_second.getMain<Echo>()};
  run_all(workers, to_first.getWaitScope(), bench::task_count / 10);  // warm up
  const double seconds = bench::seconds_of([&] { run_all(workers, to_first.getWaitScope(), bench::task_count); });
  bench::emit("tasks", 1e6 * seconds / bench::task_count, "us/task");
}
