#include "cluster_managers/ssh/gzip.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace muster::runtime::ssh {
namespace {

/// What gzip itself makes of it.
std::string unpacked(const std::string& small) {
  char name[] = "/tmp/muster-gzip.XXXXXX";
  const int file = ::mkstemp(name);
  ::close(file);
  std::ofstream(name, std::ios::binary) << small;
  FILE* const pipe = ::popen((std::string("gzip -dc <") + name).c_str(), "re");
  std::string text;
  char part[65536];
  while (const std::size_t got = std::fread(part, 1, sizeof part, pipe)) text.append(part, got);
  EXPECT_EQ(::pclose(pipe), 0);
  ::unlink(name);
  return text;
}

TEST(Gzip, GzipReadsWhatIsMade) {
  std::string varied(3'000'000, ' ');
  unsigned state = 1;
  for (char& c : varied) c = static_cast<char>((state = state * 1664525U + 1013904223U) >> 24U);
  for (const std::string& text : {std::string(), std::string("a"), std::string(5'000'000, 'x'), varied}) {
    const std::string small = gzipped(text);
    EXPECT_TRUE(unpacked(small) == text) << text.size() << " bytes";
  }
  EXPECT_LT(gzipped(std::string(5'000'000, 'x')).size(), 50'000U);
}

}  // namespace
}  // namespace muster::runtime::ssh
