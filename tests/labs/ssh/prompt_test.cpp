// The prompt with workers on hosts: what is typed runs there.
#ifdef MUSTER_PROMPT

#include "ssh_workers.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace muster::test {
namespace {

using ::testing::HasSubstr;

TEST(SshPrompt, RunsWhatIsTypedOnHosts) {
  const std::string folder = lab->directory() + "/prompt";
  std::filesystem::create_directory(folder);
  std::ofstream(folder + "/machines") << "2*h1\nh2\n";
  std::ofstream(folder + "/input") << R"(int square(int x) { return x * x; }
int n = 7;
pmap([=](int x) { return n * square(x); }, std::vector{1, 2, 3, 4})
std::string host() { char name[99]; gethostname(name, 99); return name; }
std::multiset<std::string> hosts; for (int pid : workers()) hosts.insert(fetchfrom(pid, host));
hosts
%everywhere int five = 5 * myid();
fetchfrom(4, [] { return five; })
addprocs({"h2"})
fetchfrom(5, [] { return std::to_string(five) + " on " + host(); })
fetchfrom(4, []() -> int { throw std::out_of_range("too far"); })
)";
  const ShellResult done = shell("XDG_CACHE_HOME=" MUSTER_TEST_CACHE " " MUSTER_PROMPT " --machine-file " + folder +
                                 "/machines <" + folder + "/input");
  EXPECT_THAT(done.output, HasSubstr("{7, 28, 63, 112}\n{\"h1\", \"h1\", \"h2\"}\n20\n{5}\n\"25 on h2\"\n"));
  EXPECT_THAT(done.output, HasSubstr("On worker 4: std::out_of_range: too far"));
  EXPECT_EQ(done.status, 1) << "an input failed";
}

}  // namespace
}  // namespace muster::test

#endif
