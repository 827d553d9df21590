// Large arguments and functions that workers of other hosts hand on to each other.
#include "ssh_workers.hpp"

#include <numeric>

namespace muster::test {
namespace {

constexpr std::size_t elements = std::size_t{1} << 17;  // 1 MiB

struct PlusSum {
  std::vector<double> values = std::vector<double>(elements, 1.0);
  double operator()(int x) const { return x + std::accumulate(values.begin(), values.end(), 0.0); }
};

TEST(Ssh, WorkersHandOnWhatIsLarge) {
  const SshWorkers four({{"h1", 2}, {"h2", 2}});
  EXPECT_EQ(pmap(PlusSum(), std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}).back(), static_cast<double>(elements + 7));
  EXPECT_TRUE(eventually([&] { return sent_between(four.pids()) > elements * sizeof(double); })) << "the function";
  const auto before = sent_between(four.pids());
  const auto take_in = [](const View<double>& values) { EXPECT_EQ(values.size(), elements); };
  everywhere(four.pids(), take_in, PlusSum().values);
  EXPECT_TRUE(eventually([&] { return sent_between(four.pids()) - before > elements * sizeof(double); }))
      << "arguments";
}

}  // namespace
}  // namespace muster::test
